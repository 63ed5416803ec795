"""Runs a scenario: a mesh under load, measured after its warm-up, run empty at the end."""

from __future__ import annotations

import gc
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import islice
from typing import final

from edge_agent.core.agent import Agent
from edge_agent.core.context import RandomStreams
from edge_agent.core.events import ConnectionChanged, PromptReceived, ReplyRoute
from edge_agent.core.messages import ChatMessage, Prompt, PromptOptions, Role
from edge_agent.core.settings import DeviceIdentity
from edge_agent.lab.simulator.cluster import Cluster
from edge_agent.lab.simulator.complete_view import CompleteView, Directory
from edge_agent.lab.simulator.load.measurement import Measurement
from edge_agent.lab.simulator.load.scenario import Scenario
from edge_agent.lab.simulator.load.statistics import BATCHES
from edge_agent.lab.simulator.network import Network, NetworkSettings
from edge_agent.lab.simulator.randomness import stream
from edge_agent.lab.simulator.trace import Trace
from edge_agent.lab.simulator.workload import Poisson

SERIES_POINTS = 400  # of the number waiting over time: about as many as a plot has columns
_SEEDS = 3  # devices that newcomers ask for a first view, where devices gossip
_SETTLE_S = 60.0  # 30 gossip intervals before the first prompt, so that views are filled
_MESSAGES = (ChatMessage(Role.USER, "a prompt"),)
_RUN_MAX_S = 1e9  # simulated seconds (30 years): a mesh that has not run empty by then never will

Progress = Callable[[int, int], None]
"""Called with (prompts arrived, prompts in all), at most a few hundred times a run."""


@final
@dataclass(frozen=True, slots=True)
class LoadResult:
    """A finished run."""

    scenario: Scenario
    measurement: Measurement
    trace_hash: str
    events: int
    messages: int
    wall_s: float
    unfinished: int
    """Prompts that were accepted and had not ended when nothing was left to happen: 0, or a defect."""


class LoadRun:
    """A scenario in the making. `run` may be called once; `cluster` may be looked at before and after."""

    def __init__(self, scenario: Scenario) -> None:
        self.scenario = scenario
        self._trace = Trace()
        names = [f"d{number}" for number in range(scenario.devices)]
        self.cluster = Cluster(
            names,
            scenario.service_model(),
            stream(scenario.seed, "service"),
            self._trace,
            slots=scenario.slots,
            speed_up=scenario.speed_up,
        )
        if scenario.network_delay_s:
            network = NetworkSettings(delay_s=scenario.network_delay_s)
            self.cluster.network = Network(
                network, scenario.devices, stream(scenario.seed, "network"), self.cluster.post
            )
        self.measurement = Measurement(self.cluster, scenario.work_shares)
        self._add_devices()
        self._options = PromptOptions(layers=scenario.layers, fanout=scenario.fanout)
        workload = scenario.workload or Poisson([scenario.rate_hz] * scenario.devices, scenario.bursts)
        self._arrivals = islice(workload.arrivals(stream(scenario.seed, "arrivals")), scenario.prompt_count)
        self._arrived = 0
        self._measured_from = 0
        self._started_at = self.cluster.now
        self._progress: Progress = lambda done, total: None

    def run(self, progress: Progress | None = None) -> LoadResult:
        """Runs until every prompt has ended."""
        self._progress = progress or self._progress
        began = time.perf_counter()
        with _without_collector():
            self.cluster.at(self._started_at + self.scenario.warm_up, self._begin)
            self._next_arrival()
            self._run_to_end()
        return LoadResult(
            scenario=self.scenario,
            measurement=self.measurement,
            trace_hash=self._trace.digest(),
            events=self.cluster.events,
            messages=self.cluster.messages,
            wall_s=time.perf_counter() - began,
            unfinished=self._arrived - self.measurement.outcomes.total(),
        )

    def _run_to_end(self) -> None:
        cluster, scenario = self.cluster, self.scenario
        if not scenario.gossip and not scenario.needs_status:
            cluster.run()  # nothing repeats for ever: the end is when nothing is left
            return
        outcomes, step_s = self.measurement.outcomes, 10.0 * scenario.mean_service_s
        while outcomes.total() < scenario.prompt_count and cluster.now < self._started_at + _RUN_MAX_S:
            cluster.run(cluster.now + step_s)
            if self._arrived < scenario.prompt_count and self.measurement.is_over:
                return  # a recording that ended early

    def _add_devices(self) -> None:
        """Starts every device. They share settings, random streams and, unless they gossip, their view."""
        scenario, cluster = self.scenario, self.cluster
        settings = scenario.settings()
        streams = RandomStreams(*(stream(scenario.seed, use) for use in ("ids", "peer selection", "gossip")))
        seeds = tuple((name, "") for name in cluster.names[:_SEEDS])
        directory = Directory(cluster.names, None if scenario.peer_selection == "uniform" else scenario.load_news_s)
        directory.watch(cluster.agents, lambda: cluster.now)
        for number, name in enumerate(cluster.names):
            view = None if scenario.gossip else CompleteView(number, directory)
            identity = DeviceIdentity(name, model="simulated", model_family="simulated")
            asked = seeds if view is None else ()
            agent = Agent(identity, settings, streams, None, asked, view, scenario.slots)
            cluster.start(number, agent, 1)
        for number in range(scenario.devices):
            cluster.handle(number, ConnectionChanged(True))
        if scenario.gossip:
            cluster.run(_SETTLE_S)

    def _next_arrival(self) -> None:
        arrival = next(self._arrivals, None)
        if arrival is None:
            if not self._measured_from and self.scenario.warm_up:
                self._begin()  # the run was shorter than its warm-up: then nothing was measured
            self.measurement.stop()
            return
        at, device = arrival
        self.cluster.at(self._started_at + at, lambda: self._arrive(device))

    def _arrive(self, device: int) -> None:
        self._arrived += 1  # each is another user's: arrivals without memory are those of many who ask seldom
        prompt = Prompt(str(self._arrived), _MESSAGES, self._options)
        self.cluster.handle(device, PromptReceived(prompt, ReplyRoute(f"user.u{self._arrived}"), 1))
        total = self.scenario.prompt_count
        if self._arrived % max(1, total // SERIES_POINTS) == 0:
            self.measurement.sample()
            self._progress(self._arrived, total)
        if self._measured_from:
            measured, per_batch = self._arrived - self._measured_from + 1, (total - self._measured_from) // BATCHES
            if per_batch and measured % per_batch == 0 and measured <= per_batch * BATCHES:
                self.measurement.mark()
        self._next_arrival()

    def _begin(self) -> None:
        if not self.measurement.is_over:
            self.measurement.begin()
            self._measured_from = self._arrived + 1


@contextmanager
def _without_collector() -> Iterator[None]:
    """Keeps Python's cycle collector still: the core makes no cycles that outlive an event, and walking millions of
    living objects again and again would take most of the time of a large run."""
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.enable()
