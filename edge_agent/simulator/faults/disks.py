"""The disks of a fault run: what journal effects come to, and what a device is told of its journal.

Stands for journal and runtime together. The runtime owes the core word of a journal that cannot be written, and that it
can be again; and a receipt that goes out after its prompt could not be written says so.
"""

from __future__ import annotations

from collections.abc import Callable

from edge_agent.core import effects as fx
from edge_agent.core import events as ev
from edge_agent.core.errors import JournalError
from edge_agent.core.health import Part
from edge_agent.simulator.checkers import Checker
from edge_agent.simulator.cluster import Cluster
from edge_agent.simulator.faults.journal import DeviceClock, Disk, SimulatedJournal
from edge_agent.simulator.trace import Trace


class Disks:
    """All of them."""

    def __init__(self, cluster: Cluster, trace: Trace, checkers: list[Checker]) -> None:
        self.clocks = [DeviceClock() for _ in range(cluster.size)]
        self.journals = [SimulatedJournal(clock) for clock in self.clocks]
        self.failed = [False] * cluster.size
        """Whether the last write of each device failed."""
        self._cluster = cluster
        self._trace = trace
        self._checkers = checkers
        cluster.carry_out_with(fx.JournalPrompt, self._prompt)
        cluster.carry_out_with(fx.JournalLayer, self._layer)
        cluster.carry_out_with(fx.JournalAnswer, self._answer)

    def restarted(self, device: int) -> None:
        """A new process tries anew."""
        self.failed[device] = False

    def replace(self, device: int) -> None:
        """A new and empty disk."""
        self.journals[device] = SimulatedJournal(self.clocks[device])

    def change(self, device: int, disk: Disk) -> None:
        """A disk fails, or is well again: then a damaged journal is set aside, and an empty one begun."""
        journal = self.journals[device]
        self._trace.note(self._cluster.now, f"the disk of d{device}: {disk.value or 'well again'}")
        if disk is Disk.DAMAGED:
            for checker in self._checkers:
                checker.journal_damaged(device)
        elif journal.disk is Disk.DAMAGED:
            journal.set_aside()
        journal.disk = disk
        if disk is Disk.WELL and self.failed[device]:
            self.failed[device] = False
            self._cluster.handle(device, ev.HealthChanged(Part.JOURNAL, ""))

    def mark_delivered(self, device: int, topic: str, prompt_id: str) -> None:
        """The broker has taken an answer."""
        self._write(device, lambda: self.journals[device].mark_delivered(topic, prompt_id))

    def _prompt(self, device: int, effect: fx.JournalPrompt) -> None:
        now = self._cluster.now
        if not self._write(device, lambda: self.journals[device].record_prompt(effect, now), holds=True):
            for checker in self._checkers:
                checker.prompt_not_kept(device, effect.reply.topic, effect.prompt.prompt_id)

    def _layer(self, device: int, effect: fx.JournalLayer) -> None:
        now = self._cluster.now
        self._write(device, lambda: self.journals[device].record_layer(effect, now), holds=True)

    def _answer(self, device: int, effect: fx.JournalAnswer) -> None:
        if not self._write(device, lambda: self.journals[device].record_answer(effect), holds=True):
            for checker in self._checkers:
                checker.end_not_kept(device, effect.reply.topic, effect.answer.prompt_id)

    def _write(self, device: int, write: Callable[[], None], *, holds: bool = False) -> bool:
        if holds:
            self._cluster.write_s = self.journals[device].write_s
        try:
            write()
        except JournalError as error:
            self.note_failure(device, str(error))
            return False
        return True

    def note_failure(self, device: int, detail: str) -> None:
        """A write failed: from now on receipts say so, and the core is told."""
        if not self.failed[device]:
            self.failed[device] = True
            self._cluster.post(self._cluster.now, device, ev.HealthChanged(Part.JOURNAL, detail))
