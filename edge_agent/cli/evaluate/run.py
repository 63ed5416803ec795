"""Runs `moamesh evaluate`: progress on stderr, tables or JSON on stdout."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from rich.box import SIMPLE_HEAD
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn
from rich.table import Table

from edge_agent.cli.terminal import console, print_json
from edge_agent.core.errors import SettingsError
from edge_agent.files import PUBLIC, write_atomically

if TYPE_CHECKING:
    from edge_agent.lab.evaluation.study import Row


def score_file(file: Path, policy: str, seed: int, *, json: bool) -> None:
    """Prints how good the policy is on the preferences of a file."""
    _needs_lab()
    from edge_agent.lab.evaluation.preferences import read_preferences
    from edge_agent.lab.evaluation.study import evaluate

    with _bar() as bar:
        task = bar.add_task("reading responses", total=None)
        preferences = read_preferences(file)
        bar.update(task, description="scoring")
        study = evaluate(preferences, policy, seed, lambda done, total: bar.update(task, completed=done, total=total))
    if json:
        print_json(study.as_object())
        return
    folds = f"fitted on {study.folds - 1} of {study.folds} folds, scored on the rest" if study.folds else "as it is"
    screen = console()
    screen.print(_table(f"{study.policy.name}: {folds}; {study.prompts} prompts", [study.policy, *study.left_out]))
    screen.print(_table("what else could be chosen", study.others))


def fit_file(file: Path, output: Path | None, *, json: bool) -> None:
    """Prints the weights that explain a file's preferences best, or writes them as a module."""
    _needs_lab()
    from edge_agent.lab.evaluation.preferences import read_preferences
    from edge_agent.lab.evaluation.weights_file import fitted, module_text

    with _bar() as bar:
        bar.add_task("fitting", total=None)
        found = fitted(read_preferences(file))
    if output is not None:
        write_atomically(output, module_text(found).encode(), PUBLIC)
        console(stderr=True).print(f"Wrote {output}")
    if json or output is None:
        print_json(found)


def _needs_lab() -> None:
    try:
        import numpy  # noqa: F401 - whether it is there
    except ImportError:
        raise SettingsError("moamesh evaluate needs numpy: pip install 'moamesh[lab]'") from None


def _table(title: str, rows: Sequence[Row]) -> Table:
    table = Table("", title=title, title_justify="left", box=SIMPLE_HEAD)
    for column in ("win rate %", "± its error", "length-controlled %"):
        table.add_column(column, justify="right")
    for row in rows:
        controlled = "" if row.length_controlled is None else f"{row.length_controlled:.1f}"
        table.add_row(row.name, f"{row.win_rate:.1f}", f"{row.error:.1f}", controlled)
    return table


def _bar() -> Progress:
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
    return Progress(*columns, console=console(stderr=True), transient=True)
