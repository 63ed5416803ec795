"""What is sent to set an InfluxDB 2 up. A recorder answers as its interface is documented: no InfluxDB 2 can run here,
so this shows the requests, not that InfluxDB 2 does with them what it says."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest

from edge_agent.adapters.telemetry.downsampling import DOWNSAMPLED, flux_backfill, flux_task
from edge_agent.adapters.telemetry.server import TelemetryServer, TelemetryServerError
from edge_agent.adapters.telemetry.setup import set_up
from edge_agent.adapters.telemetry.setup_plan import SetupPlan, StepResult
from edge_agent.core.errors import SettingsError
from tests.monitoring.recorder import TOKEN, Recorder, recording
from tests.support.databases import DatabaseServer

_RAW_S, _MEANS_S = 14 * 86_400, 730 * 86_400


@pytest.fixture
def recorder() -> Iterator[Recorder]:
    with recording() as started:
        yield started


def server_of(recorder: Recorder, *, token: str | None = TOKEN, org: str = "") -> TelemetryServer:
    return TelemetryServer(recorder.url, token=token, org=org)


def test_an_empty_server_gets_buckets_mappings_and_the_task(recorder: Recorder) -> None:
    identity, steps = set_up(server_of(recorder), SetupPlan())
    assert identity.version == "2.7.12"
    assert {step.result for step in steps} == {StepResult.CREATED}
    mapping = {"orgID": "org1", "database": "moamesh"}
    assert recorder.changes() == [
        ("POST", "buckets", {"orgID": "org1", "name": "moamesh", "retentionRules": [kept(_RAW_S)]}),
        ("POST", "buckets", {"orgID": "org1", "name": "moamesh/means_5m", "retentionRules": [kept(_MEANS_S)]}),
        ("POST", "dbrps", {**mapping, "bucketID": "buckets1", "retention_policy": "autogen", "default": True}),
        ("POST", "dbrps", {**mapping, "bucketID": "buckets2", "retention_policy": "means_5m", "default": False}),
        ("POST", "tasks", {"orgID": "org1", "flux": flux_task("moamesh"), "status": "active"}),
    ]


def kept(seconds: int) -> dict[str, object]:
    return {"type": "expire", "everySeconds": seconds}


def test_a_second_time_changes_nothing(recorder: Recorder) -> None:
    set_up(server_of(recorder), SetupPlan())
    before = len(recorder.changes())
    _, steps = set_up(server_of(recorder), SetupPlan())
    assert {step.result for step in steps} == {StepResult.UNCHANGED}
    assert len(recorder.changes()) == before


def test_what_differs_is_changed_in_its_place(recorder: Recorder) -> None:
    set_up(server_of(recorder), SetupPlan())
    recorder.kept["tasks"][0]["status"] = "inactive"
    before = len(recorder.changes())
    _, steps = set_up(server_of(recorder), SetupPlan(raw_days=30))
    assert [step.result for step in steps] == [
        *(StepResult.CHANGED, StepResult.UNCHANGED, StepResult.UNCHANGED, StepResult.UNCHANGED, StepResult.CHANGED)
    ]
    changed = [one for one in recorder.changes()[before:] if one[1] != "query"]
    assert [(method, path) for method, path, _ in changed] == [("PATCH", "buckets/buckets1"), ("PATCH", "tasks/tasks1")]
    assert changed[0][2] == {"retentionRules": [kept(30 * 86_400)]}


def test_points_older_than_the_bound_are_deleted_only_by_agreement(recorder: Recorder) -> None:
    set_up(server_of(recorder), SetupPlan(raw_days=0, means_days=0))
    recorder.query_answer = ",result,table,_time\r\n,_result,0,2020-01-01T00:00:00Z\r\n"
    with pytest.raises(SettingsError, match=r"older than 14 days.*--delete-older"):
        set_up(server_of(recorder), SetupPlan())
    asked = [body["query"] for method, path, body in recorder.asked if path == "query"]
    assert asked == ['from(bucket: "moamesh") |> range(start: 0, stop: -14d) |> limit(n: 1)']
    _, steps = set_up(server_of(recorder), SetupPlan(delete_older=True))
    assert [step.result for step in steps[:2]] == [StepResult.CHANGED, StepResult.CHANGED]


def test_a_mapping_that_influxdb_made_up_itself_will_do(recorder: Recorder) -> None:
    set_up(server_of(recorder), SetupPlan())
    for mapping in recorder.kept["dbrps"]:
        mapping["virtual"] = True
    assert {step.result for step in set_up(server_of(recorder), SetupPlan())[1]} == {StepResult.UNCHANGED}
    recorder.kept["dbrps"][0]["bucketID"] = "another"
    assert [step.result for step in set_up(server_of(recorder), SetupPlan())[1]].count(StepResult.CREATED) == 1


def test_the_backfill_runs_the_figures_flux_over_whole_windows_that_are_kept(recorder: Recorder) -> None:
    set_up(server_of(recorder), SetupPlan(backfill=True))
    [flux] = [body["query"] for _, path, body in recorder.asked if path == "query"]
    times = re.findall(r"(?:start|stop): \d{4}-\d\d-\d\dT\d\d:(\d\d):(\d\d)Z", flux)
    assert len(times) == 2
    assert all(int(minute) % 5 == 0 and second == "00" for minute, second in times)


def test_the_flux_makes_every_figure_that_the_influxql_makes() -> None:
    flux = flux_task("moamesh")
    assert flux.startswith("option task = {name: ")  # imports would have to stand before it
    assert "import" not in flux
    streams = re.findall(
        r'points\(measurement: "(\w+)"\)\n    \|> filter\(fn: \(r\) => (.*)\)\n.*suffix: "(\w*)"\)', flux
    )
    made = {
        (measurement, field + suffix)
        for measurement, wanted, suffix in streams
        for field in re.findall(r'r._field == "(\w+)"', wanted)
    }
    assert made == {(kept.measurement, name) for kept in DOWNSAMPLED for _, _, name in kept.columns()}
    names = re.findall(r'yield\(name: "(\w+)"\)', flux)
    assert len(set(names)) == len(names) == len(streams)
    for opening, closing in ("()", "{}", "[]"):
        assert flux.count(opening) == flux.count(closing)


def test_names_cannot_break_out_of_the_flux() -> None:
    name = 'a") |> drop() // ${x} \\'
    for flux in (flux_task(name), flux_backfill(name, 1.8e9, 14)):
        assert 'from(bucket: "a\\") |> drop() // \\${x} \\\\")' in flux


def test_without_a_token_or_with_a_wrong_one_it_says_so_and_shows_none(recorder: Recorder) -> None:
    with pytest.raises(SettingsError, match="--token-file"):
        set_up(server_of(recorder, token=None), SetupPlan())
    with pytest.raises(TelemetryServerError, match=r"\(401\): unauthorized access") as refusal:
        set_up(server_of(recorder, token="wrong-token"), SetupPlan())
    assert "wrong-token" not in str(refusal.value)
    assert not refusal.value.retryable
    assert recorder.changes() == []


def test_of_several_organisations_one_must_be_named(recorder: Recorder) -> None:
    recorder.kept["orgs"].append({"id": "org2", "name": "other"})
    with pytest.raises(SettingsError, match="--org is one of: moamesh, other"):
        set_up(server_of(recorder), SetupPlan())
    set_up(server_of(recorder, org="other"), SetupPlan())
    assert {bucket["orgID"] for bucket in recorder.kept["buckets"]} == {"org2"}


def test_a_step_that_fails_is_named_with_the_servers_words(recorder: Recorder) -> None:
    recorder.fail = ("tasks", 500, "flux is broken")
    with pytest.raises(TelemetryServerError, match=r"POST /api/v2/tasks \(500\): flux is broken") as refusal:
        set_up(server_of(recorder), SetupPlan())
    assert refusal.value.retryable


def test_influxdb_3_and_victoria_metrics_are_told_what_to_do_instead(
    recorder: Recorder, victoria_metrics: DatabaseServer
) -> None:
    recorder.version = "3.4.0"
    with pytest.raises(SettingsError, match="retention-period"):
        set_up(server_of(recorder), SetupPlan())
    with pytest.raises(SettingsError, match="-retentionPeriod"):
        set_up(TelemetryServer(victoria_metrics.url), SetupPlan())
