"""The mesh's certificate authority: makes identities, revokes them, and passes its office on to a new key.

Its folder holds `ca.pem` (every CA that is trusted: during a rotation the old and the new), `ca.key` (their private
keys, 0600) and `crl.pem` (one revocation list for each CA).

During a rotation members' certificates come from the new CA, brokers' from the old: a broker has heard of the new CA at
once, a device that was switched off has not.
"""

from __future__ import annotations

import datetime
import re
from collections.abc import Callable, Container, Iterable, Sequence
from pathlib import Path

from cryptography import x509

from edge_agent.files import is_there
from edge_agent.wire.topics import is_id
from provisioning import certificates as certs
from provisioning import revocation
from provisioning.certificates import (
    BROKER_LIFETIME,
    DEVICE_LIFETIME,
    OPERATOR_LIFETIME,
    Identity,
    Subject,
)
from provisioning.errors import ProvisioningError
from provisioning.files import PRIVATE, PUBLIC, locked, make_folder, read_file, read_if_there, write_atomically
from provisioning.trust import TrustBundle

__all__ = ["Identity", "MeshAuthority", "ProvisioningError"]

CA_FILE, KEY_FILE, CRL_FILE = "ca.pem", "ca.key", "crl.pem"
_MADE_AFTER_THE_CA = ("mesh.toml", "operator.key", "operator.pem", "inventory.sqlite3")

_PEM_BLOCK = re.compile(rb"-----BEGIN [A-Z ]+-----.+?-----END [A-Z ]+-----\n?", re.DOTALL)
Clock = Callable[[], datetime.datetime]
Record = Callable[[x509.Certificate], None]
"""Enters a certificate in the ledger; if it raises, the certificate is given to nobody."""


def unrecorded(certificate: x509.Certificate) -> None:
    """For an authority without a mesh's folder, as tests have."""


def utc_now() -> datetime.datetime:
    """The time by this machine's clock."""
    return datetime.datetime.now(datetime.UTC)


class MeshAuthority:
    """The CA of one mesh, with its private keys in memory. Make it by `create` or `open`.

    record: hears of every certificate before it is returned. `MeshFolder.authority` gives its ledger.
    """

    def __init__(
        self,
        folder: Path,
        bundle: TrustBundle,
        keys: dict[bytes, certs.PrivateKey],
        passphrase: str | None,
        now: Clock,
        record: Record = unrecorded,
    ) -> None:
        self.folder = folder
        self.bundle = bundle
        self._keys = keys
        self._passphrase = passphrase
        self._now = now
        self._record = record

    @classmethod
    def create(cls, folder: Path, mesh: str, *, passphrase: str | None = None, now: Clock = utc_now) -> MeshAuthority:
        """Makes a new CA in `folder`, which is made for its owner alone.

        Raises:
            ProvisioningError: the mesh's name is none, there is a CA already, or the folder can't be written.
        """
        if not is_id(mesh):
            raise ProvisioningError(f"a mesh's name must be 1 to 64 of a-z, 0-9 and -, not {mesh[:64]!r}")
        make_folder(folder)
        with locked(folder):
            if is_there(folder / CA_FILE):
                raise ProvisioningError(f"mesh {mesh} exists already: {folder / CA_FILE}")
            if issued := [name for name in _MADE_AFTER_THE_CA if is_there(folder / name)]:
                raise ProvisioningError(
                    f"{folder / CA_FILE} is missing, but {issued[0]} is there: put a copy back; a new authority would "
                    "lock every device out"
                )
            key = certs.new_key()
            bundle = TrustBundle((certs.make_ca(mesh, 1, key, now()),))
            authority = cls(folder, bundle, _by_public_key([key]), passphrase, now)
            # The certificate last: without it there is no mesh, and a creation that was cut off can be repeated.
            authority._write_keys([key])
            authority._write_crl(())
            authority._write_bundle()
        return authority

    @classmethod
    def open(
        cls, folder: Path, *, passphrase: str | None = None, now: Clock = utc_now, record: Record = unrecorded
    ) -> MeshAuthority:
        """Returns the CA in `folder`.

        Raises:
            ProvisioningError: there is none, it is damaged, or the passphrase is wrong or missing.
        """
        bundle = TrustBundle.read(folder / CA_FILE)
        blocks = _PEM_BLOCK.findall(read_file(folder / KEY_FILE))
        try:
            keys = _by_public_key([certs.key_from_pem(block, passphrase) for block in blocks])
        except ProvisioningError as error:
            raise ProvisioningError(f"{folder / KEY_FILE}: {error}") from None
        if any(_public_bytes(ca) not in keys for ca in bundle.authorities):
            raise ProvisioningError(f"{folder / KEY_FILE} does not belong to {folder / CA_FILE}")
        return cls(folder, bundle, keys, passphrase, now, record)

    @property
    def mesh(self) -> str:
        """The mesh's name."""
        return self.bundle.mesh

    @property
    def passphrase(self) -> str | None:
        """With which its key, and that of the web CA, are encrypted; `None` if they are not."""
        return self._passphrase

    @property
    def bundle_pem(self) -> bytes:
        """Every CA that members trust."""
        return self.bundle.pem

    @property
    def crl_pem(self) -> bytes:
        """The revocation lists, one for each CA of the bundle."""
        return read_file(self.folder / CRL_FILE)

    def sign_device(
        self,
        csr_pem: bytes,
        device_id: str,
        *,
        ip_addresses: Iterable[str] = (),
        lifetime: datetime.timedelta = DEVICE_LIFETIME,
    ) -> bytes:
        """Returns the certificate for a key that a device made itself.

        Raises:
            ProvisioningError: the request is in another name, for another mesh, damaged, or not signed by its key.
        """
        subject = certs.device_subject(device_id, ip_addresses)
        public_key = certs.read_csr(csr_pem, self.mesh, device_id)
        return certs.certificate_to_pem(self._sign(subject, public_key, lifetime))

    def issue_device(
        self, device_id: str, ip_addresses: Iterable[str] = (), *, lifetime: datetime.timedelta = DEVICE_LIFETIME
    ) -> Identity:
        """Returns an identity for a device that can't claim one itself; its key is made here.

        Raises:
            ProvisioningError: the device's name or an address is none.
        """
        return self._issue(certs.device_subject(device_id, ip_addresses), lifetime)

    def issue_broker(self, hosts: Sequence[str], *, lifetime: datetime.timedelta = BROKER_LIFETIME) -> Identity:
        """Returns the server identity of a broker reached by these host names and addresses.

        Raises:
            ProvisioningError: there is no host, or one is none.
        """
        return self._issue(certs.broker_subject(hosts), lifetime)

    def issue_operator(self, *, lifetime: datetime.timedelta = OPERATOR_LIFETIME) -> Identity:
        """Returns an identity of who runs the mesh, always with a new key: who has an old one signs nothing more."""
        return self._issue(certs.operator_subject(), lifetime)

    def revoke(
        self,
        serials: Iterable[int],
        *,
        issuer: Callable[[int], str] = lambda serial: "",
        forget: Container[int] = (),
    ) -> bytes:
        """Adds certificates to the revocation lists, takes others off, writes them, and returns them; `issuer` and
        `forget` as in `revocation.make`.

        Raises:
            ProvisioningError: they can't be written; then nothing was revoked.
        """
        with locked(self.folder):
            return self._write_crl(serials, issuer, forget)

    def sign_bundle(self) -> tuple[str, ...]:
        """Returns one signature of the bundle by each CA in it, so that who trusts any of them will take the others."""
        return tuple(self.bundle.signature(self._key_of(ca)) for ca in self.bundle.authorities)

    def reload(self) -> None:
        """Sees what another process did to the folder meanwhile: a rotation begun or finished.

        Raises:
            ProvisioningError: as `open`.
        """
        if read_file(self.folder / CA_FILE) != self.bundle.pem:
            fresh = MeshAuthority.open(self.folder, passphrase=self._passphrase, now=self._now)
            self.bundle, self._keys = fresh.bundle, fresh._keys

    def rotate(self) -> None:
        """Makes a new CA key. From now on it signs; the old one stays trusted until `finish_rotation`.

        Raises:
            ProvisioningError: a rotation is under way already, or the folder can't be written.
        """
        with locked(self.folder):
            self.reload()
            if len(self.bundle.authorities) > 1:
                raise ProvisioningError("a rotation is under way; finish it first: moamesh mesh rotate --finish")
            key = certs.new_key()
            ca = certs.make_ca(self.mesh, self.bundle.generation + 1, key, self._now())
            old = [self._key_of(authority) for authority in self.bundle.authorities]
            # Key, list, certificate: each is useless without the next, so a cut leaves the old state in force.
            self._write_keys([*old, key])
            self._keys = _by_public_key([*old, key])
            self.bundle = TrustBundle((*self.bundle.authorities, ca))
            self._write_crl(())
            self._write_bundle()

    def finish_rotation(self) -> None:
        """Drops the old CA: its certificates are refused from now on. The caller first makes sure that none is in use.

        Raises:
            ProvisioningError: no rotation is under way, or the folder can't be written.
        """
        with locked(self.folder):
            self.reload()
            if len(self.bundle.authorities) == 1:
                raise ProvisioningError("no rotation is under way")
            self.bundle = TrustBundle((self.bundle.newest,))
            self._write_bundle()
            self._write_crl(())
            self._write_keys([self._key_of(self.bundle.newest)])

    # --- inside -----------------------------------------------------------------------------------------------------

    def _issue(self, subject: Subject, lifetime: datetime.timedelta) -> Identity:
        key = certs.new_key()
        certificate = self._sign(subject, key.public_key(), lifetime)
        return Identity(certs.certificate_to_pem(certificate), certs.key_to_pem(key))

    def _sign(self, subject: Subject, public_key: certs.PublicKey, lifetime: datetime.timedelta) -> x509.Certificate:
        ca = self.bundle.oldest if subject.common_name == certs.BROKER_ID else self.bundle.newest
        ends = self._now() + lifetime
        certificate = certs.make_certificate(subject, public_key, ca, self._key_of(ca), ends)
        self._record(certificate)
        return certificate

    def _key_of(self, ca: x509.Certificate) -> certs.PrivateKey:
        return self._keys[_public_bytes(ca)]

    def _write_keys(self, keys: Iterable[certs.PrivateKey]) -> None:
        content = b"".join(certs.key_to_pem(key, self._passphrase) for key in keys)
        write_atomically(self.folder / KEY_FILE, content, PRIVATE)

    def _write_bundle(self) -> None:
        write_atomically(self.folder / CA_FILE, self.bundle.pem, PUBLIC)

    def _write_crl(
        self,
        serials: Iterable[int],
        issuer: Callable[[int], str] = lambda serial: "",
        forget: Container[int] = (),
    ) -> bytes:
        path = self.folder / CRL_FILE
        there = read_if_there(path)
        try:
            before = () if there is None else revocation.parse(there)
        except ProvisioningError as error:
            raise ProvisioningError(f"{path}: {error}; put a copy back, such as a device's or a broker's") from None
        signers = [(ca, self._key_of(ca)) for ca in self.bundle.authorities]
        content = revocation.make(signers, before, serials, self._now(), issuer=issuer, forget=forget)
        write_atomically(path, content, PUBLIC)
        return content


def _public_bytes(ca: x509.Certificate) -> bytes:
    key = ca.public_key()
    if not isinstance(key, certs.PublicKey):
        raise ProvisioningError("a CA's key is not ECDSA P-256")
    return certs.public_bytes(key)


def _by_public_key(keys: Iterable[certs.PrivateKey]) -> dict[bytes, certs.PrivateKey]:
    return {certs.public_bytes(key.public_key()): key for key in keys}
