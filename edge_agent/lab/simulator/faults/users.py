"""Users of the mesh: they ask, ask again when they hear nothing, and some change their mind."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, replace

from edge_agent.core.events import AnswersQueryReceived, Event, PromptCancelReceived, PromptReceived, ReplyRoute
from edge_agent.core.messages import (
    Answer,
    AnswersPage,
    AnswersQuery,
    ChatMessage,
    DeviceToUser,
    Prompt,
    PromptOptions,
    PromptReceipt,
    PromptRefusal,
    Role,
    Sampling,
)
from edge_agent.lab.simulator.cluster import Cluster
from edge_agent.lab.simulator.faults.kinds import FaultKind
from edge_agent.lab.simulator.faults.plan import Plan
from edge_agent.lab.simulator.faults.sizes import body_size, draw_prompt, is_too_large
from edge_agent.lab.simulator.randomness import stream

_SENDS_MAX = 4
_RETRY_S = 5.0
_CANCEL_CHANCE = 0.1
_LATE_REPEAT_CHANCE = 0.1  # asks again for an answer that is there
_LATE_REPEAT_S = 20.0  # mean time until then
_QUERIES = (1, 3)  # for each prompt
_QUERY_S = 40.0  # after its prompt, at most
_PAGES_MAX = 5  # that one query goes on for
_STRANGER_CHANCE = 0.3  # who asks of it is somebody who never asked anything
_VERY_LATE_S = (20.0, 70.0)  # and where repeats are what is looked at: after many other answers


@dataclass(slots=True)
class _Asked:
    device: int
    event: PromptReceived
    sends: int = 0
    heard: bool = False


class Users:
    """All users. `send(device, event)` takes what they say to a device on its way."""

    def __init__(self, cluster: Cluster, plan: Plan, rng: random.Random) -> None:
        self.send: Callable[[int, Event], None] = lambda device, event: None
        self._cluster = cluster
        self._plan = plan
        self._rng = rng
        self._later_rng = stream(plan.seed, "users, later kinds")
        self._query_rng = stream(plan.seed, "users, queries")
        self._queries: dict[str, tuple[int, AnswersQueryReceived]] = {}
        self._pages: Counter[str] = Counter()
        self._asked: dict[tuple[str, str, str], _Asked] = {}

    def ask(self, number: int, at: float, device: int, layers: int, fanout: int) -> None:
        """Has somebody ask a device something at a time; repeats and cancels follow by chance."""
        rng = self._rng
        options = PromptOptions(
            layers=rng.randint(0, layers),
            fanout=rng.randint(0, fanout),
            sampling=Sampling(max_output_tokens=8),
            deadline_s=rng.choice((None, None, 5.0, 30.0)),
        )
        text = "a question " * rng.randint(1, 3)
        if FaultKind.SIZES in self._plan.kinds:
            text = draw_prompt(self._later_rng)
        prompt = Prompt(f"p{number}", (ChatMessage(Role.USER, text),), options)
        if rng.random() < 0.2:
            prompt = replace(prompt, options=replace(options, join=rng.randint(1, fanout + 1)))
        # few users: the same id of two of them, or of two clients of one, must stay two prompts
        principal, client = rng.choice((("user.u0", "0"), ("user.u0", "1"), ("user.u1", "0")))
        event = PromptReceived(prompt, ReplyRoute(principal, client), len(text))
        limits = (self._plan.packet_bytes_max, self._plan.packet_bytes_later)
        if any(is_too_large(body_size(prompt), limit) for limit in limits):
            return  # a user's own client says so
        name = self._cluster.names[device]
        asked = self._asked[name, event.reply.inbox, prompt.prompt_id] = _Asked(device, event)
        self._cluster.at(at, lambda: self._try(asked))
        if rng.random() < _CANCEL_CHANCE:
            cancel = PromptCancelReceived(prompt.prompt_id, event.reply)
            self._cluster.at(at + rng.expovariate(0.2), lambda: self.send(device, cancel))
        late = rng.expovariate(1 / _LATE_REPEAT_S)
        if FaultKind.REPEATS in self._plan.kinds:
            late = self._later_rng.uniform(*_VERY_LATE_S)
        if rng.random() < _LATE_REPEAT_CHANCE:
            self._cluster.at(at + late, lambda: self.send(device, event))
        if FaultKind.QUERIES in self._plan.kinds:
            for _ in range(self._query_rng.randint(*_QUERIES)):
                self._ask_back(at, device, event)

    def _ask_back(self, at: float, device: int, asked: PromptReceived) -> None:
        """Has somebody look, at some time, what became of a prompt, or of all."""
        rng = self._query_rng
        stranger = rng.random() < _STRANGER_CHANCE
        reply = ReplyRoute("user.u2" if stranger else asked.reply.principal, rng.choice(("0", "1", "other")))
        query = AnswersQuery(
            query_id=f"q{len(self._queries)}",
            prompt_id=rng.choice((asked.prompt.prompt_id, "")),
            since_s=rng.choice((None, None, 10.0)),
            count_max=rng.choice((1, 5, 20)),
        )
        event = AnswersQueryReceived(query, reply)
        self._queries[query.query_id] = (device, event)
        self._cluster.at(at + rng.uniform(0.0, _QUERY_S), lambda: self.send(device, event))

    def receive(self, device: int, inbox: str, message: DeviceToUser) -> None:
        """A device's word reaches its user."""
        if isinstance(message, AnswersPage):
            self._read_on(message)
            return
        asked = self._asked.get((self._cluster.names[device], inbox, message.prompt_id))
        if asked is not None and isinstance(message, PromptReceipt | PromptRefusal | Answer):
            asked.heard = True

    def _read_on(self, page: AnswersPage) -> None:
        """Asks for the next page."""
        self._pages[page.query_id] += 1
        if page.next and self._pages[page.query_id] < _PAGES_MAX:
            device, event = self._queries[page.query_id]
            self.send(device, replace(event, query=replace(event.query, after=page.next)))

    def _try(self, asked: _Asked) -> None:
        if asked.heard or asked.sends >= _SENDS_MAX:
            return
        asked.sends += 1
        self.send(asked.device, asked.event)
        self._cluster.at(self._cluster.now + _RETRY_S, lambda: self._try(asked))
