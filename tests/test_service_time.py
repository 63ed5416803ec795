import random
import statistics

import pytest

from edge_agent.core.errors import SettingsError
from edge_agent.service_time import Distribution, ServiceTime, parse_service


@pytest.mark.parametrize(
    ("spec", "expected"),
    [
        ("exponential:1.5", ServiceTime(Distribution.EXPONENTIAL, 1.5)),
        ("deterministic:0.25", ServiceTime(Distribution.DETERMINISTIC, 0.25)),
        (" Gamma:4, 0.5 ", ServiceTime(Distribution.GAMMA, 0.5, shape=4.0)),
    ],
)
def test_a_spec_is_read_and_written_back(spec: str, expected: ServiceTime) -> None:
    assert parse_service(spec) == expected
    assert parse_service(str(expected)) == expected


@pytest.mark.parametrize(
    "spec",
    [
        "",
        "exponential",
        "exponential:",
        "exponential:x",
        "exponential:0",
        "exponential:-1",
        "exponential:nan",
        "deterministic:inf",
        "deterministic:1,2",
        "gamma:1",
        "gamma:0,1",
        "gamma:1,2,3",
        "uniform:1",
    ],
)
def test_a_wrong_spec_is_refused_in_one_line(spec: str) -> None:
    with pytest.raises(SettingsError) as caught:
        parse_service(spec)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("spec", ["exponential:2", "deterministic:2", "gamma:4,2", "gamma:0.5,2"])
def test_draws_have_the_declared_mean_and_variation(spec: str) -> None:
    service, rng = parse_service(spec), random.Random(7)
    draws = [service.draw(rng) for _ in range(40_000)]
    mean = statistics.fmean(draws)
    # Five standard errors of the mean, and a tenth for the variation.
    assert abs(mean - 2.0) <= 5 * 2.0 * (service.scv / len(draws)) ** 0.5 + 1e-12
    assert statistics.pvariance(draws) / mean**2 == pytest.approx(service.scv, rel=0.1, abs=1e-12)


def test_the_same_stream_draws_the_same_times() -> None:
    service = parse_service("gamma:2,1")
    assert service.draw(random.Random(3)) == service.draw(random.Random(3))
