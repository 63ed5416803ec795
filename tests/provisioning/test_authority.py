from __future__ import annotations

import datetime
import os
import subprocess
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID

from provisioning import revocation
from provisioning.authority import Identity, MeshAuthority
from provisioning.certificates import RESERVED_IDS, certificates_from_pem, make_csr, new_key
from provisioning.errors import ProvisioningError
from provisioning.mesh import MeshFolder, MeshSettings
from provisioning.trust import TrustBundle

NOW = datetime.datetime(2026, 11, 24, tzinfo=datetime.UTC)


@pytest.fixture
def authority(tmp_path: Path) -> MeshAuthority:
    return MeshAuthority.create(tmp_path / "ca", "home", now=lambda: NOW)


def uses(identity: Identity) -> set[x509.ObjectIdentifier]:
    extensions = certificates_from_pem(identity.certificate_pem)[0].extensions
    return set(extensions.get_extension_for_class(x509.ExtendedKeyUsage).value)


def test_a_device_may_be_client_and_server_the_operator_only_client_a_broker_only_server(
    authority: MeshAuthority,
) -> None:
    client, server = ExtendedKeyUsageOID.CLIENT_AUTH, ExtendedKeyUsageOID.SERVER_AUTH
    assert uses(authority.issue_device("kitchen")) == {client, server}
    assert uses(authority.issue_operator()) == {client}
    assert uses(authority.issue_broker(["localhost"])) == {server}


def test_a_device_certificate_names_the_device_its_mesh_and_its_addresses(authority: MeshAuthority) -> None:
    certificate = certificates_from_pem(authority.issue_device("kitchen", ["10.0.0.7"]).certificate_pem)[0]
    assert certificate.subject.rfc4514_string() == "CN=kitchen,OU=device,O=home"
    names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert names.get_values_for_type(x509.DNSName) == ["kitchen", "kitchen.local"]
    assert [str(address) for address in names.get_values_for_type(x509.IPAddress)] == ["10.0.0.7"]
    assert certificate.not_valid_before_utc.year == 1970
    assert certificate.not_valid_after_utc == NOW + datetime.timedelta(days=90)


def test_what_a_request_asks_beyond_its_name_is_not_granted(authority: MeshAuthority) -> None:
    key = new_key()
    plain = x509.load_pem_x509_csr(make_csr(key, "home", "kitchen"))
    greedy = (
        x509.CertificateSigningRequestBuilder()
        .subject_name(plain.subject)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("broker.example")]), critical=False)
        .sign(key, hashes.SHA256())
    )
    from cryptography.hazmat.primitives.serialization import Encoding

    certificate = certificates_from_pem(authority.sign_device(greedy.public_bytes(Encoding.PEM), "kitchen"))[0]
    assert not certificate.extensions.get_extension_for_class(x509.BasicConstraints).value.ca
    assert "broker.example" not in str(certificate.extensions)


@pytest.mark.parametrize("name", [*sorted(RESERVED_IDS), "", "Kitchen", "a" * 65, "a.b", "a\n"])
def test_names_that_mean_somebody_else_or_nobody_are_refused(authority: MeshAuthority, name: str) -> None:
    with pytest.raises(ProvisioningError):
        authority.issue_device(name)


def test_a_request_of_another_name_mesh_or_curve_or_a_damaged_one_is_refused(authority: MeshAuthority) -> None:
    good = make_csr(new_key(), "home", "kitchen")
    with pytest.raises(ProvisioningError, match="another device, not garage's"):
        authority.sign_device(good, "garage")
    with pytest.raises(ProvisioningError, match="another mesh"):
        authority.sign_device(make_csr(new_key(), "work", "kitchen"), "kitchen")
    other_curve = ec.generate_private_key(ec.SECP384R1())
    with pytest.raises(ProvisioningError, match="not ECDSA P-256"):
        authority.sign_device(make_csr(other_curve, "home", "kitchen"), "kitchen")
    for damaged in (b"", good[:200], good.replace(good[80:84], b"AAAA"), b"x" * 10_000):
        with pytest.raises(ProvisioningError, match=r"certificate request is (damaged|not signed|too large)"):
            authority.sign_device(damaged, "kitchen")


def test_key_files_are_the_owners_alone_whatever_the_umask(tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        mesh = MeshFolder.create(tmp_path / "meshes" / "home", MeshSettings("home"))
    finally:
        os.umask(before)
    assert mesh.folder.stat().st_mode & 0o777 == 0o700
    for name in ("ca.key", "operator.key", "inventory.sqlite3", "mesh.toml"):
        assert (mesh.folder / name).stat().st_mode & 0o777 == 0o600, name


def test_a_key_with_a_passphrase_opens_with_it_alone(tmp_path: Path) -> None:
    MeshAuthority.create(tmp_path / "ca", "home", passphrase="three words long")
    assert b"ENCRYPTED" in (tmp_path / "ca" / "ca.key").read_bytes()
    opened = MeshAuthority.open(tmp_path / "ca", passphrase="three words long")
    opened.rotate()
    assert (tmp_path / "ca" / "ca.key").read_bytes().count(b"ENCRYPTED PRIVATE KEY") == 4
    assert MeshAuthority.open(tmp_path / "ca", passphrase="three words long").bundle.number == 3
    with pytest.raises(ProvisioningError, match="passphrase is wrong"):
        MeshAuthority.open(tmp_path / "ca", passphrase="another")
    with pytest.raises(ProvisioningError, match="encrypted: give its passphrase"):
        MeshAuthority.open(tmp_path / "ca")


def test_there_is_one_authority_in_a_folder_and_its_key_is_its_own(tmp_path: Path, authority: MeshAuthority) -> None:
    with pytest.raises(ProvisioningError, match="exists already"):
        MeshAuthority.create(authority.folder, "home")
    other = MeshAuthority.create(tmp_path / "other", "home")
    (authority.folder / "ca.key").write_bytes((other.folder / "ca.key").read_bytes())
    with pytest.raises(ProvisioningError, match="does not belong to"):
        MeshAuthority.open(authority.folder)


def test_revocation_adds_up_and_its_number_rises_also_after_the_file_was_lost(authority: MeshAuthority) -> None:
    first = authority.revoke([5])
    second = authority.revoke([7])
    assert revocation.serials_in(second) == {5, 7}
    bundle = authority.bundle
    assert revocation.number_in(second, bundle) > revocation.number_in(first, bundle)
    assert revocation.newer(first, second, bundle) == second
    assert revocation.newer(second, first, bundle) is None
    (authority.folder / "crl.pem").unlink()
    later = MeshAuthority.open(authority.folder, now=lambda: NOW + datetime.timedelta(seconds=5))
    assert revocation.newer(second, later.revoke([5, 7, 9]), bundle) is not None


def test_a_revocation_list_of_another_authority_is_refused(tmp_path: Path, authority: MeshAuthority) -> None:
    other = MeshAuthority.create(tmp_path / "other", "home")
    with pytest.raises(ProvisioningError, match="not signed by a CA of this mesh"):
        revocation.newer(b"", other.revoke([5]), authority.bundle)


def test_trust_follows_a_rotation_and_nothing_else(tmp_path: Path, authority: MeshAuthority) -> None:
    old = authority.bundle
    authority.rotate()
    both, signatures = authority.bundle, authority.sign_bundle()
    authority.finish_rotation()
    new, last = authority.bundle, authority.sign_bundle()
    assert [bundle.number for bundle in (old, both, new)] == [2, 3, 4]
    assert old.updated(both, signatures) is both
    assert both.updated(new, last) is new
    assert new.updated(both, signatures) is new  # an old one that somebody sends again
    with pytest.raises(ProvisioningError, match="not signed by a CA of this mesh that is trusted here"):
        old.updated(new, last)  # it slept through the whole rotation
    stranger = MeshAuthority.create(tmp_path / "stranger", "home")
    stranger.rotate()
    with pytest.raises(ProvisioningError, match="not signed by a CA of this mesh"):
        old.updated(stranger.bundle, stranger.sign_bundle())
    with pytest.raises(ProvisioningError, match="of mesh work, not home"):
        old.updated(MeshAuthority.create(tmp_path / "work", "work").bundle, ())
    with pytest.raises(ProvisioningError, match="not a CA"):
        TrustBundle.parse(authority.issue_device("kitchen").certificate_pem)


def test_in_a_rotation_members_get_the_new_authority_and_brokers_the_old(authority: MeshAuthority) -> None:
    authority.rotate()
    bundle = authority.bundle
    device = certificates_from_pem(authority.issue_device("kitchen").certificate_pem)[0]
    broker = certificates_from_pem(authority.issue_broker(["localhost"]).certificate_pem)[0]
    assert bundle.issuer_of(device) is bundle.newest
    assert bundle.issuer_of(broker) is bundle.oldest
    assert len(revocation.parse(authority.revoke([5]))) == 2
    with pytest.raises(ProvisioningError, match="a rotation is under way"):
        authority.rotate()


def test_a_revoked_certificate_is_refused_by_openssl(authority: MeshAuthority, tmp_path: Path) -> None:
    identity = authority.issue_device("kitchen")
    (tmp_path / "kitchen.pem").write_bytes(identity.certificate_pem)
    authority.revoke([certificates_from_pem(identity.certificate_pem)[0].serial_number])
    command = ["openssl", "verify", "-crl_check", "-CRLfile", authority.folder / "crl.pem"]
    command += ["-CAfile", authority.folder / "ca.pem", tmp_path / "kitchen.pem"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert "certificate revoked" in done.stderr


def test_keys_and_secrets_do_not_show_in_a_repr(authority: MeshAuthority) -> None:
    identity = authority.issue_device("kitchen")
    assert b"PRIVATE" in identity.key_pem
    assert "PRIVATE" not in repr(identity)
