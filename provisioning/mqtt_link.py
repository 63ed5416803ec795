"""A `Link` over MQTT 5 with TLS: by certificate or by password."""

from __future__ import annotations

import contextlib
import logging
import math
import re
import socket
import ssl
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, final
from urllib.parse import urlsplit

import aiomqtt

from edge_agent.homes import Device, Host, checking_socket
from edge_agent.mqtt_waits import keep_cancellations
from edge_agent.tls import client_context, say
from edge_agent.wire import client_ids
from provisioning.errors import ProvisioningError
from provisioning.link import Connect, Link, LinkError, Received

QUEUE_MAX = 1_000  # requests waiting to be answered; one that is lost is repeated by its device
TIMEOUT_S = 10.0  # a broker in reach takes milliseconds, a busy Raspberry Pi with TLS a second
_PACKET_OVERHEAD = 64  # headers of a publish beside topic and body, rounded up
PASSWORD_PORT = 8884  # beside 8883, where certificates count
_PORTS = {"mqtt": 1883, "mqtts": 8883}
_HOST = re.compile(r"[A-Za-z0-9._:-]{1,253}")
_SOCKET_OPTIONS = [(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)]  # or every message waits for the acknowledgement before
_quiet = logging.getLogger(f"{__name__}.paho")  # what aiomqtt would say a second time
_quiet.setLevel(logging.CRITICAL)


@final
@dataclass(frozen=True, slots=True)
class BrokerAccess:
    """Where to connect and as whom. Files are read at every connect, so that renewed ones count.

    client_id: what the session's name at the broker begins with: the mesh, and who it is for what.
    ca_file: whom to trust; the broker's certificate must be of it, of kind broker, and name the URL's host.
    certificate_file, key_file: who we are, or `username` and `password`.
    crl_file: brokers that are revoked; a file that is not there is none.
    broker_of: the device whose own broker it is: its certificate may then be that device's.
    """

    url: str
    client_id: str
    ca_file: Path
    certificate_file: Path | None = None
    key_file: Path | None = None
    username: str | None = None
    password: str | None = field(default=None, repr=False)
    crl_file: Path | None = None
    broker_of: str = ""


def check_url(url: str) -> tuple[str, int, bool]:
    """Returns host, port and whether there is TLS.

    Raises:
        ProvisioningError: it is no broker's URL.
    """
    try:
        parts = urlsplit(url)
        host, port, scheme = parts.hostname or "", parts.port, parts.scheme
    except ValueError:
        host, port, scheme = "", None, ""
    rest = "" if not host else f"{parts.path.strip('/')}{parts.query}{parts.fragment}"
    if scheme not in _PORTS or not _HOST.fullmatch(host) or rest or "@" in url or port == 0:
        echo = "one with a user name" if "@" in url else repr(url[:80])  # never a password into a log
        raise ProvisioningError(f"a broker's URL must be mqtts://host:port, not {echo}")
    return host, port or _PORTS[scheme], scheme == "mqtts"


def claim_url(url: str) -> str:
    """Returns where new devices claim beside a broker at `url`: the same host, the port for passwords.

    Raises:
        ProvisioningError: it is no broker's URL.
    """
    host, _, tls = check_url(url)
    bracketed = f"[{host}]" if ":" in host else host
    return f"{'mqtts' if tls else 'mqtt'}://{bracketed}:{PASSWORD_PORT}"


def mqtt_connect(access: BrokerAccess) -> Connect:
    """Returns what opens connections to this broker.

    Raises:
        ProvisioningError: its URL is none.
    """
    check_url(access.url)
    return lambda: _connected(access)


@contextlib.asynccontextmanager
async def _connected(access: BrokerAccess) -> AsyncIterator[Link]:
    host, port, tls = check_url(access.url)
    try:
        context = _context(access) if tls else None
        client = aiomqtt.Client(
            host,
            port,
            # never the same twice: beside another mesh or a second run it would end the other's session
            identifier=client_ids.unguessable(access.client_id),
            protocol=aiomqtt.ProtocolVersion.V5,
            username=access.username,
            password=access.password,
            clean_start=True,
            tls_context=context,
            timeout=TIMEOUT_S,
            max_queued_incoming_messages=QUEUE_MAX,
            socket_options=_SOCKET_OPTIONS,
            logger=_quiet,
        )
    except (OSError, ValueError) as error:
        raise LinkError(f"{access.url}: {error}") from None
    _fail_early(client)
    keep_cancellations(client)
    limits = _read_limits(client)
    entered = False
    try:
        async with client:
            entered = True
            yield _MqttLink(client, access, limits)
    except aiomqtt.MqttError as error:
        raise LinkError(_why(access, error, entered=entered)) from None


def _fail_early(client: aiomqtt.Client) -> None:
    """Ends a connect at once if the broker hangs up before its CONNACK, as one does that distrusts us or restarts.

    aiomqtt overlooks that and waits for its whole timeout.
    """
    on_disconnect: Callable[..., None] = client._on_disconnect

    def hung_up(paho: Any, userdata: Any, flags: Any, reason: Any, properties: Any = None) -> None:
        if not client._connected.done():
            client._connected.set_exception(aiomqtt.MqttError(f"the broker hung up: {reason}"))
        on_disconnect(paho, userdata, flags, reason, properties)
        if client._disconnected.done() and not client._disconnected.cancelled():
            # Looked at, or asyncio complains in the log where nobody waits for it: between two requests nobody does.
            client._disconnected.exception()

    client._client.on_disconnect = hung_up


@dataclass(slots=True)
class _Limits:
    """What the broker takes, as its CONNACK says."""

    qos_max: int = 1
    packet_bytes_max: float = math.inf


def _read_limits(client: aiomqtt.Client) -> _Limits:
    on_connect: Callable[..., None] = client._on_connect
    limits = _Limits()

    def connected(paho: Any, userdata: Any, flags: Any, reason: Any, properties: Any = None) -> None:
        limits.qos_max = min(1, getattr(properties, "MaximumQoS", 1))
        limits.packet_bytes_max = getattr(properties, "MaximumPacketSize", math.inf)
        on_connect(paho, userdata, flags, reason, properties)

    client._client.on_connect = connected
    return limits


class _MqttLink:
    def __init__(self, client: aiomqtt.Client, access: BrokerAccess, limits: _Limits) -> None:
        self._client = client
        self._access = access
        self._limits = limits
        self._messages = aiter(client.messages)

    async def subscribe(self, topic_filter: str) -> None:
        try:
            await self._client.subscribe(topic_filter, qos=1)
        except aiomqtt.MqttError as error:
            raise LinkError(_why(self._access, error, entered=True)) from None

    async def publish(self, topic: str, body: bytes, *, retain: bool = False) -> None:
        size = len(topic) + len(body) + _PACKET_OVERHEAD
        if size > self._limits.packet_bytes_max:  # the broker would hang up on it, and again at each repeat
            most = int(self._limits.packet_bytes_max)
            raise LinkError(f"{self._access.url}: {size:,} bytes for {topic}; the broker takes packets of {most:,}")
        try:
            await self._client.publish(topic, body, qos=self._limits.qos_max, retain=retain)
        except aiomqtt.MqttError as error:
            raise LinkError(_why(self._access, error, entered=True)) from None

    async def receive(self) -> Received:
        try:
            message = await anext(self._messages)
        except (aiomqtt.MqttError, StopAsyncIteration) as error:
            raise LinkError(_why(self._access, error, entered=True)) from None
        payload = message.payload
        return Received(str(message.topic), payload if isinstance(payload, bytes) else b"", bool(message.retain))


def _context(access: BrokerAccess) -> ssl.SSLContext:
    files = (access.ca_file, access.certificate_file, access.key_file, access.crl_file)
    context = client_context(*(None if file is None else str(file) for file in files))
    context.check_hostname = False  # the socket does it, and looks at the certificate's kind
    host = Host.of_settings(check_url(access.url)[0])
    context.sslsocket_class = checking_socket((host, Device(access.broker_of)) if access.broker_of else (host,))
    return context


def _why(access: BrokerAccess, error: BaseException, *, entered: bool) -> str:
    url, text = access.url, str(error).splitlines()[0] if str(error) else type(error).__name__
    certificate = access.certificate_file
    if said := say(error, ca=str(access.ca_file), certificate=None if certificate is None else str(certificate)):
        return f"{url}: {said}"
    if "Not authorized" in text or "Bad user name" in text:
        return f"{url}: the broker refuses this name and secret: {text}"
    return f"{url}: the connection broke: {text}" if entered else f"{url}: no connection: {text}"
