"""The identity of who runs a mesh: certificate and key, always made anew together, and those of the CA before.

A device that has not heard of a new CA lets nobody with a newer certificate into its own broker, and only there can it
hear of it. So the identity of the CA before is kept while a rotation is under way, and not a moment longer.
"""

from __future__ import annotations

from pathlib import Path

from edge_agent.files import is_there, reason, rename
from provisioning import certificates as certs
from provisioning.authority import MeshAuthority
from provisioning.errors import ProvisioningError
from provisioning.files import PRIVATE, PUBLIC, locked, read_file, read_if_there, write_atomically
from provisioning.trust import TrustBundle


class OperatorFiles:
    """The operator's files in a mesh's folder.

    Raises (from every method):
        ProvisioningError: a file is damaged or can't be written.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.certificate, self.key = folder / "operator.pem", folder / "operator.key"
        self.before, self.before_key = folder / "operator-before.pem", folder / "operator-before.key"
        self._next_key = folder / "operator-next.key"

    def identities(self) -> list[tuple[Path, Path]]:
        """Returns certificates and their keys, in the order in which brokers are to be tried."""
        before = [(self.before, self.before_key)] if is_there(self.before) else []
        return [(self.certificate, self.key), *before]

    def read(self) -> tuple[bytes, bytes]:
        """Returns certificate and key (PEM) that belong together, whoever renews them meanwhile."""
        with locked(self._folder):
            return read_file(self.certificate), read_file(self.key)

    def renew(self, authority: MeshAuthority) -> None:
        """Takes a new certificate with a new key: whoever has the old key signs nothing more once the old certificate
        is revoked, or its CA gone. Cut off at any moment, it leaves the old identity or the new."""
        with locked(self._folder):
            identity = authority.issue_operator()
            self._keep_before(authority.bundle)
            write_atomically(self._next_key, identity.key_pem, PRIVATE)
            write_atomically(self.certificate, identity.certificate_pem, PUBLIC)
            self._take_next_key()

    def finish_renewal(self) -> None:
        """Ends a renewal that was cut off between certificate and key: the key that waits belongs to the certificate,
        or to none."""
        if not is_there(self._next_key):
            return
        with locked(self._folder):
            content = read_if_there(self._next_key)  # another process may have done it meanwhile
            if content is None:
                return
            try:
                key = certs.public_bytes(certs.key_from_pem(content).public_key())
                live = certs.certificates_from_pem(read_file(self.certificate))[0].public_key()
            except ProvisioningError:
                return  # whoever uses the damaged file says so
            if isinstance(live, certs.PublicKey) and certs.public_bytes(live) == key:
                self._take_next_key()
            else:
                self._next_key.unlink(missing_ok=True)

    def forget_before(self) -> None:
        """Removes the identity of the CA before."""
        self.before.unlink(missing_ok=True)
        self.before_key.unlink(missing_ok=True)

    def _take_next_key(self) -> None:
        try:
            rename(self._next_key, self.key)
        except OSError as error:
            raise ProvisioningError(f"{self.key}: {reason(error)}; repeat the command") from None

    def _keep_before(self, bundle: TrustBundle) -> None:
        """Keeps what is of the CA before while that one is trusted, and nothing else."""
        for certificate, key in self.identities():
            content, key_pem = read_if_there(certificate), read_if_there(key)
            try:
                issuer = None if content is None else bundle.issuer_of(certs.certificates_from_pem(content)[0])
            except ProvisioningError:
                continue  # damaged: it takes nobody anywhere, and the new one takes its place
            if content is None or key_pem is None or issuer is None or issuer is bundle.newest:
                continue
            if certificate != self.before:
                write_atomically(self.before_key, key_pem, PRIVATE)
                write_atomically(self.before, content, PUBLIC)
            return
        self.forget_before()


def serial_in(path: Path) -> int | None:
    """Returns the number of the certificate in a file; `None` if there is no file.

    Raises:
        ProvisioningError: the file is damaged.
    """
    content = read_if_there(path)
    return None if content is None else certs.certificates_from_pem(content)[0].serial_number
