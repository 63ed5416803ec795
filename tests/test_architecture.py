"""The rules of the house that no linter of its own knows. Each checker is shown to catch a breach below."""

from __future__ import annotations

import ast
import io
import pkgutil
import re
import subprocess
import sys
import tokenize
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
NO_REASON = re.compile(r"#\s*(type: ignore(\[[a-z, -]+\])?|noqa(: [A-Z0-9, ]+)?)\s*$")
TASK_MAKERS = {"create_task", "ensure_future", "TaskGroup", "run_coroutine_threadsafe"}
THREAD_MAKERS = {("threading", "Thread"), ("threading", "Timer"), ("futures", "ThreadPoolExecutor")}
OWNERS = {
    "edge_agent/tasks.py": "the owner itself",
    "edge_agent/cli/exits.py": "a command's one main task, awaited in the next line",
    "edge_agent/runtime/app.py": "the size of the loop's pool of threads: what runs there is awaited",
    "edge_agent/confinement/probe.py": "a thread that does nothing, joined in the next line",
    "edge_agent/runtime/engine_driver.py": "each inference has exactly one outcome, whatever is raised",
    "edge_agent/runtime/engine_health.py": "a trial that fails leaves the device ill, and the next failure tries anew",
    "edge_agent/mqtt/": "what a broker is asked, and that a connection is lost: looked at by the link itself",
    "edge_agent/adapters/mqtt/": "a connection's own loop, a pool's goodbyes: ended and looked at in `stop`",
    "edge_agent/adapters/llama/": "the model process: what ends there is the engine's health",
    "edge_agent/adapters/llama_server/process.py": "the model process, heard to its end: that is the engine's health",
    "edge_agent/engines/kept_alive.py": "the supervisor of a model process: what ends there is the engine's health",
    "edge_agent/adapters/journal/journal.py": "one thread, each call into which is awaited",
    "edge_agent/adapters/telemetry/": "threads that outlive a stopped loop; each catches all and counts",
}
"""Who may make tasks and threads, and why nothing is lost there."""
MQTT_LIBRARIES = {"aiomqtt", "paho"}
MQTT_HOMES = {
    "edge_agent/mqtt/": "the room for them: what it reaches into is private there, and moves with a release",
    "broker/probe_client.py": "`broker check` speaks MQTT as a stranger would, blocking, refusals and all",
}
"""Who may know the libraries behind our connections, and why."""
CHILD_MAKERS = {"create_subprocess_exec", "create_subprocess_shell", "subprocess_exec", "subprocess_shell", "prctl"}
CHILD_MAKERS_OF_OS = {f"os.{name}" for name in ("fork", "forkpty", "posix_spawn", "posix_spawnp", "popen", "system")}
PARENTS = {
    "edge_agent/children/": "the owner itself",
    "edge_agent/confinement/": "what tries whether it can get out, and what sees to it that it can't",
    "edge_agent/lab/workers.py": "a pool of multiprocessing, whose processes end with us",
}
"""Who may start processes, and why they end."""
TOPIC_ROOT = "moamesh/v2"
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


def ownerless_work(text: str) -> list[str]:
    """Tasks and threads that no owner sees end (`edge_agent.tasks` is that owner), and groups of exceptions."""
    bad = []
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.TryStar):
            bad.append(f"line {node.lineno}: except*")
        if isinstance(node, ast.Attribute):
            whose = ast.unparse(node.value)
            bare = node.attr in TASK_MAKERS and (whose == "asyncio" or "loop" in whose)
            if bare or node.attr == "add_done_callback" or (whose, node.attr) in THREAD_MAKERS:
                bad.append(f"line {node.lineno}: {whose}.{node.attr}")
        if isinstance(node, ast.ImportFrom) and (node.module or "") in ("asyncio", "threading", "concurrent.futures"):
            names = {alias.name for alias in node.names}
            bad += [f"line {node.lineno}: {name}" for name in names & (TASK_MAKERS | {"Thread", "ThreadPoolExecutor"})]
    return bad


def printing(text: str) -> list[str]:
    """What a program that calls a library did not ask to see."""
    return [
        f"line {node.lineno}"
        for node in ast.walk(ast.parse(text))
        if (isinstance(node, ast.Call) and ast.unparse(node.func) in ("print", "logging.basicConfig"))
        or (isinstance(node, ast.Attribute) and ast.unparse(node) in ("sys.stdout", "sys.stderr"))
    ]


def mqtt_imports(text: str) -> list[str]:
    """What is imported of the MQTT libraries: whoever wants a connection has `edge_agent.mqtt`."""
    return [f"line {line}: {name}" for line, name in imports_of(text) if name.partition(".")[0] in MQTT_LIBRARIES]


def ownerless_children(text: str) -> list[str]:
    """Processes that `edge_agent.children` does not start, hear and end."""
    bad = [
        f"line {line}: {name}"
        for line, name in imports_of(text)
        if name.partition(".")[0] in ("subprocess", "multiprocessing")
    ]
    return bad + [
        f"line {node.lineno}: {ast.unparse(node)}"
        for node in ast.walk(ast.parse(text))
        if isinstance(node, ast.Attribute) and (node.attr in CHILD_MAKERS or ast.unparse(node) in CHILD_MAKERS_OF_OS)
    ]


def reasonless(text: str) -> list[str]:
    """What a linter is told to pass over without a word beside it that says why."""
    comments = [
        token for token in tokenize.generate_tokens(io.StringIO(text).readline) if token.type == tokenize.COMMENT
    ]
    return [f"line {one.start[0]}: {one.string}" for one in comments if NO_REASON.search(one.string)]


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


def test_what_programs_call_prints_nothing():
    assert breaches(printing, sources("edge_agent/operator", "edge_agent/doctor", "moamesh")) == []


def test_whatever_a_linter_passes_over_has_its_reason_beside_it():
    assert breaches(reasonless, sources(*PACKAGES, "tests", "bench", "scripts")) == []


def test_a_topic_is_spelled_in_one_file_only():
    assert breaches(topic_strings, [path for path in sources(*PACKAGES) if path != TOPICS_HOME]) == []
    assert topic_strings(TOPICS_HOME.read_text()) != []


def test_what_runs_beside_other_work_has_an_owner_that_sees_it_end():
    others = [path for path in sources(*PACKAGES) if not str(path.relative_to(ROOT)).startswith(tuple(OWNERS))]
    assert breaches(ownerless_work, others) == []
    for owner in OWNERS:
        assert (ROOT / owner).exists(), f"{owner} is gone: take it off the list"


def test_one_room_alone_knows_the_libraries_behind_mqtt():
    others = [
        path for path in sources(*PACKAGES, "moamesh") if not str(path.relative_to(ROOT)).startswith(tuple(MQTT_HOMES))
    ]
    assert breaches(mqtt_imports, others) == []
    for home in MQTT_HOMES:
        assert breaches(mqtt_imports, sources(home) if home.endswith("/") else [ROOT / home]) != []


def test_child_processes_have_one_home():
    others = [path for path in sources(*PACKAGES) if not str(path.relative_to(ROOT)).startswith(tuple(PARENTS))]
    assert breaches(ownerless_children, others) == []


@pytest.mark.parametrize(
    ("checker", "breach"),
    [
        (ownerless_work, "import asyncio\nasyncio.create_task(f())"),
        (ownerless_work, "asyncio.get_running_loop().create_task(f())"),
        (ownerless_work, "loop.create_task(f())"),
        (ownerless_work, "asyncio.ensure_future(f())"),
        (ownerless_work, "async def f():\n    async with asyncio.TaskGroup() as tasks:\n        pass"),
        (ownerless_work, "from asyncio import create_task"),
        (ownerless_work, "future.add_done_callback(print)"),
        (ownerless_work, "threading.Thread(target=f).start()"),
        (ownerless_work, "from concurrent.futures import ThreadPoolExecutor"),
        (ownerless_work, "try:\n    f()\nexcept* OSError:\n    pass"),
        (mqtt_imports, "import aiomqtt"),
        (mqtt_imports, "def f():\n    from paho.mqtt.client import Client"),
        (mqtt_imports, "import paho.mqtt.client as mqtt"),
        (ownerless_children, "import subprocess"),
        (ownerless_children, "from subprocess import run"),
        (ownerless_children, "asyncio.create_subprocess_exec('true')"),
        (ownerless_children, "pid = os.fork()"),
        (ownerless_children, "os.system('true')"),
        (impure_imports, "import time"),
        (impure_imports, "def f():\n    from random import Random"),
        (impure_imports, "import os.path"),
        (impure_imports, "import pydantic"),
        (impure_imports, "from edge_agent.wire import codec"),
        (impure_imports, "from . import messages"),
        (asserts, "def f(x):\n    assert x"),
        (printing, "def f():\n    print('x')"),
        (printing, "sys.stderr.write('x')"),
        (printing, "logging.basicConfig(level=10)"),
        (reasonless, "x = f()  # type: ignore[misc]"),
        (reasonless, "x = f()  # type: ignore"),
        (reasonless, "import os  # noqa: F401"),
        (reasonless, "import os  # noqa: F401, E402"),
        (reasonless, "import os  # noqa"),
        (long_functions, "async def f():\n" + "    pass\n" * 70),
        (topic_strings, "TOPIC = f'moamesh/v2/{mesh}/devices'"),
        (topic_strings, "def f():\n    return b'moamesh/v2/x'"),
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
        (ownerless_children, "import os\nstdin = asyncio.subprocess.PIPE\nself.system = os.kill(pid, 9)"),
        (long_functions, "def f():\n" + "    pass\n" * 69),
        (reasonless, "x = f()  # type: ignore[misc]  # bound now\nimport os  # noqa: F401 - a fixture"),
        (reasonless, "x = '# type: ignore[misc]'"),
        (printing, "console.print('x')\nlogging.getLogger(__name__).info('print')\nsys.executable"),
        (mqtt_imports, "from edge_agent.mqtt import Link\nfrom edge_agent import mqtt"),
        (topic_strings, '"""Topics begin with moamesh/v2."""'),
        (ownerless_work, "async with gathered() as tasks:\n    tasks.create_task(f())".replace("async with", "with")),
        (ownerless_work, "await asyncio.wait([task])".replace("await ", "")),
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
