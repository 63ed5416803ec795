"""A mesh as its operator holds it: one folder, for the owner alone.

`mesh.toml` (name, brokers, defaults), `ca.pem`, `ca.key`, `crl.pem` (see `authority`), `operator.pem`, `operator.key`,
`inventory.sqlite3` with the ledger of all certificates.
"""

from __future__ import annotations

import tomllib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import final

from cryptography import x509

from edge_agent.files import is_there
from provisioning import certificates as certs
from provisioning import revocation
from provisioning.authority import CA_FILE, CRL_FILE, KEY_FILE, MeshAuthority, utc_now
from provisioning.certificates import Identity
from provisioning.device_names import check_new_device, check_no_device_host, is_good
from provisioning.errors import ProvisioningError
from provisioning.files import PRIVATE, PUBLIC, read_file, read_if_there, write_atomically
from provisioning.inventory import CLAIM_LIFETIME_S, Inventory
from provisioning.mesh_names import SETTINGS_FILE, mesh_names, meshes_folder
from provisioning.mesh_settings import DEFAULT_BROKER, MeshSettings, read_settings, settings_text
from provisioning.operator_files import OperatorFiles, serial_in
from provisioning.proofs import new_secret, proof_key
from provisioning.records import CertificateKind, CertificateRow
from provisioning.trust import TrustBundle
from provisioning.web_authority import WebAuthority

_WAY_OUT = "put a copy back, or write it anew (docs/PROVISIONING.md shows one)"


@final
@dataclass(frozen=True, slots=True)
class Invitation:
    """All that a device needs to claim its certificate. The secret is never kept here and can't be had again."""

    mesh: str
    device_id: str
    secret: str = field(repr=False)
    claim_broker: str
    brokers: tuple[str, ...]
    bundle_pem: bytes = field(repr=False)
    expires_at: float


class MeshFolder:
    """The operator's side of one mesh. Make it by `create` or `open`; its inventory is opened by whoever needs it."""

    def __init__(self, folder: Path, settings: MeshSettings) -> None:
        self.folder = folder
        self.settings = settings

    @classmethod
    def create(cls, folder: Path, settings: MeshSettings, *, passphrase: str | None = None) -> MeshFolder:
        """Makes a mesh: its CA, the operator's identity, an empty inventory, its settings.

        Raises:
            ProvisioningError: there is one already, a name or URL is none, or the folder can't be written. A mesh that
                could not be finished is not there; the same call finishes it.
        """
        mesh = cls(folder, settings)
        if is_there(folder / SETTINGS_FILE):
            raise ProvisioningError(f"mesh {settings.name} exists already: {folder}")
        if not is_there(folder / CA_FILE):  # else a creation was cut off; the CA is whole
            MeshAuthority.create(folder, settings.name, passphrase=passphrase)
        Inventory.make(mesh.inventory_file)
        mesh.inventory().close()  # a damaged one is refused here, not found later
        mesh.renew_operator(mesh.authority(passphrase))
        mesh.save()
        return mesh

    @classmethod
    def open(cls, folder: Path) -> MeshFolder:
        """Returns the mesh in `folder`.

        Raises:
            ProvisioningError: there is none, or its settings are damaged.
        """
        path = folder / SETTINGS_FILE
        content = read_if_there(path)
        if content is None:
            raise ProvisioningError(f"there is no mesh {folder.name!r}; make it: moamesh mesh create {folder.name}")
        try:
            mesh = cls(folder, read_settings(tomllib.loads(content.decode())))
        except UnicodeDecodeError:
            raise ProvisioningError(f"{path}: not UTF-8 text; {_WAY_OUT}") from None
        except (ValueError, RecursionError) as error:  # of TOML too
            raise ProvisioningError(f"{path}: {error}; {_WAY_OUT}") from None
        mesh.operator.finish_renewal()
        return mesh

    @property
    def name(self) -> str:
        """The mesh's name."""
        return self.settings.name

    @property
    def ca_file(self) -> Path:
        """Whom members trust."""
        return self.folder / CA_FILE

    @property
    def crl_file(self) -> Path:
        """Who is revoked."""
        return self.folder / CRL_FILE

    @property
    def inventory_file(self) -> Path:
        """Who belongs to the mesh."""
        return self.folder / "inventory.sqlite3"

    @property
    def operator(self) -> OperatorFiles:
        """The operator's own identity."""
        return OperatorFiles(self.folder)

    @property
    def operator_certificate(self) -> Path:
        """The operator's certificate."""
        return self.operator.certificate

    @property
    def operator_key(self) -> Path:
        """The operator's private key."""
        return self.operator.key

    @property
    def broker_certificate(self) -> Path:
        """The certificate of the broker that all share."""
        return self.folder / "broker.pem"

    @property
    def broker_key(self) -> Path:
        """Its private key."""
        return self.folder / "broker.key"

    def save(self) -> None:
        """Writes the settings, as they are in `settings`."""
        write_atomically(self.folder / SETTINGS_FILE, settings_text(self.settings).encode(), PRIVATE)

    def bundle(self) -> TrustBundle:
        """Whom members trust; needs no passphrase."""
        return TrustBundle.read(self.ca_file)

    def authority(self, passphrase: str | None = None) -> MeshAuthority:
        """Opens the CA. Whatever it signs stands in the ledger first.

        Raises:
            ProvisioningError: it is damaged, or the passphrase is wrong or missing.
        """
        return MeshAuthority.open(self.folder, passphrase=passphrase, record=self.record)

    def web_authority(self, authority: MeshAuthority, hosts: Sequence[str], *, anew: bool = False) -> WebAuthority:
        """Opens the CA for web pages; makes one for these hosts if there is none yet, or `anew` if told so. The broker
        that all share then shows its bridge.

        Raises:
            ProvisioningError: it is damaged, or a host is none, or a device's.
        """
        with self.inventory() as inventory:
            check_no_device_host(hosts, inventory, authority.bundle)
        if not anew and (found := self._web_authority(authority)) is not None:
            return found
        made = WebAuthority.make(self.folder, self.name, hosts, record=self.record, passphrase=authority.passphrase)
        if (content := read_if_there(self.broker_certificate)) is not None:
            write_atomically(self.broker_certificate, self._with_bridge(content, authority), PUBLIC)
        return made

    def _web_authority(self, authority: MeshAuthority) -> WebAuthority | None:
        return WebAuthority.open(self.folder, record=self.record, passphrase=authority.passphrase)

    def _with_bridge(self, certificate_pem: bytes, authority: MeshAuthority) -> bytes:
        """Returns a server's certificate as it is shown: with the bridge, if browsers are to trust the web CA."""
        certificate = certs.certificates_from_pem(certificate_pem)[0]
        shown = certs.certificate_to_pem(certificate)
        web, ca = self._web_authority(authority), authority.bundle.issuer_of(certificate)
        return shown if web is None or ca is None else shown + web.bridge(ca)

    def record(self, certificate: x509.Certificate) -> None:
        """Enters a certificate in the ledger.

        Raises:
            ProvisioningError: it can't be written; then the certificate must be given to nobody.
        """
        with self.inventory() as inventory:
            inventory.record(CertificateRow.of(certs.certificate_to_pem(certificate), utc_now()))

    @property
    def locked(self) -> bool:
        """Whether the CA's key is encrypted."""
        return b"ENCRYPTED" in read_file(self.folder / KEY_FILE)

    def waiting_for_rotation(self, inventory: Inventory) -> list[str]:
        """Returns the active devices whose certificate is not from the newest CA and has not run out: whom the end of a
        rotation would lock out."""
        bundle, now = self.bundle(), utc_now().timestamp()
        return [
            row.name
            for row in inventory.newest_certificates()
            if row.expires_at > now and bundle.issuer_of(row.certificate) is not bundle.newest
        ]

    def inventory(self, *, clock: Callable[[], float] | None = None) -> Inventory:
        """Opens the inventory; the caller closes it."""
        return Inventory(self.inventory_file) if clock is None else Inventory(self.inventory_file, clock=clock)

    def renew_operator(self, authority: MeshAuthority) -> None:
        """Makes a new certificate for the operator, with a new key, as after a rotation.

        Raises:
            ProvisioningError: a file can't be written; the operator's identity is the old one, or the new.
        """
        self.operator.renew(authority)

    def renew_broker(self, authority: MeshAuthority, hosts: Sequence[str]) -> None:
        """Makes a new certificate for the broker that all share, with a new key. One that runs takes it over.

        Raises:
            ProvisioningError: a host is none, or a device's; or a file can't be written.
        """
        with self.inventory() as inventory:
            check_no_device_host(hosts, inventory, authority.bundle)
        identity = authority.issue_broker(hosts)
        # The key first: a start that was cut off between them finds a pair that does not serve, and makes another.
        self.broker_certificate.unlink(missing_ok=True)
        write_atomically(self.broker_key, identity.key_pem, PRIVATE)
        write_atomically(self.broker_certificate, self._with_bridge(identity.certificate_pem, authority), PUBLIC)

    def invite(
        self,
        device_id: str,
        *,
        hash_password: Callable[[str], str],
        lifetime_s: float = CLAIM_LIFETIME_S,
        ip_addresses: Sequence[str] = (),
    ) -> Invitation:
        """Invites a device: it may claim one certificate within `lifetime_s`.

        Args:
            hash_password: makes of the secret what brokers keep (`broker.passwords.hash_password`).
            ip_addresses: where others reach the device's own broker, to stand in its certificate.

        Raises:
            ProvisioningError: the name may not be a device's, or the device is a member already.
        """
        secret = new_secret()
        with self.inventory() as inventory:
            check_new_device(device_id, ip_addresses, self.settings, inventory, self.bundle())
            inventory.invite(
                device_id,
                password_hash=hash_password(secret),
                proof_key=proof_key(secret),
                lifetime_s=lifetime_s,
                ip_addresses=ip_addresses,
            )
            claim = inventory.claim(device_id)
        settings = self.settings
        expires_at = claim.expires_at if claim is not None else 0.0
        return Invitation(
            self.name, device_id, secret, settings.claim_broker, settings.brokers, self.bundle().pem, expires_at
        )

    def enrol(self, device_id: str, authority: MeshAuthority, ip_addresses: Sequence[str] = ()) -> Identity:
        """Makes a member without a claim: its identity is made here and goes into its seed.

        Raises:
            ProvisioningError: the name may not be a device's, or the device is a member already.
        """
        with self.inventory() as inventory:
            check_new_device(device_id, ip_addresses, self.settings, inventory, authority.bundle)
            identity = authority.issue_device(device_id, ip_addresses)
            inventory.enrol(CertificateRow.of(identity.certificate_pem, utc_now()), ip_addresses)
        return identity

    def revoke(self, device_id: str, authority: MeshAuthority) -> list[int]:
        """Shuts a device out, and returns its certificates' serials.

        Raises:
            ProvisioningError: there is no such device, or a file can't be written; then repeat it.
        """
        with self.inventory() as inventory:
            serials = inventory.revoke(device_id)
            self.list_revoked(inventory, authority)
        return serials

    def revoke_certificate(self, kind: CertificateKind, serial: int, authority: MeshAuthority) -> bool:
        """Shuts out one certificate of the operator, a broker or a web page; says whether it was in use here: then
        another, with a new key, has taken its place first.

        Raises:
            ProvisioningError: there is no such certificate, or a file can't be written; then repeat it.
        """
        with self.inventory() as inventory:
            self.enter_known(inventory)
            row = inventory.certificate(serial)
            if row is None or row.kind is not kind:
                raise ProvisioningError(
                    f"mesh {self.name} has no {kind} certificate {serial:x}; see moamesh mesh certificates"
                )
            in_use = True
            if serial_in(self.operator_certificate) == serial:
                self.renew_operator(authority)
            elif serial_in(self.broker_certificate) == serial:
                self.renew_broker(authority, row.hosts)
            else:
                in_use = False
            if serial_in(self.operator.before) == serial:
                self.operator.forget_before()
            inventory.revoke_serial(serial)
            self.list_revoked(inventory, authority)
        return in_use

    def enter_known(self, inventory: Inventory) -> None:
        """Enters in the ledger what lies in the folder and is not in it: a mesh made before there was a ledger."""
        for path in (self.operator_certificate, self.operator.before, self.broker_certificate):
            content = read_if_there(path)
            if content is not None:
                row = CertificateRow.of(content, utc_now())
                if inventory.certificate(row.serial) is None:
                    inventory.record(row)

    def unlisted(self, inventory: Inventory) -> frozenset[int]:
        """Returns revoked certificates that no broker has heard of: a revocation was cut off, or the list got lost."""
        return frozenset(self._listable(inventory, self.bundle())) - self._listed()

    def list_revoked(self, inventory: Inventory, authority: MeshAuthority) -> None:
        """Puts what is `unlisted` on the revocation list, and takes off what need not be there any more; does nothing
        if there is nothing."""
        listable, listed = self._listable(inventory, authority.bundle), self._listed()
        forget = {row.serial for row in inventory.revoked()} - listable.keys()
        if listable.keys() - listed or forget & listed:
            authority.revoke(listable.keys() - listed, issuer=lambda serial: listable[serial].issuer, forget=forget)

    def revocation_room(self) -> int:
        """Returns how many bytes the revocation list may grow before it takes from its reserve; below 0 it has."""
        return revocation.room_left(read_if_there(self.crl_file) or b"")

    def _listable(self, inventory: Inventory, bundle: TrustBundle) -> dict[int, CertificateRow]:
        """The revoked certificates that somebody might still take for good."""
        since = inventory.now() - revocation.EXPIRED_KEPT.total_seconds()
        return {row.serial: row for row in inventory.revoked() if is_good(row, bundle, since)}

    def _listed(self) -> frozenset[int]:
        content = read_if_there(self.crl_file)
        return frozenset() if content is None else revocation.serials_of(self.crl_file, content)


__all__ = ["DEFAULT_BROKER", "Invitation", "MeshFolder", "MeshSettings", "mesh_names", "meshes_folder"]
