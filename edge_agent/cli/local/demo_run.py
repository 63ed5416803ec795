"""The product shown: real prompts, one at each device, answered together, with what it took."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass

from rich.console import Console

from edge_agent.cli.ask.answers_view import answers_view
from edge_agent.cli.local.board import Board
from edge_agent.cli.local.live import shown_batch
from edge_agent.cli.prompts.batch import Job, Pace, run_batch
from edge_agent.cli.prompts.load_record import LoadRecord
from edge_agent.cli.prompts.summary import RunSummary, summarise
from edge_agent.cli.prompts.view import load_table
from edge_agent.cli.results import AskResult, device_object, result_object
from edge_agent.cli.terminal import JsonObject
from edge_agent.cli.watch.devices_view import devices_table
from edge_agent.client import DeviceView, MeshClient
from edge_agent.core.messages import PromptOptions
from edge_agent.fleet.local import LocalFleet

PROMPTS = (
    "Why is the sky blue during the day and red at sunset?",
    "Give me three tips for sleeping well on a hot night.",
    "What does a lighthouse keeper do? Answer in three sentences.",
    "How can I keep basil alive on a windowsill?",
    "Explain to a child why ice floats on water.",
    "Name two reasons to walk to work and one against it.",
    "What is the difference between weather and climate?",
    "Suggest a simple dinner from rice, eggs and spinach.",
)
LAST_STATUS_INTERVALS = 2.5  # the status after the last answer closes the record; a device that died sends none


@dataclass(frozen=True, slots=True)
class DemoRun:
    """What a demo came to."""

    results: tuple[AskResult, ...]
    summary: RunSummary
    devices: tuple[DeviceView, ...]
    seen_at: float


async def run_demo(console: Console, fleet: LocalFleet, prompt_count: int, options: PromptOptions) -> DemoRun:
    """Asks every device in turn and shows how the answers come about."""
    record = LoadRecord()
    async with MeshClient(fleet.url, fleet.mesh) as client:
        await client.discover(at_least=len(fleet.devices))
        await client.start_watching(record.watch)
        device_ids = fleet.plan.device_ids
        jobs = [
            Job(number, PROMPTS[number % len(PROMPTS)], device_ids[number % len(device_ids)], options)
            for number in range(prompt_count)
        ]
        note = f"{fleet.broker.kind} at {fleet.url} · Ctrl-C stops everything"
        with shown_batch(console, client, Board(jobs), note) as observer:
            begun_at = time.monotonic()
            results = await run_batch(client, jobs, Pace(concurrency=len(jobs)), observer, fleet.until_died)
            duration_s = time.monotonic() - begun_at
            await asyncio.sleep(LAST_STATUS_INTERVALS * fleet.plan.status_interval_s)
        summary = summarise(results, record.loads(), duration_s)
        return DemoRun(tuple(results), summary, client.roster.all(), time.monotonic())


def show_demo(console: Console, run: DemoRun) -> None:
    """The answers, the devices and the load, after the live view."""
    console.print()
    console.print(answers_view(run.results))
    console.print(devices_table(run.devices, run.seen_at, title="devices"))
    console.print()
    console.print(load_table(run.summary))
    console.print(
        f"{run.summary.answered} of {run.summary.prompts} prompts answered in {run.summary.duration_s:.1f} s",
        style="good" if run.summary.answered == run.summary.prompts else "bad",
    )


def demo_object(fleet: LocalFleet, run: DemoRun) -> JsonObject:
    """Everything a demo has to say, for JSON."""
    return {
        "answers": [result_object(result) for result in run.results],
        "devices": [device_object(view, run.seen_at) for view in run.devices],
        "broker": {"kind": fleet.broker.kind, "url": fleet.url, "limitations": fleet.broker.limitations},
        "engine": fleet.plan.engine.value,
        "stability": run.summary.as_object(),
    }
