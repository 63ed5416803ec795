"""The gateway of a local fleet: on this host for everybody there, in the network for those with a key."""

from __future__ import annotations

import os
import signal
import socket
from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import psutil
import pytest
import pytest_asyncio

from broker.loopback import free_port
from edge_agent.fleet import gateway_process
from edge_agent.fleet.gateway_process import GatewayProcess
from edge_agent.fleet.local import FleetError, LocalFleet
from edge_agent.fleet.network import lan_address
from edge_agent.fleet.plan import EngineKind, FleetPlan
from edge_agent.fleet.runs import find_running
from tests.support.patience import PATIENCE_S
from tests.support.polling import until
from tests.support.ports import free_ports

pytestmark = pytest.mark.broker

HELLO = {"model": "local", "messages": [{"role": "user", "content": "hello"}], "max_tokens": 8}


def plan(*, gateway_port: int = 0, lan: bool = False) -> FleetPlan:
    service = "deterministic:0.02"
    return FleetPlan(1, EngineKind.SYNTHETIC, service=service, gateway_port=gateway_port, lan=lan)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def single(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[LocalFleet]:
    """One device and a gateway, which runs when a test is over."""
    async with LocalFleet(plan(), folder=tmp_path_factory.mktemp("single")) as fleet:
        yield fleet


def listens_at(pid: int, port: int) -> set[str]:
    connections = psutil.Process(pid).net_connections("inet")
    return {c.laddr.ip for c in connections if c.status == psutil.CONN_LISTEN and c.laddr.port == port}


async def test_on_this_host_it_answers_without_a_key_and_nobody_else_reaches_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    async with LocalFleet(plan()) as fleet, httpx.AsyncClient(base_url=fleet.gateway_url, timeout=PATIENCE_S) as client:
        answer = (await client.post("/v1/chat/completions", json=HELLO)).json()
        assert answer["choices"][0]["message"]["content"]
        about = (await client.get("/about.json")).json()
        assert (about["mesh"], about["web_broker"]) == ("local", fleet.web_url)
        assert fleet.api_key == ""
        assert fleet.gateway is not None
        assert fleet.gateway.pid is not None
        assert listens_at(fleet.gateway.pid, fleet.gateway.port) == {"127.0.0.1"}
        running = find_running()
        assert running is not None
        assert (running.gateway, running.web, running.lan) == (fleet.gateway_url, fleet.web_url, False)
        pid = fleet.gateway.pid
    assert not psutil.pid_exists(pid)


async def test_in_the_network_it_asks_for_a_key(tmp_path: Path) -> None:
    async with LocalFleet(plan(lan=True), folder=tmp_path) as fleet:
        host = lan_address() or "127.0.0.1"  # a machine without network still asks for the key
        assert fleet.reached(fleet.gateway_url) == fleet.gateway_url.replace("127.0.0.1", host)
        keyed = {"Authorization": f"Bearer {fleet.api_key}"}
        async with httpx.AsyncClient(base_url=fleet.reached(fleet.gateway_url), timeout=PATIENCE_S) as client:
            assert (await client.post("/v1/chat/completions", json=HELLO)).status_code == 401
            assert (await client.post("/v1/chat/completions", json=HELLO, headers=keyed)).status_code == 200
            assert (await client.get("/about.json")).json()["web_broker"] == fleet.reached(fleet.web_url)
    assert fleet.api_key not in (tmp_path / "api-keys.json").read_text()


@pytest.mark.asyncio(loop_scope="module")
async def test_a_gateway_that_was_killed_comes_back(single: LocalFleet) -> None:
    assert single.gateway is not None
    pid = single.gateway.pid
    assert pid is not None
    os.kill(pid, signal.SIGKILL)
    gateway = single.gateway
    await until(lambda: gateway.pid not in (None, pid), "it runs again")
    assert gateway.pid is not None
    again = gateway.pid
    await until(lambda: bool(listens_at(again, gateway.port)), "it listens again")


@pytest.mark.asyncio(loop_scope="module")
async def test_a_gateway_that_cannot_start_is_said_with_its_own_words(single: LocalFleet, tmp_path: Path) -> None:
    assert single.gateway is not None
    with pytest.raises(FleetError, match=f"the gateway did not start: port {single.gateway.port} is taken"):
        await LocalFleet(plan(gateway_port=single.gateway.port), folder=tmp_path).start()


async def test_a_port_that_is_taken_before_the_gateway_listens_is_left_for_another_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    free, (taken,) = free_port, free_ports(1)
    given = iter([taken, taken])
    monkeypatch.setattr(gateway_process, "free_port", lambda host: next(given, None) or free(host))
    monkeypatch.setattr(gateway_process, "port_is_free", lambda host, port: True)  # as it was a moment ago
    gateway = GatewayProcess(tmp_path, "mqtt://127.0.0.1:1", "home", host="127.0.0.1", port=0, web_broker="")
    with socket.create_server(("127.0.0.1", taken)):
        try:
            await gateway.start()
            assert gateway.port != taken
            assert list(given) == [], "both tries met another program"
        finally:
            await gateway.stop()
