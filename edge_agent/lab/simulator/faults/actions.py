"""The faults themselves: when each strikes, whom, and for how long."""

from __future__ import annotations

from collections.abc import Callable

from edge_agent.core.events import StopRequested
from edge_agent.lab.simulator.faults import hardware
from edge_agent.lab.simulator.faults.flood import flood
from edge_agent.lab.simulator.faults.hardware import within
from edge_agent.lab.simulator.faults.journal import WRITE_S, Disk
from edge_agent.lab.simulator.faults.kinds import FaultKind
from edge_agent.lab.simulator.faults.mesh import FaultMesh, pick
from edge_agent.lab.simulator.faults.plan import FAULTS_S

_TIMES_MAX = 4  # how often a kind of fault strikes, at most
_YEAR_S = 3.15e7
_EFFECTS_MAX = 6  # a device dies at most this many effects into an event; few events have more


def schedule_faults(mesh: FaultMesh) -> None:
    """Plans every fault of the run. Shares of messages and inferences are the network's and the engines'."""
    strikes: dict[FaultKind, Callable[[FaultMesh], None]] = {
        FaultKind.PARTITION: _partition,
        FaultKind.OUTAGE: _outage,
        FaultKind.DISCONNECT: _disconnect,
        FaultKind.CRASH: _crash,
        FaultKind.DISK: _lose_disk,
        FaultKind.SLOW: _slow,
        FaultKind.WEDGE: _wedge,
        FaultKind.CLOCK: _jump_clock,
        FaultKind.CHURN: _churn,
        **hardware.STRIKES,
        FaultKind.FLOOD: flood,
    }
    for kind, strike in strikes.items():
        for _ in range(mesh.rng.randint(1, _TIMES_MAX) if kind in mesh.plan.kinds else 0):
            mesh.cluster.at(mesh.rng.uniform(0.0, FAULTS_S), _bound(strike, mesh))


def heal(mesh: FaultMesh) -> None:
    """Ends every fault: the network is whole, engines work, every device that did not leave is up and connected."""
    mesh.trace.note(mesh.now, "all faults end")
    mesh.network.heal(mesh.plan.quiet_network)
    mesh.engines.faults = False
    mesh.liars.lying = False
    mesh.broker.up = True
    mesh.cluster.crash_after.clear()
    mesh.aside_until.clear()
    for clone in mesh.clones:
        if clone not in mesh.gone:
            mesh.leave(clone)
    for device in range(mesh.plan.devices):
        mesh.engines.slowness[device] = 1.0
        mesh.engines.wedged[device] = False
        mesh.disks.journals[device].write_s = WRITE_S
        if mesh.disks.journals[device].disk is not Disk.WELL:
            mesh.disks.change(device, Disk.WELL)
        mesh.thaw(device)
        mesh.start(device)
        mesh.engines.reload(device)
        mesh.connect(device)


def _bound(strike: Callable[[FaultMesh], None], mesh: FaultMesh) -> Callable[[], None]:
    return lambda: strike(mesh)


def _partition(mesh: FaultMesh) -> None:
    sides = [mesh.rng.randint(0, 1) for _ in range(mesh.cluster.size)]
    mesh.trace.note(mesh.now, f"partition {sides}")
    mesh.network.split(sides)
    within(mesh, FAULTS_S, lambda: mesh.network.split([0] * mesh.cluster.size))


def _outage(mesh: FaultMesh) -> None:
    mesh.trace.note(mesh.now, "the broker goes")
    mesh.broker.up = False
    for device in range(mesh.cluster.size):
        mesh.disconnect(device)
    if mesh.rng.random() < 0.5:
        mesh.network.forget_kept()

    def back() -> None:
        if mesh.broker.up:
            return  # another outage has ended, or all faults have
        mesh.trace.note(mesh.now, "the broker is back")
        mesh.broker.back()
        for device in range(mesh.cluster.size):
            within(mesh, 3.0, lambda device=device: mesh.connect(device))  # type: ignore[misc]  # bound now, not later

    within(mesh, 20.0, back)


def _disconnect(mesh: FaultMesh) -> None:
    device = pick(mesh.rng, mesh)
    mesh.disconnect(device)
    within(mesh, 20.0, lambda: mesh.connect(device))


def _crash(mesh: FaultMesh) -> None:
    """Dies during the next event, after some of its effects: their order is what is put to the test."""
    device = pick(mesh.rng, mesh)
    if mesh.rng.random() < 0.3:
        mesh.crash(device)
    elif mesh.cluster.agents[device] is not None:
        mesh.cluster.crash_after[device] = mesh.rng.randint(0, _EFFECTS_MAX)
    if mesh.rng.random() < 0.3:
        mesh.disks.clocks[device].boots += 1
    within(mesh, 20.0, lambda: mesh.start(device))


def _lose_disk(mesh: FaultMesh) -> None:
    device = pick(mesh.rng, mesh)
    mesh.crash(device)
    mesh.lose_disk(device)
    within(mesh, 20.0, lambda: mesh.start(device))


def _slow(mesh: FaultMesh) -> None:
    device = pick(mesh.rng, mesh)
    mesh.engines.slowness[device] = mesh.rng.choice((3.0, 10.0))

    def over() -> None:
        mesh.engines.slowness[device] = 1.0

    within(mesh, 30.0, over)


def _wedge(mesh: FaultMesh) -> None:
    device = pick(mesh.rng, mesh)
    mesh.trace.note(mesh.now, f"the engine of d{device} hangs")
    mesh.engines.wedge(device)

    def over() -> None:
        mesh.engines.wedged[device] = False

    within(mesh, 30.0, over)


def _jump_clock(mesh: FaultMesh) -> None:
    device = pick(mesh.rng, mesh)
    jump = mesh.rng.choice((-_YEAR_S, -60.0, 60.0, _YEAR_S))
    mesh.trace.note(mesh.now, f"the wall clock of d{device} jumps by {jump:g} s")
    mesh.disks.clocks[device].offset_s += jump
    if mesh.rng.random() < 0.5:  # a jump is only seen over a reboot: time since boot counts otherwise
        mesh.crash(device)
        mesh.disks.clocks[device].boots += 1
        within(mesh, 10.0, lambda: mesh.start(device))


def _churn(mesh: FaultMesh) -> None:
    device = pick(mesh.rng, mesh)
    up = mesh.plan.devices - len(mesh.gone.difference(mesh.clones))
    # the first seed stays: a device that comes back without a disk must know somebody who is still there
    if mesh.rng.random() < 0.3 and up > 2 and device:
        mesh.trace.note(mesh.now, f"d{device} leaves for good")
        mesh.leave(device)
        return
    mesh.cluster.handle(device, StopRequested())
    mesh.crash(device)
    within(mesh, 20.0, lambda: mesh.start(device))
