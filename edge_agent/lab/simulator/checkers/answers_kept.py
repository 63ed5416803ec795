"""No prompt is worked on again while its answer is to be kept, and nobody's answers are pushed out by another's."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from edge_agent.core.agent import Agent
from edge_agent.core.effects import Effect, JournalAnswer, JournalPrompt, SendToUser
from edge_agent.core.events import AnswersQueryReceived, Event, JournalRecord, RecordWritten, SessionsRestored
from edge_agent.core.messages import AnswersPage, Standing
from edge_agent.core.settings import AgentSettings
from edge_agent.core.sizes import answer_size
from edge_agent.lab.simulator.checkers.base import Checker, EndsOfDevices, Key

_CROWD = "me/"


@dataclass(frozen=True, slots=True)
class _Ended:
    """When a prompt ended, and how many bytes of answers its holder had had before it."""

    at: float
    own_bytes: int


class AnswersKept(EndsOfDevices[_Ended]):
    """Remembers every end for as long as the device promises to: for a time, and within a bound in bytes.

    Over the bound who keeps most gives first: an end may go only when its holder has had about its share of the bound
    since. Clients without a name share theirs, and are promised nothing.
    """

    name = "no prompt is worked on again, nor called gone, while its answer is kept"

    def __init__(self, settings: AgentSettings, others: Sequence[Checker] = ()) -> None:
        super().__init__()
        self._others = others  # are told of what begins again and may
        self._kept_s = settings.answers_kept_s
        self._bytes_max = settings.answers_bytes_max
        self._own_bytes: dict[int, Counter[str]] = {}
        self._size: dict[Key, int] = {}

    def after(self, now: float, device: int, agent: Agent, event: Event, effects: Sequence[Effect]) -> None:
        """Looks for prompts that begin again, and for those that are said to be gone."""
        if type(event) is RecordWritten and event.record is JournalRecord.ANSWER:
            key = (device, event.reply.inbox, event.prompt_id)
            self._note(key, now, self._size.pop(key, 0))
            if event.error:
                self._unkept.add(key)
        elif type(event) is SessionsRestored:
            for kept in event.answers:
                key = (device, kept.reply.inbox, kept.answer.prompt_id)
                if key not in self._ends:
                    self._note(key, now, 0)
        for effect in effects:
            if type(effect) is JournalAnswer:
                self._size[device, effect.reply.inbox, effect.answer.prompt_id] = answer_size(effect.answer)
            elif type(effect) is JournalPrompt:
                key = (device, effect.reply.inbox, effect.prompt.prompt_id)
                if self._is_to_be_known(key, now):
                    raise self.broken(f"d{device} begins prompt {key[2]} of {key[1]} again {self._words(key, now)}")
                if self._ends.pop(key, None) is not None:
                    for other in self._others:
                        other.begun_anew(*key)
            elif type(effect) is SendToUser and type(effect.message) is AnswersPage:
                self._look(device, event, effect.message, now)

    def _look(self, device: int, event: Event, page: AnswersPage, now: float) -> None:
        if type(event) is not AnswersQueryReceived or not event.query.prompt_id:
            return
        if page.answers[0].standing is not Standing.GONE:
            return
        for key in [key for key in self._ends if key[0] == device and key[2] == event.query.prompt_id]:
            principal, _, client = key[1].partition("/")
            asked = principal == event.reply.principal and event.query.of_client in ("", client)
            if asked and self._is_to_be_known(key, now):
                raise self.broken(f"d{device} calls prompt {key[2]} of {key[1]} gone {self._words(key, now)}")

    def _note(self, key: Key, now: float, size: int) -> None:
        own = self._own_bytes.setdefault(key[0], Counter())
        holder = _holder(key[1])
        self._ends[key] = _Ended(now, own[holder])
        own[holder] += size

    def _is_to_be_known(self, key: Key, now: float) -> bool:
        ended = self._ends.get(key)
        if ended is None or now >= ended.at + self._kept_s:
            return False
        own, holder = self._own_bytes[key[0]], _holder(key[1])
        return holder != _CROWD and own[holder] - ended.own_bytes <= self._bytes_max / (2 * len(own))

    def _words(self, key: Key, now: float) -> str:
        return f"{now - self._ends[key].at:.1f} s after its end"


def _holder(inbox: str) -> str:
    return f"{inbox.partition('/')[0]}/"
