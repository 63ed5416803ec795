"""A mesh's web CA: a page that whoever trusts it takes for genuine."""

from __future__ import annotations

import asyncio
import datetime
import ssl
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.x509.oid import ExtendedKeyUsageOID

from edge_agent.core.errors import SettingsError
from edge_agent.operator.web_certificates import WebServer, issue_web_server, web_ca
from provisioning.errors import ProvisioningError
from provisioning.mesh import MeshFolder, MeshSettings

SPAN_MAX = datetime.timedelta(days=398)  # phones and browsers take no server certificate for longer


@pytest.fixture
def mesh(tmp_path: Path) -> MeshFolder:
    return MeshFolder.create(tmp_path / "home", MeshSettings("home", ("mqtts://hub.lan:8883",)))


@pytest.fixture
def made(mesh: MeshFolder, tmp_path: Path) -> WebServer:
    return issue_web_server(mesh, mesh.authority, ("app.lan", "10.1.2.3"), tmp_path / "tls")


def test_a_server_certificate_is_one_that_browsers_take_and_no_client_s(made: WebServer) -> None:
    assert {"app.lan", "10.1.2.3", "hub.lan", "localhost", "127.0.0.1"} <= set(made.hosts)
    assert made.key.stat().st_mode & 0o777 == 0o600
    certificate = x509.load_pem_x509_certificate(made.certificate.read_bytes())
    assert certificate.not_valid_after_utc - certificate.not_valid_before_utc <= SPAN_MAX
    usage = certificate.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    assert list(usage) == [ExtendedKeyUsageOID.SERVER_AUTH]


async def test_who_trusts_the_authority_trusts_the_page_by_each_of_its_names(mesh: MeshFolder, made: WebServer) -> None:
    serving = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    serving.load_cert_chain(made.certificate, made.key)
    trusting = ssl.create_default_context(cadata=web_ca(mesh, lambda: pytest.fail("it is there")).decode())
    async with await asyncio.start_server(lambda _, writer: writer.close(), "127.0.0.1", 0, ssl=serving) as server:
        port = server.sockets[0].getsockname()[1]
        for name in ("app.lan", "10.1.2.3", "localhost"):
            _, writer = await asyncio.open_connection("127.0.0.1", port, ssl=trusting, server_hostname=name)
            writer.close()
        with pytest.raises(ssl.SSLCertVerificationError):
            await asyncio.open_connection("127.0.0.1", port, ssl=trusting, server_hostname="other.lan")


def test_a_host_that_the_web_ca_is_not_for_wants_another_one(mesh: MeshFolder, made: WebServer, tmp_path: Path) -> None:
    before = web_ca(mesh, mesh.authority)
    with pytest.raises(ProvisioningError, match="--new-ca"):
        issue_web_server(mesh, mesh.authority, ("new.lan",), tmp_path / "new")
    assert not (tmp_path / "new").exists()
    assert "new.lan" in issue_web_server(mesh, mesh.authority, ("new.lan",), tmp_path / "new", new_ca=True).hosts
    assert web_ca(mesh, mesh.authority) != before
    with pytest.raises(SettingsError, match="b@d"):
        issue_web_server(mesh, mesh.authority, ("b@d",), tmp_path / "new")
