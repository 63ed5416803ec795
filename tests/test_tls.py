"""Every PEM file x every damage, for everybody who opens TLS: one line with the file and the reason."""

from __future__ import annotations

import asyncio
import datetime
import socket
import ssl
import subprocess
import sys
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec
from typer.testing import CliRunner

from broker.mosquitto_files import BrokerFilesError, ServerFiles
from edge_agent.cli.main import app
from edge_agent.config import load_config
from edge_agent.core.errors import SettingsError
from edge_agent.gateway.tls import ServerTls
from edge_agent.mqtt import TlsFiles, explain
from edge_agent.runtime.assemble import make_transport
from edge_agent.runtime.home import Home
from edge_agent.tls import TlsFileError, check_authorities, client_context, out_of_date, say
from provisioning import certificates as certs
from provisioning.link import LinkError
from provisioning.mqtt_link import BrokerAccess, mqtt_connect
from tests.support.patience import PATIENCE_S
from tests.support.secured import SecuredMesh

NOW = datetime.datetime.now(datetime.UTC)
DAY = datetime.timedelta(days=1)


@dataclass
class Files:
    ca: Path
    certificate: Path
    key: Path
    crl: Path
    other_key: Path


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> SecuredMesh:
    return SecuredMesh(tmp_path_factory.mktemp("mesh"))


@pytest.fixture
def files(made: SecuredMesh, tmp_path: Path) -> Files:
    credentials, other = made.server, made.device("kitchen")
    assert credentials.certificate is not None
    assert credentials.key is not None
    assert other.key is not None
    copies = {
        "ca": made.ca,
        "certificate": credentials.certificate,
        "key": credentials.key,
        "crl": made.crl,
        "other_key": other.key,
    }
    for name, path in copies.items():
        (tmp_path / f"{name}.pem").write_bytes(path.read_bytes())
    return Files(*(tmp_path / f"{name}.pem" for name in copies))


def encrypted(pem: bytes) -> bytes:
    key = serialization.load_pem_private_key(pem, None)
    best = serialization.BestAvailableEncryption(b"secret")
    return key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, best)


def damaged(pem: bytes) -> bytes:
    at = pem.index(b"\n", 30) + 20
    return pem[:at] + bytes(reversed(pem[at : at + 24])) + pem[at + 24 :]


def as_der(pem: bytes) -> bytes:
    if b"PRIVATE KEY" in pem:
        key = serialization.load_pem_private_key(pem, None)
        return key.private_bytes(
            serialization.Encoding.DER, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
    if b"X509 CRL" in pem:
        return x509.load_pem_x509_crl(pem).public_bytes(serialization.Encoding.DER)
    return x509.load_pem_x509_certificate(pem).public_bytes(serialization.Encoding.DER)


DAMAGES = {
    "empty": lambda pem: b"",
    "blank": lambda pem: b"\n \n",
    "NULs": lambda pem: b"\0" * len(pem),
    "half": lambda pem: pem[: len(pem) // 2],
    "damaged": damaged,
    "DER": as_der,
    "text": lambda pem: b"hello\n",
}
SAID = {
    "empty": "is empty",
    "blank": "is empty",
    "NULs": "contains only zero bytes, as after a power cut",
    "half": "is cut off or damaged",
    "damaged": "damaged",
    "DER": "is DER or PKCS#12, not PEM",
    "text": "is not PEM",
    "folder": "a folder stands in its place",
    "link": "a link to a file that is not there",
    "large": "larger than",
}


def spoil(path: Path, damage: str) -> None:
    content = path.read_bytes()
    path.unlink()
    if damage == "folder":
        path.mkdir()
    elif damage == "link":
        path.symlink_to(path.with_name("gone"))
    elif damage == "large":
        with path.open("wb") as file:
            file.truncate(5 * 1024 * 1024)
    else:
        path.write_bytes(DAMAGES[damage](content))


def open_all(files: Files) -> None:
    client_context(str(files.ca), str(files.certificate), str(files.key), str(files.crl))


@pytest.mark.parametrize("damage", SAID)
@pytest.mark.parametrize("which", ["ca", "certificate", "key", "crl"])
def test_every_damage_of_every_file_is_one_line_with_file_and_reason(which: str, damage: str, files: Files) -> None:
    open_all(files)
    path: Path = getattr(files, which)
    spoil(path, damage)
    with pytest.raises(TlsFileError) as caught:
        open_all(files)
    line = str(caught.value)
    assert line.startswith(f"{path}: ")
    assert SAID[damage] in line
    assert line.isprintable()
    assert line.count(str(path)) == 1


def test_a_file_of_another_kind_is_told(files: Files) -> None:
    for change, said in (
        ({"ca": files.key}, "holds no certificate"),
        ({"certificate": files.key}, "holds no certificate"),
        ({"key": files.certificate}, "contains no private key"),
        ({"crl": files.ca}, "holds no revocation list"),
        ({"key": files.other_key}, f"its key does not belong to the certificate in {files.certificate}"),
    ):
        with pytest.raises(TlsFileError, match=said):
            open_all(Files(**{**vars(files), **change}))


def test_an_encrypted_key_is_refused_and_no_terminal_is_asked(files: Files) -> None:
    files.key.write_bytes(encrypted(files.key.read_bytes()))
    with pytest.raises(TlsFileError, match="its private key is encrypted"):
        open_all(files)


def test_a_missing_revocation_list_is_none_yet_but_an_unreadable_one_is_refused(files: Files) -> None:
    client_context(str(files.ca), None, None, str(files.crl.with_name("none")))
    files.crl.unlink()
    files.crl.mkdir()
    with pytest.raises(TlsFileError, match="a folder stands in its place"):
        client_context(str(files.ca), None, None, str(files.crl))


# --- whoever opens TLS ------------------------------------------------------------------------------------------------


def by_command(files: Files) -> str:
    options = ("--ca-file", files.ca, "--cert-file", files.certificate, "--key-file", files.key)
    result = CliRunner().invoke(app, ["status", "--broker", "mqtts://127.0.0.1:1", *map(str, options)])
    assert result.exit_code == 2
    return result.stderr.removeprefix("moamesh: ").removesuffix("\n")


def by_device(files: Files) -> str:
    settings = files.ca.with_name("agent.toml")
    names = {"ca_file": files.ca, "cert_file": files.certificate, "key_file": files.key, "crl_file": files.crl}
    settings.write_text(
        '[device]\nid = "kitchen"\n[broker]\nurls = ["mqtts://127.0.0.1:1"]\n'
        + "".join(f'{key} = "{path}"\n' for key, path in names.items())
    )
    with pytest.raises(SettingsError) as caught:
        make_transport(load_config(settings), Home("mqtts://127.0.0.1:1", "mqtts://127.0.0.1:1"))
    return str(caught.value)


def by_own_broker(files: Files) -> str:
    with pytest.raises(BrokerFilesError) as caught:
        ServerFiles(files.certificate, files.key, files.ca, files.crl).read()
    return str(caught.value)


def by_gateway(files: Files) -> str:
    with pytest.raises(SettingsError) as caught:
        ServerTls(files.certificate, files.key)
    return str(caught.value)


def by_claim_or_renewal(files: Files) -> str:
    access = BrokerAccess("mqtts://127.0.0.1:1", "x", files.ca, files.certificate, files.key, crl_file=files.crl)

    async def connect() -> str:
        with pytest.raises(LinkError) as caught:
            async with mqtt_connect(access)():
                pass
        return str(caught.value)

    return asyncio.run(connect())


OPENERS = {
    by_command: ("ca", "certificate", "key"),
    by_device: ("ca", "certificate", "key", "crl"),
    by_own_broker: ("ca", "certificate", "key", "crl"),
    by_gateway: ("certificate", "key"),
    by_claim_or_renewal: ("ca", "certificate", "key", "crl"),
}


@pytest.mark.parametrize("opener", OPENERS, ids=lambda opener: opener.__name__)
def test_whoever_opens_tls_names_the_file_once(opener, made: SecuredMesh, files: Files) -> None:  # type: ignore[no-untyped-def]  # a parameter
    for which in OPENERS[opener]:
        path: Path = getattr(files, which)
        before = path.read_bytes()
        for damage in ("empty", "half", "damaged", "DER"):
            path.write_bytes(DAMAGES[damage](before))
            line = opener(files)
            assert line.count(str(path)) == 1, (which, damage, line)
            assert line.isprintable(), (which, damage, line)
        path.write_bytes(before)
    if "key" in OPENERS[opener]:
        files.key.write_bytes(encrypted(files.key.read_bytes()))
        assert "encrypted" in opener(files)


# --- clocks -----------------------------------------------------------------------------------------------------------


@pytest.fixture
def server_of(made: SecuredMesh, tmp_path: Path) -> Iterator[object]:
    """Serves one TLS handshake after another with a certificate good from and until given times."""
    listeners: list[socket.socket] = []

    def serve(begins: datetime.datetime, ends: datetime.datetime) -> int:
        key = certs.new_key()
        authority = made.authority
        certificate = certs.make_certificate(
            certs.broker_subject(["localhost", "127.0.0.1"]),
            key.public_key(),
            authority.bundle.oldest,
            authority._key_of(authority.bundle.oldest),
            ends,
            not_before=begins,
        )
        path = tmp_path / "served.pem"
        path.write_bytes(certs.certificate_to_pem(certificate) + certs.key_to_pem(key))
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(path)
        listener = socket.create_server(("127.0.0.1", 0))
        listeners.append(listener)

        def run() -> None:
            while True:
                try:
                    accepted, _ = listener.accept()
                except OSError:
                    return
                try:
                    context.wrap_socket(accepted, server_side=True).close()
                except OSError:
                    accepted.close()

        threading.Thread(target=run, daemon=True).start()
        return int(listener.getsockname()[1])

    yield serve
    for listener in listeners:
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()


@pytest.mark.parametrize(
    ("begins", "ends", "said"),
    [
        (NOW + 20 * DAY, NOW + 40 * DAY, "not good yet by this machine's clock, which says"),
        (NOW - 40 * DAY, NOW - 20 * DAY, "no longer good by this machine's clock, which says"),
    ],
    ids=["clock behind", "clock ahead"],
)
def test_a_wrong_clock_is_named_and_not_the_address(begins, ends, said, server_of, made: SecuredMesh) -> None:  # type: ignore[no-untyped-def]  # parameters
    port = server_of(begins, ends)
    files = TlsFiles(ca=str(made.ca))
    context = client_context(files.ca, None, None, None)
    with pytest.raises(ssl.SSLError) as caught, socket.create_connection(("127.0.0.1", port)) as plain:
        context.wrap_socket(plain, server_hostname="127.0.0.1")
    for line in (explain(caught.value, files).detail, say(Exception(str(caught.value)), ca=files.ca)):
        assert said in line
        assert f"{NOW:%Y-%m-}" in line
        assert "set the clock" in line
        assert "use a name in the certificate" not in line
    result = CliRunner().invoke(app, ["status", "--broker", f"mqtts://127.0.0.1:{port}", "--ca-file", str(made.ca)])
    assert (result.exit_code, said in result.stderr, result.stderr.count("\n")) == (2, True, 1), result.output
    link = asyncio.run(_link(f"mqtts://127.0.0.1:{port}", made.ca))
    assert said in link
    result = CliRunner().invoke(app, ["telemetry", "check", f"https://127.0.0.1:{port}", "--ca-file", str(made.ca)])
    assert said in result.output.replace("\n", " "), result.output


async def _link(url: str, ca: Path) -> str:
    with pytest.raises(LinkError) as caught:
        async with mqtt_connect(BrokerAccess(url, "x", ca))():
            pass
    return str(caught.value)


def test_our_own_certificate_out_of_date_is_told_with_both_times(made: SecuredMesh, tmp_path: Path) -> None:
    authority = made.authority
    key = ec.generate_private_key(ec.SECP256R1())
    path = tmp_path / "own.pem"
    for begins, ends, said in (
        (NOW - 2 * DAY, NOW - DAY, f"good until {NOW - DAY:%Y-%m-%d %H:%M}"),
        (NOW + DAY, NOW + 2 * DAY, f"good from {NOW + DAY:%Y-%m-%d %H:%M} on"),
        (datetime.datetime(1949, 5, 1, tzinfo=datetime.UTC), NOW + 30_000 * DAY, ""),
    ):
        certificate = certs.make_certificate(
            certs.device_subject("kitchen", ()),
            key.public_key(),
            authority.bundle.newest,
            authority._key_of(authority.bundle.newest),
            ends,
            not_before=max(begins, datetime.datetime(1950, 1, 1, tzinfo=datetime.UTC)),
        )
        path.write_bytes(certs.certificate_to_pem(certificate))
        line = out_of_date(path, NOW)
        assert said in line
        assert bool(line) == bool(said)
        assert line.isprintable()
    assert out_of_date(tmp_path / "none.pem", NOW) == ""


def test_a_real_authority_of_the_system_is_read() -> None:
    paths = ssl.get_default_verify_paths()
    if paths.cafile is not None:
        check_authorities(Path(paths.cafile))


def test_a_device_that_cannot_connect_says_so_once_and_not_twice(made: SecuredMesh, tmp_path: Path) -> None:
    """The client library logs each failure too; on a service's log that was every line twice."""
    script = f"""
import asyncio, logging, sys
logging.basicConfig(stream=sys.stderr, level=logging.DEBUG, format="%(name)s %(message)s")
logging.getLogger("asyncio").setLevel(logging.WARNING)
from edge_agent.client import Access
from edge_agent.client.connection import Connection
from edge_agent.client.conversation import ClientSettings
from edge_agent.mqtt import TlsFiles, parse_home
async def main():
    access = Access(tls=TlsFiles(ca={str(made.ca)!r}))
    connection = Connection(parse_home("mqtts://127.0.0.1:1"), access, "x", ClientSettings(), print, print)
    connection.start()
    while not connection.last_error:
        await asyncio.sleep(0.01)
    await connection.stop()
asyncio.run(main())
"""
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True, timeout=PATIENCE_S
    )
    assert done.stderr.count("refused") == 1, done.stderr
