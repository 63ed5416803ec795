"""Real agents on a virtual clock: events in order of (time, sequence), effects carried out as the runtime would.

The kernel is a heap and, for what happens at once, a line: with no network delay most events never see the heap.
"""

from __future__ import annotations

import random
from collections import deque
from collections.abc import Callable, Sequence
from heapq import heappop, heappush
from typing import Any, Protocol

from edge_agent.core import effects as fx
from edge_agent.core import events as ev
from edge_agent.core.agent import Agent
from edge_agent.core.errors import InvariantError
from edge_agent.core.queue import Item
from edge_agent.lab.simulator.network import Network
from edge_agent.lab.simulator.service import Service
from edge_agent.lab.simulator.shared_engine import SharedEngine
from edge_agent.lab.simulator.trace import Trace
from edge_agent.speed_up import NO_GAIN, SpeedUp

FOREVER = float("inf")
_DEADLINE = ev.DeadlineReached()
_ACTION = -1  # in the place of a device: what happens is a function, not an event of an agent
_CARRIED = frozenset({ev.PeerMessageReceived, ev.PromptReceived, ev.PromptCancelReceived, ev.AnswersQueryReceived})
RESPONSE_TEXT = "a response"  # what every simulated inference says: only its time matters


class Observer(Protocol):
    """Looks at every event of every agent with the effects that were carried out."""

    def cut_short(self, device: int) -> None:
        """A device dies in the midst of the next event that it handles: not all of its effects are carried out."""

    def after(self, now: float, device: int, agent: Agent, event: ev.Event, effects: Sequence[fx.Effect]) -> None:
        """May raise `Violation`."""
        ...


Finish = Callable[[int, fx.StartInference, float], tuple[float, ev.Event]]
"""Decides how an inference ends: (device, request, its service time) -> (seconds until then, event)."""


class Cluster:
    """Devices by number, each an agent or, while it is down, `None`.

    Args:
        names: device ids; a device's number is its place here.
        service: draws service times from `service_rng`.
        network: `None` carries every message at once and loses none. Its `post` must be this cluster's.
        trace: hashes what happens.
        slots, speed_up: inferences at once at each device, and what they gain.
        observers: see every event. A run without them is faster.

    Handlers of effects that a run cares for are set with `on_effect`; the others are not carried out.
    """

    def __init__(
        self,
        names: Sequence[str],
        service: Service,
        service_rng: random.Random,
        trace: Trace,
        observers: Sequence[Observer] = (),
        *,
        slots: int = 1,
        speed_up: SpeedUp = NO_GAIN,
    ) -> None:
        self.names = names
        self.size = len(names)
        self.index = {name: number for number, name in enumerate(names)}
        self.agents: list[Agent | None] = [None] * len(names)
        self.now = 0.0
        self.events = self.messages = 0
        self.network: Network | None = None
        self.observers = list(observers)
        self.on_waiting: Callable[[int, int, float], None] | None = None
        """Called with (device, items waiting, now) whenever the number has changed."""
        self.on_running: Callable[[int, int, float], None] | None = None
        """Called with (device, items running, now) whenever the number has changed."""
        self.finish: Finish | None = None
        """Decides how inferences end; by default all complete."""
        self.crash_after: dict[int, int] = {}
        """Devices about to die between two effects of their next event: how many effects are carried out first."""
        self.on_crash: Callable[[int], None] = lambda device: None
        self.on_thaw: Callable[[int], None] = lambda device: None
        """Called with a device that was frozen and goes on now, before it takes anything in."""
        self._service = service
        self._service_rng = service_rng
        self._trace = trace
        self._heap: list[tuple[float, int, int, Any]] = []
        self._ready: deque[tuple[int, ev.Event]] = deque()
        self._sequence = 0
        self._waiting: list[Sequence[Item] | Any] = [()] * len(names)
        self._waiting_count = [0] * len(names)
        self._engine: list[tuple[int, str]] = [(0, "")] * len(names)  # heap entry of the next end, its item
        self._shared = [SharedEngine(speed_up) for _ in names] if slots > 1 else []  # with one slot the entry is all
        self._slots = slots
        self._speed_up = speed_up
        self._timer_entry = [0] * len(names)
        self._timer_at = [FOREVER] * len(names)
        self._backlog: dict[int, deque[ev.Event]] = {}  # of devices that are frozen: what they will take in late
        self._carry_out: dict[type, Callable[[int, Any], None]] = {
            fx.SendToDevice: self._send_to_device,
            fx.StartInference: self._start_inference,
            fx.CancelInference: self._cancel_inference,
        }

    # --- what a run sets up ---------------------------------------------------------------------------------------

    def carry_out_with(self, kind: type[fx.Effect], handler: Callable[[int, Any], None]) -> None:
        """Has `handler(device, effect)` carry out effects of a kind, and nobody else."""
        self._carry_out[kind] = handler

    def on_effect(self, kind: type[fx.Effect], handler: Callable[[int, Any], None]) -> None:
        """Has `handler(device, effect)` carry out effects of a kind, after the handlers it already has."""
        first = self._carry_out.get(kind)
        if first is None:
            self._carry_out[kind] = handler
            return
        before = first

        def both(device: int, effect: Any) -> None:
            before(device, effect)
            handler(device, effect)

        self._carry_out[kind] = both

    def start(self, device: int, agent: Agent, incarnation: int, restored: ev.SessionsRestored | None = None) -> None:
        """Starts a device; `restored` is what its journal kept. Connecting it is the caller's."""
        self.agents[device] = agent
        self._waiting[device] = agent.queue.waiting
        self.handle(device, ev.Started(incarnation))
        if restored is not None and self.agents[device] is agent:
            self.handle(device, restored)

    def stop(self, device: int) -> None:
        """A device is gone without a word, its inference and timers with it."""
        self._backlog.pop(device, None)
        self.agents[device] = None
        self._engine[device] = (0, "")
        if self._shared:
            self._shared[device] = SharedEngine(self._speed_up)
        self._timer_entry[device] = 0
        self._timer_at[device] = FOREVER
        self._waiting[device] = ()
        self._waiting_count[device] = 0

    def at(self, time: float, action: Callable[[], None]) -> None:
        """Has something happen that is no agent's event."""
        self._push(time, _ACTION, action)

    def post(self, time: float, device: int, event: ev.Event) -> None:
        """Has an event reach a device, if it is up by then."""
        if time <= self.now:
            self._ready.append((device, event))
        else:
            self._push(time, device, event)

    def freeze(self, device: int) -> None:
        """A device handles nothing until `thaw`: whatever reaches it waits, and its time passes unseen."""
        if self.agents[device] is not None:
            self._backlog.setdefault(device, deque())

    def thaw(self, device: int) -> None:
        """A frozen device goes on: it sees what the time is, as the runtime does, then takes in what has waited."""
        agent, backlog = self.agents[device], self._backlog.pop(device, None)
        if agent is None or backlog is None:
            return
        self.on_thaw(device)
        while backlog and self.agents[device] is agent:
            deadline = agent.next_deadline()
            self.handle(device, _DEADLINE if deadline is not None and deadline <= self.now else backlog.popleft())

    def is_frozen(self, device: int) -> bool:
        """Whether a device handles nothing just now."""
        return device in self._backlog

    def running_items(self, device: int) -> list[str]:
        """Returns the ids of the items that a device's engine works on, in the order they began."""
        if self._shared:
            return self._shared[device].items()
        item_id = self._engine[device][1]
        return [item_id] if item_id else []

    def end_inference(self, device: int, item_id: str, delay_s: float, event: ev.Event) -> None:
        """Has a running inference end with another event, at another time, than it would have."""
        if self._shared:
            self._shared[device].change(self.now, item_id, delay_s, event)
            self._await_end(device)
        else:
            self._engine[device] = (self._push(self.now + delay_s, device, event), item_id)

    # --- the kernel -----------------------------------------------------------------------------------------------

    def run(self, until: float = FOREVER) -> None:
        """Lets time pass until `until`, or until nothing is left to happen."""
        heap, ready = self._heap, self._ready
        while True:
            if ready and not (heap and heap[0][0] <= self.now):
                device, event = ready.popleft()
                if self.network is not None and not self._can_arrive(device, event):
                    continue
            elif heap and heap[0][0] <= until:
                self.now, sequence, device, what = heappop(heap)
                if device == _ACTION:
                    what()
                    continue
                event = what
                if not self._is_due(device, event, sequence):
                    continue
            else:
                break
            self.handle(device, event)
        if until < FOREVER:
            self.now = max(self.now, until)

    def handle(self, device: int, event: ev.Event) -> None:
        """Gives one event to a device now and carries out what it wants."""
        agent = self.agents[device]
        if agent is None:
            return
        if self._backlog and device in self._backlog:
            self._backlog[device].append(event)
            return
        now = self.now
        effects = agent.handle(event, now)
        self.events += 1
        dies = bool(self.crash_after) and device in self.crash_after
        if dies:
            effects = effects[: self.crash_after[device]]
        self._trace.add(now, device, event, effects)
        carry_out = self._carry_out
        for effect in effects:
            handler = carry_out.get(type(effect))
            if handler is not None:
                handler(device, effect)
        if self.on_waiting is not None:
            waiting = len(self._waiting[device])
            if waiting != self._waiting_count[device]:
                self._waiting_count[device] = waiting
                self.on_waiting(device, waiting, now)
        if self.observers:
            for observer in self.observers if dies else ():
                observer.cut_short(device)
            for observer in self.observers:
                observer.after(now, device, agent, event, effects)
        if dies:
            del self.crash_after[device]
            self.on_crash(device)
            return
        deadline = agent.next_deadline()
        if deadline is not None and deadline < self._timer_at[device]:
            self._timer_at[device] = deadline
            self._timer_entry[device] = self._push(deadline, device, _DEADLINE)

    def _push(self, time: float, device: int, event: Any) -> int:
        self._sequence = sequence = self._sequence + 1
        heappush(self._heap, (time, sequence, device, event))
        return sequence

    def _is_due(self, device: int, event: ev.Event, sequence: int) -> bool:
        """Whether an entry of the heap still holds: inferences are cancelled and timers moved without a search."""
        if isinstance(event, (ev.InferenceCompleted, ev.InferenceFailed)):
            if self._engine[device][0] != sequence:
                return False
            self._leave_engine(device, self._engine[device][1])
            return True
        if isinstance(event, ev.DeadlineReached):
            return self._timer_entry[device] == sequence and self._timer_due(device)
        if isinstance(event, ev.TextGenerated):
            if self._shared:
                return event.item_id in self._shared[device]
            return self._engine[device][1] == event.item_id
        return self.network is None or self._can_arrive(device, event)

    def _timer_due(self, device: int) -> bool:
        self._timer_at[device] = FOREVER
        agent = self.agents[device]
        deadline = agent.next_deadline() if agent is not None else None
        if deadline is None or deadline <= self.now:
            return deadline is not None
        self._timer_at[device] = deadline
        self._timer_entry[device] = self._push(deadline, device, _DEADLINE)
        return False

    def _can_arrive(self, device: int, event: ev.Event) -> bool:
        if type(event) not in _CARRIED or self.network is None:
            return True
        return self.network.arrives(device, event)

    # --- effects --------------------------------------------------------------------------------------------------

    def _send_to_device(self, device: int, effect: fx.SendToDevice) -> None:
        self.messages += 1
        receiver = self.index.get(effect.device_id)
        if receiver is None:
            return
        event = ev.PeerMessageReceived(effect.message)
        if self.network is None:
            self._ready.append((receiver, event))
        else:
            self.network.send(self.now, device, receiver, event, effect.expires_in_s)

    def _start_inference(self, device: int, effect: fx.StartInference) -> None:
        if len(self._shared[device]) >= self._slots if self._shared else self._engine[device][0]:
            raise InvariantError(f"d{device} starts {effect.item_id} while {self.running_items(device)} run")
        seconds = self._service.draw(device, effect, self._service_rng)
        if self.finish is None:
            event: ev.Event = ev.InferenceCompleted(effect.item_id, RESPONSE_TEXT, 1, 1, 0, 0.0)
        else:
            seconds, event = self.finish(device, effect, seconds)
        if self._shared:
            self._shared[device].start(self.now, effect.item_id, seconds, event)
            self._await_end(device)
        else:
            self._engine[device] = (self._push(self.now + seconds, device, event), effect.item_id)
        if self.on_running is not None:
            self.on_running(device, len(self._shared[device]) if self._shared else 1, self.now)

    def _cancel_inference(self, device: int, effect: fx.CancelInference) -> None:
        self._leave_engine(device, effect.item_id)

    def _leave_engine(self, device: int, item_id: str) -> None:
        if self._shared:
            self._shared[device].end(self.now, item_id)
            self._await_end(device)
        else:
            self._engine[device] = (0, "")
        if self.on_running is not None:
            self.on_running(device, len(self._shared[device]) if self._shared else 0, self.now)

    def _await_end(self, device: int) -> None:
        """Of what a device runs, the one that ends next may be another now, or at another time."""
        following = self._shared[device].next_end()
        if following is None:
            self._engine[device] = (0, "")
        else:
            at, item_id, event = following
            self._engine[device] = (self._push(max(at, self.now), device, event), item_id)
