"""Every bound holds: places of the queue, rows of the view, what a prompt may cost."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from edge_agent.core.agent import Agent
from edge_agent.core.effects import Effect, JournalAnswer, JournalPrompt
from edge_agent.core.events import Event, SessionsRestored
from edge_agent.core.messages import PromptOptions
from edge_agent.core.settings import AgentSettings
from edge_agent.core.states import ItemRole
from edge_agent.lab.simulator.checkers.base import Checker


class Bounds(Checker):
    """Counts for itself what the core counts, out of what it journals and what waits in its queue."""

    name = "every bound holds"

    def __init__(self, settings: AgentSettings) -> None:
        self._settings = settings
        self._sessions: dict[int, set[tuple[str, str]]] = {}
        self._restored: Counter[int] = Counter()

    def restarted(self, device: int) -> None:
        """Its sessions come back from the journal, if at all."""
        self._sessions.pop(device, None)
        self._restored[device] = 0

    def after(self, now: float, device: int, agent: Agent, event: Event, effects: Sequence[Effect]) -> None:
        """Looks at one device."""
        sessions = self._sessions.setdefault(device, set())
        if type(event) is SessionsRestored:
            sessions |= {(session.reply.inbox, session.prompt.prompt_id) for session in event.sessions}
            self._restored[device] = len(sessions)
        for effect in effects:
            if type(effect) is JournalPrompt:  # again for all that go on, when a disk is well again
                sessions.add((effect.reply.inbox, effect.prompt.prompt_id))
                self._check_cost(device, effect.prompt.options)
            elif type(effect) is JournalAnswer:
                sessions.discard((effect.reply.inbox, effect.answer.prompt_id))
        self._check_queue(device, agent)
        rows = agent.view.size
        if rows > self._settings.view_size_max:
            raise self.broken(f"d{device} knows {rows} peers, of at most {self._settings.view_size_max}")

    def _check_queue(self, device: int, agent: Agent) -> None:
        capacity, sessions = self._settings.queue_capacity, len(self._sessions[device])
        items = (*agent.queue.waiting.values(), *agent.queue.running.values())
        peers = sum([item.role is ItemRole.PEER for item in items])
        # sessions of before a restart keep their places, however few there are
        if peers + sessions > max(capacity, self._restored[device]):
            raise self.broken(f"d{device} has {sessions} sessions and {peers} items of others on {capacity} places")

    def _check_cost(self, device: int, options: PromptOptions) -> None:
        settings = self._settings
        for asked, most in (
            (options.layers, settings.prompt_layers_max),
            (options.fanout, settings.prompt_fanout_max),
            (options.sampling.max_output_tokens, settings.prompt_output_tokens_max),
        ):
            if asked is not None and asked > most:
                raise self.broken(f"d{device} took a prompt that asks for {asked} where {most} is the most")
