"""Every expected figure here was worked out by hand from `points.two_devices`."""

from __future__ import annotations

import json
import math
from dataclasses import replace

import pytest

from edge_agent.core.errors import SettingsError
from edge_agent.core.stability import Mesh, MeshLaw
from edge_agent.lab.analysis import collect, report
from edge_agent.wire.line_protocol import Point
from tests.lab.analysis.points import queue, request, session, two_devices


def test_time_averages_weigh_intervals_by_their_length():
    made = report(collect(two_devices()))
    d1, d2 = made.devices
    assert d1.requests_waiting_mean == pytest.approx((2.0 * 10 + 1.0 * 30) / 40)
    assert d1.utilisation == pytest.approx((0.5 * 10 + 0.9 * 30) / 40)
    assert (d2.requests_waiting_mean, d2.utilisation) == (0.5, 0.25)
    assert made.requests_waiting.value == pytest.approx((1.25 + 0.5) / 2)
    assert made.utilisation == pytest.approx((0.8 + 0.25) / 2)
    assert made.duration_s == 40.0


def test_rates_and_service_times_are_what_counting_gives():
    made = report(collect(two_devices()))
    d1, d2 = made.devices
    assert (d1.arrival_rate_hz, d2.arrival_rate_hz) == (4 / 40, 2 / 40)
    assert (d1.service_time_s, d1.proposal_service_time_s, d1.aggregation_service_time_s) == (2.0, 2.0, 2.0)
    assert d1.service_time_scv == pytest.approx(1.0 / 4.0)  # of 1, 3, 2: variance 1, mean 2
    assert (d2.service_time_s, d2.aggregation_service_time_s, d2.service_time_scv) == (4.0, None, None)
    assert made.service_time_s == pytest.approx((1 + 3 + 2 + 4) / 4)


def test_offered_load_counts_items_that_were_refused_a_place():
    d1, d2 = report(collect(two_devices())).devices
    # from the first point on: 15 accepted and 3 rejected in 30 s, 2 s each
    assert d1.offered_load == pytest.approx(18 / 30 * 2.0)
    assert d1.totals["rejected"] == 3
    assert d2.offered_load is None  # one point says nothing about growth


def test_a_counter_that_fell_began_anew_with_a_restart():
    points = [queue("d1", at, 10, 0, 0.1, accepted=n) for at, n in ((10, 100), (20, 130), (30, 4), (40, 9))]
    d1 = report(collect([*points, request("d1", 40, 0, 1.0)])).devices[0]
    assert d1.totals["accepted"] == 30 + 4 + 5


def test_latencies_are_of_answered_prompts_and_outcomes_of_all():
    made = report(collect(two_devices()))
    assert (made.latency_s.count, made.latency_s.mean.value) == (2, 10.0)
    assert (made.latency_s.p50.value, made.latency_s.p99.value) == (8.0, 12.0)
    assert made.outcomes == {"answered": 2, "expired": 1}
    assert (made.responses_missing, made.substitutes) == (0 + 1 + 2, 3)
    assert made.plans == {(1, 1): 3}


def test_waiting_and_sojourn_times_are_of_completed_items():
    made = report(collect(two_devices()))
    assert made.waiting_time_s.count == 4
    assert made.waiting_time_s.mean.value == pytest.approx((0 + 1 + 4 + 2) / 4)
    assert made.sojourn_time_s.mean.value == pytest.approx((1 + 4 + 6 + 6) / 4)


def test_predictions_follow_the_general_condition():
    made = report(collect(two_devices()))
    predicted = made.predicted
    assert predicted is not None
    # M = k = 1, n = 2: alpha_i [2 lambda_i + lambda_j]
    loads = (2.0 * (2 * 0.1 + 0.05), 4.0 * (2 * 0.05 + 0.1))
    assert predicted.utilisations == pytest.approx(loads)
    assert predicted.load_max == pytest.approx(0.8)
    assert predicted.stability_margin == pytest.approx(0.2)
    assert predicted.load_paper == pytest.approx(3.0 * 3 * 0.075)
    assert predicted.load_slowest == pytest.approx(4.0 * 3 * 0.075)
    # C^2 is 1/4, and 0 of a single value; not below Pollaczek-Khinchine, rho^2 (1 + C^2) / (2 (1 - rho))
    laws = [MeshLaw(Mesh(1, 1, 2, load).measured(scv)) for load, scv in zip(loads, (0.25, 0.0), strict=True)]
    assert predicted.requests_waiting == pytest.approx([law.requests_waiting for law in laws])
    assert predicted.requests_waiting > (0.25 * 1.25 / 1.0, 0.64 / (2 * 0.2))
    # slowest of own and other sojourn, then the own again; two exponentials of means a, b: a + b - ab/(a+b)
    a, b = 2.0 * laws[0].sojourn_time, 4.0 * laws[1].sojourn_time
    both = a + b - a * b / (a + b)
    # constant service varies less, and two devices that get the same items differ less, than that
    assert 0.7 * (both + (a + b) / 2) < predicted.latency_s.mean < both + (a + b) / 2
    assert "rough" in predicted.kind
    assert predicted.complete


def test_several_plans_load_devices_each_with_its_own_prompts():
    points = [queue("d1", 10, 10, 0, 0.5, prompts=5), queue("d2", 10, 10, 0, 0.5, prompts=0)]
    points += [request("d1", 5, 0, 0.4), request("d2", 5, 0, 0.4)]
    points += [session("d1", 6, 1.0, plan=(0, 0)), session("d1", 7, 1.0, plan=(1, 1))]
    predicted = report(collect(points)).predicted
    assert predicted is not None
    # half of 0.5 prompts a second are plain (1 item), half cost d1 2 items and d2 1
    assert predicted.utilisations == pytest.approx((0.4 * 0.25 * (1 + 2), 0.4 * 0.25 * 1))


def test_telemetry_of_one_device_of_a_mesh_takes_the_others_as_alike():
    points = [queue("d1", 10, 10, 0, 0.5, prompts=1), request("d1", 5, 0, 1.0), session("d1", 6, 9.0, plan=(2, 2))]
    predicted = report(collect(points)).predicted
    assert predicted is not None
    assert not predicted.complete
    assert predicted.utilisations == pytest.approx((0.1 * 7,))
    assert math.isfinite(predicted.latency_s.mean)


def test_overload_is_predicted_as_infinity_and_null_in_json():
    points = [queue("d1", 10, 10, 0, 1.0, prompts=20), request("d1", 5, 0, 1.0), session("d1", 6, 9.0, plan=(0, 0))]
    made = report(collect(points))
    assert made.predicted is not None
    assert made.predicted.latency_s.mean == math.inf
    text = json.dumps(made.as_object(), allow_nan=False)
    assert json.loads(text)["predicted"]["latency_s"]["mean"] is None


def test_a_mesh_that_has_answered_nothing_yet_has_no_prediction():
    made = report(collect([queue("d1", 10, 10, 0, 0.0)]))
    assert made.predicted is None
    assert made.latency_s.count == 0


def test_only_the_last_seconds_are_reported_when_asked():
    made = report(collect(two_devices(), since_s=30.0))
    assert made.devices[0].requests_waiting_mean == 1.0
    assert [device.device_id for device in made.devices] == ["d1"]  # the interval of d2 began before
    assert made.latency_s.count == 2


def test_what_telemetry_says_of_itself_changes_no_report_and_moves_no_since():
    own = {"points_written": 3, "points_sent": 3}
    later = Point("agent_telemetry", {"mesh": "another", "device_id": "d9", "server": "influx"}, own, 10**18)
    assert report(collect([*two_devices(), later], since_s=30.0)) == report(collect(two_devices(), since_s=30.0))


def test_declared_service_times_are_called_synthetic():
    first = queue("d1", 10, 10, 0, 0.0)
    declared = replace(first, fields={**first.fields, "synthetic": 1})
    assert not report(collect([first])).synthetic
    assert report(collect([declared])).synthetic
    assert report(collect([declared])).as_object()["synthetic"] is True


def test_an_interval_longer_than_the_record_still_counts():
    # a clock set back by hours: the first interval seems to begin after the second
    made = report(collect([queue("d1", 10, 1, 0.0, 0.5), queue("d1", 20, 3600, 2.0, 0.5)]))
    assert made.devices[0].requests_waiting_mean == pytest.approx(2.0 * 3600 / 3601)


@pytest.mark.parametrize(
    ("points", "says"),
    [
        ([], "no agent_queue"),
        ([request("d1", 1, 0, 1)], "no agent_queue"),
        ([queue("d1", 1, 1, 0, 0), queue("d2", 1, 1, 0, 0, mesh="other")], "several meshes"),
    ],
)
def test_what_cannot_be_reported_is_said_in_one_line(points, says):
    with pytest.raises(SettingsError, match=says) as caught:
        report(collect(points))
    assert "\n" not in str(caught.value)
