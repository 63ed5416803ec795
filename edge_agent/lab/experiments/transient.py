"""Part (a): the overload transient that Table I of the paper shows, with the shipped core on a virtual clock.

Ten prompts in all arrive within about ten seconds at devices that take 47 s for an inference: nothing is stable or
stationary in it. What is measured is how long it takes to work off ten prompts.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import final

from edge_agent.core.effects import RecordRequest
from edge_agent.lab.experiments.sections import Progress
from edge_agent.lab.experiments.table import ARRIVAL_RATE_HZ, DEVICES, PROMPTS, ROWS, SERVICE_TIME_S, PaperRow
from edge_agent.lab.simulator.load.run import LoadRun
from edge_agent.lab.simulator.load.scenario import Scenario
from edge_agent.lab.simulator.load.statistics import Estimate, mean
from edge_agent.service_time import Distribution, ServiceTime

SEEDS = 1_000
SEEDS_QUICK = 100
_NORMAL_95 = 1.96
SERVICE = ServiceTime(Distribution.DETERMINISTIC, SERVICE_TIME_S)
"""Constant, the simplest that fits: with exponential service of the same mean M = 1, k = 1 comes out 13 % too long."""


@final
@dataclass(frozen=True, slots=True)
class TransientRow:
    """A row of Table I again, over many seeds. Seconds; waiting items a device.

    queue: exact time average until the last answer. queue_papers_way: as the reference code counts, which takes the
    number waiting at the end of a service for all of that service and ignores idle time.
    """

    paper: PaperRow
    latency_s: Estimate
    queue: Estimate
    queue_papers_way: Estimate

    @property
    def deviation(self) -> float:
        """Of the latency from the paper's, as a share of it."""
        return self.latency_s.value / self.paper.latency_s - 1.0


def run_transient(seeds: int, progress: Progress, service: ServiceTime = SERVICE) -> list[TransientRow]:
    """Runs every row with seeds 1 to `seeds`."""
    rows = []
    for at, paper in enumerate(ROWS):
        runs = []
        for seed in range(1, seeds + 1):
            runs.append(run_once(paper.layers, paper.fanout, seed, service))
            progress(at * seeds + seed, len(ROWS) * seeds)
        latency, queue, papers_way = (_over_seeds(values) for values in zip(*runs, strict=True))
        rows.append(TransientRow(paper, latency, queue, papers_way))
    return rows


def run_once(layers: int, fanout: int, seed: int, service: ServiceTime = SERVICE) -> tuple[float, float, float]:
    """Returns mean latency, exact and the paper's way of mean waiting items."""
    run = LoadRun(
        Scenario(
            devices=DEVICES,
            layers=layers,
            fanout=fanout,
            arrival_rate_hz=ARRIVAL_RATE_HZ,
            service=service,
            prompts=PROMPTS,
            warm_up_s=0.0,
            seed=seed,
        )
    )
    waited_s = papers_area_s = 0.0

    def ended(device: int, item: RecordRequest) -> None:
        nonlocal waited_s, papers_area_s
        waited_s += item.waiting_time_s
        agent = run.cluster.agents[device]
        if agent is not None:
            # the core has begun the next item within the same event; at the end of this one it was still waiting
            waiting = len(agent.queue.waiting) + len(agent.queue.running)
            papers_area_s += waiting * item.service_time_s

    run.cluster.on_effect(RecordRequest, ended)
    result = run.run()
    time_s = DEVICES * run.cluster.now
    # the time average of the number waiting is the sum of all waiting times over the time
    return mean(result.measurement.latencies), waited_s / time_s, papers_area_s / time_s


def _over_seeds(values: Sequence[float]) -> Estimate:
    centre = mean(values)
    spread = math.sqrt(math.fsum((value - centre) ** 2 for value in values) / max(1, len(values) - 1))
    return Estimate(centre, _NORMAL_95 * spread / math.sqrt(len(values)) if len(values) > 1 else math.inf)
