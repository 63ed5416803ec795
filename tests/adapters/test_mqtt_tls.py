"""The transport over TLS with client certificates, on a real mosquitto."""

from __future__ import annotations

import asyncio
import subprocess
from collections.abc import AsyncIterator
from functools import partial
from pathlib import Path

import pytest

from broker.kinds import find_mosquitto
from edge_agent.children import ChildProcess
from edge_agent.core import messages as m
from edge_agent.core.events import Event, PeerMessageReceived
from edge_agent.mqtt import TlsFiles
from tests.adapters.mqtt_devices import Device, device, presence, request, until
from tests.support.patience import PATIENCE_S
from tests.support.ports import free_ports

pytestmark = pytest.mark.broker


def _openssl(*arguments: str) -> None:
    subprocess.run(["openssl", *arguments], check=True, capture_output=True, timeout=PATIENCE_S)


def _certificates(folder: Path) -> None:
    new = ("req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2")
    _openssl(*new, "-x509", "-subj", "/CN=ca", "-keyout", f"{folder}/ca.key", "-out", f"{folder}/ca.pem")
    (folder / "san").write_text("subjectAltName=IP:127.0.0.1")
    for name in ("server", "a", "b"):
        files = ("-keyout", f"{folder}/{name}.key", "-out", f"{folder}/{name}.csr")
        _openssl("req", *new[1:-2], "-subj", f"/CN={name}", *files)
        signer = ("-CA", f"{folder}/ca.pem", "-CAkey", f"{folder}/ca.key", "-CAcreateserial", "-days", "2")
        given = ("-in", f"{folder}/{name}.csr", "-extfile", f"{folder}/san", "-out", f"{folder}/{name}.pem")
        _openssl("x509", "-req", *signer, *given)


@pytest.fixture
async def tls_url(tmp_path: Path) -> AsyncIterator[str]:
    """A mosquitto that admits only certificates of its own CA; their files are in `tmp_path`."""
    await asyncio.to_thread(_certificates, tmp_path)
    (port,) = free_ports(1)
    config = tmp_path / "mosquitto.conf"
    config.write_text(
        f"user root\nlistener {port} 127.0.0.1\nallow_anonymous true\nset_tcp_nodelay true\nrequire_certificate true\n"
        f"cafile {tmp_path}/ca.pem\ncertfile {tmp_path}/server.pem\nkeyfile {tmp_path}/server.key\n"
    )
    process = ChildProcess([find_mosquitto() or "mosquitto", "-c", str(config)], tmp_path / "log")
    await process.start()
    yield f"mqtts://127.0.0.1:{port}"
    await process.stop()


def files(folder: Path, name: str) -> TlsFiles:
    return TlsFiles(f"{folder}/ca.pem", f"{folder}/{name}.pem", f"{folder}/{name}.key")


async def test_messages_arrive_over_tls_also_when_reading_had_to_pause(tls_url: str, tmp_path: Path) -> None:
    async with (
        device("a", tls_url, tls=files(tmp_path, "a")) as a,
        device("b", tls_url, tls=files(tmp_path, "b"), incoming_max=4) as b,
    ):
        pauses: list[bool] = []

        async def take_slowly(event: Event) -> None:
            await asyncio.sleep(0.0005)
            pauses.append(b.link._intake._paused)
            b.events.append(event)

        b.transport._emit = take_slowly
        for number in range(200):
            a.transport.send_to_device("b", tls_url, request(number, "x" * 100), None)
        await b.arrival(PeerMessageReceived, 200)
        assert any(pauses)
        # A TLS mesh does not fall back to plain text because a peer says so.
        a.transport.send_to_device("b", "mqtt://127.0.0.1:1", request(), None)
        assert a.transport.counters.bad_homes == 1


async def test_a_device_without_a_certificate_stays_outside_and_keeps_trying(tls_url: str, tmp_path: Path) -> None:
    for tls in (None, TlsFiles(f"{tmp_path}/ca.pem"), TlsFiles(f"{tmp_path}/missing.pem")):
        one = Device("a", tls_url, tls=tls)
        await one.transport.start(one.emit, presence("a", m.PresenceState.OFFLINE))
        await until(partial(_failed_twice, one), f"two failures with {tls}")
        assert not one.events
        await one.transport.stop()


def _failed_twice(one: Device) -> bool:
    return one.transport.counters.connect_failures >= 2
