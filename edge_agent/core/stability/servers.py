"""One device's queue with c servers, alone: the birth-death chain with rates μ(min(n, c)).

With n items there, the device completes μ(n) items a second up to n = c and μ(c) from there on. Times are in mean
service times of an item alone, so μ(n) is `speed_up[n - 1]`. Source: any textbook (Kleinrock, Queueing Systems, volume
1, chapter 3); with one server it is M/M/1, with speed_up = 1, 2, ..., c it is M/M/c (Erlang C).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import final

from edge_agent.core.stability.checks import ONE_SERVER, check_not_negative, check_speed_up


@final
@dataclass(frozen=True, slots=True)
class Chain:
    """Its stationary law.

    all_busy: the probability that an item that comes finds all c servers taken, and waits.
    waiting_time: how long an item waits on average. serving_time: how long it is served, 1 where it is never shared.
    sharing: the squared variation of how much longer an item is served than alone, by how many it found.
    """

    all_busy: float
    waiting_time: float
    serving_time: float
    sharing: float


def chain(utilisation: float, speed_up: Sequence[float] = ONE_SERVER) -> Chain:
    """Returns the law for 0 < utilisation < 1, the arrivals being utilisation x speed_up[-1].

    Exact for Poisson arrivals and exponential service.
    """
    arrivals = utilisation * speed_up[-1]
    weights = [1.0]
    for factor in speed_up:
        weights.append(weights[-1] * arrivals / factor)
    beyond = weights[-1] * utilisation / (1.0 - utilisation)  # all states with more than c items together
    total = math.fsum(weights) + beyond
    all_busy = (weights[-1] + beyond) / total
    running = (math.fsum(count * weight for count, weight in enumerate(weights)) + len(speed_up) * beyond) / total
    slowed = [(count, factor) for count, factor in enumerate(speed_up, start=1)]
    shares = [weight / total for weight in weights[: len(speed_up) - 1]]
    shares.append(1.0 - math.fsum(shares))
    mean = math.fsum(share * count / factor for share, (count, factor) in zip(shares, slowed, strict=True))
    square = math.fsum(share * (count / factor) ** 2 for share, (count, factor) in zip(shares, slowed, strict=True))
    sharing = max(0.0, square / mean**2 - 1.0)
    return Chain(all_busy, all_busy / (speed_up[-1] * (1.0 - utilisation)), running / arrivals, sharing)


@final
@dataclass(frozen=True, slots=True)
class BoundedChain:
    """The stationary law with K places, the running ones included.

    lost: the probability that an item finds all K places taken. waiting, running: mean items. busy: what is done of
    what a device can do, work over μ(c). served: items completed in a mean service time of one alone.
    """

    lost: float
    waiting: float
    running: float
    busy: float
    served: float


def bounded_chain(utilisation: float, queue_capacity: int, speed_up: Sequence[float] = ONE_SERVER) -> BoundedChain:
    """Returns the law for any load, above 1 too; `utilisation` is what is offered.

    Exact for Poisson arrivals and exponential service (with one server M/M/1/K, with 1, 2, ..., c M/M/c/K); in a mesh,
    where items come in bursts, an approximation.
    """
    check_not_negative("utilisation", utilisation)
    check_speed_up(speed_up)
    if queue_capacity < 1:
        raise ValueError(f"queue_capacity must be 1 or more, not {queue_capacity}")
    servers = len(speed_up)
    rates = [speed_up[min(count, servers) - 1] for count in range(1, queue_capacity + 1)]
    offered = utilisation * speed_up[-1]
    # as logarithms, or the powers of large loads and many places would overflow
    logs = [0.0]
    for rate in rates:
        logs.append(logs[-1] + math.log(offered / rate) if offered else -math.inf)
    largest = max(logs)
    weights = [math.exp(one - largest) for one in logs]
    total = math.fsum(weights)
    running = math.fsum(min(count, servers) * weight for count, weight in enumerate(weights)) / total
    present = math.fsum(count * weight for count, weight in enumerate(weights)) / total
    served = math.fsum(rate * weight for rate, weight in zip(rates, weights[1:], strict=True)) / total
    return BoundedChain(weights[-1] / total, present - running, running, served / speed_up[-1], served)


def loss_probability(utilisation: float, queue_capacity: int, speed_up: Sequence[float] = ONE_SERVER) -> float:
    """Probability that an item finds all K places (waiting and running) taken.

    With one server (1-ρ)ρ^K / (1-ρ^(K+1)); at ρ = 1 that is 1/(K+1). Source and range: `bounded_chain`; `utilisation`
    is the offered load, which may be above 1.
    """
    return bounded_chain(utilisation, queue_capacity, speed_up).lost
