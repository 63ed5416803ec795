"""Markdown on a terminal while it is still being written.

What a block (a paragraph, a list, a piece of code) looks like is known once the next one has begun. So finished blocks
are printed for good, and only the last one is drawn again and again: a long answer scrolls like any other output,
nothing flickers, and nothing that was printed has to be taken back.
"""

from __future__ import annotations

from itertools import pairwise

from markdown_it import MarkdownIt
from rich.console import Console, ConsoleOptions, RenderResult
from rich.live import Live
from rich.markdown import Markdown
from rich.segment import Segment

from edge_agent.cli.terminal import safe_text

REFRESH_HZ = 8.0  # of the last block: tokens come faster than eyes follow
LINES_KEPT_FREE = 2  # of the terminal's height: a drawing as high as the screen cannot be taken back
CODE_THEME = "ansi_dark"  # the terminal's own colours: readable on light and dark, whatever they are

_PARSER = MarkdownIt()


def finished_blocks(text: str) -> tuple[list[str], str]:
    """Returns the blocks of a growing text that will not change any more, and the rest of the text."""
    starts = [token.map[0] for token in _PARSER.parse(text) if token.level == 0 and token.map and token.nesting >= 0]
    lines = text.split("\n")  # not splitlines: the parser knows no other line ends
    blocks = ["\n".join(lines[begin:end]) for begin, end in pairwise(starts)]
    return blocks, "\n".join(lines[starts[-1] if starts else 0 :])


def markdown(text: str) -> Markdown:
    """The text as it is shown. A model wrote it, so a link shows where it leads."""
    return Markdown(text, code_theme=CODE_THEME, hyperlinks=False)


class MarkdownStream:
    """Writes Markdown on a terminal as it grows: `write` pieces, `close` at the end."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._rest = ""
        self._begun = False
        self._live: Live | None = None

    def write(self, text: str) -> None:
        """Takes the next piece of the text; control characters are left out."""
        blocks, self._rest = finished_blocks(self._rest + safe_text(text))
        if blocks:
            self._stop_live()
        for block in blocks:
            self._print(block)
        if self._live is None and self._rest.strip():
            self._live = Live(
                get_renderable=lambda: _Tail(self._rest, after_another=self._begun),
                console=self._console,
                refresh_per_second=REFRESH_HZ,
                transient=True,
            )
            self._live.start()

    def close(self) -> None:
        """Prints the last block for good. May be called twice; `write` then begins a new text."""
        self._stop_live()
        if self._rest.strip():
            self._print(self._rest)
        self._rest = ""

    def _print(self, block: str) -> None:
        if self._begun:
            self._console.print()
        self._console.print(markdown(block))
        self._begun = True

    def _stop_live(self) -> None:
        if self._live is not None:
            self._live.stop()
            self._live = None


class _Tail:
    """A block as far as it has been written: its last lines, where it is higher than the terminal."""

    def __init__(self, text: str, *, after_another: bool) -> None:
        self._text = text
        self._after_another = after_another

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        lines = console.render_lines(markdown(self._text), options, pad=False)
        if self._after_another:
            lines.insert(0, [])
        for line in lines[-max(1, console.height - LINES_KEPT_FREE) :]:
            yield from line
            yield Segment.line()
