"""How fast queues grow above utilisation 1."""

from __future__ import annotations

from edge_agent.core.stability import items_per_prompt

_STEPS = 200  # bisections: far below the precision of a float


def queue_growth_hz(service_time_s: float, layers: int, fanout: int, arrival_rate_hz: float) -> float:
    """Items by which each device's queue grows a second; 0 while the mesh is stable.

    At first sight it is the excess λ((k+1)M+1) - 1/α. But only layer 1 arrives at the users' pace: a later stage
    arrives when the one before has been served, and service is slower than arrival by a factor x < 1. With first come,
    first served and ever longer queues, the stages arrive at λ(k+1), λ(k+1)x, ... and the aggregation at λx^M, and x is
    1/α over all of them. So x solves αλ[(k+1)(1 + x + ... + x^(M-1)) + x^M] x = 1 and the queue grows by (1/x - 1)/α.

    Source: our own fluid limit of the paper's Algorithm 1, for equal devices, uniform selection, unbounded queues and
    no deadline. Exact in the long run; at ρ = 1.3, M = 1, k = 2 it is a fifth below the plain excess.
    """
    if service_time_s * items_per_prompt(layers, fanout) * arrival_rate_hz <= 1.0:
        return 0.0
    low, high = 0.0, 1.0
    for _ in range(_STEPS):
        x = (low + high) / 2.0
        stages = sum((fanout + 1) * x**stage for stage in range(layers)) + x**layers
        if service_time_s * arrival_rate_hz * stages * x < 1.0:
            low = x
        else:
            high = x
    return (1.0 / low - 1.0) / service_time_s


def excess_hz(service_time_s: float, layers: int, fanout: int, arrival_rate_hz: float) -> float:
    """Items of all stages a second that users would bring a device, above what it can serve; 0 at least."""
    return max(0.0, items_per_prompt(layers, fanout) * arrival_rate_hz - 1.0 / service_time_s)
