"""Signatures of what devices say of themselves, with the keys and certificates of the mesh (`ports.Notary`).

ECDSA on P-256, by the key of the device's own certificate. A proof is the certificate's fingerprint and the signature;
certificates are told apart from proofs, once, and kept, as is which statements were found true: the same entry comes
round by many peers.
"""

from __future__ import annotations

import base64
import binascii
import datetime
import hashlib
import logging
import re
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar, final

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature, encode_dss_signature
from cryptography.x509.oid import NameOID

from edge_agent import homes
from edge_agent.files import stamp
from edge_agent.ports import ProofCheck
from edge_agent.wire.checks import CERTIFICATE_LENGTH_MAX, FINGERPRINT_LENGTH, PROOF_LENGTH
from provisioning import certificates as certs
from provisioning import revocation
from provisioning.errors import ProvisioningError
from provisioning.files import read_file, read_if_there
from provisioning.trust import TrustBundle

log = logging.getLogger(__name__)
K = TypeVar("K")
V = TypeVar("V")

CERTIFICATES_MAX = 512  # kept, least recently used out: four times a view, since the dead are remembered too
VERIFIED_MAX = 4_096  # statements found true that are remembered, 100 bytes each: 30 heartbeats of a full view
LOOK_EVERY_S = 1.0  # how often the files are looked at: a revocation counts within this, whoever wrote the list

_FINGERPRINT_BYTES = FINGERPRINT_LENGTH * 3 // 4
_NUMBER_BYTES = 32  # each of the two numbers of a P-256 signature
_FIELDS = {NameOID.COMMON_NAME: "commonName", NameOID.ORGANIZATIONAL_UNIT_NAME: "organizationalUnitName"}
_KEY = re.compile(rb"-----BEGIN ((?:EC )?PRIVATE KEY)-----.+?-----END \1-----", re.DOTALL)
_SHA256 = ec.ECDSA(hashes.SHA256())
_REASONS = (ValueError, TypeError, binascii.Error)  # what somebody's bytes make cryptography raise


@final
@dataclass(frozen=True, slots=True)
class MemberFiles:
    """The PEM files of a member: whom to trust, who is revoked (`None`, or not there yet: nobody), who we are."""

    ca: Path
    crl: Path | None
    certificate: Path
    key: Path

    @property
    def all(self) -> tuple[Path, ...]:
        """Each of them once."""
        named = (self.ca, self.crl, self.certificate, self.key)
        return tuple(dict.fromkeys(path for path in named if path is not None))


@final
@dataclass(frozen=True, slots=True)
class _Known:
    """A device's certificate that was looked at."""

    device_id: str
    certificate: x509.Certificate
    key: ec.EllipticCurvePublicKey
    text: str


class FileNotary:
    """`ports.Notary` over PEM files, which are read again when they change.

    Raises:
        ProvisioningError: they can't be used, or their certificate is none of this device in this mesh.
    """

    def __init__(
        self,
        mesh: str,
        device_id: str,
        files: MemberFiles,
        now: Callable[[], datetime.datetime] = lambda: datetime.datetime.now(datetime.UTC),
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._mesh = mesh
        self._device_id = device_id
        self._files = files
        self._now = now
        self._clock = clock
        self._known: OrderedDict[str, _Known] = OrderedDict()
        self._verified: OrderedDict[bytes, None] = OrderedDict()
        self._signed: tuple[bytes, str] = (b"", "")
        self._marks = self._look()
        self._looked_at = clock()
        self._read()

    def certificate(self) -> str:
        """The certificate that this device signs with (DER in base64)."""
        self._follow()
        return self._own

    def sign(self, statement: bytes) -> str:
        """Returns the proof of a statement in this device's name; the same one for the same statement."""
        self._follow()
        if self._signed[0] != statement:
            numbers = decode_dss_signature(self._key.sign(statement, _SHA256))
            raw = b"".join(number.to_bytes(_NUMBER_BYTES, "big") for number in numbers)
            self._signed = statement, self._fingerprint + _to_text(raw)
        return self._signed[1]

    def judge(self, device_id: str, statement: bytes, proof: str) -> ProofCheck:
        """Says whether `proof` shows that `statement` is the word of `device_id`."""
        self._follow()
        if len(proof) != PROOF_LENGTH:
            return ProofCheck.FALSE
        fingerprint = proof[:FINGERPRINT_LENGTH]
        known = self._known.get(fingerprint)
        if known is None:
            return ProofCheck.UNKNOWN
        self._known.move_to_end(fingerprint)
        if known.device_id != device_id:
            return ProofCheck.FALSE
        if device_id != self._device_id and not self._counts(known.certificate):
            return ProofCheck.VOID
        mark = hashlib.sha256(proof.encode() + statement).digest()
        if mark in self._verified:
            self._verified.move_to_end(mark)
        elif _is_signature(proof[FINGERPRINT_LENGTH:], known.key, statement):
            _keep(self._verified, mark, None, VERIFIED_MAX)
        else:
            return ProofCheck.FALSE
        return ProofCheck.OWN

    def learn(self, certificate: str) -> str:
        """Takes a certificate; returns its fingerprint, "" if it is no device's of this mesh.

        Whether it is revoked is asked each time that it is to count.
        """
        self._follow()
        if len(certificate) > CERTIFICATE_LENGTH_MAX:
            return ""
        try:
            der = base64.b64decode(certificate, validate=True)
            fingerprint = _fingerprint(der)
            if fingerprint in self._known:
                return fingerprint
            known = self._look_at(x509.load_der_x509_certificate(der), certificate)
        except _REASONS:
            return ""
        if known is None:
            return ""
        _keep(self._known, fingerprint, known, CERTIFICATES_MAX)
        return fingerprint

    def find(self, fingerprint: str) -> str | None:
        """Returns a certificate that was taken."""
        if fingerprint == self._fingerprint:
            return self._own
        known = self._known.get(fingerprint)
        return known.text if known is not None else None

    # --- certificates -----------------------------------------------------------------------------------------------

    def _look_at(self, certificate: x509.Certificate, text: str) -> _Known | None:
        """Returns a certificate as one of a device of this mesh, `None` if it is not: the operator's, a broker's and a
        web page's are none, and speak for no device whatever names stand in them."""
        key, name = certificate.public_key(), homes.device_of(_shown(certificate))
        if not name or certs.mesh_of(certificate) != self._mesh:
            return None
        if not isinstance(key, ec.EllipticCurvePublicKey) or not isinstance(key.curve, ec.SECP256R1):
            return None
        if name in certs.RESERVED_IDS or self._bundle.issuer_of(certificate) is None:
            return None
        return _Known(name, certificate, key, text)

    def _counts(self, certificate: x509.Certificate) -> bool:
        if certificate.serial_number in self._revoked:
            return False
        return certificate.not_valid_before_utc <= self._now() <= certificate.not_valid_after_utc

    # --- files ------------------------------------------------------------------------------------------------------

    def _follow(self) -> None:
        """Reads the files again if they have changed. If they cannot be used now, what was read last counts."""
        if self._clock() - self._looked_at < LOOK_EVERY_S:
            return
        self._looked_at = self._clock()
        if (marks := self._look()) == self._marks:
            return
        self._marks = marks
        try:
            self._read()
        except ProvisioningError as error:
            log.warning("signatures in this mesh are still checked with the previous files: %s", error)

    def _look(self) -> tuple[object, ...]:
        return tuple(stamp(path) for path in self._files.all)

    def _read(self) -> None:
        files = self._files
        bundle = TrustBundle.read(files.ca)
        crl = None if files.crl is None else read_if_there(files.crl)
        revoked = frozenset[int]() if crl is None or files.crl is None else revocation.serials_of(files.crl, crl)
        certificate = certs.certificates_from_pem(read_file(files.certificate))[0]
        found = _KEY.search(read_file(files.key))
        if found is None:
            raise ProvisioningError(f"{files.key}: contains no private key")
        key = certs.key_from_pem(found[0])
        if certs.public_bytes(key.public_key()) != _public_bytes(certificate):
            raise ProvisioningError(f"{files.key}: its key does not belong to the certificate in {files.certificate}")
        self._bundle, self._revoked = bundle, revoked
        der = certificate.public_bytes(serialization.Encoding.DER)
        own = self._look_at(certificate, base64.b64encode(der).decode())
        if own is None or own.device_id != self._device_id:
            who = f"device {self._device_id} of mesh {self._mesh}"
            raise ProvisioningError(f"{files.certificate}: no certificate of {who} by the authority in {files.ca}")
        self._own, self._fingerprint, self._key, self._signed = own.text, _fingerprint(der), key, (b"", "")
        for name in [name for name, one in self._known.items() if bundle.issuer_of(one.certificate) is None]:
            del self._known[name]  # of an authority that is trusted no more
        _keep(self._known, self._fingerprint, own, CERTIFICATES_MAX)


def _is_signature(text: str, key: ec.EllipticCurvePublicKey, statement: bytes) -> bool:
    try:
        raw = base64.urlsafe_b64decode(text + "==")
        numbers = (int.from_bytes(half, "big") for half in (raw[:_NUMBER_BYTES], raw[_NUMBER_BYTES:]))
        key.verify(encode_dss_signature(*numbers), statement, _SHA256)
    except (InvalidSignature, *_REASONS):
        return False
    return True


def _shown(certificate: x509.Certificate) -> homes.Certificate:
    """What `homes` reads of a certificate, in the shape of Python's `ssl`."""
    return {
        whose: tuple(((_FIELDS[part.oid], str(part.value)),) for part in name if part.oid in _FIELDS)
        for whose, name in (("subject", certificate.subject), ("issuer", certificate.issuer))
    }


def _fingerprint(der: bytes) -> str:
    return _to_text(hashlib.sha256(der).digest()[:_FINGERPRINT_BYTES])


def _to_text(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


def _keep(kept: OrderedDict[K, V], key: K, value: V, most: int) -> None:
    kept[key] = value
    kept.move_to_end(key)
    while len(kept) > most:
        kept.popitem(last=False)


def _public_bytes(certificate: x509.Certificate) -> bytes:
    key = certificate.public_key()
    return certs.public_bytes(key) if isinstance(key, ec.EllipticCurvePublicKey) else b""
