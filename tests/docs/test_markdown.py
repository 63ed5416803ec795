"""What happens to a page of docs/ on its way into the site."""

from __future__ import annotations

from scripts.docs.markdown import for_site

PAGES = {
    "docs/A.md": "",
    "docs/THEORY.md": "# How much a mesh can bear\n",
    "docs/reference/settings.md": "# Settings\n",
    "CONTRIBUTING.md": "# Contributing\n",
}
IN_SITE = {*PAGES, "docs/agent.toml", "docs/img/top.svg"}


def in_site(text: str, page: str = "docs/A.md") -> str:
    return for_site(page, PAGES | {page: text}, IN_SITE)


def test_a_link_named_like_its_file_is_named_like_its_page() -> None:
    assert in_site("See [THEORY.md](THEORY.md).") == "See [How much a mesh can bear](THEORY.md)."
    assert in_site("See [the theory](THEORY.md#x).") == "See [the theory](THEORY.md#x)."


def test_links_are_told_from_where_the_page_lies_in_the_site() -> None:
    assert in_site("[how](../CONTRIBUTING.md)") == "[how](CONTRIBUTING.md)"
    assert in_site("[t](docs/THEORY.md#work)", "CONTRIBUTING.md") == "[t](THEORY.md#work)"
    assert in_site("[t](../THEORY.md)", "docs/reference/settings.md") == "[t](../THEORY.md)"


def test_a_link_to_source_code_becomes_its_text_and_one_to_nothing_stays_to_be_found() -> None:
    assert in_site("Look at [`monitoring/`](../monitoring).") == "Look at `monitoring/`."
    assert in_site("[gone](GONE.md)") == "[gone](GONE.md)"


def test_links_elsewhere_pictures_and_code_stay_as_they_are() -> None:
    text = "[a](https://example.org/x) [b](#here) ![c](img/top.svg)\n\n```\n[d](../monitoring)\n```\n"
    assert in_site(text) == text


def test_a_formula_becomes_mathml_a_line_each() -> None:
    made = in_site("Before\n\n```math\n\\rho < 1 \\\\\nx = \\frac{1}{2}\n```\n\nAfter\n")
    assert made.count("<math") == 2
    assert "<mfrac>" in made
    assert "```" not in made
    assert made.startswith("Before\n\n<div")
