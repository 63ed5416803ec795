"""The CA that phones trust: it certifies the servers of one mesh, and whoever steals it can certify nothing else."""

from __future__ import annotations

import contextlib
import ssl
from collections.abc import Sequence
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from edge_agent.tls import client_context
from provisioning import certificates as certs
from provisioning.authority import utc_now
from provisioning.certificates import WEB_LIFETIME, Identity
from provisioning.errors import ProvisioningError
from provisioning.web_authority import CLOCK_SKEW, WebAuthority
from tests.provisioning.home import Home

HOSTS = ["hub.lan", "10.0.0.7"]


def trusts(authority: bytes, shown: bytes, key: bytes, host: str, folder: Path) -> bool:
    """Whether who trusts this authority, and nobody else, takes this server for `host`; in memory, by OpenSSL."""
    (folder / "shown.pem").write_bytes(shown)
    (folder / "shown.key").write_bytes(key)
    serving = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    serving.load_cert_chain(folder / "shown.pem", folder / "shown.key")
    trusting = ssl.create_default_context(cadata=authority.decode())
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    client = trusting.wrap_bio(to_client, to_server, server_hostname=host)
    server = serving.wrap_bio(to_server, to_client, server_side=True)
    for _ in range(4):
        with contextlib.suppress(ssl.SSLWantReadError):
            server.do_handshake()
        try:
            client.do_handshake()
        except ssl.SSLWantReadError:
            continue
        except ssl.SSLCertVerificationError:
            return False
        return True
    raise AssertionError("the handshake came to no end")


def forged(web: WebAuthority, hosts: Sequence[str]) -> Identity:
    """What a thief of its key makes."""
    key, now = certs.new_key(), utc_now()
    certificate = certs.make_certificate(
        certs.web_subject(hosts), key.public_key(), web.certificate, web._key, now + WEB_LIFETIME, not_before=now
    )
    return Identity(certs.certificate_to_pem(certificate), certs.key_to_pem(key))


def test_a_page_of_its_hosts_is_trusted_and_a_thiefs_of_any_other_is_not(home: Home, tmp_path: Path) -> None:
    web = home.mesh.web_authority(home.authority, HOSTS)
    page = web.issue(HOSTS)
    for host in HOSTS:
        assert trusts(web.pem, page.certificate_pem, page.key_pem, host, tmp_path), host
    for host in ("bank.example", "hub.lan.example", "10.0.0.8", "8.8.8.8", "::1"):
        thief = forged(web, [host])
        assert not trusts(web.pem, thief.certificate_pem, thief.key_pem, host, tmp_path), host
        both = forged(web, [*HOSTS, host])
        assert not trusts(web.pem, both.certificate_pem, both.key_pem, host, tmp_path), host


def test_its_constraints_can_not_be_overlooked(home: Home) -> None:
    certificate = home.mesh.web_authority(home.authority, HOSTS).certificate
    constraints = certificate.extensions.get_extension_for_class(x509.NameConstraints)
    assert constraints.critical
    names = {type(name) for name in constraints.value.permitted_subtrees or ()}
    assert names == {x509.DNSName, x509.IPAddress}  # a kind without any permitted name would not be constrained


def test_addresses_are_constrained_also_where_there_are_only_names(home: Home, tmp_path: Path) -> None:
    web = home.mesh.web_authority(home.authority, ["hub.lan"])
    thief = forged(web, ["10.0.0.7"])
    assert not trusts(web.pem, thief.certificate_pem, thief.key_pem, "10.0.0.7", tmp_path)


def test_who_trusts_it_trusts_the_brokers_door_for_browsers_and_nothing_else_of_the_mesh(
    home: Home, tmp_path: Path
) -> None:
    home.mesh.renew_broker(home.authority, ["hub.lan", "127.0.0.1"])
    web = home.mesh.web_authority(home.authority, HOSTS)
    shown, key = home.mesh.broker_certificate.read_bytes(), home.mesh.broker_key.read_bytes()
    assert trusts(web.pem, shown, key, "hub.lan", tmp_path)
    assert trusts(home.mesh.ca_file.read_bytes(), shown, key, "hub.lan", tmp_path)  # devices know the mesh's own
    bridge = web.bridge(home.authority.bundle.newest)
    for host in ("bank.example", "kitchen.local", "10.9.9.9"):
        other = home.authority.issue_broker([host])
        assert not trusts(web.pem, other.certificate_pem + bridge, other.key_pem, host, tmp_path), host
        assert trusts(home.mesh.ca_file.read_bytes(), other.certificate_pem, other.key_pem, host, tmp_path)


def test_the_bridge_follows_a_renewed_broker_and_a_rotation(home: Home, tmp_path: Path) -> None:
    web = home.mesh.web_authority(home.authority, HOSTS)
    for step in (lambda: None, home.authority.rotate, home.authority.finish_rotation):
        step()
        home.mesh.renew_broker(home.authority, ["hub.lan"])
        shown, key = home.mesh.broker_certificate.read_bytes(), home.mesh.broker_key.read_bytes()
        assert trusts(web.pem, shown, key, "hub.lan", tmp_path)


def test_it_is_no_authority_for_members(home: Home, tmp_path: Path) -> None:
    web = home.mesh.web_authority(home.authority, HOSTS)
    key = certs.new_key()
    device = certs.make_certificate(
        certs.device_subject("kitchen"), key.public_key(), web.certificate, web._key, utc_now() + WEB_LIFETIME
    )
    assert home.mesh.bundle().issuer_of(device) is None
    with pytest.raises(ProvisioningError, match="not a CA of a mesh"):
        type(home.mesh.bundle()).parse(web.pem)
    client_context(str(home.mesh.ca_file), None, None, str(home.mesh.crl_file))


def test_other_hosts_are_refused_with_the_way_out_and_another_authority_takes_them(home: Home, tmp_path: Path) -> None:
    web = home.mesh.web_authority(home.authority, HOSTS)
    with pytest.raises(ProvisioningError, match=r"new\.lan is not among the hosts .*--new-ca makes another"):
        web.issue(["hub.lan", "new.lan"])
    assert home.mesh.web_authority(home.authority, ["new.lan"]).pem == web.pem
    another = home.mesh.web_authority(home.authority, ["new.lan"], anew=True)
    page = another.issue(["new.lan"])
    assert trusts(another.pem, page.certificate_pem, page.key_pem, "new.lan", tmp_path)
    assert not trusts(web.pem, page.certificate_pem, page.key_pem, "new.lan", tmp_path)


def test_its_certificates_are_ones_that_browsers_take(home: Home) -> None:
    page = x509.load_pem_x509_certificate(home.mesh.web_authority(home.authority, HOSTS).issue(HOSTS).certificate_pem)
    assert page.not_valid_after_utc - page.not_valid_before_utc == WEB_LIFETIME + CLOCK_SKEW


def test_its_key_is_encrypted_as_the_meshs_is(tmp_path: Path) -> None:
    home = Home(tmp_path, passphrase="three words long")
    home.mesh.web_authority(home.authority, HOSTS)
    content = (home.mesh.folder / "web-ca.key").read_bytes()
    assert b"ENCRYPTED" in content
    assert (home.mesh.folder / "web-ca.key").stat().st_mode & 0o777 == 0o600
    load_pem_private_key(content, b"three words long")
