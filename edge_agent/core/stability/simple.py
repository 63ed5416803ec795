"""Predictions with a short formula: exact for devices that ask no others (M = 0), else for reckoning by hand."""

from __future__ import annotations

import math
from collections.abc import Sequence

from edge_agent.core.stability.checks import ONE_SERVER, check_not_negative, check_plan, check_positive
from edge_agent.core.stability.conditions import items_per_prompt
from edge_agent.core.stability.servers import loss_probability


def harmonic_number(count: int) -> float:
    """H_n = 1 + 1/2 + ... + 1/n, the mean of the largest of n independent exponentials of mean 1."""
    if count < 1:
        raise ValueError(f"count must be 1 or more, not {count}")
    return math.fsum(1.0 / i for i in range(1, count + 1))


def lossless_prompt_probability(
    utilisation: float, queue_capacity: int, layers: int, fanout: int, speed_up: Sequence[float] = ONE_SERVER
) -> float:
    """Probability that none of a prompt's items is rejected: about (1-P_K)^((k+1)M+1).

    Source: `loss_probability`, taken as independent between items, which is an approximation: queues are correlated,
    and places reserved for the origin's own later stages lose nothing.
    """
    lost = loss_probability(utilisation, queue_capacity, speed_up)
    return float((1.0 - lost) ** items_per_prompt(layers, fanout))


def end_to_end_latency_s(service_time_s: float, utilisation: float, layers: int, fanout: int) -> float:
    """The short form of the mean latency, for one server: α/(1-ρ) · (M·H_{k+1} + 1); infinite at ρ >= 1.

    Each layer waits for the slowest of k+1 sojourns, which are exponential in M/M/1; the aggregation is one more.
    Source: fork-join of independent M/M/1 queues. A rule to reckon with by hand, for exponential service: 3 to 7 % low
    in large meshes, too high where k+1 is near n. `MeshLaw.latency_mean` is the better prediction.
    """
    check_positive("service_time_s", service_time_s)
    check_not_negative("utilisation", utilisation)
    check_plan(layers, fanout)
    if utilisation >= 1.0:
        return math.inf
    return service_time_s / (1.0 - utilisation) * (layers * harmonic_number(fanout + 1) + 1.0)


def mean_requests_waiting(utilisation: float, squared_variation: float = 1.0) -> float:
    """Time-average number of items waiting (without the one in service): ρ²(1+C²) / (2(1-ρ)); infinite at ρ >= 1.

    `squared_variation` is C², the variance of the service time over its squared mean: 1 for exponential service, 0
    for constant. Source: Pollaczek-Khinchine, M/G/1. Exact for Poisson arrivals, as with M = 0; for a mesh it is
    `MeshLaw.requests_waiting`.
    """
    check_not_negative("utilisation", utilisation)
    check_not_negative("squared_variation", squared_variation)
    if utilisation >= 1.0:
        return math.inf
    return utilisation**2 * (1.0 + squared_variation) / (2.0 * (1.0 - utilisation))


def mean_waiting_time_s(service_time_s: float, utilisation: float, squared_variation: float = 1.0) -> float:
    """Mean time an item waits before its service: αρ(1+C²) / (2(1-ρ)); infinite at ρ >= 1.

    Source and range: `mean_requests_waiting` with Little's law, waiting items = item rate x waiting time.
    """
    check_positive("service_time_s", service_time_s)
    check_not_negative("utilisation", utilisation)
    check_not_negative("squared_variation", squared_variation)
    if utilisation >= 1.0:
        return math.inf
    return service_time_s * utilisation * (1.0 + squared_variation) / (2.0 * (1.0 - utilisation))
