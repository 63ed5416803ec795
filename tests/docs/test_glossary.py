"""docs/GLOSSARY.md has each term once, and what it gives as a name of the code is one."""

from __future__ import annotations

import re
from collections import Counter
from functools import cache

from tests.docs.commands import ROOT

PAGE = (ROOT / "docs" / "GLOSSARY.md").read_text(encoding="utf-8")
HEAD = ["term", "meaning", "not to be confused with"]
PACKAGES = ("edge_agent", "broker", "provisioning", "monitoring", "moamesh")
OF_ALL = ("edge_agent/core/*.py", "edge_agent/ports.py")
"""Where a class that is named like a term is that very thing."""


def rows(page: str) -> list[list[str]]:
    """The cells of every row of every table, the rules left out."""
    lines = [line.strip() for line in page.splitlines() if line.startswith("|")]
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]
    return [row for row in cells if not set("".join(row)) <= set("-:")]


def terms(cell: str) -> list[str]:
    return [term.strip(" `") for term in re.split(r"[,;] (?!first served)", cell)]


ROWS = [row for row in rows(PAGE) if row != HEAD]


@cache
def sources() -> dict[str, str]:
    paths = [path for package in PACKAGES for path in (ROOT / package).rglob("*.py")]
    return {path.relative_to(ROOT).as_posix(): path.read_text(encoding="utf-8") for path in paths}


def test_every_table_says_what_a_term_is_not() -> None:
    assert {len(row) for row in rows(PAGE)} == {len(HEAD)}
    assert len([row for row in rows(PAGE) if row == HEAD]) == PAGE.count("\n## ")
    assert [row[0] for row in ROWS if not row[1].endswith(".")] == []


def test_no_term_stands_twice() -> None:
    counts = Counter(term.casefold() for row in ROWS for term in {one.casefold() for one in terms(row[0])})
    assert [term for term, count in counts.items() if count > 1] == []


def test_what_is_given_as_code_is_named_so_in_the_code() -> None:
    words = {word for text in sources().values() for word in re.findall(r"\w+", text)}
    classes = {
        name for text in sources().values() for name in re.findall(r"^(?:class )?([A-Z]\w+)", text, re.MULTILINE)
    }
    given = [name for row in ROWS for name in re.findall(r"`(\w+)`", row[0])]
    assert len(given) > 50
    assert [name for name in given if name not in (classes if name[0].isupper() else words)] == []


def test_a_class_of_the_core_that_is_named_like_a_term_is_that_term() -> None:
    files = [path for pattern in OF_ALL for path in ROOT.glob(pattern)]
    classes = {name for path in files for name in re.findall(r"^class (\w+)", path.read_text("utf-8"), re.MULTILINE)}
    named = [(row[0], "".join(word.capitalize() for word in row[0].partition(",")[0].split())) for row in ROWS]
    assert [cell for cell, name in named if name in classes and f"`{name}`" not in cell] == []


def test_terms_are_told_apart() -> None:
    page = "| term | meaning |\n|---|---|\n| first come, first served; FCFS | Order. |\n| work, `Work` | Rest. |\n"
    assert rows(page)[1:] == [["first come, first served; FCFS", "Order."], ["work, `Work`", "Rest."]]
    assert terms("first come, first served; FCFS") == ["first come, first served", "FCFS"]
    assert terms("work, `Work`") == ["work", "Work"]
