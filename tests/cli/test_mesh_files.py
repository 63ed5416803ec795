"""`moamesh mesh ca` and `server-cert`: a page that whoever trusts the mesh's authority takes for genuine."""

from __future__ import annotations

import asyncio
import datetime
import json
import ssl
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.x509.oid import ExtendedKeyUsageOID
from typer.testing import CliRunner

from edge_agent.cli.main import app

SPAN_MAX = datetime.timedelta(days=398)  # phones and browsers take no server certificate for longer


@pytest.fixture(autouse=True)
def mesh(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MOAMESH_HOME", str(tmp_path))
    run("mesh", "create", "home", "--broker", "mqtts://hub.lan:8883")


def run(*arguments: str) -> str:
    result = CliRunner().invoke(app, arguments)
    assert result.exit_code == 0, result.stderr
    return result.stdout


def test_the_authority_is_printed_or_written_and_holds_no_key(tmp_path: Path) -> None:
    printed = run("mesh", "ca")
    assert x509.load_pem_x509_certificate(printed.encode())
    assert "PRIVATE" not in printed
    said = run("mesh", "ca", "home", "--output", str(tmp_path / "ca.crt"))
    assert (tmp_path / "ca.crt").read_text() == printed
    assert "Android" in said


@pytest.fixture
def made(tmp_path: Path) -> dict[str, Any]:
    names = ("--name", "app.lan", "--name", "10.1.2.3")
    return dict(json.loads(run("mesh", "server-cert", *names, "-o", str(tmp_path / "tls"), "--json")))


def test_a_server_certificate_is_one_that_browsers_take_and_no_client_s(made: dict[str, Any]) -> None:
    assert {"app.lan", "10.1.2.3", "hub.lan", "localhost", "127.0.0.1"} <= set(made["hosts"])
    assert Path(made["key"]).stat().st_mode & 0o777 == 0o600
    certificate = x509.load_pem_x509_certificate(Path(made["certificate"]).read_bytes())
    assert certificate.not_valid_after_utc - certificate.not_valid_before_utc <= SPAN_MAX
    usage = certificate.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    assert list(usage) == [ExtendedKeyUsageOID.SERVER_AUTH]


async def test_who_trusts_the_authority_trusts_the_page_by_each_of_its_names(made: dict[str, Any]) -> None:
    serving = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    serving.load_cert_chain(made["certificate"], made["key"])
    trusting = ssl.create_default_context(cadata=run("mesh", "ca"))
    async with await asyncio.start_server(lambda _, writer: writer.close(), "127.0.0.1", 0, ssl=serving) as server:
        port = server.sockets[0].getsockname()[1]
        for name in ("app.lan", "10.1.2.3", "localhost"):
            _, writer = await asyncio.open_connection("127.0.0.1", port, ssl=trusting, server_hostname=name)
            writer.close()
        with pytest.raises(ssl.SSLCertVerificationError):
            await asyncio.open_connection("127.0.0.1", port, ssl=trusting, server_hostname="other.lan")
