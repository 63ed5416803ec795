"""Checks the formulas against simulations written here, published figures and counting by hand, never themselves."""

from __future__ import annotations

import heapq
import math
import random
from itertools import pairwise

import pytest

from edge_agent.core import stability

SEED = 20241221


def simulate_single_queue(utilisation: float, draw_service, arrivals: int) -> float:
    """Mean waiting time of an M/G/1 queue with mean service time 1, by Lindley's recursion."""
    rng = random.Random(SEED)
    waiting, total = 0.0, 0.0
    for _ in range(arrivals):
        total += waiting
        waiting = max(0.0, waiting + draw_service(rng) - rng.expovariate(utilisation))
    return total / arrivals


def simulate_mesh(devices: int, layers: int, fanout: int, rates_hz, means_s, prompts: int):
    """FCFS devices, uniform peers, exponential service: (mean latency, busy fraction of each device)."""
    rng = random.Random(SEED)
    free_at, busy_s = [0.0] * devices, [0.0] * devices
    heap = [(rng.expovariate(rates_hz[d]), d, d, 0, None) for d in range(devices) if rates_hz[d]]
    heapq.heapify(heap)
    sequence, latencies, now = devices, [], 0.0

    def serve(device: int) -> float:
        service_s = rng.expovariate(1.0 / means_s[device])
        busy_s[device] += service_s
        free_at[device] = max(free_at[device], now) + service_s
        return free_at[device]

    while len(latencies) < prompts:
        now, _, origin, layer, began = heapq.heappop(heap)
        if began is None:  # a new prompt, and the next one after it
            began = now
            sequence += 1
            heapq.heappush(heap, (now + rng.expovariate(rates_hz[origin]), sequence, origin, 0, None))
        if layer < layers:
            peers = rng.sample([d for d in range(devices) if d != origin], fanout)
            joined = max(serve(device) for device in [origin, *peers])
            sequence += 1
            heapq.heappush(heap, (joined, sequence, origin, layer + 1, began))
        else:
            latencies.append(serve(origin) - began)
    warm = latencies[prompts // 5 :]
    return sum(warm) / len(warm), [busy / max(now, end) for busy, end in zip(busy_s, free_at, strict=True)]


def test_items_and_messages_are_what_counting_one_prompt_by_hand_gives():
    # M=2, k=2: two layers of three proposals and one aggregation; 2 peers x 2 layers, there and back
    assert stability.items_per_prompt(2, 2) == 3 + 3 + 1
    assert stability.messages_per_prompt(2, 2, receipts=False) == 8
    assert stability.messages_per_prompt(2, 2, receipts=True) == 12
    assert stability.items_per_prompt(0, 5) == 1
    assert stability.messages_per_prompt(0, 5, receipts=True) == 0


def test_the_papers_table_is_an_overload_for_its_own_service_time():
    # 47 s a call at 0.25 prompts per second and device: loads between about 12 and 106, which no queue can bear
    assert stability.utilisation(47.0, 0, 0, 0.25) == pytest.approx(11.75)
    assert stability.utilisation(47.0, 2, 3, 0.25) == pytest.approx(105.75)
    assert stability.stability_margin(0.7) == pytest.approx(0.3)
    assert stability.stability_margin(0.9, target=0.8) == pytest.approx(-0.1)


def test_utilisation_is_the_busy_fraction_of_a_simulated_mesh():
    rate_hz = 0.6 / 7
    _, busy = simulate_mesh(6, 2, 2, [rate_hz] * 6, [1.0] * 6, prompts=20_000)
    assert sum(busy) / 6 == pytest.approx(stability.utilisation(1.0, 2, 2, rate_hz), rel=0.03)


def test_unequal_devices_are_as_busy_as_a_simulated_mesh_of_them():
    rates_hz = [0.02, 0.10, 0.05, 0.01, 0.08]
    means_s = [1.0, 2.0, 0.5, 3.0, 1.5]
    predicted = stability.device_utilisations(means_s, rates_hz, layers=2, fanout=2)
    assert max(predicted) < 1.0
    _, busy = simulate_mesh(5, 2, 2, rates_hz, means_s, prompts=30_000)
    assert busy == pytest.approx(predicted, rel=0.05)


def test_longer_aggregation_prompts_weigh_as_often_as_they_occur():
    # M=2, k=1, by hand: plain 2 x 1 s; with references 2 proposals and 1 aggregation, 3 x 4 s
    assert stability.mean_service_time_s(1.0, 4.0, 2, 1) == pytest.approx(14.0 / 5.0)
    assert stability.mean_service_time_s(1.0, 4.0, 0, 0) == 1.0
    # equal devices: the per-device form must carry the same total work
    loads = stability.device_utilisations([1.0] * 4, [0.05] * 4, 2, 1, [4.0] * 4)
    assert loads == pytest.approx([0.05 * 14.0] * 4)


def test_four_slow_devices_overload_uniform_selection_but_not_every_selection():
    # the published case: 4 of 20 devices three times slower, uniform load 1.08 on the slow ones
    means_s = [1.0] * 16 + [3.0] * 4
    rates_hz = [0.36 / 7] * 20
    loads = stability.device_utilisations(means_s, rates_hz, 2, 2)
    assert loads[-1] == pytest.approx(1.08)
    assert loads[0] == pytest.approx(0.36)
    # by hand: a slow device's own three items take 0.463 of its time, the tightest bound of any policy
    assert stability.capacity_factor(means_s, rates_hz, 2, 2) == pytest.approx(1 / (3 * 3 * 0.36 / 7))


def test_capacity_is_the_whole_meshs_time_when_devices_are_equal():
    assert stability.capacity_factor([2.0] * 5, [0.05] * 5, 1, 3) == pytest.approx(1 / (2.0 * 5 * 0.05))
    assert stability.capacity_factor([2.0] * 5, [0.0] * 5, 1, 3) == math.inf


@pytest.mark.parametrize(
    ("name", "squared_variation", "draw"),
    [
        ("constant", 0.0, lambda rng: 1.0),
        ("exponential", 1.0, lambda rng: rng.expovariate(1.0)),
        ("hyperexponential", 3.0, lambda rng: rng.expovariate(0.25) if rng.random() < 0.1 else rng.expovariate(1.5)),
    ],
)
def test_waiting_agrees_with_a_simulated_queue(name, squared_variation, draw):
    for load in (0.3, 0.7):
        measured = simulate_single_queue(load, draw, arrivals=300_000)
        expected = stability.mean_waiting_time_s(1.0, load, squared_variation)
        assert measured == pytest.approx(expected, rel=0.08), f"{name}, utilisation {load}, seed {SEED}"
        assert stability.mean_requests_waiting(load, squared_variation) == pytest.approx(load * expected)


def test_the_hyperexponential_of_the_test_above_has_the_variation_it_names():
    # first and second moment by hand: 0.1·4 + 0.9/1.5 = 1; 0.1·2·16 + 0.9·2/2.25 = 4; C² = 4/1 - 1 = 3
    mean = 0.1 * 4.0 + 0.9 / 1.5
    second = 0.1 * 2 * 16.0 + 0.9 * 2 / 1.5**2
    assert (mean, second / mean**2 - 1) == pytest.approx((1.0, 3.0))


def test_latency_is_within_six_percent_of_a_simulated_mesh_of_twenty():
    rate_hz = 0.5 / 7
    measured, _ = simulate_mesh(20, 2, 2, [rate_hz] * 20, [1.0] * 20, prompts=30_000)
    assert stability.end_to_end_latency_s(1.0, 0.5, 2, 2) == pytest.approx(measured, rel=0.06)


def test_latency_is_an_upper_bound_when_every_device_is_asked():
    rate_hz = 0.6 / 9
    measured, _ = simulate_mesh(4, 2, 3, [rate_hz] * 4, [1.0] * 4, prompts=20_000)
    predicted = stability.end_to_end_latency_s(1.0, 0.6, 2, 3)
    assert measured < predicted < 2 * measured


@pytest.mark.parametrize(("load", "places"), [(0.5, 3), (0.9, 8), (1.0, 4), (1.6, 5)])
def test_loss_agrees_with_a_simulated_bounded_queue(load, places):
    rng = random.Random(SEED)
    present, now, lost, offered = 0, 0.0, 0, 100_000
    departure = math.inf
    for _ in range(offered):
        now += rng.expovariate(load)
        while departure <= now:
            present -= 1
            departure = departure + rng.expovariate(1.0) if present else math.inf
        if present == places:
            lost += 1
            continue
        present += 1
        if present == 1:
            departure = now + rng.expovariate(1.0)
    assert stability.loss_probability(load, places) == pytest.approx(lost / offered, rel=0.06, abs=0.001)


def test_loss_is_continuous_through_utilisation_one_and_survives_extremes():
    around = [stability.loss_probability(load, 10) for load in (1 - 1e-9, 1.0, 1 + 1e-9)]
    assert around == pytest.approx([1 / 11] * 3)
    assert stability.loss_probability(0.0, 5) == 0.0
    assert stability.loss_probability(50.0, 2_000) == pytest.approx(0.98)  # overload: all but 1/ρ is lost
    rising = [stability.loss_probability(load / 10, 4) for load in range(1, 30)]
    assert all(low < high for low, high in pairwise(rising))


def test_a_prompt_loses_nothing_only_if_all_its_items_fit():
    # one place, load 1: half of all items are lost; three items (M=1, k=1) all fit with probability 1/8
    assert stability.lossless_prompt_probability(1.0, 1, 1, 1) == pytest.approx(0.125)


def test_harmonic_numbers_are_the_published_ones():
    assert stability.harmonic_number(1) == 1.0
    assert stability.harmonic_number(4) == pytest.approx(25 / 12)
    assert stability.harmonic_number(10) == pytest.approx(7381 / 2520)


def test_nothing_is_finite_at_utilisation_one():
    assert stability.mean_requests_waiting(1.0) == math.inf
    assert stability.mean_waiting_time_s(1.0, 1.2) == math.inf
    assert stability.end_to_end_latency_s(1.0, 1.0, 2, 2) == math.inf


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: stability.items_per_prompt(-1, 2), "layers must not be negative"),
        (lambda: stability.items_per_prompt(1, -2), "fanout must not be negative"),
        (lambda: stability.utilisation(0.0, 1, 1, 1.0), "service_time_s must be a finite number above 0"),
        (lambda: stability.utilisation(1.0, 1, 1, math.nan), "arrival_rate_hz must be a finite number"),
        (lambda: stability.stability_margin(0.5, target=0.0), "target must be a finite number above 0"),
        (lambda: stability.mean_requests_waiting(-0.1), "utilisation must be a finite number, 0 or more"),
        (lambda: stability.mean_waiting_time_s(1.0, 0.5, -1.0), "squared_variation must be"),
        (lambda: stability.loss_probability(0.5, 0), "queue_capacity must be 1 or more"),
        (lambda: stability.device_utilisations([1.0], [1.0, 2.0], 1, 0), "one entry for each device"),
        (lambda: stability.device_utilisations([1.0] * 2, [0.1] * 2, 1, 2), "fanout must be below the number"),
        (lambda: stability.device_utilisations([1.0] * 2, [0.1] * 2, 1, 1, [1.0]), "aggregation_service_times_s"),
        (lambda: stability.capacity_factor([], [], 1, 1), "one entry for each device"),
        (lambda: stability.harmonic_number(0), "count must be 1 or more"),
        (lambda: stability.mean_service_time_s(1.0, -1.0, 1, 1), "aggregation_service_time_s"),
    ],
)
def test_bad_arguments_are_refused_in_words(call, words):
    with pytest.raises(ValueError, match=words):
        call()
