"""Revocation lists: which certificates are refused before their time.

A list is signed by one CA, and brokers want one for each CA they trust, so the file holds as many lists as the bundle
holds CAs, with the same number, and each with the certificates of its own CA: so the first step of a rotation finds
room. A newer list has the higher number. Validity begins in 1970 and ends with the CA, since a device without a clock
must be able to use it.

A list has room for some thousand certificates. A certificate leaves it `EXPIRED_KEPT` after it has expired: a device
whose clock is further behind than that might take it for good again. With the bound on what a device may ask for
(`registrar.CERTIFICATES_A_MONTH_MAX`) no member can fill it. Its last `RESERVED_BYTES` are a reserve: whoever revokes
into it is told that the CA should be rotated.
"""

from __future__ import annotations

import datetime
import re
from collections.abc import Callable, Container, Iterable, Sequence
from pathlib import Path

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization

from provisioning import certificates as certs
from provisioning.errors import ProvisioningError
from provisioning.trust import TrustBundle

CRL_BYTES_MAX = 192 * 1024
"""PEM, all lists of a file: some 3,700 revoked certificates; it must fit into one MQTT message."""
RESERVED_BYTES = 32 * 1024
"""Some 600 certificates: the devices of a whole mesh of that size, or a hundred each with all it could ask for."""
EXPIRED_KEPT = datetime.timedelta(days=30)
"""Clocks of devices that were switched off are behind by weeks, not by months."""

_PEM_CRL = re.compile(rb"-----BEGIN X509 CRL-----.+?-----END X509 CRL-----\n?", re.DOTALL)
Crl = x509.CertificateRevocationList


def make(
    signers: Sequence[tuple[x509.Certificate, certs.PrivateKey]],
    before: Sequence[Crl],
    serials: Iterable[int],
    now: datetime.datetime,
    *,
    issuer: Callable[[int], str] = lambda serial: "",
    forget: Container[int] = (),
) -> bytes:
    """Returns new lists, one for each signing CA: what its list before had, and of `serials` what it signed.

    The number is the time in seconds or one more than before, whichever is higher: should the file be lost, its
    successor still counts as newer.

    Args:
        issuer: the name of the CA that signed a certificate; "" is not known: it goes on every list.
        forget: serials that leave the lists.

    Raises:
        ProvisioningError: they would not fit where they must.
    """
    added = list(serials)
    number = max(int(now.timestamp()), *(number_of(crl) + 1 for crl in before), 1)
    content = b""
    for ca, key in signers:
        had = [entry for crl in before if crl.issuer == ca.subject for entry in crl]
        revoked = {entry.serial_number: entry.revocation_date_utc for entry in had}
        for serial in added:
            if issuer(serial) in ("", certs.name_of(ca)):
                revoked.setdefault(serial, now)
        content += _sign(ca, key, {serial: when for serial, when in revoked.items() if serial not in forget}, number)
    if len(content) > CRL_BYTES_MAX:
        raise ProvisioningError(
            "the revocation list is full; rotate the CA (moamesh mesh rotate, and --finish) to begin a new one"
        )
    return content


def room_left(content: bytes) -> int:
    """Returns how many bytes the lists may grow before they take from the reserve; below 0 they have."""
    return CRL_BYTES_MAX - RESERVED_BYTES - len(content)


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
