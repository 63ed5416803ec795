"""How much a mesh can bear, and what queues and latencies to expect: the theory, as pure functions.

M is `layers`, k is `fanout`, α a mean service time, λ the prompts per second that users bring to **one** device. The
sources are "the paper" (arXiv 2412.21200) and textbook queueing theory; what only holds approximately says so.
A figure that grows without bound at or above utilisation 1 is returned as infinity there.
"""

from __future__ import annotations

import math
from collections.abc import Sequence


def items_per_prompt(layers: int, fanout: int) -> int:
    """Inferences that one prompt costs the whole mesh: (k+1)M + 1.

    Source: Theorem 1 of the paper: k+1 proposals in each of M layers, then one aggregation. Exact when every proposal
    is made; fewer when peers are missing, more when failed inferences are repeated.
    """
    _check_plan(layers, fanout)
    return (fanout + 1) * layers + 1


def messages_per_prompt(layers: int, fanout: int, *, receipts: bool) -> int:
    """Messages between devices for one prompt: 2kM, and kM more with `receipts`.

    Source: the paper's protocol, a request and a response for each of k peers in each of M layers. Exact without
    loss, substitutes, repeats and cancels; messages with the user and gossip are not counted.
    """
    _check_plan(layers, fanout)
    return (3 if receipts else 2) * fanout * layers


def utilisation(service_time_s: float, layers: int, fanout: int, arrival_rate_hz: float) -> float:
    """The fraction of time each device infers: α((k+1)M+1)λ. The mesh is stable if it is below 1.

    Source: Theorem 1 of the paper. Exact for equal devices and arrival rates, uniform selection and no loss; with
    unequal devices use `device_utilisations` (or the slowest device's α, the paper's Remark 1, which is on the safe
    side). Where aggregation prompts take longer, α is `mean_service_time_s`.
    """
    _check_positive("service_time_s", service_time_s)
    _check_not_negative("arrival_rate_hz", arrival_rate_hz)
    return service_time_s * items_per_prompt(layers, fanout) * arrival_rate_hz


def stability_margin(utilisation: float, target: float = 1.0) -> float:
    """How much utilisation is left below `target`; negative when there is too much load.

    Source: Theorem 1 of the paper, read as a distance; a `target` under 1 leaves room for bursts.
    """
    _check_not_negative("utilisation", utilisation)
    _check_positive("target", target)
    return target - utilisation


def mean_service_time_s(
    plain_service_time_s: float, aggregation_service_time_s: float, layers: int, fanout: int
) -> float:
    """Mean service time over the items of one prompt, when those with references take longer.

    A prompt has 1+k plain items and (M-1)(1+k) + 1 items with references; with M = 0 its one item is plain.
    Source: counting the items of the paper's Algorithm 1. Exact on the same terms as `items_per_prompt`.
    """
    _check_positive("plain_service_time_s", plain_service_time_s)
    _check_positive("aggregation_service_time_s", aggregation_service_time_s)
    items = items_per_prompt(layers, fanout)
    plain = fanout + 1 if layers else 1
    return (plain * plain_service_time_s + (items - plain) * aggregation_service_time_s) / items


def device_utilisations(
    service_times_s: Sequence[float],
    arrival_rates_hz: Sequence[float],
    layers: int,
    fanout: int,
    aggregation_service_times_s: Sequence[float] | None = None,
) -> tuple[float, ...]:
    """Utilisation of each device, for unequal devices and arrival rates. The mesh is stable if all are below 1.

    Device i infers M+1 items for each prompt of its own and, in expectation, Mk/(n-1) for each of another's:
    α_i [(M+1) λ_i + Mk/(n-1) Σ_{j≠i} λ_j]. With `aggregation_service_times_s` the items that carry references (own: M;
    another's: M-1 of M layers) take that long instead.

    Source: the counting argument of the paper's Theorem 1 without its assumption of equal devices. Exact for uniform
    selection and no loss; other selection policies shift the second term between devices.

    Raises:
        ValueError: lengths differ, or fewer than k+1 devices.
    """
    _check_plan(layers, fanout)
    count = _check_devices(service_times_s, arrival_rates_hz, layers, fanout)
    aggregation_times_s = service_times_s if aggregation_service_times_s is None else aggregation_service_times_s
    if len(aggregation_times_s) != count:
        raise ValueError(f"aggregation_service_times_s must have one entry for each of {count} devices")
    total_rate_hz = math.fsum(arrival_rates_hz)
    asked_share = fanout / (count - 1) if count > 1 else 0.0
    loads = []
    for plain_s, aggregation_s, rate_hz in zip(service_times_s, aggregation_times_s, arrival_rates_hz, strict=True):
        _check_positive("aggregation_service_times_s", aggregation_s)
        own_s = plain_s + layers * aggregation_s
        for_another_s = plain_s + (layers - 1) * aggregation_s if layers else 0.0
        loads.append(rate_hz * own_s + asked_share * (total_rate_hz - rate_hz) * for_another_s)
    return tuple(loads)


def capacity_factor(
    service_times_s: Sequence[float], arrival_rates_hz: Sequence[float], layers: int, fanout: int
) -> float:
    """By how much every arrival rate could grow before **no** peer selection whatsoever keeps the mesh stable.

    Two bounds that hold for any policy: a device must do its own M+1 items, (M+1) λ_i α_i < 1; and all items together
    must fit into all devices, ((k+1)M+1) Σ λ_i < Σ 1/α_i. Below 1: overloaded whatever is done. Infinity at no load.

    Source: necessary conditions of flow balance. An upper bound: that the peers of a layer must differ can lower the
    true capacity further, so a factor above 1 promises nothing for a given policy.

    Raises:
        ValueError: lengths differ, or fewer than k+1 devices.
    """
    _check_plan(layers, fanout)
    _check_devices(service_times_s, arrival_rates_hz, layers, fanout)
    own_load = max(
        (layers + 1) * rate_hz * time_s for time_s, rate_hz in zip(service_times_s, arrival_rates_hz, strict=True)
    )
    item_rate_hz = items_per_prompt(layers, fanout) * math.fsum(arrival_rates_hz)
    capacity_hz = math.fsum(1.0 / time_s for time_s in service_times_s)
    tightest = max(own_load, item_rate_hz / capacity_hz)
    return 1.0 / tightest if tightest > 0.0 else math.inf


def mean_requests_waiting(utilisation: float, squared_variation: float = 1.0) -> float:
    """Time-average number of items waiting (without the one in service): ρ²(1+C²) / (2(1-ρ)); infinite at ρ >= 1.

    `squared_variation` is C², the variance of the service time over its squared mean: 1 for exponential service, 0
    for constant. Source: Pollaczek-Khinchine, M/G/1. Exact for Poisson arrivals; in the mesh the items of later layers
    come in bursts, which adds up to 40 % when service times are constant.
    """
    _check_not_negative("utilisation", utilisation)
    _check_not_negative("squared_variation", squared_variation)
    if utilisation >= 1.0:
        return math.inf
    return utilisation**2 * (1.0 + squared_variation) / (2.0 * (1.0 - utilisation))


def mean_waiting_time_s(service_time_s: float, utilisation: float, squared_variation: float = 1.0) -> float:
    """Mean time an item waits before its service: αρ(1+C²) / (2(1-ρ)); infinite at ρ >= 1.

    Source and range: `mean_requests_waiting` with Little's law, waiting items = item rate x waiting time.
    """
    _check_positive("service_time_s", service_time_s)
    _check_not_negative("utilisation", utilisation)
    _check_not_negative("squared_variation", squared_variation)
    if utilisation >= 1.0:
        return math.inf
    return service_time_s * utilisation * (1.0 + squared_variation) / (2.0 * (1.0 - utilisation))


def end_to_end_latency_s(service_time_s: float, utilisation: float, layers: int, fanout: int) -> float:
    """Mean time from prompt to answer: about α/(1-ρ) · (M·H_{k+1} + 1), H the harmonic number; infinite at ρ >= 1.

    Each layer waits for the slowest of k+1 sojourns, which are exponential in M/M/1; the aggregation is one more.
    Source: fork-join of independent M/M/1 queues, an approximation for exponential service: within about 4 % of exact
    simulation at n = 20, M = k = 2, ρ <= 0.6. With k+1 = n the queues move together and it is an upper bound.
    """
    _check_positive("service_time_s", service_time_s)
    _check_not_negative("utilisation", utilisation)
    _check_plan(layers, fanout)
    if utilisation >= 1.0:
        return math.inf
    return service_time_s / (1.0 - utilisation) * (layers * harmonic_number(fanout + 1) + 1.0)


def loss_probability(utilisation: float, queue_capacity: int) -> float:
    """Probability that an item finds all K places (waiting and running) taken: (1-ρ)ρ^K / (1-ρ^(K+1)).

    Source: M/M/1/K with Poisson arrivals, exponential service, one server; `utilisation` is the offered load, which may
    be above 1. At ρ = 1 it is 1/(K+1).
    """
    _check_not_negative("utilisation", utilisation)
    if queue_capacity < 1:
        raise ValueError(f"queue_capacity must be 1 or more, not {queue_capacity}")
    # as 1 / Σ_{i=0..K} ρ^-i or with ρ^i, whichever powers stay below 1: no overflow, no 0/0 at ρ = 1
    if utilisation > 1.0:
        return 1.0 / math.fsum(utilisation**-i for i in range(queue_capacity + 1))
    return float(utilisation**queue_capacity / math.fsum(utilisation**i for i in range(queue_capacity + 1)))


def lossless_prompt_probability(utilisation: float, queue_capacity: int, layers: int, fanout: int) -> float:
    """Probability that none of a prompt's items is rejected: about (1-P_K)^((k+1)M+1).

    Source: `loss_probability`, taken as independent between items, which is an approximation: queues are correlated,
    and places reserved for the origin's own later stages lose nothing.
    """
    return float((1.0 - loss_probability(utilisation, queue_capacity)) ** items_per_prompt(layers, fanout))


def harmonic_number(count: int) -> float:
    """H_n = 1 + 1/2 + ... + 1/n, the mean of the largest of n independent exponentials of mean 1."""
    if count < 1:
        raise ValueError(f"count must be 1 or more, not {count}")
    return math.fsum(1.0 / i for i in range(1, count + 1))


def _check_plan(layers: int, fanout: int) -> None:
    if layers < 0:
        raise ValueError(f"layers must not be negative, not {layers}")
    if fanout < 0:
        raise ValueError(f"fanout must not be negative, not {fanout}")


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
        _check_positive("service_times_s", time_s)
    for rate_hz in arrival_rates_hz:
        _check_not_negative("arrival_rates_hz", rate_hz)
    return count


def _check_positive(name: str, value: float) -> None:
    if not (value > 0.0 and math.isfinite(value)):
        raise ValueError(f"{name} must be a finite number above 0, not {value}")


def _check_not_negative(name: str, value: float) -> None:
    if not (value >= 0.0 and math.isfinite(value)):
        raise ValueError(f"{name} must be a finite number, 0 or more, not {value}")
