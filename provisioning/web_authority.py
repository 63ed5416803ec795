"""A CA for web pages alone, which phones and browsers can be told to trust without giving their owner's bank away.

Whoever trusts the mesh's own CA in a browser trusts its key with every name in the world. This one says of itself, in
name constraints that nobody may overlook (RFC 5280, section 4.2.1.10, critical), that it certifies servers, and only
the hosts of one mesh. Its key is not the mesh's: it lets nobody in at a broker.

A broker's door for browsers shows the broker's certificate, which the mesh's CA has signed. So that who trusts the web
CA trusts that door too, it comes with a bridge: a certificate of the web CA for the mesh's CA, under the same
constraints.
"""

from __future__ import annotations

import contextlib
import datetime
import ipaddress
from collections.abc import Iterator, Sequence
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.x509.oid import ExtendedKeyUsageOID

from edge_agent.files import is_there
from provisioning import certificates as certs
from provisioning.authority import Clock, Record, utc_now
from provisioning.certificates import CA_LIFETIME, WEB_LIFETIME, Identity, Subject
from provisioning.device_names import normal_host
from provisioning.errors import ProvisioningError
from provisioning.files import PRIVATE, PUBLIC, locked, read_file, write_atomically

CA_FILE, KEY_FILE = "web-ca.pem", "web-ca.key"
CLOCK_SKEW = datetime.timedelta(days=1)  # a phone whose clock is behind, or in another time zone than it says
HOSTS_MAX = 64  # names of one home's servers; a certificate that holds more is a list, not a constraint
_WAY_OUT = (
    "put a copy back, or make another (moamesh mesh server-cert --new-ca), which every phone must then be told to trust"
)
_NOWHERE = "127.0.0.1"
"""Permitted where no other address is: without one, addresses would not be constrained at all."""


class WebAuthority:
    """The web CA in a mesh's folder. `open` or `make` it."""

    def __init__(self, certificate: x509.Certificate, key: certs.PrivateKey, record: Record, now: Clock) -> None:
        self.certificate = certificate
        self._key = key
        self._record = record
        self._now = now

    @classmethod
    def make(
        cls,
        folder: Path,
        mesh: str,
        hosts: Sequence[str],
        *,
        record: Record,
        passphrase: str | None = None,
        now: Clock = utc_now,
    ) -> WebAuthority:
        """Makes a web CA for these hosts, in the place of one that is there. Its key is encrypted as the mesh's is.

        Raises:
            ProvisioningError: a host is none, there are none or too many, or the folder can't be written.
        """
        if not 0 < len(hosts) <= HOSTS_MAX:
            raise ProvisioningError(f"a web CA is for 1 to {HOSTS_MAX} hosts, not {len(hosts)}")
        key = certs.new_key()
        certificate = _make_ca(mesh, [*hosts, _NOWHERE], key, now())
        with locked(folder):
            # The certificate last, since it says that there is one; a key without its certificate is replaced.
            (folder / CA_FILE).unlink(missing_ok=True)
            write_atomically(folder / KEY_FILE, certs.key_to_pem(key, passphrase), PRIVATE)
            write_atomically(folder / CA_FILE, certs.certificate_to_pem(certificate), PUBLIC)
        return cls(certificate, key, record, now)

    @classmethod
    def open(
        cls, folder: Path, *, record: Record, passphrase: str | None = None, now: Clock = utc_now
    ) -> WebAuthority | None:
        """Returns the web CA in `folder`, `None` if none was made yet.

        Raises:
            ProvisioningError: it is damaged, or the passphrase is wrong or missing.
        """
        if not is_there(folder / CA_FILE):
            return None
        contents = [read_file(folder / name) for name in (CA_FILE, KEY_FILE)]
        with _named(folder / CA_FILE):
            certificate = certs.certificates_from_pem(contents[0])[0]
        with _named(folder / KEY_FILE):
            key = certs.key_from_pem(contents[1], passphrase)
        own = certificate.public_key()
        if not isinstance(own, certs.PublicKey) or certs.public_bytes(own) != certs.public_bytes(key.public_key()):
            raise ProvisioningError(f"{folder / KEY_FILE} does not belong to {folder / CA_FILE}; {_WAY_OUT}")
        return cls(certificate, key, record, now)

    @property
    def pem(self) -> bytes:
        """Its certificate: what phones must trust."""
        return certs.certificate_to_pem(self.certificate)

    @property
    def hosts(self) -> tuple[str, ...]:
        """The hosts that it may certify, subdomains included."""
        constraints = self.certificate.extensions.get_extension_for_class(x509.NameConstraints).value
        return tuple(_text(name) for name in constraints.permitted_subtrees or ())

    def bridge(self, ca: x509.Certificate) -> bytes:
        """Returns the certificate (PEM) by which who trusts this CA trusts servers that the mesh's CA has certified, as
        far as they are among the hosts here."""
        permitted = self.certificate.extensions.get_extension_for_class(x509.NameConstraints).value.permitted_subtrees
        key = ca.public_key()
        if not isinstance(key, certs.PublicKey):
            raise ProvisioningError("a CA's key is not ECDSA P-256")
        builder = (
            x509.CertificateBuilder()
            .subject_name(ca.subject)
            .issuer_name(self.certificate.subject)
            .public_key(key)
            .not_valid_before(self.certificate.not_valid_before_utc)
            .not_valid_after(min(ca.not_valid_after_utc, self.certificate.not_valid_after_utc))
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(key), critical=False)
            .add_extension(certs.issuer_id(self.certificate), critical=False)
        )
        return certs.certificate_to_pem(_constrained(builder, permitted or (), 0).sign(self._key, hashes.SHA256()))

    def issue(self, hosts: Sequence[str], *, lifetime: datetime.timedelta = WEB_LIFETIME) -> Identity:
        """Returns the server identity of a page reached by these host names and addresses.

        Unlike the mesh's own certificates it begins today: browsers judge by the whole span, and they know the date.

        Raises:
            ProvisioningError: a host is none, or not among those that this CA is for.
        """
        subject, key = certs.web_subject([normal_host(host) for host in hosts]), certs.new_key()
        if strange := sorted(set(subject.hosts) - set(self.hosts)):
            raise ProvisioningError(
                f"{strange[0]} is not among the hosts that the web CA is for ({', '.join(self.hosts)}); --new-ca makes "
                "another, which every phone must then be told to trust"
            )
        now = self._now()
        certificate = certs.make_certificate(
            subject, key.public_key(), self.certificate, self._key, now + lifetime, not_before=now - CLOCK_SKEW
        )
        self._record(certificate)
        return Identity(certs.certificate_to_pem(certificate), certs.key_to_pem(key))


@contextlib.contextmanager
def _named(path: Path) -> Iterator[None]:
    try:
        yield
    except ProvisioningError as error:
        raise ProvisioningError(f"{path}: {error}; {_WAY_OUT}") from None


def _constrained(
    builder: x509.CertificateBuilder, permitted: Sequence[x509.GeneralName], path_length: int
) -> x509.CertificateBuilder:
    return (
        builder.serial_number(x509.random_serial_number())
        .add_extension(x509.BasicConstraints(ca=True, path_length=path_length), critical=True)
        .add_extension(certs.key_usage(ca=True), critical=True)
        .add_extension(x509.NameConstraints(permitted, None), critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
    )


def _make_ca(mesh: str, hosts: Sequence[str], key: certs.PrivateKey, now: datetime.datetime) -> x509.Certificate:
    name = certs.name_for(mesh, Subject("web CA", "ca", ()))
    permitted = [_subtree(host) for host in dict.fromkeys(map(normal_host, hosts))]
    builder = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .not_valid_before(now - CLOCK_SKEW)
        .not_valid_after(now + CA_LIFETIME)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
    )
    return _constrained(builder, permitted, 1).sign(key, hashes.SHA256())


def _subtree(host: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_network(host))
    except ValueError:
        pass
    try:
        return x509.DNSName(host)
    except ValueError:
        raise ProvisioningError(f"{host[:64]!r} is not a host name") from None


def _text(name: x509.GeneralName) -> str:
    value = name.value
    return (
        str(value.network_address) if isinstance(value, ipaddress.IPv4Network | ipaddress.IPv6Network) else str(value)
    )
