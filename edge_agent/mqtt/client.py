"""How an MQTT 5 client of this project is made: one place for sockets, sessions and certificates.

aiomqtt has no setting for some of what is needed here. This file, `dial`, `intake` and `link` reach into it and into
paho, and nothing else does.
"""

from __future__ import annotations

import logging
import math
import socket
from collections.abc import Awaitable, Callable, Collection
from typing import Any, TypeVar

import aiomqtt
from paho.mqtt.client import MQTT_LOG_ERR, CleanStartOption
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

from edge_agent.homes import Whom
from edge_agent.mqtt.reasons import HungUpError, WordlessError
from edge_agent.mqtt.trust import TlsFiles, make_context, whoms_at
from edge_agent.mqtt.urls import BrokerUrl, parse_url
from edge_agent.tasks import within

RECEIVE_MAXIMUM = 64  # QoS 1 messages a broker may have under way to us before we acknowledge one
# Told to every broker: what is longer it keeps to itself. Above a body's 256 KiB, so that more than that is refused in
# words; as large as our own brokers take.
PACKET_BYTES_MAX = 2_000_000
KEEPALIVE_S = 15  # a dead peer is seen after one and a half of it; a ping every 15 s costs a device nothing
CONNECT_TIMEOUT_S = 3.0  # for TCP and each step of TLS; a broker in reach answers in milliseconds
ANSWER_TIMEOUT_S = 10.0  # for a CONNACK and each acknowledgement
UNANSWERED = "the broker did not answer in time"

# Each failed try ends as an error that its caller tells or logs; a second line on a user's terminal helps nobody.
_library_log = logging.getLogger(f"{__name__}.library")
_library_log.addHandler(logging.NullHandler())
_library_log.propagate = False

T = TypeVar("T")
# Without it every small message waits for the delayed acknowledgement of the one before: 44 ms instead of 1.
NODELAY = (socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
UNACKNOWLEDGED_MS = 10_000  # a peer that vanished without a word: TCP alone would go on trying for a quarter of an hour
_SOCKET_OPTIONS = [NODELAY]
if (user_timeout := getattr(socket, "TCP_USER_TIMEOUT", None)) is not None:  # Linux alone has it
    _SOCKET_OPTIONS.append((socket.IPPROTO_TCP, user_timeout, UNACKNOWLEDGED_MS))


def open_client(
    url: str | BrokerUrl,
    *,
    client_id: str,
    will: aiomqtt.Will | None = None,
    receive_maximum: int = RECEIVE_MAXIMUM,
    username: str | None = None,
    password: str | None = None,
    tls: TlsFiles | None = None,
    device: str = "",
    hosts: Collection[str] | None = None,
    on_served: Callable[[tuple[Whom, ...]], None] | None = None,
    session_expiry_s: int = 0,
    connect_timeout_s: float = CONNECT_TIMEOUT_S,
) -> aiomqtt.Client:
    """Returns a client that is not connected yet: use it once, in `async with`, and make a new one to reconnect.

    With a `session_expiry_s` above 0 a broker that can keeps QoS 1 messages for this client id that long over a broken
    connection. Call this inside a running event loop.

    Over TLS nothing is sent before the broker has shown a certificate that `tls` trusts and that may serve the URL's
    host, which must be one of `hosts` (by default it is: the URL was written down by somebody), or `device`, if it is
    that one's own. Which of them is told to `on_served`, in the thread that connects.

    Raises:
        ValueError: `url` is no broker URL.
        TlsFileError: a certificate file cannot be read or used; one line that names it.
    """
    where = parse_url(url) if isinstance(url, str) else url
    properties = Properties(PacketTypes.CONNECT)  # type: ignore[no-untyped-call]  # paho leaves it unannotated
    properties.ReceiveMaximum = receive_maximum
    properties.MaximumPacketSize = PACKET_BYTES_MAX
    properties.SessionExpiryInterval = session_expiry_s
    clean_start: CleanStartOption = session_expiry_s == 0
    context = make_context(tls or TlsFiles(), whoms_at(where, device, hosts), on_served) if where.tls else None
    client = aiomqtt.Client(
        where.host,
        where.port,
        identifier=client_id,
        protocol=aiomqtt.ProtocolVersion.V5,
        will=will,
        username=username,
        password=password,
        keepalive=KEEPALIVE_S,
        clean_start=clean_start,
        properties=properties,
        tls_context=context,
        socket_options=_SOCKET_OPTIONS,
        logger=_library_log,
        timeout=max(ANSWER_TIMEOUT_S, connect_timeout_s),
    )
    client._client.connect_timeout = connect_timeout_s  # aiomqtt has no argument for it; the default is 5 s
    _fail_early(client)
    _keep_cancellations(client)
    return client


def _keep_cancellations(client: aiomqtt.Client) -> None:
    """Has a task end that is cancelled just as the broker answers it; aiomqtt itself would go on: see `tasks.within`.

    Raises (from what the client then awaits):
        aiomqtt.MqttError: no answer within the client's timeout.
    """

    async def wait_for(fut: Awaitable[T], timeout: float | None) -> T:
        timeout_s = client.timeout if timeout is None else timeout
        try:
            return await within(fut, None if timeout_s == math.inf else timeout_s)
        except TimeoutError:
            raise aiomqtt.MqttError(UNANSWERED) from None

    client._wait_for = wait_for  # type: ignore[method-assign]  # aiomqtt has no setting for it


def _fail_early(client: aiomqtt.Client) -> None:
    """Ends a connect at once if the broker hangs up before its CONNACK, as one does that restarts or distrusts us.

    aiomqtt overlooks that and waits for its whole timeout, 10 s. What the socket said, such as the alert of a broker
    that does not like our certificate, paho tells to its log alone.
    """
    on_disconnect: Callable[..., None] = client._on_disconnect
    last_error = ""

    def note(paho: Any, userdata: Any, level: int, text: str) -> None:
        nonlocal last_error
        if level == MQTT_LOG_ERR:
            last_error = text

    def hung_up(paho: Any, userdata: Any, flags: Any, reason: Any, properties: Any = None) -> None:
        connected, lost = client._connected, client._disconnected
        if not connected.done():
            connected.set_exception(HungUpError(_hung_up_words(last_error)))
        elif connected.exception() is None and not lost.done() and _is_made_up(flags, reason):
            lost.set_exception(WordlessError(_lost_words(reason)))
        on_disconnect(paho, userdata, flags, reason, properties)
        for future in (connected, lost):  # a connection that is lost as it comes about has nobody who waits for it yet
            if future.done() and not future.cancelled():
                future.exception()  # asyncio then says nothing of an exception that nobody asked for

    client._client.on_log = note
    client._client.on_disconnect = hung_up


def _is_made_up(flags: Any, reason: Any) -> bool:
    """Whether it is paho's own word for a connection that is gone, and the broker said nothing."""
    return bool(reason.is_failure and not flags.is_disconnect_packet_from_server)


def _hung_up_words(last_error: str) -> str:
    """An alert of TLS says why; that the socket was reset says no more than that it was closed."""
    return f"the broker closed the connection before its CONNACK{f': {last_error}' if 'SSL' in last_error else ''}"


def _lost_words(reason: Any) -> str:
    silent = "keep alive" in str(reason).casefold()
    return "no longer answers" if silent else "the connection broke: the broker ended, or the network did"
