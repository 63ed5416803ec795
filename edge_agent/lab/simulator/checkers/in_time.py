"""Deadlines are kept: nothing starts too late, and every prompt ends by its deadline."""

from __future__ import annotations

from collections.abc import Sequence

from edge_agent.core.agent import Agent
from edge_agent.core.effects import Effect, JournalAnswer, JournalPrompt, StartInference
from edge_agent.core.events import Event
from edge_agent.lab.simulator.checkers.base import Checker

_ROUNDING_S = 1e-6


class InTime(Checker):
    """A prompt that lived through a restart is left out: its time left is only as true as the device's wall clock."""

    name = "deadlines are kept"

    def __init__(self) -> None:
        self._due: dict[tuple[int, str, str], float] = {}

    def restarted(self, device: int) -> None:
        """Deadlines given before are not looked at any more."""
        self._due = {key: due for key, due in self._due.items() if key[0] != device}

    def held_up(self, device: int, now: float) -> None:
        """What came due while it handled nothing is late, and ends now."""
        self._due = {key: max(due, now) if key[0] == device else due for key, due in self._due.items()}

    def after(self, now: float, device: int, agent: Agent, event: Event, effects: Sequence[Effect]) -> None:
        """Looks at one device."""
        for effect in effects:
            if type(effect) is StartInference:
                item = agent.queue.running.get(effect.item_id)
                if item is not None and now >= item.expires_at:
                    raise self.broken(f"d{device} started {effect.item_id} after its time")
            elif type(effect) is JournalPrompt and effect.deadline_in_s is not None:
                key = (device, effect.reply.inbox, effect.prompt.prompt_id)
                self._due[key] = now + effect.deadline_in_s
            elif type(effect) is JournalAnswer:
                due = self._due.pop((device, effect.reply.inbox, effect.answer.prompt_id), now)
                if now > due + _ROUNDING_S:
                    raise self.broken(f"prompt {effect.answer.prompt_id} of d{device} ended {now - due:.3f} s late")
