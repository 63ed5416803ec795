"""No sentence stands in docs/SECURITY.md without a test that would fail if it were false."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterable
from functools import cache
from pathlib import Path

import pytest

from tests.docs.security_claims import CLAIMS, FIGURES, SECTIONS, UNTESTED

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs" / "SECURITY.md").read_text("utf-8")
BLOCK = re.compile(r"\n\n|\n(?=- |\||#)")
RULE = re.compile(r"\|[-| :]+\|")
REASONS = {"advises", "explains", "limits", "points", "measured"}


def sentences(page: str) -> list[tuple[str, str]]:
    """Each sentence, and each row of a table but its head, with the heading above it."""
    found: list[tuple[str, str]] = []
    heading = ""
    blocks = [" ".join(block.split()) for block in BLOCK.split(re.sub(r"```.*?```", "", page, flags=re.DOTALL))]
    for block, after in zip(blocks, [*blocks[1:], ""], strict=True):
        if block.startswith("#"):
            heading = block.lstrip("# ")
        elif block.startswith("|"):
            if not RULE.fullmatch(block) and not RULE.fullmatch(after):
                found.append((heading, block))
        elif block:
            found += [(heading, one) for one in re.split(r"(?<=\.) ", block.removeprefix("- "))]
    return found


SENTENCES = sentences(PAGE)
LOOKED_AT = [one for heading, one in SENTENCES if heading not in SECTIONS]
KEYS = [*CLAIMS, *UNTESTED]


@cache
def names_in(path: str) -> frozenset[str]:
    """The names of a file's tests, of those in classes too; none where there is no such file."""
    file = ROOT / path
    if not file.is_file():
        return frozenset()
    nodes = ast.walk(ast.parse(file.read_text("utf-8")))
    kinds = (ast.FunctionDef, ast.AsyncFunctionDef)
    return frozenset(node.name for node in nodes if isinstance(node, kinds) and node.name.startswith("test_"))


def keys_of(sentence: str, keys: Iterable[str] = KEYS) -> list[str]:
    return [key for key in keys if sentence.startswith(key)]


def test_every_sentence_has_its_tests_or_a_reason_why_it_needs_none() -> None:
    lacking = [one for one in LOOKED_AT if not keys_of(one)]
    assert not lacking, "name in tests/docs/security_claims.py the tests of:\n" + "\n".join(lacking)
    twice = [one for one in LOOKED_AT if len(keys_of(one)) > 1]
    assert not twice, "more than one entry begins as these do:\n" + "\n".join(twice)


def test_every_entry_has_one_sentence() -> None:
    counts = {key: sum(one.startswith(key) for one in LOOKED_AT) for key in KEYS}
    stale = [f"{count} sentences begin: {key}" for key, count in counts.items() if count != 1]
    assert not stale, "\n".join(stale)
    assert len(KEYS) == len(set(KEYS)), "a sentence is claimed and left out"
    assert SECTIONS.keys() <= {heading for heading, _ in SENTENCES}
    assert {*UNTESTED.values(), *SECTIONS.values()} <= REASONS


@pytest.mark.parametrize("key", CLAIMS)
def test_the_tests_of_a_sentence_are_there(key: str) -> None:
    assert CLAIMS[key], key
    gone = [node for node in CLAIMS[key] if node.rpartition("::")[2] not in names_in(node.partition("::")[0])]
    assert gone == [], f"which were to show: {key}"


@pytest.mark.parametrize("key", FIGURES)
def test_figures_are_those_of_the_code(key: str) -> None:
    (sentence,) = [one for one in LOOKED_AT if one.startswith(key)]
    assert [words for words in FIGURES[key] if words not in sentence] == [], f"the code says otherwise: {sentence}"


def test_a_sentence_that_nobody_knows_and_a_test_that_is_gone_are_found() -> None:
    page = (
        "# A\n\nOne is so. `a.b` is, too\n(all of it). **Three.** Four.\n\n| h | i |\n|---|---|\n| 1. | 2 |\n\n- Six\n"
    )
    found = [one for _, one in sentences(page)]
    assert found == ["One is so.", "`a.b` is, too (all of it).", "**Three.** Four.", "| 1. | 2 |", "Six"]
    assert keys_of("One is so.", ["One is", "Two"]) == ["One is"]
    assert names_in("tests/docs/no_such_file.py") == frozenset()
    assert "test_figures_are_those_of_the_code" in names_in("tests/docs/test_security_page.py")
