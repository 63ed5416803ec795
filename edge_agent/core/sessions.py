"""Every accepted prompt from its beginning to its end: `stages` takes it from one stage to the next meanwhile.

A session ends exactly once; `ends` has its user told. Where no aggregation is to be had in time, the best proposal is
the answer, and is said to be partial.
"""

from __future__ import annotations

from collections.abc import Iterator

from edge_agent.core.context import Context
from edge_agent.core.effects import JournalPrompt, RecordSession
from edge_agent.core.ends import Ends
from edge_agent.core.errors import InvariantError
from edge_agent.core.events import ReplyRoute, RestoredSession
from edge_agent.core.fallback import best_of
from edge_agent.core.inference import InferenceServer
from edge_agent.core.membership import Membership
from edge_agent.core.messages import Answer, Prompt
from edge_agent.core.requests import Requests
from edge_agent.core.session import Session, time_left
from edge_agent.core.shares import Shortage
from edge_agent.core.sizes import size_of
from edge_agent.core.stages import Stages
from edge_agent.core.states import Outcome, SessionState
from edge_agent.core.timers import NEVER, TimerKind


class Sessions:
    """Every session that has not ended, by key. Iterating yields them in the order they were accepted."""

    __slots__ = ("_active", "_context", "_ends", "_membership", "_server", "stages")

    def __init__(
        self, context: Context, server: InferenceServer, membership: Membership, requests: Requests, ends: Ends
    ) -> None:
        self._context = context
        self._server = server
        self._membership = membership
        self._ends = ends
        self._active: dict[str, Session] = {}
        self.stages = Stages(context, server, membership, requests, self._active, self)

    def __len__(self) -> int:
        """The number of sessions that have not ended."""
        return len(self._active)

    def __iter__(self) -> Iterator[Session]:
        return iter(self._active.values())

    def peers_found(self, now: float) -> None:
        """A device is newly known: restored sessions that waited for enough of them go on."""
        for session in [session for session in self._active.values() if session.state is SessionState.ACCEPTED]:
            if len(self._membership.view) >= session.fanout:
                self.stages.resume(session, now)

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

    def check_invariants(self, now: float) -> None:
        """Raises `InvariantError` if a session contradicts itself or could never end."""
        for key, session in self._active.items():
            if key != session.key:
                raise InvariantError(f"session {session.key} is kept as {key}")
            session.check_invariants(now)
            if session.deadline < NEVER and (TimerKind.SESSION, key) not in self._context.timers:
                raise InvariantError(f"session {key} has a deadline but no timer")

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
            layers, fanout = self._context.policies.layer_plan.plan(layers, fanout, self._server.load_at_prompt(now))
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
        deadline = NEVER if deadline_s is None else now + deadline_s
        session = Session(key, prompt, reply, layers, fanout, now, deadline)
        session.receipted = restored is not None or not settings.journal
        session.durable = restored is not None
        self._active[key] = session
        if deadline < NEVER:
            self._context.timers.set((TimerKind.SESSION, key), deadline)
        return session

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
            self._ends.keep_anew()
        else:
            self._ends.may_be_lost()

    def end(
        self, session: Session, outcome: Outcome, text: str, detail: str, now: float, answer_from: str = ""
    ) -> None:
        """Ends a session, whatever it was at; `answer_from` is whose proposal `text` is, if it is no aggregation."""
        self.stages.layers.abandon(session, outcome.value, now)
        provenance = session.provenance(self._context.identity.device_id, self._context.policies.names, answer_from)
        expected = session.responses_expected
        session.move(SessionState(outcome.value))
        if session.item_id is not None:
            item_id, session.item_id = session.item_id, None
            self._server.cancel(item_id, now)
        for kind in (TimerKind.SESSION, TimerKind.RESUME, TimerKind.JUDGE):
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
        self._ends.add(session.key, self._context.fit_answer(answer), session.reply, session.accepted_at, now)
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

    def _end_without_aggregation(self, session: Session, outcome: Outcome, detail: str, now: float) -> None:
        """Ends with the best proposal, or with `outcome` if there is none."""
        best = best_of(session.proposals)
        if best is None:
            self.end(session, outcome, "", detail, now)
        else:
            self.end(session, Outcome.ANSWERED, best[0], detail, now, answer_from=best[1].device_id)
