"""Shows a run while it goes: a live view on a terminal, plain lines elsewhere."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console, RenderableType
from rich.live import Live

from edge_agent.cli.local.board import Board
from edge_agent.cli.local.dashboard_view import dashboard
from edge_agent.cli.prompts.batch import Job, Observer
from edge_agent.cli.results import AskResult
from edge_agent.cli.terminal import safe_text
from edge_agent.client import DeviceState, MeshClient
from edge_agent.core.messages import DeviceToUser, LayerProgress

REFRESH_HZ = 4.0  # smooth enough for text, light enough beside language models on two cores


@contextmanager
def live_view(console: Console, render: Callable[[], RenderableType], *, keep: bool) -> Iterator[None]:
    """Draws `render` some times a second, while the context lasts; nothing without a terminal."""
    if not console.is_terminal:
        yield
        return
    live = Live(
        get_renderable=render,
        console=console,
        refresh_per_second=REFRESH_HZ,
        transient=not keep,
        vertical_overflow="crop",
    )
    with live:
        yield


@contextmanager
def shown_batch(console: Console, client: MeshClient, board: Board, note: str) -> Iterator[Observer]:
    """An observer that keeps the board and shows it."""
    plain = None if console.is_terminal else _PlainLines(console, client)

    def on_message(job: Job, message: DeviceToUser) -> None:
        board.take(job, message)
        if plain is not None:
            plain.message(job, message)

    def on_end(job: Job, result: AskResult) -> None:
        board.end(job, result)
        if plain is not None:
            plain.end(job, result)

    def render() -> RenderableType:
        return dashboard(console, board, client.roster.all(), time.monotonic(), note)

    with live_view(console, render, keep=True):
        yield Observer(on_message, on_end)


class _PlainLines:
    """What happens, one line each, for logs and pipes."""

    def __init__(self, console: Console, client: MeshClient) -> None:
        self._console = console
        self._client = client
        self._gone: set[str] = set()

    def message(self, job: Job, message: DeviceToUser) -> None:
        """Tells of layers; tokens would be too many lines."""
        self._tell_of_the_dead()
        if isinstance(message, LayerProgress):
            joined = f"joined {', '.join(message.joined)}" if message.joined else f"asked {', '.join(message.asked)}"
            self._console.print(
                f"{job.device_id}: layer {message.layer}/{message.layer_count} {joined}", soft_wrap=True
            )

    def end(self, job: Job, result: AskResult) -> None:
        """Tells how a prompt ended."""
        self._tell_of_the_dead()
        detail = f": {safe_text(result.detail)}" if result.detail else ""
        self._console.print(f"{job.device_id}: {result.outcome} after {result.latency_s:.1f} s{detail}", soft_wrap=True)

    def _tell_of_the_dead(self) -> None:
        now = time.monotonic()
        for view in self._client.roster.all():
            gone = view.state(now) is not DeviceState.ONLINE
            if gone and view.device_id not in self._gone:
                self._console.print(f"{view.device_id} is {view.state(now)}", style="bad")
            (self._gone.add if gone else self._gone.discard)(view.device_id)
