"""What `moamesh provision` shows: the question before an image is written, the bars while it is, the words after."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from enum import StrEnum
from pathlib import Path

import typer
from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TaskProgressColumn, TextColumn, TimeRemainingColumn

from edge_agent.cli.exits import INTERRUPTED
from edge_agent.cli.terminal import JsonObject
from edge_agent.core.errors import SettingsError
from edge_agent.operator.seeds import MadeSeed, PreparedSeed
from provisioning.image import FirstBoot, Flashed, Plan, ProgressCallback

_WORDS = {"writing": "writing", "verifying": "reading back", "seed": "putting the seed in"}
_GB = 1e9


def first_boot_of(choice: StrEnum | None) -> FirstBoot | None:
    """Returns the image room's word for an option."""
    return None if choice is None else FirstBoot(choice.value)


def show_plan(plan: Plan) -> None:
    """Says on stderr what would be written where."""
    size = f"{plan.unpacked_bytes / _GB:.2f} GB" if plan.unpacked_bytes is not None else "size unknown"
    where = str(plan.target.path)
    if plan.target.is_disk:
        facts = ", ".join(
            text for text in (plan.target.description, f"{(plan.target.capacity or 0) / _GB:.2f} GB") if text
        )
        where += f" ({facts})"
    elif not plan.target.exists:
        where += " (a new file)"
    print(f"{plan.image} ({plan.compression}, {size}) -> {where}", file=sys.stderr)


def ask_first(plan: Plan, *, yes: bool) -> None:
    """Asks whether what is on the target may be lost.

    Raises:
        SettingsError: there is something to lose and nobody to ask.
        typer.Abort: it may not.
    """
    if plan.target.exists and not yes:
        if not sys.stdin.isatty():
            raise SettingsError(f"everything on {plan.target.path} would be lost: say --yes")
        typer.confirm(f"Everything on {plan.target.path} is lost. Write?", abort=True, err=True)


@contextmanager
def flashing(console: Console, plan: Plan | None) -> Iterator[ProgressCallback]:
    """Shows a bar for each step; call what it gives. After Ctrl-C it says what to do now. No plan: nothing to show."""
    if plan is None:
        yield lambda _step, _done, _total: None
        return
    try:
        with _bars(console) as progress:
            yield progress
    except KeyboardInterrupt:
        print(f"\nmoamesh: stopped. {plan.way_out}", file=sys.stderr)
        raise SystemExit(INTERRUPTED) from None


def show_flashed(console: Console, plan: Plan, done: Flashed) -> None:
    """Says what was written."""
    console.print(f"written and read back: {done.size:,} bytes to {plan.target.path}", soft_wrap=True, markup=False)
    if done.seed is not None:
        console.print(
            f"seed: {len(done.seed.files)} files in partition {done.seed.partition}, read by {done.seed.first_boot}",
            soft_wrap=True,
            markup=False,
        )


def written_lines(prepared: PreparedSeed, made: MadeSeed) -> list[str]:
    """Where a seed is now, a line for each place."""
    outputs, lines = prepared.outputs, []
    if outputs.folder is not None:
        lines.append(f"seed in the folder {outputs.folder}")
    if outputs.iso is not None:
        lines.append(f"seed in the ISO {outputs.iso}")
    if prepared.plan is not None:
        lines.append(f"image with seed on {prepared.plan.target.path}")
    if made.put is not None:
        lines.append(f"seed in {outputs.image}, partition {made.put.partition}, read by {made.put.first_boot}")
    return lines


def plan_object(plan: Plan) -> JsonObject:
    """What would be done, for JSON."""
    return {
        "image": str(plan.image),
        "compression": plan.compression.value,
        "unpacked_bytes": plan.unpacked_bytes,
        "target": str(plan.target.path),
        "target_is_disk": plan.target.is_disk,
        "target_bytes": plan.target.capacity,
    }


def flashed_object(plan: Plan, done: Flashed) -> JsonObject:
    """What was done, for JSON."""
    seed = done.seed
    return plan_object(plan) | {
        "written_bytes": done.size,
        "sha256_without_table": done.sha256,
        "seed": None
        if seed is None
        else {"partition": seed.partition, "first_boot": seed.first_boot.value, "files": list(seed.files)},
    }


def put_by_hand_line(folder: Path) -> str:
    """How a folder becomes a boot partition without us."""
    return (
        f"by hand: write Raspberry Pi OS to a card, copy what is in {folder} to its boot partition (for Bookworm "
        "firstrun.sh also needs its words in cmdline.txt); moamesh provision flash IMAGE --to CARD "
        f"--seed-dir {folder} does all of it"
    )


@contextmanager
def _bars(console: Console) -> Iterator[ProgressCallback]:
    if not console.is_terminal:
        yield _plain(console)
        return
    columns = (TextColumn("{task.description}"), BarColumn(), TaskProgressColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, transient=True) as bars:
        tasks: dict[str, TaskID] = {}

        def show(step: str, done: int, total: int) -> None:
            if step not in tasks:
                tasks[step] = bars.add_task(_WORDS[step], total=None)
            bars.update(tasks[step], completed=done, total=total or None)

        yield show


def _plain(console: Console) -> ProgressCallback:
    seen: set[str] = set()

    def show(step: str, _done: int, _total: int) -> None:
        if step not in seen:
            seen.add(step)
            console.print(_WORDS[step])

    return show
