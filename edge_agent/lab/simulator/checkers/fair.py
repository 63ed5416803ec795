"""Nobody can keep the others out: shares leave a reserve, and in line others pass those who have more than a share."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TypeAlias

from edge_agent.core.agent import Agent
from edge_agent.core.effects import Effect, JournalAnswer, JournalPrompt, SendToDevice, StartInference
from edge_agent.core.events import Event, ReplyRoute, SessionsRestored
from edge_agent.core.messages import Prompt, ProposalRequest
from edge_agent.core.settings import AgentSettings
from edge_agent.core.states import ItemRole
from edge_agent.lab.simulator.checkers.base import Checker

Amount: TypeAlias = tuple[int, int]
"""Places and output tokens."""
_CROWD = "me/"


class FairShares(Checker):
    """Counts for itself who holds what, out of what is journalled and what is in the queue."""

    name = "nobody keeps the others out"

    def __init__(self, settings: AgentSettings) -> None:
        totals = (settings.queue_capacity, settings.queue_work_max)
        own = [max(1, int(total * settings.principal_share)) for total in totals]
        self._share: Amount = (own[0], own[1])
        self._most: Amount = (max(own[0], totals[0] - own[0]), max(own[1], totals[1] - own[1]))
        whole = round(totals[0] / own[0])
        self._turns = 1 if whole <= 1 else 2 * whole
        self._layers = settings.layers
        self._sessions: dict[int, dict[tuple[str, str], tuple[str, int]]] = {}
        self._held: dict[int, dict[str, Amount]] = {}
        self._line: dict[int, list[tuple[str, bool]]] = {}  # those waiting, and whether each is over its share
        self._since: dict[int, int] = {}  # who left the line since somebody over its share went before another
        self._passed: dict[int, int] = {}

    def restarted(self, device: int) -> None:
        """Its sessions come back from the journal, if at all."""
        for kept in (self._sessions, self._held, self._line, self._since, self._passed):
            kept.pop(device, None)

    def after(self, now: float, device: int, agent: Agent, event: Event, effects: Sequence[Effect]) -> None:
        """Looks at one device."""
        self._count_sessions(device, event, effects)
        before, held = self._held.get(device, {}), self._count(device, agent)
        self._held[device] = held
        if type(event) is not SessionsRestored:
            self._check_reserve(device, before, held)
        self._check_turns(device, agent, effects)
        for effect in effects:
            if type(effect) is SendToDevice and type(effect.message) is ProposalRequest:
                self._check_yields(device, agent, effect.message)

    def _count_sessions(self, device: int, event: Event, effects: Sequence[Effect]) -> None:
        sessions = self._sessions.setdefault(device, {})
        if type(event) is SessionsRestored:
            for kept in event.sessions:
                self._add(sessions, kept.prompt, kept.reply, kept.layer_count)
        for effect in effects:
            if type(effect) is JournalPrompt:
                self._add(sessions, effect.prompt, effect.reply, effect.layer_count)
            elif type(effect) is JournalAnswer:
                sessions.pop((effect.reply.inbox, effect.answer.prompt_id), None)

    def _add(
        self, sessions: dict[tuple[str, str], tuple[str, int]], prompt: Prompt, reply: ReplyRoute, layers: int | None
    ) -> None:
        holder = reply.inbox if reply.inbox.startswith(_CROWD) else f"{reply.principal}/"
        work = ((self._layers if layers is None else layers) + 1) * prompt.options.sampling.max_output_tokens
        sessions[reply.inbox, prompt.prompt_id] = (holder, work)

    def _count(self, device: int, agent: Agent) -> dict[str, Amount]:
        held: dict[str, Amount] = {}
        queue = agent.queue
        for item in (*queue.waiting.values(), *queue.running.values()):
            if item.role is ItemRole.PEER:
                _add(held, item.holder, (1, item.sampling.max_output_tokens))
        for holder, work in self._sessions[device].values():
            _add(held, holder, (1, work))
        return held

    def _check_reserve(self, device: int, before: dict[str, Amount], held: dict[str, Amount]) -> None:
        if held == before:
            return
        grown = [holder for holder in held if held[holder][0] > before.get(holder, (0, 0))[0]]
        if not grown:
            return
        used = _sum(held.values())
        crowd = _sum(amount for holder, amount in held.items() if holder.startswith(_CROWD))
        for holder in grown:
            first = held[holder][0] == 1
            within = first or (not holder.endswith("~") and _fits(held[holder], self._share))
            if not within and not _fits(used, self._most):
                raise self.broken(f"d{device} gave {holder}, who has {held[holder]}, of the reserve for others: {held}")
            if holder.startswith(_CROWD) and not _fits(crowd, self._most) and not _fits(used, self._most):
                raise self.broken(f"d{device} let the nameless take the reserve for others: {held}")

    def _check_turns(self, device: int, agent: Agent, effects: Sequence[Effect]) -> None:
        before, queue = self._line.get(device, []), agent.queue
        if not before and not queue.waiting:
            return
        line = [(item.item_id, queue.shares.is_over(item.holder)) for item in queue.waiting.values()]
        self._line[device] = line
        if not before:
            return
        over_now = {item_id for item_id, over in line if over}
        still = {item_id for item_id, _ in line}
        fair = [item_id for item_id, over in before if item_id in still and not over and item_id not in over_now]
        started = [effect.item_id for effect in effects if type(effect) is StartInference]
        left = sum(item_id not in still for item_id, _ in before)
        in_line = {item_id for item_id, _ in before}
        left += sum(item_id not in in_line for item_id in started)  # a session's next stage comes and goes at once
        self._since[device] = self._since.get(device, 0) + left
        head = before[0][0]
        if head not in still and head not in started:  # it ended in its turn, or before it: who is next has not waited
            self._passed[device] = 0
        for item_id, was_over in before:
            item = queue.running.get(item_id)
            if item_id in started and item is not None and item.attempts == 1:
                if was_over and queue.shares.is_over(item.holder) and fair:
                    if self._since[device] - 1 < self._turns - 1:
                        raise self.broken(f"d{device} started {item_id}, over its share, before {fair[0]}")
                    self._since[device] = 0
                self._note_passes(device, before, item_id, still & over_now)

    def _note_passes(self, device: int, before: list[tuple[str, bool]], started: str, over: set[str]) -> None:
        head, was_over = before[0]
        if head == started or not was_over or head not in over:
            self._passed[device] = 0
            return
        self._passed[device] = self._passed.get(device, 0) + 1
        if self._passed[device] >= self._turns:
            raise self.broken(f"d{device} let {self._passed[device]} in a row pass {head}, which then never starts")

    def _check_yields(self, device: int, agent: Agent, message: ProposalRequest) -> None:
        request = agent._requests._open.get(message.request_id)
        if request is None or message.yields:
            return
        holder = self._sessions[device].get((request.session.reply.inbox, request.session.prompt.prompt_id), ("", 0))[0]
        if self._held[device].get(holder, (0, 0))[0] > self._share[0]:
            raise self.broken(f"d{device} asks as for anybody for {holder}, who has {self._held[device][holder]}")


def _add(held: dict[str, Amount], holder: str, amount: Amount) -> None:
    places, work = held.get(holder, (0, 0))
    held[holder] = (places + amount[0], work + amount[1])


def _sum(amounts: Iterable[Amount]) -> Amount:
    listed = list(amounts)
    return sum(places for places, _ in listed), sum(work for _, work in listed)


def _fits(amount: Amount, bound: Amount) -> bool:
    return amount[0] <= bound[0] and amount[1] <= bound[1]
