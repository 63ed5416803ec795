"""The desk where users' prompts are taken, and the way of each: layer after layer, aggregation, answer.

An accepted prompt is journalled before its receipt, its references after each joined layer, its answer before it is
sent. It ends exactly once, and its user is told.
"""

from __future__ import annotations

from edge_agent.core.answers import AnswersKept
from edge_agent.core.context import Context
from edge_agent.core.effects import JournalAnswer, JournalLayer, JournalPrompt, RecordSession, SendToUser
from edge_agent.core.errors import InvariantError
from edge_agent.core.events import (
    BadInputReceived,
    InferenceCompleted,
    PromptCancelReceived,
    PromptReceived,
    ReplyRoute,
    RestoredSession,
    SessionsRestored,
)
from edge_agent.core.inference import InferenceServer
from edge_agent.core.layers import LayerRunner
from edge_agent.core.membership import Membership
from edge_agent.core.messages import Answer, Prompt, PromptReceipt, PromptRefusal, RefusalReason, Role, TokenChunk
from edge_agent.core.queue import Item
from edge_agent.core.session import Response, Session
from edge_agent.core.sizes import cut_to_bytes, size_of
from edge_agent.core.states import ItemOutcome, Outcome, SessionState
from edge_agent.core.work import contribution_of

_NEVER = float("inf")


class Sessions:
    """Every session that has not ended, by key."""

    __slots__ = ("_active", "_answers", "_context", "_items", "_membership", "_server", "layers")

    def __init__(self, context: Context, server: InferenceServer, membership: Membership) -> None:
        self._context = context
        self._server = server
        self._membership = membership
        self._active: dict[str, Session] = {}
        self._answers = AnswersKept(context.settings.answers_kept_max, context.settings.answers_kept_s)
        self._items = 0
        self.layers = LayerRunner(context, server, membership, self._layer_joined)

    def __len__(self) -> int:
        """The number of sessions that have not ended."""
        return len(self._active)

    def prompt_received(self, event: PromptReceived, now: float) -> None:
        """Takes a prompt, or refuses it in words. A repeat gets its receipt again, or its answer if that is there."""
        key = _session_key(event.prompt.prompt_id, event.reply)
        answer = self._answers.get(key, now)
        if answer is not None:
            self._context.counters.prompts_repeated += 1
            self._context.out.append(SendToUser(event.reply, answer))
            return
        if key in self._active:
            self._context.counters.prompts_repeated += 1
            self._active[key].reply = event.reply
            self._send_receipt(self._active[key], now)
            return
        self._server.meter.prompt_offered()
        refusal = self._refusal(event.prompt, event.size_bytes, now)
        if refusal is not None:
            self._refuse(event.reply, event.prompt.prompt_id, *refusal)
            return
        session = self._open(key, event.prompt, event.reply, now)
        if session is None:
            self._refuse(event.reply, event.prompt.prompt_id, RefusalReason.OVERLOADED, "the queue is full", now)
            return
        remaining = None if session.deadline == _NEVER else session.deadline - now
        self._context.out.append(JournalPrompt(event.prompt, event.reply, remaining))
        self._send_receipt(session, now)
        self._next_stage(session, now)

    def cancel_received(self, event: PromptCancelReceived, now: float) -> None:
        """Ends a session that its user no longer wants; a finished one's answer is sent again."""
        key = _session_key(event.prompt_id, event.reply)
        session = self._active.get(key)
        if session is not None:
            self._end(session, Outcome.CANCELLED, "", "cancelled by the user", now)
            return
        answer = self._answers.get(key, now)
        if answer is not None:
            self._context.out.append(SendToUser(event.reply, answer))
        else:
            self._refuse(event.reply, event.prompt_id, RefusalReason.INVALID, "no prompt of that id is known here")

    def bad_input_received(self, event: BadInputReceived) -> None:
        """Counts what is no message, and tells its sender where there is one."""
        self._context.counters.bad_input += 1
        if event.reply is not None:
            self._refuse(event.reply, event.message_id, event.reason, event.detail)

    def restored(self, event: SessionsRestored, now: float) -> None:
        """Takes up what the journal kept: unfinished sessions from their last joined layer, and finished answers."""
        for kept in event.answers:
            self._answers.add(_session_key(kept.answer.prompt_id, kept.reply), kept.answer, now)
            if not kept.delivered:
                self._context.out.append(SendToUser(kept.reply, kept.answer))
        for restored in event.sessions:
            self._restore(restored, now)

    def peers_found(self, now: float) -> None:
        """A device is newly known: restored sessions that waited for enough of them go on."""
        for session in [session for session in self._active.values() if session.state is SessionState.ACCEPTED]:
            if len(self._membership.view) >= session.fanout:
                self.resume(session, now)

    def resume(self, session: Session, now: float) -> None:
        """Takes a restored session to its next stage."""
        self._context.timers.clear(("resume", session.key))
        self._next_stage(session, now)

    def deadline_reached(self, session: Session, now: float) -> None:
        """The answer is worth nothing any more."""
        self._end(session, Outcome.EXPIRED, "", f"no answer within its deadline, while {session.state.value}", now)

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
        session.aggregation = contribution
        if outcome is ItemOutcome.COMPLETED:
            self._end(session, Outcome.ANSWERED, text, "", now)
        elif outcome is ItemOutcome.EXPIRED:
            self._end(session, Outcome.EXPIRED, "", "no answer within its deadline, while aggregating", now)
        else:
            self._end(session, Outcome.FAILED, "", f"the aggregation failed: {item.detail}", now)

    def check_invariants(self, now: float) -> None:
        """Raises `InvariantError` if a session contradicts itself or could never end."""
        for key, session in self._active.items():
            if key != session.key:
                raise InvariantError(f"session {session.key} is kept as {key}")
            session.check_invariants(now)
            if session.deadline < _NEVER and ("session", key) not in self._context.timers:
                raise InvariantError(f"session {key} has a deadline but no timer")
        self.layers.requests.check_invariants(self._active.values())
        self._answers.check_invariants()

    def _refusal(self, prompt: Prompt, size_bytes: int, now: float) -> tuple[RefusalReason, str] | None:
        settings = self._context.settings
        if self._context.stopping:
            return RefusalReason.STOPPING, "this device is stopping"
        if max(size_bytes, size_of(prompt.messages)) > settings.prompt_bytes_max:
            return RefusalReason.TOO_LARGE, f"a prompt may take at most {settings.prompt_bytes_max} bytes"
        if not prompt.messages or prompt.messages[-1].role is not Role.USER or not prompt.messages[-1].content.strip():
            return RefusalReason.INVALID, "the last message must be the user's and must not be empty"
        return None

    def _open(
        self, key: str, prompt: Prompt, reply: ReplyRoute, now: float, restored: RestoredSession | None = None
    ) -> Session | None:
        """Makes a session and takes its place in the queue; `None` if there is no place."""
        settings, options = self._context.settings, prompt.options
        layers, fanout = self._context.policies.layer_plan.plan(
            settings.layers if options.layers is None else options.layers,
            settings.fanout if options.fanout is None else options.fanout,
            self._server.meter.stability_margin,
        )
        fanout = fanout if layers else 0  # without layers nobody is asked
        reserved_bytes = size_of(prompt.messages) + (fanout + 1) * settings.response_bytes_max
        if not self._server.queue.reserve(key, reserved_bytes, force=restored is not None):
            self._server.reject()
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

    def _restore(self, restored: RestoredSession, now: float) -> None:
        key = _session_key(restored.prompt.prompt_id, restored.reply)
        session = self._open(key, restored.prompt, restored.reply, now, restored)
        if session is None:
            return
        session.accepted_at = now - restored.elapsed_s
        session.restarts = restored.restarts
        for layer in restored.layers:
            session.layers.append(layer)
            self._choose_references(session)
        # its peers are found again within moments; without them every layer would be this device's alone
        self._context.timers.set(("resume", key), now + self._context.settings.resume_grace_s)
        if len(self._membership.view) >= session.fanout:
            self.resume(session, now)

    def _next_stage(self, session: Session, now: float) -> None:
        done = len(session.layers)
        stop = done > 0 and self._context.policies.early_stop.stops(done, session.references)
        self._items += 1
        item = Item(
            item_id=f"#{self._items}",  # other devices' items begin with their origin's id, which has no '#'
            owner=self,
            owner_key=session.key,
            origin=self._context.identity.device_id,
            messages=session.prompt.messages,
            references=session.references,
            sampling=session.prompt.options.sampling,
            role="aggregator",
            size_bytes=0,  # its session holds the bytes
            enqueued_at=now,
            expires_at=session.deadline,
        )
        if done < session.layer_count and not stop:
            item.role = "proposer"
            self.layers.start(session, done + 1, item, now)
        else:
            item.stream = True
            session.move(SessionState.AGGREGATING)
            session.item_id = item.item_id
            self._server.submit(item, now)

    def _layer_joined(self, session: Session, now: float) -> None:
        self._choose_references(session)
        layer = len(session.layers)
        self._context.out.append(JournalLayer(session.prompt.prompt_id, session.reply, layer, session.layers[-1]))
        self._next_stage(session, now)

    def _choose_references(self, session: Session) -> None:
        """The last layer's responses, if it brought any: a layer that brought none loses nothing but itself."""
        texts = [text for text, _ in session.layers[-1]]
        if texts:
            chosen = self._context.policies.response_selection.choose(texts)
            session.references = tuple(texts[index] for index in chosen)

    def _end(self, session: Session, outcome: Outcome, text: str, detail: str, now: float) -> None:
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
        for kind in ("session", "resume"):
            self._context.timers.clear((kind, session.key))
        del self._active[session.key]
        self._server.queue.release(session.key)
        self._answers.add(session.key, answer, now)
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

    def _send_receipt(self, session: Session, now: float) -> None:
        receipt = PromptReceipt(
            session.prompt.prompt_id, self._context.identity.device_id, self._server.expected_wait_s(now)
        )
        self._context.out.append(SendToUser(session.reply, receipt))

    def _refuse(
        self, reply: ReplyRoute, prompt_id: str, reason: RefusalReason, detail: str, now: float | None = None
    ) -> None:
        self._context.counters.prompts_refused += 1
        retry_after_s = None if now is None else max(self._server.expected_wait_s(now) or 0.0, 1.0)
        self._context.out.append(
            SendToUser(reply, PromptRefusal(prompt_id, self._context.identity.device_id, reason, detail, retry_after_s))
        )


def _session_key(prompt_id: str, reply: ReplyRoute) -> str:
    """Two users may choose the same prompt id: a prompt is known by its id and where it is answered."""
    return f"{reply.topic} {prompt_id}"
