"""A mesh as its operator holds it: one folder, for the owner alone.

`mesh.toml` (name, brokers, defaults), `ca.pem`, `ca.key`, `crl.pem` (see `authority`), `operator.pem`, `operator.key`,
`inventory.sqlite3`.
"""

from __future__ import annotations

import tomllib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import final

from edge_agent.files import is_there
from provisioning import certificates as certs
from provisioning import revocation
from provisioning.authority import CA_FILE, CRL_FILE, KEY_FILE, MeshAuthority, utc_now
from provisioning.certificates import Identity
from provisioning.errors import ProvisioningError
from provisioning.files import PRIVATE, PUBLIC, read_file, read_if_there, write_atomically
from provisioning.inventory import CLAIM_LIFETIME_S, Inventory
from provisioning.mesh_names import SETTINGS_FILE, mesh_names, meshes_folder
from provisioning.mesh_settings import DEFAULT_BROKER, MeshSettings, read_settings, settings_text
from provisioning.proofs import new_secret, proof_key
from provisioning.records import CertificateRow
from provisioning.trust import TrustBundle

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
        if is_there(folder / CA_FILE):  # a creation that was cut off; the CA is whole
            authority = MeshAuthority.open(folder, passphrase=passphrase)
        else:
            authority = MeshAuthority.create(folder, settings.name, passphrase=passphrase)
        mesh.renew_operator(authority)
        Inventory.make(mesh.inventory_file)
        mesh.inventory().close()  # a damaged one is refused here, not found later
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
            return cls(folder, read_settings(tomllib.loads(content.decode())))
        except UnicodeDecodeError:
            raise ProvisioningError(f"{path}: not UTF-8 text; {_WAY_OUT}") from None
        except (ValueError, RecursionError) as error:  # of TOML too
            raise ProvisioningError(f"{path}: {error}; {_WAY_OUT}") from None

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
    def operator_certificate(self) -> Path:
        """The operator's certificate."""
        return self.folder / "operator.pem"

    @property
    def operator_before(self) -> Path:
        """The operator's certificate of the CA before, there while a rotation is under way: a device that has not heard
        of the new CA yet lets nobody with a newer one into its own broker, and only there can it hear of it."""
        return self.folder / "operator-before.pem"

    @property
    def operator_key(self) -> Path:
        """The operator's private key."""
        return self.folder / "operator.key"

    def save(self) -> None:
        """Writes the settings, as they are in `settings`."""
        write_atomically(self.folder / SETTINGS_FILE, settings_text(self.settings).encode(), PRIVATE)

    def bundle(self) -> TrustBundle:
        """Whom members trust; needs no passphrase."""
        return TrustBundle.read(self.ca_file)

    def authority(self, passphrase: str | None = None) -> MeshAuthority:
        """Opens the CA.

        Raises:
            ProvisioningError: it is damaged, or the passphrase is wrong or missing.
        """
        return MeshAuthority.open(self.folder, passphrase=passphrase)

    @property
    def locked(self) -> bool:
        """Whether the CA's key is encrypted."""
        return b"ENCRYPTED" in read_file(self.folder / KEY_FILE)

    def waiting_for_rotation(self, inventory: Inventory) -> list[str]:
        """Returns the active devices whose certificate is not from the newest CA and has not run out: whom the end of a
        rotation would lock out."""
        bundle, now = self.bundle(), utc_now().timestamp()
        return [
            row.device_id
            for row in inventory.newest_certificates()
            if row.expires_at > now and bundle.issuer_of(row.certificate) is not bundle.newest
        ]

    def inventory(self, *, clock: Callable[[], float] | None = None) -> Inventory:
        """Opens the inventory; the caller closes it."""
        return Inventory(self.inventory_file) if clock is None else Inventory(self.inventory_file, clock=clock)

    def renew_operator(self, authority: MeshAuthority) -> None:
        """Makes a new certificate for the operator, as after a rotation. The key stays: one file changes, at once."""
        key = read_if_there(self.operator_key)
        if key is None:
            key = authority.issue_operator().key_pem
            write_atomically(self.operator_key, key, PRIVATE)
        try:
            identity = authority.issue_operator(key_pem=key)
        except ProvisioningError as error:
            raise ProvisioningError(
                f"{self.operator_key}: {error}; put a copy back, or move it away: then the operator gets a new key"
            ) from None
        self._keep_before(authority.bundle)
        write_atomically(self.operator_certificate, identity.certificate_pem, PUBLIC)

    def _keep_before(self, bundle: TrustBundle) -> None:
        for path in (self.operator_certificate, self.operator_before):
            content = read_if_there(path)
            try:
                issuer = None if content is None else bundle.issuer_of(certs.certificates_from_pem(content)[0])
            except ProvisioningError:
                continue  # damaged: it takes nobody anywhere, and the new one takes its place
            if content is not None and issuer is not None and issuer is not bundle.newest:
                if path != self.operator_before:
                    write_atomically(self.operator_before, content, PUBLIC)
                return
        self.operator_before.unlink(missing_ok=True)

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
        certs.device_subject(device_id, ip_addresses)
        secret = new_secret()
        with self.inventory() as inventory:
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
        identity = authority.issue_device(device_id, ip_addresses)
        with self.inventory() as inventory:
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

    def unlisted(self, inventory: Inventory) -> frozenset[int]:
        """Returns revoked certificates that no broker has heard of: a revocation was cut off, or the list got lost."""
        content = read_if_there(self.crl_file)
        listed = frozenset() if content is None else revocation.serials_of(self.crl_file, content)
        return inventory.revoked_serials() - listed

    def list_revoked(self, inventory: Inventory, authority: MeshAuthority) -> None:
        """Puts what is `unlisted` on the revocation list; does nothing if there is nothing."""
        if unlisted := self.unlisted(inventory):
            authority.revoke(unlisted)


__all__ = ["DEFAULT_BROKER", "Invitation", "MeshFolder", "MeshSettings", "mesh_names", "meshes_folder"]
