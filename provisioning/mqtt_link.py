"""A `Link` over MQTT 5 with TLS: by certificate or by password."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import final

from edge_agent import mqtt
from edge_agent.tls import say
from edge_agent.wire import client_ids
from provisioning.errors import ProvisioningError
from provisioning.link import Connect, Link, LinkError, Received

QUEUE_MAX = 1_000  # requests waiting to be answered; at that many the broker waits, too
CONNECT_TIMEOUT_S = 5.0  # a broker in reach takes milliseconds, a busy Raspberry Pi with TLS a second
PASSWORD_PORT = 8884  # beside 8883, where certificates count


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

    @property
    def tls(self) -> mqtt.TlsFiles:
        """The files, as connections take them."""
        files = (self.ca_file, self.certificate_file, self.key_file, self.crl_file)
        return mqtt.TlsFiles(*(None if file is None else str(file) for file in files))


def check_url(url: str) -> tuple[str, int, bool]:
    """Returns host, port and whether there is TLS.

    Raises:
        ProvisioningError: it is no broker's URL.
    """
    try:
        where = mqtt.parse_url(url)
    except ValueError:
        raise ProvisioningError(f"a broker's URL must be mqtts://host:port, not {mqtt.shown(url)}") from None
    return where.host, where.port, where.tls


def claim_url(url: str) -> str:
    """Returns where new devices claim beside a broker at `url`: the same host, the port for passwords.

    Raises:
        ProvisioningError: it is no broker's URL.
    """
    host, _, tls = check_url(url)
    return str(mqtt.BrokerUrl(host, PASSWORD_PORT, tls))


def mqtt_connect(access: BrokerAccess) -> Connect:
    """Returns what opens connections to this broker.

    Raises:
        ProvisioningError: its URL is none.
    """
    check_url(access.url)
    return lambda: _connected(access)


@contextlib.asynccontextmanager
async def _connected(access: BrokerAccess) -> AsyncIterator[Link]:
    try:
        client = mqtt.open_client(
            access.url,
            # never the same twice: beside another mesh or a second run it would end the other's session
            client_id=client_ids.unguessable(access.client_id),
            username=access.username,
            password=access.password,
            tls=access.tls,
            device=access.broker_of,
            connect_timeout_s=CONNECT_TIMEOUT_S,
        )
    except (OSError, ValueError) as error:
        raise LinkError(f"{access.url}: {error}") from None
    entered = False
    try:
        async with mqtt.Link(client, mqtt.Bounds(QUEUE_MAX)) as link:
            entered = True
            yield _MqttLink(link, access)
    except mqtt.MqttError as error:
        raise LinkError(_why(access, error, entered=entered)) from None


class _MqttLink:
    def __init__(self, link: mqtt.Link, access: BrokerAccess) -> None:
        self._link = link
        self._access = access

    async def subscribe(self, topic_filter: str) -> None:
        with self._told():
            await self._link.subscribe([(topic_filter, 1)])

    async def publish(self, topic: str, body: bytes, *, retain: bool = False) -> None:
        if len(body) > self._link.limits.body_bytes_max(topic):  # the broker would hang up, and again at each repeat
            size, most = len(topic) + len(body) + mqtt.PACKET_OVERHEAD, int(self._link.limits.packet_bytes_max)
            raise LinkError(f"{self._access.url}: {size:,} bytes for {topic}; the broker takes packets of {most:,}")
        with self._told():
            await self._link.deliver(topic, body, qos=1, retain=retain)

    async def receive(self) -> Received:
        with self._told():
            message = await self._link.receive()
        return Received(message.topic, message.payload, message.retain)

    @contextlib.contextmanager
    def _told(self) -> Iterator[None]:
        try:
            yield
        except mqtt.BROKEN as error:
            raise LinkError(_why(self._access, error, entered=True)) from None


def _why(access: BrokerAccess, error: BaseException, *, entered: bool) -> str:
    url, text = access.url, str(error).splitlines()[0] if str(error) else type(error).__name__
    if said := say(error, ca=access.tls.ca, certificate=access.tls.certificate):
        return f"{url}: {said}"
    if "Not authorized" in text or "Bad user name" in text:
        return f"{url}: the broker refuses this name and secret: {text}"
    return f"{url}: the connection broke: {text}" if entered else f"{url}: no connection: {text}"
