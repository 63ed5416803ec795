"""Faults of the machine that a device runs on: its processor, card, disk, engine, identity, and its broker's memory."""

from __future__ import annotations

from collections.abc import Callable

from edge_agent.lab.simulator.faults.journal import WRITE_S, Disk
from edge_agent.lab.simulator.faults.kinds import FaultKind
from edge_agent.lab.simulator.faults.mesh import FaultMesh, pick
from edge_agent.lab.simulator.faults.plan import FAULTS_S


def within(mesh: FaultMesh, longest_s: float, action: Callable[[], None]) -> None:
    """Has something happen at a random moment from now."""
    mesh.cluster.at(mesh.now + mesh.rng.uniform(0.1, longest_s), action)


def _freeze(mesh: FaultMesh) -> None:
    device = pick(mesh.rng, mesh)
    mesh.freeze(device)
    seconds = mesh.rng.choice((1.0, 5.0, 15.0, 40.0))
    if mesh.rng.random() < 0.5:  # before the keepalive runs out, or after
        mesh.cluster.at(mesh.now + mesh.rng.uniform(0.0, seconds), lambda: mesh.cut_off(device))
    mesh.cluster.at(mesh.now + seconds, lambda: mesh.thaw(device))


def _clone(mesh: FaultMesh) -> None:
    for clone, original in mesh.clones.items():
        if clone in mesh.gone and mesh.now < 0.7 * FAULTS_S:
            mesh.trace.note(mesh.now, f"d{clone} comes with the id of d{original}")
            mesh.gone.discard(clone)
            mesh.start(clone)
            mesh.cluster.at(mesh.now + mesh.rng.uniform(5.0, 30.0), lambda clone=clone: mesh.leave(clone))  # type: ignore[misc]  # bound now


def _forget(mesh: FaultMesh) -> None:
    mesh.trace.note(mesh.now, "the broker forgets retained messages")
    mesh.broker.forget_retained()


def _fail_disk(mesh: FaultMesh) -> None:
    device = pick(mesh.rng, mesh)
    mesh.disks.change(device, mesh.rng.choice(tuple(disk for disk in Disk if disk is not Disk.WELL)))
    if mesh.rng.random() < 0.5:  # what the disk did not take must not have been promised
        mesh.cluster.at(mesh.now + mesh.rng.uniform(0.1, 15.0), lambda: _restart(mesh, device))
    within(mesh, 20.0, lambda: mesh.disks.change(device, Disk.WELL))


def _restart(mesh: FaultMesh, device: int) -> None:
    mesh.crash(device)
    within(mesh, 5.0, lambda: mesh.start(device))


def _lose_engine(mesh: FaultMesh) -> None:
    device = pick(mesh.rng, mesh)
    mesh.trace.note(mesh.now, f"the engine of d{device} is gone")
    mesh.engines.lose(device)
    within(mesh, 30.0, lambda: mesh.engines.reload(device))


def _slow_card(mesh: FaultMesh) -> None:
    device = pick(mesh.rng, mesh)
    mesh.disks.journals[device].write_s = seconds = mesh.rng.choice((0.3, 1.0, 4.0))
    mesh.trace.note(mesh.now, f"d{device} takes {seconds} s for a write")

    def over() -> None:
        mesh.disks.journals[device].write_s = WRITE_S

    within(mesh, 20.0, over)


STRIKES: dict[FaultKind, Callable[[FaultMesh], None]] = {
    FaultKind.FREEZE: _freeze,
    FaultKind.CLONE: _clone,
    FaultKind.RETAIN: _forget,
    FaultKind.JOURNAL: _fail_disk,
    FaultKind.UNABLE: _lose_engine,
    FaultKind.CARD: _slow_card,
}
