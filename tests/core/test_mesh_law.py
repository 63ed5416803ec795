"""Checks the law of c servers and of a mesh against textbook values, simulations written here, and its own limits."""

from __future__ import annotations

import heapq
import math
import random
from dataclasses import replace
from itertools import pairwise

import pytest

from edge_agent.core import stability
from edge_agent.core.stability import MANY, Mesh, MeshLaw, harmonic_number
from edge_agent.core.stability.servers import bounded_chain, chain

SEED = 20261128
CURVE = (1.0, 1.6, 2.0, 2.2)
LOADS = [0.05, 0.2, 0.4, 0.6, 0.8, 0.9, 0.95, 0.99]


def test_one_server_is_the_textbooks_queue():
    alone = chain(0.8)
    assert (alone.all_busy, alone.waiting_time, alone.serving_time) == pytest.approx((0.8, 4.0, 1.0))
    assert alone.sharing == pytest.approx(0.0, abs=1e-12)


def test_servers_that_do_not_share_are_erlangs():
    # Erlang C for 4 servers and 3 erlangs, by hand: (3^4/4!) 4 / (1 + 3 + 9/2 + 27/6 + (81/24) 4) = 13.5 / 26.5
    alone = chain(0.75, (1.0, 2.0, 3.0, 4.0))
    assert alone.all_busy == pytest.approx(13.5 / 26.5)
    assert alone.waiting_time == pytest.approx(13.5 / 26.5)  # C / (c - a), and 4 - 3 = 1
    assert alone.serving_time == pytest.approx(1.0)


def test_servers_that_gain_nothing_keep_every_item_as_long_as_one_server_would():
    # whatever is shared, the number there is M/M/1's: sojourn 1 / (1 - ρ)
    alone = chain(0.7, (1.0, 1.0, 1.0))
    assert alone.waiting_time + alone.serving_time == pytest.approx(1.0 / 0.3)


@pytest.mark.parametrize(("load", "places"), [(0.5, 3), (0.9, 8), (1.0, 5), (1.6, 6)])
def test_a_bounded_queue_with_several_servers_agrees_with_a_simulation(load, places):
    rng = random.Random(SEED)
    present, offered, lost, area, since, busy = 0, 0, 0, 0.0, 0.0, 0.0
    now = 0.0
    while offered < 60_000:
        rate = CURVE[min(present, len(CURVE)) - 1] if present else 0.0
        step = rng.expovariate(load * CURVE[-1] + rate)
        area += max(0, present - len(CURVE)) * step
        busy += rate / CURVE[-1] * step
        now = since = since + step
        if rng.random() * (load * CURVE[-1] + rate) < rate:
            present -= 1
            continue
        offered += 1
        if present < places:
            present += 1
        else:
            lost += 1
    cut = bounded_chain(load, places, CURVE)
    assert cut.lost == pytest.approx(lost / offered, rel=0.06, abs=0.001)
    assert cut.waiting == pytest.approx(area / now, rel=0.06, abs=0.005)
    assert cut.busy == pytest.approx(busy / now, rel=0.02)


def test_many_places_are_as_good_as_no_bound():
    cut, alone = bounded_chain(0.7, 400, CURVE), chain(0.7, CURVE)
    assert cut.waiting == pytest.approx(alone.waiting_time * 0.7 * CURVE[-1])
    assert cut.lost == pytest.approx(0.0, abs=1e-12)


def test_the_condition_with_several_servers_is_that_items_come_more_slowly_than_all_of_them_serve():
    # α = 2 s, 7 items a prompt, μ(4) = 2.2 / 2 s: at λ = 0.1 the load is 0.7 / 1.1
    assert stability.utilisation(2.0, 2, 2, 0.1, CURVE) == pytest.approx(0.7 / 1.1)
    assert stability.utilisation(2.0, 2, 2, 0.1) == pytest.approx(1.4)
    loads = stability.device_utilisations([2.0] * 4, [0.1] * 4, 2, 2, speed_ups=[CURVE, (1.0,), CURVE, (1.0,)])
    assert loads == pytest.approx([0.7 / 1.1, 1.4] * 2)
    both = stability.capacity_factor([2.0] * 4, [0.1] * 4, 2, 2, [CURVE] * 4)
    assert both == pytest.approx(2.2 * stability.capacity_factor([2.0] * 4, [0.1] * 4, 2, 2))


def test_a_queue_of_several_servers_is_bounded_below_that_condition_and_grows_above_it():
    def left(load: float) -> int:
        """Items there after a long run of exponential service, in mean service times."""
        rng, present = random.Random(SEED), 0
        for _ in range(100_000):
            rate = CURVE[min(present, len(CURVE)) - 1] if present else 0.0
            present += -1 if rng.random() * (load * CURVE[-1] + rate) < rate else 1
        return present

    assert left(0.9) < 100
    assert left(1.1) > 2_000


@pytest.mark.parametrize("scv", [0.0, 0.25, 1.0])
def test_without_layers_one_server_is_pollaczek_and_khinchines(scv):
    law = MeshLaw(Mesh(0, 0, 1, 0.6, scv))
    assert law.waiting_time == pytest.approx(0.6 * (1.0 + scv) / (2.0 * 0.4))
    assert law.latency_mean == pytest.approx(1.0 + law.waiting_time)
    assert law.requests_waiting == pytest.approx(stability.mean_requests_waiting(0.6, scv))


def test_without_layers_exponential_service_is_the_chains_whatever_the_servers():
    law, alone = MeshLaw(Mesh(0, 0, 1, 0.7, speed_up=CURVE)), chain(0.7, CURVE)
    assert law.waiting_time == pytest.approx(alone.waiting_time)
    assert law.latency_mean == pytest.approx(alone.waiting_time + alone.serving_time)


def test_an_idle_mesh_takes_as_long_as_its_inferences():
    for layers, fanout in ((0, 0), (1, 1), (2, 3), (3, 2)):
        law = MeshLaw(Mesh(layers, fanout, MANY, 0.0))
        assert law.requests_waiting == pytest.approx(0.0, abs=1e-6)
        assert law.latency_mean == pytest.approx(layers * harmonic_number(fanout + 1) + 1.0, rel=0.05)
        constant = MeshLaw(Mesh(layers, fanout, MANY, 0.0, 0.0))
        assert constant.latency_mean == pytest.approx(layers + 1.0, rel=0.03)


def test_longer_aggregations_change_the_kinds_but_not_their_mean():
    mesh = Mesh(2, 1, 10, 0.5, aggregation_factor=3.0)
    plain, long = mesh.kinds
    assert long == pytest.approx(3.0 * plain)
    assert (2 * plain + 3 * long) / 5 == pytest.approx(1.0)
    # C² of all: second moment of a mixture less 1; and back
    mixed = (2 * plain**2 + 3 * long**2) / 5 * 2.0 - 1.0
    assert mesh.measured(mixed).squared_variation == pytest.approx(1.0)


@pytest.mark.parametrize("speed_up", [(1.0,), CURVE])
@pytest.mark.parametrize("scv", [0.0, 1.0])
@pytest.mark.parametrize(("layers", "fanout", "devices"), [(0, 0, 4), (1, 3, 4), (2, 2, 4), (2, 3, 1000), (1, 1, 20)])
def test_all_figures_rise_with_the_load_and_stand_in_their_order(layers, fanout, devices, scv, speed_up):
    laws = [MeshLaw(Mesh(layers, fanout, devices, load, scv, 1.0, speed_up)) for load in LOADS]
    for before, after in pairwise(laws):
        assert before.waiting_time < after.waiting_time
        assert before.latency_mean < after.latency_mean
        assert before.latency_quantile(0.99) < after.latency_quantile(0.99)
    for law in laws:
        quantiles = [law.latency_quantile(share) for share in (0.1, 0.5, 0.9, 0.95, 0.97, 0.99, 0.999)]
        assert all(low <= high for low, high in pairwise(quantiles)), quantiles
        assert law.latency_quantile(0.5) < 1.1 * law.latency_mean < 1.1 * law.latency_quantile(0.95)


def test_nothing_is_finite_from_utilisation_one_on():
    for load in (1.0, 1.3):
        law = MeshLaw(Mesh(2, 2, 20, load))
        figures = (
            law.waiting_time,
            law.requests_waiting,
            law.sojourn_time,
            law.latency_mean,
            law.latency_quantile(0.5),
        )
        assert set(figures) == {math.inf}


def test_a_device_alone_asks_nobody_and_has_a_prediction():
    mesh = Mesh(2, 0, 1, 0.5)
    assert mesh.asked_share == 0.0
    assert 3.0 < MeshLaw(mesh).latency_mean < math.inf


def test_beyond_what_was_simulated_a_prediction_stays_a_sensible_one():
    far = Mesh(8, 12, 5_000, 0.97, 9.0, 40.0, tuple(n / (1.0 + 0.2 * (n - 1)) for n in range(1, 33)))
    near = replace(far, layers=4, fanout=6, squared_variation=1.0, aggregation_factor=3.0)
    assert 0.0 < MeshLaw(near).latency_mean < MeshLaw(far).latency_mean < math.inf


def test_what_a_mesh_cannot_be_is_refused_in_words():
    with pytest.raises(ValueError, match="fanout must be below the number of devices"):
        Mesh(1, 4, 4, 0.5)
    with pytest.raises(ValueError, match="speed_up must begin with 1"):
        Mesh(1, 1, 4, 0.5, speed_up=(2.0, 3.0))
    with pytest.raises(ValueError, match="speed_up must be a finite number above 0"):
        Mesh(1, 1, 4, 0.5, speed_up=(1.0, 0.0))
    with pytest.raises(ValueError, match="aggregation_factor"):
        Mesh(1, 1, 4, 0.5, aggregation_factor=0.0)


def test_the_kind_of_a_prediction_is_told_truly():
    assert stability.kind(Mesh(0, 0, 1, 0.5)).startswith("exact means")
    assert stability.kind(Mesh(2, 2, 20, 0.5)) == stability.APPROXIMATION
    assert stability.kind(Mesh(0, 0, 1, 0.5, speed_up=CURVE)).startswith("exact means")
    assert stability.kind(Mesh(0, 0, 1, 0.5, 0.0, speed_up=CURVE)) == stability.APPROXIMATION
    assert "rough" in stability.kind(Mesh(2, 2, 20, 0.5), bounded=True)
    assert "rough" in stability.kind(Mesh(2, 2, 20, 0.5), equal=False)


def test_the_law_agrees_with_a_mesh_simulated_here():
    """Small and by another way than the runs that corrections were fitted on: bench/law has those."""
    rng, devices, layers, fanout, load = random.Random(SEED), 10, 2, 2, 0.5
    free_at = [0.0] * devices
    heap = [(rng.expovariate(load / 7), number, number, 0, None) for number in range(devices)]
    heapq.heapify(heap)
    sequence, latencies = devices, []
    while len(latencies) < 30_000:
        now, _, origin, layer, began = heapq.heappop(heap)
        sequence += 1
        if began is None:
            began = now
            heapq.heappush(heap, (now + rng.expovariate(load / 7), sequence, origin, 0, None))
            sequence += 1
        team = [origin]
        if layer < layers:
            team += rng.sample([d for d in range(devices) if d != origin], fanout)
        for device in team:
            free_at[device] = max(free_at[device], now) + 1.0
        end = max(free_at[device] for device in team)
        if layer < layers:
            heapq.heappush(heap, (end, sequence, origin, layer + 1, began))
        else:
            latencies.append(end - began)
    law = MeshLaw(Mesh(layers, fanout, devices, load, 0.0))
    assert law.latency_mean == pytest.approx(sum(latencies) / len(latencies), rel=0.03)
    assert law.latency_quantile(0.95) == pytest.approx(sorted(latencies)[int(0.95 * len(latencies))], rel=0.05)
