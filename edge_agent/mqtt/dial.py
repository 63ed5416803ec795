"""The socket of a connect under way, which may be given up from outside.

paho connects in a thread and shows its socket when all is done: TCP, then TLS. Until then a broker that takes the
connection and says nothing would hold whoever wants to leave.
"""

from __future__ import annotations

import contextlib
import socket
import ssl
import threading
from errno import ECANCELED
from os import strerror
from typing import Any, final

import aiomqtt


@final
class Dial:
    """Makes the socket in paho's place. Make one before the client connects; of a client without a proxy."""

    def __init__(self, client: aiomqtt.Client) -> None:
        paho: Any = client._client  # Any: what it keeps to itself is needed
        self._paho = paho
        self._lock = threading.Lock()
        self._socket: socket.socket | None = None
        self._given_up = False
        paho._create_socket_connection = self._connect
        paho._ssl_wrap_socket = self._wrap

    def give_up(self) -> None:
        """Ends the connect, or the connection, at once: what waits for the socket is told that it is closed."""
        with self._lock:
            self._given_up = True
            if self._socket is not None:
                with contextlib.suppress(OSError):  # closed already
                    socket.socket.shutdown(self._socket, socket.SHUT_RDWR)  # no farewell of TLS, which would wait

    def _connect(self) -> socket.socket:
        paho, failed = self._paho, OSError(f"no address for {self._paho._host}")
        for family, kind, protocol, _, address in socket.getaddrinfo(paho._host, paho._port, type=socket.SOCK_STREAM):
            one = socket.socket(family, kind, protocol)
            try:
                self._hold(one)
                one.settimeout(paho._connect_timeout)
                one.connect(address)
            except OSError as error:
                failed = error
                one.close()
            except BaseException:
                one.close()
                raise
            else:
                return one
        raise failed

    def _wrap(self, plain: socket.socket) -> ssl.SSLSocket:
        paho = self._paho
        # whose context this is: it compares the names itself (`trust`), so paho need not
        secured: ssl.SSLSocket = paho._ssl_context.wrap_socket(
            plain, server_hostname=paho._host, do_handshake_on_connect=False
        )
        self._hold(secured)
        secured.settimeout(paho._connect_timeout)
        secured.do_handshake()
        return secured

    def _hold(self, one: socket.socket) -> None:
        with self._lock:
            if self._given_up:
                one.close()
                raise OSError(ECANCELED, strerror(ECANCELED))
            self._socket = one
