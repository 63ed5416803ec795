"""An exact simulation of the mesh, on its own: it shares no line with the product, so that one can test the other.

n devices, each a first-come-first-served queue with c servers; with j items running the device does `speeds[j - 1]`
times the work of one, shared equally among the j. Users bring Poisson prompts to every device. A prompt has M layers,
in each of which its origin and k others, drawn anew and all different, serve an item each; the next layer begins when
the last of them is done; one item more at the origin ends it. Items after layer 1 are `factor` times as long. No
delays, no losses, no bounds. The time unit is the mean service time over all items of a prompt, running alone.

`bench.law.runs` runs it compiled by mypyc (this very file, some five times quicker), or as it is.
"""

from __future__ import annotations

import heapq
import math
import random
from dataclasses import dataclass


@dataclass
class Case:
    """One mesh. `shape`: of the gamma distributed service times, whole; 1 is exponential, 0 stands for constant."""

    devices: int
    layers: int
    fanout: int
    load: float
    shape: int
    factor: float
    speeds: tuple[float, ...]


@dataclass
class Measured:
    """Each prompt's latency, and the sum of its items' waits, in order of arrival; the share of items that waited."""

    latencies: list[float]
    waits: list[float]
    waited_share: float


class Draws:
    """Service times in mean item times, and peers."""

    def __init__(self, case: Case, seed: int) -> None:
        self.random = random.Random(seed)
        self.shape = case.shape
        items = case.layers * (case.fanout + 1) + 1
        plain = case.fanout + 1 if case.layers else 1
        mean = (plain + (items - plain) * case.factor) / items
        self.means = (1.0 / mean, case.factor / mean)
        self.devices = case.devices
        self.fanout = case.fanout
        self.rate = case.load * case.speeds[-1] / items * case.devices

    def service(self, with_references: bool) -> float:
        mean = self.means[1] if with_references else self.means[0]
        if self.shape == 0:
            return mean
        product = 1.0  # a gamma of whole shape is a sum of that many exponentials
        for _ in range(self.shape):
            product *= 1.0 - self.random.random()
        return -math.log(product) * mean / self.shape

    def gap(self) -> float:
        return -math.log(1.0 - self.random.random()) / self.rate

    def device(self) -> int:
        return int(self.random.random() * self.devices)

    def team(self, origin: int) -> list[int]:
        team = [origin]
        while len(team) <= self.fanout:
            other = self.device()
            if other not in team:
                team.append(other)
        return team


def simulate(case: Case, prompts: int, warm_up: int, seed: int) -> Measured:
    """Measures `prompts` prompts and their items, after `warm_up` prompts that are not."""
    if len(case.speeds) == 1:
        return _one_server(case, prompts, warm_up, seed)
    return several_servers(case, prompts, warm_up, seed)


def _one_server(case: Case, prompts: int, warm_up: int, seed: int) -> Measured:
    """Lindley's recursion: with one server an item's end is known when it comes, so only stages are events."""
    draws = Draws(case, seed)
    layers = case.layers
    free_at = [0.0] * case.devices
    heap: list[tuple[float, int, int, int, float]] = []  # time, prompt, origin, stages done, arrival
    arrival = draws.gap()
    arrived, left = 0, prompts
    waited, count = 0, 0
    latencies, waits = [0.0] * prompts, [0.0] * prompts
    while left:
        if not heap or arrival < heap[0][0]:
            now, prompt, origin, stage, began = arrival, arrived - warm_up, draws.device(), 0, arrival
            arrival += draws.gap()
            arrived += 1
        else:
            now, prompt, origin, stage, began = heapq.heappop(heap)
        measured = 0 <= prompt < prompts
        end = now
        for device in draws.team(origin) if stage < layers else [origin]:
            start = max(free_at[device], now)
            free_at[device] = start + draws.service(stage > 0)
            end = max(end, free_at[device])
            if measured:
                waits[prompt] += start - now
                waited += start > now
                count += 1
        if stage < layers:
            heapq.heappush(heap, (end, prompt, origin, stage + 1, began))
        elif measured:
            latencies[prompt] = end - began
            left -= 1
    return Measured(latencies, waits, waited / count)


@dataclass
class Prompt:
    """A prompt on its way."""

    number: int
    origin: int
    began: float
    stage: int
    pending: int


class Device:
    """A queue and its running items. Each running item advances with `clock`, and ends when that reaches its mark."""

    def __init__(self) -> None:
        self.clock = 0.0
        self.at = 0.0
        self.version = 0
        self.running: list[tuple[float, int, Prompt]] = []
        self.queue: list[tuple[float, float, Prompt]] = []
        self.head = 0


class Servers:
    """The event-driven simulation for any speeds, one included."""

    def __init__(self, case: Case, prompts: int, warm_up: int, seed: int) -> None:
        self.draws = Draws(case, seed)
        self.layers = case.layers
        self.speeds = [speed / (at + 1) for at, speed in enumerate(case.speeds)]
        self.devices = [Device() for _ in range(case.devices)]
        self.heap: list[tuple[float, int, int, int]] = []  # time, sequence, device, its version
        self.sequence = 0
        self.now = 0.0
        self.prompts, self.warm_up, self.left = prompts, warm_up, prompts
        self.latencies, self.waits = [0.0] * prompts, [0.0] * prompts
        self.waited, self.count = 0, 0

    def run(self) -> Measured:
        arrival = self.draws.gap()
        arrived = 0
        while self.left:
            if not self.heap or arrival < self.heap[0][0]:
                self.now = arrival
                self.begin(Prompt(arrived - self.warm_up, self.draws.device(), arrival, 0, 0))
                arrival += self.draws.gap()
                arrived += 1
                continue
            time, _, index, version = heapq.heappop(self.heap)
            device = self.devices[index]
            if version == device.version:
                self.now = time
                self.complete(index, device)
        return Measured(self.latencies, self.waits, self.waited / self.count)

    def begin(self, prompt: Prompt) -> None:
        stage = prompt.stage
        team = self.draws.team(prompt.origin) if stage < self.layers else [prompt.origin]
        prompt.pending = len(team)
        for index in team:
            service = self.draws.service(stage > 0)
            device = self.devices[index]
            if len(device.running) < len(self.speeds):
                self.advance(device)
                self.start(device, service, 0.0, prompt)
                self.schedule(index, device)
            else:
                device.queue.append((self.now, service, prompt))

    def start(self, device: Device, service: float, wait: float, prompt: Prompt) -> None:
        self.sequence += 1
        heapq.heappush(device.running, (device.clock + service, self.sequence, prompt))
        if 0 <= prompt.number < self.prompts:
            self.waits[prompt.number] += wait
            self.waited += wait > 0.0
            self.count += 1

    def complete(self, index: int, device: Device) -> None:
        self.advance(device)
        _, _, prompt = heapq.heappop(device.running)
        if device.head < len(device.queue):
            came, service, waiting = device.queue[device.head]
            device.head += 1
            if device.head > 1000:
                del device.queue[: device.head]
                device.head = 0
            self.start(device, service, self.now - came, waiting)
        self.schedule(index, device)
        prompt.pending -= 1
        if prompt.pending:
            return
        prompt.stage += 1
        if prompt.stage <= self.layers:
            self.begin(prompt)
        elif 0 <= prompt.number < self.prompts:
            self.latencies[prompt.number] = self.now - prompt.began
            self.left -= 1

    def advance(self, device: Device) -> None:
        if device.running:
            device.clock += (self.now - device.at) * self.speeds[len(device.running) - 1]
        device.at = self.now

    def schedule(self, index: int, device: Device) -> None:
        device.version += 1
        if device.running:
            self.sequence += 1
            speed = self.speeds[len(device.running) - 1]
            ends = self.now + max(0.0, device.running[0][0] - device.clock) / speed
            heapq.heappush(self.heap, (ends, self.sequence, index, device.version))


def several_servers(case: Case, prompts: int, warm_up: int, seed: int) -> Measured:
    """Runs `Servers`."""
    return Servers(case, prompts, warm_up, seed).run()
