"""Who belongs to the mesh, as its operator knows it: devices, claims, users. One SQLite file.

In its ledger stands every certificate that the mesh's authorities ever signed, of whatever kind, before anybody gets
it: what is not known can't be revoked.

A device is `invited` (it has a claim), `active` (it has a certificate) or `revoked`. Of a claim's secret only hashes
are kept. Several processes may use the file at once: a command, the service that answers claims, a broker's supervisor.
Times are seconds since 1970 by the operator's clock.
"""

from __future__ import annotations

import contextlib
import sqlite3
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from provisioning import records
from provisioning.database import cannot_be_used, make_database, open_database
from provisioning.errors import ProvisioningError
from provisioning.records import CertificateKind, CertificateRow, Claim, DeviceRow, DeviceState, UserRow

DEVICES_MAX = 10_000  # what a revocation list, an access file and a table can hold; a larger mesh is several meshes
USERS_MAX = 1_000
CLAIM_LIFETIME_S = 7 * 86_400.0  # a card written on Monday is in its device by the weekend
ANSWER_GRACE_S = 86_400.0  # how long a device that lost the answer may ask again, should its claim expire meanwhile
_WAY_OUT = (
    "put a copy back; without one, move it and mesh.toml away and repeat moamesh mesh create, which keeps the "
    "authority and begins an empty inventory: every device must then be invited anew"
)


class Inventory:
    """The inventory in one file, which `make` has made. Use it in one thread, and `close` it.

    Raises:
        ProvisioningError: here, and from every method: the file can't be used, or what is asked for can't be done.
    """

    def __init__(self, path: Path, *, clock: Callable[[], float] = time.time) -> None:
        self._path = path
        self._clock = clock
        self._database = open_database(path, records.SCHEMA, records.SCHEMA_VERSION, _WAY_OUT, records.UPGRADES)

    @staticmethod
    def make(path: Path) -> None:
        """Makes an empty inventory if nothing has its name."""
        make_database(path, records.SCHEMA, records.SCHEMA_VERSION)

    def __enter__(self) -> Inventory:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Closes the file."""
        self._database.close()

    def now(self) -> float:
        """The time by the inventory's clock."""
        return self._clock()

    # --- devices ----------------------------------------------------------------------------------------------------

    def devices(self) -> list[DeviceRow]:
        """Every device, by name."""
        return [records.device(row) for row in self._rows("SELECT * FROM device_rows ORDER BY device_id")]

    def device(self, device_id: str) -> DeviceRow:
        """Returns one device; an error if there is none of that name."""
        rows = self._rows("SELECT * FROM device_rows WHERE device_id = ?", device_id)
        if not rows:
            raise ProvisioningError(f"there is no device {device_id!r} in this mesh")
        return records.device(rows[0])

    def claim(self, device_id: str) -> Claim | None:
        """Returns the claim that a device has, used or not; `None` once it is burnt."""
        rows = self._rows("SELECT * FROM claims WHERE device_id = ?", device_id)
        return records.claim(rows[0]) if rows else None

    def open_claims(self) -> list[Claim]:
        """Claims that a device may still log in with."""
        rows = self._rows("SELECT * FROM claims WHERE expires_at > ? ORDER BY device_id", self._clock())
        return [records.claim(row) for row in rows]

    def invite(
        self,
        device_id: str,
        *,
        password_hash: str,
        proof_key: bytes,
        lifetime_s: float = CLAIM_LIFETIME_S,
        ip_addresses: Sequence[str] = (),
    ) -> None:
        """Records a device and its claim; an earlier claim of a device that has not used it is void. An error if the
        device is a member: revoke it first."""
        now = self._clock()
        with self._transaction():
            self._admit(device_id, DeviceState.INVITED, ip_addresses)
            self._run("DELETE FROM claims WHERE device_id = ?", device_id)
            self._run(
                "INSERT INTO claims (device_id, password_hash, proof_key, expires_at) VALUES (?, ?, ?, ?)",
                *(device_id, password_hash, proof_key, now + lifetime_s),
            )

    def claimed(self, device_id: str, public_key: bytes, certificate: CertificateRow) -> None:
        """Records that a claim was used: from now on it is worth this certificate for this key, and nothing else."""
        with self._transaction():
            done = self._run(
                "UPDATE claims SET public_key = ?, serial = ?, expires_at = max(expires_at, ?) "
                "WHERE device_id = ? AND public_key IS NULL",
                *(public_key, certificate.serial_text, self._clock() + ANSWER_GRACE_S, device_id),
            )
            if done != 1:
                raise ProvisioningError(f"the claim of {device_id} was used meanwhile")
            self._add(certificate)
            self._set_state(device_id, DeviceState.ACTIVE)

    def enrol(self, certificate: CertificateRow, ip_addresses: Sequence[str] = ()) -> None:
        """Records a device whose certificate was made here, without a claim. An error if the device is a member."""
        with self._transaction():
            self._admit(certificate.name, DeviceState.ACTIVE, ip_addresses)
            self._run("DELETE FROM claims WHERE device_id = ?", certificate.name)
            self._add(certificate)

    def renewed(self, certificate: CertificateRow) -> None:
        """Records a member's next certificate. The one before stays good until it expires: the new may never arrive.
        An error if the device is no member any more."""
        with self._transaction():
            rows = self._rows("SELECT state FROM devices WHERE device_id = ?", certificate.name)
            if not rows or rows[0]["state"] != DeviceState.ACTIVE:
                raise ProvisioningError(f"{certificate.name} is not a member of this mesh")
            self._add(certificate)

    def burn_claim(self, device_id: str) -> bool:
        """Makes a claim that has led to a certificate worthless; says whether there was one."""
        with self._transaction():
            return self._run("DELETE FROM claims WHERE device_id = ? AND public_key IS NOT NULL", device_id) > 0

    def revoke(self, device_id: str) -> list[int]:
        """Records that a device is out, and returns the serial numbers of all its certificates. The caller must then
        put them on the revocation list; doing both again is harmless."""
        with self._transaction():
            self.device(device_id)
            self._set_state(device_id, DeviceState.REVOKED)
            self._run("UPDATE ledger SET revoked = 1 WHERE kind = 'device' AND name = ?", device_id)
            self._run("DELETE FROM claims WHERE device_id = ?", device_id)
        return [certificate.serial for certificate in self.certificates(device_id)]

    def is_revoked(self, device_id: str) -> bool:
        """Whether a device is known and out."""
        rows = self._rows("SELECT state FROM devices WHERE device_id = ?", device_id)
        return bool(rows) and rows[0]["state"] == DeviceState.REVOKED

    def has_user(self, name: str) -> bool:
        """Whether there is a user of that name."""
        return bool(self._rows("SELECT 1 FROM users WHERE name = ?", name))

    def seen(self, device_id: str) -> None:
        """Records that a device was heard of just now. Does nothing for a name that is no device's."""
        with self._explained():
            self._run("UPDATE devices SET last_seen_at = ? WHERE device_id = ?", self._clock(), device_id)

    # --- the ledger -------------------------------------------------------------------------------------------------

    def record(self, certificate: CertificateRow) -> None:
        """Enters a certificate that was just made, before anybody gets it; entered again it stays once."""
        with self._transaction():
            self._add(certificate)

    def ledger(self, kind: CertificateKind | None = None) -> list[CertificateRow]:
        """Every certificate ever issued, or those of one kind, newest first."""
        where, values = ("", ()) if kind is None else ("WHERE kind = ?", (kind.value,))
        rows = self._rows(f"SELECT * FROM ledger {where} ORDER BY issued_at DESC, rowid DESC", *values)  # noqa: S608 - of this file
        return [records.certificate(row) for row in rows]

    def certificates(self, device_id: str) -> list[CertificateRow]:
        """Every certificate that a device ever had, newest first."""
        query = "SELECT * FROM ledger WHERE kind = 'device' AND name = ? ORDER BY issued_at DESC, rowid DESC"
        return [records.certificate(row) for row in self._rows(query, device_id)]

    def certificate(self, serial: int) -> CertificateRow | None:
        """Returns one certificate by its serial number."""
        rows = self._rows("SELECT * FROM ledger WHERE serial = ?", f"{serial:x}")
        return records.certificate(rows[0]) if rows else None

    def issued_since(self, device_id: str, since: float) -> list[float]:
        """Returns when a device got certificates since then, the earliest first."""
        query = "SELECT issued_at FROM ledger WHERE kind = 'device' AND name = ? AND issued_at > ? ORDER BY issued_at"
        return [float(row["issued_at"]) for row in self._rows(query, device_id, since)]

    def revoke_serial(self, serial: int) -> None:
        """Records that one certificate is out. The caller must then put it on the revocation list."""
        with self._explained():
            self._run("UPDATE ledger SET revoked = 1 WHERE serial = ?", f"{serial:x}")

    def revoked(self) -> list[CertificateRow]:
        """Returns every revoked certificate."""
        return [records.certificate(row) for row in self._rows("SELECT * FROM ledger WHERE revoked")]

    def newest_certificates(self) -> list[CertificateRow]:
        """The newest certificate of every active device, by name: what a rotation waits for, and what runs out."""
        rows = self._rows(
            "SELECT c.* FROM device_rows d JOIN ledger c USING (serial) WHERE d.state = ? ORDER BY d.device_id",
            DeviceState.ACTIVE,
        )
        return [records.certificate(row) for row in rows]

    # --- users ------------------------------------------------------------------------------------------------------

    def users(self) -> list[UserRow]:
        """Every user, by name."""
        return [records.user(row) for row in self._rows("SELECT * FROM users ORDER BY name")]

    def add_user(self, name: str, password_hash: str, devices: Sequence[str] | None) -> None:
        """Records a user and which devices they may use; `None` is all. An error if there is one of that name."""
        with self._transaction():
            if self._rows("SELECT 1 FROM users WHERE name = ?", name):
                raise ProvisioningError(f"there is a user {name!r} already; `moamesh pair {name}` gives a new password")
            self._insert_user(name, password_hash, devices)

    def put_user(self, name: str, password_hash: str, devices: Sequence[str] | None) -> bool:
        """Records a user as `add_user` does, in the place of one of that name; says whether there was one."""
        with self._transaction():
            replaced = self._run("DELETE FROM users WHERE name = ?", name) > 0
            self._insert_user(name, password_hash, devices)
        return replaced

    def remove_user(self, name: str) -> None:
        """Forgets a user; an error if there is none of that name."""
        with self._transaction():
            if not self._run("DELETE FROM users WHERE name = ?", name):
                raise ProvisioningError(f"there is no user {name!r} in this mesh")

    # --- inside -----------------------------------------------------------------------------------------------------

    def _insert_user(self, name: str, password_hash: str, devices: Sequence[str] | None) -> None:
        (count,) = self._rows("SELECT count(*) FROM users")[0]
        if count >= USERS_MAX:
            raise ProvisioningError(f"a mesh has at most {USERS_MAX} users")
        for device_id in devices or ():
            self.device(device_id)
        self._run(
            "INSERT INTO users VALUES (?, ?, ?, ?)", *records.user_values(name, password_hash, devices, self._clock())
        )

    def _admit(self, device_id: str, state: DeviceState, ip_addresses: Sequence[str]) -> None:
        rows = self._rows("SELECT state FROM devices WHERE device_id = ?", device_id)
        if rows and rows[0]["state"] == DeviceState.ACTIVE:
            raise ProvisioningError(
                f"{device_id} is a member already: give the new device another name, and revoke the old one if it is "
                f"gone (moamesh device revoke {device_id})"
            )
        (count,) = self._rows("SELECT count(*) FROM devices")[0]
        if not rows and count >= DEVICES_MAX:
            raise ProvisioningError(f"a mesh has at most {DEVICES_MAX} devices, revoked ones included")
        self._run(
            """INSERT INTO devices (device_id, state, ip_addresses, added_at) VALUES (?, ?, ?, ?)
            ON CONFLICT (device_id) DO UPDATE SET
            state = excluded.state, ip_addresses = excluded.ip_addresses, added_at = excluded.added_at""",
            *(device_id, state, records.texts(ip_addresses), self._clock()),
        )

    def _add(self, certificate: CertificateRow) -> None:
        # entered by the authority already, unless it knows no ledger; the time is that of whoever grants it
        self._run(
            "INSERT INTO ledger VALUES (?, ?, ?, ?, ?, ?, ?) ON CONFLICT (serial) "
            "DO UPDATE SET issued_at = excluded.issued_at",
            *records.certificate_values(certificate),
        )

    def _set_state(self, device_id: str, state: DeviceState) -> None:
        self._run("UPDATE devices SET state = ? WHERE device_id = ?", state, device_id)

    def _run(self, statement: str, *values: object) -> int:
        return self._database.execute(statement, values).rowcount

    def _rows(self, query: str, *values: object) -> list[sqlite3.Row]:
        with self._explained():
            cursor = self._database.cursor()
            cursor.row_factory = sqlite3.Row
            return cursor.execute(query, values).fetchall()

    @contextlib.contextmanager
    def _transaction(self) -> Iterator[None]:
        with self._explained():
            self._database.execute("BEGIN IMMEDIATE")
            try:
                yield
                self._database.execute("COMMIT")
            except BaseException:
                if self._database.in_transaction:
                    self._database.execute("ROLLBACK")
                raise

    @contextlib.contextmanager
    def _explained(self) -> Iterator[None]:
        try:
            yield
        except (sqlite3.Error, OSError, ValueError) as error:  # ValueError: a row that none of us wrote
            raise cannot_be_used(self._path, error, _WAY_OUT) from None
