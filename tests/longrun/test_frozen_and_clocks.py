"""Agent, gateway and mesh service go on by themselves after they were frozen, and whatever becomes of the clock."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from edge_agent.client import MeshClient
from edge_agent.core.messages import Answer
from edge_agent.fleet.local import LocalFleet
from provisioning.claiming import claim
from tests.conftest import missing
from tests.longrun.programs import END_S, Program, program
from tests.longrun.test_users_commands import answered, fleet
from tests.provisioning.home import Home
from tests.support.patience import PATIENCE_S
from tests.support.secured import free_ports

pytestmark = [pytest.mark.broker, pytest.mark.long]

_LIBRARIES = sorted(Path("/usr/lib").glob("*/faketime/libfaketimeMT.so.1"))
FROZEN_S = 90.0  # longer than a broker's patience with a silent client (keep-alive 60 s and half of it)
DAYS = 20


class Site:
    """The three of them, at work."""

    def __init__(self, mesh: LocalFleet, gateway: Program, url: str, home: Home, service: Program) -> None:
        self.mesh = mesh
        self._gateway = gateway
        self._url = url
        self._home = home
        self._service = service
        self._admitted = 0

    @property
    def pids(self) -> list[int]:
        devices = [device.pid for device in self.mesh.devices.values()]
        return [pid for pid in (*devices, self._gateway.process.pid, self._service.process.pid) if pid is not None]

    async def check(self, what: str) -> None:
        """Each does what it is for."""
        async with MeshClient(self.mesh.url, self.mesh.mesh) as client:
            for name in self.mesh.devices:
                answer = await client.ask_to_end(name, "still there?")
                assert isinstance(answer, Answer), what
                assert answer.outcome == "answered", what
        assert await answered(self._url), what
        self._admitted += 1
        invitation = self._home.invite(f"device-{self._admitted}", lifetime_s=4 * DAYS * 86_400.0)
        store = self._home.store(invitation.device_id, invitation)
        connect = self._home.claimant(invitation, store)
        await claim(store, invitation.secret, connect, give_up_s=PATIENCE_S, pause_min_s=0.1)
        for one in (self._gateway, self._service):
            one.check()

    async def end(self) -> None:
        """On SIGTERM, in order and promptly."""
        assert await self._gateway.ends_on_sigterm() == 0
        assert await self._service.ends_on_sigterm() == 143
        for device in self.mesh.devices.values():
            device.send_signal(signal.SIGTERM)
            async with asyncio.timeout(END_S):
                assert await device.wait() == 0, device.log_tail()


@contextlib.asynccontextmanager
async def site(folder: Path) -> AsyncIterator[Site]:
    (folder / "secured").mkdir()
    home = Home(folder / "secured")
    (port,) = free_ports(1)
    async with (
        home.broker(),
        fleet(folder) as mesh,
        program("mesh serve", folder, "mesh", "serve", "home", env={"MOAMESH_HOME": str(home.folder)}) as service,
        program(
            "gateway",
            folder,
            *("gateway", "--broker", mesh.url, "--mesh", mesh.mesh, "--port", str(port)),
            *("--keys-file", str(folder / "keys.json")),
        ) as gateway,
    ):
        await service.said("answering claims")
        await gateway.said("http://")
        made = Site(mesh, gateway, f"http://127.0.0.1:{port}", home, service)
        await made.check("before anything happens")
        yield made


async def test_frozen_for_ninety_seconds_they_go_on_by_themselves(tmp_path: Path) -> None:
    async with site(tmp_path) as running:
        for pid in running.pids:
            os.kill(pid, signal.SIGSTOP)
        await asyncio.sleep(FROZEN_S)  # not a wait for something: they are frozen for so long
        for pid in running.pids:
            os.kill(pid, signal.SIGCONT)
        await running.check("after they were frozen")
        await running.end()


async def test_clocks_that_step_by_twenty_days_stop_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    if not _LIBRARIES:
        missing("libfaketime is not installed: apt-get install libfaketime")
    clock = tmp_path / "clock"
    clock.write_text("+0d")
    for name, value in {
        "LD_PRELOAD": str(_LIBRARIES[0]),
        "FAKETIME_TIMESTAMP_FILE": str(clock),
        "FAKETIME_CACHE_DURATION": "1",  # seconds; to look at the file at every reading of the clock stalls everything
        "DONT_FAKE_MONOTONIC": "1",
        "FAKETIME_DONT_FAKE_MONOTONIC": "1",
    }.items():
        monkeypatch.setenv(name, value)  # for whatever is started from here on, and not for this process
    async with site(tmp_path) as running:
        for step in (f"+{DAYS}d", f"-{DAYS}d"):
            clock.write_text(step)
            await running.check(f"the clock at {step}")
        await running.end()
