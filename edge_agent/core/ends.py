"""How prompts ended, from the journal to the user: written, then sent while there is a connection, then delivered.

An end is owed until the broker has taken it, over lost connections and restarts. It is kept for a while after that, so
that a repeated prompt is answered without being worked on again.

    WRITING ──► OWED ◄──► SENDING ──► DELIVERED ──► OWED, for a repeat that cannot be told as it is
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum

from edge_agent.core.context import Context
from edge_agent.core.effects import JournalAnswer, JournalDelivered, SendToUser
from edge_agent.core.errors import InvariantError
from edge_agent.core.events import ReplyRoute, RestoredAnswer
from edge_agent.core.messages import DEADLINE_MAX_S, Answer
from edge_agent.core.sizes import answer_size

TIMER = ("owed", "")
SENDING_MAX = 64  # answers on their way to the broker at once: far below what an outbox holds
RETRY_S = 5.0  # after one was dropped on its way, by a full outbox or a broker that refuses it


class EndState(StrEnum):
    """Where an end stands."""

    WRITING = "writing"
    OWED = "owed"
    SENDING = "sending"
    DELIVERED = "delivered"


@dataclass(slots=True, eq=False)
class End:
    """How a prompt ended, and how far that got."""

    answer: Answer
    reply: ReplyRoute
    ended_at: float
    kept_at: float
    size: int
    state: EndState
    kept: bool
    """Whether the journal has it. If not, a restart would work on its prompt again, and tell another end."""

    @property
    def is_written(self) -> bool:
        """Whether the journal has done what it can: only then may anybody be told."""
        return self.state is not EndState.WRITING


class Ends:
    """Ends by session key, within `answers_bytes_max`, for `answers_kept_s` after they came, or a day while owed.

    Over the bound the oldest delivered ones are forgotten first, then the oldest that are owed.
    """

    __slots__ = ("_bytes", "_context", "_delivered", "_open", "_sending", "_whole_since")

    def __init__(self, context: Context) -> None:
        self._context = context
        self._open: OrderedDict[str, End] = OrderedDict()  # not delivered yet, the oldest first
        self._delivered: OrderedDict[str, End] = OrderedDict()
        self._sending = 0
        self._bytes = 0
        self._whole_since = -float("inf")  # what ended before may be forgotten

    @property
    def outstanding(self) -> int:
        """Ends that no broker has taken yet."""
        return len(self._open)

    def add(self, key: str, answer: Answer, reply: ReplyRoute, now: float) -> None:
        """A prompt has ended: its end is journalled, then sent."""
        if self._context.settings.journal:
            self._keep(key, End(answer, reply, now, now, answer_size(answer), EndState.WRITING, kept=False))
            self._context.out.append(JournalAnswer(answer, reply))
        else:
            self._keep(key, End(answer, reply, now, now, answer_size(answer), EndState.DELIVERED, kept=True))
            self._context.out.append(SendToUser(reply, answer))
        self._forget_old(now)

    def restore(self, key: str, restored: RestoredAnswer, now: float) -> None:
        """Takes up an end that the journal kept; one that is owed is sent once there is a connection."""
        if key not in self._open and key not in self._delivered:
            answer, ended_at = restored.answer, now - restored.age_s
            state = EndState.DELIVERED if restored.delivered else EndState.OWED
            self._keep(key, End(answer, restored.reply, ended_at, now, answer_size(answer), state, kept=True))
            self._forget_old(now)

    def restored(self, now: float) -> None:
        """All that the journal kept has been taken up. It forgets the oldest first."""
        self._whole_since = min((end.ended_at for end in self._delivered.values()), default=now)

    def of(self, principal: str, now: float) -> Iterator[End]:
        """Yields the ends of this user's prompts that are not past their time, in no order."""
        for end in self._open.values():
            if end.reply.principal == principal:
                yield end
        for end in self._delivered.values():
            if end.reply.principal == principal and now < end.kept_at + self._context.settings.answers_kept_s:
                yield end

    def whole_s(self, now: float) -> float:
        """Returns for how many seconds back every end is still known."""
        return min(self._context.settings.answers_kept_s, now - self._whole_since)

    def written(self, key: str, *, kept: bool) -> bool:
        """The journal has done what it can: the end may be told. Returns whether it is known."""
        end = self._open.get(key)
        if end is None:
            end = self._delivered.get(key)
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
        end = self._open.get(key)
        if end is None or end.state is not EndState.SENDING:
            return
        self._sending -= 1
        if delivered:
            del self._open[key]
            end.state = EndState.DELIVERED
            self._delivered[key] = end
            self._context.out.append(JournalDelivered(end.answer.prompt_id, end.reply))
            self.send_owed()
        else:
            end.state = EndState.OWED
            self._context.timers.set(TIMER, now + RETRY_S)

    def may_be_lost(self) -> None:
        """The journal refuses, or is a new one: what is still owed counts as not kept. Twice is harmless."""
        for end in self._open.values():
            end.kept = False

    def keep_anew(self) -> None:
        """The journal can be written again: it is given the ends that it refused, told or not."""
        for end in (*self._open.values(), *self._delivered.values()):
            if not end.kept and end.state is not EndState.WRITING:
                self._context.out.append(JournalAnswer(end.answer, end.reply))

    def send_owed(self) -> None:
        """There is a connection, or room on it: sends what is owed."""
        self._context.timers.clear(TIMER)
        for end in list(self._open.values()):
            if self._sending >= SENDING_MAX or not self._context.connected:
                break
            self._send(end)

    def repeat(self, key: str, reply: ReplyRoute, now: float) -> bool:
        """Answers a repeated prompt, or a cancel that came too late, if its end is kept; returns whether it is."""
        end = self._open.get(key)
        if end is not None:  # it is on its way, or will be, by the route named last
            end.reply = reply
            if end.state is EndState.SENDING and self._context.connected:
                self._context.out.append(SendToUser(reply, end.answer))
            else:
                self._send(end)
            return True
        end = self._delivered.get(key)
        if end is None or now >= end.kept_at + self._context.settings.answers_kept_s:
            return False
        if self._context.connected and self._context.fit_answer(end.answer) is end.answer:
            self._context.out.append(SendToUser(reply, end.answer))
        else:
            self._owe_again(key, end, reply)
        return True

    def is_known(self, key: str) -> bool:
        """Whether a prompt has ended and its end is still to be told or written."""
        return key in self._open

    def holds(self, key: str) -> bool:
        """Whether the end of a prompt is kept, told or not."""
        return key in self._open or key in self._delivered

    def check_invariants(self) -> None:
        """Raises `InvariantError` if a bound does not hold, or an end could never be told."""
        ends = [
            *self._open.values(),
            *self._delivered.values(),
        ]  # there may be thousands: lists are quick to go through
        if sum([end.size for end in ends]) != self._bytes:
            raise InvariantError("the bytes of kept answers are miscounted")
        if self._bytes > self._context.settings.answers_bytes_max and len(ends) > 1:
            raise InvariantError("more answers are kept than may be")
        states = [end.state for end in ends]
        if states.count(EndState.SENDING) != self._sending:
            raise InvariantError("the answers on their way are miscounted")
        owed = EndState.OWED in states
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
        self._bytes -= end.size - answer_size(end.answer)
        end.size = answer_size(end.answer)
        if not self._context.settings.journal:
            return False
        end.state, end.kept = EndState.WRITING, False
        self._context.out.append(JournalAnswer(end.answer, end.reply))
        return True

    def _owe_again(self, key: str, end: End, reply: ReplyRoute) -> None:
        """The repeat was the last message before the connection broke, or it is too large for today's broker."""
        del self._delivered[key]
        end.state, end.reply = EndState.OWED, reply
        self._open[key] = end
        self._open.move_to_end(key, last=False)  # the oldest first
        self._send(end)

    def _keep(self, key: str, end: End) -> None:
        self._drop(key)  # one past its time may still be there
        self._bytes += end.size
        (self._delivered if end.state is EndState.DELIVERED else self._open)[key] = end

    def _forget_old(self, now: float) -> None:
        kept_s = self._context.settings.answers_kept_s
        self._drop_oldest(self._delivered, kept_s, now)
        self._drop_oldest(self._open, max(kept_s, DEADLINE_MAX_S), now)

    def _drop_oldest(self, kept: OrderedDict[str, End], kept_s: float, now: float) -> None:
        while kept:
            key, end = next(iter(kept.items()))
            # the last one stays, however large it is: it is still to be told
            too_much = self._bytes > self._context.settings.answers_bytes_max
            if end.kept_at > now - kept_s and not (too_much and len(self._open) + len(self._delivered) > 1):
                return
            self._whole_since = max(self._whole_since, end.ended_at)
            self._drop(key)

    def _drop(self, key: str) -> None:
        end = self._open.pop(key, None) or self._delivered.pop(key, None)
        if end is not None:
            self._bytes -= end.size
            self._sending -= end.state is EndState.SENDING
