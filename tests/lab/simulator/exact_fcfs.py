"""The paper's queueing model simulated exactly and on its own: nothing of moamesh is used here.

n first-come-first-served servers. A prompt at its origin forks in each layer into the origin and k others, joins when
all are done, and ends with one more item at the origin.
"""

from __future__ import annotations

import heapq
import random
from collections import deque
from collections.abc import Callable, Iterable


class Prompt:
    def __init__(self, origin: int, arrived: float) -> None:
        self.origin, self.arrived = origin, arrived
        self.layer, self.left, self.ended = 0, 0, -1.0


class ExactModel:
    """`service(server, nth)` is the time of the nth item a server serves; `choose(origin, nth)` the others of the nth
    layer that an origin begins."""

    def __init__(
        self,
        servers: int,
        layers: int,
        service: Callable[[int, int], float],
        choose: Callable[[int, int], Iterable[int]],
    ) -> None:
        self.layers, self.service, self.choose = layers, service, choose
        self.lines: list[deque[Prompt]] = [deque() for _ in range(servers)]
        self.serving: list[Prompt | None] = [None] * servers
        self.served = [0] * servers
        self.begun = [0] * servers
        self.heap: list[tuple[float, int, int]] = []
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
        at, _, server = heapq.heappop(self.heap)
        self.pass_time(at)
        prompt = self.serving[server]
        assert prompt is not None
        self.serving[server] = None
        prompt.left -= 1
        if not prompt.left and prompt.origin == server:
            self.go_on(prompt)
        self.start(server)
        if not prompt.left and prompt.ended < 0:
            self.go_on(prompt)

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

    def start(self, server: int) -> None:
        if self.serving[server] is None and self.lines[server]:
            self.serving[server] = self.lines[server].popleft()
            self.waiting -= 1
            self.sequence += 1
            seconds = self.service(server, self.served[server])
            self.served[server] += 1
            heapq.heappush(self.heap, (self.now + seconds, self.sequence, server))


def poisson(servers: int, rate_hz: float, count: int, rng: random.Random) -> list[tuple[float, int]]:
    """Arrivals of `rate_hz` at each server."""
    now, arrivals = 0.0, []
    for _ in range(count):
        now += rng.expovariate(rate_hz * servers)
        arrivals.append((now, rng.randrange(servers)))
    return arrivals
