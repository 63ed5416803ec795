"""Where `moamesh` begins. Loading what a command needs takes a second: Ctrl-C then ends it without a traceback."""

from __future__ import annotations

import signal


def run() -> None:
    """The console entry."""
    handler = signal.getsignal(signal.SIGINT)
    if handler is signal.default_int_handler:  # else whoever started us has Ctrl-C ignored
        signal.signal(signal.SIGINT, signal.SIG_DFL)
    from edge_agent.cli.main import run as run_command  # only now: this is what takes so long

    signal.signal(signal.SIGINT, handler)
    run_command()
