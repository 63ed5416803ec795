"""What stands in the mesh's certificates: names, uses, validity.

| certificate | CN | OU | may be used as | names (SAN) |
|---|---|---|---|---|
| CA | `CA <generation>` | `ca` | signs certificates and revocation lists | |
| device | the device id | `device` | client, and server of its own broker | `<id>`, `<id>.local`, addresses if given |
| operator | `operator` | `operator` | client | |
| broker | `broker` | `broker` | server, never client | its host names and addresses |
| web page | `web` | `web` | server, never client | its host names and addresses |

O is always the mesh. Web pages have a CA of their own (`provisioning.web_authority`). Validity begins in 1970 for all
others: a device without a clock lives there until it learns the time.
"""

from __future__ import annotations

import datetime
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import final

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from edge_agent.hosts import address_of
from edge_agent.wire.topics import OPERATOR_ID, is_id
from provisioning.errors import ProvisioningError

VALID_FROM = datetime.datetime(1970, 1, 1, tzinfo=datetime.UTC)
"""The first moment that a clock which lost the time can show."""
DEVICE_LIFETIME = datetime.timedelta(days=90)
"""Short: a stolen device that nobody misses is out after it. Long: few devices are switched off for a whole season."""
RENEWAL_MARGIN = DEVICE_LIFETIME / 3
"""A certificate is renewed when less than this is left: a month of failing renewals before anybody is locked out."""
BROKER_LIFETIME = datetime.timedelta(days=730)
"""Brokers stand still, and devices whose clocks run ahead must get in; a new one is made when a broker is started."""
WEB_LIFETIME = datetime.timedelta(days=395)
"""Phones and browsers refuse server certificates of more than 398 (825, where the authority is the user's own)."""
OPERATOR_LIFETIME = datetime.timedelta(days=730)
CA_LIFETIME = datetime.timedelta(days=20 * 365)
"""Longer than the hardware; who wants another CA rotates it."""

BROKER_ID = "broker"
WEB_ID = "web"
RESERVED_IDS = frozenset({OPERATOR_ID, BROKER_ID, "localhost"})
"""Names that mean somebody else in a certificate; `localhost` would let a device pass for any broker on its host."""
CSR_BYTES_MAX = 8 * 1024  # one of ours is under 500 bytes

_CLIENT, _SERVER = ExtendedKeyUsageOID.CLIENT_AUTH, ExtendedKeyUsageOID.SERVER_AUTH
_DAMAGED = (ValueError, TypeError, UnsupportedAlgorithm)  # what cryptography raises for bytes that are none of ours
PrivateKey = ec.EllipticCurvePrivateKey
PublicKey = ec.EllipticCurvePublicKey


@final
@dataclass(frozen=True, slots=True)
class Identity:
    """A certificate and its private key, both PEM. The key is never shown by `repr`."""

    certificate_pem: bytes
    key_pem: bytes = field(repr=False)

    @property
    def combined_pem(self) -> bytes:
        """Both in one file, for programs that read key and certificate from the same path."""
        return self.certificate_pem + self.key_pem


@final
@dataclass(frozen=True, slots=True)
class Subject:
    """Whom a certificate is for and what it may do."""

    common_name: str
    unit: str
    uses: tuple[x509.ObjectIdentifier, ...]
    hosts: tuple[str, ...] = ()


def device_subject(device_id: str, ip_addresses: Iterable[str] = ()) -> Subject:
    """Returns what a device's certificate says.

    Raises:
        ProvisioningError: the id or an address is none.
    """
    check_device_id(device_id)
    for address in ip_addresses:
        if address_of(address) is None:
            raise ProvisioningError(f"{address!r} is not an IP address")
    return Subject(device_id, "device", (_CLIENT, _SERVER), (device_id, f"{device_id}.local", *ip_addresses))


def broker_subject(hosts: Sequence[str]) -> Subject:
    """Returns what a broker's certificate says: the host names and addresses it is reached by, at least one."""
    if not hosts:
        raise ProvisioningError("a broker's certificate needs the host names or addresses it is reached by")
    return Subject(BROKER_ID, BROKER_ID, (_SERVER,), tuple(hosts))


def web_subject(hosts: Sequence[str]) -> Subject:
    """Returns what a web page's certificate says: the host names and addresses it is reached by, at least one."""
    if not hosts:
        raise ProvisioningError("a web page's certificate needs the host names or addresses it is reached by")
    return Subject(WEB_ID, WEB_ID, (_SERVER,), tuple(hosts))


def operator_subject() -> Subject:
    """Returns what the certificate of who runs the mesh says."""
    return Subject(OPERATOR_ID, OPERATOR_ID, (_CLIENT,))


def check_device_id(device_id: str) -> str:
    """Returns `device_id` if a device may be called that.

    Raises:
        ProvisioningError: it may not.
    """
    if not is_id(device_id):
        raise ProvisioningError(f"a device's name must be 1 to 64 of a-z, 0-9 and -, not {device_id[:64]!r}")
    if device_id in RESERVED_IDS:
        raise ProvisioningError(f"a device may not be called {device_id!r}: that name is reserved")
    return device_id


def new_key() -> PrivateKey:
    """Makes a private key (ECDSA, P-256)."""
    return ec.generate_private_key(ec.SECP256R1())


def key_to_pem(key: PrivateKey, passphrase: str | None = None) -> bytes:
    """Returns a private key as PKCS#8, encrypted if there is a passphrase."""
    encryption = (
        serialization.BestAvailableEncryption(passphrase.encode()) if passphrase else serialization.NoEncryption()
    )
    return key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, encryption)


def key_from_pem(pem: bytes, passphrase: str | None = None) -> PrivateKey:
    """Returns the private key in `pem`.

    Raises:
        ProvisioningError: there is none of our kind, or the passphrase is wrong, missing or needless.
    """
    try:
        key = serialization.load_pem_private_key(pem, passphrase.encode() if passphrase else None)
    except TypeError:
        raise ProvisioningError(
            "the key is not encrypted: give no passphrase"
            if passphrase
            else "the key is encrypted: give its passphrase"
        ) from None
    except (ValueError, UnsupportedAlgorithm):
        raise ProvisioningError("the passphrase is wrong" if passphrase else "the private key is damaged") from None
    if not isinstance(key, ec.EllipticCurvePrivateKey) or not isinstance(key.curve, ec.SECP256R1):
        raise ProvisioningError("the private key is not ECDSA P-256")
    return key


def certificates_from_pem(pem: bytes) -> list[x509.Certificate]:
    """Returns every certificate in `pem`.

    Raises:
        ProvisioningError: there is none, or one is damaged.
    """
    try:
        return x509.load_pem_x509_certificates(pem)
    except _DAMAGED:
        raise ProvisioningError("not a certificate, or a damaged one") from None


def certificate_to_pem(*certificates: x509.Certificate) -> bytes:
    """Returns certificates as PEM, one after the other."""
    return b"".join(certificate.public_bytes(serialization.Encoding.PEM) for certificate in certificates)


def public_bytes(key: PublicKey) -> bytes:
    """Returns the public key as DER: equal keys, equal bytes."""
    return key.public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)


def make_csr(key: PrivateKey, mesh: str, device_id: str) -> bytes:
    """Returns a device's request for a certificate, PEM."""
    name = name_for(mesh, Subject(device_id, "device", ()))
    request = x509.CertificateSigningRequestBuilder().subject_name(name).sign(key, hashes.SHA256())
    return request.public_bytes(serialization.Encoding.PEM)


def read_csr(pem: bytes, mesh: str, device_id: str) -> PublicKey:
    """Returns the public key of a request if it is one of `device_id` in `mesh`. Extensions in it are never looked at:
    what a certificate may do is not for the asker to say.

    Raises:
        ProvisioningError: it asks for another name or mesh, is not signed by its own key, or is damaged.
    """
    if len(pem) > CSR_BYTES_MAX:
        raise ProvisioningError("the certificate request is too large")
    try:
        request = x509.load_pem_x509_csr(pem)
        signed, key, subject = request.is_signature_valid, request.public_key(), request.subject
    except (*_DAMAGED, InvalidSignature):
        raise ProvisioningError("the certificate request is damaged") from None
    if not signed:
        raise ProvisioningError("the certificate request is not signed by its own key")
    if not isinstance(key, ec.EllipticCurvePublicKey) or not isinstance(key.curve, ec.SECP256R1):
        raise ProvisioningError("the certificate request's key is not ECDSA P-256")
    names = [str(name.value) for name in subject.get_attributes_for_oid(NameOID.COMMON_NAME)]
    if names != [device_id]:
        raise ProvisioningError(f"the certificate request is for another device, not {device_id}'s")
    meshes = [str(name.value) for name in subject.get_attributes_for_oid(NameOID.ORGANIZATION_NAME)]
    if meshes != [mesh]:
        raise ProvisioningError(f"the certificate request is for another mesh, not {mesh}")
    return key


def make_ca(mesh: str, generation: int, key: PrivateKey, now: datetime.datetime) -> x509.Certificate:
    """Returns a CA's certificate, signed by itself."""
    name = name_for(mesh, Subject(f"CA {generation}", "ca", ()))
    builder = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(VALID_FROM)
        .not_valid_after(now + CA_LIFETIME)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(key_usage(ca=True), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(key.public_key()), critical=False)
    )
    return builder.sign(key, hashes.SHA256())


def make_certificate(
    subject: Subject,
    public_key: PublicKey,
    ca: x509.Certificate,
    ca_key: PrivateKey,
    not_after: datetime.datetime,
    *,
    not_before: datetime.datetime = VALID_FROM,
) -> x509.Certificate:
    """Returns a certificate for `subject` and `public_key`, of the CA's mesh, signed by the CA."""
    builder = (
        x509.CertificateBuilder()
        .subject_name(name_for(mesh_of(ca), subject))
        .issuer_name(ca.subject)
        .public_key(public_key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(not_before)
        .not_valid_after(min(not_after, ca.not_valid_after_utc))
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(key_usage(ca=False), critical=True)
        .add_extension(x509.ExtendedKeyUsage(subject.uses), critical=False)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(public_key), critical=False)
        .add_extension(issuer_id(ca), critical=False)
    )
    if subject.hosts:
        names = x509.SubjectAlternativeName([_host(host) for host in dict.fromkeys(subject.hosts)])
        builder = builder.add_extension(names, critical=False)
    return builder.sign(ca_key, hashes.SHA256())


def mesh_of(certificate: x509.Certificate) -> str:
    """Returns the mesh that a certificate is of; "" if it names none."""
    return _attribute(certificate, NameOID.ORGANIZATION_NAME)


def name_of(certificate: x509.Certificate) -> str:
    """Returns the common name: the device id, `operator`, `broker`; "" if it has none."""
    return _attribute(certificate, NameOID.COMMON_NAME)


def unit_of(certificate: x509.Certificate) -> str:
    """Returns the unit: `device`, `operator`, `broker`, `web`, `ca`; "" if it has none."""
    return _attribute(certificate, NameOID.ORGANIZATIONAL_UNIT_NAME)


def issuer_of(certificate: x509.Certificate) -> str:
    """Returns the common name of the CA that signed a certificate; "" if it names none."""
    names = certificate.issuer.get_attributes_for_oid(NameOID.COMMON_NAME)
    return str(names[0].value) if len(names) == 1 else ""


def hosts_of(certificate: x509.Certificate) -> tuple[str, ...]:
    """Returns the host names and addresses that a certificate names."""
    try:
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return ()
    return (*names.get_values_for_type(x509.DNSName), *map(str, names.get_values_for_type(x509.IPAddress)))


def _attribute(certificate: x509.Certificate, oid: x509.ObjectIdentifier) -> str:
    values = certificate.subject.get_attributes_for_oid(oid)
    return str(values[0].value) if len(values) == 1 else ""


def name_for(mesh: str, subject: Subject) -> x509.Name:
    """Returns what a certificate says of its owner: mesh, unit and name."""
    return x509.Name(
        [
            x509.NameAttribute(NameOID.ORGANIZATION_NAME, mesh),
            x509.NameAttribute(NameOID.ORGANIZATIONAL_UNIT_NAME, subject.unit),
            x509.NameAttribute(NameOID.COMMON_NAME, subject.common_name),
        ]
    )


def issuer_id(ca: x509.Certificate) -> x509.AuthorityKeyIdentifier:
    """Returns by which key a certificate is signed."""
    own = ca.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value
    return x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(own)


def key_usage(*, ca: bool) -> x509.KeyUsage:
    """Returns what a key may do: a CA's signs certificates and lists, any other what it says."""
    return x509.KeyUsage(
        digital_signature=not ca,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=ca,
        crl_sign=ca,
        encipher_only=False,
        decipher_only=False,
    )


def _host(host: str) -> x509.GeneralName:
    if (address := address_of(host)) is not None:
        return x509.IPAddress(address)
    try:
        return x509.DNSName(host)
    except ValueError:
        raise ProvisioningError(f"{host[:64]!r} is not a host name") from None
