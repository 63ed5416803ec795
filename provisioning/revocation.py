"""Revocation lists: which certificates are refused before their time.

A list is signed by one CA, and brokers want one for each CA they trust, so the file holds as many lists as the bundle
holds CAs, with the same entries and the same number. A newer list has the higher number. Validity begins in 1970 and
ends with the CA, since a device without a clock must be able to use it; nothing leaves a list when it expires, for the
same reason.
"""

from __future__ import annotations

import datetime
import re
from collections.abc import Iterable, Sequence
from pathlib import Path

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization

from provisioning import certificates as certs
from provisioning.errors import ProvisioningError
from provisioning.trust import TrustBundle

CRL_BYTES_MAX = 192 * 1024
"""PEM, all lists of a file: over 1,500 revoked certificates during a rotation; it must fit into one MQTT message."""

_PEM_CRL = re.compile(rb"-----BEGIN X509 CRL-----.+?-----END X509 CRL-----\n?", re.DOTALL)
Crl = x509.CertificateRevocationList


def make(
    signers: Sequence[tuple[x509.Certificate, certs.PrivateKey]],
    before: Sequence[Crl],
    serials: Iterable[int],
    now: datetime.datetime,
) -> bytes:
    """Returns new lists, one for each signing CA: what the lists before had, and `serials`.

    The number is the time in seconds or one more than before, whichever is higher: should the file be lost, its
    successor still counts as newer.

    Raises:
        ProvisioningError: they would not fit where they must.
    """
    revoked: dict[int, datetime.datetime] = {}
    for crl in before:
        revoked.update({entry.serial_number: entry.revocation_date_utc for entry in crl})
    for serial in serials:
        revoked.setdefault(serial, now)
    number = max(int(now.timestamp()), *(number_of(crl) + 1 for crl in before), 1)
    content = b"".join(_sign(ca, key, revoked, number) for ca, key in signers)
    if len(content) > CRL_BYTES_MAX:
        raise ProvisioningError("the revocation list is full; rotate the CA (moamesh mesh rotate) to begin a new one")
    return content


def parse(pem: bytes) -> tuple[Crl, ...]:
    """Returns the lists in `pem`. Their signatures are not looked at; `newer` does.

    Raises:
        ProvisioningError: there is none, or one is damaged.
    """
    try:
        crls = tuple(x509.load_pem_x509_crl(block) for block in _PEM_CRL.findall(pem))
        for crl in crls:
            number_of(crl)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        raise ProvisioningError("not a revocation list, or a damaged one") from None
    if not crls:
        raise ProvisioningError("not a revocation list")
    return crls


def newer(have: bytes, offered: bytes, bundle: TrustBundle) -> bytes | None:
    """Returns the lists to use if `offered` is newer than `have` ("" if there is none yet): those of its lists that the
    bundle's CAs signed. `None` if what is there is as new.

    Raises:
        ProvisioningError: what is offered is damaged, too large, or lacks a list by one of the bundle's CAs.
    """
    if len(offered) > CRL_BYTES_MAX:
        raise ProvisioningError("the revocation list is too large")
    lists = parse(offered)
    chosen = [_list_of(ca, lists) for ca in bundle.authorities]
    if have and number_in(have, bundle) >= min(number_of(crl) for crl in chosen):
        return None
    return b"".join(crl.public_bytes(serialization.Encoding.PEM) for crl in chosen)


def number_in(pem: bytes, bundle: TrustBundle) -> int:
    """Returns the number of the lists by the bundle's CAs; 0 if one of them has none here."""
    lists = [crl for crl in parse(pem) if any(_signed_by(crl, ca) for ca in bundle.authorities)]
    return min((number_of(crl) for crl in lists), default=0) if len(lists) == len(bundle.authorities) else 0


def serials_in(pem: bytes) -> frozenset[int]:
    """Returns the serial numbers of the revoked certificates."""
    return frozenset(entry.serial_number for crl in parse(pem) for entry in crl)


def serials_of(path: Path, content: bytes) -> frozenset[int]:
    """Returns the serial numbers in what was read from a file.

    Raises:
        ProvisioningError: it is damaged; the message names the file.
    """
    try:
        return serials_in(content)
    except ProvisioningError as error:
        raise ProvisioningError(f"{path}: {error}; put a copy back: the operator has the mesh's own") from None


def number_of(crl: Crl) -> int:
    """Returns a list's number.

    Raises:
        ValueError: it has none.
    """
    try:
        return crl.extensions.get_extension_for_class(x509.CRLNumber).value.crl_number
    except x509.ExtensionNotFound:
        raise ValueError("a revocation list without a number") from None


def _list_of(ca: x509.Certificate, lists: Iterable[Crl]) -> Crl:
    for crl in lists:
        if _signed_by(crl, ca):
            return crl
    raise ProvisioningError("the revocation list is not signed by a CA of this mesh that is trusted here")


def _signed_by(crl: Crl, ca: x509.Certificate) -> bool:
    key = ca.public_key()
    return isinstance(key, certs.PublicKey) and crl.issuer == ca.subject and crl.is_signature_valid(key)


def _sign(ca: x509.Certificate, key: certs.PrivateKey, revoked: dict[int, datetime.datetime], number: int) -> bytes:
    builder = (
        x509.CertificateRevocationListBuilder()
        .issuer_name(ca.subject)
        .last_update(certs.VALID_FROM)
        .next_update(ca.not_valid_after_utc)
        .add_extension(x509.CRLNumber(number), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(key.public_key()), critical=False)
    )
    for serial, when in sorted(revoked.items()):
        entry = x509.RevokedCertificateBuilder().serial_number(serial).revocation_date(when).build()
        builder = builder.add_revoked_certificate(entry)
    return builder.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)
