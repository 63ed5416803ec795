"""Each alert rule, as provisioned: it fires where it should, and is silent where it should be.

The query runs on a real InfluxDB; what Grafana does with the rows (last value, limit, pending time) is done as the rule
declares it.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path

import pytest

from tests.monitoring.conftest import write
from tests.monitoring.files import alert_group
from tests.monitoring.grafana import Labels, RuleState, seconds
from tests.support.databases import DatabaseServer, running

_GROUP = alert_group()
_RULES = {rule["uid"]: rule for rule in _GROUP["rules"]}
_MINUTES = 12  # of points, the last one now
_STEP_S = 5.0  # as devices report by default
_NORMAL = {"stability_margin": 0.3, "requests_waiting_mean": 1.0, "utilisation": 0.7, "offered_load": 0.7}
Figures = Callable[[float], Mapping[str, float | int] | None]
"""What a device says so many minutes before now; `None` is nothing."""


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DatabaseServer]:
    with running(DatabaseServer("influxdb", tmp_path_factory.mktemp("alerts"))) as started:
        yield started


def queue_of(**changed: float) -> Figures:
    return lambda minutes_ago: _NORMAL | {"queue_capacity": 20} | changed


def spool(points: Callable[[float], int], **totals: Callable[[float], int]) -> Figures:
    def figures(minutes_ago: float) -> Mapping[str, int]:
        gone = dict.fromkeys(("points_lost", "points_refused", "points_dropped"), 0)
        return gone | {name: of(minutes_ago) for name, of in totals.items()} | {"spool_points": points(minutes_ago)}

    return figures


def lines(measurement: str, tags: str, figures: Figures, now_s: float) -> Iterable[str]:
    for step in range(int(_MINUTES * 60 / _STEP_S) + 1):
        ago_s = step * _STEP_S
        if (said := figures(ago_s / 60)) is not None:
            fields = ",".join(
                f"{key}={value}i" if isinstance(value, int) else f"{key}={value}" for key, value in said.items()
            )
            yield f"{measurement},{tags} {fields} {int((now_s - ago_s) * 1e9)}"


def firing(server: DatabaseServer, uid: str, figures: Mapping[str, Figures], tmp_path: Path) -> set[str]:
    """The devices for which a rule fires now, when each has said `figures` over the last twelve minutes."""
    # not the exact beginning of a minute: InfluxDB's windows begin there, reports and evaluations do not
    now_s = time.time() // 60 * 60 + 17.0
    name = tmp_path.name
    server.influxql(f'CREATE DATABASE "{name}"')
    telemetry = uid in ("moamesh-spool-growing", "moamesh-points-lost")
    for device, said in figures.items():
        tags = f"mesh=home,device_id={device}" + (",server=db" if telemetry else ",model=m")
        write(server, lines("agent_telemetry" if telemetry else "agent_queue", tags, said, now_s), name)
    state = RuleState(_RULES[uid], _GROUP["interval"])
    found: set[Labels] = state.firing(server, name, now_s - (_MINUTES - 1) * 60, now_s)
    assert all(dict(labels)["mesh"] == "home" for labels in found)
    return {dict(labels)["device_id"] for labels in found}


def test_a_load_above_the_target_fires_after_five_minutes_and_not_before(
    server: DatabaseServer, tmp_path: Path
) -> None:
    assert seconds(_RULES["moamesh-overloaded"]["for"]) == 300

    def since(minutes: float) -> Figures:
        return lambda ago: {"stability_margin": -0.1 if ago <= minutes else 0.2}

    figures = {
        "long": since(8.0),
        "short": since(4.0),
        "fine": since(-1.0),
        "over": lambda ago: {"stability_margin": 0.1},
    }
    assert firing(server, "moamesh-overloaded", figures, tmp_path) == {"long"}


def test_a_load_that_falls_in_between_does_not_fire(server: DatabaseServer, tmp_path: Path) -> None:
    figures = {"dips": lambda ago: {"stability_margin": 0.1 if 2.0 < ago < 5.0 else -0.1}}
    assert firing(server, "moamesh-overloaded", figures, tmp_path) == set()


def test_a_queue_over_four_fifths_of_its_places_fires(server: DatabaseServer, tmp_path: Path) -> None:
    figures = {
        "full": queue_of(requests_waiting_mean=15.5, utilisation=1.0),  # 16.5 of 20
        "nearly": queue_of(requests_waiting_mean=14.5, utilisation=1.0),
        "idle": queue_of(requests_waiting_mean=0.0, utilisation=0.0),
    }
    assert firing(server, "moamesh-queue-full", figures, tmp_path) == {"full"}


def test_a_device_that_stops_talking_fires_and_one_that_talks_does_not(server: DatabaseServer, tmp_path: Path) -> None:
    figures: dict[str, Figures] = {
        "silent": lambda ago: _NORMAL if ago > 6.0 else None,
        "talking": lambda ago: _NORMAL,
        "new": lambda ago: _NORMAL if ago < 3.0 else None,
        "hiccup": lambda ago: None if 3.0 < ago < 4.5 else _NORMAL,
        "slow": lambda ago: _NORMAL if (ago * 60) % 60 == 0 else None,  # told to report once a minute
    }
    assert firing(server, "moamesh-device-silent", figures, tmp_path) == {"silent"}


def test_a_device_taken_away_is_forgotten_after_an_hour(server: DatabaseServer, tmp_path: Path) -> None:
    now_s = time.time() // 60 * 60 + 17.0
    server.influxql(f'CREATE DATABASE "{tmp_path.name}"')
    write(server, [f"agent_queue,mesh=home,device_id=gone offered_load=0.5 {int((now_s - 3700) * 1e9)}"], tmp_path.name)
    state = RuleState(_RULES["moamesh-device-silent"], _GROUP["interval"])
    assert state.values(server, tmp_path.name, now_s) == {}
    assert set(state.values(server, tmp_path.name, now_s - 1800).values()) == {0.0}


def test_a_spool_that_grows_fires_and_one_that_is_large_but_shrinks_does_not(
    server: DatabaseServer, tmp_path: Path
) -> None:
    figures = {
        "growing": spool(lambda ago: int(1200 - 50 * ago)),
        "shrinking": spool(lambda ago: int(5000 + 300 * ago)),
        "steady": spool(lambda ago: 3 + int(ago) % 5),
    }
    assert firing(server, "moamesh-spool-growing", figures, tmp_path) == {"growing"}


@pytest.mark.parametrize("total", ["points_lost", "points_refused", "points_dropped"])
def test_points_that_are_gone_fire_at_once_and_those_of_long_ago_do_not(
    server: DatabaseServer, tmp_path: Path, total: str
) -> None:
    figures = {
        "losing": spool(lambda ago: 3, **{total: lambda ago: 7 if ago < 1.0 else 2}),
        "lost before": spool(lambda ago: 3, **{total: lambda ago: 900}),
    }
    named = {name.replace(" ", "-"): said for name, said in figures.items()}
    assert firing(server, "moamesh-points-lost", named, tmp_path) == {"losing"}


def test_no_rule_fires_on_a_mesh_that_is_well(server: DatabaseServer, tmp_path: Path) -> None:
    for uid in _RULES:
        folder = tmp_path / uid
        well = spool(lambda ago: 2) if "spool" in uid or "lost" in uid else queue_of()
        assert firing(server, uid, {"well": well}, folder) == set(), uid
