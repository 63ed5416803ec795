"""What systemd is told, heard on a real socket, and from a real agent process."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import sys
from pathlib import Path

import pytest

from edge_agent.core.health import Part, Problem
from edge_agent.runtime.service_manager import ServiceManager
from edge_agent.tasks import within
from tests.support.patience import PATIENCE_S


@pytest.fixture
def manager_socket(tmp_path: Path) -> socket.socket:
    heard = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    heard.bind(str(tmp_path / "notify"))
    heard.settimeout(PATIENCE_S)
    return heard


async def test_signs_of_life_come_three_times_a_watchdog(manager_socket: socket.socket, tmp_path: Path) -> None:
    with manager_socket:
        manager = ServiceManager({"NOTIFY_SOCKET": str(tmp_path / "notify"), "WATCHDOG_USEC": "300000"})
        manager.ready()
        heard = [await asyncio.to_thread(manager_socket.recv, 100) for _ in range(4)]
        assert heard == [b"READY=1", b"WATCHDOG=1", b"WATCHDOG=1", b"WATCHDOG=1"]


async def test_without_systemd_nothing_happens() -> None:
    manager = ServiceManager({})
    manager.ready()
    manager.stopping()
    assert not [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]


@pytest.mark.parametrize("environment", [{"WATCHDOG_USEC": "often"}, {"WATCHDOG_USEC": "300000", "WATCHDOG_PID": "1"}])
async def test_a_watchdog_that_is_not_ours_gets_no_signs(
    manager_socket: socket.socket, tmp_path: Path, environment: dict[str, str]
) -> None:
    with manager_socket:
        manager = ServiceManager({"NOTIFY_SOCKET": str(tmp_path / "notify"), **environment})
        manager.ready()
        manager.stopping()
        assert [manager_socket.recv(100), manager_socket.recv(100)] == [b"READY=1", b"STOPPING=1"]


async def test_what_is_wrong_is_told_and_that_nothing_is(manager_socket: socket.socket, tmp_path: Path) -> None:
    with manager_socket:
        manager = ServiceManager({"NOTIFY_SOCKET": str(tmp_path / "notify")})
        manager.tell((Problem(Part.BROKER, "nobody listens"), Problem(Part.JOURNAL, "the disk is full")))
        manager.tell(())
        assert manager_socket.recv(200) == b"STATUS=broker: nobody listens; journal: the disk is full"
        assert manager_socket.recv(200) == b"STATUS=all is well"


async def test_a_socket_that_is_gone_stops_nobody(tmp_path: Path) -> None:
    manager = ServiceManager({"NOTIFY_SOCKET": str(tmp_path / "gone")})
    manager.ready()
    manager.stopping()
    assert not (tmp_path / "gone").exists()


async def test_an_agent_says_ready_signs_and_stopping(manager_socket: socket.socket, tmp_path: Path) -> None:
    config = tmp_path / "agent.toml"
    config.write_text(
        f'[device]\nid = "kitchen"\ndata_dir = "{tmp_path / "data"}"\n'
        '[broker]\nurls = ["mqtt://127.0.0.1:9"]\n[engine]\nkind = "synthetic"\n'
    )
    environment = os.environ | {"NOTIFY_SOCKET": str(tmp_path / "notify"), "WATCHDOG_USEC": "600000"}
    with manager_socket:
        agent = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "edge_agent.cli.main", "agent", "--config", str(config)),
            env=environment,
            stderr=asyncio.subprocess.DEVNULL,
        )
        try:
            heard: list[bytes] = []
            while heard.count(b"WATCHDOG=1") < 2 or not any(one.startswith(b"STATUS=") for one in heard):
                heard.append(await asyncio.to_thread(manager_socket.recv, 1000))
            agent.send_signal(signal.SIGTERM)
            while heard[-1] != b"STOPPING=1":
                heard.append(await asyncio.to_thread(manager_socket.recv, 1000))
            assert heard[0] == b"READY=1"
            (said,) = {one for one in heard if one.startswith(b"STATUS=")}
            assert b"broker mqtt://127.0.0.1:9: nothing listens there" in said, "as `systemctl status` shows it"
            assert await within(agent.wait(), PATIENCE_S) == 0
        finally:
            if agent.returncode is None:
                agent.kill()
                await agent.wait()
