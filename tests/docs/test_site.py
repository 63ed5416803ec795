"""The documentation site: nothing in it leads nowhere, nothing is loaded from elsewhere, search works from disk."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass, field
from html.parser import HTMLParser
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import pytest

from scripts.docs.__main__ import main
from scripts.docs.site import CONFIG, PAGES, SITE
from tests.docs.commands import DOCUMENTS, ROOT, named
from tests.support.browser import WAIT_MS, chromium_is_here, launched

_LOADS = {("link", "href"), ("script", "src"), ("img", "src"), ("iframe", "src"), ("source", "src"), ("object", "data")}
_NAMED_ONLY = {"canonical", "prev", "next", "alternate"}  # links that a browser follows only when told to


@dataclass
class Read(HTMLParser):
    """What a page names: anchors of its own, pages it leads to, files it loads."""

    path: Path
    ids: set[str] = field(default_factory=set)
    leads_to: list[str] = field(default_factory=list)
    loads: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        super().__init__()
        self.feed(self.path.read_text(encoding="utf-8"))

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        named = {name: value or "" for name, value in attrs}
        self.ids |= {named[name] for name in ("id", "name") if name in named}
        if tag == "a" and "href" in named:
            self.leads_to.append(named["href"])
        loaded = [value for name, value in named.items() if (tag, name) in _LOADS]
        if loaded and named.get("rel") not in _NAMED_ONLY:
            self.loads += loaded


@pytest.fixture(scope="module")
def site() -> dict[Path, Read]:
    """Every page of a fresh build, read."""
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr("sys.argv", ["scripts.docs", "build"])
        assert main() == 0, "see what zensical said on stderr"
    return {path: Read(path) for path in SITE.rglob("*.html")}


def test_every_link_leads_somewhere_and_every_file_is_there(site: dict[Path, Read]) -> None:
    assert len(site) > 30
    assert [problem for page in site.values() for problem in dead(page, site)] == []


def dead(page: Read, site: dict[Path, Read]) -> Iterator[str]:
    for reference in [*page.leads_to, *page.loads]:
        parts = urlsplit(reference)
        if parts.scheme or page.path.name == "404.html":  # 404 is served under any path, so its links are the server's
            continue
        target = (page.path.parent / unquote(parts.path)).resolve() if parts.path else page.path
        target = target / "index.html" if target.is_dir() else target
        if not target.is_file():
            yield f"{page.path.relative_to(SITE)}: {reference} is not there"
        elif parts.fragment and target in site and unquote(parts.fragment) not in site[target].ids:
            yield f"{page.path.relative_to(SITE)}: {reference} has no such anchor"


def test_nothing_is_loaded_from_elsewhere(site: dict[Path, Read]) -> None:
    loads = {url for page in site.values() for url in page.loads if re.match(r"(https?:)?//", url)}
    styles = {
        url
        for sheet in SITE.rglob("*.css")
        for url in re.findall(r"(?:url\(|@import )[\"']?((?:https?:)?//[^\"')]+)", sheet.read_text(encoding="utf-8"))
    }
    assert loads | styles == set()


def test_every_page_is_in_the_navigation_and_the_other_way_round(site: dict[Path, Read]) -> None:
    nav = set(pages_in(tomllib.loads(CONFIG.read_text(encoding="utf-8"))["project"]["nav"]))
    assert nav == {path.relative_to(PAGES).as_posix() for path in PAGES.rglob("*.md")}


def pages_in(nav: Any) -> Iterator[str]:
    """The pages of a navigation, however deep."""
    if isinstance(nav, str):
        yield nav
    for one in nav.values() if isinstance(nav, dict) else nav if isinstance(nav, list) else ():
        yield from pages_in(one)


def test_formulas_are_there_without_a_script(site: dict[Path, Read]) -> None:
    source = (ROOT / "docs" / "THEORY.md").read_text(encoding="utf-8")
    formulas = sum(block.count(r"\\") + 1 for block in re.findall(r"```math\n(.*?)\n```", source, re.DOTALL))
    page = (SITE / "THEORY.html").read_text(encoding="utf-8")
    assert formulas > 5
    assert page.count("<math") == formulas
    assert "\\frac" not in page


@pytest.mark.parametrize("document", DOCUMENTS, ids=named)
def test_links_lead_somewhere_on_the_code_host_too(document: Path) -> None:
    text = re.sub(r"^ *```.*?^ *```$", "", document.read_text(encoding="utf-8"), flags=re.DOTALL | re.MULTILINE)
    links = re.findall(r"\]\(([^()\s]+)\)", re.sub(r"`[^`\n]*`", "", text))
    local = [link.partition("#")[0] for link in links if not re.match(r"[a-z]+:|#", link)]
    assert [link for link in local if not (document.parent / unquote(link)).exists()] == []


@pytest.mark.skipif(not chromium_is_here(), reason="needs chromium: bash scripts/install_test_programs.sh")
async def test_from_disk_search_finds_a_setting_and_nothing_asks_the_network(site: dict[Path, Read]) -> None:
    asked: list[str] = []
    errors: list[str] = []
    async with launched() as browser:
        page = await browser.new_page()
        page.on("request", lambda one: asked.append(one.url))
        page.on("pageerror", lambda one: errors.append(str(one)))
        for name in ("THEORY.html", "reference/messages.html", "reference/python-client.html", "index.html"):
            await page.goto((SITE / name).as_uri())
        await page.keyboard.press("Control+k")
        await page.keyboard.type("receipt_timeout_s")
        hit = page.locator('a[href*="reference/settings.html"]:visible').first
        await hit.wait_for(timeout=WAIT_MS)
        await hit.click()
        await page.wait_for_url("**/reference/settings.html*", timeout=WAIT_MS)
    assert [url for url in asked if not url.startswith(("file:", "data:", "about:", "blob:"))] == []
    assert errors == []
