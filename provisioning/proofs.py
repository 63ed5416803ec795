"""Secrets and signatures by which the operator's service knows a device, whatever broker lies between.

A claim's secret is what the device logs in to the broker with. A claim also carries a proof over the very request, so
that the operator need not believe the broker's access rules; its key does not stand in the broker's password file.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import secrets

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec

from provisioning.certificates import PrivateKey, PublicKey

SECRET_BYTES = 24  # 192 random bits; as text 32 characters without any that a shell or YAML minds
_CLAIM = b"moamesh claim v1\n"
_RENEWAL = b"moamesh renewal v1\n"


def new_secret() -> str:
    """Returns a secret that nobody guesses."""
    return secrets.token_urlsafe(SECRET_BYTES)


def proof_key(secret: str) -> bytes:
    """Returns what the operator keeps of a claim's secret: enough to check a proof, useless to log in with."""
    return hashlib.sha256(_CLAIM + secret.encode()).digest()


def claim_proof(key: bytes, mesh: str, device_id: str, csr_pem: bytes) -> str:
    """Returns the proof that whoever made this request for this device knows the secret behind `key`."""
    return base64.b64encode(hmac.digest(key, _claimed(mesh, device_id, csr_pem), "sha256")).decode()


def is_claim_proof(proof: str, key: bytes, mesh: str, device_id: str, csr_pem: bytes) -> bool:
    """Whether `proof` is that one."""
    return hmac.compare_digest(proof.encode(), claim_proof(key, mesh, device_id, csr_pem).encode())


def renewal_signature(key: PrivateKey, mesh: str, device_id: str, csr_pem: bytes) -> str:
    """Returns a member's signature of its next request, by the key it has now."""
    return base64.b64encode(key.sign(_renewed(mesh, device_id, csr_pem), ec.ECDSA(hashes.SHA256()))).decode()


def is_renewal_signature(signature: str, key: PublicKey, mesh: str, device_id: str, csr_pem: bytes) -> bool:
    """Whether `signature` is that one."""
    try:
        given = base64.b64decode(signature, validate=True)
        key.verify(given, _renewed(mesh, device_id, csr_pem), ec.ECDSA(hashes.SHA256()))
    except (InvalidSignature, binascii.Error, ValueError):
        return False
    return True


def _claimed(mesh: str, device_id: str, csr_pem: bytes) -> bytes:
    return f"{mesh}/{device_id}\n".encode() + csr_pem


def _renewed(mesh: str, device_id: str, csr_pem: bytes) -> bytes:
    return _RENEWAL + f"{mesh}/{device_id}\n".encode() + csr_pem
