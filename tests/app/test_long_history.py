"""A chat of a thousand messages, scrolled by Chromium and read out of its trace."""

from __future__ import annotations

import asyncio

import pytest
from playwright.async_api import Browser, expect

from tests.app.conftest import OpenApp
from tests.support.browser import PHONE, WAIT_MS, AppPage
from tests.support.page_history import MESSAGES, fill
from tests.support.page_scroll import ScrollFigures, scroll
from tests.support.patience import PATIENCE_S

pytestmark = [pytest.mark.broker, pytest.mark.asyncio(loop_scope="session")]

SHORT = 60  # messages of the chat that is compared: long enough to scroll as far
FAR_PX = 6_000
REACHED = 240  # messages to go back through: several pages of what is drawn at a time
WORK_RATIO_MAX = 3.0  # of the main thread for each frame. Without windowing it was tens; noise of a busy machine is 1.5

_GO_BACK = r"""
log => new Promise(done => {
  for (let one = log; one; one = one.parentElement)
    if (one.scrollHeight > one.clientHeight + 1) { one.scrollTop = 0; break; }
  // not by Playwright: the page may go on by itself and take the button away before a click from outside arrives
  [...log.querySelectorAll("button")].find(button => /^\d+ earlier$/.test(button.textContent.trim()))?.click();
  requestAnimationFrame(() => requestAnimationFrame(done));
})
"""


async def scrolled(open_app: OpenApp, chromium: Browser, messages: int) -> ScrollFigures:
    app: AppPage = await open_app(PHONE)
    await app.choose("device-1", layers=0)
    exchange = await app.ask("Why is the sky blue?")
    await exchange.until("answered")
    await fill(app, exchange, messages)
    await expect(app.page.get_by_text("Why is the sky blue?").last).to_be_visible(timeout=WAIT_MS)
    log = '[role="log"]'
    await scroll(chromium, app.page, log, FAR_PX)  # once, so that both have their fonts and code
    return await scroll(chromium, app.page, log, -FAR_PX)


@pytest.mark.long
async def test_a_thousand_messages_scroll_like_sixty(open_app: OpenApp, chromium: Browser) -> None:
    short = await scrolled(open_app, chromium, SHORT)
    long = await scrolled(open_app, chromium, MESSAGES)
    assert short.pixels > FAR_PX / 2, short
    assert long.pixels > FAR_PX / 2, long
    assert long.busy_ms_per_frame < WORK_RATIO_MAX * short.busy_ms_per_frame, (long, short)
    assert long.long_tasks <= short.long_tasks + 2, (long, short)


async def test_every_message_of_a_long_history_can_be_reached(open_app: OpenApp) -> None:
    app = await open_app(PHONE)
    await app.choose("device-1", layers=0)
    exchange = await app.ask("The very last one.")
    await exchange.until("answered")
    await fill(app, exchange, REACHED)
    await expect(app.page.get_by_text("The very last one.").last).to_be_visible(timeout=WAIT_MS)
    first = app.page.get_by_text("Question 0: why", exact=False).first
    log = app.page.get_by_role("log", name="Conversation")
    async with asyncio.timeout(PATIENCE_S):
        while not await first.is_visible():  # false also while it is not drawn yet
            await log.evaluate(_GO_BACK)
    await expect(first).to_be_visible()
