"""A bound on a whole answer of a database: on its time, also where a byte comes every second, and on its size.

The client library's timeouts are of one read each, and it reads an answer to its end, however long that is.
"""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from collections.abc import Iterator
from typing import Any, final

ANSWER_BYTES_MAX = 1024 * 1024  # a refusal quotes a line or two of what it was sent
LOOK_EVERY_S = 0.1


@final
class Watchdog:
    """Cuts a connection of one `urllib3.PoolManager` off. For one thread that asks, one question at a time.

    Args:
        pools: whose connections, all yet to be made.
    """

    def __init__(self, pools: Any) -> None:
        self.cut = ""
        """Why the last answer was cut off; "" if it was not."""
        self._socket: socket.socket | None = None
        self._answer: Any = None
        kinds = pools.pool_classes_by_scheme
        pools.pool_classes_by_scheme = {scheme: self._watched(kind) for scheme, kind in kinds.items()}

    @contextlib.contextmanager
    def watch(self, timeout_s: float) -> Iterator[None]:
        """Whatever is asked inside is cut off at `ANSWER_BYTES_MAX`, or once it has taken `timeout_s` beyond the time
        that the library gives the first word of an answer; `cut` says why."""
        self.cut, self._answer = "", None
        done = threading.Event()
        watcher = threading.Thread(target=self._look, args=(done, timeout_s), name="telemetry watchdog", daemon=True)
        watcher.start()
        try:
            yield
        finally:
            done.set()
            watcher.join()

    def _look(self, done: threading.Event, timeout_s: float) -> None:
        ends_at = time.monotonic() + 2 * timeout_s
        while not done.wait(LOOK_EVERY_S):
            if time.monotonic() >= ends_at:
                self.cut = f"did not answer whole within {timeout_s:g} s"
            elif self._answer is not None and self._answer.tell() > ANSWER_BYTES_MAX:
                self.cut = f"answered more than {ANSWER_BYTES_MAX:,} bytes"
            if self.cut:
                break
        while not done.wait(LOOK_EVERY_S if self.cut else 0.0):  # it may only now be connecting
            if self._socket is not None:
                with contextlib.suppress(OSError):
                    socket.socket.shutdown(self._socket, socket.SHUT_RDWR)  # below TLS, which would take its turn

    def _watched(self, kind: Any) -> Any:
        dog = self

        class Connection(kind.ConnectionCls):  # type: ignore[misc]  # urllib3's classes, chosen at run time
            def connect(self) -> None:
                super().connect()
                dog._socket = self.sock

            def getresponse(self) -> Any:
                dog._answer = super().getresponse()
                return dog._answer

        return type(kind.__name__, (kind,), {"ConnectionCls": Connection})
