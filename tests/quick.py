"""`make quick`: the tests that start nothing. A pytest plugin, for those who want to know within a minute.

What a test file needs is told by what it and the helpers it imports speak of; nobody has to mark it. A test that starts
a process all the same fails here and is to be found by `_STARTS`.
"""

from __future__ import annotations

import os
import re
import sys
from functools import cache
from pathlib import Path

import pytest
from hypothesis import settings

_LEFT_OUT = {"broker", "llm", "long", "slow"}
EXAMPLES_MAX = 25
"""Of each property: a change that breaks one is found by these or, with four times as many, by `make test`."""
_ROOT = Path(__file__).resolve().parents[1]
_STARTS = re.compile(
    r"\b(subprocess|create_subprocess_exec|start_server|create_server|serve_forever|HTTPServer|EmbeddedBroker|LocalFleet"
    r"|MosquittoBroker|DeviceBroker|Supervised|doctor|open_job_store|DatabaseServer|default_model|LlamaEngine|scripted_model|PypiSource"
    r"|docs import node|docs\.site import|influxdb|network\(|SOCK_DGRAM|small_disk|zeroconf"
    r"|run_campaign|run_seed|edge_agent\.lab\.experiments|edge_agent\.lab\.simulator\.load)"  # these compute for long
)
_IMPORTS = re.compile(r"^\s*from (tests\.[\w.]+) import|^\s*import (tests\.[\w.]+)", re.MULTILINE)


def starts_something(path: Path) -> bool:
    """Whether this file, or a helper of the tests that it imports, starts a server, a program or a model."""
    seen: set[Path] = set()
    ahead = [path]
    while ahead:
        one = ahead.pop()
        if one not in seen:
            seen.add(one)
            starts, helpers = _read(one)
            if starts:
                return True
            ahead += helpers
    return False


@cache
def _read(path: Path) -> tuple[bool, list[Path]]:
    """Whether this very file starts something, and the helpers that it imports."""
    text = path.read_text(encoding="utf-8")
    named = [one or other for one, other in _IMPORTS.findall(text)]
    helpers = [_ROOT / (name.replace(".", "/") + ".py") for name in named]
    return bool(_STARTS.search(text)), [one for one in helpers if one.exists()]


def pytest_ignore_collect(collection_path: Path) -> bool | None:
    """Leaves out the files in which something is started, and folders that hold no others: not even what they import is
    loaded."""
    if collection_path.is_dir():
        wanted = any(not starts_something(file) for file in collection_path.rglob("test_*.py"))
        return None if wanted else True
    return True if collection_path.name.startswith("test_") and starts_something(collection_path) else None


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leaves out what takes long by computing, and what says of itself that it needs more."""
    left_out = {one for one in items if _LEFT_OUT & {mark.name for mark in one.iter_markers()}}
    config.hook.pytest_deselected(items=list(left_out))
    items[:] = [one for one in items if one not in left_out]


def pytest_configure(config: pytest.Config) -> None:
    """Tries fewer examples of each property, and has whatever starts something in spite of all fail."""
    settings.register_profile(
        "quick", settings.get_profile(settings.get_current_profile_name()), max_examples=EXAMPLES_MAX
    )
    settings.load_profile("quick")  # before the tests are collected: each property takes it over then
    if config.getoption("collectonly", False):
        return

    def forbid(event: str, arguments: tuple[object, ...]) -> None:
        if event in ("subprocess.Popen", "os.posix_spawn") and "PYTEST_CURRENT_TEST" in os.environ:
            raise AssertionError(f"{event} {arguments[:2]}: this test starts something; see tests/quick.py")

    sys.addaudithook(forbid)
