"""How commands end: exit statuses, one-line errors, and a clean way out on Ctrl-C."""

from __future__ import annotations

import asyncio
import signal
import sys
import threading
from collections.abc import Coroutine
from typing import Any, TypeVar

from edge_agent.cli.entry import printable
from edge_agent.tasks import hear_callbacks

Result = TypeVar("Result")

NOT_ANSWERED = 1  # a prompt was not answered, whatever the reason; something needed is missing
USER_ERROR = 2  # a setting, an argument or a file is wrong, or the broker is not there
# `moamesh ask` tells further how its one prompt ended, so that a script can decide what to do next:
REFUSED = 3  # not accepted, and asking the same again will not help: too large, not valid
BUSY = 4  # not accepted for now: overloaded or stopping; worth trying again after the time it says
EXPIRED = 5  # accepted, but its deadline passed
NO_WORD = 6  # the device never said that it has the prompt, or its answer did not come
INTERRUPTED = 130  # Ctrl-C, as shells say it
TERMINATED = 143  # SIGTERM, as shells say it

ERROR_CHARACTERS_MAX = 4_000  # of one error with the end of a log: what fits a screen


def error_line(text: str) -> None:
    """Says on stderr what went wrong: one line, below it the end of a log where there is one.

    Control characters, which may be somebody else's, are shown and not obeyed; what is far too long is cut.
    """
    shown = text if len(text) <= ERROR_CHARACTERS_MAX else f"{text[:ERROR_CHARACTERS_MAX]}..."
    print(f"moamesh: {printable(shown)}", file=sys.stderr)


def run_async(main: Coroutine[Any, Any, Result]) -> Result:
    """Runs `main`; Ctrl-C and SIGTERM cancel it, so that it can clean up, and then end the command.

    Raises:
        SystemExit: with status 130 or 143, after a signal.
    """

    async def guarded() -> Result:
        task = asyncio.ensure_future(main)
        loop = asyncio.get_running_loop()
        hear_callbacks(loop)
        received: list[int] = []

        def stop(number: int) -> None:
            # the first signal lets everything stop in order; the second is for those who cannot wait
            loop.remove_signal_handler(number)
            received.append(number)
            task.cancel()

        if threading.current_thread() is threading.main_thread():  # only there can signals be taken
            for number in (signal.SIGINT, signal.SIGTERM):
                loop.add_signal_handler(number, stop, number)
        try:
            return await task
        except asyncio.CancelledError:
            if not received:
                raise
            raise SystemExit(INTERRUPTED if received[0] == signal.SIGINT else TERMINATED) from None

    return asyncio.run(guarded())
