"""The operator's service: answers claims and renewals at a broker, and tells members whom to trust and who is revoked.

Without it devices work on; only new ones wait, and certificates run out after their lifetime.
"""

from __future__ import annotations

import asyncio
import json
import logging
import time
from collections.abc import Iterable

from edge_agent.tasks import together
from edge_agent.wire.topics import ANY, HOME_ASSISTANT_USER, OPERATOR_ID, Channel, parse, topic_filter, written_by
from provisioning.certificates import certificates_from_pem
from provisioning.errors import ProvisioningError
from provisioning.files import read_file
from provisioning.inventory import Inventory
from provisioning.link import Connect, Link, Received, Serving
from provisioning.mesh import MeshFolder
from provisioning.messages import encode
from provisioning.registrar import Outgoing, Registrar
from provisioning.traces import clear

_log = logging.getLogger(__name__)

CHANNELS = (Channel.CLAIMS, Channel.RENEWALS, Channel.PRESENCE, Channel.STATUS)
HOME_CHANNELS = (Channel.RENEWALS, Channel.PRESENCE, Channel.STATUS)
"""At a device's own broker: who has no certificate yet cannot be there."""
WATCH_S = 0.5  # how soon a revocation by another command goes out; brokers do not wait for it
DUE_CHECK_S = 600.0  # how often the inventory is searched for certificates that run out
SEEN_INTERVAL_S = 60.0  # how exact "last seen" is; a device's status comes every few seconds
_PRESENCE_BYTES_MAX = 64 * 1024


class RegistrarService(Serving):
    """Runs until it is cancelled, over connections that may break.

    Args:
        connect: to the broker that is served.
        where: its URL, for the log; by default the mesh's first.
        home: whose own broker it is: then that device is served there, and believed for itself alone. `ANY` is a broker
            that all share.
    """

    def __init__(
        self,
        mesh: MeshFolder,
        registrar: Registrar,
        inventory: Inventory,
        connect: Connect,
        *,
        where: str = "",
        home: str = ANY,
    ) -> None:
        super().__init__(connect)
        self._where = where or mesh.settings.brokers[0]
        self._home = home
        self._mesh = mesh
        self._registrar = registrar
        self._inventory = inventory
        self._seen: dict[str, float] = {}
        self._told = (b"", b"")  # all is told at the first connect: while nobody served, anything may have happened
        self.listening = asyncio.Event()
        """Set while it is connected and would answer."""

    async def _begin(self, link: Link) -> None:
        for channel in CHANNELS if self._home == ANY else HOME_CHANNELS:
            await link.subscribe(topic_filter(self._mesh.name, self._home, channel))
        what = "claims and renewals" if self._home == ANY else f"renewals of {self._home}"
        _log.info("mesh %s: answering %s at %s", self._mesh.name, what, self._where)
        self.listening.set()

    async def _serve(self, link: Link) -> None:
        try:
            await together(self._answer(link), self._watch(link))
        finally:
            self.listening.clear()

    async def _answer(self, link: Link) -> None:
        while True:
            received = await link.receive()
            try:
                if (gone := self._revoked_writer(received)) is not None:
                    _log.info("removing what the revoked device %s left at the broker", gone)
                    announced = self._home == ANY and self._inventory.has_user(HOME_ASSISTANT_USER)
                    await clear(link, self._mesh.name, gone, home_assistant=announced)
                    continue
                await _send(link, self._mesh.name, self._handle(received))
            except ProvisioningError as error:  # the inventory's disk, say; the next may work again
                _log.error("%s", error)

    def _revoked_writer(self, received: Received) -> str | None:
        """Returns the revoked device whose presence or status this is: kept by the broker, or a last will."""
        address = parse(received.topic)
        if address is None or address.mesh != self._mesh.name or not received.body:
            return None
        if address.channel not in (Channel.PRESENCE, Channel.STATUS):
            return None
        return address.device if self._inventory.is_revoked(address.device) else None

    def _handle(self, received: Received) -> list[Outgoing]:
        address = parse(received.topic)
        if address is None or address.mesh != self._mesh.name or self._home not in (ANY, address.device):
            return []
        if address.channel in (Channel.CLAIMS, Channel.RENEWALS):
            # A retained request is none: nobody of ours retains them, and it would come again at every reconnect.
            return [] if received.retained else self._registrar.handle(address.device, address.channel, received.body)
        if address.channel is Channel.STATUS:
            if not received.retained:
                self._mark_seen(address.device)
            return []
        if _is_online(received.body):  # retained as well: the broker would have replaced it by the last will
            self._seen.pop(address.device, None)
            self._mark_seen(address.device)
            return self._registrar.news_for(address.device)
        return []

    def _mark_seen(self, device_id: str) -> None:
        now = time.monotonic()
        if now - self._seen.get(device_id, -SEEN_INTERVAL_S) >= SEEN_INTERVAL_S:
            self._seen[device_id] = now
            self._registrar.seen(device_id)

    async def _watch(self, link: Link) -> None:
        due_at = 0.0
        while True:
            try:
                if time.monotonic() >= due_at:
                    due_at = time.monotonic() + DUE_CHECK_S
                    await _send(link, self._mesh.name, self._registrar.due(self._home))
                if (now := self._files()) != self._told:
                    if any(self._told):
                        due_at = 0.0
                        _log.info("mesh %s: trust or revocations changed; informing members at %s", *self._names())
                    await _send(link, self._mesh.name, self._registrar.news(self._home))
                    self._told = now  # not before: a connection that breaks meanwhile leaves it to the next one
            except ProvisioningError as error:
                _log.error("%s", error)
            await asyncio.sleep(WATCH_S)

    def _names(self) -> tuple[str, str]:
        return self._mesh.name, self._where

    def _files(self) -> tuple[bytes, bytes]:
        return read_file(self._mesh.ca_file), read_file(self._mesh.crl_file)


async def _send(link: Link, mesh: str, messages: Iterable[Outgoing]) -> None:
    for outgoing in messages:
        topic = written_by(OPERATOR_ID, mesh, outgoing.device_id, outgoing.channel)
        await link.publish(topic, encode(outgoing.message))


def _is_online(body: bytes) -> bool:
    if not body or len(body) > _PRESENCE_BYTES_MAX:
        return False
    try:
        state = json.loads(body.decode()).get("state")
    except (ValueError, RecursionError, AttributeError):
        return False
    return bool(state == "online")


def operator_due(mesh: MeshFolder, now_s: float, margin_s: float) -> bool:
    """Whether the operator's own certificate needs renewing: it runs out, or its CA is not the newest.

    Raises:
        ProvisioningError: a file is missing or damaged.
    """
    certificate = certificates_from_pem(read_file(mesh.operator_certificate))[0]
    bundle = mesh.bundle()
    return (
        certificate.not_valid_after_utc.timestamp() - now_s < margin_s
        or bundle.issuer_of(certificate) is not bundle.newest
    )
