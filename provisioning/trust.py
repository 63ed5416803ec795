"""Whom a member of the mesh trusts: the CAs of the mesh, one or, during a rotation, two.

CAs are counted (`CA 1`, `CA 2`, ...). From bundle to bundle ({1}, {1, 2}, {2}, {2, 3}, ...) the sum of the lowest and
the highest count only rises: it is the bundle's number, by which an old bundle sent again is known to be old.
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Iterable
from functools import cached_property
from pathlib import Path

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec

from edge_agent.wire.topics import is_id
from provisioning import certificates as certs
from provisioning.errors import ProvisioningError
from provisioning.files import read_file

AUTHORITIES_MAX = 2  # the old and the new; a bundle with more is none of ours

_CA_NAME = re.compile(r"CA ([1-9][0-9]{0,8})")
_CONTEXT = b"moamesh trust bundle v1\n"  # so that a signature of a bundle can't be taken for one of anything else


class TrustBundle:
    """The CAs of one mesh, oldest first.

    Raises:
        ProvisioningError: they are not CAs of one mesh.
    """

    def __init__(self, authorities: Iterable[x509.Certificate]) -> None:
        self.authorities = tuple(sorted(authorities, key=_generation))
        if not 1 <= len(self.authorities) <= AUTHORITIES_MAX:
            raise ProvisioningError(f"a trust bundle holds 1 to {AUTHORITIES_MAX} CAs, not {len(self.authorities)}")
        if len({(certs.mesh_of(ca)) for ca in self.authorities}) != 1 or not is_id(self.mesh):
            raise ProvisioningError("a trust bundle's CAs are not of one mesh")
        if len({_generation(ca) for ca in self.authorities}) != len(self.authorities):
            raise ProvisioningError("a trust bundle holds two CAs of the same count")

    @classmethod
    def parse(cls, pem: bytes) -> TrustBundle:
        """Returns the bundle in `pem`.

        Raises:
            ProvisioningError: it is none.
        """
        authorities = certs.certificates_from_pem(pem)
        for ca in authorities:
            _check_ca(ca)
        return cls(authorities)

    @classmethod
    def read(cls, path: Path) -> TrustBundle:
        """Returns the bundle in a file.

        Raises:
            ProvisioningError: there is none; the message names the file.
        """
        content = read_file(path)
        try:
            return cls.parse(content)
        except ProvisioningError as error:
            raise ProvisioningError(f"{path}: {error}") from None

    @property
    def mesh(self) -> str:
        """The mesh's name."""
        return certs.mesh_of(self.authorities[0])

    @property
    def newest(self) -> x509.Certificate:
        """The CA that signs new certificates."""
        return self.authorities[-1]

    @property
    def oldest(self) -> x509.Certificate:
        """The CA that all members trust, also those that missed the beginning of a rotation."""
        return self.authorities[0]

    @property
    def generations(self) -> tuple[int, ...]:
        """The counts of the CAs, oldest first."""
        return tuple(map(_generation, self.authorities))

    @property
    def generation(self) -> int:
        """The count of the newest CA."""
        return _generation(self.newest)

    @property
    def number(self) -> int:
        """Higher for every later bundle of the mesh."""
        return _generation(self.authorities[0]) + self.generation

    @cached_property
    def pem(self) -> bytes:
        """The CAs' certificates."""
        return certs.certificate_to_pem(*self.authorities)

    def issuer_of(self, certificate: x509.Certificate) -> x509.Certificate | None:
        """Returns the CA of this bundle that signed a certificate; `None` if none did. Says nothing about its time."""
        for ca in self.authorities:
            try:
                certificate.verify_directly_issued_by(ca)
            except (ValueError, TypeError, InvalidSignature):
                continue
            return ca
        return None

    def signature(self, key: certs.PrivateKey) -> str:
        """Returns this bundle's signature by one of the CAs' keys."""
        return base64.b64encode(key.sign(_CONTEXT + self.pem, ec.ECDSA(hashes.SHA256()))).decode()

    def updated(self, other: TrustBundle, signatures: Iterable[str]) -> TrustBundle:
        """Returns whom to trust after somebody brought `other`: `other` if it is newer and signed by a CA trusted now.

        Raises:
            ProvisioningError: it is of another mesh, or newer or different without such a signature.
        """
        if other.pem == self.pem:
            return self
        if other.mesh != self.mesh:
            raise ProvisioningError(f"the trust bundle is of mesh {other.mesh}, not {self.mesh}")
        if other.number < self.number:
            return self  # an old one, late or repeated
        given = tuple(signatures)
        if not any(_verifies(ca, other, signature) for ca in self.authorities for signature in given):
            raise ProvisioningError("the trust bundle is not signed by a CA of this mesh that is trusted here")
        return other


def _verifies(ca: x509.Certificate, bundle: TrustBundle, signature: str) -> bool:
    key = ca.public_key()
    if not isinstance(key, ec.EllipticCurvePublicKey):
        return False
    try:
        key.verify(base64.b64decode(signature, validate=True), _CONTEXT + bundle.pem, ec.ECDSA(hashes.SHA256()))
    except (InvalidSignature, binascii.Error, ValueError):
        return False
    return True


def _check_ca(ca: x509.Certificate) -> None:
    try:
        is_ca = ca.extensions.get_extension_for_class(x509.BasicConstraints).value.ca
        ca.verify_directly_issued_by(ca)
        key = ca.public_key()
    except (x509.ExtensionNotFound, ValueError, TypeError, InvalidSignature):
        raise ProvisioningError("not a CA's certificate") from None
    if not is_ca or not isinstance(key, ec.EllipticCurvePublicKey):
        raise ProvisioningError("not a CA's certificate")


def _generation(ca: x509.Certificate) -> int:
    match = _CA_NAME.fullmatch(certs.name_of(ca))
    if match is None:
        raise ProvisioningError("not a CA of a mesh")
    return int(match[1])
