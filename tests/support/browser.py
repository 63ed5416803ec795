"""The app in a real browser: Debian's Chromium driven by Playwright, and the page as its users know it.

What is on the page is found by role and accessible name, as a screen reader finds it, never by class or position.
"""

from __future__ import annotations

import base64
import contextlib
import json
import re
import shutil
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any, Literal

from playwright.async_api import Browser, BrowserContext, Locator, Page, async_playwright, expect

from tests.support.patience import PATIENCE_S

# Debian's; Playwright's own would be another 150 MB to download. The shell is the same browser without what is around a
# page, which nobody sees here: a page costs half as much.
_SHELL, _WHOLE = "/usr/lib/chromium/chromium-headless-shell", "/usr/bin/chromium"
CHROMIUM = _SHELL if shutil.which(_SHELL) else _WHOLE
WAIT_MS = 1000 * PATIENCE_S  # for one thing to show
expect.set_options(timeout=WAIT_MS)

PLAIN_HOST = "192.0.2.7"  # of an address range for documentation; this browser takes it for loopback
"""As an address in a network: to a browser, plain http from there is no secure context, unlike from loopback."""

Scheme = Literal["light", "dark"]


@dataclass(frozen=True, slots=True)
class Screen:
    """A size of page to look at, in CSS pixels."""

    name: str
    width: int
    height: int
    touch: bool = False


PHONE = Screen("phone", 390, 844, touch=True)
DESKTOP = Screen("desktop", 1280, 800)
SCREENS = (PHONE, DESKTOP)

# Notes when an answer's text grows and its state changes, by prompt id: [ms since 1970, state, letters], as the DOM has
# it. Letters, because Markdown takes marks and digits (of numbered lists) out of the text, but no letter.
WITNESS = r"""
(() => {
  const seen = (window.witness = {});
  const look = (article) => {
    const answer = article.querySelector('[data-part="answer"]');
    const letters = answer ? answer.textContent.replace(/[^A-Za-z]/g, "").length : 0;
    const notes = (seen[article.dataset.promptId] ??= []);
    const last = notes[notes.length - 1];
    if (!last || last[1] !== article.dataset.state || last[2] !== letters)
      notes.push([performance.timeOrigin + performance.now(), article.dataset.state, letters]);
  };
  new MutationObserver((changes) => {
    const articles = new Set();
    for (const change of changes) {
      const element = change.target instanceof Element ? change.target : change.target.parentElement;
      const article = element?.closest("[data-prompt-id]");
      if (article) articles.add(article);
      for (const node of change.addedNodes)
        if (node instanceof Element)
          for (const found of [node, ...node.querySelectorAll("[data-prompt-id]")])
            if (found.matches("[data-prompt-id]")) articles.add(found);
    }
    articles.forEach(look);
  }).observe(document, { subtree: true, childList: true, characterData: true, attributes: true,
                         attributeFilter: ["data-state"] });
})();
"""


def chromium_is_here() -> bool:
    """Whether the browser is installed."""
    return shutil.which(CHROMIUM) is not None


@contextlib.asynccontextmanager
async def launched() -> AsyncIterator[Browser]:
    """A browser; each test opens its own context in it, which shares nothing with others."""
    async with async_playwright() as playwright:
        # no sandbox: tests also run as root in containers; what they load is their own
        arguments = ["--no-sandbox", f"--host-resolver-rules=MAP {PLAIN_HOST} 127.0.0.1"]
        browser = await playwright.chromium.launch(executable_path=CHROMIUM, args=arguments)
        try:
            yield browser
        finally:
            await browser.close()


async def new_context(
    browser: Browser,
    screen: Screen = DESKTOP,
    scheme: Scheme = "light",
    scale: float = 1.0,
    *,
    service_worker: bool = True,
) -> BrowserContext:
    """A browser profile of its own: storage, cookies, service worker. The caller closes it."""
    context = await browser.new_context(
        viewport={"width": screen.width, "height": screen.height},
        has_touch=screen.touch,
        is_mobile=screen.touch,
        color_scheme=scheme,
        device_scale_factor=scale,
        service_workers="allow" if service_worker else "block",
        locale="en-GB",
        timezone_id="UTC",
    )
    context.set_default_timeout(WAIT_MS)
    await context.add_init_script(WITNESS)
    return context


@dataclass(frozen=True, slots=True)
class Pairing:
    """What a pairing link holds."""

    mesh: str
    brokers: tuple[str, ...]
    user: str
    secret: str
    devices: tuple[str, ...] | None = None

    def link(self, app_url: str) -> str:
        """The link as `moamesh pair` prints it."""
        fields: dict[str, Any] = {
            "v": 1,
            "mesh": self.mesh,
            "brokers": list(self.brokers),
            "user": self.user,
            "secret": self.secret,
        }
        if self.devices is not None:
            fields["devices"] = list(self.devices)
        text = base64.urlsafe_b64encode(json.dumps(fields).encode()).decode().rstrip("=")
        return f"{app_url.rstrip('/')}/#pair={text}"


@dataclass
class AppPage:
    """One page of the app. `errors` are uncaught exceptions, `refused` what its own rules (CSP) forbade it."""

    page: Page
    app_url: str
    errors: list[str] = field(default_factory=list)
    refused: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.page.on("pageerror", lambda error: self.errors.append(str(error)))
        self.page.on(
            "console",
            lambda said: self.refused.append(said.text) if "Content Security Policy" in said.text else None,
        )

    @property
    def prompt(self) -> Locator:
        """Where prompts are written."""
        return self.page.get_by_role("textbox", name="Prompt")

    @property
    def connection(self) -> Locator:
        """The word on the connection."""
        return self.page.get_by_role("status", name="Connection")

    @property
    def articles(self) -> Locator:
        """The exchanges of the conversation."""
        return self.page.get_by_role("log", name="Conversation").get_by_role("article")

    def device(self, device_id: str) -> Locator:
        """A device of the mesh view."""
        return self.page.locator(f'article[data-device="{device_id}"]')

    async def go(self, name: str) -> None:
        """Goes to another page of the app by its navigation."""
        link = self.page.get_by_role("navigation", name="Main").get_by_role("link", name=name, exact=True)
        await link.click()
        await expect(link).to_have_attribute("aria-current", "page", timeout=WAIT_MS)

    async def until_link(self, link: str) -> None:
        """Waits until the connection stands so: "online", "offline", "refused"."""
        await expect(self.connection).to_have_attribute("data-link", link, timeout=WAIT_MS)

    async def open(self, pairing: Pairing | None = None) -> None:
        """Opens the app, paired by link if there is one, and waits for its connection."""
        await self.page.goto(pairing.link(self.app_url) if pairing else self.app_url)
        if pairing:
            await self.until_online()

    async def until_online(self) -> None:
        """Waits until the app is connected."""
        await self.until_link("online")

    async def until_still(self) -> None:
        """Waits until nothing moves any more, except what moves for as long as it is there (a sign of work)."""
        await self.page.wait_for_function(
            "() => document.getAnimations().every(one => one.playState !== 'running'"
            " || one.effect?.getComputedTiming().iterations === Infinity)"
        )

    async def until_device(self, device_id: str) -> None:
        """Waits until a device is known that may be asked."""
        options = self.page.get_by_role("combobox", name="Device").locator("option")
        await options.filter(has_text=device_id).wait_for(state="attached")

    async def choose(self, device_id: str, layers: int | None = None, fanout: int | None = None) -> None:
        """Chooses who is asked, and how."""
        await self.page.get_by_role("combobox", name="Device").select_option(device_id)
        depth = self.page.locator('[aria-controls="ask-options"]')
        if layers is not None and await depth.get_attribute("aria-expanded") == "false":
            await depth.click()
        for name, value in (("Layers", layers), ("Fanout", fanout)):
            if value is not None:
                await self.page.get_by_role("slider", name=name).fill(str(value))

    async def ask(self, text: str) -> Exchange:
        """Asks, and returns the new exchange."""
        before = await self.articles.count()
        await self.prompt.fill(text)
        await self.page.get_by_role("button", name="Ask", exact=True).click()
        await expect(self.articles).to_have_count(before + 1, timeout=WAIT_MS)
        prompt_id = await self.articles.last.get_attribute("data-prompt-id")
        assert prompt_id
        return self.exchange(prompt_id)

    def exchange(self, prompt_id: str) -> Exchange:
        """The exchange with this id."""
        return Exchange(prompt_id, self.page.locator(f'[data-prompt-id="{prompt_id}"]'))


@dataclass(frozen=True)
class Exchange:
    """A prompt and what came back, as it stands on the page."""

    prompt_id: str
    article: Locator

    @property
    def answer(self) -> Locator:
        """The answer's text."""
        return self.article.locator('[data-part="answer"]')

    async def read(self) -> str:
        """The answer as a reader sees it, once it is drawn: until then it has no inner text (`content-visibility`)."""
        await expect(self.answer).to_have_text(re.compile(r"\S"), use_inner_text=True, timeout=WAIT_MS)
        return await self.answer.inner_text()

    async def state(self) -> str:
        """Where it stands."""
        return await self.article.get_attribute("data-state") or ""

    async def until(self, *states: str, wait_ms: float = WAIT_MS) -> None:
        """Waits until it is in one of these states."""
        wanted = re.compile(f"^({'|'.join(states)})$")
        await expect(self.article).to_have_attribute("data-state", wanted, timeout=wait_ms)

    async def witnessed(self) -> list[tuple[float, str, int]]:
        """What the page showed of it since it was loaded: (ms since 1970, state, letters of the answer)."""
        notes = await self.article.page.evaluate("id => window.witness[id] ?? []", self.prompt_id)
        return [(float(at), str(state), int(letters)) for at, state, letters in notes]
