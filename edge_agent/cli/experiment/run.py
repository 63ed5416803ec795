"""Runs the parts of an experiment one after the other, with progress, and writes its report after each."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.progress import Progress as Bars

from edge_agent.cli.exits import run_async
from edge_agent.cli.terminal import console as make_console
from edge_agent.core.errors import SettingsError
from edge_agent.lab.analysis.figures import require_plotting, write_figure
from edge_agent.lab.experiments.pages import write_pages
from edge_agent.lab.experiments.paper_sections import stable_section, transient_section
from edge_agent.lab.experiments.sections import Progress, Section, keep, kept
from edge_agent.lab.experiments.theory import theory_figures

PARTS = ("a", "b", "c", "d")
_LINES = 10  # of progress, where there is no terminal
TITLE = "Distributed Mixture-of-Agents (arXiv 2412.21200), reproduced"


@dataclass(frozen=True, slots=True)
class LiveLlm:
    """What part (d) asks, of which models (none: the default). The other parts need no prompts."""

    prompts: Path | None
    limit: int
    max_tokens: int
    models: tuple[str, ...]


def run_paper(parts: Sequence[str], out: Path, llm: LiveLlm, *, quick: bool, jobs: int) -> None:
    """Runs parts in their order.

    Raises:
        SettingsError: no such part, the folder cannot be written or has a damaged part, matplotlib or the prompts are
            missing; at once.
    """
    for part in parts:
        if part not in PARTS:
            raise SettingsError(f"--part must be one of {', '.join(PARTS)}, not {part!r}")
    require_plotting()
    _make_folder(out)
    kept(out, [part for part in PARTS if part not in parts])  # one that is damaged is named before the work
    said = make_console(stderr=True)
    runners = _runners(said, out, llm, parts, quick=quick, jobs=jobs)
    for part in PARTS:
        if part in parts:
            section = runners[part]()
            keep(out, section)
            pages = write_pages(out, TITLE, kept(out, PARTS))
            said.print(f"{section.title}. {section.conclusion}", soft_wrap=True)
    said.print(f"report: {pages[0]} and {pages[1]}", soft_wrap=True)


def run_policies(out: Path, *, quick: bool) -> None:
    """Runs every policy live and writes the report into `out`.

    Raises:
        SettingsError: the folder cannot be written.
        FleetError: a mesh did not come up.
    """
    from edge_agent.lab.experiments.live_policies import live_policies_section

    _make_folder(out)
    said = make_console(stderr=True)
    with _bar(said, "policies, live") as progress:
        section = run_async(live_policies_section(quick=quick, progress=progress))
    pages = write_pages(out, "Policies, live beside simulated", [section])
    said.print(f"report: {pages[0]} and {pages[1]}", soft_wrap=True)


def run_theory(out: Path, *, quick: bool, jobs: int) -> None:
    """Writes the plots of docs/THEORY.md into `out`.

    Raises:
        SettingsError: the folder cannot be written, or matplotlib is missing.
    """
    require_plotting()
    _make_folder(out)
    said = make_console(stderr=True)
    with _bar(said, "simulating") as progress:
        figures = theory_figures(quick=quick, jobs=jobs, progress=progress)
    for name, panels in figures.items():
        write_figure(out / f"{name}.svg", panels, columns=2)
    said.print(f"plots: {', '.join(f'{name}.svg' for name in figures)} in {out}", soft_wrap=True)


def _runners(
    said: Console, out: Path, llm: LiveLlm, parts: Sequence[str], *, quick: bool, jobs: int
) -> dict[str, Callable[[], Section]]:
    # simulations run right here, not in a thread: Ctrl-C must end them
    def part_a() -> Section:
        with _bar(said, "(a) Table I") as progress:
            return transient_section(quick=quick, progress=progress)

    def part_b() -> Section:
        with _bar(said, "(b) stable regime") as progress:
            return stable_section(quick=quick, jobs=jobs, progress=progress)

    def part_c() -> Section:
        from edge_agent.lab.experiments.live_load import live_section

        with _bar(said, "(c) live") as progress:
            return run_async(live_section(quick=quick, progress=progress))

    runners = {"a": part_a, "b": part_b, "c": part_c}
    if "d" in parts:
        runners["d"] = _llm_part(said, out, llm, quick=quick)
    return runners


def _llm_part(said: Console, out: Path, llm: LiveLlm, *, quick: bool) -> Callable[[], Section]:
    """Part (d). Its prompts are read at once, before anything that takes long."""
    from edge_agent.cli.experiment.paper_llm import LlmTable

    if llm.prompts is None:
        raise SettingsError(
            "part d asks language models: give --prompts FILE, or choose other parts: --part a --part b --part c"
        )
    table = LlmTable(said, out, llm.prompts, llm.limit, llm.max_tokens, llm.models)
    table.check()
    return lambda: run_async(table.section(quick=quick))


def _make_folder(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise SettingsError(f"cannot write to {folder}: {error.strerror}") from None


@contextmanager
def _bar(said: Console, text: str) -> Iterator[Progress]:
    if not said.is_terminal:
        said.print(text)
        yield _plain(said, text)
        return
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Bars(*columns, TimeRemainingColumn(), console=said) as bars:
        task = bars.add_task(text, total=None)
        yield lambda done, total: bars.update(task, completed=done, total=total)


def _plain(said: Console, text: str) -> Progress:
    told = 0

    def progress(done: int, total: int) -> None:
        nonlocal told
        if done * _LINES // total > told:
            told = done * _LINES // total
            said.print(f"{text}: {done} of {total}")

    return progress
