"""A device's journal as the SQLite one keeps it, with the clock it has: what a restart gets back, and how much time
is left by it.

While the machine stays up, its time since boot counts; over a reboot only the wall clock is left, which may have been
set meanwhile. A step backwards counts as no time at all. A disk may be full, read-only or damaged: then writes fail,
but for ends on a full disk, as long as the reserve has room for them.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import TypeAlias

from edge_agent.core import effects as fx
from edge_agent.core.errors import JournalError
from edge_agent.core.events import JoinedLayer, ReplyRoute, RestoredAnswer, RestoredSession, SessionsRestored
from edge_agent.core.messages import DEADLINE_MAX_S, Answer
from edge_agent.core.sizes import answer_size
from edge_agent.lab.simulator.checkers.one_end import FULL

RESERVE_ENDS = 8  # so few that a run may find it full
WRITE_S = 0.01  # what a card takes for a commit when nothing is wrong with it

Key: TypeAlias = tuple[str, str]


@dataclass(slots=True)
class DeviceClock:
    """A device's clocks. `offset_s`: by how much its wall clock is wrong; `boots`: how often it was booted."""

    offset_s: float = 0.0
    boots: int = 1

    def moment(self, now: float) -> tuple[float, int, float]:
        """Returns (wall clock, boot, seconds that passed, which compare within one boot)."""
        return (1_000_000.0 + now + self.offset_s, self.boots, now)


@dataclass(slots=True)
class _Row:
    prompt: fx.JournalPrompt
    noted: tuple[float, int, float]
    elapsed_s: float = 0.0
    restarts: int = 0
    layers: dict[int, JoinedLayer] = field(default_factory=dict)


class Disk(StrEnum):
    """What a disk is like. Writing raises unless it is `WELL`."""

    WELL = ""
    FULL = FULL
    READ_ONLY = "the disk is read-only"
    UNSYNCED = "the disk did not confirm the write"  # the record may be there all the same: here it is
    DAMAGED = "the file is damaged"


NO_RESERVE = "no space on the disk, nor in the reserve"
"""The one refusal of a full disk that an end may hear."""


class SimulatedJournal:
    """What is on one device's disk.

    Recording raises `JournalError` while the disk is not well. `write_s`: what a commit takes, however much it writes.
    """

    def __init__(self, clock: DeviceClock) -> None:
        self.disk = Disk.WELL
        self.write_s = WRITE_S
        self._clock = clock
        self._rows: dict[Key, _Row] = {}
        self._answers: dict[Key, tuple[Answer, ReplyRoute, bool]] = {}
        self._reserve: list[fx.JournalAnswer] = []  # a file of its own
        self._incarnation = 0

    def next_incarnation(self, now: float) -> int:
        """Returns a number higher than any before; after the loss of the disk, the clock must do."""
        self._incarnation = max(self._incarnation + 1, int(self._clock.moment(now)[0]))
        return self._incarnation

    def record_prompt(self, effect: fx.JournalPrompt, now: float) -> None:
        """An accepted prompt."""
        self._begin()
        key = (effect.reply.inbox, effect.prompt.prompt_id)
        self._answers.pop(key, None)
        self._rows.setdefault(key, _Row(effect, self._clock.moment(now)))
        self._sync()

    def record_layer(self, effect: fx.JournalLayer, now: float) -> None:
        """A joined layer."""
        self._begin()
        row = self._rows.get((effect.reply.inbox, effect.prompt_id))
        if row is not None:
            self._count_time(row, now)
            row.layers[effect.layer] = effect.joined
        self._sync()

    def record_answer(self, effect: fx.JournalAnswer) -> None:
        """The end of a prompt, not delivered yet. The first stays, but for the same one cut."""
        if self.disk is Disk.FULL:
            if len(self._reserve) == RESERVE_ENDS:
                raise JournalError(NO_RESERVE)
            self._reserve.append(effect)
            return
        self._begin()
        key = (effect.reply.inbox, effect.answer.prompt_id)
        self._rows.pop(key, None)
        known = self._answers.get(key)
        if known is None:
            self._answers[key] = (effect.answer, effect.reply, False)
        elif answer_size(effect.answer) < answer_size(known[0]):
            self._answers[key] = (effect.answer, known[1], False)
        self._sync()

    def mark_delivered(self, effect: fx.JournalDelivered) -> None:
        """The broker has taken an answer."""
        self._begin()
        key = (effect.reply.inbox, effect.prompt_id)
        kept = self._answers.get(key)
        if kept is not None:
            self._answers[key] = (kept[0], kept[1], True)
        self._sync()

    def change(self, disk: Disk) -> None:
        """The disk fails, or is well again: then a damaged journal is set aside, and takes what the reserve holds."""
        if disk is not Disk.DAMAGED and self.disk is Disk.DAMAGED:
            self.set_aside()
        self.disk = disk
        self._take_from_reserve()

    def set_aside(self) -> None:
        """A damaged file is put away, and an empty journal begins."""
        self.disk = Disk.WELL
        self._rows.clear()
        self._answers.clear()

    def restore(self, now: float) -> SessionsRestored:
        """Returns what is kept, and counts a restart. A damaged journal is set aside by it."""
        if self.disk is Disk.DAMAGED:
            self.set_aside()
        self._take_from_reserve()
        ended = {(kept.reply.inbox, kept.answer.prompt_id): kept for kept in self._reserve}
        sessions = []
        for key, row in self._rows.items():
            if key in ended:
                continue
            row.restarts += 1
            self._count_time(row, now)
            deadline = row.prompt.deadline_in_s
            layers: list[JoinedLayer] = []
            while len(layers) + 1 in row.layers:  # a layer builds on the one before
                layers.append(row.layers[len(layers) + 1])
            sessions.append(
                RestoredSession(
                    prompt=row.prompt.prompt,
                    reply=row.prompt.reply,
                    remaining_s=None if deadline is None else max(0.0, deadline - row.elapsed_s),
                    elapsed_s=row.elapsed_s,
                    layers=tuple(layers),
                    restarts=row.restarts,
                    layer_count=row.prompt.layer_count,
                    fanout=row.prompt.fanout,
                )
            )
        answers = [RestoredAnswer(*kept) for key, kept in self._answers.items() if key not in ended]
        answers += [RestoredAnswer(kept.answer, kept.reply, False) for kept in ended.values()]
        return SessionsRestored(tuple(sessions), tuple(answers))

    def _take_from_reserve(self) -> None:
        if self.disk is Disk.WELL:
            reserve, self._reserve = self._reserve, []
            for effect in reserve:
                self.record_answer(effect)

    def _begin(self) -> None:
        if self.disk not in (Disk.WELL, Disk.UNSYNCED):
            raise JournalError(self.disk.value)

    def _sync(self) -> None:
        if self.disk is Disk.UNSYNCED:
            raise JournalError(self.disk.value)

    def _count_time(self, row: _Row, now: float) -> None:
        wall, boot, passed = self._clock.moment(now)
        wall_before, boot_before, passed_before = row.noted
        step = passed - passed_before if boot == boot_before else wall - wall_before
        longest = DEADLINE_MAX_S if row.prompt.deadline_in_s is None else row.prompt.deadline_in_s
        row.elapsed_s = min(row.elapsed_s + max(0.0, step), longest)
        row.noted = (wall, boot, passed)
