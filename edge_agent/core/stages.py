"""A session's way from one stage to the next: layers, a judge where one is asked, aggregation or what stands in for it.

References are journalled after each joined layer.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

from edge_agent.core.context import Context
from edge_agent.core.effects import JournalLayer
from edge_agent.core.events import InferenceCompleted
from edge_agent.core.fallback import Fallback
from edge_agent.core.inference import InferenceServer
from edge_agent.core.judging import Judging
from edge_agent.core.layers import LayerRunner
from edge_agent.core.membership import Membership
from edge_agent.core.messages import Contribution, TokenChunk
from edge_agent.core.queue import Item
from edge_agent.core.requests import Requests
from edge_agent.core.role_sampling import proposal_sampling
from edge_agent.core.session import Response, Session
from edge_agent.core.states import ItemOutcome, ItemRole, Outcome, SessionState
from edge_agent.core.timers import TimerKind
from edge_agent.core.work import contribution_of


class StagesOwner(Protocol):
    """Who has the sessions, and is told when one has come to its end."""

    def end(
        self, session: Session, outcome: Outcome, text: str, detail: str, now: float, answer_from: str = ""
    ) -> None:
        """This is how it ended."""
        ...

    def deadline_reached(self, session: Session, now: float) -> None:
        """No more time."""
        ...

    def given_up(self, session: Session, detail: str, now: float) -> None:
        """Nothing more is tried, for the reason in `detail`."""
        ...


class Stages:
    """Begins each stage and hears how it ended. `active`: the sessions that have not ended, by key."""

    __slots__ = ("_active", "_context", "_fallback", "_items", "_owner", "_server", "judging", "layers")

    def __init__(
        self,
        context: Context,
        server: InferenceServer,
        membership: Membership,
        requests: Requests,
        active: Mapping[str, Session],
        owner: StagesOwner,
    ) -> None:
        self._context = context
        self._server = server
        self._active = active
        self._owner = owner
        self._items = 0
        self.judging = Judging(context, server, membership, self.begin_next)
        self.layers = LayerRunner(context, server, membership, requests, self._layer_joined)
        self._fallback = Fallback(context, requests, self._fallback_ended)

    def begin_next(self, session: Session, now: float) -> None:
        """Begins the next layer, or the aggregation after the last; before that, what a judge is asked for."""
        done = len(session.layers)
        if self.judging.is_wanted(session):
            self.judging.start(session, self._own_item(session, ItemRole.JUDGE, now), now)
        elif done < session.layer_count and not self.judging.stops(session):
            self.layers.start(session, done + 1, self._own_item(session, ItemRole.PROPOSER, now), now)
        else:
            item = self._own_item(session, ItemRole.AGGREGATOR, now)
            item.stream = True
            session.move(SessionState.AGGREGATING)
            session.item_id = item.item_id
            self._server.submit(item, now)

    def resume(self, session: Session, now: float) -> None:
        """Takes a restored session to its next stage."""
        self._context.timers.clear((TimerKind.RESUME, session.key))
        self.begin_next(session, now)

    def item_text(self, item: Item, text: str) -> None:
        """Streams the aggregation's text to the user."""
        session = self._active[item.owner_key]
        if session.chunks_attempt != item.attempts:  # the inference began again: so does the text
            session.chunks_attempt, session.chunks_sent = item.attempts, 0
        chunk = TokenChunk(session.prompt.prompt_id, session.chunks_sent, text)
        session.chunks_sent += 1
        self._context.out += session.to_user(chunk)

    def item_ended(self, item: Item, outcome: ItemOutcome, result: InferenceCompleted | None, now: float) -> None:
        """One of this device's own items has ended, whichever stage it was of."""
        session = self._active[item.owner_key]
        work = contribution_of(self._context.identity, item, result, now)
        text = self._context.fit_text(result.text) if result else ""
        if item.role is ItemRole.PROPOSER:
            response: Response | None = (text, work) if text.strip() else None
            self.layers.own_proposal(session, response, "empty" if result else outcome.value, now)
        elif item.role is ItemRole.JUDGE:
            self.judging.ended(session, result.text if result else None, item.detail or outcome.value, work, now)
        else:
            self._aggregated(session, item, text, work, outcome, now)

    def _aggregated(
        self, session: Session, item: Item, text: str, work: Contribution, outcome: ItemOutcome, now: float
    ) -> None:
        session.item_id = None
        session.aggregation = work
        if outcome is ItemOutcome.COMPLETED and text.strip():
            self._owner.end(session, Outcome.ANSWERED, text, "", now)
        elif outcome is ItemOutcome.EXPIRED:
            self._owner.deadline_reached(session, now)
        else:
            said_nothing = "the model ended its answer before it said anything"
            failed = outcome is not ItemOutcome.COMPLETED
            reason = f"the aggregation failed: {item.detail}" if failed else said_nothing
            if session.layer_count:
                self._fallback.start(session, reason, now)
            else:  # the plain local LLM was asked for, and nobody else
                self._owner.end(session, Outcome.FAILED, "", reason, now)

    def _own_item(self, session: Session, role: ItemRole, now: float) -> Item:
        self._items += 1
        own_id, wish = self._context.identity.device_id, session.prompt.options.sampling
        return Item(
            item_id=f"#{self._items}",  # other devices' items begin with their origin's id, which has no '#'
            owner=self,
            owner_key=session.key,
            origin=own_id,
            holder=session.reply.holder,
            messages=session.prompt.messages,
            references=session.references,
            sampling=proposal_sampling(wish, len(session.layers) + 1, own_id) if role is ItemRole.PROPOSER else wish,
            role=role,
            size_bytes=0,  # its session holds the bytes
            enqueued_at=now,
            expires_at=session.deadline,
        )

    def _layer_joined(self, session: Session, now: float) -> None:
        self.judging.choose(session)
        if self._context.settings.journal:
            layer = len(session.layers)
            self._context.out.append(
                JournalLayer(session.prompt.prompt_id, session.reply, layer, session.joined_layer())
            )
        self.begin_next(session, now)

    def _fallback_ended(self, session: Session, aggregated: Response | None, reason: str, now: float) -> None:
        if aggregated is None:
            self._owner.given_up(session, reason, now)
        else:
            text, session.aggregation = aggregated
            self._owner.end(session, Outcome.ANSWERED, text, "", now)
