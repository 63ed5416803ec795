"""Model names to files, pulled first where they are missing, with a progress bar on stderr."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeElapsedColumn

from edge_agent.core.errors import SettingsError
from edge_agent.models import DEFAULT_MODEL, ModelFile, ProgressCallback, Stage, find, pull, resolve

_STAGES = {
    Stage.WAIT: "waiting for another process that pulls it",
    Stage.DOWNLOAD: "downloading",
    Stage.UNPACK: "unpacking",
    Stage.VERIFY: "verifying",
    Stage.OPTIMISE: "making it fast for this CPU",
}
_MIB = 1024 * 1024


@contextmanager
def pull_progress(console: Console, name: str) -> Iterator[ProgressCallback]:
    """A bar for each stage; without a terminal a line for each."""
    if not console.is_terminal:
        yield _plain_progress(console, name)
        return
    columns = (
        TextColumn("{task.fields[name]}", "name", markup=False),
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        TextColumn("{task.fields[amount]}"),
    )
    with Progress(*columns, TimeElapsedColumn(), console=console, transient=True) as bars:
        tasks: dict[Stage, TaskID] = {}

        def show(stage: Stage, done: int, total: int) -> None:
            if stage not in tasks:
                tasks[stage] = bars.add_task(_STAGES[stage], total=None, amount="", name=name)
            bars.update(tasks[stage], completed=done, total=total or None, amount=_amount(stage, done, total))

        yield show


def _plain_progress(console: Console, name: str) -> ProgressCallback:
    seen: set[Stage] = set()

    def show(stage: Stage, _done: int, _total: int) -> None:
        if stage not in seen:
            seen.add(stage)
            console.print(f"{name}: {_STAGES[stage]}")

    return show


def _amount(stage: Stage, done: int, total: int) -> str:
    if stage is Stage.OPTIMISE:
        return f"{done}/{total}" if total else ""
    return f"{done / _MIB:.0f}/{total / _MIB:.0f} MiB" if total else f"{done / _MIB:.0f} MiB"


def pull_shown(console: Console, name_or_source: str) -> ModelFile:
    """Pulls a model with its progress shown."""
    with pull_progress(console, name_or_source) as progress:
        return pull(name_or_source, progress)


def ready_models(console: Console, names: Sequence[str] | None) -> tuple[str, ...]:
    """Makes sure that models are here, given names, sources or files; returns names, or paths of files of one's own.

    Raises:
        SettingsError: there is no such model or file.
        ModelError: it cannot be fetched.
    """
    return tuple(_ready(console, name) for name in (names or [DEFAULT_MODEL]))


def _ready(console: Console, name: str) -> str:
    if name.endswith(".gguf") and ":" not in name:
        return str(resolve(name).resolve())
    try:
        return find(name).name
    except SettingsError:
        return pull_shown(console, name).name
