"""The app with a keyboard alone, and under the rules of axe-core, on every page, light and dark, phone and desktop."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from playwright.async_api import Locator, Page, expect

from tests.app.conftest import OpenApp
from tests.app.live_mesh import LiveMesh
from tests.conftest import missing
from tests.support.browser import SCREENS, WAIT_MS, AppPage, Scheme, Screen

pytestmark = [pytest.mark.broker, pytest.mark.asyncio(loop_scope="session")]

AXE = Path(__file__).parents[2] / "app" / "node_modules" / "axe-core" / "axe.min.js"
RULES = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]
SCHEMES: tuple[Scheme, ...] = ("light", "dark")
TABS_MAX = 60  # from anywhere to anywhere on a page: further is no use to a person


async def violations(app: AppPage) -> list[str]:
    """What axe-core finds in light and in dark, one line for each element."""
    if not AXE.exists():
        missing("axe-core is not installed: make app")
    if not await app.page.evaluate("'axe' in window"):
        await app.page.evaluate(AXE.read_text("utf-8"))
    lines = []
    for scheme in SCHEMES:
        await app.page.emulate_media(color_scheme=scheme)
        lines += [f"{scheme}: {line}" for line in await violations_now(app)]
    return lines


async def violations_now(app: AppPage) -> list[str]:
    await app.until_still()  # or axe sees half-faded colours
    found: dict[str, Any] = await app.page.evaluate(
        "rules => axe.run(document, {runOnly: rules, resultTypes: ['violations']})", RULES
    )
    assert len(found["passes"]) > 10, "axe looked at nothing"
    return [
        f"{one['id']}: {one['help']}: {node['html'][:200]} {node.get('failureSummary', '')[:200]}"
        for one in found["violations"]
        for node in one["nodes"]
    ]


@pytest.mark.parametrize("screen", SCREENS, ids=lambda screen: screen.name)
async def test_axe_finds_nothing_on_any_page_light_or_dark(open_app: OpenApp, mesh: LiveMesh, screen: Screen) -> None:
    unpaired = await open_app(screen, paired=False)
    await expect(unpaired.page.locator("body")).to_contain_text("moamesh pair", timeout=WAIT_MS)
    found = {"first run": await violations(unpaired)}
    app = await open_app(screen)
    await app.choose("device-1", layers=8, fanout=0)
    async with mesh.filled("device-1", free=1):  # so that it is not over before axe has looked
        running = await app.ask("Is this legible?")
        await running.until("proposing")
        found["running"] = await violations(app)
        assert await running.state() in ("proposing", "streaming"), "it was over before axe had looked"
        await app.page.keyboard.press("Escape")
        await running.until("cancelled")
    await app.choose("device-1", layers=1, fanout=2)
    exchange = await app.ask("Is this legible?")
    await exchange.until("answered")
    await exchange.article.get_by_text("How it was made").click()
    found["answered"] = await violations(app)
    await app.go("Mesh")
    await expect(app.device("device-1")).to_be_visible(timeout=WAIT_MS)
    found["mesh"] = await violations(app)
    await app.go("Settings")
    found["settings"] = await violations(app)
    assert {page: lines for page, lines in found.items() if lines} == {}


async def tab_to(app: AppPage, wanted: Locator) -> None:
    """Presses Tab until the element has the focus, as somebody without a mouse does."""
    for _ in range(TABS_MAX):
        if await wanted.evaluate("element => element === document.activeElement"):
            return
        await app.page.keyboard.press("Tab")
    raise AssertionError(f"{wanted} is not reached by {TABS_MAX} presses of Tab")


async def focus_is_seen(page: Page) -> bool:
    return bool(
        await page.evaluate(
            """() => {
                 const style = getComputedStyle(document.activeElement);
                 const outlined = style.outlineStyle !== "none" && parseFloat(style.outlineWidth) > 0;
                 return outlined || style.boxShadow !== "none";
               }"""
        )
    )


async def test_everything_can_be_done_with_the_keyboard_alone(open_app: OpenApp, mesh: LiveMesh) -> None:
    app = await open_app()
    keys = app.page.keyboard
    await tab_to(app, app.page.get_by_role("slider", name="Layers"))
    assert await focus_is_seen(app.page)
    await keys.press("Home")
    await tab_to(app, app.prompt)
    await keys.type("First line")
    await keys.press("Shift+Enter")
    await keys.type("and a second")
    await keys.press("Enter")
    await expect(app.articles).to_have_count(1, timeout=WAIT_MS)
    await expect(app.articles.first).to_have_attribute("data-state", "answered", timeout=WAIT_MS)
    await expect(app.articles.first).to_contain_text("and a second")
    # cancel: many layers, then Escape
    depth = app.page.locator('[aria-controls="ask-options"]')
    if await depth.get_attribute("aria-expanded") == "false":
        await tab_to(app, depth)
        await keys.press("Enter")
    await tab_to(app, app.page.get_by_role("slider", name="Layers"))
    await keys.press("End")
    await tab_to(app, app.prompt)
    await keys.type("Too long")
    async with mesh.filled("device-1", free=1):  # whoever it goes to by itself: device-1 is the first of the list
        await keys.press("Enter")
        await expect(app.articles).to_have_count(2, timeout=WAIT_MS)
        await expect(app.articles.last).to_have_attribute("data-state", "proposing", timeout=WAIT_MS)
        await keys.press("Escape")
        await expect(app.articles.last).to_have_attribute("data-state", "cancelled", timeout=WAIT_MS)
    for name in ("Mesh", "Settings", "Chat"):
        link = app.page.get_by_role("navigation", name="Main").get_by_role("link", name=name, exact=True)
        await tab_to(app, link)
        assert await focus_is_seen(app.page)
        await keys.press("Enter")
        await expect(link).to_have_attribute("aria-current", "page", timeout=WAIT_MS)


async def test_states_are_announced_but_not_every_token(open_app: OpenApp) -> None:
    app = await open_app()
    await app.choose("device-1", layers=1, fanout=1)
    await app.page.evaluate(
        """() => {
             window.announced = [];
             const live = "[aria-live]:not([aria-live=off]), [role=status], [role=alert]"
               + ", [role=log]:not([aria-live=off])";
             new MutationObserver(changes => {
               for (const change of changes) {
                 const element = change.target instanceof Element ? change.target : change.target.parentElement;
                 const region = element?.closest("[aria-live], [role=status], [role=alert], [role=log]");
                 if (region?.matches(live) && !element.closest("[aria-live=off], [aria-busy=true]"))
                   window.announced.push(element.closest('[data-part="answer"]') ? "token" : region.textContent);
               }
             }).observe(document, { subtree: true, childList: true, characterData: true });
           }"""
    )
    exchange = await app.ask("Quietly, please.")
    await exchange.until("answered")
    said: list[str] = await app.page.evaluate("() => window.announced")
    assert any("answered" in text.lower() or "answer" in text.lower() for text in said), said
    assert said.count("token") <= 1, said
