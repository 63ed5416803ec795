"""A device's identity on its own disk: its key, its certificate, whom it trusts, who is revoked.

| file | mode | what |
|---|---|---|
| `identity.pem` | 0600 | certificate and key, so that both change in one step; programs get this path for both |
| `previous.pem` | 0600 | the identity before, until the new one has been proven by a connection |
| `pending.key` | 0600 | a key whose certificate is to come; kept over a restart, so that repeats ask for the same |
| `ca.pem` | 0644 | whom to trust |
| `crl.pem` | 0644 | who is revoked; not there yet on a device that never heard |
"""

from __future__ import annotations

import contextlib
import datetime
import logging
import secrets
from collections.abc import Iterator
from pathlib import Path

from cryptography import x509

from edge_agent.wire.topics import check_id
from provisioning import certificates as certs
from provisioning import proofs, revocation
from provisioning.certificates import RENEWAL_MARGIN, Identity
from provisioning.errors import ProvisioningError
from provisioning.files import PRIVATE, PUBLIC, locked, make_folder, read_file, read_if_there, write_atomically
from provisioning.messages import CertificateIssued, ClaimRequest, RenewalRequest, TrustUpdate
from provisioning.trust import TrustBundle

_BEGIN_KEY = b"-----BEGIN PRIVATE KEY-----"
_IDENTITY_WAY_OUT = "put a copy back, or move it away and claim again with a new invitation (moamesh device invite)"
_log = logging.getLogger(__name__)


class IdentityStore:
    """The identity in one folder, which is made for its owner alone. One process uses it at a time.

    Raises:
        ProvisioningError: here and from every method: a file is damaged or can't be written, or what came is not right.
    """

    def __init__(self, folder: Path, mesh: str, device_id: str) -> None:
        try:
            check_id(mesh, "mesh")
        except ValueError as error:
            raise ProvisioningError(str(error)) from None
        self.folder = folder
        self.mesh = mesh
        self.device_id = certs.check_device_id(device_id)
        make_folder(folder)

    @property
    def identity_file(self) -> Path:
        """Certificate and key."""
        return self.folder / "identity.pem"

    @property
    def ca_file(self) -> Path:
        """Whom to trust."""
        return self.folder / "ca.pem"

    @property
    def crl_file(self) -> Path:
        """Who is revoked; perhaps not there yet."""
        return self.folder / "crl.pem"

    def trust(self, bundle_pem: bytes) -> None:
        """Sets whom to trust at the very first start; what is there already stays, since it may be newer."""
        bundle = TrustBundle.parse(bundle_pem)
        self._check_mesh(bundle)
        if read_if_there(self.ca_file) is None:
            write_atomically(self.ca_file, bundle.pem, PUBLIC)

    def adopt(self, identity: Identity) -> None:
        """Takes an identity that was made by the operator and came with the seed. Does nothing if there is one already.
        `trust` comes first."""
        if self.certificate() is None:
            key = certs.key_from_pem(identity.key_pem)
            self._write_identity(self._check(identity.certificate_pem, key, self.bundle()), key)

    def certificate(self) -> x509.Certificate | None:
        """Returns this device's certificate; `None` if it has none yet."""
        content = read_if_there(self.identity_file)
        if content is None:
            return None
        with _named(self.identity_file, _IDENTITY_WAY_OUT):
            return certs.certificates_from_pem(content)[0]

    def bundle(self) -> TrustBundle:
        """Returns whom this device trusts."""
        return TrustBundle.read(self.ca_file)

    def renewal_due(self, now: datetime.datetime, margin: datetime.timedelta = RENEWAL_MARGIN) -> bool:
        """Whether the certificate should be renewed now: it expires within `margin`, or a newer CA has taken office."""
        certificate = self.certificate()
        if certificate is None:
            return False
        bundle = self.bundle()
        return certificate.not_valid_after_utc - now <= margin or bundle.issuer_of(certificate) is not bundle.newest

    # --- asking -----------------------------------------------------------------------------------------------------

    def claim_request(self, secret: str) -> ClaimRequest:
        """Returns the request for the first certificate; its key is made now, or was by an earlier call."""
        csr = certs.make_csr(self._pending_key(), self.mesh, self.device_id)
        proof = proofs.claim_proof(proofs.proof_key(secret), self.mesh, self.device_id, csr)
        return ClaimRequest(_request_id(), csr.decode(), proof)

    def renewal_request(self) -> RenewalRequest:
        """Returns the request for the next certificate, with a new key, signed by the one of now."""
        live = self.certificate()
        if live is None:
            raise ProvisioningError(f"{self.device_id} has no certificate to renew")
        csr = certs.make_csr(self._pending_key(), self.mesh, self.device_id)
        signature = proofs.renewal_signature(self._live_key(), self.mesh, self.device_id, csr)
        return RenewalRequest(_request_id(), csr.decode(), f"{live.serial_number:x}", signature)

    # --- taking -----------------------------------------------------------------------------------------------------

    def accept(self, issued: CertificateIssued) -> x509.Certificate:
        """Takes what was issued for the pending key, and returns the certificate. On any error the old identity stays.

        After this call the caller connects with the new identity, then calls `prove` or `roll_back`.
        """
        key = self._pending_key()
        bundle = self._updated(issued.bundle, issued.bundle_signatures)
        certificate = self._check(issued.certificate.encode(), key, bundle)
        crl = self._newer_crl(issued.crl, bundle)
        with locked(self.folder):
            if bundle.pem != self.bundle().pem:
                write_atomically(self.ca_file, bundle.pem, PUBLIC)
            if crl is not None:
                write_atomically(self.crl_file, crl, PUBLIC)
            if (live := read_if_there(self.identity_file)) is not None:
                write_atomically(self._previous_file, live, PRIVATE)
            self._write_identity(certificate, key)
        self._forget(self._pending_file)
        return certificate

    def prove(self) -> None:
        """Says that a connection with the identity of now succeeded: the one before is removed."""
        self._forget(self._previous_file)

    def roll_back(self) -> bool:
        """Takes the identity before back into use, if there is one; says whether."""
        previous = read_if_there(self._previous_file)
        if previous is None:
            return False
        with _named(self._previous_file, "remove it"):
            certs.certificates_from_pem(previous)  # what is in use must not be replaced by rubbish
        write_atomically(self.identity_file, previous, PRIVATE)
        self._forget(self._previous_file)
        return True

    def take_bundle(self, update: TrustUpdate) -> bool:
        """Takes a newer trust bundle if a CA trusted now signed it; says whether anything changed."""
        bundle = self._updated(update.bundle, update.bundle_signatures)
        if bundle.pem == self.bundle().pem:
            return False
        certificate = self.certificate()
        if certificate is not None and bundle.issuer_of(certificate) is None:
            raise ProvisioningError("the new trust bundle would leave this device without a certificate; renew first")
        write_atomically(self.ca_file, bundle.pem, PUBLIC)
        return True

    def take_crl(self, crl_pem: str) -> bool:
        """Takes newer revocation lists if the CAs trusted here signed them; says whether anything changed."""
        crl = self._newer_crl(crl_pem, self.bundle())
        if crl is None:
            return False
        write_atomically(self.crl_file, crl, PUBLIC)
        return True

    # --- inside -----------------------------------------------------------------------------------------------------

    @property
    def _pending_file(self) -> Path:
        return self.folder / "pending.key"

    @property
    def _previous_file(self) -> Path:
        return self.folder / "previous.pem"

    def _pending_key(self) -> certs.PrivateKey:
        if (content := read_if_there(self._pending_file)) is not None:
            with _named(self._pending_file, "remove it: the device then makes another key and needs a new invitation"):
                key = certs.key_from_pem(content)
            certificate = self.certificate()
            if certificate is None or not _belongs(certificate, key):
                return key
            # Killed between taking the certificate and removing this: the key is in use, the next needs its own.
        key = certs.new_key()
        write_atomically(self._pending_file, certs.key_to_pem(key), PRIVATE)
        return key

    def _live_key(self) -> certs.PrivateKey:
        content = read_file(self.identity_file)
        with _named(self.identity_file, _IDENTITY_WAY_OUT):
            return certs.key_from_pem(content[content.find(_BEGIN_KEY) :])

    def _newer_crl(self, offered: str, bundle: TrustBundle) -> bytes | None:
        """A damaged list of ours is replaced by any that is offered: it can't say which is newer."""
        have = read_if_there(self.crl_file) or b""
        try:
            revocation.serials_in(have) if have else frozenset()
        except ProvisioningError as error:
            _log.warning("%s: %s; replaced by the list that was received", self.crl_file, error)
            have = b""
        return revocation.newer(have, offered.encode(), bundle)

    def _updated(self, bundle_pem: str, signatures: tuple[str, ...]) -> TrustBundle:
        offered = TrustBundle.parse(bundle_pem.encode())
        self._check_mesh(offered)
        return self.bundle().updated(offered, signatures)

    def _check_mesh(self, bundle: TrustBundle) -> None:
        if bundle.mesh != self.mesh:
            raise ProvisioningError(f"the trust bundle is of mesh {bundle.mesh}, not {self.mesh}")

    def _check(self, certificate_pem: bytes, key: certs.PrivateKey, bundle: TrustBundle) -> x509.Certificate:
        certificate = certs.certificates_from_pem(certificate_pem)[0]
        if bundle.issuer_of(certificate) is None:
            raise ProvisioningError("the certificate is signed by a CA that this device does not trust")
        if (certs.mesh_of(certificate), certs.name_of(certificate)) != (self.mesh, self.device_id):
            raise ProvisioningError(f"the certificate is not for {self.device_id} of mesh {self.mesh}")
        if not _belongs(certificate, key):
            raise ProvisioningError("the certificate is for another key, not this device's")
        return certificate

    def _write_identity(self, certificate: x509.Certificate, key: certs.PrivateKey) -> None:
        identity = Identity(certs.certificate_to_pem(certificate), certs.key_to_pem(key))
        write_atomically(self.identity_file, identity.combined_pem, PRIVATE)

    def _forget(self, path: Path) -> None:
        with contextlib.suppress(OSError):  # a leftover is harmless: each is recognised as such
            path.unlink()


@contextlib.contextmanager
def _named(path: Path, way_out: str) -> Iterator[None]:
    try:
        yield
    except ProvisioningError as error:
        raise ProvisioningError(f"{path}: {error}; {way_out}") from None


def _belongs(certificate: x509.Certificate, key: certs.PrivateKey) -> bool:
    public_key = certificate.public_key()
    if not isinstance(public_key, certs.PublicKey):
        return False
    return certs.public_bytes(public_key) == certs.public_bytes(key.public_key())


def _request_id() -> str:
    return secrets.token_urlsafe(16)
