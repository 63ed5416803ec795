"""The parts of the simulator by themselves."""

from __future__ import annotations

import math
import random
from collections import Counter
from itertools import islice, pairwise

import pytest

from edge_agent.core.effects import StartInference
from edge_agent.core.errors import SettingsError
from edge_agent.core.events import Event, StopRequested
from edge_agent.core.messages import Sampling
from edge_agent.core.stability import Mesh, MeshLaw, end_to_end_latency_s
from edge_agent.lab.simulator.faults.journal import DeviceClock
from edge_agent.lab.simulator.load.latency import ForkJoin
from edge_agent.lab.simulator.load.prediction import predict
from edge_agent.lab.simulator.load.run import LoadRun
from edge_agent.lab.simulator.load.scenario import Scenario
from edge_agent.lab.simulator.load.statistics import BATCHES, estimate, mean, quantile
from edge_agent.lab.simulator.network import Network, NetworkSettings
from edge_agent.lab.simulator.randomness import stream
from edge_agent.lab.simulator.service import DeclaredService, TokenService
from edge_agent.lab.simulator.workload import Burst, Poisson
from edge_agent.service_time import parse_service

PLAIN = StartInference("i", (), (), Sampling(), stream=False)
WITH_TWO = StartInference("i", (), ("a", "b"), Sampling(), stream=False)


class Posted:
    """A network whose deliveries are kept."""

    def __init__(self, devices: int = 3, **settings: float | bool) -> None:
        self.events: list[tuple[float, int, Event]] = []
        self.network = Network(
            NetworkSettings(**settings),  # type: ignore[arg-type]  # a test's own keywords
            devices,
            random.Random(1),
            lambda at, receiver, event: self.events.append((at, receiver, event)),
        )

    def send(self, count: int = 1, sender: int = 0, receiver: int = 1, now: float = 10.0) -> None:
        for _ in range(count):
            self.network.send(now, sender, receiver, StopRequested())


def test_a_stream_depends_on_seed_and_name_only() -> None:
    assert stream(1, "a").random() == stream(1, "a").random()
    assert len({stream(seed, name).random() for seed in (1, 2) for name in ("a", "b")}) == 4
    assert stream(1, "arrivals").getrandbits(32) == 3064177563, "the streams of every recorded seed have changed"


def test_messages_take_the_delay_and_their_shares_are_lost_doubled_and_late() -> None:
    posted = Posted(delay_s=0.5)
    posted.send()
    assert posted.events == [(10.5, 1, StopRequested())]
    lossy = Posted(lost=0.3)
    lossy.send(2_000)
    assert len(lossy.events) == pytest.approx(1_400, rel=0.05)
    assert lossy.network.lost == 2_000 - len(lossy.events)
    doubling = Posted(doubled=0.5)
    doubling.send(2_000)
    assert len(doubling.events) == pytest.approx(3_000, rel=0.05)
    late = Posted(reordered=0.5, reorder_s=2.0)
    late.send(2_000)
    assert sum(at > 10.0 for at, _, _ in late.events) == pytest.approx(1_000, rel=0.1)


def test_with_jitter_a_connection_keeps_its_order() -> None:
    posted = Posted()
    posted.network.settings = NetworkSettings(jitter=parse_service("exponential:1"))
    for number in range(100):
        posted.send(now=number / 100)
    times = [at for at, _, _ in posted.events]
    assert times == sorted(times)


def test_parted_sides_hear_nothing_of_each_other_until_they_are_healed() -> None:
    posted = Posted()
    posted.network.split([0, 1, 0])
    posted.send(receiver=1)
    posted.send(receiver=2)
    assert [receiver for _, receiver, _ in posted.events] == [2]
    posted.network.heal(NetworkSettings())
    posted.send(receiver=1)
    assert [receiver for _, receiver, _ in posted.events] == [2, 1]


@pytest.mark.parametrize(("keeps", "arriving"), [(True, 1), (False, 0)])
def test_a_broker_keeps_messages_for_who_is_away_or_does_not(keeps: bool, arriving: int) -> None:
    posted = Posted(broker_keeps=keeps)
    posted.network.disconnect(1)
    assert not posted.network.arrives(1, StopRequested())
    posted.network.connect(20.0, 1)
    assert len(posted.events) == arriving


def test_poisson_arrivals_have_the_rates_asked_for() -> None:
    times = list(islice(Poisson([1.0, 3.0]).arrivals(random.Random(1)), 20_000))
    assert times[-1][0] == pytest.approx(5_000, rel=0.03)
    counts = Counter(device for _, device in times)
    assert counts[1] / counts[0] == pytest.approx(3.0, rel=0.05)
    gaps = [after[0] - before[0] for before, after in pairwise(times)]
    assert mean([gap**2 for gap in gaps]) / mean(gaps) ** 2 == pytest.approx(2.0, rel=0.05), "not exponential"


def test_a_burst_multiplies_arrivals_while_it_lasts() -> None:
    workload = Poisson([10.0], (Burst(100.0, 50.0, 10.0),))
    times = [at for at, _ in islice(workload.arrivals(random.Random(1)), 8_000)]
    inside = sum(100.0 <= at < 150.0 for at in times)
    before = sum(at < 100.0 for at in times)
    assert before == pytest.approx(1_000, rel=0.1)
    assert inside == pytest.approx(5_000, rel=0.05)


def test_a_device_is_as_slow_as_said_and_references_cost_their_factor() -> None:
    service = DeclaredService(parse_service("deterministic:2"), 1.5, (3.0, 1.0))
    rng = random.Random(1)
    assert [service.draw(device, PLAIN, rng) for device in (0, 1)] == [6.0, 2.0]
    assert service.draw(1, WITH_TWO, rng) == 3.0


def test_measured_tokens_and_rates_give_service_times() -> None:
    service = TokenService((100,), (50,), (200.0,), (10.0, 5.0))
    rng = random.Random(1)
    assert service.draw(0, PLAIN, rng) == 100 / 200 + 50 / 10
    assert service.draw(1, WITH_TWO, rng) == (100 + 2 * 50) / 200 + 50 / 5
    with pytest.raises(SettingsError):
        TokenService((), (1,), (1.0,), (1.0,))


def test_quantiles_are_values_that_occurred() -> None:
    values = [5.0, 1.0, 4.0, 2.0, 3.0]
    assert [quantile(values, share) for share in (0.2, 0.5, 0.99)] == [1.0, 3.0, 5.0]
    assert math.isnan(mean([]))


def test_a_95_percent_interval_covers_the_truth_about_as_often_as_it_says() -> None:
    rng = random.Random(1)
    covered = 0
    for _ in range(300):
        figure = estimate([rng.expovariate(1.0) for _ in range(40 * BATCHES)], mean)
        covered += abs(figure.value - 1.0) <= figure.half_width
    assert 0.91 <= covered / 300 <= 0.985


def test_the_fork_join_of_equal_devices_has_the_closed_form_as_its_mean() -> None:
    for layers, fanout in ((0, 0), (1, 3), (2, 2), (3, 1)):
        law = ForkJoin(Counter({5.0: 20}), layers, fanout)
        assert law.mean() == pytest.approx(end_to_end_latency_s(1.0, 0.8, layers, fanout), rel=0.002)


def test_the_fork_joins_quantiles_are_those_of_a_drawn_sample() -> None:
    rng, peers = random.Random(1), [3.0] * 5 + [1.0] * 15

    def draw() -> float:
        origin = rng.randrange(20)
        total = rng.expovariate(1 / peers[origin])
        for _ in range(2):
            others = rng.sample([one for one in range(20) if one != origin], 2)
            total += max(rng.expovariate(1 / peers[device]) for device in (origin, *others))
        return total

    sample = [draw() for _ in range(40_000)]
    law = ForkJoin(Counter(peers), 2, 2)
    assert law.mean() == pytest.approx(mean(sample), rel=0.02)
    for share in (0.5, 0.95, 0.99):
        assert law.quantile(share) == pytest.approx(quantile(sample, share), rel=0.04)


def test_the_prediction_of_an_unbounded_mesh_is_that_of_the_theory() -> None:
    prediction, law = predict(Scenario(utilisation=0.8)), MeshLaw(Mesh(2, 2, 20, 0.8))
    assert prediction.utilisation_mean == pytest.approx(0.8)
    assert prediction.requests_waiting_mean == pytest.approx(law.requests_waiting)
    assert prediction.latency_mean_s == pytest.approx(law.latency_mean)
    assert prediction.latency_quantiles_s[0.99] == pytest.approx(law.latency_quantile(0.99))
    assert predict(Scenario(utilisation=1.0)).latency_mean_s == math.inf


def test_devices_that_differ_little_are_predicted_as_equal_ones_nearly_are() -> None:
    equal, unequal = (predict(Scenario(utilisation=0.7, slow_devices=10, slow_factor=by)) for by in (1.0, 1.001))
    assert unequal.requests_waiting_mean == pytest.approx(equal.requests_waiting_mean, rel=0.01)
    assert unequal.latency_mean_s == pytest.approx(equal.latency_mean_s, rel=0.01)
    assert unequal.latency_quantiles_s == pytest.approx(equal.latency_quantiles_s, rel=0.01)


def test_a_large_bound_is_predicted_like_none() -> None:
    bounded, unbounded = (predict(Scenario(utilisation=0.5, queue_capacity=places)) for places in (60, 2**31 - 1))
    assert bounded.requests_waiting_mean == pytest.approx(unbounded.requests_waiting_mean, rel=1e-6)
    assert bounded.latency_mean_s == pytest.approx(unbounded.latency_mean_s, rel=1e-6)


def test_a_burst_does_not_lose_a_prompt_and_all_is_measured_to_its_end() -> None:
    scenario = Scenario(devices=6, utilisation=0.5, prompts=400, bursts=(Burst(20.0, 20.0, 10.0),), warm_up_s=0.0)
    result = LoadRun(scenario).run()
    assert result.unfinished == 0
    assert len(result.measurement.latencies) == 400


def test_gossiping_devices_find_each_other_and_answer() -> None:
    result = LoadRun(Scenario(devices=12, utilisation=0.5, prompts=100, gossip=True)).run()
    assert result.measurement.outcomes == {"answered": 100}
    assert result.messages > 12 * 100, "no gossip was sent"


def test_a_clock_counts_time_within_a_boot_whatever_its_wall_clock_says() -> None:
    clock = DeviceClock()
    before = clock.moment(5.0)
    clock.offset_s = 1e6
    after = clock.moment(7.0)
    assert after[2] - before[2] == 2.0
    assert after[0] - before[0] > 1e5
