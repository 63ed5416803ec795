"""One of three devices has a dead engine: whoever asks the mesh without naming a device does not notice.

Real processes: a broker, two devices with the synthetic engine, one whose engine is an OpenAI-style server, a gateway.
"""

from __future__ import annotations

import asyncio
import contextlib
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from edge_agent.config import AgentConfig, BrokerSection, DeviceSection, EngineSection, write_config
from edge_agent.core.settings import AgentSettings
from tests.gateway.programs import Gateway, Mesh, eventually, gateway_of, mesh_of
from tests.support.chat_server import GOOD, ChatServer, delta, ok, reply

PROMPTS = 200
AT_ONCE = 4
ROUNDS = 5
SERVICE = "deterministic:0.02"
THIRD = "kitchen"
MANY = 60  # prompts, of which one device of four gets one with near certainty
USELESS = {
    "fails": reply("500 Internal Server Error", b'{"error": {"message": "out of memory"}}'),
    "no such model": reply("404 Not Found", b'{"error": {"message": "model m not found"}}'),
    "no choices": ok({"choices": []}),
    "says nothing": ok(delta("", "stop")),
    "is no JSON": ok("[[["),
}
"""Chats of a server that lists its models as if all were well."""


@contextlib.contextmanager
def server_in_a_thread() -> Iterator[tuple[ChatServer, asyncio.AbstractEventLoop]]:
    """A chat server beside a test that is no coroutine."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()
    server = ChatServer()
    asyncio.run_coroutine_threadsafe(server.start(), loop).result()
    try:
        yield server, loop
    finally:
        asyncio.run_coroutine_threadsafe(server.stop(), loop).result()
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()


@contextlib.contextmanager
def third_device(mesh: Mesh, folder: Path, server_url: str) -> Iterator[None]:
    """A device of that mesh whose engine is the server at this address."""
    config = AgentConfig(
        device=DeviceSection(id=THIRD, mesh=mesh.mesh, data_dir=folder),
        broker=BrokerSection(urls=(mesh.broker,)),
        engine=EngineSection(kind="openai", base_url=server_url, model="m"),
        agent=AgentSettings(status_interval_s=0.3),
    )
    path = folder / "agent.toml"
    write_config(config, path)
    process = subprocess.Popen([sys.executable, "-m", "edge_agent.cli.main", "agent", "--config", str(path)])
    try:
        yield
    finally:
        process.terminate()
        process.wait(30)


@pytest.fixture
def two(tmp_path: Path) -> Iterator[tuple[Mesh, Gateway]]:
    """Two healthy devices and a gateway."""
    for name in ("mesh", "gateway", "third"):
        (tmp_path / name).mkdir()
    with (
        mesh_of(tmp_path / "mesh", devices=2, service=SERVICE, status_interval_s=0.3) as mesh,
        gateway_of(mesh.broker, mesh.mesh, tmp_path / "gateway") as gateway,
    ):
        eventually(lambda: able(gateway) == 2, "two devices are there")
        yield mesh, gateway


def able(gateway: Gateway) -> int:
    return int(gateway.get("/readyz").json()["devices_able"])


def ask_many(gateway: Gateway, count: int) -> tuple[list[int], list[float]]:
    """Asks so many prompts, every third streamed; returns their statuses and their seconds."""

    def one(number: int) -> tuple[int, float]:
        began = time.monotonic()
        reply = gateway.ask(f"question {number}", model="moa", stream=number % 3 == 0)
        broken = '"error"' in reply.text or (number % 3 == 0 and "[DONE]" not in reply.text)
        return 599 if broken and reply.status_code == 200 else reply.status_code, time.monotonic() - began

    with ThreadPoolExecutor(AT_ONCE) as pool:
        results = list(pool.map(one, range(count)))
    return [status for status, _ in results], [took for _, took in results]


def p95(seconds: list[float]) -> float:
    return statistics.quantiles(seconds, n=20)[-1]


def all_answered(two: tuple[Mesh, Gateway], third: Path, count: int) -> None:
    mesh, gateway = two
    statuses, healthy_s = ask_many(gateway, count)
    assert statuses == [200] * count
    with server_in_a_thread() as (server, loop), third_device(mesh, third, server.url):
        eventually(lambda: able(gateway) == 3, "the third device is there and well")
        # It dies unseen: the first prompts are what finds it out.
        asyncio.run_coroutine_threadsafe(server.stop(), loop).result()
        statuses, dying_s = ask_many(gateway, count)
        assert statuses == [200] * count
        eventually(lambda: able(gateway) == 2, "it has said that it cannot infer")
        ready = gateway.get("/readyz")
        assert ready.status_code == 200
        assert "no server answers" in ready.json()["devices_unable"][THIRD]
        assert gateway.figure("moamesh_device_able", device=THIRD) == 0.0
        assert gateway.figure("moamesh_device_problem", device=THIRD, part="engine") == 1.0
        statuses, dead_s = ask_many(gateway, count)
        assert statuses == [200] * count
        refused = gateway.ask("and you?", model="moa", moamesh={"device": THIRD})
        assert (refused.status_code, refused.json()["error"]["code"]) == (503, "device_unable")
        assert "Retry-After" in refused.headers
        asyncio.run_coroutine_threadsafe(server.start(), loop).result()
        eventually(lambda: able(gateway) == 3, "it is back by itself")
    # Printed, not asserted: the machine's speed decides no test.
    print(
        f"\n{count} prompts, p95: two healthy {p95(healthy_s):.3f} s; a third dying {p95(dying_s):.3f} s "
        f"({p95(dying_s) / p95(healthy_s):.2f} times); dead {p95(dead_s):.3f} s "
        f"({p95(dead_s) / p95(healthy_s):.2f} times)"
    )


@pytest.mark.broker
@pytest.mark.long
def test_one_dead_engine_of_three_costs_none_of_two_hundred_prompts_that_name_no_device(
    two: tuple[Mesh, Gateway], tmp_path: Path
) -> None:
    all_answered(two, tmp_path / "third", PROMPTS)


@pytest.mark.broker
@pytest.mark.long
def test_a_dead_engine_beside_two_healthy_ones_and_without_it_in_turns(
    two: tuple[Mesh, Gateway], tmp_path: Path
) -> None:
    """As above, with and without the third device by turns: so both are measured on the same machine."""
    mesh, gateway = two
    without: list[float] = []
    beside: list[float] = []
    with server_in_a_thread() as (server, loop):
        asyncio.run_coroutine_threadsafe(server.stop(), loop).result()
        for _ in range(ROUNDS):
            statuses, seconds = ask_many(gateway, PROMPTS // ROUNDS)
            assert set(statuses) == {200}
            without += seconds
            with third_device(mesh, tmp_path / "third", server.url):
                eventually(lambda: THIRD in gateway.get("/readyz").json()["devices_unable"], "it has said so")
                statuses, seconds = ask_many(gateway, PROMPTS // ROUNDS)
                assert set(statuses) == {200}
                beside += seconds
            eventually(lambda: gateway.get("/readyz").json()["devices_online"] == 2, "it is gone")
    print(
        f"\n{len(beside)} prompts each, in {ROUNDS} turns, p95: two healthy {p95(without):.3f} s, beside a dead one "
        f"{p95(beside):.3f} s, {p95(beside) / p95(without):.2f} times; medians {statistics.median(without):.3f} and "
        f"{statistics.median(beside):.3f} s"
    )


@pytest.mark.broker
def test_a_device_that_fails_what_it_took_is_followed_by_the_next_one(
    mesh: Mesh, gateway: Gateway, tmp_path: Path
) -> None:
    """Nobody else helps a device that is to answer alone, and what fails once is no dead engine yet."""
    (tmp_path / "third").mkdir()
    with server_in_a_thread() as (server, _), third_device(mesh, tmp_path / "third", server.url):
        for how, chat in USELESS.items():
            server.chat = GOOD
            eventually(lambda: able(gateway) == 4, "the device is there and well")
            server.chat, began = chat, server.chats
            for number in range(MANY):
                reply = gateway.ask(f"question {number}", model="local", stream=number % 2 == 0)
                assert (how, reply.status_code, '"error"' in reply.text) == (how, 200, False)
                if server.chats > began and number >= 2:
                    break
            assert server.chats > began, f"{how}: that device was not asked"
        asked = gateway.ask("and you?", model="local", moamesh={"device": THIRD})
        assert asked.status_code >= 500, "who names a device is told how it fared there"


@pytest.mark.broker
def test_where_nobody_can_infer_the_gateway_says_so_and_names_the_reason(mesh: Mesh, tmp_path: Path) -> None:
    for name in ("gateway", "third"):
        (tmp_path / name).mkdir()
    with server_in_a_thread() as (server, loop):
        asyncio.run_coroutine_threadsafe(server.stop(), loop).result()
        with (
            gateway_of(mesh.broker, "other", tmp_path / "gateway") as gateway,
            third_device(Mesh(mesh.broker, "other", mesh.folder, mesh.process), tmp_path / "third", server.url),
        ):
            eventually(lambda: THIRD in gateway.get("/readyz").json()["devices_unable"], "it has said so")
            ready = gateway.get("/readyz")
            assert ready.status_code == 503
            assert ready.json()["devices_online"] == 1
            reply = gateway.ask(model="moa")
            assert (reply.status_code, reply.json()["error"]["code"]) == (503, "device_unable")
            # Its presence says that it is unable at once, its next status why.
            eventually(lambda: "no server answers" in gateway.ask(model="moa").text, "the reason is named")
