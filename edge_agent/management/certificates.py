"""Keeps a device a member: renews its certificate in time, follows whom to trust and who is revoked."""

from __future__ import annotations

import asyncio
import contextlib
import datetime
import logging
import random

from edge_agent.ports import ManagementLine
from edge_agent.tasks import TaskSupervisor
from edge_agent.wire.topics import Channel
from provisioning.claiming import renew
from provisioning.errors import ProvisioningError
from provisioning.files import read_if_there
from provisioning.identity_store import IdentityStore
from provisioning.link import Connect
from provisioning.messages import MessageError, RenewalDue, RevocationList, TrustUpdate, decode, encode

log = logging.getLogger(__name__)

CHECK_S = 3_600.0  # how often the certificate's date is looked at; the operator's service reminds as well
RENEWAL_GIVE_UP_S = 60.0  # then again at the next check: there is a month of time
PROOF_S = 60.0  # a new certificate that no broker takes within this is put back
POLL_S = 0.2
HAND_ON_S = 1.0  # how soon peers hear of a new revocation list, and new peers of the one that is there
TELL_AGAIN_S = 60.0  # a random peer is told again this often: a message to another device's broker may get lost


class CertificateManager:
    """The identity of one device over its life.

    Args:
        store: its files.
        connect: to the broker where the operator's service listens, with this device's certificate.
        spread: whether revocations are handed on from device to device, as they must where no broker is shared.
    """

    def __init__(self, store: IdentityStore, connect: Connect, *, spread: bool, rng: random.Random) -> None:
        self._store = store
        self._connect = connect
        self._spread = spread
        self._rng = rng
        self._line: ManagementLine | None = None
        self._due = asyncio.Event()
        self._told: set[tuple[str, str]] = set()

    async def take(self, channel: Channel, body: bytes) -> None:
        """Takes a body of `certificates` or `revocations`. What is not right is logged and dropped."""
        try:
            await self._take(decode(body, channel))
        except (MessageError, ProvisioningError) as error:
            log.warning("%s: refused: %s", channel, error)

    async def attend(self, line: ManagementLine) -> None:
        """Renews when it is time, and tells peers of revocations, until it is cancelled."""
        self._line = line
        tasks = TaskSupervisor("certificate", line.report)
        tasks.keep("renewal", lambda: self._renew_in_time(line))
        if self._spread:
            tasks.keep("revocations", lambda: self._spread_revocations(line))
        try:
            await asyncio.Event().wait()
        finally:
            await tasks.stop()

    async def _take(self, message: object) -> None:
        if isinstance(message, RenewalDue):
            certificate = self._store.certificate()
            if certificate is not None and f"{certificate.serial_number:x}" == message.serial:
                self._due.set()
        elif isinstance(message, TrustUpdate):
            if self._store.take_bundle(message):
                log.info("the mesh's authority has changed; the new one is in use")
                await self._files_changed()
                self._due.set()  # a certificate of the old authority is to be replaced
        elif isinstance(message, RevocationList) and self._store.take_crl(message.crl):
            log.info("the revocation list has changed; the new one is in use")
            self._told.clear()
            await self._files_changed()

    async def _files_changed(self) -> None:
        if self._line is not None:
            await self._line.renew()

    async def _renew_in_time(self, line: ManagementLine) -> None:
        self._store.prove()  # this run is connected with what is there; a leftover is of a renewal that was cut off
        while True:
            asked = self._due.is_set()
            self._due.clear()
            try:
                if asked or self._store.renewal_due(datetime.datetime.now(datetime.UTC)):
                    await self._renew(line)
            except ProvisioningError as error:
                log.warning("the certificate could not be renewed; trying again: %s", error)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(CHECK_S):
                    await self._due.wait()

    async def _renew(self, line: ManagementLine) -> None:
        certificate = await renew(self._store, self._connect, give_up_s=RENEWAL_GIVE_UP_S)
        await line.renew()
        # The old connection has to go before the new one counts as proof.
        await asyncio.sleep(POLL_S)
        try:
            async with asyncio.timeout(PROOF_S):
                while not line.connected:  # noqa: ASYNC110 - the line has no event for it
                    await asyncio.sleep(POLL_S)
        except TimeoutError:
            if self._store.roll_back():
                await line.renew()
            raise ProvisioningError(
                "no broker accepted the new certificate; the previous one is in use again"
            ) from None
        self._store.prove()
        log.info("certificate renewed, valid until %s", certificate.not_valid_after_utc.date())

    async def _spread_revocations(self, line: ManagementLine) -> None:
        loop = asyncio.get_running_loop()
        again_at = loop.time() + TELL_AGAIN_S
        while True:
            await asyncio.sleep(HAND_ON_S)
            peers = list(line.peers())
            self._told.intersection_update(peers)
            if loop.time() >= again_at and peers:
                again_at = loop.time() + TELL_AGAIN_S * self._rng.uniform(0.5, 1.5)
                self._told.discard(self._rng.choice(peers))
            new = [peer for peer in peers if peer not in self._told]
            if not new or not line.connected:
                continue
            with contextlib.suppress(ProvisioningError, MessageError, UnicodeDecodeError):
                crl = read_if_there(self._store.crl_file)
                if crl is None:
                    continue
                body = encode(RevocationList(crl.decode()))
                for peer in new:
                    line.publish_to(*peer, Channel.REVOCATIONS, body)
                self._told.update(new)
