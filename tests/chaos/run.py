"""One run of chaos: a world, its users, a schedule, then peace, and what the checkers say."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path

from tests.chaos.checks import JOURNAL, Journal, Report, judge_prompts, points_stored, points_written, read_journal
from tests.chaos.faults import Faults
from tests.chaos.record import Key, Listener, Record
from tests.chaos.schedule import count_kinds, draw_schedule
from tests.chaos.users import Users
from tests.chaos.world import MESH, Size, World, other_processes, until
from tests.support.patience import PATIENCE_S

FIRST_ANSWERS = 5  # before the first fault: the mesh works
POLL_S = 1.0
GOES_ON_S = 20.0  # for prompts that are under way at the end, before their journals are looked at again
LOG_FAULTS = ("Traceback (most recent call last)", "InvariantError", "never retrieved")
"""What no log of ours may hold."""


@dataclass(frozen=True)
class Plan:
    """What a run is made of; the seed decides the rest."""

    seed: int
    kills: int
    size: Size = field(default_factory=Size)


class ChaosRun:
    """Runs a plan once.

    Args:
        folder: for everything; its logs and what a violation is about are kept there.
        say: called with a line of news at a time.
    """

    def __init__(self, plan: Plan, folder: Path, say: Callable[[str], None]) -> None:
        self._plan = plan
        self._folder = folder
        self._say = say
        self._world = World(folder, plan.size, plan.seed)
        self._record = Record()
        self._users = Users(self._world, self._record, plan.seed)
        self._faults = Faults(self._world, self._record, self._note)
        self._report = Report()
        self._fault_log = folder / "faults.log"
        self._began = time.monotonic()

    async def run(self) -> dict[str, object]:
        """Returns the summary: what was done, what was promised, what was kept. Everything has ended then."""
        schedule = draw_schedule(self._plan.seed, self._plan.kills, self._world.devices, self._world.models)
        listener = Listener(self._world.broker_url, MESH, self._record)
        try:
            await self._world.start()
            await listener.start()
            await self._under_fire(schedule)
            unanswered = await self._in_peace()
            await listener.stop()
            await self._read_points()
            await self._end(unanswered)
        finally:
            await self._world.kill()
        return self._summary(schedule)

    async def _under_fire(self, schedule: tuple[object, ...]) -> None:
        async with asyncio.TaskGroup() as group:
            group.create_task(self._users.ask())
            await until(self._works, "the mesh answers before the first fault")
            self._say(f"{len(schedule)} faults begin")
            await self._faults.run(schedule)  # type: ignore[arg-type]  # faults, to whom it matters
            self._users.asking = False
            self._say("the faults are over")

    def _works(self) -> bool:
        there = all(map(self._faults.is_there, self._world.devices))
        return there and sum(bool(story.ends) for story in self._record.stories.values()) >= FIRST_ANSWERS

    async def _in_peace(self) -> dict[Key, str]:
        """Everything is well and begins once more; whoever was promised an end asks for it."""
        self._world.switch.heal()
        await self._world.start_all()
        for device in self._world.devices:
            self._faults.begins_anew(device)
            await self._world.programs[device].end()
        await self._world.start_all()
        for device in self._world.devices:
            await until(lambda device=device: self._faults.is_there(device), f"{device} is there again")  # type: ignore[misc]  # bound now
        owed = [key for key in self._record.accepted(durable=True) if key in self._users.asked]
        self._say(f"{len(owed)} accepted prompts are asked again for their ends")
        return await self._users.ask_again(owed, PATIENCE_S)

    async def _read_points(self) -> None:
        """What devices have in their files by now has to reach the database."""
        self._say("comparing telemetry with the database")
        for device in self._world.devices:
            folder = self._world.data(device) / "telemetry"
            written = await asyncio.to_thread(points_written, folder)
            deadline = time.monotonic() + PATIENCE_S
            while True:
                stored = await asyncio.to_thread(points_stored, self._world.database, MESH, device)
                missing = written - stored
                if not missing or time.monotonic() > deadline:
                    break
                await asyncio.sleep(POLL_S)
            strange = stored - await asyncio.to_thread(points_written, folder)
            self._report.points += len(written)
            self._report.points_missing += len(missing)
            self._report.points_strange += len(strange)
            self._report.add(f"point of {device} that the database has not", sorted(missing))
            self._report.add(f"point in the database that {device} has not in its files", sorted(strange))

    async def _let_end(self) -> None:
        """Ends the devices with no prompt under way. A journal can be read by its own device only, while that runs."""
        devices = [self._world.programs[device] for device in self._world.devices]
        deadline = time.monotonic() + PATIENCE_S
        while True:
            for device in devices:
                if await device.end() is None:
                    self._report.violations.append(f"{device.name} did not end on SIGTERM")
            if time.monotonic() > deadline or not any(journal.open for journal in self._journals().values()):
                return
            self._say("prompts are under way: the devices go on")
            for device in devices:
                await device.start()
            await asyncio.sleep(GOES_ON_S)

    def _journals(self) -> dict[str, Journal]:
        return {device: read_journal(self._world.data(device) / JOURNAL) for device in self._world.devices}

    async def _end(self, unanswered: dict[Key, str]) -> None:
        self._say("ending everything")
        await self._let_end()
        ended = await self._world.end()
        self._report.add("did not end on SIGTERM", [name for name, status in ended.items() if status is None])
        try:
            await until(lambda: not other_processes(), "no process is left")
        except TimeoutError:
            self._report.add("left behind", other_processes())
        for program in self._world.programs.values():
            self._report.add(f"{program.name} ended by itself with status", [str(one) for one in program.unforeseen])
            self._report.add(f"log of {program.name}", _faults_in(program.log))
        self._report.add("the gateway said", self._users.odd)
        judge_prompts(self._report, self._record, self._journals(), unanswered)
        if self._report.violations:
            for device in self._world.devices:  # the disks vanish with our namespace
                shutil.copytree(self._world.data(device), self._folder / "kept" / device, dirs_exist_ok=True)

    def _note(self, line: str) -> None:
        with self._fault_log.open("a", encoding="utf-8") as file:
            file.write(f"{time.monotonic() - self._began:8.1f} {line}\n")

    def _summary(self, schedule: tuple[object, ...]) -> dict[str, object]:
        return {
            "seed": self._plan.seed,
            "kills": self._plan.kills,
            "faults": count_kinds(self._faults.done),
            "faults_missed": count_kinds(self._faults.missed),
            "starved_by_niceness": self._faults.starved_by_niceness,
            "starts": {name: program.starts for name, program in self._world.programs.items()},
            "frames": {"forwarded": self._world.switch.forwarded, "lost": self._world.switch.lost},
            "prompts": self._users.prompts,
            "outcomes": self._record.outcomes(),
            "users_gave_up": dict(self._users.gave_up),
            "gateway": dict(self._users.http),
            "load": os.getloadavg()[0],
            "wall_s": round(time.monotonic() - self._began, 1),
            **asdict(self._report),
        }


def _faults_in(log: Path) -> list[str]:
    lines = log.read_text(encoding="utf-8", errors="replace").splitlines() if log.exists() else []
    return [
        f"line {number}: {line[:160]}" for number, line in enumerate(lines, 1) if any(w in line for w in LOG_FAULTS)
    ]


def write_summary(summary: dict[str, object], folder: Path) -> None:
    """Writes the summary where the caller outside the namespaces finds it."""
    (folder / "summary.json").write_text(json.dumps(summary, indent=2) + "\n", encoding="utf-8")
