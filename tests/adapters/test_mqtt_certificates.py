"""A certificate that is not good, ours or the broker's, over a real mosquitto: said once and with the way out."""

from __future__ import annotations

import contextlib
import datetime
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from pathlib import Path

import pytest
from cryptography import x509

from edge_agent.mqtt import TlsFiles
from provisioning.authority import Identity, MeshAuthority
from tests.adapters.mqtt_devices import device, until
from tests.support.brokers import MosquittoWith

pytestmark = pytest.mark.broker

HOST = "127.0.0.1"
PAST = datetime.timedelta(hours=-1)
QUICK = {"backoff_min_s": 0.01, "backoff_max_s": 0.02, "refused_backoff_max_s": 0.05}
Make = Callable[[MeshAuthority, MeshAuthority], Identity]


def write(path: Path, identity: Identity) -> None:
    path.with_suffix(".pem").write_bytes(identity.certificate_pem)
    path.with_suffix(".key").write_bytes(identity.key_pem)


def revoke(mesh: MeshAuthority, identity: Identity) -> Identity:
    mesh.revoke([x509.load_pem_x509_certificate(identity.certificate_pem).serial_number])
    return identity


@contextlib.asynccontextmanager
async def broker_of(folder: Path, server: Identity) -> AsyncIterator[str]:
    """A mosquitto that shows this certificate and lets in who has a good one of the mesh."""
    write(folder / "server", server)
    settings = (
        "require_certificate true",
        f"cafile {folder}/ca/ca.pem",
        f"crlfile {folder}/ca/crl.pem",
        f"certfile {folder}/server.pem",
        f"keyfile {folder}/server.key",
    )
    async with MosquittoWith(folder, *settings) as broker:
        yield f"mqtts://{HOST}:{broker.port}"


OURS: dict[str, tuple[Make, str]] = {
    "revoked": (lambda mesh, other: revoke(mesh, mesh.issue_device("a")), "certificate is revoked"),
    "expired": (lambda mesh, other: mesh.issue_device("a", lifetime=PAST), "a.pem: its certificate is good until"),
    "of another mesh": (lambda mesh, other: other.issue_device("a"), "does not trust this device's certificate"),
}

THEIRS: dict[str, tuple[Make, str]] = {
    "of another mesh": (lambda mesh, other: other.issue_broker([HOST]), "is not issued by the authority in"),
    "expired": (lambda mesh, other: mesh.issue_broker([HOST], lifetime=PAST), "no longer good by this machine's clock"),
    "for another host": (
        lambda mesh, other: mesh.issue_broker(["broker.example"]),
        "its certificate is for another name",
    ),
    "revoked": (lambda mesh, other: revoke(mesh, mesh.issue_broker([HOST])), "its certificate is revoked"),
}


async def says(
    folder: Path,
    url: str,
    words: str,
    caplog: pytest.LogCaptureFixture,
    *,
    files: TlsFiles | None = None,
    lasting: bool = True,
) -> None:
    async with device("a", url, connected=False, tls=files or ours(folder), **QUICK) as a:
        await until(lambda: a.transport.counters.connect_failures >= 4, "four tries")
        # a broker's alert may come a moment after it hung up: then that is what is said first
        await until(lambda: words in a.health[-1], f"{words}; have {a.health}")
        assert not any("(_ssl.c" in one for one in a.health)
        lines = [one for one in caplog.records if one.levelname == "WARNING" and "troubles" in one.name]
        assert len(lines) == len(a.health) <= 2, caplog.messages
        home = a.transport._home
        assert home is not None
        assert home._troubles.lasting is lasting


def ours(folder: Path) -> TlsFiles:
    return TlsFiles(*(str(folder / name) for name in ("ca/ca.pem", "a.pem", "a.key", "ca/crl.pem")))


def authorities(folder: Path) -> tuple[MeshAuthority, MeshAuthority]:
    return MeshAuthority.create(folder / "ca", "test"), MeshAuthority.create(folder / "other", "test")


@pytest.mark.parametrize("what", OURS)
async def test_what_is_wrong_with_our_certificate_is_said(
    what: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    make, words = OURS[what]
    mesh, other = authorities(tmp_path)
    write(tmp_path / "a", make(mesh, other))
    async with broker_of(tmp_path, mesh.issue_broker([HOST])) as url:
        await says(tmp_path, url, words, caplog)


async def test_that_a_certificate_is_wanted_is_said(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    mesh, _ = authorities(tmp_path)
    write(tmp_path / "a", mesh.issue_device("a"))
    nobody = replace(ours(tmp_path), certificate=None, key=None)
    async with broker_of(tmp_path, mesh.issue_broker([HOST])) as url:
        await says(tmp_path, url, "it wants a certificate: give cert_file and key_file", caplog, files=nobody)


@pytest.mark.parametrize("what", THEIRS)
async def test_what_is_wrong_with_the_brokers_certificate_is_said(
    what: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    make, words = THEIRS[what]
    mesh, other = authorities(tmp_path)
    write(tmp_path / "a", mesh.issue_device("a"))
    async with broker_of(tmp_path, make(mesh, other)) as url:
        await says(tmp_path, url, words, caplog)


async def test_that_no_tls_is_spoken_there_is_said(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    mesh, _ = authorities(tmp_path)
    write(tmp_path / "a", mesh.issue_device("a"))
    async with MosquittoWith(tmp_path) as broker:
        url = broker.url.replace("mqtt:", "mqtts:")
        await says(tmp_path, url, "is it the right port, with TLS or without?", caplog, lasting=False)
