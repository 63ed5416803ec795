"""Runs a file of prompts over a mesh and keeps what came of each."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console, Group, RenderableType
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from edge_agent.cli.local.live import live_view
from edge_agent.cli.mesh_address import MeshAddress
from edge_agent.cli.prompts.batch import DiesWith, Job, Observer, Pace, run_batch
from edge_agent.cli.prompts.file import DATASPLIT, PromptEntry, ProvenanceFile, write_outputs
from edge_agent.cli.prompts.load_record import LoadRecord
from edge_agent.cli.prompts.summary import RunSummary, summarise
from edge_agent.cli.results import AskResult, result_object
from edge_agent.cli.terminal import JsonObject, safe_text
from edge_agent.cli.watch.devices_view import devices_table
from edge_agent.client import MeshClient
from edge_agent.core.errors import SettingsError
from edge_agent.core.messages import DeviceToUser, PromptOptions

STATUS_WAIT_S = 6.0  # one status interval of a device with default settings: closes the record after the last answer


@dataclass(frozen=True, slots=True)
class PromptsRun:
    """What to do: `entries` in `pace`, answers to `output`."""

    entries: Sequence[PromptEntry]
    options: PromptOptions
    pace: Pace | None
    output: Path
    resume: bool

    @property
    def provenance_path(self) -> Path:
        """Beside the output: one object a line."""
        return self.output.with_name(f"{self.output.name}.provenance.jsonl")


async def run_prompts_over(
    console: Console,
    address: MeshAddress,
    run: PromptsRun,
    *,
    devices_min: int = 1,
    status_interval_s: float = STATUS_WAIT_S,
    dies_with: DiesWith | None = None,
) -> tuple[RunSummary, list[AskResult]]:
    """Asks the devices that are online in turn; writes both files. Prompts that fail are reported, not raised.

    Raises:
        SettingsError: nobody is online, or a file cannot be written.
    """
    record = LoadRecord()
    try:
        provenance = ProvenanceFile(run.provenance_path, resume=run.resume)
    except OSError as error:
        raise SettingsError(f"cannot write {run.provenance_path}: {error.strerror}") from None
    try:
        async with address.client() as client:
            jobs = await _jobs(client, address, run, provenance, devices_min)
            await client.start_watching(record.watch)
            with _shown(console, client, jobs, len(run.entries), provenance) as observer:
                begun_at = time.monotonic()
                pace = run.pace or Pace(concurrency=len({job.device_id for job in jobs}) or 1)
                results = await run_batch(client, jobs, pace, observer, dies_with)
                duration_s = max(time.monotonic() - begun_at, 1e-9)
            if jobs:
                await asyncio.sleep(status_interval_s)
    finally:
        provenance.close()
        _write_outputs(run, provenance)
    return summarise(results, record.loads(), duration_s), results


async def _jobs(
    client: MeshClient, address: MeshAddress, run: PromptsRun, provenance: ProvenanceFile, devices_min: int
) -> list[Job]:
    online = await client.discover(at_least=devices_min)
    if not online:
        raise SettingsError(f"no device is online in mesh {address.mesh!r} at {address.broker}")
    ids = [view.device_id for view in online if view.able]
    if not ids:
        raise SettingsError(
            f"none of the {len(online)} devices online can answer right now (`moamesh status` shows why)"
        )
    return [
        Job(entry.number, entry.instruction, ids[entry.number % len(ids)], run.options)
        for entry in run.entries
        if entry.number not in provenance.done
    ]


@contextmanager
def _shown(
    console: Console, client: MeshClient, jobs: Sequence[Job], total: int, provenance: ProvenanceFile
) -> Iterator[Observer]:
    bar = Progress(
        TextColumn("prompts"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
        console=console,
    )
    task = bar.add_task("prompts", total=total, completed=total - len(jobs))

    def on_end(job: Job, result: AskResult) -> None:
        provenance.add({"number": job.number} | result_object(result))
        bar.advance(task)
        if not result.answered or result.partial or not console.is_terminal:
            detail = f": {safe_text(result.detail)}" if result.detail else ""
            outcome = f"{result.outcome} in part" if result.partial else result.outcome
            line = f"prompt {job.number} at {job.device_id}: {outcome} after {result.latency_s:.1f} s{detail}"
            style = "busy" if result.partial else None if result.answered else "bad"
            console.print(line, style=style, soft_wrap=True)

    def render() -> RenderableType:
        return Group(devices_table(client.roster.all(), time.monotonic()), bar.get_renderable())

    with live_view(console, render, keep=False):
        yield Observer(_ignore, on_end)


def _ignore(_job: Job, _message: DeviceToUser) -> None:
    """A batch of hundreds shows its prompts only when they end."""


def _write_outputs(run: PromptsRun, provenance: ProvenanceFile) -> None:
    outputs: list[JsonObject] = []
    for entry in run.entries:
        done = provenance.done.get(entry.number)
        if done is not None and done["outcome"] == "answered":
            outputs.append(
                {
                    "instruction": entry.instruction,
                    "dataset": entry.dataset,
                    "output": done["text"],
                    "generator": generator_name(done),
                    "datasplit": DATASPLIT,
                }
            )
    write_outputs(run.output, outputs)


def generator_name(done: JsonObject) -> str:
    """Names what made an answer: the models that took part, M and k."""
    provenance = done["provenance"]
    items = [item for layer in provenance["layers"] for item in layer] + [provenance["aggregation"]]
    models = sorted({item["model"] for item in items if item})
    return f"moamesh-{'+'.join(models)}-M{provenance['layer_count']}-k{provenance['fanout']}"
