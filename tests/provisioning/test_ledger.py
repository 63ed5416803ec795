"""The ledger of all certificates: whatever was given can be taken back, and nobody gets so many that there is no room.

Every certificate stands in it before anybody has it, in a mesh of the first edition too.
"""

from __future__ import annotations

import datetime
import shutil
import sqlite3
from pathlib import Path

import pytest

from edge_agent.wire.topics import Channel
from provisioning import revocation
from provisioning.authority import MeshAuthority
from provisioning.certificates import certificates_from_pem
from provisioning.errors import ProvisioningError
from provisioning.files import read_file
from provisioning.identity_store import IdentityStore
from provisioning.inventory import Inventory
from provisioning.jobs import Action
from provisioning.messages import CertificateIssued, CertificateRefused, RefusalReason, encode
from provisioning.operator_files import serial_in
from provisioning.records import CertificateKind
from provisioning.registrar import CERTIFICATES_A_MONTH_MAX, Registrar
from provisioning.signed import SignedMessageError, open_signed, sign
from tests.provisioning.home import MESH, Home, in_days

OF_EACH = {
    CertificateKind.DEVICE: lambda authority: authority.issue_device("kitchen"),
    CertificateKind.OPERATOR: lambda authority: authority.issue_operator(),
    CertificateKind.BROKER: lambda authority: authority.issue_broker(["hub.lan"]),
}


def listed(home: Home) -> frozenset[int]:
    return revocation.serials_in(read_file(home.mesh.crl_file))


@pytest.mark.parametrize("kind", OF_EACH)
def test_whatever_is_signed_stands_in_the_ledger(home: Home, kind: CertificateKind) -> None:
    serial = certificates_from_pem(OF_EACH[kind](home.authority).certificate_pem)[0].serial_number
    with home.mesh.inventory() as inventory:
        row = inventory.certificate(serial)
        assert row is not None
        assert (row.kind, row.revoked) == (kind, False)
        assert serial in [one.serial for one in inventory.ledger(kind)]


@pytest.mark.parametrize("kind", OF_EACH)
def test_what_can_not_be_recorded_is_given_to_nobody(home: Home, kind: CertificateKind) -> None:
    home.mesh.inventory_file.unlink()
    with pytest.raises(ProvisioningError, match=r"inventory\.sqlite3 is gone"):
        OF_EACH[kind](home.authority)


def test_a_page_stands_in_the_ledger_or_is_given_to_nobody(home: Home) -> None:
    web = home.mesh.web_authority(home.authority, ["hub.lan"])
    serial = certificates_from_pem(web.issue(["hub.lan"]).certificate_pem)[0].serial_number
    with home.mesh.inventory() as inventory:
        row = inventory.certificate(serial)
    assert row is not None
    assert (row.kind, row.revoked) == (CertificateKind.WEB, False)
    home.mesh.inventory_file.unlink()
    with pytest.raises(ProvisioningError, match=r"inventory\.sqlite3 is gone"):
        web.issue(["hub.lan"])


@pytest.mark.parametrize("kind", [CertificateKind.OPERATOR, CertificateKind.BROKER])
def test_each_certificate_can_be_revoked_by_its_number(home: Home, kind: CertificateKind) -> None:
    stolen, kept = (
        certificates_from_pem(OF_EACH[kind](home.authority).certificate_pem)[0].serial_number for _ in range(2)
    )
    assert home.mesh.revoke_certificate(kind, stolen, home.authority) is False
    assert stolen in listed(home)
    assert kept not in listed(home)
    other = CertificateKind.BROKER if kind is CertificateKind.OPERATOR else CertificateKind.OPERATOR
    with pytest.raises(ProvisioningError, match=f"has no {other} certificate {kept:x}"):
        home.mesh.revoke_certificate(other, kept, home.authority)


def test_a_revoked_page_is_marked_and_not_on_the_list_of_those_who_do_not_know_its_authority(home: Home) -> None:
    page = home.mesh.web_authority(home.authority, ["hub.lan"]).issue(["hub.lan"])
    serial = certificates_from_pem(page.certificate_pem)[0].serial_number
    home.mesh.revoke_certificate(CertificateKind.WEB, serial, home.authority)
    with home.mesh.inventory() as inventory:
        assert [row.serial for row in inventory.revoked()] == [serial]
    assert serial not in listed(home)


def test_the_operator_whose_certificate_is_revoked_has_another_with_another_key(home: Home) -> None:
    serial, key = serial_in(home.mesh.operator_certificate), home.mesh.operator_key.read_bytes()
    old = home.mesh.operator.read()
    assert serial is not None
    assert home.mesh.revoke_certificate(CertificateKind.OPERATOR, serial, home.authority) is True
    assert home.mesh.operator_key.read_bytes() != key
    bundle, revoked = home.mesh.bundle().pem, listed(home)
    assert open_signed(sign("mine", *home.mesh.operator.read()), bundle, revoked=revoked) == "mine"
    with pytest.raises(SignedMessageError, match="the operator's certificate is revoked"):
        open_signed(sign("a thief's", *old), bundle, revoked=revoked)
    with pytest.raises(SignedMessageError, match="the signature is not of this payload"):
        open_signed(sign("a thief's", home.mesh.operator.read()[0], old[1]), bundle, revoked=revoked)


def test_a_broker_whose_certificate_is_revoked_shows_another_for_the_same_hosts(home: Home) -> None:
    home.mesh.renew_broker(home.authority, ["hub.lan", "10.0.0.7"])
    serial, key = serial_in(home.mesh.broker_certificate), home.mesh.broker_key.read_bytes()
    assert serial is not None
    assert home.mesh.revoke_certificate(CertificateKind.BROKER, serial, home.authority) is True
    assert serial in listed(home)
    assert home.mesh.broker_key.read_bytes() != key
    assert home.mesh.broker_key.stat().st_mode & 0o777 == 0o600
    with home.mesh.inventory() as inventory:
        row = inventory.certificate(serial_in(home.mesh.broker_certificate) or 0)
    assert row is not None
    assert (row.hosts, row.revoked) == (("hub.lan", "10.0.0.7"), False)


# --- rotation ---------------------------------------------------------------------------------------------------------


def test_after_a_rotation_the_old_operators_key_is_believed_by_nobody(home: Home) -> None:
    thief = home.mesh.operator.read()
    device = home.joined("kitchen")
    home.authority.rotate()
    home.mesh.renew_operator(home.authority)
    answer = home.answer("kitchen", Channel.RENEWALS, device.renewal_request())
    assert isinstance(answer, CertificateIssued)
    device.accept(answer)
    home.authority.finish_rotation()
    home.mesh.renew_operator(home.authority)
    bundle = home.mesh.bundle().pem
    shown = home.mesh.operator.read()[0]  # which every job carries
    for certificate in (thief[0], shown):
        with pytest.raises(SignedMessageError):
            open_signed(sign("restart", certificate, thief[1]), bundle)
    assert home.mesh.operator.identities() == [(home.mesh.operator_certificate, home.mesh.operator_key)]


def test_jobs_are_signed_with_the_key_of_now_in_a_service_that_has_run_since_before(home: Home) -> None:
    from edge_agent.operator.jobs import open_job_store

    job_store = open_job_store(home.mesh)
    try:
        job = job_store.ask("kitchen", Action.RESTART)
        home.authority.rotate()
        home.mesh.renew_operator(home.authority)
        home.authority.finish_rotation()
        assert open_signed(job_store.body(job), home.mesh.bundle().pem)
    finally:
        job_store.close()


def test_while_a_rotation_is_under_way_the_operator_has_both_identities_each_with_its_key(home: Home) -> None:
    before = home.mesh.operator.read()
    home.authority.rotate()
    home.mesh.renew_operator(home.authority)
    home.mesh.renew_operator(home.authority)  # again, as when a service starts: the one before stays
    (certificate, key), (old, old_key) = home.mesh.operator.identities()
    assert (old.read_bytes(), old_key.read_bytes()) == before
    assert old_key.stat().st_mode & 0o777 == 0o600
    assert key.read_bytes() != old_key.read_bytes()
    serial = serial_in(old)
    assert serial is not None
    home.mesh.revoke_certificate(CertificateKind.OPERATOR, serial, home.authority)
    assert home.mesh.operator.identities() == [(certificate, key)]


@pytest.mark.parametrize("cut", ["before the certificate", "before the key"])
def test_a_renewal_that_was_cut_off_leaves_a_pair_that_belongs_together(home: Home, cut: str) -> None:
    operator = home.mesh.operator
    pair = operator.read()
    identity = home.authority.issue_operator()
    (home.mesh.folder / "operator-next.key").write_bytes(identity.key_pem)
    if cut == "before the key":
        operator.certificate.write_bytes(identity.certificate_pem)
        pair = (identity.certificate_pem, identity.key_pem)
    opened = type(home.mesh).open(home.mesh.folder)
    assert opened.operator.read() == pair
    assert not (home.mesh.folder / "operator-next.key").exists()


# --- room on the list -------------------------------------------------------------------------------------------------


def renew_for_a_year(home: Home, store: IdentityStore) -> int:
    """A member that asks as often as it can, with a new key each time; returns how many certificates it got."""
    days, got = 0.0, 0

    def now() -> datetime.datetime:
        return in_days(days)

    authority = MeshAuthority.open(home.mesh.folder, now=now, record=home.mesh.record)
    with home.mesh.inventory(clock=lambda: now().timestamp()) as inventory:
        registrar = Registrar(authority, inventory, now=now)
        while days < 365.0:
            (store.folder / "pending.key").unlink(missing_ok=True)
            (told,) = registrar.handle("kitchen", Channel.RENEWALS, encode(store.renewal_request()))
            if isinstance(told.message, CertificateIssued):
                store.accept(told.message)
                got += 1
            else:
                assert isinstance(told.message, CertificateRefused)
                assert told.message.reason is RefusalReason.TROUBLE, told.message.detail
            days += 1 / 24 if days < 2.0 else 0.25 if days < 40.0 else 1.0  # as often as changes what it gets
    return got


def test_a_member_that_renews_as_often_as_it_can_takes_no_room_that_others_need(home: Home) -> None:
    got = renew_for_a_year(home, home.joined("kitchen"))
    assert 12 * CERTIFICATES_A_MONTH_MAX <= got + 1 <= 13 * CERTIFICATES_A_MONTH_MAX
    with home.mesh.inventory(clock=lambda: in_days(365.0).timestamp()) as inventory:
        inventory.revoke("kitchen")
        home.mesh.list_revoked(inventory, home.authority)
    assert 0 < len(listed(home)) <= 5 * CERTIFICATES_A_MONTH_MAX  # of three months, and one for clocks that are behind
    assert home.mesh.revocation_room() > 0.9 * (revocation.CRL_BYTES_MAX - revocation.RESERVED_BYTES)
    home.joined("attic")
    (serial,) = home.mesh.revoke("attic", home.authority)
    assert serial in listed(home)


def test_what_has_expired_leaves_the_list_and_what_clocks_may_still_take_stays(home: Home) -> None:
    home.joined("kitchen")
    (serial,) = home.mesh.revoke("kitchen", home.authority)
    for days, there in ((89.0, True), (119.0, True), (121.0, False)):
        with home.mesh.inventory(clock=lambda days=days: in_days(days).timestamp()) as inventory:
            home.mesh.list_revoked(inventory, home.authority)
            assert not home.mesh.unlisted(inventory)
        assert (serial in listed(home)) is there, days


def test_a_full_list_goes_into_its_reserve_says_so_and_a_rotation_makes_room(home: Home) -> None:
    authority = MeshAuthority.open(home.mesh.folder)  # its numbers are invented: they stand in no ledger
    number = iter(range(2**120, 2**120 + 10_000))
    while home.mesh.revocation_room() >= 0:
        authority.revoke(next(number) for _ in range(200))
    home.joined("kitchen")
    (serial,) = home.mesh.revoke("kitchen", home.authority)
    assert serial in listed(home)
    assert home.mesh.revocation_room() < 0
    home.authority.rotate()  # the new list is empty, so that there is room for both
    home.authority.finish_rotation()
    assert not listed(home)
    assert home.mesh.revocation_room() > 0.9 * (revocation.CRL_BYTES_MAX - revocation.RESERVED_BYTES)
    with pytest.raises(ProvisioningError, match="the revocation list is full; rotate the CA"):
        home.authority.revoke(next(number) for _ in range(5_000))


# --- a mesh of before -------------------------------------------------------------------------------------------------


def as_of_version_1(path: Path) -> None:
    """Makes an inventory what the first edition wrote."""
    database = sqlite3.connect(path)
    database.executescript(
        """
        DROP VIEW device_rows;
        CREATE TABLE certificates (
            serial TEXT PRIMARY KEY, device_id TEXT NOT NULL REFERENCES devices, issued_at REAL NOT NULL,
            expires_at REAL NOT NULL, pem BLOB NOT NULL, revoked INTEGER NOT NULL
        );
        CREATE INDEX certificates_of_device ON certificates (device_id, issued_at);
        INSERT INTO certificates SELECT serial, name, issued_at, expires_at, pem, revoked FROM ledger
            WHERE kind = 'device';
        DROP TABLE ledger;
        CREATE VIEW device_rows AS
            SELECT d.*, c.serial, c.expires_at, k.expires_at AS claim_expires_at, k.public_key IS NOT NULL AS claim_used
            FROM devices d LEFT JOIN claims k USING (device_id) LEFT JOIN certificates c ON c.serial = (
                SELECT n.serial FROM certificates n WHERE n.device_id = d.device_id
                ORDER BY n.issued_at DESC, n.rowid DESC LIMIT 1
            );
        PRAGMA user_version = 1;
        """
    )
    database.close()


def test_an_inventory_of_the_first_edition_is_read_and_its_mesh_loses_nobody(home: Home) -> None:
    home.joined("kitchen")
    home.joined("attic")
    home.mesh.revoke("attic", home.authority)
    home.mesh.renew_broker(home.authority, ["hub.lan"])
    with home.mesh.inventory() as inventory:
        before = (inventory.devices(), inventory.certificates("kitchen"), inventory.certificates("attic"))
    as_of_version_1(home.mesh.inventory_file)
    with home.mesh.inventory() as inventory:
        assert (inventory.devices(), inventory.certificates("kitchen"), inventory.certificates("attic")) == before
        home.mesh.enter_known(inventory)
        kinds = {row.kind for row in inventory.ledger()}
        assert kinds == {CertificateKind.DEVICE, CertificateKind.OPERATOR, CertificateKind.BROKER}
    serial = serial_in(home.mesh.operator_certificate)
    assert serial is not None
    home.mesh.revoke_certificate(CertificateKind.OPERATOR, serial, home.authority)
    assert serial in listed(home)


def test_an_upgrade_that_fails_leaves_the_file_as_it_was(home: Home, tmp_path: Path) -> None:
    home.joined("kitchen")
    path = tmp_path / "inventory.sqlite3"
    shutil.copy(home.mesh.inventory_file, path)
    as_of_version_1(path)
    database = sqlite3.connect(path)
    database.execute("CREATE TABLE ledger (empty TEXT)")  # in the way
    database.close()
    with pytest.raises(ProvisioningError, match="can't be used"):
        Inventory(path)
    database = sqlite3.connect(path)
    assert database.execute("SELECT count(*) FROM certificates").fetchone() == (1,)
    assert database.execute("PRAGMA user_version").fetchone() == (1,)
    database.close()


def test_the_times_of_the_list_are_those_of_the_operator(home: Home) -> None:
    home.joined("kitchen")
    home.mesh.revoke("kitchen", home.authority)
    (crl,) = revocation.parse(read_file(home.mesh.crl_file))
    (entry,) = list(crl)
    assert abs(entry.revocation_date_utc - in_days(0.0)) < datetime.timedelta(hours=1)
    assert home.mesh.name == MESH
