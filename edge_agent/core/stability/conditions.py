"""How much a mesh can bear: the work of a prompt, and the conditions under which queues stay bounded."""

from __future__ import annotations

import math
from collections.abc import Sequence

from edge_agent.core.stability.checks import (
    ONE_SERVER,
    check_not_negative,
    check_plan,
    check_positive,
    check_speed_up,
)


def items_per_prompt(layers: int, fanout: int) -> int:
    """Inferences that one prompt costs the whole mesh: (k+1)M + 1.

    Source: Theorem 1 of the paper: k+1 proposals in each of M layers, then one aggregation. Exact when every proposal
    is made; fewer when peers are missing, more when failed inferences are repeated.
    """
    check_plan(layers, fanout)
    return (fanout + 1) * layers + 1


def messages_per_prompt(layers: int, fanout: int, *, receipts: bool) -> int:
    """Messages between devices for one prompt: 2kM, and kM more with `receipts`.

    Source: the paper's protocol, a request and a response for each of k peers in each of M layers. Exact without
    loss, substitutes, repeats and cancels; messages with the user and gossip are not counted.
    """
    check_plan(layers, fanout)
    return (3 if receipts else 2) * fanout * layers


def utilisation(
    service_time_s: float, layers: int, fanout: int, arrival_rate_hz: float, speed_up: Sequence[float] = ONE_SERVER
) -> float:
    """The share of what a device can do that is asked of it: λ((k+1)M+1) / μ(c). The mesh is stable if it is below 1.

    `service_time_s` is α, the mean time of an item that is served alone; `speed_up[j - 1]` how many times the work of
    one item is done while j are served, c of them at most: so μ(c) = speed_up[-1] / α. With one server this is
    α((k+1)M+1)λ, the fraction of time each device infers.

    Source: Theorem 1 of the paper for c = 1. For c > 1: a queue that is served at rate μ(c) whenever c items or more
    are there has a bounded queue exactly if its arrivals are below μ(c). Exact for equal devices and arrival rates,
    uniform selection and no loss; with unequal devices use `device_utilisations` (or the slowest device's α, the
    paper's Remark 1, which is on the safe side). Where aggregation prompts take longer, α is `mean_service_time_s`.
    """
    check_positive("service_time_s", service_time_s)
    check_not_negative("arrival_rate_hz", arrival_rate_hz)
    check_speed_up(speed_up)
    return service_time_s * items_per_prompt(layers, fanout) * arrival_rate_hz / speed_up[-1]


def stability_margin(utilisation: float, target: float = 1.0) -> float:
    """How much utilisation is left below `target`; negative when there is too much load.

    Source: Theorem 1 of the paper, read as a distance; a `target` under 1 leaves room for bursts.
    """
    check_not_negative("utilisation", utilisation)
    check_positive("target", target)
    return target - utilisation


def mean_service_time_s(
    plain_service_time_s: float, aggregation_service_time_s: float, layers: int, fanout: int
) -> float:
    """Mean service time over the items of one prompt, when those with references take longer.

    A prompt has 1+k plain items and (M-1)(1+k) + 1 items with references; with M = 0 its one item is plain.
    Source: counting the items of the paper's Algorithm 1. Exact on the same terms as `items_per_prompt`.
    """
    check_positive("plain_service_time_s", plain_service_time_s)
    check_positive("aggregation_service_time_s", aggregation_service_time_s)
    items = items_per_prompt(layers, fanout)
    plain = fanout + 1 if layers else 1
    return (plain * plain_service_time_s + (items - plain) * aggregation_service_time_s) / items


def device_utilisations(
    service_times_s: Sequence[float],
    arrival_rates_hz: Sequence[float],
    layers: int,
    fanout: int,
    aggregation_service_times_s: Sequence[float] | None = None,
    speed_ups: Sequence[Sequence[float]] | None = None,
) -> tuple[float, ...]:
    """Utilisation of each device, for unequal devices and arrival rates. The mesh is stable if all are below 1.

    Device i infers M+1 items for each prompt of its own and, in expectation, Mk/(n-1) for each of another's:
    α_i [(M+1) λ_i + Mk/(n-1) Σ_{j≠i} λ_j]. With `aggregation_service_times_s` the items that carry references (own:
    M; another's: M-1 of M layers) take that long instead. With `speed_ups` device i does speed_ups[i][-1] times the
    work of one item at a time when all its slots are busy, and the sum is divided by that: the condition is then that
    work comes in more slowly than μ_i(c_i).

    Source: the counting argument of the paper's Theorem 1 without its assumption of equal devices. Exact for uniform
    selection and no loss; other selection policies shift the second term between devices.

    Raises:
        ValueError: lengths differ, or fewer than k+1 devices.
    """
    check_plan(layers, fanout)
    count = _check_devices(service_times_s, arrival_rates_hz, layers, fanout)
    aggregation_times_s = service_times_s if aggregation_service_times_s is None else aggregation_service_times_s
    if len(aggregation_times_s) != count:
        raise ValueError(f"aggregation_service_times_s must have one entry for each of {count} devices")
    gains = _gains(speed_ups, count)
    total_rate_hz = math.fsum(arrival_rates_hz)
    asked_share = fanout / (count - 1) if count > 1 else 0.0
    loads = []
    for plain_s, aggregation_s, rate_hz, gain in zip(
        service_times_s, aggregation_times_s, arrival_rates_hz, gains, strict=True
    ):
        check_positive("aggregation_service_times_s", aggregation_s)
        own_s = plain_s + layers * aggregation_s
        for_another_s = plain_s + (layers - 1) * aggregation_s if layers else 0.0
        loads.append((rate_hz * own_s + asked_share * (total_rate_hz - rate_hz) * for_another_s) / gain)
    return tuple(loads)


def capacity_factor(
    service_times_s: Sequence[float],
    arrival_rates_hz: Sequence[float],
    layers: int,
    fanout: int,
    speed_ups: Sequence[Sequence[float]] | None = None,
) -> float:
    """By how much every arrival rate could grow before **no** peer selection whatsoever keeps the mesh stable.

    Two bounds that hold for any policy: a device must do its own M+1 items, (M+1) λ_i < μ_i; and all items together
    must fit into all devices, ((k+1)M+1) Σ λ_i < Σ μ_i. μ_i is 1/α_i, with `speed_ups` speed_ups[i][-1] / α_i.
    Below 1: overloaded whatever is done. Infinity at no load.

    Source: necessary conditions of flow balance. An upper bound: that the peers of a layer must differ can lower the
    true capacity further, so a factor above 1 promises nothing for a given policy.

    Raises:
        ValueError: lengths differ, or fewer than k+1 devices.
    """
    check_plan(layers, fanout)
    _check_devices(service_times_s, arrival_rates_hz, layers, fanout)
    gains = _gains(speed_ups, len(service_times_s))
    rates_hz = [gain / time_s for gain, time_s in zip(gains, service_times_s, strict=True)]
    own_load = max((layers + 1) * arrived / done for done, arrived in zip(rates_hz, arrival_rates_hz, strict=True))
    item_rate_hz = items_per_prompt(layers, fanout) * math.fsum(arrival_rates_hz)
    tightest = max(own_load, item_rate_hz / math.fsum(rates_hz))
    return 1.0 / tightest if tightest > 0.0 else math.inf


def _gains(speed_ups: Sequence[Sequence[float]] | None, count: int) -> list[float]:
    if speed_ups is None:
        return [1.0] * count
    if len(speed_ups) != count:
        raise ValueError(f"speed_ups must have one entry for each of {count} devices")
    for speed_up in speed_ups:
        check_speed_up(speed_up)
    return [speed_up[-1] for speed_up in speed_ups]


def _check_devices(
    service_times_s: Sequence[float], arrival_rates_hz: Sequence[float], layers: int, fanout: int
) -> int:
    count = len(service_times_s)
    if count == 0 or len(arrival_rates_hz) != count:
        raise ValueError(
            "service_times_s and arrival_rates_hz must have one entry for each device, "
            f"not {count} and {len(arrival_rates_hz)}"
        )
    if layers > 0 and fanout >= count:
        raise ValueError(f"fanout must be below the number of devices, not {fanout} with {count}")
    for time_s in service_times_s:
        check_positive("service_times_s", time_s)
    for rate_hz in arrival_rates_hz:
        check_not_negative("arrival_rates_hz", rate_hz)
    return count
