"""Each decision is a short page: what was decided, why, what was rejected; ARCHITECTURE.md lists them all."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.docs.commands import ROOT, named

PAGES = sorted((ROOT / "docs" / "decisions").glob("*.md"))
ARCHITECTURE = (ROOT / "docs" / "ARCHITECTURE.md").read_text(encoding="utf-8")
LINES_MAX = 40  # a decision is read in a minute; what needs more is a page of its own, and linked
FORM = re.compile(
    r"# (?P<title>[^\n]+)\n\n\*\*Decision\.\*\* .+\n\n\*\*Why\.\*\* .+\n\n\*\*Rejected\.\*\*\n\n(?P<rejected>- .+)",
    re.DOTALL,
)


@pytest.mark.parametrize("page", PAGES, ids=named)
def test_a_decision_has_its_reason_and_what_would_have_gone_wrong_otherwise(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    match = FORM.fullmatch(text)
    assert match, "a title, then **Decision.**, **Why.** and **Rejected.** with a list"
    rejected = re.split(r"^- ", match["rejected"], flags=re.MULTILINE)[1:]
    assert [one for one in rejected if ": " not in " ".join(one.split())] == [], "say what would have gone wrong"
    assert len(text.splitlines()) <= LINES_MAX


def test_the_architecture_page_lists_each_decision_once_under_its_title() -> None:
    listed = re.findall(r"^- \[(.+)\]\(decisions/(.+)\)$", ARCHITECTURE, re.MULTILINE)
    titles = [(page.read_text(encoding="utf-8").partition("\n")[0].removeprefix("# "), page.name) for page in PAGES]
    assert sorted(listed) == sorted(titles)
