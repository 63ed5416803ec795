"""The table of what became of prompts."""

from __future__ import annotations

from collections.abc import Sequence

from rich.box import SIMPLE_HEAD
from rich.table import Table
from rich.text import Text

from edge_agent.cli.ask.asking import duration_words
from edge_agent.cli.terminal import safe_text
from edge_agent.core.messages import AnswerSummary, Standing

_STYLE = {Standing.ANSWERED: "good", Standing.RUNNING: "busy", Standing.GONE: "quiet"}


def answers_table(rows: Sequence[tuple[str, AnswerSummary]]) -> Table:
    """A line for each (device, prompt): the id is whole, since it is what one asks for."""
    table = Table(box=SIMPLE_HEAD, padding=0, pad_edge=False, header_style="label")
    table.add_column("prompt", no_wrap=True, style="name")
    table.add_column("device", no_wrap=True)
    table.add_column("stands", no_wrap=True)
    table.add_column("for", no_wrap=True)
    table.add_column("begins", overflow="ellipsis", no_wrap=True)
    for device_id, line in rows:
        stands = Text(line.standing.value + (" in part" if line.partial else ""))
        stands.stylize(_STYLE.get(line.standing, "bad"))
        begins = " ".join(safe_text(line.text).split())
        table.add_row(safe_text(line.prompt_id), device_id, stands, duration_words(line.age_s), Text(begins))
    return table
