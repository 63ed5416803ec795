"""docs/SIMULATOR.md names every fault, promise and safeguard that there is, and no other."""

from __future__ import annotations

import re
from pathlib import Path

from edge_agent.core.settings import AgentSettings
from edge_agent.lab.simulator.faults.ablations import ABLATIONS
from edge_agent.lab.simulator.faults.kinds import ALL_KINDS
from edge_agent.lab.simulator.faults.run import every_checker

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs" / "SIMULATOR.md").read_text()


def between(begin: str, end: str) -> str:
    return PAGE.partition(begin)[2].partition(end)[0]


def test_every_kind_of_fault_is_explained() -> None:
    told = re.findall(r"^- `([a-z-]+)`: ", between("## Faults", "`--faults list`"), re.MULTILINE)
    assert told == [str(kind) for kind in ALL_KINDS]


def test_the_other_pages_count_as_many() -> None:
    pages = [(ROOT / name).read_text() for name in ("README.md", "CHANGELOG.md")]
    assert [re.findall(r"(\d+) kinds of faults", page) for page in pages] == 2 * [[str(len(ALL_KINDS))]]
    assert re.findall(r"with (\d+) checkers", pages[1]) == [str(len(every_checker(AgentSettings())))]


def test_every_promise_that_is_watched_has_a_row() -> None:
    rows = re.findall(r"^\| ([^|]+) \| [^|]+ \|$", between("| promise |", "A device that loses"), re.MULTILINE)
    names = {checker.name for checker in every_checker(AgentSettings())}
    assert {row.partition(",")[0] for row in rows} == {name.partition(",")[0] for name in names}


def test_every_safeguard_is_listed_with_the_faults_that_it_is_for() -> None:
    told = re.findall(r"^- `([a-z-]+)`(?: \(`([a-z,-]+)`\))?: (.+)$", between("**Is the watch", "\n## "), re.MULTILINE)
    assert told == [
        (name, "" if one.faults == ALL_KINDS else ",".join(one.faults), one.safeguard)
        for name, one in ABLATIONS.items()
    ]
