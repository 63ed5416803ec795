"""Draws the pictures of the demo in docs/img from a real run: `python scripts/demo_picture.py [--engine synthetic]`.

Four devices on this host answer one prompt each, as in `moamesh demo`. The first picture is the live view half-way
through, the second what the demo says at the end.
"""

from __future__ import annotations

import argparse
import asyncio
import io
import re
import time
from pathlib import Path

from rich.console import Console

from edge_agent.cli.local.board import Board
from edge_agent.cli.local.dashboard_view import dashboard
from edge_agent.cli.local.demo_run import PROMPTS, DemoRun, show_demo
from edge_agent.cli.local.mesh import make_plan
from edge_agent.cli.prompts.batch import Job, Observer, Pace, run_batch
from edge_agent.cli.prompts.load_record import LoadRecord
from edge_agent.cli.prompts.summary import summarise
from edge_agent.cli.terminal import THEME
from edge_agent.client import MeshClient
from edge_agent.core.messages import LayerProgress, PromptOptions, Sampling
from edge_agent.fleet.local import LocalFleet

FOLDER = Path(__file__).resolve().parent.parent / "docs" / "img"
COLUMNS = 110
TOKENS_MAX = 96


def recorder(height: int) -> Console:
    """Returns a console that only remembers."""
    return Console(
        record=True, force_terminal=True, width=COLUMNS, height=height, theme=THEME, highlight=False, file=io.StringIO()
    )


async def draw(engine: str) -> None:
    """Runs the demo and writes both pictures."""
    live, end = recorder(38), recorder(120)
    plan = make_plan(Console(stderr=True), devices=4, engine=engine, models=None, service="exponential:1.0")
    async with LocalFleet(plan) as fleet, MeshClient(fleet.url, fleet.mesh) as client:
        record = LoadRecord()
        await client.discover(at_least=4)
        await client.start_watching(record.watch)
        options = PromptOptions(layers=2, fanout=2, sampling=Sampling(max_output_tokens=TOKENS_MAX))
        jobs = [Job(number, PROMPTS[number], f"device-{number + 1}", options) for number in range(4)]
        board = Board(jobs)
        taken = 0

        def on_message(job: Job, message: object) -> None:
            nonlocal taken
            board.take(job, message)  # type: ignore[arg-type]  # what `Observer` is given
            taken += not isinstance(message, LayerProgress)
            if taken == 4 * 12:  # receipts, then tokens: some answers are under way, some devices still wait
                live.print(dashboard(live, board, client.roster.all(), time.monotonic(), fleet.broker.kind))

        begun_at = time.monotonic()
        results = await run_batch(client, jobs, Pace(concurrency=4), Observer(on_message, board.end), fleet.until_died)
        duration_s = time.monotonic() - begun_at
        await asyncio.sleep(2.5 * plan.status_interval_s)  # the status after the last answer
        summary = summarise(results, record.loads(), duration_s)
        show_demo(end, DemoRun(tuple(results), summary, client.roster.all(), time.monotonic()))
    FOLDER.mkdir(exist_ok=True)
    for name, console in (("demo-live", live), ("demo-end", end)):
        picture = re.sub(r"@font-face\s*\{.*?\}", "", console.export_svg(title="moamesh demo"), flags=re.DOTALL)
        (FOLDER / f"{name}.svg").write_text(picture, encoding="utf-8")  # fonts of the reader's own, none fetched


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--engine", default="auto")
    asyncio.run(draw(parser.parse_args().engine))
