"""A bound on a whole answer of a database: on its time, also where a byte comes every second, and on its size.

The client library's timeouts are of one read each, and it reads an answer to its end, and unpacks it, however large it
is.
"""

from __future__ import annotations

import contextlib
import io
import socket
import threading
from collections.abc import Callable, Iterator
from typing import Any, final

ANSWER_BYTES_MAX = 1024 * 1024  # a refusal quotes a line or two of what it was sent
LOOK_EVERY_S = 0.1
SLOW_SHARE = 0.2  # of the time of an answer: one that takes so long is told, and may still come
_OF_THE_BODY = ("Content-Encoding", "Content-Length", "Transfer-Encoding")  # of what was read already


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
        kinds = pools.pool_classes_by_scheme
        pools.pool_classes_by_scheme = {scheme: self._watched(kind) for scheme, kind in kinds.items()}

    @contextlib.contextmanager
    def watch(self, timeout_s: float, slow: Callable[[str], None]) -> Iterator[None]:
        """Whatever is asked inside is cut off at `ANSWER_BYTES_MAX`, or once it has taken `timeout_s` beyond the time
        that the library gives the first word of an answer; `cut` says why. Long before, `slow` is told, once, in the
        watchdog's thread."""
        self.cut = ""
        done = threading.Event()
        arguments = (done, timeout_s, slow)
        watcher = threading.Thread(target=self._look, args=arguments, name="telemetry watchdog", daemon=True)
        watcher.start()
        try:
            yield
        finally:
            done.set()
            watcher.join()

    def _look(self, done: threading.Event, timeout_s: float, slow: Callable[[str], None]) -> None:
        slow_s = SLOW_SHARE * timeout_s
        if done.wait(slow_s):
            return
        slow(f"has not completed its answer for {slow_s:g} s; still waiting")
        if done.wait(2 * timeout_s - slow_s):
            return
        self.cut = self.cut or f"did not complete its answer within {timeout_s:g} s"
        while not done.wait(LOOK_EVERY_S):  # it may only now be connecting
            if self._socket is not None:
                with contextlib.suppress(OSError):
                    socket.socket.shutdown(self._socket, socket.SHUT_RDWR)  # below TLS, which would take its turn

    def _watched(self, kind: Any) -> Any:
        import urllib3

        dog = self

        class Connection(kind.ConnectionCls):  # type: ignore[misc]  # urllib3's classes, chosen at run time
            def connect(self) -> None:
                super().connect()
                dog._socket = self.sock

            def getresponse(self) -> Any:
                """Returns an answer that is read already, and as it came: nothing was asked to be packed."""
                options = self._response_options  # type: ignore[has-type]  # set by the request before
                self._response_options = options._replace(preload_content=False, decode_content=False)
                answer = super().getresponse()
                try:
                    body = answer.read(ANSWER_BYTES_MAX + 1, decode_content=False)
                finally:
                    answer.close()  # which leaves the connection as it is
                if len(body) > ANSWER_BYTES_MAX:
                    dog.cut = dog.cut or f"answered more than {ANSWER_BYTES_MAX:,} bytes"
                    self.close()
                    raise urllib3.exceptions.ProtocolError(dog.cut)
                for name in _OF_THE_BODY:
                    answer.headers.discard(name)
                return urllib3.HTTPResponse(
                    io.BytesIO(body),
                    answer.headers,
                    answer.status,
                    answer.version,
                    answer.version_string,
                    answer.reason,
                )

        return type(kind.__name__, (kind,), {"ConnectionCls": Connection})
