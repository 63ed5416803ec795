"""A broker and real device processes on this host."""

from __future__ import annotations

import asyncio
import os
import socket
import subprocess
import sys
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import psutil
import pytest
import pytest_asyncio

from broker.probe_client import ConnectRefusedError, Credentials, ProbeClient
from broker.web_login import try_login, web_endpoint
from edge_agent.client import DeviceState, MeshClient
from edge_agent.core.errors import SettingsError
from edge_agent.core.messages import Answer, PromptOptions
from edge_agent.fleet.local import FleetError, LocalFleet
from edge_agent.fleet.plan import EngineKind, FleetPlan
from tests.support.patience import PATIENCE_S

RESIDENT_BYTES_MAX = 80 * 1024 * 1024  # an agent without its model process
pytestmark = pytest.mark.broker


def plan(devices: int, service: str = "deterministic:0.02") -> FleetPlan:
    return FleetPlan(devices, EngineKind.SYNTHETIC, service=service)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def pair(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[LocalFleet]:
    """Two devices, and no web listener."""
    plan = FleetPlan(2, EngineKind.SYNTHETIC, service="deterministic:0.02", web=False)
    async with LocalFleet(plan, folder=tmp_path_factory.mktemp("pair")) as fleet:
        yield fleet


async def until(holds: Callable[[], bool], timeout_s: float = PATIENCE_S) -> None:
    async with asyncio.timeout(timeout_s):
        while not holds():  # noqa: ASYNC110 - what is waited for has no event
            await asyncio.sleep(0.02)


async def test_devices_answer_together_and_everything_is_gone_afterwards(tmp_path: Path) -> None:
    async with LocalFleet(plan(3), folder=tmp_path) as fleet:
        pids = [device.pid for device in fleet.devices.values()]
        processes = [psutil.Process(pid) for pid in pids if pid is not None]
        assert len(processes) == 3
        assert max(process.memory_info().rss for process in processes) < RESIDENT_BYTES_MAX
        async with MeshClient(fleet.url, fleet.mesh) as client:
            end = await client.ask_to_end("device-2", "why?", PromptOptions(layers=1, fanout=2))
        assert isinstance(end, Answer)
        assert {item.device_id for item in end.provenance.layers[0]} == {"device-1", "device-2", "device-3"}
        broker = fleet.broker.pid
    await until(lambda: not any(process.is_running() for process in processes))
    assert broker is not None
    assert not psutil.pid_exists(broker)


@pytest.mark.asyncio(loop_scope="module")
async def test_a_killed_device_is_seen_offline_and_comes_back_as_itself(pair: LocalFleet) -> None:
    fleet = pair
    async with MeshClient(fleet.url, fleet.mesh) as client:
        await client.discover(PATIENCE_S, at_least=2)

        def state() -> DeviceState:
            view = client.roster.get("device-1")
            return DeviceState.UNKNOWN if view is None else view.state(asyncio.get_running_loop().time())

        before = client.roster.get("device-1")
        fleet.kill("device-1")
        await until(lambda: state() is DeviceState.OFFLINE)
        await fleet.until_died("device-1")
        assert [device.device_id for device in fleet.dead()] == ["device-1"]
        await fleet.restart("device-1")
        await until(lambda: state() is DeviceState.ONLINE)
        after = client.roster.get("device-1")
        assert before is not None
        assert after is not None
        assert before.presence is not None
        assert after.presence is not None
        assert after.presence.entry.incarnation > before.presence.entry.incarnation
        assert fleet.dead() == ()


async def test_a_device_that_cannot_start_is_named_with_the_end_of_its_log(tmp_path: Path) -> None:
    missing = FleetPlan(1, EngineKind.LLAMA, models=(str(tmp_path / "nowhere.gguf"),))
    with pytest.raises(FleetError, match=r"device-1 ended with status 2 before it was online(.|\n)*nowhere\.gguf"):
        await LocalFleet(missing, folder=tmp_path / "run").start()


async def test_a_taken_port_is_one_clear_error(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(FleetError, match=f"port {port}"):
            await LocalFleet(FleetPlan(1, EngineKind.SYNTHETIC, port=port), folder=tmp_path).start()


def test_devices_die_with_the_process_that_started_them(tmp_path: Path) -> None:
    code = (
        "import asyncio, sys\n"
        "from pathlib import Path\n"
        "from edge_agent.fleet.local import LocalFleet\n"
        "from edge_agent.fleet.plan import EngineKind, FleetPlan\n"
        "async def main():\n"
        "    async with LocalFleet(FleetPlan(2, EngineKind.SYNTHETIC), folder=Path(sys.argv[1])) as fleet:\n"
        "        print(*(device.pid for device in fleet.devices.values()), flush=True)\n"
        "        await asyncio.Event().wait()\n"
        "asyncio.run(main())\n"
    )
    with subprocess.Popen([sys.executable, "-c", code, str(tmp_path)], stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        devices = [psutil.Process(int(pid)) for pid in parent.stdout.readline().split()]
        assert len(devices) == 2
        parent.kill()
    _, alive = psutil.wait_procs(devices, timeout=PATIENCE_S)
    assert alive == []


def test_a_plan_has_a_sane_size_and_shares_the_cores() -> None:
    with pytest.raises(SettingsError, match="1 to 64 devices"):
        plan(0)
    with pytest.raises(SettingsError, match="needs a model"):
        FleetPlan(1)
    assert plan(64).threads == 1
    assert plan(1).threads == len(os.sched_getaffinity(0))
    assert plan(10).device_ids[:2] == ("device-01", "device-02")


async def test_a_user_gets_in_by_the_web_listener_until_removed(tmp_path: Path) -> None:
    async with LocalFleet(plan(1), folder=tmp_path) as fleet:
        first = await fleet.add_user("alice")
        second = await fleet.add_user("alice", ["device-1"])
        assert first != second
        endpoint = web_endpoint(fleet.web_url)
        with pytest.raises(ConnectRefusedError):
            await asyncio.to_thread(try_login, endpoint, "user.alice", first)
        alice = ProbeClient("alice-1", endpoint, Credentials(username="user.alice", password=second))
        await asyncio.to_thread(alice.connect)
        await fleet.remove_user("alice")
        assert await asyncio.to_thread(alice.wait_until_ended, PATIENCE_S)
        with pytest.raises(ConnectRefusedError):
            await asyncio.to_thread(try_login, endpoint, "user.alice", second)
        with pytest.raises(SettingsError, match="no user is called 'alice'; nobody is paired"):
            await fleet.remove_user("alice")
    kept = (tmp_path / "users.json").read_text()
    assert first not in kept
    assert second not in kept


@pytest.mark.asyncio(loop_scope="module")
async def test_a_fleet_without_a_web_listener_says_so(pair: LocalFleet) -> None:
    assert pair.web_url == ""
    with pytest.raises(FleetError, match="no web listener"):
        await pair.add_user("alice")
