"""The rules of the house that no linter of its own knows. Each checker is shown to catch a breach below."""

from __future__ import annotations

import ast
import pkgutil
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

import edge_agent.adapters

ROOT = Path(__file__).parents[1]
PACKAGES = ("edge_agent", "broker", "provisioning")
FILE_LINES_MAX = 400
FUNCTION_LINES_MAX = 70
IMPURE = {
    *("asyncio", "datetime", "io", "logging", "multiprocessing", "os", "pathlib", "random", "secrets", "select"),
    *("socket", "sqlite3", "ssl", "subprocess", "tempfile", "threading", "time", "uuid"),
}
TOPIC_ROOT = "moamesh/v1"
TOPICS_HOME = ROOT / "edge_agent" / "wire" / "topics.py"


def sources(*folders: str) -> list[Path]:
    found = [path for folder in folders for path in sorted((ROOT / folder).rglob("*.py"))]
    assert found, f"nothing found in {folders}"
    return found


def imports_of(text: str) -> Iterator[tuple[int, str]]:
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield node.lineno, "." * node.level + (node.module or "")


def impure_imports(text: str) -> list[str]:
    """What a core module imports beside the core itself and the pure part of the standard library."""
    bad = []
    for line, name in imports_of(text):
        top = name.partition(".")[0]
        own = name == "edge_agent.core" or name.startswith("edge_agent.core.")
        if not own and (top in IMPURE or top not in sys.stdlib_module_names):
            bad.append(f"line {line}: {name}")
    return bad


def asserts(text: str) -> list[str]:
    """`assert` vanishes under -O: the core raises InvariantError instead."""
    return [f"line {node.lineno}" for node in ast.walk(ast.parse(text)) if isinstance(node, ast.Assert)]


def long_functions(text: str) -> list[str]:
    return [
        f"{node.name}: {lines} lines"
        for node in ast.walk(ast.parse(text))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        and node.end_lineno is not None
        and (lines := node.end_lineno - node.lineno + 1) > FUNCTION_LINES_MAX
    ]


def topic_strings(text: str) -> list[str]:
    """String constants that spell a topic, f-strings included; a docstring may explain one."""
    tree = ast.parse(text)
    owners = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
    docstrings = {
        id(node.body[0].value)
        for node in ast.walk(tree)
        if isinstance(node, owners) and node.body and isinstance(node.body[0], ast.Expr)
    }
    return [
        f"line {node.lineno}"
        for node in ast.walk(tree)
        if isinstance(node, ast.Constant) and id(node) not in docstrings and TOPIC_ROOT in str(node.value)
    ]


def breaches(checker, paths: list[Path]) -> list[str]:
    return [f"{path.relative_to(ROOT)}: {breach}" for path in paths for breach in checker(path.read_text())]


def test_the_core_imports_nothing_but_the_pure_standard_library():
    assert breaches(impure_imports, sources("edge_agent/core")) == []


def test_the_core_has_no_assert_statement():
    assert breaches(asserts, sources("edge_agent/core")) == []


def test_rooms_are_small():
    long_files = [
        f"{path.relative_to(ROOT)}: {lines} lines"
        for path in sources(*PACKAGES)
        if (lines := len(path.read_text().splitlines())) > FILE_LINES_MAX
    ]
    assert long_files + breaches(long_functions, sources(*PACKAGES)) == []


def test_a_topic_is_spelled_in_one_file_only():
    assert breaches(topic_strings, [path for path in sources(*PACKAGES) if path != TOPICS_HOME]) == []
    assert topic_strings(TOPICS_HOME.read_text()) != []


@pytest.mark.parametrize(
    ("checker", "breach"),
    [
        (impure_imports, "import time"),
        (impure_imports, "def f():\n    from random import Random"),
        (impure_imports, "import os.path"),
        (impure_imports, "import pydantic"),
        (impure_imports, "from edge_agent.wire import codec"),
        (impure_imports, "from . import messages"),
        (asserts, "def f(x):\n    assert x"),
        (long_functions, "async def f():\n" + "    pass\n" * 70),
        (topic_strings, "TOPIC = f'moamesh/v1/{mesh}/devices'"),
        (topic_strings, "def f():\n    return b'moamesh/v1/x'"),
    ],
)
def test_each_checker_catches_its_breach(checker, breach):
    assert len(checker(breach)) == 1


@pytest.mark.parametrize(
    ("checker", "fine"),
    [
        (
            impure_imports,
            "import math\nfrom edge_agent.core.states import advance\nfrom typing import final",
        ),
        (long_functions, "def f():\n" + "    pass\n" * 69),
        (topic_strings, '"""Topics begin with moamesh/v1."""'),
    ],
)
def test_no_checker_cries_wolf(checker, fine):
    assert checker(fine) == []


def test_imports_point_in_the_directions_of_the_design():
    program = "import sys; from importlinter.cli import lint_imports; sys.exit(lint_imports(no_cache=True))"
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "0 broken" in done.stdout


def test_every_adapter_is_under_the_contract_that_keeps_them_apart():
    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"]
    (apart,) = [contract for contract in contracts if contract["name"] == "adapters never import each other"]
    adapters = [module.name for module in pkgutil.iter_modules(edge_agent.adapters.__path__, "edge_agent.adapters.")]
    assert sorted(apart["modules"]) == sorted(adapters)
