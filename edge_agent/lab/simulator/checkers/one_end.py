"""Nobody is told two different ends of one prompt."""

from __future__ import annotations

from collections.abc import Sequence

from edge_agent.core.agent import Agent
from edge_agent.core.effects import Effect
from edge_agent.core.events import Event, JournalRecord, RecordWritten
from edge_agent.core.messages import Answer
from edge_agent.lab.simulator.checkers.base import EndsOfDevices, Key
from edge_agent.lab.simulator.checkers.ends_once import is_cut_of

FULL = "no space on the disk"
"""The error that an end must not come to: whoever writes one has room for it (`SimulatedJournal`)."""


class OneEnd(EndsOfDevices[Answer]):
    """Looks with the users' eyes: at what reached them, whatever the device believes."""

    name = "nobody is told two different ends"

    def __init__(self) -> None:
        super().__init__()
        self._written: set[Key] = set()

    def journal_damaged(self, device: int) -> None:
        """Ends that the damaged file holds are lost with it, also those that have not reached their users yet."""
        super().journal_damaged(device)
        self._unkept |= {key for key in self._written if key[0] == device}

    def begun_anew(self, device: int, inbox: str, prompt_id: str) -> None:
        """What its user heard before is forgotten."""
        self._ends.pop((device, inbox, prompt_id), None)

    def after(self, now: float, device: int, agent: Agent, event: Event, effects: Sequence[Effect]) -> None:
        """An end that could not be written is told all the same. On a full disk there is the reserve."""
        if type(event) is RecordWritten and event.record is JournalRecord.ANSWER:
            key = (device, event.reply.inbox, event.prompt_id)
            if event.error in ("", FULL):
                self._written.add(key)
            else:
                self._unkept.add(key)

    def told(self, device: int, inbox: str, answer: Answer) -> None:
        """An answer has reached its user."""
        key = (device, inbox, answer.prompt_id)
        heard = self._ends.get(key, answer)
        if answer != heard and not is_cut_of(answer, heard):
            raise self.broken(f"{inbox} heard two ends of prompt {answer.prompt_id} from d{device}")
        self._ends[key] = answer
