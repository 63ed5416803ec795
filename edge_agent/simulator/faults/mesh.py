"""Devices that die, come back, lose their connection or their disk: what surrounds each agent in a fault run."""

from __future__ import annotations

import random
from collections import deque

from edge_agent.core import effects as fx
from edge_agent.core import events as ev
from edge_agent.core.agent import Agent
from edge_agent.core.context import RandomStreams
from edge_agent.core.messages import Answer, Presence
from edge_agent.core.settings import DeviceIdentity
from edge_agent.simulator.checkers import Checker, EndsOnce
from edge_agent.simulator.cluster import RESPONSE_TEXT, Cluster
from edge_agent.simulator.faults.journal import DeviceClock, SimulatedJournal
from edge_agent.simulator.faults.plan import Plan
from edge_agent.simulator.faults.users import Users
from edge_agent.simulator.network import Network
from edge_agent.simulator.randomness import stream
from edge_agent.simulator.service import DeclaredService
from edge_agent.simulator.trace import Trace

_SEEDS = 2  # devices that everyone asks for a first view
_HANG_LIMIT_S = 10.0  # after which an engine's supervisor ends a hung inference
_DELIVERED_S = 0.05  # from sending an answer to knowing that the broker has it
_WILL_AFTER_S = 3.0  # from a death to the broker's word of it


class FaultMesh:
    """A cluster with journals, users, a network and wills. `checkers[0]` must be `EndsOnce`."""

    def __init__(self, plan: Plan, trace: Trace, checkers: list[Checker]) -> None:
        self.plan = plan
        self.trace = trace
        self.checkers = checkers
        self.rng = stream(plan.seed, "faults")
        names = [f"d{number}" for number in range(plan.devices)]
        service = DeclaredService(plan.service, aggregation_factor=1.5)
        self.cluster = Cluster(names, service, stream(plan.seed, "service"), trace)
        self.network = Network(plan.network, plan.devices, stream(plan.seed, "network"), self.cluster.post)
        self.cluster.network = self.network
        self.users = Users(self.cluster, stream(plan.seed, "users"), self._to_device)
        self.broker_up = True
        self.gone: set[int] = set()
        self.slowness = [1.0] * plan.devices
        self.wedged = [False] * plan.devices
        self.clocks = [DeviceClock() for _ in names]
        self.journals = [SimulatedJournal(clock) for clock in self.clocks]
        self.engine_faults = True
        self._engine_rng = stream(plan.seed, "engine")
        self._streams = [
            RandomStreams(*(stream(plan.seed, f"{use} of {name}") for use in ("ids", "peer selection", "gossip")))
            for name in names
        ]
        self._wills: dict[int, Presence] = {}
        self._retained: dict[int, Presence] = {}
        self._to_users: list[deque[fx.SendToUser]] = [deque() for _ in names]
        self._lives = [0] * plan.devices
        self._interpret()

    @property
    def now(self) -> float:
        """Simulated seconds."""
        return self.cluster.now

    # --- devices --------------------------------------------------------------------------------------------------

    def start(self, device: int) -> None:
        """Starts a device that is down, with what its journal keeps, and connects it."""
        if self.cluster.agents[device] is not None or device in self.gone:
            return
        plan, name, now = self.plan, self.cluster.names[device], self.now
        identity = DeviceIdentity(name, model="simulated", model_family=f"family-{device % 2}")
        seeds = tuple((other, "") for other in self.cluster.names[:_SEEDS])
        agent = Agent(identity, plan.settings, self._streams[device], seeds=seeds)
        self._lives[device] += 1
        for checker in self.checkers:
            checker.restarted(device)
        journal = self.journals[device]
        restored = journal.restore(now)
        self.trace.note(now, f"d{device} starts with {len(restored.sessions)} unfinished prompts")
        self.network.disconnect(device)
        self.cluster.start(device, agent, journal.next_incarnation(now), restored)
        self.connect(device)

    def crash(self, device: int) -> None:
        """A device dies: all but its journal is gone. Its broker may tell the others."""
        if self.cluster.agents[device] is None:
            return
        self.trace.note(self.now, f"d{device} dies")
        self.cluster.crash_after.pop(device, None)
        self.cluster.stop(device)
        self.network.disconnect(device, forget=True)
        self._to_users[device].clear()
        self.wedged[device] = False
        will = self._wills.pop(device, None)
        if will is not None and self.plan.presence and self.broker_up:
            self.cluster.at(self.now + _WILL_AFTER_S, lambda: self._publish(device, will))

    def lose_disk(self, device: int) -> None:
        """What a device had accepted is lost with its journal; nobody can be blamed for it."""
        self.trace.note(self.now, f"d{device} loses its disk")
        self.journals[device] = SimulatedJournal(self.clocks[device])
        for checker in self.checkers:
            checker.excused(device)

    def leave(self, device: int) -> None:
        """A device goes for good."""
        self.cluster.handle(device, ev.StopRequested())
        self.crash(device)
        self.gone.add(device)
        for checker in self.checkers:
            checker.excused(device)

    def connect(self, device: int) -> None:
        """A device reaches its broker."""
        agent = self.cluster.agents[device]
        if agent is None or self.network.connected[device] or not self.broker_up:
            return
        self._wills[device] = agent.last_will()
        self.network.connect(self.now, device)
        self.cluster.handle(device, ev.ConnectionChanged(True))
        if self.plan.presence and self.plan.retained:
            for other, presence in self._retained.items():
                if other != device:
                    self.cluster.post(self.now, device, ev.PeerMessageReceived(presence))
        waiting, self._to_users[device] = self._to_users[device], deque()
        for effect in waiting:
            self._to_user(device, effect)

    def disconnect(self, device: int) -> None:
        """A device loses its broker."""
        if self.cluster.agents[device] is not None and self.network.connected[device]:
            self.network.disconnect(device)
            self.cluster.handle(device, ev.ConnectionChanged(False))

    def wedge(self, device: int) -> None:
        """A device's engine hangs, with what it runs; its supervisor ends each hung inference after a while."""
        self.wedged[device] = True
        item_id = self.cluster.running_item(device)
        if item_id:
            self.cluster.end_inference(device, _HANG_LIMIT_S, ev.InferenceFailed(item_id, "hung", retryable=True))

    # --- what effects come to ---------------------------------------------------------------------------------------

    def _interpret(self) -> None:
        cluster = self.cluster
        cluster.observers = list(self.checkers)
        cluster.finish = self._finish
        cluster.on_crash = self.crash
        cluster.on_effect(
            fx.JournalPrompt, lambda device, effect: self.journals[device].record_prompt(effect, cluster.now)
        )
        cluster.on_effect(
            fx.JournalLayer, lambda device, effect: self.journals[device].record_layer(effect, cluster.now)
        )
        cluster.on_effect(fx.JournalAnswer, lambda device, effect: self.journals[device].record_answer(effect))
        cluster.on_effect(fx.SendToUser, self._to_user)
        cluster.on_effect(fx.PublishPresence, lambda device, effect: self._publish(device, effect.presence))

    def _finish(self, device: int, request: fx.StartInference, seconds: float) -> tuple[float, ev.Event]:
        seconds *= self.slowness[device]
        chance = self._engine_rng.random()
        if self.wedged[device]:
            return _HANG_LIMIT_S, ev.InferenceFailed(request.item_id, "hung", retryable=True)
        if self.engine_faults and chance < self.plan.engine_crash_share:
            return seconds / 2, ev.InferenceFailed(request.item_id, "crashed", retryable=True)
        if self.engine_faults and chance > 1.0 - self.plan.engine_failure_share:
            return seconds / 2, ev.InferenceFailed(request.item_id, "broken", retryable=False)
        if request.stream:
            self.cluster.post(self.now + seconds / 2, device, ev.TextGenerated(request.item_id, "some "))
        return seconds, ev.InferenceCompleted(request.item_id, RESPONSE_TEXT, 5, 5, 0, seconds / 2)

    def _to_device(self, device: int, event: ev.Event) -> None:
        if self.broker_up:
            self.network.send(self.now, -1, device, event)

    def _to_user(self, device: int, effect: fx.SendToUser) -> None:
        if not self.network.connected[device]:
            self._to_users[device].append(effect)
            return
        self.users.receive(device, effect.reply.topic, effect.message)
        if isinstance(effect.message, Answer):
            ends = self.checkers[0]
            if isinstance(ends, EndsOnce):
                ends.told(device, effect.reply.topic, effect.message)
            life, topic, prompt_id = self._lives[device], effect.reply.topic, effect.message.prompt_id
            self.cluster.at(self.now + _DELIVERED_S, lambda: self._delivered(device, life, topic, prompt_id))

    def _delivered(self, device: int, life: int, topic: str, prompt_id: str) -> None:
        if self._lives[device] == life and self.cluster.agents[device] is not None:
            self.journals[device].mark_delivered(topic, prompt_id)

    def _publish(self, device: int, presence: Presence) -> None:
        if not self.plan.presence or not self.broker_up:
            return
        self._retained[device] = presence
        for other in range(self.plan.devices):
            if other != device:
                self.network.send(
                    self.now,
                    device if self.network.connected[device] else -1,
                    other,
                    ev.PeerMessageReceived(presence),
                )


def pick(rng: random.Random, mesh: FaultMesh) -> int:
    """Returns a device that has not left for good, up or down."""
    return rng.choice([device for device in range(mesh.plan.devices) if device not in mesh.gone])
