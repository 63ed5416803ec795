"""No prompt is worked on again while its answer is to be kept."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeAlias

from edge_agent.core.agent import Agent
from edge_agent.core.effects import Effect, JournalAnswer, JournalPrompt
from edge_agent.core.events import Event
from edge_agent.core.settings import AgentSettings
from edge_agent.simulator.checkers.base import Checker

Key: TypeAlias = tuple[int, str, str]
"""(device, reply topic, prompt id)."""


class AnswersKept(Checker):
    """Remembers every end for as long as the device promises to."""

    name = "no prompt is worked on again while its answer is kept"

    def __init__(self, settings: AgentSettings) -> None:
        self._kept_s = settings.answers_kept_s
        self._ended: dict[Key, float] = {}
        self._unkept: set[Key] = set()

    def excused(self, device: int) -> None:
        """A device without its disk remembers nothing."""
        self._ended = {key: at for key, at in self._ended.items() if key[0] != device}

    def journal_damaged(self, device: int) -> None:
        """What has ended is remembered until it restarts, and not beyond."""
        self._unkept |= {key for key in self._ended if key[0] == device}

    def end_not_kept(self, device: int, topic: str, prompt_id: str) -> None:
        """This end is remembered until the device restarts."""
        self._unkept.add((device, topic, prompt_id))

    def restarted(self, device: int) -> None:
        """What could not be written is forgotten."""
        for key in [key for key in self._unkept if key[0] == device]:
            self._unkept.discard(key)
            self._ended.pop(key, None)

    def after(self, now: float, device: int, agent: Agent, event: Event, effects: Sequence[Effect]) -> None:
        """Looks for prompts that begin again."""
        for effect in effects:
            if type(effect) is JournalAnswer:
                self._ended[device, effect.reply.topic, effect.answer.prompt_id] = now
            elif type(effect) is JournalPrompt:
                key = (device, effect.reply.topic, effect.prompt.prompt_id)
                ended_at = self._ended.get(key)
                if ended_at is not None and now < ended_at + self._kept_s:
                    raise self.broken(
                        f"d{device} begins prompt {key[2]} of {key[1]} again, {now - ended_at:.1f} s after its end"
                    )
