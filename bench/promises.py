"""What people are promised in seconds, and what a device may cost while nothing happens: measured beside the promise.

    python -m bench.promises [--rounds 5]

Tests wait for the same things for as long as it takes, because a slow machine breaks no promise of ours; here the time
is taken, on this machine. Each line has the worst of all rounds and how much of what is promised it used.
"""

from __future__ import annotations

import argparse
import asyncio
import tempfile
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

import psutil

from broker.access import People
from broker.probe_client import ConnectRefusedError, ProbeClient
from edge_agent.client import DeviceState, MeshClient
from edge_agent.fleet.local import LocalFleet
from edge_agent.fleet.plan import EngineKind, FleetPlan
from tests.app.live_mesh import until_known
from tests.support.secured import SecuredMesh

CUT_OFF_S = 5.0  # who is revoked or removed is out within
SEEN_S = 5.0  # a killed device is shown as offline within
IDLE_SHARE = 0.01  # of one core, for an agent that is asked nothing
IDLE_WINDOW_S = 20.0


async def revoked_device(folder: Path) -> float:
    """Seconds from the revocation to the end of the live session, and until others are let in again."""
    mesh = SecuredMesh(folder)
    async with mesh.broker(folder / "broker") as broker:
        endpoint, friend = mesh.endpoint(broker.port), mesh.device("kitchen")
        live = ProbeClient("thief", endpoint, mesh.device("garage"))
        await asyncio.to_thread(live.connect)
        began = time.perf_counter()
        mesh.revoke(mesh.device("garage"))
        assert await asyncio.to_thread(live.wait_until_ended, 60.0)
        while True:
            try:
                await asyncio.to_thread(ProbeClient("friend", endpoint, friend).__enter__)
                return time.perf_counter() - began
            except ConnectRefusedError:
                continue


async def removed_user(folder: Path) -> float:
    """Seconds from the removal of a user to the end of the live session."""
    mesh = SecuredMesh(folder)
    alice = mesh.user("alice")
    async with mesh.broker(folder / "broker") as broker:
        live = ProbeClient("alice", mesh.endpoint(broker._files.config.listeners.passwords), alice)
        await asyncio.to_thread(live.connect)
        began = time.perf_counter()
        mesh.people = People()
        assert await asyncio.to_thread(live.wait_until_ended, 60.0)
        return time.perf_counter() - began


async def killed_device(folder: Path) -> float:
    """Seconds from the death of a device until a client that watches the mesh has it as offline."""
    plan = FleetPlan(2, EngineKind.SYNTHETIC, service="deterministic:0.02", web=False)
    async with LocalFleet(plan, folder=folder) as fleet, MeshClient(fleet.url, fleet.mesh) as client:
        await client.start_watching()
        await until_known(client, "device-2", DeviceState.ONLINE)
        began = time.perf_counter()
        fleet.kill("device-2")
        await until_known(client, "device-2", DeviceState.OFFLINE)
        return time.perf_counter() - began


async def idle_agent(folder: Path) -> float:
    """The share of one core that the busiest of four agents takes, of which none is asked anything."""
    plan = FleetPlan(4, EngineKind.SYNTHETIC, service="deterministic:0.02", status_interval_s=5.0, web=False)
    async with LocalFleet(plan, folder=folder) as fleet:
        await asyncio.sleep(2.0)  # what a start brings with it is over
        processes = [psutil.Process(device.pid) for device in fleet.devices.values()]
        before = [_cpu_s(process) for process in processes]
        await asyncio.sleep(IDLE_WINDOW_S)
        return max(_cpu_s(one) - was for one, was in zip(processes, before, strict=True)) / IDLE_WINDOW_S


def _cpu_s(process: psutil.Process) -> float:
    times = process.cpu_times()
    return float(times.user + times.system)


async def _worst(measure: Callable[[Path], Awaitable[float]], rounds: int) -> float:
    figures = []
    for _ in range(rounds):
        with tempfile.TemporaryDirectory() as folder:
            figures.append(await measure(Path(folder)))
    return max(figures)


async def main(rounds: int) -> int:
    """Returns 1 if a promise was not kept."""
    broken = 0
    for name, measure, promised, unit, times in (
        ("a revoked device is out, and others are back", revoked_device, CUT_OFF_S, "s", rounds),
        ("a removed user is out", removed_user, CUT_OFF_S, "s", rounds),
        ("a killed device is seen", killed_device, SEEN_S, "s", rounds),
        ("an idle agent's share of one core", idle_agent, IDLE_SHARE, "", 1),
    ):
        worst = await _worst(measure, times)
        print(f"{name}: {worst:.3g}{unit and ' '}{unit} of {promised:g} promised: {worst / promised:.2f}", flush=True)
        broken += worst > promised
    return int(broken > 0)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    raise SystemExit(asyncio.run(main(parser.parse_args().rounds)))
