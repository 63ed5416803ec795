"""A mesh of real agents on a virtual clock: the core's own test bench, small and exact.

Nothing of the core is replaced. Messages take `delay_s`, inferences `service_s`; a test may lose messages, stop
devices and cut connections. Invariants are checked after every single event.
"""

from __future__ import annotations

import heapq
import random
from collections.abc import Callable, Mapping
from dataclasses import replace
from itertools import count

from edge_agent.core import effects as fx
from edge_agent.core import events as ev
from edge_agent.core.agent import Agent
from edge_agent.core.context import RandomStreams
from edge_agent.core.messages import (
    Answer,
    AnswersPage,
    ChatMessage,
    DeviceToUser,
    PeerMessage,
    Prompt,
    PromptOptions,
    Role,
    Sampling,
)
from edge_agent.core.settings import AgentSettings, DeviceIdentity

_FOREVER = 1e9
QUIET = AgentSettings(gossip_interval_s=None, status_interval_s=None)
"""No background traffic: what happens is what the test does."""


class Mesh:
    """`size` devices named d0, d1, ..., who know each other unless `acquainted` is false. With more `slots` inferences
    do not slow each other down.

    `parameters` says how many a device's model has. `presence` says whether births and farewells are carried, as by a
    broker, once all have started; `watched`, whether invariants are checked.
    """

    def __init__(
        self,
        size: int = 4,
        settings: AgentSettings = QUIET,
        *,
        service_s: Callable[[str, fx.StartInference], float] | float = 1.0,
        delay_s: float = 0.01,
        seed: int = 1,
        acquainted: bool = True,
        seeds: tuple[tuple[str, str], ...] = (),
        presence: bool = True,
        slots: int = 1,
        watched: bool = True,
        parameters: Mapping[str, int] | None = None,
    ) -> None:
        self.now = 0.0
        self._watched = watched
        self.settings = settings
        self.seed = seed
        self.names = [f"d{index}" for index in range(size)]
        self.agents: dict[str, Agent] = {}
        self.user_messages: dict[str, list[DeviceToUser]] = {}
        self.sent: list[tuple[str, str, PeerMessage]] = []
        self.effects: list[tuple[str, fx.Effect]] = []
        self.lose: Callable[[str, str, PeerMessage], bool] = lambda sender, receiver, message: False
        self.fail: Callable[[str, fx.StartInference], str | None] = lambda device, request: None
        self.say: Callable[[str, fx.StartInference], str] = lambda device, request: (
            f"{device} says something about {len(request.references)} references"
        )
        self.broker_takes: Callable[[str], bool] = lambda device: True
        self.confirms_writes = True
        self.disk_error: Callable[[str], str] = lambda device: ""
        self._service_s = service_s
        self._delay_s = delay_s
        self._seeds = seeds
        self._presence = presence
        self._slots = slots
        self._parameters = parameters or {}
        self._todo: list[tuple[float, int, str, ev.Event]] = []
        self._sequence = count()
        self._inferences: dict[tuple[str, str], ev.Event] = {}  # each with the event that will end it
        self._incarnation = count(1)
        self._written: list[tuple[str, ev.Event]] = []  # what the disk and the broker say once the effects are begun
        self._running = False
        for name in self.names:
            self.start(name)
        if acquainted:
            self._introduce()
        self._running = True  # from here on presence is carried, as by a broker

    def start(self, name: str, restored: ev.SessionsRestored | None = None) -> None:
        """Starts a device, or starts it again with what its journal kept."""
        self.start_unconnected(name, restored)
        self.handle(name, ev.ConnectionChanged(True))

    def start_unconnected(self, name: str, restored: ev.SessionsRestored | None = None) -> Agent:
        """Starts a device whose transport has no connection yet."""
        streams = RandomStreams(*(random.Random(f"{self.seed} {name} {use} {self.now}") for use in "ipg"))
        identity = DeviceIdentity(
            name, model="test-model", model_family="test", parameter_count=self._parameters.get(name)
        )
        agent = self.agents[name] = Agent(identity, self.settings, streams, seeds=self._seeds, slots=self._slots)
        self.handle(name, ev.Started(next(self._incarnation)))
        if restored is not None:
            self.handle(name, restored)
        return agent

    def stop(self, name: str) -> None:
        """A device is gone without a word, its inferences with it."""
        del self.agents[name]
        self._inferences = {key: value for key, value in self._inferences.items() if key[0] != name}
        self._todo = [entry for entry in self._todo if entry[2] != name]
        heapq.heapify(self._todo)

    def ask(
        self,
        device: str,
        text: str = "why?",
        prompt_id: str = "p1",
        user: str = "u1",
        client: str = "0",
        **options: object,
    ) -> str:
        """A user prompts a device now; returns the prompt's key in `user_messages`."""
        prompt = Prompt(
            prompt_id,
            (ChatMessage(Role.USER, text),),
            replace(PromptOptions(sampling=Sampling(max_output_tokens=8)), **options),  # type: ignore[arg-type]  # by name
        )
        self.handle(device, ev.PromptReceived(prompt, ev.ReplyRoute(user, client), len(text)))
        return f"{user}/{client} {prompt_id}"

    def answer(self, key: str) -> Answer:
        """Returns the one answer of a prompt; fails if there is none or more than one."""
        answers = [message for message in self.user_messages.get(key, []) if isinstance(message, Answer)]
        assert len(answers) == 1, f"{len(answers)} answers for {key} (seed {self.seed})"
        return answers[0]

    def run(self, until: float = _FOREVER) -> None:
        """Lets time pass until nothing is left to happen, or until `until`."""
        while True:
            timers = [(at, name) for name in self.agents if (at := self.timer_at(name)) is not None]
            timer = min(timers, default=(float("inf"), ""))
            event_at = self._todo[0][0] if self._todo else float("inf")
            at = min(timer[0], event_at)
            if at > until or at == float("inf"):
                if until < _FOREVER:
                    self.now = max(self.now, until)
                return
            self.now = max(self.now, at)
            if event_at <= timer[0]:
                _, _, name, event = heapq.heappop(self._todo)
                self.handle(name, event)
            else:
                self.handle(timer[1], ev.DeadlineReached())

    def handle(self, name: str, event: ev.Event) -> list[fx.Effect]:
        """Gives one event to a device now, and carries out its effects."""
        agent = self.agents.get(name)
        if agent is None or self._is_cancelled(name, event):
            return []
        effects = agent.handle(event, self.now)
        if self._watched:
            agent.check_invariants(self.now)
        for effect in effects:
            self.effects.append((name, effect))
            self._carry_out(name, effect)
        while self._written:
            self.handle(*self._written.pop(0))
        return effects

    def timer_at(self, name: str) -> float | None:
        """Returns when a device next wants to be woken."""
        return self.agents[name].next_deadline()

    def later(self, delay_s: float, name: str, event: ev.Event) -> None:
        """Has an event happen at a device after `delay_s`."""
        heapq.heappush(self._todo, (self.now + delay_s, next(self._sequence), name, event))

    def running_item(self, name: str) -> str:
        """Returns the id of the item that a device's engine works on."""
        return next(item for device, item in self._inferences if device == name)

    def _is_cancelled(self, name: str, event: ev.Event) -> bool:
        if not isinstance(event, ev.InferenceCompleted | ev.InferenceFailed):
            return False
        if self._inferences.get((name, event.item_id)) is not event:
            return True  # of an earlier inference of the same id
        del self._inferences[name, event.item_id]
        return False

    def _carry_out(self, name: str, effect: fx.Effect) -> None:
        match effect:
            case fx.SendToDevice():
                self.sent.append((name, effect.device_id, effect.message))
                if not self.lose(name, effect.device_id, effect.message):
                    self.later(self._delay_s, effect.device_id, ev.PeerMessageReceived(effect.message))
            case fx.SendToUser():
                key = f"{effect.reply.inbox} {_id_of(effect.message)}"
                taken = True
                if isinstance(effect.message, Answer):
                    taken = self.broker_takes(name)
                    self._written.append((name, ev.AnswerSent(effect.message.prompt_id, effect.reply, taken)))
                if taken:
                    self.user_messages.setdefault(key, []).append(effect.message)
            case fx.JournalPrompt(prompt=prompt, reply=reply):
                self._confirm(name, ev.JournalRecord.PROMPT, prompt.prompt_id, reply)
            case fx.JournalAnswer(answer=answer, reply=reply):
                self._confirm(name, ev.JournalRecord.ANSWER, answer.prompt_id, reply)
            case fx.PublishPresence() if self._running and self._presence:
                for other in self.agents:
                    if other != name:
                        self.later(self._delay_s, other, ev.PeerMessageReceived(effect.presence))
            case fx.StartInference():
                self._infer(name, effect)
            case fx.CancelInference():
                del self._inferences[name, effect.item_id]
            case _:
                pass

    def _confirm(self, name: str, record: ev.JournalRecord, prompt_id: str, reply: ev.ReplyRoute) -> None:
        if self.confirms_writes:
            self._written.append((name, ev.RecordWritten(record, prompt_id, reply, self.disk_error(name))))

    def _infer(self, name: str, request: fx.StartInference) -> None:
        seconds = self._service_s(name, request) if callable(self._service_s) else self._service_s
        running = sum(device == name for device, _ in self._inferences)
        assert running < self._slots, "more inferences than the engine has slots"
        failure = self.fail(name, request)
        end: ev.Event
        if failure is not None:
            end = ev.InferenceFailed(request.item_id, failure, retryable=failure == "crash")
        else:
            if request.stream:
                self.later(seconds / 2, name, ev.TextGenerated(request.item_id, "half "))
            end = ev.InferenceCompleted(request.item_id, self.say(name, request), 7, 5, 0, seconds / 2)
        self._inferences[name, request.item_id] = end
        self.later(seconds, name, end)

    def _introduce(self) -> None:
        for name, agent in self.agents.items():
            for other, its_agent in self.agents.items():
                if other != name:
                    birth = its_agent.last_will()
                    agent.view.learn(birth.entry, self.now, random.Random(0))


def _id_of(message: DeviceToUser) -> str:
    return message.query_id if isinstance(message, AnswersPage) else message.prompt_id
