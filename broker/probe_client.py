"""A client that tries: it connects as somebody, subscribes, publishes, and keeps whatever it receives.

Over paho itself and not `edge_agent.mqtt`, whose connections ask for what our devices need and mend what goes wrong:
this one says and shows only what it was told to, as a stranger would, without a loop.
"""

from __future__ import annotations

import contextlib
import os
import socket
import ssl
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, final

from paho.mqtt.client import Client, MQTTMessage
from paho.mqtt.enums import CallbackAPIVersion, MQTTProtocolVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

from edge_agent.homes import Host, checking_socket
from edge_agent.tls import ClosingSocket

CONNECT_TIMEOUT_S = 10.0  # a broker in reach answers in milliseconds; one that refuses hangs up as soon
ANSWER_TIMEOUT_S = 10.0  # for a SUBACK or a PUBACK
KEPT_MESSAGES_MAX = 50_000  # a broker that sends more than a probe asked for must not fill our memory
KEEPALIVE_S = 30

_REFUSED_FROM = 0x80  # MQTT 5 reason codes from here on are failures


@final
@dataclass(frozen=True, slots=True)
class Endpoint:
    """Where to connect. `ca` None is without TLS. `shared`: only a broker's certificate will do, and no device's."""

    host: str
    port: int
    ca: Path | None = None
    websockets: bool = False
    shared: bool = False


@final
@dataclass(frozen=True, slots=True)
class Credentials:
    """Who one says one is: PEM files, or a user name and password, or nothing."""

    certificate: Path | None = None
    key: Path | None = None
    username: str | None = None
    password: str | None = field(default=None, repr=False)


@final
@dataclass(frozen=True, slots=True)
class Received:
    """A message as it came."""

    topic: str
    payload: bytes
    retained: bool


class _ClosingClient(Client):
    """paho leaves the socket open if a WebSocket's handshake fails."""

    _made: socket.socket | None = None

    def _create_socket_connection(self) -> socket.socket:
        self._made = super()._create_socket_connection()
        return self._made

    def _ssl_wrap_socket(self, tcp_sock: socket.socket) -> ssl.SSLSocket:
        self._made = wrapped = super()._ssl_wrap_socket(tcp_sock)
        return wrapped

    def close_socket(self) -> None:
        """Closes what a failed connect leaves."""
        if self._made is not None:
            self._made.close()


class ConnectRefusedError(Exception):
    """The broker did not let this client in. The message is one line that says how."""


class ProbeClient:
    """One MQTT 5 connection in a thread of its own: `with ProbeClient(...) as client: ...`."""

    def __init__(
        self,
        client_id: str,
        endpoint: Endpoint,
        credentials: Credentials,
        *,
        will: tuple[str, bytes, bool] | None = None,
        session_expiry_s: int = 0,
    ) -> None:
        self.received: list[Received] = []
        self.connack: Any = None
        """The properties with which the broker let it in, once connected."""
        self._endpoint = endpoint
        self._session_expiry_s = session_expiry_s
        self._reason: str | None = None
        self._connected = threading.Event()
        self._ended = threading.Event()
        self._answers: dict[int, list[int]] = {}
        self._heard: set[bytes] = set()
        self._awaited: bytes | None = None
        self._heard_at = 0.0
        self._news = threading.Condition()
        self._client = _ClosingClient(
            CallbackAPIVersion.VERSION2,
            client_id=client_id,
            protocol=MQTTProtocolVersion.MQTTv5,
            transport="websockets" if endpoint.websockets else "tcp",
            reconnect_on_failure=False,
        )
        self._client.connect_timeout = CONNECT_TIMEOUT_S
        self._client.max_inflight_messages_set(1_000)  # a probe sends all it has at once
        if will is not None:
            self._client.will_set(will[0], will[1], qos=1, retain=will[2])
        if credentials.username is not None:
            self._client.username_pw_set(credentials.username, credentials.password)
        if endpoint.ca is not None:
            context = ssl.create_default_context(cafile=str(endpoint.ca))
            context.sslsocket_class = ClosingSocket
            if endpoint.shared:
                context.check_hostname = False  # the socket does it, and looks at the certificate's kind
                context.sslsocket_class = checking_socket((Host.of_settings(endpoint.host),))
            if credentials.certificate is not None:
                context.load_cert_chain(credentials.certificate, credentials.key)
            self._client.tls_set_context(context)
        self._client.on_connect = self._on_connect
        self._client.on_disconnect = self._on_disconnect
        self._client.on_message = self._on_message
        self._client.on_publish = self._on_answer
        self._client.on_subscribe = self._on_subscribed

    @property
    def ended(self) -> bool:
        """Whether the connection was made and is over."""
        return self._ended.is_set()

    def __enter__(self) -> ProbeClient:
        self.connect()
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def connect(self) -> None:
        """Connects.

        Raises:
            ConnectRefusedError: it was not let in, or there is no broker.
        """
        properties = Properties(PacketTypes.CONNECT)  # type: ignore[no-untyped-call]  # paho leaves it unannotated
        properties.SessionExpiryInterval = self._session_expiry_s
        try:
            fresh = self._session_expiry_s == 0
            self._client.connect(
                self._endpoint.host, self._endpoint.port, KEEPALIVE_S, clean_start=fresh, properties=properties
            )
        except (OSError, ssl.SSLError, ValueError) as error:
            self._client.close_socket()
            raise ConnectRefusedError(f"no connection: {error}") from None
        with contextlib.suppress(OSError, AttributeError):
            self._client.socket().setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)  # type: ignore[union-attr]  # None is the AttributeError
        self._client.loop_start()
        self._connected.wait(CONNECT_TIMEOUT_S)
        if self._reason is None and self._connected.is_set() and not self._ended.is_set():
            return
        reason = self._reason or "the broker closed the connection before it answered"
        self.close()
        raise ConnectRefusedError(reason)

    def close(self) -> None:
        """Disconnects, so that no will is sent. May be called twice."""
        self._client.disconnect()
        self._client.loop_stop()

    def drop(self) -> None:
        """Cuts the connection without a word, as a dying device does: its will is due."""
        connection = self._client.socket()
        if connection is not None:
            with contextlib.suppress(OSError), socket.socket(fileno=os.dup(connection.fileno())) as beneath_tls:
                beneath_tls.shutdown(socket.SHUT_RDWR)
        self._ended.wait(ANSWER_TIMEOUT_S)
        self._client.loop_stop()

    def subscribe(self, filters: Sequence[str], qos: int = 1) -> None:
        """Subscribes to all of them, whatever the broker says about each: what counts is what comes."""
        numbers = [self._client.subscribe(topic, qos=qos)[1] for topic in filters if not self._ended.is_set()]
        wanted = [number for number in numbers if number is not None]
        self._wait(partial(self._answered, frozenset(wanted)), ANSWER_TIMEOUT_S)

    def publish(self, messages: Sequence[tuple[str, bytes, bool]], qos: int = 1) -> list[bool]:
        """Publishes (topic, payload, retained), and returns for each whether the broker said that it took it."""
        numbers = [
            self._client.publish(topic, payload, qos=qos, retain=retain).mid for topic, payload, retain in messages
        ]
        self._wait(partial(self._answered, frozenset(numbers)), ANSWER_TIMEOUT_S)
        return [all(code < _REFUSED_FROM for code in self._answers.get(number, [_REFUSED_FROM])) for number in numbers]

    def wait_for(self, payload: bytes, timeout_s: float) -> bool:
        """Waits until a message with this payload has come; returns whether it has."""
        self._awaited = payload
        return self._wait(lambda: payload in self._heard, timeout_s)

    def wait_for_last(self, payload: bytes, since: float, quiet_s: float, at_most_s: float) -> bool:
        """As `wait_for`, for what comes behind many others: gives up once nothing has come for `quiet_s`, or
        `at_most_s` after `since` (both by `time.monotonic()`)."""
        while (left_s := min(max(since, self._heard_at) + quiet_s, since + at_most_s) - time.monotonic()) > 0:
            if self.wait_for(payload, left_s):
                return True
        return self.wait_for(payload, 0.0)

    def wait_until_ended(self, timeout_s: float) -> bool:
        """Waits until the broker has cut the connection; returns whether it has."""
        return self._ended.wait(timeout_s)

    def _answered(self, numbers: frozenset[int]) -> bool:
        return self._ended.is_set() or self._answers.keys() >= numbers

    def _wait(self, condition: Callable[[], bool], timeout_s: float) -> bool:
        with self._news:
            return self._news.wait_for(condition, timeout_s)

    def _note(self, number: int, codes: list[int]) -> None:
        with self._news:
            self._answers[number] = codes
            self._news.notify_all()

    def _on_connect(self, client: Client, userdata: Any, flags: Any, reason: Any, properties: Any) -> None:
        if reason.is_failure:
            self._reason = str(reason)
        self.connack = properties
        self._connected.set()

    def _on_disconnect(self, client: Client, userdata: Any, flags: Any, reason: Any, properties: Any) -> None:
        self._ended.set()
        self._connected.set()
        with self._news:
            self._news.notify_all()

    def _on_message(self, client: Client, userdata: Any, message: MQTTMessage) -> None:
        with self._news:
            self._heard_at = time.monotonic()
            payload = bytes(message.payload)
            if payload == self._awaited or len(self._heard) < KEPT_MESSAGES_MAX:
                self._heard.add(payload)
            if len(self.received) < KEPT_MESSAGES_MAX:
                self.received.append(Received(message.topic, payload, message.retain))
            self._news.notify_all()

    def _on_answer(self, client: Client, userdata: Any, number: int, reason: Any, properties: Any) -> None:
        self._note(number, [reason.value])

    def _on_subscribed(self, client: Client, userdata: Any, number: int, reasons: Any, properties: Any) -> None:
        self._note(number, [reason.value for reason in reasons])
