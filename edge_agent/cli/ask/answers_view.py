"""The answers of a batch, each with what made it."""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import Group, RenderableType
from rich.padding import Padding
from rich.panel import Panel
from rich.text import Text

from edge_agent.cli.ask.provenance_view import provenance_tree
from edge_agent.cli.results import AskResult
from edge_agent.cli.terminal import safe_text


def answers_view(results: Sequence[AskResult]) -> Group:
    """A panel with the text of each answer, its provenance below."""
    return Group(*(_answer(result) for result in results))


def _answer(result: AskResult) -> RenderableType:
    style = "busy" if result.partial else "good" if result.answered else "bad"
    text = result.answer.text.strip() if result.answered and result.answer else f"{result.outcome}: {result.detail}"
    title = Text(result.device_id, style="name")
    title.append(f"  {result.prompt}", style="label")
    if result.partial:
        title.append("  answered in part", style="busy")
    panel = Panel(Text(safe_text(text)), title=title, title_align="left", border_style=style)
    if result.answer is None:
        return panel
    return Group(panel, Padding(provenance_tree(result.answer), (0, 0, 1, 2)))
