"""Whatever a user runs goes on while the broker is restarted, crashes, or is gone for a while, also while it starts."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import httpx
import psutil
import pytest
import pytest_asyncio

from broker.embedded import EmbeddedBroker
from edge_agent.client import MeshClient
from edge_agent.core.messages import Answer
from edge_agent.fleet.local import LocalFleet
from edge_agent.fleet.plan import EngineKind, FleetPlan
from tests.longrun.programs import EVERY_TROUBLE, MOAMESH, TROUBLES, WAIT_S, Program, program
from tests.support.polling import until
from tests.support.secured import free_ports
from tests.support.terminals import Terminal, in_terminal

pytestmark = pytest.mark.broker

PROMPTS = 3
SERVICE = "deterministic:0.5"


@dataclass
class Running:
    """Every command of a user, running against one mesh."""

    ask: Program
    prompts: Program
    outputs: Path
    gateway: Program
    gateway_url: str
    status: Terminal
    top: Terminal


@contextlib.asynccontextmanager
async def fleet(folder: Path) -> AsyncIterator[LocalFleet]:
    plan = FleetPlan(2, EngineKind.SYNTHETIC, (), SERVICE, layers=1, fanout=1, status_interval_s=0.5)
    async with LocalFleet(plan, folder=folder / "fleet") as started:
        yield started


@contextlib.asynccontextmanager
async def all_commands(mesh: LocalFleet, folder: Path) -> AsyncIterator[Running]:
    env = {**os.environ, "XDG_STATE_HOME": str(folder / "state"), "MOAMESH_HOME": str(folder / "home")}
    to = ("--broker", mesh.url, "--mesh", mesh.mesh)
    file, outputs = folder / "prompts.json", folder / "outputs.json"
    file.write_text(json.dumps([{"instruction": f"question {number}", "dataset": "t"} for number in range(PROMPTS)]))
    (port,) = free_ports(1)
    keys = ("--keys-file", str(folder / "keys.json"))
    async with contextlib.AsyncExitStack() as stack:

        async def run(name: str, *arguments: str) -> Program:
            return await stack.enter_async_context(program(name, folder, *arguments, env=env))

        async def shown(*arguments: str) -> Terminal:
            return await stack.enter_async_context(in_terminal((*MOAMESH, *arguments, *to), env, columns=120))

        yield Running(
            await run("ask", "ask", "why?", *to, "--device", "device-1", "--layers", "2", "--json"),
            await run("run-prompts", "run-prompts", str(file), "--output", str(outputs), *to),
            outputs,
            await run("gateway", "gateway", *to, "--port", str(port), *keys),
            f"http://127.0.0.1:{port}",
            await shown("status"),
            await shown("top"),
        )


async def check(running: Running, mesh: LocalFleet) -> None:
    """All of them have done, or do, what they are for."""
    assert await running.ask.ends() == 0, running.ask.text
    assert await running.prompts.ends() == 0, running.prompts.text
    assert len(json.loads(running.outputs.read_text())) == PROMPTS
    assert await answered(running.gateway_url), running.gateway.text
    for terminal in (running.status, running.top):
        await terminal.until(lambda one=terminal: "2 of 2 online" in one.text or one.text.count("online") >= 2)
        assert terminal.process.returncode is None, terminal.text
    async with MeshClient(mesh.url, mesh.mesh) as client:
        for name in mesh.devices:
            assert isinstance(await client.ask_to_end(name, "still there?"), Answer)
    for one in (running.ask, running.prompts, running.gateway):
        assert "Traceback" not in one.text, one.text
    assert await running.gateway.ends_on_sigterm() == 0
    for terminal in (running.status, running.top):
        terminal.process.terminate()
        assert await terminal.ends() == 143
        assert "Traceback" not in terminal.text


async def answered(url: str) -> bool:
    """Whether the gateway answers, once it is up: what it refuses meanwhile it refuses in words."""
    body = {"model": "moa-m1-k1", "messages": [{"role": "user", "content": "why?"}]}
    async with httpx.AsyncClient(timeout=WAIT_S) as http, asyncio.timeout(WAIT_S):
        while True:
            try:
                response = await http.post(f"{url}/v1/chat/completions", json=body)
            except httpx.TransportError:
                await asyncio.sleep(0.2)
                continue
            if response.status_code == 200:
                return True
            assert response.status_code in (429, 503), response.text
            assert response.headers["retry-after"]
            await asyncio.sleep(0.2)


@pytest_asyncio.fixture
async def mesh(tmp_path: Path) -> AsyncIterator[LocalFleet]:
    """A mesh of this test alone: devices whose broker went several times in a row wait longer before they try again."""
    async with fleet(tmp_path / "mesh") as made:
        yield made


@pytest.mark.long
@pytest.mark.parametrize("trouble", EVERY_TROUBLE)
async def test_every_command_outlives_its_broker(trouble: str, mesh: LocalFleet, tmp_path: Path) -> None:
    async with all_commands(mesh, tmp_path) as running:
        await running.gateway.said("http://")
        for terminal in (running.status, running.top):
            await terminal.until(lambda one=terminal: one.text.count("device-") >= 2)
        await TROUBLES[trouble](mesh.broker)
        await check(running, mesh)


@pytest.mark.long
async def test_every_command_that_starts_meanwhile_comes_up(mesh: LocalFleet, tmp_path: Path) -> None:
    """A broker that is away for longer than `connect_timeout_s` is taken for absent, so ten seconds would be a race."""
    await mesh.broker.kill()
    async with all_commands(mesh, tmp_path) as running:
        await TROUBLES["restarted"](mesh.broker)
        await check(running, mesh)


def broker_process(pid: int) -> psutil.Process:
    """The broker program beneath a command."""
    found = [one for one in psutil.Process(pid).children(recursive=True) if "mosquitto" in one.name()]
    assert len(found) == 1
    return found[0]


async def test_up_starts_its_broker_again_and_its_devices_answer(tmp_path: Path) -> None:
    env = {"XDG_STATE_HOME": str(tmp_path / "state"), "MOAMESH_HOME": str(tmp_path / "home")}
    (port,) = free_ports(1)
    arguments = ("up", "--engine", "synthetic", "--service", SERVICE, "--devices", "2", "--port", str(port))
    async with program("up", tmp_path, *arguments, "--no-gateway", env=env) as up:
        await up.said("up.")
        for _ in range(2):
            victim = broker_process(up.process.pid)
            victim.kill()
            await until(lambda one=victim: not one.is_running(), "it is dead", WAIT_S)
            async with MeshClient(f"mqtt://127.0.0.1:{port}", "local") as client:
                assert isinstance(await client.ask_to_end("device-1", "still there?"), Answer)
        up.check()
        assert await up.ends_on_sigterm() == 143


async def test_a_broker_on_this_host_is_started_again(tmp_path: Path) -> None:
    (port,) = free_ports(1)
    async with program("broker run", tmp_path, "broker", "run", "--port", str(port), "--kind", "mosquitto") as run:
        await run.said("nobody else")
        for times in (1, 2, 3):
            broker_process(run.process.pid).kill()
            await run.said("starting it again", times)
            async with MeshClient(f"mqtt://127.0.0.1:{port}", "local"):
                pass
        run.check()
        assert await run.ends_on_sigterm() == 143


async def test_a_broker_that_cannot_come_back_is_told_and_tried_again(tmp_path: Path) -> None:
    async with EmbeddedBroker(kind="mosquitto", run_dir=tmp_path) as broker:
        assert broker.pid is not None
        config = tmp_path / "mosquitto.conf"
        whole = config.read_text()
        config.write_text("this is no configuration\n")
        first = broker.pid
        psutil.Process(first).kill()
        await until(lambda: not broker.running, "it is gone", WAIT_S)
        await asyncio.sleep(0.5)  # not a wait for something: some tries fail meanwhile
        config.write_text(whole)
        await until(lambda: broker.running and broker.pid != first, "it came back", WAIT_S)
        async with MeshClient(broker.url, "local"):
            pass
