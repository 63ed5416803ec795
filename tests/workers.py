"""Which tests stay together when several processes share the suite (`make test`). A pytest plugin (see `addopts`).

A worker gets a file at a time; a folder whose tests share a browser, a mesh or a database gets there whole, or each
worker would start its own. What takes long begins first, so that the workers end at about the same time.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from xdist.scheduler import LoadScopeScheduling

TOGETHER = ("tests/app/", "tests/gateway/", "tests/monitoring/")
"""Folders with fixtures of package scope."""

FIRST = (
    *("tests/app/", "tests/gateway/", "tests/mesh/test_cluster.py", "tests/telemetry/test_live.py"),
    *("tests/wire/test_refusing.py", "tests/wire/test_codec.py"),
)
"""What takes minutes, longest first."""


BYTES_IN_NAMES_MAX = 40


def group_of(node_id: str) -> str:
    """The folder or file that this test goes with."""
    path = node_id.partition("::")[0]
    return next((folder for folder in TOGETHER if path.startswith(folder)), path)


def in_order(node_ids: Iterable[str]) -> list[str]:
    """These tests with the long groups first; otherwise as they were."""
    return sorted(node_ids, key=lambda one: FIRST.index(group) if (group := group_of(one)) in FIRST else len(FIRST))


def pytest_make_parametrize_id(val: object, argname: str) -> str | None:
    """Names no test after a file's worth of bytes: made anew by each worker, they may differ, and then nothing runs."""
    return argname if isinstance(val, bytes) and len(val) > BYTES_IN_NAMES_MAX else None


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: object) -> LoadScopeScheduling:
    """Takes the place of pytest-xdist's own grouping."""
    from xdist.scheduler import LoadScopeScheduling  # here: not wanted by who runs tests in one process

    class ByGroup(LoadScopeScheduling):
        def _split_scope(self, nodeid: str) -> str:
            return group_of(nodeid)

    config.option.loadscopereorder = False  # not by the number of tests: `pytest_collection_modifyitems` has done it
    return ByGroup(config, log)  # type: ignore[arg-type]  # a logger of py's, which has no types


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Puts what takes long first where there are several workers; one alone keeps the order of the tree."""
    if hasattr(config, "workerinput"):
        rank = {node_id: at for at, node_id in enumerate(in_order(item.nodeid for item in items))}
        items.sort(key=lambda item: rank[item.nodeid])
