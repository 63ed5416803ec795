"""How quickly the app starts: bytes, paints and time to interactive, on this machine and as a slow phone would.

The slow phone is Chromium's own emulation with the figures that Lighthouse uses for "slow 4G" and a phone's processor.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from playwright.async_api import Browser, CDPSession, Page

from tests.support.browser import PHONE, AppPage, Pairing, new_context

CPU_SLOWDOWN = 4
ROUND_TRIP_MS = 150
DOWN_BITS_PER_S = 1_638_400
UP_BITS_PER_S = 750_000
QUIET_S = 5.0  # a page is interactive when its main thread has had no long task for so long after the first paint
LOAD_WAIT_S = 60.0

# Buffered: tells also what happened before it was asked. A task is long from 50 ms on.
_COLLECT = """
() => {
  window.paints = { long: [] };
  new PerformanceObserver((list) => list.getEntries().forEach((one) => (window.paints[one.name] = one.startTime)))
    .observe({ type: "paint", buffered: true });
  new PerformanceObserver((list) => list.getEntries().forEach((one) => (window.paints.largest = one.startTime)))
    .observe({ type: "largest-contentful-paint", buffered: true });
  new PerformanceObserver((list) =>
    list.getEntries().forEach((one) => window.paints.long.push([one.startTime, one.duration])))
    .observe({ type: "longtask", buffered: true });
  new PerformanceObserver((list) =>
    list.getEntries().forEach((one) => {
      if (!one.hadRecentInput) window.paints.shift = (window.paints.shift ?? 0) + one.value;
    }))
    .observe({ type: "layout-shift", buffered: true });
}
"""


@dataclass(frozen=True, slots=True)
class LoadFigures:
    """Times are milliseconds from the navigation's start.

    requests, bytes: over the network until the app can ask (compressed, with headers). Without the service worker,
    which fetches the rest for being offline: a file would not count for the page if the worker asked for it first.
    largest_file: the name of the largest and its bytes.
    interactive: the end of the last long task, or the first paint. blocked: by how much long tasks were too long.
    shift: how much the page's parts moved while it came (0 none; up to 0.1 counts as good).
    """

    requests: int
    bytes: int
    largest_file: str
    first_paint_ms: float
    largest_paint_ms: float
    interactive_ms: float
    blocked_ms: float
    shift: float


class _Transfers:
    """What went over the network, by Chromium's account."""

    def __init__(self, session: CDPSession) -> None:
        self.files: dict[str, tuple[str, int]] = {}
        self._urls: dict[str, str] = {}
        session.on("Network.responseReceived", self._received)
        session.on("Network.loadingFinished", self._finished)

    def _received(self, event: dict[str, Any]) -> None:
        self._urls[event["requestId"]] = event["response"]["url"]

    def _finished(self, event: dict[str, Any]) -> None:
        url = self._urls.get(event["requestId"], "")
        if url.startswith("http"):
            self.files[event["requestId"]] = (url, int(event["encodedDataLength"]))


async def load(browser: Browser, app_url: str, pairing: Pairing | None, *, slow: bool) -> LoadFigures:
    """Opens the app for the first time (nothing cached, no service worker) on a phone's screen."""
    context = await new_context(browser, PHONE, service_worker=False)
    try:
        page = await context.new_page()
        session = await context.new_cdp_session(page)
        await session.send("Network.enable")
        if slow:
            await session.send("Emulation.setCPUThrottlingRate", {"rate": CPU_SLOWDOWN})
            await session.send(
                "Network.emulateNetworkConditions",
                {
                    "offline": False,
                    "latency": ROUND_TRIP_MS,
                    "downloadThroughput": DOWN_BITS_PER_S / 8,
                    "uploadThroughput": UP_BITS_PER_S / 8,
                },
            )
        transfers = _Transfers(session)
        await page.goto(pairing.link(app_url) if pairing else app_url, timeout=LOAD_WAIT_S * 1e3)
        shown = AppPage(page, app_url)
        if pairing:
            await shown.until_online()
        started = list(transfers.files.values())
        await page.evaluate(_COLLECT)
        paints = await _settled(page)
        return _figures(started, paints)
    finally:
        await context.close()


async def _settled(page: Page) -> dict[str, Any]:
    """What was painted, once the main thread has been quiet."""

    async def until(done: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
        async with asyncio.timeout(LOAD_WAIT_S):
            while True:
                paints: dict[str, Any] = await page.evaluate("() => ({...window.paints, now: performance.now()})")
                if done(paints):
                    return paints
                await asyncio.sleep(0.25)

    def quiet(paints: dict[str, Any]) -> bool:
        last = max([start + lasted for start, lasted in paints["long"]], default=0.0)
        since = max(last, paints.get("first-contentful-paint", float("inf")))
        return bool(paints["now"] - since >= QUIET_S * 1e3)

    return await until(quiet)


def _figures(files: list[tuple[str, int]], paints: dict[str, Any]) -> LoadFigures:
    first = float(paints["first-contentful-paint"])
    late = [(start, lasted) for start, lasted in paints["long"] if start + lasted > first]
    largest = max(files, key=lambda file: file[1])
    return LoadFigures(
        requests=len(files),
        bytes=sum(size for _, size in files),
        largest_file=f"{largest[0].rsplit('/', 1)[-1]} ({largest[1] / 1024:.0f} KiB)",
        first_paint_ms=first,
        largest_paint_ms=float(paints.get("largest", first)),
        interactive_ms=max([start + lasted for start, lasted in late], default=first),
        blocked_ms=sum(lasted - 50.0 for _, lasted in late),
        shift=float(paints.get("shift", 0.0)),
    )
