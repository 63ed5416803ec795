"""How prompts ended, from the journal to the user: written, then sent while there is a connection, then delivered.

An end is owed until the broker has taken it, over lost connections and restarts. It is kept for a while after that, so
that a repeated prompt is answered without being worked on again.

    WRITING ──► OWED ◄──► SENDING ──► DELIVERED ──► OWED, for a repeat that cannot be told as it is
"""

from __future__ import annotations

from collections.abc import Iterator

from edge_agent.core.context import Context
from edge_agent.core.effects import JournalAnswer, JournalDelivered, SendToUser
from edge_agent.core.errors import InvariantError
from edge_agent.core.events import ReplyRoute, RestoredAnswer
from edge_agent.core.kept import End, EndState, Kept
from edge_agent.core.messages import DEADLINE_MAX_S, Answer
from edge_agent.core.sizes import MESSAGE_OVERHEAD_BYTES, answer_size
from edge_agent.core.timers import TimerKind

TIMER = (TimerKind.OWED, "")
SENDING_MAX = 64  # answers on their way to the broker at once: far below what an outbox holds
RETRY_S = 5.0  # after one was dropped on its way, by a full outbox or a broker that refuses it


class Ends:
    """Ends by session key, within `answers_bytes_max`, for `answers_kept_s` after they came, or a day while owed.

    Over the bound, who keeps most gives first: its oldest delivered one is forgotten (`Kept.next_to_go`). So that none
    that is owed has to go, whoever is owed something is not promised more than half of the bound holds (`has_room`).
    """

    __slots__ = ("_context", "_kept", "_sending")

    def __init__(self, context: Context) -> None:
        self._context = context
        self._kept = Kept()
        self._sending = 0

    @property
    def outstanding(self) -> int:
        """Ends that no broker has taken yet."""
        return len(self._kept.open)

    def has_room(self, holder: str, sessions: int) -> bool:
        """Whether a prompt of a holder may be accepted beside so many sessions: its end can be kept until it is told.

        Who is owed nothing always may. Then nothing owed is ever forgotten for want of room where `answers_bytes_max`
        holds twice as many ends as the queue has places.
        """
        if not self._kept.owes(holder):
            return True
        settings = self._context.settings
        promised = (sessions + 1) * (settings.response_bytes_max + MESSAGE_OVERHEAD_BYTES)
        return self._kept.open_bytes + promised <= settings.answers_bytes_max // 2

    def add(self, key: str, answer: Answer, reply: ReplyRoute, accepted_at: float, now: float) -> None:
        """A prompt has ended: its end is journalled, then sent."""
        journal = self._context.settings.journal
        state = EndState.WRITING if journal else EndState.DELIVERED
        self._keep(End(key, answer, reply, accepted_at, now, now, answer_size(answer), state, kept=not journal), now)
        self._context.out.append(JournalAnswer(answer, reply) if journal else SendToUser(reply, answer))

    def restore(self, key: str, restored: RestoredAnswer, now: float) -> None:
        """Takes up an end that the journal kept; one that is owed is sent once there is a connection."""
        if self._kept.get(key) is not None:
            return
        answer, ended_at = restored.answer, now - restored.age_s
        accepted_at = ended_at - answer.end_to_end_latency_s
        state = EndState.DELIVERED if restored.delivered else EndState.OWED
        size = answer_size(answer)
        self._keep(End(key, answer, restored.reply, accepted_at, ended_at, now, size, state, kept=True), now)

    def restored(self, now: float) -> None:
        """All that the journal kept has been taken up."""
        self._kept.restored(now)

    def newest(
        self, holder: str, now: float, behind: tuple[float] | tuple[float, str, str] = (float("inf"),)
    ) -> Iterator[End]:
        """Yields the ends of a holder's prompts that are not past their time, the newest first, from the first that
        came before `behind`: a time, or one's `place`."""
        for end in self._kept.newest(holder, behind):
            if not self._is_past(end, now):
                yield end

    def of_id(self, principal: str, prompt_id: str, now: float) -> list[End]:
        """Returns the ends of this user's prompts of one id that are not past their time, in no order."""
        return [end for end in self._kept.of_id(principal, prompt_id) if not self._is_past(end, now)]

    def whole_s(self, holder: str, now: float, *, of_crowd: bool = False) -> float:
        """Returns for how many seconds back every end of a holder, or of all who have no name, is still known."""
        return min(self._context.settings.answers_kept_s, now - self._kept.whole_since(holder, of_crowd=of_crowd))

    def written(self, key: str, *, kept: bool) -> bool:
        """The journal has done what it can: the end may be told. Returns whether it is known."""
        end = self._kept.get(key)
        if end is None:
            return False
        end.kept |= kept
        if end.state is not EndState.WRITING:  # written anew, once the journal could
            if kept and end.state is EndState.DELIVERED:
                self._context.out.append(JournalDelivered(end.answer.prompt_id, end.reply))
            return False
        end.state = EndState.OWED
        self._send(end)
        return True

    def sent(self, key: str, delivered: bool, now: float) -> None:
        """A broker has taken the end, or it was dropped on its way."""
        end = self._kept.open.get(key)
        if end is None or end.state is not EndState.SENDING:
            return
        self._sending -= 1
        if delivered:
            self._kept.move(end, EndState.DELIVERED)
            self._context.out.append(JournalDelivered(end.answer.prompt_id, end.reply))
            self.send_owed()
        else:
            end.state = EndState.OWED
            self._context.timers.set(TIMER, now + RETRY_S)

    def may_be_lost(self) -> None:
        """The journal refuses, or is a new one: what is still owed counts as not kept. Twice is harmless."""
        for end in self._kept.open.values():
            end.kept = False

    def keep_anew(self) -> None:
        """The journal can be written again: it is given the ends that it refused, told or not."""
        for end in (*self._kept.open.values(), *self._kept.delivered.values()):
            if not end.kept and end.state is not EndState.WRITING:
                self._context.out.append(JournalAnswer(end.answer, end.reply))

    def send_owed(self) -> None:
        """There is a connection, or room on it: sends what is owed."""
        self._context.timers.clear(TIMER)
        for end in list(self._kept.open.values()):
            if self._sending >= SENDING_MAX or not self._context.connected:
                break
            self._send(end)

    def repeat(self, key: str, reply: ReplyRoute, now: float) -> bool:
        """Answers a repeated prompt, or a cancel that came too late, if its end is kept; returns whether it is."""
        end = self._kept.open.get(key)
        if end is not None:  # it is on its way, or will be, by the route named last
            end.reply = reply
            if end.state is EndState.SENDING and self._context.connected:
                self._context.out.append(SendToUser(reply, end.answer))
            else:
                self._send(end)
            return True
        end = self._kept.delivered.get(key)
        if end is None or self._is_past(end, now):
            return False
        if self._context.connected and self._context.fit_answer(end.answer) is end.answer:
            self._context.out.append(SendToUser(reply, end.answer))
        else:
            self._owe_again(end, reply)
        return True

    def is_known(self, key: str) -> bool:
        """Whether a prompt has ended and its end is still to be told or written."""
        return key in self._kept.open

    def holds(self, key: str) -> bool:
        """Whether the end of a prompt is kept, told or not."""
        return self._kept.get(key) is not None

    def check_invariants(self) -> None:
        """Raises `InvariantError` if a bound does not hold, or an end could never be told."""
        self._kept.check_invariants()
        if self._kept.bytes > self._context.settings.answers_bytes_max and len(self._kept) > 1:
            raise InvariantError("more answers are kept than may be")
        sending, owed = 0, False
        for end in self._kept.open.values():
            sending += end.state is EndState.SENDING
            owed |= end.state is EndState.OWED
        if sending != self._sending:
            raise InvariantError("the answers on their way are miscounted")
        if owed and self._context.connected and self._sending < SENDING_MAX and TIMER not in self._context.timers:
            raise InvariantError("an answer is owed, and nothing would send it")

    def _send(self, end: End) -> None:
        if end.state is EndState.OWED and self._context.connected and self._sending < SENDING_MAX:
            if self._cut(end):
                return
            end.state = EndState.SENDING
            self._sending += 1
            self._context.out.append(SendToUser(end.reply, end.answer))

    def _cut(self, end: End) -> bool:
        """Cuts an end that is too large for this broker, which is not the one it was made for, and has it written so.

        Returns whether it had to: then it is sent once it is written.
        """
        fitted = self._context.fit_answer(end.answer)
        if fitted is end.answer:
            return False
        end.answer = fitted
        self._kept.resize(end, answer_size(end.answer))
        if not self._context.settings.journal:
            return False
        end.state, end.kept = EndState.WRITING, False
        self._context.out.append(JournalAnswer(end.answer, end.reply))
        return True

    def _owe_again(self, end: End, reply: ReplyRoute) -> None:
        """The repeat was the last message before the connection broke, or it is too large for today's broker."""
        end.reply = reply
        self._kept.move(end, EndState.OWED)
        self._send(end)

    def _is_past(self, end: End, now: float) -> bool:
        """Whether a delivered end is not repeated any more, though it may still be there."""
        return end.state is EndState.DELIVERED and now >= end.kept_at + self._context.settings.answers_kept_s

    def _keep(self, end: End, now: float) -> None:
        before = self._kept.get(end.key)
        if before is not None:  # one past its time may still be there
            self._sending -= before.state is EndState.SENDING
            self._kept.remove(before)
        self._kept.put(end)
        self.forget_old(now)
        self._make_room(end)

    def forget_old(self, now: float) -> None:
        """Forgets what is past its time."""
        kept_s = self._context.settings.answers_kept_s
        for line, line_kept_s in ((self._kept.delivered, kept_s), (self._kept.open, max(kept_s, DEADLINE_MAX_S))):
            while line:
                oldest = next(iter(line.values()))
                if oldest.kept_at > now - line_kept_s:
                    break
                self._forget(oldest)

    def _make_room(self, newest: End) -> None:
        """The newest stays, however large it is: it is still to be told."""
        while self._kept.bytes > self._context.settings.answers_bytes_max:
            end = self._kept.next_to_go(newest)
            if end is None:
                return
            self._forget(end)

    def _forget(self, end: End) -> None:
        self._sending -= end.state is EndState.SENDING
        self._kept.forget(end)
        if not self._kept.open:
            self._context.timers.clear(TIMER)
