"""Words of the operator that devices believe whoever carries them: a payload, its signature, its signer's certificate.

A broker's access rules already let nobody else write where these go. The signature holds where the broker is not one's
own, and where a message is handed on from device to device.
"""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Container
from typing import Any

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import load_pem_private_key
from cryptography.x509.oid import NameOID

from edge_agent.wire.topics import OPERATOR_ID, VERSION

TYPE = "signed"
BODY_BYTES_MAX = 64 * 1024  # a job is a few lines; a revocation list of a thousand devices 40 KiB
_FIELDS = {"v", "type", "payload", "certificate", "signature"}


class SignedMessageError(Exception):
    """A body is not what the operator of this mesh signed. One line."""


def sign(payload: str, certificate_pem: bytes, key_pem: bytes) -> bytes:
    """Returns a body that says `payload` in the name of the certificate's owner.

    Raises:
        ValueError: the key is encrypted, or not of an elliptic curve.
    """
    key = load_pem_private_key(key_pem, None)
    if not isinstance(key, ec.EllipticCurvePrivateKey):
        raise ValueError("messages are signed with an elliptic curve key")
    signature = key.sign(payload.encode(), ec.ECDSA(hashes.SHA256()))
    fields = {
        "v": VERSION,
        "type": TYPE,
        "payload": payload,
        "certificate": certificate_pem.decode("ascii"),
        "signature": base64.b64encode(signature).decode("ascii"),
    }
    return json.dumps(fields, ensure_ascii=False).encode()


def open_signed(body: bytes, bundle_pem: bytes, *, revoked: Container[int] = ()) -> str:
    """Returns the payload, if the operator signed it.

    Args:
        bundle_pem: the certificates of the mesh's authority, as this device holds them.
        revoked: serial numbers of certificates that count no more.

    The certificate's dates are not looked at: a device may not know what day it is. An operator's key that got lost is
    revoked.

    Raises:
        SignedMessageError: it did not, or the body is no such message.
    """
    fields = _parse(body)
    try:
        certificate = x509.load_pem_x509_certificate(fields["certificate"].encode())
        signature = base64.b64decode(fields["signature"], validate=True)
    except (ValueError, binascii.Error) as error:
        raise SignedMessageError(f"signed message: {error}") from None
    _check_signer(certificate, bundle_pem, revoked)
    key = certificate.public_key()
    if not isinstance(key, ec.EllipticCurvePublicKey):
        raise SignedMessageError("signed message: its certificate has no elliptic curve key")
    payload: str = fields["payload"]
    try:
        key.verify(signature, payload.encode(), ec.ECDSA(hashes.SHA256()))
    except InvalidSignature:
        raise SignedMessageError("signed message: the signature is not of this payload") from None
    return payload


def _parse(body: bytes) -> dict[str, Any]:
    if len(body) > BODY_BYTES_MAX:
        raise SignedMessageError(f"signed message: over {BODY_BYTES_MAX} bytes")
    try:
        fields = json.loads(body.decode())
    except (ValueError, RecursionError):
        raise SignedMessageError("signed message: not JSON") from None
    if not isinstance(fields, dict) or set(fields) != _FIELDS or fields["v"] != VERSION or fields["type"] != TYPE:
        raise SignedMessageError(f"signed message: must have v {VERSION}, type {TYPE!r} and {sorted(_FIELDS)}")
    if not all(isinstance(fields[name], str) for name in ("payload", "certificate", "signature")):
        raise SignedMessageError("signed message: payload, certificate and signature must be text")
    try:
        fields["payload"].encode()
    except UnicodeEncodeError:  # half a surrogate pair, written as an escape
        raise SignedMessageError("signed message: the payload is not text") from None
    return fields


def _check_signer(certificate: x509.Certificate, bundle_pem: bytes, revoked: Container[int]) -> None:
    names = certificate.subject.get_attributes_for_oid(NameOID.COMMON_NAME)
    if [name.value for name in names] != [OPERATOR_ID]:
        raise SignedMessageError("signed message: not signed by the operator")
    if certificate.serial_number in revoked:
        raise SignedMessageError("signed message: the operator's certificate is revoked")
    for authority in x509.load_pem_x509_certificates(bundle_pem):
        try:
            certificate.verify_directly_issued_by(authority)
        except (ValueError, TypeError, InvalidSignature):
            continue
        return
    raise SignedMessageError("signed message: the operator's certificate is not of this mesh's authority")
