"""The operator's side of claims and renewals, without any input or output of its own beside the mesh's folder.

`handle` takes what came in on a channel of a device and returns what to say. What it grants is on disk before it is
said, so that a repeat gets the same answer, and a crash grants nothing twice. It never raises for what others sent.
"""

from __future__ import annotations

import datetime
import logging
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import final

from cryptography import x509

from edge_agent.wire.topics import ANY, Channel
from provisioning import certificates as certs
from provisioning.authority import MeshAuthority, utc_now
from provisioning.certificates import DEVICE_LIFETIME, RENEWAL_MARGIN
from provisioning.errors import ProvisioningError
from provisioning.inventory import Inventory
from provisioning.messages import (
    CertificateConfirmed,
    CertificateIssued,
    ClaimRequest,
    Message,
    MessageError,
    RefusalReason,
    RenewalDue,
    RenewalRequest,
    RevocationList,
    TrustUpdate,
    decode,
    refused,
    request_id_in,
)
from provisioning.proofs import is_claim_proof, is_renewal_signature
from provisioning.records import CertificateKind, CertificateRow, DeviceState

_log = logging.getLogger(__name__)

CERTIFICATES_A_MONTH_MAX = 6
"""A device needs one in two months, and one in a rotation; one that asks for more is broken, or no friend. It bounds
what a device takes of the revocation list, should it be revoked: 30 entries at most."""
MONTH = datetime.timedelta(days=30)
DUE_INTERVAL = datetime.timedelta(hours=6)  # how often a device is told that its certificate should be renewed


@final
@dataclass(frozen=True, slots=True)
class Outgoing:
    """What to say to a device, and where."""

    device_id: str
    channel: Channel
    message: Message


class _RefusalError(Exception):
    """There is no certificate for this request."""

    def __init__(self, reason: RefusalReason, detail: str) -> None:
        super().__init__(detail)
        self.reason = reason


class Registrar:
    """Answers for one mesh. Use it in one thread; it closes nothing that it is given."""

    def __init__(
        self,
        authority: MeshAuthority,
        inventory: Inventory,
        *,
        lifetime: datetime.timedelta = DEVICE_LIFETIME,
        now: Callable[[], datetime.datetime] = utc_now,
    ) -> None:
        self._authority = authority
        self._inventory = inventory
        self._lifetime = lifetime
        self._now = now
        self._told_due: dict[tuple[str, str], datetime.datetime] = {}

    def handle(self, device_id: str, channel: Channel, body: bytes) -> list[Outgoing]:
        """Returns what to answer to what came in on `claims` or `renewals` of a device."""
        try:
            message = decode(body, channel)
        except MessageError as error:
            return self._refuse(device_id, request_id_in(body), _RefusalError(RefusalReason.BAD_REQUEST, str(error)))
        if isinstance(message, CertificateConfirmed):
            self._confirm(device_id, message)
            return []
        if not isinstance(message, ClaimRequest | RenewalRequest):
            return []
        try:
            self._authority.reload()  # a rotation may have begun in another process
            row = (
                self._claim(device_id, message)
                if isinstance(message, ClaimRequest)
                else self._renew(device_id, message)
            )
            issued = CertificateIssued(
                message.request_id,
                row.pem.decode(),
                self._authority.bundle_pem.decode(),
                self._authority.sign_bundle(),
                self._authority.crl_pem.decode(),
            )
        except _RefusalError as refusal:
            return self._refuse(device_id, message.request_id, refusal)
        except ProvisioningError as error:
            _log.error("%s: no certificate: %s", device_id, error)
            trouble = _RefusalError(
                RefusalReason.TROUBLE, "the operator's service cannot record it at the moment; try again later"
            )
            return self._refuse(device_id, message.request_id, trouble)
        return [Outgoing(device_id, Channel.CERTIFICATES, issued)]

    def seen(self, device_id: str) -> None:
        """Records that a device was heard of under its certificate; that also proves that it has one."""
        self._inventory.seen(device_id)
        if self._inventory.burn_claim(device_id):
            _log.info("%s: is connected with its certificate; its claim cannot be used again", device_id)

    def news_for(self, device_id: str) -> list[Outgoing]:
        """Returns what a device should know that has just come online: whom to trust, who is revoked."""
        self._authority.reload()
        bundle = TrustUpdate(self._authority.bundle_pem.decode(), self._authority.sign_bundle())
        crl = RevocationList(self._authority.crl_pem.decode())
        return [
            Outgoing(device_id, Channel.CERTIFICATES, bundle),  # first: it says who may sign the list
            Outgoing(device_id, Channel.REVOCATIONS, crl),
        ]

    def news(self, home: str = ANY) -> list[Outgoing]:
        """Returns the same for every member, as after a revocation or in a rotation, or for the one whose `home` it is
        where they are told."""
        members = [row.device_id for row in self._inventory.devices() if row.state is DeviceState.ACTIVE]
        members = [device_id for device_id in members if home in (ANY, device_id)]
        return [outgoing for device_id in members for outgoing in self.news_for(device_id)]

    def due(self, home: str = ANY) -> list[Outgoing]:
        """Returns reminders for members whose certificates should be renewed by now, one each in a `DUE_INTERVAL`, at
        each broker where they may be: the one that all share, or the own one of the device that is called `home`."""
        return [told for told in self._due(home) if home in (ANY, told.device_id)]

    # --- inside -----------------------------------------------------------------------------------------------------

    def _due(self, home: str) -> Iterator[Outgoing]:
        self._authority.reload()
        now = self._now()
        for row in self._inventory.newest_certificates():
            old_ca = self._authority.bundle.issuer_of(row.certificate) is not self._authority.bundle.newest
            if not old_ca and row.expires_at - now.timestamp() > RENEWAL_MARGIN.total_seconds():
                self._told_due.pop((home, row.name), None)
                continue
            told = self._told_due.get((home, row.name))
            if told is None or now - told >= DUE_INTERVAL:
                self._told_due[home, row.name] = now
                yield Outgoing(row.name, Channel.CERTIFICATES, RenewalDue(row.serial_text))

    def _claim(self, device_id: str, request: ClaimRequest) -> CertificateRow:
        claim = self._inventory.claim(device_id)
        if claim is None:
            states = {row.device_id: row.state for row in self._inventory.devices()}
            if device_id in states:
                raise _RefusalError(
                    RefusalReason.USED, f"the claim of {device_id} was used or withdrawn; invite it again"
                )
            raise _RefusalError(RefusalReason.NOT_INVITED, f"{device_id} is not invited to this mesh")
        csr = request.csr.encode()
        if not is_claim_proof(request.proof, claim.proof_key, self._authority.mesh, device_id, csr):
            raise _RefusalError(
                RefusalReason.WRONG_PROOF, f"this is not the claim that {device_id} was invited with last"
            )
        public_key = self._public_key(device_id, csr)
        if claim.public_key is not None:
            row = self._inventory.certificate(claim.serial) if claim.serial is not None else None
            if claim.public_key != public_key or row is None:
                raise _RefusalError(
                    RefusalReason.USED, f"the claim of {device_id} was used with another key; invite it again"
                )
            _log.info("%s: claim repeated, the same certificate sent again", device_id)
            return row
        if claim.expires_at <= self._now().timestamp():
            raise _RefusalError(RefusalReason.EXPIRED, f"the claim of {device_id} has expired; invite it again")
        row = self._sign(device_id, csr)
        self._inventory.claimed(device_id, public_key, row)
        _log.info("%s: claim accepted, certificate %s until %s", device_id, row.serial_text, _day(row.expires_at))
        return row

    def _renew(self, device_id: str, request: RenewalRequest) -> CertificateRow:
        live = self._inventory.certificate(int(request.serial, 16))
        if live is None or (live.kind, live.name) != (CertificateKind.DEVICE, device_id):
            raise _RefusalError(RefusalReason.BAD_REQUEST, f"{device_id} has no certificate {request.serial}")
        if self._inventory.device(device_id).state is not DeviceState.ACTIVE:
            raise _RefusalError(RefusalReason.REVOKED, f"{device_id} is not a member of this mesh")
        if live.expires_at <= self._now().timestamp():
            raise _RefusalError(RefusalReason.EXPIRED, f"the certificate of {device_id} has expired; invite it again")
        csr, key = request.csr.encode(), live.certificate.public_key()
        if not isinstance(key, certs.PublicKey) or not is_renewal_signature(
            request.signature, key, self._authority.mesh, device_id, csr
        ):
            raise _RefusalError(RefusalReason.WRONG_PROOF, f"the renewal is not signed by {device_id}'s certificate")
        public_key = self._public_key(device_id, csr)
        newest = self._inventory.certificates(device_id)[0]
        if _key_of(newest.certificate) == public_key:
            _log.info("%s: renewal repeated, the same certificate sent again", device_id)
            return newest
        self._check_not_too_many(device_id)
        row = self._sign(device_id, csr)
        self._inventory.renewed(row)
        _log.info("%s: renewed, certificate %s until %s", device_id, row.serial_text, _day(row.expires_at))
        return row

    def _check_not_too_many(self, device_id: str) -> None:
        month = MONTH.total_seconds()
        issued = self._inventory.issued_since(device_id, self._now().timestamp() - month)
        if len(issued) >= CERTIFICATES_A_MONTH_MAX:
            free = _day(issued[-CERTIFICATES_A_MONTH_MAX] + month)
            raise _RefusalError(
                RefusalReason.TROUBLE,
                f"{device_id} got {CERTIFICATES_A_MONTH_MAX} certificates in {MONTH.days} days; the next: {free}",
            )

    def _sign(self, device_id: str, csr: bytes) -> CertificateRow:
        addresses = self._inventory.device(device_id).ip_addresses
        pem = self._authority.sign_device(csr, device_id, ip_addresses=addresses, lifetime=self._lifetime)
        return CertificateRow.of(pem, self._now())

    def _public_key(self, device_id: str, csr: bytes) -> bytes:
        try:
            return certs.public_bytes(certs.read_csr(csr, self._authority.mesh, device_id))
        except ProvisioningError as error:
            raise _RefusalError(RefusalReason.BAD_REQUEST, str(error)) from None

    def _confirm(self, device_id: str, message: CertificateConfirmed) -> None:
        try:
            claim = self._inventory.claim(device_id)
            if claim is not None and claim.serial == int(message.serial, 16) and self._inventory.burn_claim(device_id):
                _log.info("%s: has stored its certificate; its claim cannot be used again", device_id)
        except ProvisioningError as error:
            _log.error("%s: the claim could not be marked as used: %s", device_id, error)

    def _refuse(self, device_id: str, request_id: str, refusal: _RefusalError) -> list[Outgoing]:
        message = refused(request_id, refusal.reason, str(refusal))
        _log.warning("%s: refused (%s): %s", device_id, message.reason, message.detail)
        return [Outgoing(device_id, Channel.CERTIFICATES, message)]


def _key_of(certificate: x509.Certificate) -> bytes:
    key = certificate.public_key()
    return certs.public_bytes(key) if isinstance(key, certs.PublicKey) else b""


def _day(timestamp: float) -> str:
    return datetime.datetime.fromtimestamp(timestamp, datetime.UTC).date().isoformat()
