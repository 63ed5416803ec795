"""The way of every accepted prompt: layer after layer, aggregation, answer.

References are journalled after each joined layer. A session ends exactly once; `ends` has its user told. Where no
aggregation is to be had in time, the best proposal is the answer, and is said to be partial.
"""

from __future__ import annotations

from collections.abc import Iterator

from edge_agent.core.context import Context
from edge_agent.core.effects import JournalLayer, JournalPrompt, RecordSession
from edge_agent.core.ends import Ends
from edge_agent.core.errors import InvariantError
from edge_agent.core.events import (
    InferenceCompleted,
    ReplyRoute,
    RestoredSession,
)
from edge_agent.core.fallback import Fallback, best_of
from edge_agent.core.inference import InferenceServer
from edge_agent.core.judging import Judging
from edge_agent.core.layers import LayerRunner
from edge_agent.core.membership import Membership
from edge_agent.core.messages import Answer, Contribution, Prompt, TokenChunk
from edge_agent.core.policies.layer_plan import Load
from edge_agent.core.queue import Item
from edge_agent.core.requests import Requests
from edge_agent.core.session import Response, Session, time_left
from edge_agent.core.shares import Shortage
from edge_agent.core.sizes import size_of
from edge_agent.core.states import ItemOutcome, Outcome, SessionState
from edge_agent.core.work import contribution_of

_NEVER = float("inf")


class Sessions:
    """Every session that has not ended, by key."""

    __slots__ = (
        *("_active", "_context", "_fallback", "_items", "_judging", "_membership", "_planned_at", "_server"),
        *("ends", "layers", "requests"),
    )

    def __init__(self, context: Context, server: InferenceServer, membership: Membership) -> None:
        self._context = context
        self._server = server
        self._membership = membership
        self._active: dict[str, Session] = {}
        self._items = 0
        self._planned_at = -_NEVER
        self._judging = Judging(context)
        self.ends = Ends(context)
        self.requests = Requests(context, membership, server.queue.shares.crowds)
        self.layers = LayerRunner(context, server, membership, self.requests, self._layer_joined)
        self._fallback = Fallback(context, membership, self.requests, self._fallback_ended)

    def __len__(self) -> int:
        """The number of sessions that have not ended."""
        return len(self._active)

    def peers_found(self, now: float) -> None:
        """A device is newly known: restored sessions that waited for enough of them go on."""
        for session in [session for session in self._active.values() if session.state is SessionState.ACCEPTED]:
            if len(self._membership.view) >= session.fanout:
                self.resume(session, now)

    def resume(self, session: Session, now: float) -> None:
        """Takes a restored session to its next stage."""
        self._context.timers.clear(("resume", session.key))
        self.next_stage(session, now)

    def deadline_reached(self, session: Session, now: float) -> None:
        """No more time: the best proposal there is becomes the answer."""
        self._end_without_aggregation(
            session, Outcome.EXPIRED, f"no answer within its deadline, while {session.state.value}", now
        )

    def given_up(self, session: Session, detail: str, now: float) -> None:
        """Nothing more is tried for this session: the best proposal there is becomes the answer."""
        self._end_without_aggregation(session, Outcome.FAILED, detail, now)

    def find(self, key: str) -> Session | None:
        """Returns an active session."""
        return self._active.get(key)

    def item_text(self, item: Item, text: str) -> None:
        """Streams the aggregation's text to the user."""
        session = self._active[item.owner_key]
        if session.chunks_attempt != item.attempts:  # the inference began again: so does the text
            session.chunks_attempt, session.chunks_sent = item.attempts, 0
        chunk = TokenChunk(session.prompt.prompt_id, session.chunks_sent, text)
        session.chunks_sent += 1
        self._context.out += session.to_user(chunk)

    def item_ended(self, item: Item, outcome: ItemOutcome, result: InferenceCompleted | None, now: float) -> None:
        """One of this device's own items has ended: a proposal, or the aggregation."""
        session = self._active[item.owner_key]
        contribution = contribution_of(self._context.identity, item, result, now)
        text = self._context.fit_text(result.text) if result else ""
        if item.role == "proposer":
            response: Response | None = (text, contribution) if text.strip() else None
            self.layers.own_proposal(session, response, "empty" if result else outcome.value, now)
            return
        session.item_id = None
        if item.role == "judge":
            said = None if result is None else result.text
            self._judged(session, said, item.detail or outcome.value, contribution, now)
            return
        session.aggregation = contribution
        if outcome is ItemOutcome.COMPLETED and text.strip():
            self.end(session, Outcome.ANSWERED, text, "", now)
        elif outcome is ItemOutcome.EXPIRED:
            self.deadline_reached(session, now)
        else:
            said_nothing = "the model ended its answer before it said anything"
            reason = said_nothing if result else f"the aggregation failed: {item.detail}"
            if session.layer_count:
                self._fallback.start(session, reason, now)
            else:  # the plain local LLM was asked for, and nobody else
                self.end(session, Outcome.FAILED, "", reason, now)

    def judge_due(self, session: Session, now: float) -> None:
        """The judge's share of the time is used up: goes on without a verdict."""
        if session.state is SessionState.JUDGING and session.item_id is not None:
            item_id, session.item_id = session.item_id, None
            self._server.cancel(item_id, now)
            self._judged(session, None, "too late", None, now)

    def check_invariants(self, now: float) -> None:
        """Raises `InvariantError` if a session contradicts itself or could never end."""
        for key, session in self._active.items():
            if key != session.key:
                raise InvariantError(f"session {session.key} is kept as {key}")
            session.check_invariants(now)
            if session.deadline < _NEVER and ("session", key) not in self._context.timers:
                raise InvariantError(f"session {key} has a deadline but no timer")
        self.requests.check_invariants(self._active.values())
        self.ends.check_invariants()

    def of(self, principal: str) -> Iterator[Session]:
        """Yields the active sessions of this user."""
        return (session for session in self._active.values() if session.reply.principal == principal)

    def open(
        self, key: str, prompt: Prompt, reply: ReplyRoute, now: float, restored: RestoredSession | None = None
    ) -> Session | Shortage:
        """Makes a session and takes its place in the queue, or returns why there is none. The caller starts it."""
        settings, options = self._context.settings, prompt.options
        layers = settings.layers if options.layers is None else options.layers
        fanout = settings.fanout if options.fanout is None else options.fanout
        if restored is not None and restored.layer_count is not None and restored.fanout is not None:
            layers, fanout = restored.layer_count, restored.fanout
        else:
            layers, fanout = self._context.policies.layer_plan.plan(layers, fanout, self._load(now))
            self._planned_at = now
        fanout = fanout if layers else 0  # without layers nobody is asked
        # while a layer's responses come in, those of the layer before are still its references
        responses = min(layers, 2) * (fanout + 1)
        reserved_bytes = size_of(prompt.messages) + responses * settings.response_bytes_max
        work = (layers + 1) * options.sampling.max_output_tokens  # what this device does of it
        shortage = self._server.queue.reserve(key, reply.holder, reserved_bytes, work, force=restored is not None)
        if shortage is not None:
            self._server.reject(False, now)
            return shortage
        deadline_s = settings.deadline_s if options.deadline_s is None else options.deadline_s
        if restored is not None:
            deadline_s = restored.remaining_s
        deadline = _NEVER if deadline_s is None else now + deadline_s
        session = Session(key, prompt, reply, layers, fanout, now, deadline)
        session.receipted = restored is not None or not settings.journal
        session.durable = restored is not None
        self._active[key] = session
        if deadline < _NEVER:
            self._context.timers.set(("session", key), deadline)
        return session

    def next_stage(self, session: Session, now: float) -> None:
        """Begins the next layer, or the aggregation after the last; before that, what a judge is asked for."""
        done = len(session.layers)
        if self._judging.is_wanted(session):
            session.move(SessionState.JUDGING)
            item = self._own_item(session, "judge", now)
            self._judging.prepare(session, item, now)
            if item.expires_at < _NEVER:
                self._context.timers.set(("judge", session.key), item.expires_at)
            session.item_id = item.item_id
            self._server.submit(item, now)
        elif done < session.layer_count and not self._judging.stops(session):
            self.layers.start(session, done + 1, self._own_item(session, "proposer", now), now)
        else:
            item = self._own_item(session, "aggregator", now)
            item.stream = True
            session.move(SessionState.AGGREGATING)
            session.item_id = item.item_id
            self._server.submit(item, now)

    def _own_item(self, session: Session, role: str, now: float) -> Item:
        self._items += 1
        return Item(
            item_id=f"#{self._items}",  # other devices' items begin with their origin's id, which has no '#'
            owner=self,
            owner_key=session.key,
            origin=self._context.identity.device_id,
            holder=session.reply.holder,
            messages=session.prompt.messages,
            references=session.references,
            sampling=session.prompt.options.sampling,
            role=role,
            size_bytes=0,  # its session holds the bytes
            enqueued_at=now,
            expires_at=session.deadline,
        )

    def _load(self, now: float) -> Load:
        """The load as a layer plan sees it; nothing is known before the first inference."""
        service_time_s = self._server.meter.service_times.expected(True)
        if not service_time_s:
            return Load()
        return Load(
            self._server.load.read(now, service_time_s),
            (self._server.expected_wait_s(now) or 0.0) / service_time_s,
            (now - self._planned_at) / service_time_s,
        )

    def _judged(self, session: Session, said: str | None, reason: str, work: Contribution | None, now: float) -> None:
        self._context.timers.clear(("judge", session.key))
        self._judging.decide(session, said, reason, work)
        self.next_stage(session, now)

    def _layer_joined(self, session: Session, now: float) -> None:
        self.choose_references(session)
        if self._context.settings.journal:
            layer = len(session.layers)
            self._context.out.append(
                JournalLayer(session.prompt.prompt_id, session.reply, layer, session.joined_layer())
            )
        self.next_stage(session, now)

    def choose_references(self, session: Session) -> None:
        """Takes the last layer's responses, if it brought any: a layer that brought none loses nothing but itself."""
        self._judging.choose(session)

    def journal(self, session: Session, now: float) -> None:
        """Has the journal keep a session from its beginning."""
        left_s = time_left(session.deadline, now)
        self._context.out.append(
            JournalPrompt(session.prompt, session.reply, left_s, session.layer_count, session.fanout)
        )

    def durability_changed(self, durable: bool, now: float) -> None:
        """The journal was lost, or refuses; or it can be written again, and then keeps everything anew.

        Twice is harmless: what it has already stays as it is.
        """
        for session in self._active.values():
            session.durable = False
            if durable and session.receipted:
                self.journal(session, now)
        if durable:
            self.ends.keep_anew()
        else:
            self.ends.may_be_lost()

    def end(
        self, session: Session, outcome: Outcome, text: str, detail: str, now: float, answer_from: str = ""
    ) -> None:
        """Ends a session, whatever it was at; `answer_from` is whose proposal `text` is, if it is no aggregation."""
        self.layers.abandon(session, outcome.value, now)
        provenance = session.provenance(self._context.identity.device_id, self._context.policies.names, answer_from)
        expected = session.responses_expected
        session.move(SessionState(outcome.value))
        if session.item_id is not None:
            item_id, session.item_id = session.item_id, None
            self._server.cancel(item_id, now)
        for kind in ("session", "resume", "judge"):
            self._context.timers.clear((kind, session.key))
        del self._active[session.key]
        self._server.queue.release(session.key)
        latency = now - session.accepted_at
        answer = Answer(
            session.prompt.prompt_id,
            self._context.identity.device_id,
            outcome,
            text,
            detail,
            latency,
            provenance,
            partial=bool(answer_from),
        )
        self.ends.add(session.key, self._context.fit_answer(answer), session.reply, session.accepted_at, now)
        self._context.out.append(
            RecordSession(
                outcome.value,
                session.layer_count,
                session.fanout,
                latency,
                expected,
                sum(len(layer) for layer in provenance.layers),
                len(session.substitutes),
            )
        )

    def _fallback_ended(self, session: Session, aggregated: Response | None, reason: str, now: float) -> None:
        if aggregated is None:
            self._end_without_aggregation(session, Outcome.FAILED, reason, now)
        else:
            text, session.aggregation = aggregated
            self.end(session, Outcome.ANSWERED, text, "", now)

    def _end_without_aggregation(self, session: Session, outcome: Outcome, detail: str, now: float) -> None:
        """Ends with the best proposal, or with `outcome` if there is none."""
        best = best_of(session.proposals)
        if best is None:
            self.end(session, outcome, "", detail, now)
        else:
            self.end(session, Outcome.ANSWERED, best[0], detail, now, answer_from=best[1].device_id)
