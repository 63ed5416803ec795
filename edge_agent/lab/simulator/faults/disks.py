"""The disks of a fault run: what journal effects come to, and what a device is told of its journal.

Stands for journal and runtime together. One write at a time: what comes meanwhile is written by the next, all at once.
The runtime owes the core word of each prompt and end, in their order, and of a journal that is not well.
"""

from __future__ import annotations

import random
from collections import deque
from typing import TypeAlias

from edge_agent.core import effects as fx
from edge_agent.core import events as ev
from edge_agent.core.errors import JournalError
from edge_agent.core.health import Part
from edge_agent.lab.simulator.checkers import Checker
from edge_agent.lab.simulator.cluster import Cluster
from edge_agent.lab.simulator.faults.journal import DeviceClock, Disk, SimulatedJournal
from edge_agent.lab.simulator.trace import Trace

Record: TypeAlias = fx.JournalPrompt | fx.JournalLayer | fx.JournalAnswer | fx.JournalDelivered


class Disks:
    """All of them."""

    def __init__(self, cluster: Cluster, trace: Trace, checkers: list[Checker], rng: random.Random) -> None:
        self.clocks = [DeviceClock() for _ in range(cluster.size)]
        self.journals = [SimulatedJournal(clock) for clock in self.clocks]
        self._failed = [False] * cluster.size
        self._waiting: list[deque[Record]] = [deque() for _ in range(cluster.size)]
        self._writing: list[list[Record]] = [[] for _ in range(cluster.size)]
        self._cluster = cluster
        self._trace = trace
        self._checkers = checkers
        self._rng = rng
        for kind in (fx.JournalPrompt, fx.JournalLayer, fx.JournalAnswer, fx.JournalDelivered):
            cluster.carry_out_with(kind, self.write)

    def open(self, device: int) -> ev.SessionsRestored:
        """A new process opens its journal: returns what that holds."""
        self._failed[device] = False
        return self.journals[device].restore(self._cluster.now)

    def died(self, device: int) -> None:
        """What was being written may be on disk or not; what waited is not."""
        self._waiting[device].clear()
        batch, self._writing[device] = self._writing[device], []
        if batch and self._rng.random() < 0.5:
            self._commit(device, batch)

    def replace(self, device: int) -> None:
        """A new and empty disk."""
        self.journals[device] = SimulatedJournal(self.clocks[device])

    def change(self, device: int, disk: Disk) -> None:
        """A disk fails, or is well again: then a damaged journal is set aside."""
        journal = self.journals[device]
        self._trace.note(self._cluster.now, f"the disk of d{device}: {disk.value or 'well again'}")
        if disk is Disk.DAMAGED:
            for checker in self._checkers:
                checker.journal_damaged(device)
        journal.change(disk)
        if disk is Disk.WELL and self._failed[device]:
            self._failed[device] = False
            self._cluster.handle(device, ev.HealthChanged(Part.JOURNAL, ""))

    def write(self, device: int, record: Record) -> None:
        """Takes a record: it is written with the next commit."""
        self._waiting[device].append(record)
        if not self._writing[device]:
            self._begin(device)

    def tell(self, device: int, record: Record, error: str) -> None:
        """The journal's word on a record that the core waits for."""
        if isinstance(record, fx.JournalPrompt):
            word = ev.RecordWritten(ev.JournalRecord.PROMPT, record.prompt.prompt_id, record.reply, error)
        elif isinstance(record, fx.JournalAnswer):
            word = ev.RecordWritten(ev.JournalRecord.ANSWER, record.answer.prompt_id, record.reply, error)
        else:
            return
        self._cluster.post(self._cluster.now, device, word)

    def _begin(self, device: int) -> None:
        batch = self._writing[device] = list(self._waiting[device])
        self._waiting[device].clear()

        def done() -> None:
            if self._writing[device] is not batch:  # it died meanwhile
                return
            errors = self._commit(device, batch)
            trouble = self.journals[device].disk.value or next(filter(None, errors), "")
            if trouble and not self._failed[device]:
                self._failed[device] = True
                self._cluster.post(self._cluster.now, device, ev.HealthChanged(Part.JOURNAL, trouble))
            for record, error in zip(batch, errors, strict=True):
                self.tell(device, record, error)
            self._writing[device] = []
            if self._waiting[device]:
                self._begin(device)

        self._cluster.at(self._cluster.now + self.journals[device].write_s, done)

    def _commit(self, device: int, batch: list[Record]) -> list[str]:
        """Writes records all at once; returns what each came to, "" if it is on disk."""
        journal, now = self.journals[device], self._cluster.now
        errors: list[str] = []
        for record in batch:
            error = ""
            try:
                if isinstance(record, fx.JournalPrompt):
                    journal.record_prompt(record, now)
                elif isinstance(record, fx.JournalLayer):
                    journal.record_layer(record, now)
                elif isinstance(record, fx.JournalAnswer):
                    journal.record_answer(record)
                else:
                    journal.mark_delivered(record)
            except JournalError as failure:
                error = str(failure)
            errors.append(error)
        return errors
