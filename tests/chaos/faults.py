"""Carries out a schedule on a world, and makes good what it did."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from tests.chaos.programs import Program, children_of
from tests.chaos.record import Record
from tests.chaos.schedule import MODEL, Fault, Kind
from tests.chaos.world import World, until

FILLER = "filler"
READY_SHARE = 0.5  # of the devices are there again before the next fault: a slow machine is not kept from starting any
READY_S = 120.0  # then the next fault comes in any case: a device may be kept away by a fault that lasts
PROCESS_S = 120.0  # to wait for a process that is to be killed and does not run just now


@dataclass
class Faults:
    """Does what a schedule says, in its order.

    Attributes:
        done: what was carried out, and `missed` what was not: its process did not come in time.
    """

    world: World
    record: Record
    say: Callable[[str], None]
    done: list[Fault] = field(default_factory=list)
    missed: list[Fault] = field(default_factory=list)
    starved_by_niceness: int = 0
    _started_as: dict[str, int] = field(default_factory=dict)
    _busy: dict[tuple[Kind, str], asyncio.Lock] = field(default_factory=dict)

    async def run(self, schedule: tuple[Fault, ...]) -> None:
        """Carries out all of it; returns when the last one is over and made good."""
        async with asyncio.TaskGroup() as under_way:
            for fault in schedule:
                await asyncio.sleep(fault.gap_s)
                with contextlib.suppress(TimeoutError):
                    await until(self._enough_are_there, "half of the devices are there", READY_S)
                lock = self._busy.setdefault((fault.kind, fault.target), asyncio.Lock())
                await lock.acquire()  # the same on the same target is over
                under_way.create_task(self._do(fault, lock))

    def _enough_are_there(self) -> bool:
        there = sum(self.is_there(device) for device in self.world.devices)
        return there >= READY_SHARE * len(self.world.devices)

    def is_there(self, device: str) -> bool:
        """Whether this run of the device's process has said that it is there."""
        incarnation = self.record.online.get(device, 0)
        # another one, not a higher one: a device whose clock is wrong and whose disk is full may know no better
        return self.world.programs[device].pid is not None and incarnation not in (0, self._started_as.get(device))

    def begins_anew(self, device: str) -> None:
        """What was heard of a device so far does not say that it is there."""
        self._started_as[device] = self.record.online.get(device, self._started_as.get(device, 0))

    async def _do(self, fault: Fault, lock: asyncio.Lock) -> None:
        self.say(f"{fault.number}: {fault.kind} {fault.target} for {fault.lasts_s:.1f} s {fault.amount or ''}")
        try:
            match fault.kind:
                case Kind.KILL:
                    happened = await self._kill(fault)
                case Kind.STOP:
                    happened = await self._stop(fault)
                case Kind.STARVE:
                    happened = await self._starve(fault)
                case Kind.FILL:
                    happened = await self._fill(fault)
                case Kind.CLOCK:
                    happened = await self._set_clock(fault)
                case Kind.SLOW | Kind.LOSSY | Kind.DEAF | Kind.MUTE:
                    happened = await self._harm_cable(fault)
            (self.done if happened else self.missed).append(fault)
        finally:
            lock.release()

    async def _kill(self, fault: Fault) -> bool:
        if fault.target.startswith(MODEL):
            pid = await self._model_pid(fault.target)
            if pid is not None:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            return pid is not None
        program = self.world.programs[fault.target]
        with contextlib.suppress(TimeoutError):
            await until(lambda: program.pid is not None, f"{program.name} runs", PROCESS_S)
        if fault.target in self.world.devices:
            self.begins_anew(fault.target)
        if not await program.kill():
            return False
        await asyncio.sleep(fault.lasts_s)
        await program.start()
        return True

    async def _stop(self, fault: Fault) -> bool:
        pid = await self._pid(fault.target)
        if pid is None:
            return False
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGSTOP)
            await asyncio.sleep(fault.lasts_s)
            os.kill(pid, signal.SIGCONT)
        return True

    async def _starve(self, fault: Fault) -> bool:
        program = self._program(fault.target)
        if program.pid is None:
            return False
        self.starved_by_niceness += not program.starve(fault.amount)
        await asyncio.sleep(fault.lasts_s)
        program.feed()
        return True

    async def _fill(self, fault: Fault) -> bool:
        filler = self.world.data(fault.target) / FILLER
        until_at = time.monotonic() + fault.lasts_s
        try:
            while time.monotonic() < until_at:  # what the device frees meanwhile is filled too
                fill(filler, int(fault.amount))
                await asyncio.sleep(0.2)
        finally:
            filler.unlink(missing_ok=True)
        return True

    async def _set_clock(self, fault: Fault) -> bool:
        file = self.world.clock_file(fault.target)
        _write_whole(file, f"-{fault.amount:.0f}\n")
        await asyncio.sleep(fault.lasts_s)
        _write_whole(file, "+0\n")
        return True

    async def _harm_cable(self, fault: Fault) -> bool:
        cable = self.world.switch.cables[fault.target]
        name, value, healthy = {
            Kind.SLOW: ("delay_s", fault.amount, 0.0),
            Kind.LOSSY: ("loss", fault.amount, 0.0),
            Kind.DEAF: ("deaf", True, False),
            Kind.MUTE: ("mute", True, False),
        }[fault.kind]
        setattr(cable, name, value)
        await asyncio.sleep(fault.lasts_s)
        setattr(cable, name, healthy)
        return True

    def _program(self, target: str) -> Program:
        return self.world.programs[target.removeprefix(MODEL)]

    async def _pid(self, target: str) -> int | None:
        return await self._model_pid(target) if target.startswith(MODEL) else self._program(target).pid

    async def _model_pid(self, target: str) -> int | None:
        """The model process of a device, when it has one."""
        found: list[int] = []

        def there() -> bool:
            pid = self._program(target).pid
            found[:] = children_of(pid) if pid is not None else []
            return bool(found)

        with contextlib.suppress(TimeoutError):
            await until(there, target, PROCESS_S)
        return found[0] if found else None


def fill(path: Path, left: int) -> None:
    """Fills a file system with a file at `path`, but for `left` bytes."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    try:
        disk = os.fstatvfs(descriptor)
        room = disk.f_bavail * disk.f_frsize - left
        if room > 0:
            with contextlib.suppress(OSError):  # a race with the device that writes: it is as full as can be
                os.posix_fallocate(descriptor, os.fstat(descriptor).st_size, room)
    finally:
        os.close(descriptor)


def _write_whole(path: Path, text: str) -> None:
    """A reader sees the old text or the new."""
    new = path.with_suffix(".new")
    new.write_text(text)
    new.replace(path)
