"""Devices that die, come back, lose their connection or their disk: what surrounds each agent in a fault run."""

from __future__ import annotations

import random

from edge_agent.core import effects as fx
from edge_agent.core import events as ev
from edge_agent.core.agent import Agent
from edge_agent.core.context import RandomStreams
from edge_agent.core.messages import Presence
from edge_agent.core.settings import DeviceIdentity
from edge_agent.lab.simulator.checkers import Checker
from edge_agent.lab.simulator.cluster import Cluster
from edge_agent.lab.simulator.faults.broker import Broker
from edge_agent.lab.simulator.faults.disks import Disks
from edge_agent.lab.simulator.faults.engines import Engines
from edge_agent.lab.simulator.faults.liars import Liars
from edge_agent.lab.simulator.faults.plan import Plan
from edge_agent.lab.simulator.faults.post import Post
from edge_agent.lab.simulator.faults.sizes import message_room
from edge_agent.lab.simulator.faults.users import Users
from edge_agent.lab.simulator.network import Network
from edge_agent.lab.simulator.randomness import stream
from edge_agent.lab.simulator.service import DeclaredService
from edge_agent.lab.simulator.trace import Trace
from edge_agent.speed_up import SpeedUp

_SPEED_UP = SpeedUp((1.0, 1.5, 1.8))  # of several slots, where a run has them
_SEEDS = 2  # devices that everyone asks for a first view
_TRY_AGAIN_S = 0.5  # until a device that handles nothing just now tries again to connect
_TAKE_BACK_S = (0.5, 3.0)  # until a device whose session was taken over takes it back


class FaultMesh:
    """A cluster with journals, users, a network, a broker and engines."""

    def __init__(self, plan: Plan, trace: Trace, checkers: list[Checker]) -> None:
        self.plan = plan
        self.trace = trace
        self.checkers = checkers
        self.rng = stream(plan.seed, "faults")
        names = [f"d{number}" for number in range(plan.devices)]
        self.clones = self._draw_clones()
        names += [names[original] for original in self.clones.values()]
        cluster = Cluster(
            names,
            DeclaredService(plan.service, aggregation_factor=1.5),
            stream(plan.seed, "service"),
            trace,
            slots=plan.slots,
            speed_up=_SPEED_UP,
        )
        self.cluster = cluster
        self.network = Network(plan.network, len(names), stream(plan.seed, "network"), cluster.post)
        self.broker = Broker(plan, self.network, stream(plan.seed, "broker"), cluster.at, lambda: cluster.now)
        self.engines = Engines(plan, cluster)
        self.disks = Disks(cluster, trace, checkers, stream(plan.seed, "disks"))
        self.users = Users(cluster, plan, stream(plan.seed, "users"))
        self.liars = Liars(plan.liar, signed=plan.signed, rng=stream(plan.seed, "lies"))
        if plan.liar is not None:
            for checker in checkers:
                checker.lies(names[plan.liar])
        self.post = Post(plan, cluster, self.network, self.broker, self.users, checkers, self.liars)
        self.users.send = self.post.user_sends
        self.gone: set[int] = set(self.clones)  # a clone comes when it is its time
        self._twins = {**self.clones, **{original: clone for clone, original in self.clones.items()}}
        self._streams = [
            RandomStreams(*(stream(plan.seed, f"{use} of d{number}") for use in ("ids", "peer selection", "gossip")))
            for number in range(len(names))
        ]
        cluster.network = self.network
        cluster.observers = list(checkers)
        cluster.finish = self.engines.finish
        cluster.on_crash = self.crash
        cluster.on_thaw = self._thawed
        cluster.on_effect(fx.TwinFound, self._found_twin)
        self.aside_until: dict[int, float] = {}
        """Devices that keep away from the broker until then, because another has their id."""

    def _draw_clones(self) -> dict[int, int]:
        """Clones by their number, and whose id each has."""
        first, rng = self.plan.devices, stream(self.plan.seed, "clones")
        return {first + number: rng.randrange(first) for number in range(self.plan.clones)}

    @property
    def now(self) -> float:
        """Simulated seconds."""
        return self.cluster.now

    def start(self, device: int) -> None:
        """Starts a device that is down, with what its journal keeps, and connects it."""
        if self.cluster.agents[device] is not None or device in self.gone:
            return
        plan, name, now = self.plan, self.cluster.names[device], self.now
        self.aside_until.pop(device, None)
        nonce = f"{device:x}n{self.cluster.events:x}"  # a clone has its own, as every start has
        identity = DeviceIdentity(name, model="simulated", model_family=f"family-{device % 2}", nonce=nonce)
        seeds = tuple((other, "") for other in self.cluster.names[:_SEEDS])
        agent = Agent(identity, plan.settings, self._streams[device], seeds=seeds, slots=plan.slots)
        for checker in self.checkers:
            checker.restarted(device)
        restored = self.disks.open(device)
        self.trace.note(now, f"d{device} starts with {len(restored.sessions)} unfinished prompts")
        self.network.disconnect(device)
        self.engines.restarted(device)
        transport = self.post.restarted(device)
        # what these events lead to is carried out before the transport has started: the runtime does it so
        self.cluster.start(device, agent, self.disks.journals[device].next_incarnation(now), restored)
        transport.start()
        self.connect(device)

    def crash(self, device: int) -> None:
        """A device dies: all but its journal is gone. Its broker may tell the others."""
        if self.cluster.agents[device] is None:
            return
        self.trace.note(self.now, f"d{device} dies")
        self.cluster.crash_after.pop(device, None)
        self.cluster.stop(device)
        self.disks.died(device)
        self.network.disconnect(device)
        self.post.restarted(device)
        self.broker.gone(device)

    def lose_disk(self, device: int) -> None:
        """What a device had accepted is lost with its journal; nobody can be blamed for it."""
        self.trace.note(self.now, f"d{device} loses its disk")
        self.disks.replace(device)
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
        """A device reaches its broker; if another has its id, it takes over that one's session."""
        agent = self.cluster.agents[device]
        if agent is None or self.network.connected[device] or not self.broker.up:
            return
        if self.now < self.aside_until.get(device, 0.0):
            return
        if self.cluster.is_frozen(device):
            self.cluster.at(self.now + _TRY_AGAIN_S, lambda: self.connect(device))
            return
        twin = self._twins.get(device, -1)
        if twin >= 0 and self.network.connected[twin]:
            self.trace.note(self.now, f"d{device} takes over the session of d{twin}")
            for checker in self.checkers:
                checker.taken_over(device, self.now)
            self.disconnect(twin)
            self.cluster.at(self.now + self.rng.uniform(*_TAKE_BACK_S), lambda: self.connect(twin))
        self.post.number[self.cluster.names[device]] = device
        will = self.liars.outgoing(device, agent.last_will())
        kept = self.broker.connected(device, will) if isinstance(will, Presence) else ()
        self.network.connect(self.now, device)
        self.post.transports[device].connect(self.now)
        self.cluster.handle(device, ev.ConnectionChanged(True, message_room(self.broker.packet_bytes_max)))
        for presence in kept:
            if presence.entry.device_id == self.cluster.names[device]:
                self.cluster.post(self.now, device, ev.OwnPresenceReceived(presence, retained=True))
            elif (message := self.liars.incoming(presence)) is not None:
                self.cluster.post(self.now, device, ev.PeerMessageReceived(message))

    def _found_twin(self, device: int, effect: fx.TwinFound) -> None:
        """A device has found out that another has its id: it may want to leave that one alone for a while."""
        if effect.aside_s is None:
            return
        self.trace.note(self.now, f"d{device} stands aside for {effect.aside_s:g} s")
        self.aside_until[device] = self.now + effect.aside_s
        self.cluster.at(self.now, lambda: self.disconnect(device))
        self.cluster.at(self.now + effect.aside_s, lambda: self.connect(device))

    def disconnect(self, device: int) -> None:
        """A device loses its broker."""
        if self.cluster.agents[device] is not None and self.network.connected[device]:
            self.network.disconnect(device)
            self.post.transports[device].lose()
            self.cluster.handle(device, ev.ConnectionChanged(False))

    def freeze(self, device: int) -> None:
        """A device handles nothing for a while."""
        self.trace.note(self.now, f"d{device} is frozen")
        self.cluster.freeze(device)

    def cut_off(self, device: int) -> None:
        """The broker has heard nothing of a frozen device for too long: its connection is gone, its will is sent."""
        if self.cluster.is_frozen(device) and self.network.connected[device]:
            self.trace.note(self.now, f"the broker gives d{device} up")
            self.disconnect(device)
            self.broker.gone(device)
            self.connect(device)

    def thaw(self, device: int) -> None:
        """A frozen device goes on."""
        self.trace.note(self.now, f"d{device} goes on")
        self.cluster.thaw(device)

    def _thawed(self, device: int) -> None:
        for checker in self.checkers:
            checker.held_up(device, self.now)


def pick(rng: random.Random, mesh: FaultMesh) -> int:
    """Returns a device that has not left for good, up or down."""
    return rng.choice([device for device in range(mesh.plan.devices) if device not in mesh.gone])
