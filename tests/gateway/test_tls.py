"""HTTPS with files that change while it is served."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl
from pathlib import Path

import pytest
from cryptography import x509

from edge_agent.core.errors import SettingsError
from edge_agent.gateway.options import GatewayOptions
from edge_agent.gateway.server import _listen
from edge_agent.gateway.tls import ServerTls
from provisioning.authority import Identity, MeshAuthority
from tests.support.patience import PATIENCE_S
from tests.support.polling import until


def write(folder: Path, identity: Identity) -> tuple[Path, Path]:
    cert, key = folder / "cert.pem", folder / "key.pem"
    cert.write_bytes(identity.certificate_pem)
    key.write_bytes(identity.key_pem)
    return cert, key


def serial(identity: Identity) -> int:
    return x509.load_pem_x509_certificate(identity.certificate_pem).serial_number


async def shown(port: int, ca: Path) -> int:
    """The serial number of the certificate that a new connection is shown."""
    trusted = ssl.create_default_context(cafile=str(ca))
    _, writer = await asyncio.open_connection("localhost", port, ssl=trusted)
    connection = writer.get_extra_info("ssl_object")
    found = x509.load_der_x509_certificate(connection.getpeercert(binary_form=True))
    writer.close()
    with contextlib.suppress(OSError, ssl.SSLError):
        await writer.wait_closed()
    return found.serial_number


async def test_a_renewed_certificate_counts_from_the_next_connection_and_a_damaged_one_never(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    authority = MeshAuthority.create(tmp_path / "ca", "home")
    first, second = (authority.issue_broker(["localhost"]) for _ in range(2))
    tls = ServerTls(*write(tmp_path, first))

    async def hang_up(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.close()

    server = await asyncio.start_server(hang_up, "localhost", 0, ssl=tls.context)
    port = server.sockets[0].getsockname()[1]
    following = asyncio.create_task(tls.follow(every_s=0.01))
    try:
        ca = tmp_path / "ca" / "ca.pem"
        assert await shown(port, ca) == serial(first)
        (tmp_path / "cert.pem").write_text("half of a certificate")
        await until(lambda: "the previous certificate stays in use" in caplog.text, "the damage is said")
        assert await shown(port, ca) == serial(first)
        write(tmp_path, second)
        async with asyncio.timeout(PATIENCE_S):
            while await shown(port, ca) != serial(second):  # noqa: ASYNC110 - only a new connection tells
                await asyncio.sleep(0.02)
    finally:
        following.cancel()
        server.close()


def test_files_that_do_not_fit_each_other_are_said_in_one_line(tmp_path: Path) -> None:
    authority = MeshAuthority.create(tmp_path / "ca", "home")
    cert, key = write(tmp_path, authority.issue_broker(["localhost"]))
    key.write_bytes(authority.issue_broker(["localhost"]).key_pem)
    with pytest.raises(SettingsError, match="HTTPS") as caught:
        ServerTls(cert, key)
    assert "\n" not in str(caught.value)
    with pytest.raises(SettingsError, match="No such file"):
        ServerTls(cert, tmp_path / "missing")


async def test_connections_do_not_wait_for_acknowledgements(tmp_path: Path) -> None:
    """Without TCP_NODELAY each answer over a kept connection takes 40 ms longer."""
    seen: list[int] = []

    async def look(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        seen.append(writer.get_extra_info("socket").getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY))
        writer.close()

    listener = _listen(GatewayOptions("mqtt://h", "home", tmp_path / "keys", port=0))
    server = await asyncio.start_server(look, sock=listener)
    reader, writer = await asyncio.open_connection(*listener.getsockname())
    await reader.read()
    writer.close()
    server.close()
    assert seen == [1]
