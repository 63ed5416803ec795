"""How smoothly a page scrolls: a scroll gesture by Chromium itself, read out of its own trace."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from playwright.async_api import Browser, Page

LONG_TASK_MS = 50.0  # as the Long Tasks API has it: a finger notices a main thread that is away for longer
# RunTask is what a thread does in one go; PipelineReporter is what became of a frame.
_CATEGORIES = (
    "-*",
    "disabled-by-default-devtools.timeline",
    "disabled-by-default-devtools.timeline.frame",
    "blink.user_timing",
)
_BEGIN, _END = "scroll-begin", "scroll-end"
_GESTURE_PX_MAX = 20_000  # one gesture; further ones continue, as a hand would


@dataclass(frozen=True, slots=True)
class ScrollFigures:
    """What a scroll cost. Times are milliseconds of the page's main thread.

    frames: shown while scrolling. dropped: those that should have been and were not, where an eye sees it.
    blank: frames in which a part of the page was not drawn yet. pixels: how far it went.
    """

    frames: int
    dropped: int
    blank: int
    long_tasks: int
    longest_task_ms: float
    busy_ms: float
    lasted_ms: float
    pixels: float

    @property
    def busy_ms_per_frame(self) -> float:
        """The main thread's work for each frame shown: what grows where scrolling depends on the page's length."""
        return self.busy_ms / max(1, self.frames)


async def scroll(browser: Browser, page: Page, selector: str, pixels: int, speed: int = 4000) -> ScrollFigures:
    """Scrolls the element up (negative `pixels`: down) by a gesture over its middle, at `speed` pixels a second."""
    where = await page.locator(selector).bounding_box()
    assert where is not None
    size = page.viewport_size
    assert size is not None
    middle = where["y"] + min(where["height"], size["height"] - where["y"]) / 2
    session = await page.context.new_cdp_session(page)
    await browser.start_tracing(page=page, categories=list(_CATEGORIES))
    left = abs(pixels)
    before = await _position(page, selector)
    await page.evaluate(f"performance.mark('{_BEGIN}')")
    while left > 0:
        step = min(left, _GESTURE_PX_MAX)
        await session.send(
            "Input.synthesizeScrollGesture",
            {
                "x": where["x"] + where["width"] / 2,
                "y": middle,
                "yDistance": step if pixels > 0 else -step,
                "speed": speed,
            },
        )
        left -= step
    await page.evaluate(f"performance.mark('{_END}')")
    after = await _position(page, selector)
    events = json.loads(await browser.stop_tracing())["traceEvents"]
    await session.detach()
    return _read(events, abs(after - before))


async def _position(page: Page, selector: str) -> float:
    """Where the element's nearest scroller stands; the page itself where there is none."""
    return float(
        await page.locator(selector).evaluate(
            """element => {
                 for (let one = element; one; one = one.parentElement)
                   if (one.scrollHeight > one.clientHeight + 1 && /auto|scroll/.test(getComputedStyle(one).overflowY))
                     return one.scrollTop;
                 return window.scrollY;
               }"""
        )
    )


def _read(events: list[dict[str, Any]], pixels: float) -> ScrollFigures:
    marks = {event["name"]: event for event in events if event["name"] in (_BEGIN, _END)}
    begin, end = marks[_BEGIN], marks[_END]
    inside = [event for event in events if begin["ts"] <= event.get("ts", 0) <= end["ts"]]
    tasks = [
        event["dur"] / 1e3
        for event in inside
        if event["name"] == "RunTask" and (event["pid"], event["tid"]) == (begin["pid"], begin["tid"])
    ]
    reports = [
        event["args"]["frame_reporter"]
        for event in inside
        if event["name"] == "PipelineReporter" and event["pid"] == begin["pid"] and "frame_reporter" in event["args"]
    ]
    states = [report["state"] for report in reports]
    return ScrollFigures(
        frames=sum(state in ("STATE_PRESENTED_ALL", "STATE_PRESENTED_PARTIAL") for state in states),
        dropped=sum(report["state"] == "STATE_DROPPED" and bool(report["affects_smoothness"]) for report in reports),
        blank=sum(bool(report.get("has_missing_content")) for report in reports),
        long_tasks=sum(task > LONG_TASK_MS for task in tasks),
        longest_task_ms=max(tasks, default=0.0),
        busy_ms=sum(tasks),
        lasted_ms=(end["ts"] - begin["ts"]) / 1e3,
        pixels=pixels,
    )
