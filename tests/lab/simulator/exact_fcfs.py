"""The paper's queueing model simulated exactly and on its own: nothing of moamesh is used here.

n first-come-first-served devices of one server or several; with j items served a device does `speeds[j - 1]` times the
work of one, in equal shares. A prompt at its origin forks in each layer into the origin and k others, joins when
all are done, and ends with one more item at the origin.
"""

from __future__ import annotations

import heapq
import random
from collections import deque
from collections.abc import Callable, Iterable, Sequence


class Prompt:
    def __init__(self, origin: int, arrived: float) -> None:
        self.origin, self.arrived = origin, arrived
        self.layer, self.left, self.ended = 0, 0, -1.0


class ExactModel:
    """`service(device, nth)` is the time that the nth item of a device takes alone; `choose(origin, nth)` the others of
    the nth layer that an origin begins."""

    def __init__(
        self,
        servers: int,
        layers: int,
        service: Callable[[int, int], float],
        choose: Callable[[int, int], Iterable[int]],
        speeds: Sequence[float] = (1.0,),
    ) -> None:
        self.layers, self.service, self.choose = layers, service, choose
        self.lines: list[deque[Prompt]] = [deque() for _ in range(servers)]
        self.shares = [speed / count for count, speed in enumerate(speeds, start=1)]
        self.serving: list[list[tuple[float, int, Prompt]]] = [[] for _ in range(servers)]
        self.clocks = [(0.0, 0.0)] * servers  # what each item served there has gained, and when that was so
        self.served = [0] * servers
        self.begun = [0] * servers
        self.heap: list[tuple[float, int, int]] = []
        self.due = [0] * servers  # the entry of the heap that counts for each device
        self.sequence = 0
        self.now = self.since = self.area = 0.0
        self.waiting = 0

    def run(self, arrivals: list[tuple[float, int]]) -> list[Prompt]:
        """Returns the prompts in the order of arrival, all ended; `area` is then of waiting items up to the last."""
        prompts = []
        for at, origin in arrivals:
            while self.heap and self.heap[0][0] <= at:
                self.complete()
            self.pass_time(at)
            prompt = Prompt(origin, at)
            prompts.append(prompt)
            self.go_on(prompt)
        area = self.area
        while self.heap:
            self.complete()
        self.area = area
        return prompts

    def pass_time(self, now: float) -> None:
        self.now = now
        self.area += self.waiting * (now - self.since)
        self.since = now

    def complete(self) -> None:
        at, sequence, device = heapq.heappop(self.heap)
        serving = self.serving[device]
        if not serving or self.due[device] != sequence:
            return  # others came or left meanwhile
        self.pass_time(at)
        self.gain(device)
        prompt = heapq.heappop(serving)[2]
        self.await_next(device)
        prompt.left -= 1
        if not prompt.left and prompt.origin == device:
            self.go_on(prompt)
        self.start(device)
        if not prompt.left and prompt.ended < 0:
            self.go_on(prompt)

    def gain(self, device: int) -> None:
        gained, since = self.clocks[device]
        if self.serving[device]:
            gained += (self.now - since) * self.shares[len(self.serving[device]) - 1]
        self.clocks[device] = gained, self.now

    def await_next(self, device: int) -> None:
        serving = self.serving[device]
        if serving:
            self.sequence += 1
            self.due[device] = self.sequence
            ahead = max(0.0, serving[0][0] - self.clocks[device][0])
            heapq.heappush(self.heap, (self.now + ahead / self.shares[len(serving) - 1], self.sequence, device))

    def go_on(self, prompt: Prompt) -> None:
        if prompt.layer > self.layers:
            prompt.ended = self.now
            return
        prompt.layer += 1
        devices = [prompt.origin]
        if prompt.layer <= self.layers:
            devices += self.choose(prompt.origin, self.begun[prompt.origin])
            self.begun[prompt.origin] += 1
        prompt.left = len(devices)
        for device in devices:
            self.lines[device].append(prompt)
            self.waiting += 1
            self.start(device)

    def start(self, device: int) -> None:
        while len(self.serving[device]) < len(self.shares) and self.lines[device]:
            self.gain(device)
            prompt = self.lines[device].popleft()
            self.waiting -= 1
            ends = self.clocks[device][0] + self.service(device, self.served[device])
            heapq.heappush(self.serving[device], (ends, self.served[device], prompt))
            self.served[device] += 1
            self.await_next(device)


def poisson(servers: int, rate_hz: float, count: int, rng: random.Random) -> list[tuple[float, int]]:
    """Arrivals of `rate_hz` at each server."""
    now, arrivals = 0.0, []
    for _ in range(count):
        now += rng.expovariate(rate_hz * servers)
        arrivals.append((now, rng.randrange(servers)))
    return arrivals
