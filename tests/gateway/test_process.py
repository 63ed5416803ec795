"""The gateway as a process: how it starts, ends, serves HTTPS, and runs beside a device."""

from __future__ import annotations

import json
import os
import signal
import socket
import ssl
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import psutil
import pytest

from provisioning.authority import MeshAuthority
from tests.gateway.programs import SEVERAL, Gateway, Mesh, eventually, gateway_process_of, moamesh, refused
from tests.support.patience import PATIENCE_S
from tests.support.ports import free_ports

pytestmark = pytest.mark.broker

RESIDENT_BYTES_MAX = 110 * 1024 * 1024  # 60 MB when this was written; twice that would hurt a Raspberry Pi Zero


def test_what_keeps_it_from_starting_is_one_line(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = str(taken.getsockname()[1])
        broker = ("--broker", "mqtt://127.0.0.1:1")
        missing = str(tmp_path / "missing.pem")
        for options, words in (
            ((*broker, "--port", port), f"cannot listen on 127.0.0.1:{port}"),
            ((*broker, "--tls-cert", missing, "--tls-key", missing), "No such file"),
            ((*broker, "--tls-cert", missing), "belong together"),
            ((*broker, "--web-broker", "http://x"), "--web-broker"),
            ((*broker, "--cors-origin", "example.org"), "--cors-origin"),
            ((*broker, "--device", "Not An Id"), "--device"),
            (("--config", missing), "missing.pem"),
            (("--broker", "ftp://x"), "ftp"),
        ):
            assert words in refused("gateway", "--port", "0", "--keys-file", str(tmp_path / "keys.json"), *options)
    assert moamesh("gateway", "--config", missing).returncode == 2


def test_a_stop_lets_the_answer_under_way_end(slow_mesh: Mesh, tmp_path: Path) -> None:
    with gateway_process_of(slow_mesh.broker, slow_mesh.mesh, tmp_path) as gateway, ThreadPoolExecutor(1) as pool:
        eventually(lambda: gateway.get("/readyz").status_code == 200, "the device is online")
        asked = pool.submit(gateway.ask, model="moa", moamesh=SEVERAL)
        eventually(lambda: gateway.figure("moamesh_device_requests_running", device="device-1") > 0, "it is asked")
        gateway.process.send_signal(signal.SIGTERM)
        assert asked.result(PATIENCE_S).status_code == 200
        assert gateway.process.wait(PATIENCE_S) == 0


def test_a_stop_waits_no_longer_than_its_bound_and_tells_both_ends(
    slow_mesh: Mesh, slow_gateway: Gateway, tmp_path: Path
) -> None:
    def cancelled() -> float:
        return slow_gateway.figure("moamesh_device_cancelled_total", device="device-1")

    before = cancelled()
    options = ("--stop-timeout", "0.2")
    with (
        gateway_process_of(slow_mesh.broker, slow_mesh.mesh, tmp_path, *options) as gateway,
        ThreadPoolExecutor(1) as pool,
    ):
        eventually(lambda: gateway.get("/readyz").status_code == 200, "the device is online")
        asked = pool.submit(gateway.ask, model="moa", moamesh={"layers": 8, "fanout": 0})
        eventually(lambda: gateway.figure("moamesh_device_requests_running", device="device-1") > 0, "it is asked")
        gateway.process.send_signal(signal.SIGTERM)
        response = asked.result(PATIENCE_S)
        assert response.status_code == 503
        assert response.json()["error"]["code"] == "stopping"
        assert gateway.process.wait(PATIENCE_S) == 0
    eventually(lambda: cancelled() > before, "the device knows that nobody waits any more")


def test_it_serves_https_with_the_meshs_own_authority(mesh: Mesh, tmp_path: Path) -> None:
    authority = MeshAuthority.create(tmp_path / "ca", "home")
    identity = authority.issue_broker(["localhost", "127.0.0.1"])
    cert, key = tmp_path / "cert.pem", tmp_path / "key.pem"
    cert.write_bytes(identity.certificate_pem)
    key.write_bytes(identity.key_pem)
    with gateway_process_of(
        mesh.broker, mesh.mesh, tmp_path, "--tls-cert", str(cert), "--tls-key", str(key)
    ) as gateway:
        assert gateway.url.startswith("https://")
        trusted = ssl.create_default_context(cafile=str(tmp_path / "ca" / "ca.pem"))
        assert httpx.get(f"{gateway.url}/healthz", verify=trusted, timeout=PATIENCE_S).status_code == 200
        with pytest.raises(httpx.ConnectError, match="CERTIFICATE_VERIFY_FAILED"):
            httpx.get(f"{gateway.url}/healthz", timeout=PATIENCE_S)
        with pytest.raises(httpx.HTTPError):
            httpx.get(gateway.url.replace("https", "http") + "/healthz", timeout=PATIENCE_S)


def test_it_is_small_in_memory(mesh: Mesh, tmp_path: Path) -> None:
    with gateway_process_of(mesh.broker, mesh.mesh, tmp_path) as gateway:
        eventually(lambda: _ready(gateway), "a device is online")
        assert {gateway.ask().status_code for _ in range(20)} == {200}
        assert psutil.Process(gateway.process.pid).memory_info().rss < RESIDENT_BYTES_MAX


def test_a_device_keeps_its_gateway_running_and_takes_it_along_when_it_stops(mesh: Mesh, tmp_path: Path) -> None:
    (port,) = free_ports(1)
    config = tmp_path / "agent.toml"
    config.write_text(
        f'[device]\nid = "kitchen"\nmesh = "kitchens"\ndata_dir = "data"\n[broker]\nurls = ["{mesh.broker}"]\n'
        '[engine]\nkind = "synthetic"\nservice = "deterministic:0.01"\n[agent]\nstatus_interval_s = 0.3\n'
        "[gateway]\nenabled = true\n"
    )
    command = [sys.executable, "-m", "edge_agent.cli.main", "agent", "--config", str(config)]
    # what --set says must reach the child over what the environment says
    environment = os.environ | {"MOAMESH_GATEWAY__PORT": "1", "MOAMESH_ENGINE__API_KEY": "sk-not-for-the-child"}
    device = subprocess.Popen([*command, "--set", f"gateway.port={port}"], env=environment)
    gateway = Gateway(f"http://127.0.0.1:{port}", tmp_path / "data" / "api-keys.json")
    try:
        eventually(lambda: _ready(gateway), "the device's gateway serves it")
        assert gateway.ask().json()["moamesh"]["device"] == "kitchen"
        (child,) = _gateways_of(device.pid)
        child.kill()
        eventually(lambda: _ready(gateway), "it is back")
        assert [again.pid for again in _gateways_of(device.pid)] != [child.pid]
        assert gateway.ask().status_code == 200
        written = (tmp_path / "data" / "gateway.toml").read_text()
        assert "sk-not-for-the-child" not in written
    finally:
        device.send_signal(signal.SIGTERM)
        device.wait(PATIENCE_S)
    assert not _ready(gateway)


def test_a_device_whose_gateway_cannot_start_answers_all_the_same(mesh: Mesh, tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        config = tmp_path / "agent.toml"
        config.write_text(
            f'[device]\nid = "kitchen"\nmesh = "kitchens"\ndata_dir = "data"\n[broker]\nurls = ["{mesh.broker}"]\n'
            '[engine]\nkind = "synthetic"\nservice = "deterministic:0.01"\n'
            f"[gateway]\nenabled = true\nport = {taken.getsockname()[1]}\n"
        )
        command = [sys.executable, "-m", "edge_agent.cli.main", "agent", "--config", str(config)]
        log = tmp_path / "log"
        with log.open("wb") as output:
            device = subprocess.Popen(command, stderr=output)
        try:
            eventually(lambda: "continues without it" in log.read_text(), "the log says that the gateway did not start")
            assert "cannot listen on" in log.read_text()
            asked = moamesh("ask", "--broker", mesh.broker, "--mesh", "kitchens", "-d", "kitchen", "--json", "hi")
            assert asked.returncode == 0, asked.stderr
            assert json.loads(asked.stdout)["outcome"] == "answered"
        finally:
            device.send_signal(signal.SIGTERM)
            assert device.wait(PATIENCE_S) == 0


def _ready(gateway: Gateway) -> bool:
    try:
        return gateway.get("/readyz").status_code == 200
    except httpx.HTTPError:
        return False


def _gateways_of(pid: int) -> list[psutil.Process]:
    return [child for child in psutil.Process(pid).children() if "edge_agent.gateway" in child.cmdline()]
