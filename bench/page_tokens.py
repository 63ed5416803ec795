"""From a token out of llama.cpp to the token on the page, in the app and, in turns, in a bare page (`bench.page_echo`).

Same device, same model, same prompts, same broker; engine, app and echo are stamped by one clock, because they run on
one host. A token counts from the moment its text leaves the engine in the device's process (behind the pipe from
llama.cpp's own) to the moment when the page's document holds it, and to the end of the frame that draws it.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import statistics
import sys
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from playwright.async_api import Browser, Page

from bench.page_echo import PROMPT_ID, open_echo
from edge_agent.client import MeshClient
from edge_agent.config import AgentConfig, BrokerSection, DeviceSection, EngineSection, write_config
from edge_agent.core.messages import PromptOptions, Sampling
from edge_agent.fleet.local import LocalFleet
from edge_agent.models import DEFAULT_MODEL
from edge_agent.wire import topics
from tests.support.browser import PHONE, AppPage, Pairing, new_context
from tests.support.polling import until

DEVICE = "bench"
MAX_TOKENS = 256  # the app's default
QUESTIONS = (
    "Tell me a story about a lighthouse keeper.",
    "Why is the sky blue?",
    "Describe a walk through a forest in autumn.",
    "What does a baker do all day?",
    "How do birds find their way?",
)
ANSWER_WAIT_MS = 120_000
STAMPS_WAIT_S = 20.0

# The end of each frame that changed the text: (ms since 1970, letters then). The frame's own callback posts a message,
# which is delivered after the frame was drawn.
_FRAMES = """
() => {
  window.frames_shown = [];
  let before = -1;
  const channel = new MessageChannel();
  channel.port1.onmessage = () => {
    const answers = document.querySelectorAll('[data-prompt-id] [data-part="answer"]');
    const letters = answers.length ? answers[answers.length - 1].textContent.replace(/[^A-Za-z]/g, "").length : 0;
    if (letters !== before) window.frames_shown.push([performance.timeOrigin + performance.now(), letters]);
    before = letters;
  };
  const frame = () => { channel.port2.postMessage(0); requestAnimationFrame(frame); };
  requestAnimationFrame(frame);
}
"""

Notes = list[tuple[float, int]]
"""(ms since 1970, letters of the text so far)."""


@dataclass(frozen=True, slots=True)
class Latency:
    """Milliseconds from the engine to the page, of all tokens of all answers. `unlike`: answers left out, because the
    page's letters are not the engine's (Markdown swallowed some)."""

    tokens: int
    in_page_p50_ms: float
    in_page_p95_ms: float
    drawn_p50_ms: float
    drawn_p95_ms: float
    unlike: int


@contextlib.asynccontextmanager
async def stamped_device(fleet: LocalFleet, echo_topic: str) -> AsyncIterator[Path]:
    """A device with llama.cpp and a stamping engine in the fleet's mesh; yields the file of its stamps."""
    folder = fleet.folder / DEVICE
    config = AgentConfig(
        device=DeviceSection(id=DEVICE, mesh=fleet.mesh, data_dir=folder),
        broker=BrokerSection(urls=(fleet.url,)),
        engine=EngineSection(kind="llama", model=DEFAULT_MODEL, threads=1),
    )
    write_config(config, folder / "agent.toml")
    stamps = folder / "stamps"
    with (folder / "agent.log").open("wb") as log:
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "bench.page_device", "--config", str(folder / "agent.toml")),
            *("--stamps", str(stamps), "--echo-topic", echo_topic),
            stdout=log,
            stderr=log,
        )
    try:
        async with MeshClient(fleet.url, fleet.mesh) as client:
            await client.discover(60.0, at_least=len(fleet.devices) + 1)
        yield stamps
    finally:
        if process.returncode is None:
            process.terminate()
        await process.wait()


async def measure_tokens(browser: Browser, fleet: LocalFleet, app_url: str, rounds: int) -> tuple[Latency, Latency]:
    """Returns the app's latency and the bare page's."""
    user, ears = "bench-user", "bench-echo"
    asking = Pairing(fleet.mesh, (fleet.web_url,), user, await fleet.add_user(user))
    listening = Pairing(fleet.mesh, (fleet.web_url,), ears, await fleet.add_user(ears))
    topic = topics.build(fleet.mesh, DEVICE, topics.Channel.ANSWERS, topics.user_login(ears), "app")
    app_pairs: list[tuple[Notes, Notes, Notes]] = []
    echo_pairs: list[tuple[Notes, Notes, Notes]] = []
    async with stamped_device(fleet, topic) as stamps:
        for number in range(rounds):
            question = QUESTIONS[number % len(QUESTIONS)]
            app_pairs.append(await _through_app(browser, AppSide(app_url, asking), stamps, question))
            echo_pairs.append(await _through_echo(browser, fleet, listening, topic, stamps, question))
    return _latency(app_pairs), _latency(echo_pairs)


@dataclass(frozen=True, slots=True)
class AppSide:
    """Where the app is, and as whom."""

    url: str
    pairing: Pairing


async def _through_app(browser: Browser, side: AppSide, stamps: Path, question: str) -> tuple[Notes, Notes, Notes]:
    context = await new_context(browser, PHONE)
    try:
        app = AppPage(await context.new_page(), side.url)
        await app.open(side.pairing)
        await app.choose(DEVICE, layers=0)
        await app.page.evaluate(_FRAMES)
        before = len(_lines(stamps))
        exchange = await app.ask(question)
        await exchange.until("answered", wait_ms=ANSWER_WAIT_MS)
        shown = [(at, letters) for at, _, letters in await exchange.witnessed()]
        return await _new_stamps(stamps, before), shown, await _drawn(app.page)
    finally:
        await context.close()


async def _through_echo(
    browser: Browser, fleet: LocalFleet, pairing: Pairing, topic: str, stamps: Path, question: str
) -> tuple[Notes, Notes, Notes]:
    page = await open_echo(browser, pairing, topic)
    try:
        await page.evaluate(_FRAMES)
        before = len(_lines(stamps))
        async with MeshClient(fleet.url, fleet.mesh) as client:
            options = PromptOptions(layers=0, sampling=Sampling(max_output_tokens=MAX_TOKENS))
            await client.ask_to_end(DEVICE, question, options)
        left = await _new_stamps(stamps, before)
        await page.wait_for_function(
            "([id, letters]) => (window.witness[id] ?? []).some((note) => note[2] >= letters)",
            arg=[PROMPT_ID, left[-1][1]],
        )
        notes: list[Any] = await page.evaluate("id => window.witness[id]", PROMPT_ID)
        return left, [(at, letters) for at, _, letters in notes], await _drawn(page)
    finally:
        await page.context.close()


async def _drawn(page: Page) -> Notes:
    await page.evaluate("() => new Promise(done => requestAnimationFrame(() => requestAnimationFrame(done)))")
    notes: list[Any] = await page.evaluate("() => window.frames_shown")
    return [(float(at), int(letters)) for at, letters in notes]


def _lines(stamps: Path) -> list[str]:
    return stamps.read_text("utf-8").splitlines() if stamps.exists() else []


async def _new_stamps(stamps: Path, before: int) -> Notes:
    await until(lambda: len(_lines(stamps)) > before, "the device wrote its stamps", STAMPS_WAIT_S)
    notes: list[Any] = json.loads(_lines(stamps)[-1])
    return [(float(at), int(letters)) for at, letters in notes]


def latencies(left: Notes, shown: Notes) -> list[float]:
    """For each piece that brought letters, the milliseconds until they were all there."""
    found, index, had = [], 0, 0
    for at, letters in left:
        if letters == had:
            continue  # white space or a mark: cannot be told apart on the page
        had = letters
        while index < len(shown) and shown[index][1] < letters:
            index += 1
        if index == len(shown):
            break
        found.append(shown[index][0] - at)
    return found


def _latency(rounds: list[tuple[Notes, Notes, Notes]]) -> Latency:
    alike = [one for one in rounds if one[0][-1][1] == one[1][-1][1]]
    in_page = [ms for left, shown, _ in alike for ms in latencies(left, shown)]
    drawn = [ms for left, _, frames in alike for ms in latencies(left, frames)]
    if not in_page or not drawn:
        raise SystemExit("no answer's letters came to the page as they left the engine")
    return Latency(len(in_page), *_quantiles(in_page), *_quantiles(drawn), unlike=len(rounds) - len(alike))


def _quantiles(values: list[float]) -> tuple[float, float]:
    return statistics.median(values), statistics.quantiles(values, n=20)[-1]
