"""The way of every accepted prompt: layer after layer, aggregation, answer.

References are journalled after each joined layer, the answer before it is sent. A session ends exactly once, and its
user is told.
"""

from __future__ import annotations

from edge_agent.core.answers import AnswersKept
from edge_agent.core.context import Context
from edge_agent.core.effects import JournalAnswer, JournalLayer, RecordSession, SendToUser
from edge_agent.core.errors import InvariantError
from edge_agent.core.events import (
    InferenceCompleted,
    ReplyRoute,
    RestoredSession,
)
from edge_agent.core.inference import InferenceServer
from edge_agent.core.judging import Judging
from edge_agent.core.layers import LayerRunner
from edge_agent.core.membership import Membership
from edge_agent.core.messages import Answer, Contribution, Prompt, TokenChunk
from edge_agent.core.policies.layer_plan import Load
from edge_agent.core.queue import Item
from edge_agent.core.session import Response, Session
from edge_agent.core.sizes import cut_to_bytes, size_of
from edge_agent.core.states import ItemOutcome, Outcome, SessionState
from edge_agent.core.work import contribution_of

_NEVER = float("inf")


class Sessions:
    """Every session that has not ended, by key."""

    __slots__ = (
        "_active",
        "_context",
        "_items",
        "_judging",
        "_membership",
        "_planned_at",
        "_server",
        "answers",
        "layers",
    )

    def __init__(self, context: Context, server: InferenceServer, membership: Membership) -> None:
        self._context = context
        self._server = server
        self._membership = membership
        self._active: dict[str, Session] = {}
        self.answers = AnswersKept(context.settings.answers_kept_max, context.settings.answers_kept_s)
        self._items = 0
        self._planned_at = -_NEVER
        self._judging = Judging(context)
        self.layers = LayerRunner(context, server, membership, self._layer_joined)

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
        """The answer is worth nothing any more."""
        self.end(session, Outcome.EXPIRED, "", f"no answer within its deadline, while {session.state.value}", now)

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
        self._context.out.append(SendToUser(session.reply, chunk))

    def item_ended(self, item: Item, outcome: ItemOutcome, result: InferenceCompleted | None, now: float) -> None:
        """One of this device's own items has ended: a proposal, or the aggregation."""
        session = self._active[item.owner_key]
        contribution = contribution_of(self._context.identity, item, result, now)
        text = cut_to_bytes(result.text, self._context.settings.response_bytes_max) if result else ""
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
        elif outcome is ItemOutcome.COMPLETED:
            self.end(session, Outcome.FAILED, "", "the model ended its answer before it said anything", now)
        elif outcome is ItemOutcome.EXPIRED:
            self.end(session, Outcome.EXPIRED, "", "no answer within its deadline, while aggregating", now)
        else:
            self.end(session, Outcome.FAILED, "", f"the aggregation failed: {item.detail}", now)

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
        self.layers.requests.check_invariants(self._active.values())
        self.answers.check_invariants()

    def open(
        self, key: str, prompt: Prompt, reply: ReplyRoute, now: float, restored: RestoredSession | None = None
    ) -> Session | None:
        """Makes a session and takes its place in the queue; `None` if there is no place. The caller starts it."""
        settings, options = self._context.settings, prompt.options
        layers = settings.layers if options.layers is None else options.layers
        fanout = settings.fanout if options.fanout is None else options.fanout
        layers, fanout = self._context.policies.layer_plan.plan(layers, fanout, self._load(now))
        self._planned_at = now
        fanout = fanout if layers else 0  # without layers nobody is asked
        reserved_bytes = size_of(prompt.messages) + (fanout + 1) * settings.response_bytes_max
        if not self._server.queue.reserve(key, reserved_bytes, force=restored is not None):
            self._server.reject(False, now)
            return None
        deadline_s = settings.deadline_s if options.deadline_s is None else options.deadline_s
        if restored is not None:
            deadline_s = restored.remaining_s
        deadline = _NEVER if deadline_s is None else now + deadline_s
        session = Session(key, prompt, reply, layers, fanout, now, deadline)
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
        layer = len(session.layers)
        self._context.out.append(JournalLayer(session.prompt.prompt_id, session.reply, layer, session.layers[-1]))
        self.next_stage(session, now)

    def choose_references(self, session: Session) -> None:
        """Takes the last layer's responses, if it brought any: a layer that brought none loses nothing but itself."""
        self._judging.choose(session)

    def end(self, session: Session, outcome: Outcome, text: str, detail: str, now: float) -> None:
        """Ends a session, whatever it was at, and tells its user."""
        session.move(SessionState(outcome.value))
        self.layers.abandon(session, outcome.value, now)
        if session.item_id is not None:
            item_id, session.item_id = session.item_id, None
            self._server.cancel(item_id, now)
        provenance = session.provenance(self._context.identity.device_id, self._context.policies.names)
        latency = now - session.accepted_at
        answer = Answer(
            session.prompt.prompt_id, self._context.identity.device_id, outcome, text, detail, latency, provenance
        )
        for kind in ("session", "resume", "judge"):
            self._context.timers.clear((kind, session.key))
        del self._active[session.key]
        self._server.queue.release(session.key)
        self.answers.add(session.key, answer, now)
        joined = sum(len(layer) for layer in provenance.layers)
        self._context.out += (
            JournalAnswer(answer, session.reply),
            SendToUser(session.reply, answer),
            RecordSession(
                outcome.value,
                session.layer_count,
                session.fanout,
                latency,
                session.responses_expected,
                joined,
                len(session.substitutes),
            ),
        )
