"""Certificates of an authority that is not of moamesh's making: a company's, or one made by hand."""

from __future__ import annotations

import datetime
from collections.abc import Sequence

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.x509.oid import NameOID

from provisioning.certificates import Identity, certificate_to_pem, key_to_pem, new_key


def foreign_identity(hosts: Sequence[str], *, unit: str, name: str, issuer: str = "Example CA") -> Identity:
    """A certificate with these names, and with whatever kind it likes to say."""
    key = new_key()
    subject = [
        x509.NameAttribute(NameOID.ORGANIZATIONAL_UNIT_NAME, unit),
        x509.NameAttribute(NameOID.COMMON_NAME, name),
    ]
    now = datetime.datetime.now(datetime.UTC)
    builder = (
        x509.CertificateBuilder()
        .subject_name(x509.Name(subject))
        .issuer_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, issuer)]))
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(host) for host in hosts]), critical=False)
    )
    return Identity(certificate_to_pem(builder.sign(key, hashes.SHA256())), key_to_pem(key))
