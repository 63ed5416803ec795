"""Where users' words come in: prompts are taken or refused, repeats recognised, sessions of before a restart taken up.

An accepted prompt is on disk before its receipt is sent, or the receipt says that it is not. Its first layer does not
wait for that. A refusal says why, and when to try again where that can help.
"""

from __future__ import annotations

from edge_agent.core.context import Context
from edge_agent.core.effects import SendToUser
from edge_agent.core.ends import Ends
from edge_agent.core.events import (
    AnswerSent,
    BadInputReceived,
    JournalRecord,
    PromptCancelReceived,
    PromptReceived,
    RecordWritten,
    ReplyRoute,
    RestoredSession,
    SessionsRestored,
)
from edge_agent.core.health import Part
from edge_agent.core.inference import InferenceServer
from edge_agent.core.membership import Membership
from edge_agent.core.messages import Prompt, PromptOptions, PromptReceipt, PromptRefusal, RefusalReason, Role
from edge_agent.core.refusals import Refusals
from edge_agent.core.sessions import Sessions
from edge_agent.core.shares import Shortage
from edge_agent.core.sizes import MESSAGE_OVERHEAD_BYTES, chat_size, size_of
from edge_agent.core.states import Outcome
from edge_agent.core.timers import TimerKind

_OWED = "too many of your answers wait for delivery: they are sent as soon as a broker accepts them"
_SHORT_OF = {
    Shortage.FULL: "the queue is full",
    Shortage.SHARE: "you already have your share of this device's queue; the rest is reserved for others",
}
_UNABLE_RETRY_S = 10.0  # a model that is loaded again takes seconds


class Reception:
    """The user's side of a session's beginning."""

    __slots__ = ("_context", "_ends", "_membership", "_refusals", "_server", "_sessions")

    def __init__(
        self,
        context: Context,
        server: InferenceServer,
        membership: Membership,
        sessions: Sessions,
        ends: Ends,
        refusals: Refusals,
    ) -> None:
        self._context = context
        self._server = server
        self._membership = membership
        self._sessions = sessions
        self._ends = ends
        self._refusals = refusals

    def prompt_received(self, event: PromptReceived, now: float) -> None:
        """Takes a prompt, or refuses it in words. A repeat gets its receipt again, or its answer if that is there."""
        key = _session_key(event.prompt.prompt_id, event.reply)
        if self._ends.repeat(key, event.reply, now):
            self._context.counters.prompts_repeated += 1
            return
        active = self._sessions.find(key)
        if active is not None:
            self._context.counters.prompts_repeated += 1
            active.reply = event.reply
            if active.receipted:  # else it gets its first one once the journal has done what it can
                self._send_receipt(active.reply, active.prompt.prompt_id, active.durable, now)
            return
        self._server.meter.prompt_offered()
        refusal = self._refusal(event.prompt, event.size_bytes, now)
        if refusal is not None:
            self._turn_away(event, *refusal, now)
            return
        if not self._ends.has_room(event.reply.holder, len(self._sessions)):
            self._turn_away(event, RefusalReason.OVERLOADED, _OWED, now)
            return
        session = self._sessions.open(key, event.prompt, event.reply, now)
        if isinstance(session, Shortage):
            self._turn_away(event, RefusalReason.OVERLOADED, _SHORT_OF[session], now)
            return
        self._refusals.discard(event.prompt.prompt_id, event.reply)
        if self._context.settings.journal:
            self._sessions.journal(session, now)
        else:
            self._send_receipt(session.reply, session.prompt.prompt_id, False, now)
        self._sessions.stages.begin_next(session, now)

    def record_written(self, event: RecordWritten, now: float) -> None:
        """The journal has done what it can with a prompt or an end: now its user may be told."""
        key = _session_key(event.prompt_id, event.reply)
        if event.record is JournalRecord.ANSWER:
            self._ends.written(key, kept=not event.error)
            return
        session, durable = self._sessions.find(key), not event.error
        if session is not None:
            session.durable = durable
            if not session.receipted:
                self._send_receipt(session.reply, event.prompt_id, durable, now)
                self._context.out += session.released()
        elif self._ends.is_known(key):  # a quick one: its end is written next
            self._send_receipt(event.reply, event.prompt_id, durable, now)

    def answer_sent(self, event: AnswerSent, now: float) -> None:
        """An answer has reached the broker, or was dropped on its way."""
        self._ends.sent(_session_key(event.prompt_id, event.reply), event.delivered, now)

    def cancel_received(self, event: PromptCancelReceived, now: float) -> None:
        """Ends a session that its user no longer wants; a finished one's answer is sent again."""
        key = _session_key(event.prompt_id, event.reply)
        session = self._sessions.find(key)
        if session is not None:
            self._sessions.end(session, Outcome.CANCELLED, "", "cancelled by the user", now)
            return
        if not self._ends.repeat(key, event.reply, now):
            self._refuse(event.reply, event.prompt_id, RefusalReason.INVALID, "no prompt with that id is known here")

    def bad_input_received(self, event: BadInputReceived) -> None:
        """Counts what is no message, and tells its sender where there is one."""
        self._context.counters.bad_input += 1
        if event.reply is not None:
            self._refuse(event.reply, event.message_id, event.reason, event.detail)

    def over_rate(self, reply: ReplyRoute, prompt_id: str) -> None:
        """Tells a user who sends too many messages a second; what they were was not read.

        Of a prompt that was taken it was a repeat, and a refusal would be taken for the end of that.
        """
        key = _session_key(prompt_id, reply)
        if self._sessions.find(key) is not None or self._ends.holds(key):
            return
        settings = self._context.settings
        said = f"more than {settings.message_rate_hz:g} messages a second: the message was not read"
        full_again_s = settings.message_burst / settings.message_rate_hz
        self._refuse(reply, prompt_id, RefusalReason.OVERLOADED, said, full_again_s)

    def restored(self, event: SessionsRestored, now: float) -> None:
        """Takes up what the journal kept: unfinished sessions from their last joined layer, and finished answers."""
        for kept in sorted(event.answers, key=lambda kept: -kept.age_s):  # the oldest first: it would go first
            key = _session_key(kept.answer.prompt_id, kept.reply)
            self._ends.restore(key, kept, now)
        self._ends.restored(now)
        self._ends.send_owed()
        for restored in event.sessions:
            self._restore(restored, now)

    def _refusal(self, prompt: Prompt, size_bytes: int, now: float) -> tuple[RefusalReason, str] | None:
        settings = self._context.settings
        if self._context.stopping:
            return RefusalReason.STOPPING, "this device is stopping"
        if not self._context.health.able:
            return RefusalReason.UNABLE, f"this device cannot infer: {self._context.health.of(Part.ENGINE)}"
        if max(size_bytes, size_of(prompt.messages)) > settings.prompt_bytes_max:
            return RefusalReason.TOO_LARGE, f"a prompt may take at most {settings.prompt_bytes_max} bytes"
        room = self._context.message_bytes_max - MESSAGE_OVERHEAD_BYTES
        if chat_size(prompt.messages) > room:
            return RefusalReason.TOO_LARGE, f"this device's broker takes prompts of at most {max(room, 0)} bytes"
        if too_much := self._over_caps(prompt.options):
            return RefusalReason.INVALID, too_much
        if not prompt.messages or prompt.messages[-1].role is not Role.USER or not prompt.messages[-1].content.strip():
            return RefusalReason.INVALID, "the last message must be the user's and must not be empty"
        return None

    def _over_caps(self, options: PromptOptions) -> str:
        """What of a prompt costs more than this device lets one user ask for, "" if nothing does."""
        settings = self._context.settings
        for what, asked, most in (
            ("layers", options.layers, settings.prompt_layers_max),
            ("fanout", options.fanout, settings.prompt_fanout_max),
            ("max_output_tokens", options.sampling.max_output_tokens, settings.prompt_output_tokens_max),
        ):
            if asked is not None and asked > most:
                return f"{what}: {asked} is more than this device does for a prompt: at most {most}"
        return ""

    def _restore(self, restored: RestoredSession, now: float) -> None:
        key = _session_key(restored.prompt.prompt_id, restored.reply)
        if self._sessions.find(key) is not None or self._ends.is_known(key):
            return  # a disk that could not be read at the start: meanwhile the prompt was asked again
        session = self._sessions.open(key, restored.prompt, restored.reply, now, restored)
        if isinstance(session, Shortage):
            return
        session.accepted_at = now - restored.elapsed_s
        session.restarts = restored.restarts
        for layer in restored.layers:
            session.join(layer.responses)
            session.missing += layer.missing
            session.substitutes += layer.substitutes
            self._sessions.stages.judging.choose(session)
        if restored.restarts > self._context.settings.session_restarts_max:
            self._sessions.given_up(session, f"given up after {restored.restarts} restarts", now)
            return
        if now >= session.deadline:
            self._sessions.deadline_reached(session, now)
            return
        # its peers are found again within moments; without them every layer would be this device's alone
        self._context.timers.set((TimerKind.RESUME, key), now + self._context.settings.resume_grace_s)
        if len(self._membership.view) >= session.fanout:
            self._sessions.stages.resume(session, now)

    def _send_receipt(self, reply: ReplyRoute, prompt_id: str, durable: bool, now: float) -> None:
        wait_s = self._server.expected_wait_s(now, reply.holder)
        receipt = PromptReceipt(prompt_id, self._context.identity.device_id, wait_s, durable)
        self._context.out.append(SendToUser(reply, receipt))

    def _turn_away(self, event: PromptReceived, reason: RefusalReason, detail: str, now: float) -> None:
        """Refuses a prompt, and remembers it for a while: its user may ask what became of it."""
        retry_after_s = None
        if reason is RefusalReason.OVERLOADED:
            retry_after_s = max(self._server.expected_wait_s(now, event.reply.holder) or 0.0, 1.0)
        elif reason is RefusalReason.UNABLE:
            retry_after_s = _UNABLE_RETRY_S
        refusal = self._refuse(event.reply, event.prompt.prompt_id, reason, detail, retry_after_s)
        self._refusals.add(refusal, event.reply, now)

    def _refuse(
        self,
        reply: ReplyRoute,
        message_id: str,
        reason: RefusalReason,
        detail: str,
        retry_after_s: float | None = None,
    ) -> PromptRefusal:
        self._context.counters.prompts_refused += 1
        refusal = PromptRefusal(message_id, self._context.identity.device_id, reason, detail, retry_after_s)
        self._context.out.append(SendToUser(reply, refusal))
        return refusal


def _session_key(prompt_id: str, reply: ReplyRoute) -> str:
    """Two users, or two clients of one, may choose the same prompt id: a prompt is known by its id and whose it is."""
    return f"{reply.inbox} {prompt_id}"
