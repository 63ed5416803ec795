"""A journal as tests use it: a call for each kind of record, what it says of itself kept for a look."""

from __future__ import annotations

from edge_agent.adapters.journal import SqliteJournal
from edge_agent.core.effects import JournalAnswer, JournalDelivered, JournalLayer, JournalPrompt
from edge_agent.core.events import Event, HealthChanged, JoinedLayer, ReplyRoute, SessionsRestored
from edge_agent.core.health import Part
from edge_agent.core.messages import Answer, Contribution, Prompt
from edge_agent.ports import EmitEvent


class Journal(SqliteJournal):
    """The real one. `said`: every event it gave to the core."""

    said: list[Event]

    async def open(self, emit: EmitEvent | None = None) -> SessionsRestored:
        self.said = []

        async def keep(event: Event) -> None:
            self.said.append(event)

        return await super().open(emit or keep)

    @property
    def health(self) -> list[str]:
        """What it said of its health, "" for well."""
        return self._said_of(Part.JOURNAL)

    @property
    def reserve(self) -> list[str]:
        """What it said of its reserve."""
        return self._said_of(Part.RESERVE)

    def _said_of(self, part: Part) -> list[str]:
        return [event.detail for event in self.said if isinstance(event, HealthChanged) and event.part is part]

    async def record_prompt(self, prompt: Prompt, reply: ReplyRoute, deadline_in_s: float | None) -> None:
        await self.write(JournalPrompt(prompt, reply, deadline_in_s, 2, 3))

    async def record_layer(
        self, prompt_id: str, reply: ReplyRoute, layer: int, responses: tuple[tuple[str, Contribution], ...]
    ) -> None:
        await self.write(JournalLayer(prompt_id, reply, layer, JoinedLayer(responses)))

    async def record_answer(self, answer: Answer, reply: ReplyRoute) -> None:
        await self.write(JournalAnswer(answer, reply))

    async def mark_delivered(self, prompt_id: str, reply: ReplyRoute) -> None:
        await self.write(JournalDelivered(prompt_id, reply))
