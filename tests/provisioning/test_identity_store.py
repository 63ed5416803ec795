"""The device's disk: what it takes, what it refuses, and what a kill in the middle leaves."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from edge_agent.wire.topics import Channel
from provisioning.authority import MeshAuthority
from provisioning.certificates import Identity
from provisioning.errors import ProvisioningError
from provisioning.identity_store import IdentityStore
from provisioning.messages import CertificateIssued, TrustUpdate
from tests.provisioning.home import MESH, Home


@pytest.fixture
def store(home: Home) -> IdentityStore:
    return home.joined("kitchen")


def renewed(home: Home, store: IdentityStore) -> CertificateIssued:
    issued = home.answer(store.device_id, Channel.RENEWALS, store.renewal_request())
    assert isinstance(issued, CertificateIssued)
    return issued


def test_files_with_keys_are_the_owners_alone(home: Home, store: IdentityStore) -> None:
    issued = renewed(home, store)
    assert (store.folder / "pending.key").stat().st_mode & 0o777 == 0o600
    store.accept(issued)
    assert store.folder.stat().st_mode & 0o777 == 0o700
    for name in ("identity.pem", "previous.pem"):
        assert (store.folder / name).stat().st_mode & 0o777 == 0o600, name


def test_a_key_asked_for_with_survives_a_restart_and_is_new_for_the_next(home: Home, store: IdentityStore) -> None:
    store.renewal_request()
    pending = (store.folder / "pending.key").read_bytes()
    again = IdentityStore(store.folder, MESH, "kitchen")
    issued = renewed(home, again)
    assert (store.folder / "pending.key").read_bytes() == pending
    again.accept(issued)
    (store.folder / "pending.key").write_bytes(pending)  # killed before it was removed
    again.renewal_request()
    assert (store.folder / "pending.key").read_bytes() != pending


def test_a_certificate_of_another_authority_is_refused_and_the_old_stays(home: Home, tmp_path: Path) -> None:
    store = home.joined("kitchen")
    before = store.certificate()
    issued = renewed(home, store)
    stranger = MeshAuthority.create(tmp_path / "stranger", MESH)
    csr = store.renewal_request().csr.encode()
    foreign = stranger.sign_device(csr, "kitchen").decode()
    with pytest.raises(ProvisioningError, match="signed by a CA that this device does not trust"):
        store.accept(replace(issued, certificate=foreign))
    with pytest.raises(ProvisioningError, match="trust bundle is not signed by a CA of this mesh"):
        store.accept(
            replace(
                issued,
                certificate=foreign,
                bundle=stranger.bundle_pem.decode(),
                bundle_signatures=stranger.sign_bundle(),
            )
        )
    assert store.certificate() == before
    assert store.bundle().pem == home.authority.bundle_pem


def test_a_certificate_for_another_name_or_key_is_refused(home: Home, store: IdentityStore) -> None:
    issued = renewed(home, store)
    for other, reason in (("garage", "not for kitchen of mesh home"), ("kitchen", "for another key")):
        certificate = home.authority.issue_device(other).certificate_pem.decode()
        with pytest.raises(ProvisioningError, match=reason):
            store.accept(replace(issued, certificate=certificate))


def test_an_identity_from_a_seed_is_taken_once_and_must_be_whole(home: Home) -> None:
    store = home.store("kitchen")
    first, second = home.authority.issue_device("kitchen"), home.authority.issue_device("kitchen")
    with pytest.raises(ProvisioningError, match="for another key"):
        store.adopt(Identity(first.certificate_pem, second.key_pem))
    assert store.certificate() is None
    store.adopt(first)
    store.adopt(second)
    assert store.identity_file.read_bytes() == first.combined_pem


def test_a_trust_update_that_would_lock_the_device_out_is_not_taken(home: Home, store: IdentityStore) -> None:
    home.authority.rotate()
    both = TrustUpdate(home.authority.bundle_pem.decode(), home.authority.sign_bundle())
    assert store.take_bundle(both)
    assert not store.take_bundle(both)
    home.authority.finish_rotation()
    last = TrustUpdate(home.authority.bundle_pem.decode(), home.authority.sign_bundle())
    with pytest.raises(ProvisioningError, match="renew first"):
        store.take_bundle(last)


def test_a_revocation_list_is_taken_if_it_is_newer_and_of_this_mesh(home: Home, store: IdentityStore) -> None:
    first = home.authority.revoke([5]).decode()
    second = home.authority.revoke([6]).decode()
    assert store.take_crl(second)
    assert not store.take_crl(first)
    assert not store.take_crl(second)
    stranger = MeshAuthority.create(home.folder / "stranger", MESH)
    with pytest.raises(ProvisioningError, match="not signed by a CA of this mesh"):
        store.take_crl(stranger.revoke([7]).decode())
    assert store.crl_file.read_text() == second
