"""No prompt is worked on again while its answer is to be kept."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import TypeAlias

from edge_agent.core.agent import Agent
from edge_agent.core.effects import Effect, JournalAnswer, JournalPrompt
from edge_agent.core.events import Event, JournalRecord, RecordWritten, SessionsRestored
from edge_agent.core.settings import AgentSettings
from edge_agent.core.sizes import answer_size
from edge_agent.simulator.checkers.base import Checker

Key: TypeAlias = tuple[int, str, str]
"""(device, inbox, prompt id)."""


class AnswersKept(Checker):
    """Remembers every end for as long as the device promises to: for a time, and within a bound in bytes."""

    name = "no prompt is worked on again while its answer is kept"

    def __init__(self, settings: AgentSettings) -> None:
        self._kept_s = settings.answers_kept_s
        self._bytes_max = settings.answers_bytes_max
        self._ended: dict[Key, tuple[float, int]] = {}  # when, and how many bytes of answers there were by then
        self._bytes: Counter[int] = Counter()
        self._size: dict[Key, int] = {}
        self._unkept: set[Key] = set()

    def excused(self, device: int) -> None:
        """A device without its disk remembers nothing."""
        self._ended = {key: end for key, end in self._ended.items() if key[0] != device}

    def journal_damaged(self, device: int) -> None:
        """What has ended is remembered until it restarts, and not beyond."""
        self._unkept |= {key for key in self._ended if key[0] == device}

    def restarted(self, device: int) -> None:
        """What could not be written is forgotten."""
        for key in [key for key in self._unkept if key[0] == device]:
            self._unkept.discard(key)
            self._ended.pop(key, None)

    def after(self, now: float, device: int, agent: Agent, event: Event, effects: Sequence[Effect]) -> None:
        """Looks for prompts that begin again."""
        if type(event) is RecordWritten and event.record is JournalRecord.ANSWER:
            key = (device, event.reply.inbox, event.prompt_id)
            self._bytes[device] += self._size.pop(key, 0)
            self._ended[key] = (now, self._bytes[device])
            if event.error:
                self._unkept.add(key)
        elif type(event) is SessionsRestored:
            for kept in event.answers:
                key = (device, kept.reply.inbox, kept.answer.prompt_id)
                self._ended.setdefault(key, (now, self._bytes[device]))
        for effect in effects:
            if type(effect) is JournalAnswer:
                self._size[device, effect.reply.inbox, effect.answer.prompt_id] = answer_size(effect.answer)
            elif type(effect) is JournalPrompt:
                self._begun((device, effect.reply.inbox, effect.prompt.prompt_id), now)

    def _begun(self, key: Key, now: float) -> None:
        at, before = self._ended.get(key, (-self._kept_s, 0))
        crowded_out = self._bytes[key[0]] - before > self._bytes_max / 2
        if now < at + self._kept_s and not crowded_out:
            raise self.broken(f"d{key[0]} begins prompt {key[2]} of {key[1]} again, {now - at:.1f} s after its end")
