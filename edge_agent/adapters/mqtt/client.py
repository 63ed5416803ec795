"""How an MQTT 5 client of this project is made: one place for sockets, sessions and certificates.

Used by a device's transport and by clients on the user's side.
"""

from __future__ import annotations

import re
import socket
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, final
from urllib.parse import SplitResult, urlsplit

import aiomqtt
from paho.mqtt.client import CleanStartOption
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

RECEIVE_MAXIMUM = 64  # QoS 1 messages a broker may have under way to us before we acknowledge one
KEEPALIVE_S = 15  # a dead peer is seen after one and a half of it; a ping every 15 s costs a device nothing
CONNECT_TIMEOUT_S = 3.0  # a broker in reach answers in milliseconds; the thread that waits can't be cancelled

_DEFAULT_PORTS = {"mqtt": 1883, "mqtts": 8883}
_HOST = re.compile(r"[A-Za-z0-9._:-]{1,253}(%[A-Za-z0-9]+)?")  # names, IPv4 and IPv6 with a zone
# Without it every small message waits for the delayed acknowledgement of the one before: 44 ms instead of 1.
NODELAY = (socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)


@final
@dataclass(frozen=True, slots=True)
class BrokerUrl:
    """A broker's address, taken apart. Two URLs that mean the same address are equal."""

    host: str
    port: int
    tls: bool

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{'mqtts' if self.tls else 'mqtt'}://{host}:{self.port}"


@final
@dataclass(frozen=True, slots=True)
class TlsFiles:
    """PEM files: whom to trust, and who we are. `ca` None is the system's own list; the others None is no identity."""

    ca: str | None = None
    certificate: str | None = None
    key: str | None = None


def parse_url(url: str) -> BrokerUrl:
    """Takes `mqtt://host[:port]` or `mqtts://host[:port]` apart.

    Raises:
        ValueError: it is neither; the message is one line. User names belong into the settings, since a device's
            broker URL is shown to every other device.
    """
    try:
        parts = urlsplit(url)
        port = parts.port or _DEFAULT_PORTS.get(parts.scheme, 0)
    except ValueError:
        port = 0
        parts = SplitResult("", "", "", "", "")
    plain = not (parts.path.strip("/") or parts.query or parts.fragment or "@" in parts.netloc)
    known = parts.scheme in _DEFAULT_PORTS
    if not (known and port and plain and parts.hostname and _HOST.fullmatch(parts.hostname)):
        echo = "one with a user name" if "@" in url else repr(url[:80])  # never a password into a log
        raise ValueError(f"broker URL must be mqtt://host:port or mqtts://host:port, not {echo}")
    return BrokerUrl(parts.hostname, port, parts.scheme == "mqtts")


def open_client(
    url: str,
    *,
    client_id: str,
    will: aiomqtt.Will | None = None,
    receive_maximum: int = RECEIVE_MAXIMUM,
    username: str | None = None,
    password: str | None = None,
    tls: TlsFiles | None = None,
    session_expiry_s: int = 0,
) -> aiomqtt.Client:
    """Returns a client that is not connected yet: use it once, in `async with`, and make a new one to reconnect.

    With a `session_expiry_s` above 0 a broker that can keeps QoS 1 messages for this client id that long over a broken
    connection. Call this inside a running event loop.

    Raises:
        ValueError: `url` is no broker URL.
    """
    where = parse_url(url)
    properties = Properties(PacketTypes.CONNECT)  # type: ignore[no-untyped-call]  # paho leaves it unannotated
    properties.ReceiveMaximum = receive_maximum
    properties.SessionExpiryInterval = session_expiry_s
    clean_start: CleanStartOption = session_expiry_s == 0
    tls = tls or TlsFiles()
    parameters = aiomqtt.TLSParameters(ca_certs=tls.ca, certfile=tls.certificate, keyfile=tls.key)
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
        tls_params=parameters if where.tls else None,
        socket_options=[NODELAY],
    )
    client._client.connect_timeout = CONNECT_TIMEOUT_S  # aiomqtt has no argument for it; the default is 5 s
    _fail_early(client)
    return client


def _fail_early(client: aiomqtt.Client) -> None:
    """Ends a connect at once if the broker hangs up before its CONNACK, as one does that restarts or distrusts us.

    aiomqtt overlooks that and waits for its whole timeout, 10 s.
    """
    on_disconnect: Callable[..., None] = client._on_disconnect

    def hung_up(paho: Any, userdata: Any, flags: Any, reason: Any, properties: Any = None) -> None:
        if not client._connected.done():
            client._connected.set_exception(aiomqtt.MqttError(f"the broker hung up before its CONNACK: {reason}"))
        on_disconnect(paho, userdata, flags, reason, properties)

    client._client.on_disconnect = hung_up
