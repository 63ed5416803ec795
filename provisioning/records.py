"""The rows of the inventory: their tables, and how a row becomes an object."""

from __future__ import annotations

import datetime
import json
import sqlite3
from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import final

from cryptography import x509

from provisioning import certificates as certs
from provisioning.errors import ProvisioningError

SCHEMA = """
CREATE TABLE IF NOT EXISTS devices (
    device_id TEXT PRIMARY KEY, state TEXT NOT NULL, ip_addresses TEXT NOT NULL, added_at REAL NOT NULL,
    last_seen_at REAL
);
CREATE TABLE IF NOT EXISTS claims (
    device_id TEXT PRIMARY KEY REFERENCES devices, password_hash TEXT NOT NULL, proof_key BLOB NOT NULL,
    expires_at REAL NOT NULL, public_key BLOB, serial TEXT
);
CREATE TABLE IF NOT EXISTS ledger (
    serial TEXT PRIMARY KEY, kind TEXT NOT NULL, name TEXT NOT NULL, issued_at REAL NOT NULL,
    expires_at REAL NOT NULL, pem BLOB NOT NULL, revoked INTEGER NOT NULL
);
CREATE INDEX IF NOT EXISTS ledger_by_name ON ledger (kind, name, issued_at);
CREATE TABLE IF NOT EXISTS users (
    name TEXT PRIMARY KEY, password_hash TEXT NOT NULL, devices TEXT, added_at REAL NOT NULL
);
CREATE VIEW IF NOT EXISTS device_rows AS
    SELECT d.*, c.serial, c.expires_at, k.expires_at AS claim_expires_at, k.public_key IS NOT NULL AS claim_used
    FROM devices d LEFT JOIN claims k USING (device_id) LEFT JOIN ledger c ON c.serial = (
        SELECT n.serial FROM ledger n WHERE n.kind = 'device' AND n.name = d.device_id
        ORDER BY n.issued_at DESC, n.rowid DESC LIMIT 1
    );
"""
SCHEMA_VERSION = 2
_FROM_CERTIFICATES = """
INSERT INTO ledger SELECT serial, 'device', device_id, issued_at, expires_at, pem, revoked FROM certificates
    ORDER BY rowid;
DROP TABLE certificates;
"""
UPGRADES = {1: "DROP VIEW device_rows;" + SCHEMA + _FROM_CERTIFICATES}
"""What makes of a file of an earlier version one of the next. Version 1 knew the certificates of devices alone."""


class CertificateKind(StrEnum):
    """Whom a certificate is for; it stands in the certificate as its unit (OU)."""

    DEVICE = "device"
    OPERATOR = "operator"
    BROKER = "broker"
    WEB = "web"


class DeviceState(StrEnum):
    """What a device is to the mesh."""

    INVITED = "invited"
    ACTIVE = "active"
    REVOKED = "revoked"


@final
@dataclass(frozen=True, slots=True)
class DeviceRow:
    """A device. `serial` and `expires_at` are those of its newest certificate; `claim_expires_at` is `None` once
    its claim is burnt."""

    device_id: str
    state: DeviceState
    ip_addresses: tuple[str, ...]
    added_at: float
    last_seen_at: float | None
    serial: int | None
    expires_at: float | None
    claim_expires_at: float | None
    claim_used: bool


@final
@dataclass(frozen=True, slots=True)
class Claim:
    """A device's right to one certificate. Once used, the public key (DER) and serial it was used for stand here."""

    device_id: str
    password_hash: str = field(repr=False)
    proof_key: bytes = field(repr=False)
    expires_at: float
    public_key: bytes | None
    serial: int | None


@final
@dataclass(frozen=True, slots=True)
class CertificateRow:
    """A certificate, of whatever kind. `name` is the device's; all others are called as their kind is."""

    serial: int
    kind: CertificateKind
    name: str
    issued_at: float
    expires_at: float
    pem: bytes = field(repr=False)
    revoked: bool = False

    @property
    def serial_text(self) -> str:
        """The serial number as messages and tables write it: hexadecimal."""
        return f"{self.serial:x}"

    @property
    def certificate(self) -> x509.Certificate:
        """The certificate itself."""
        return certs.certificates_from_pem(self.pem)[0]

    @property
    def issuer(self) -> str:
        """The name of the CA that signed it."""
        return certs.issuer_of(self.certificate)

    @property
    def hosts(self) -> tuple[str, ...]:
        """The host names and addresses that it names."""
        return certs.hosts_of(self.certificate)

    @classmethod
    def of(cls, pem: bytes, issued_at: datetime.datetime) -> CertificateRow:
        """Returns the row for a certificate issued just now.

        Raises:
            ProvisioningError: it is none, or of no kind.
        """
        certificate = certs.certificates_from_pem(pem)[0]
        try:
            kind = CertificateKind(certs.unit_of(certificate))
        except ValueError:
            raise ProvisioningError("a certificate of no kind that a mesh has") from None
        expires_at = certificate.not_valid_after_utc.timestamp()
        return cls(certificate.serial_number, kind, certs.name_of(certificate), issued_at.timestamp(), expires_at, pem)


@final
@dataclass(frozen=True, slots=True)
class UserRow:
    """A user. `devices` are those that they may use; `None` is all."""

    name: str
    password_hash: str = field(repr=False)
    devices: tuple[str, ...] | None
    added_at: float


def device(row: sqlite3.Row) -> DeviceRow:
    """Reads a row of `device_rows`."""
    return DeviceRow(
        row["device_id"],
        DeviceState(row["state"]),
        tuple(json.loads(row["ip_addresses"])),
        row["added_at"],
        row["last_seen_at"],
        None if row["serial"] is None else int(row["serial"], 16),
        row["expires_at"],
        row["claim_expires_at"],
        bool(row["claim_used"]),
    )


def claim(row: sqlite3.Row) -> Claim:
    """Reads a row of claims."""
    return Claim(
        row["device_id"],
        row["password_hash"],
        row["proof_key"],
        row["expires_at"],
        row["public_key"],
        None if row["serial"] is None else int(row["serial"], 16),
    )


def certificate(row: sqlite3.Row) -> CertificateRow:
    """Reads a row of the ledger."""
    return CertificateRow(
        int(row["serial"], 16),
        CertificateKind(row["kind"]),
        row["name"],
        row["issued_at"],
        row["expires_at"],
        row["pem"],
        bool(row["revoked"]),
    )


def certificate_values(row: CertificateRow) -> tuple[object, ...]:
    """Returns a certificate in the order of its table."""
    return (row.serial_text, row.kind.value, row.name, row.issued_at, row.expires_at, row.pem, row.revoked)


def user(row: sqlite3.Row) -> UserRow:
    """Reads a row of users."""
    devices = None if row["devices"] is None else tuple(json.loads(row["devices"]))
    return UserRow(row["name"], row["password_hash"], devices, row["added_at"])


def user_values(name: str, password_hash: str, devices: Sequence[str] | None, now: float) -> tuple[object, ...]:
    """Returns a user in the order of their table."""
    return (name, password_hash, None if devices is None else texts(devices), now)


def texts(values: Sequence[str]) -> str:
    """Returns a list of texts as one column holds it."""
    return json.dumps(list(values))
