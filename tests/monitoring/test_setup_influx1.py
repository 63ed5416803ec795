"""Setting a real InfluxDB 1.6 up: twice, changed, over older points; and the five-minute figures it then makes."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from edge_agent.adapters.telemetry.downsampling import (
    DOWNSAMPLED,
    MEANS_POLICY,
    WINDOW_S,
    continuous_query,
    first_window_s,
    select_into,
)
from edge_agent.adapters.telemetry.server import ServerKind, TelemetryServer, TelemetryServerError
from edge_agent.adapters.telemetry.setup import set_up
from edge_agent.adapters.telemetry.setup_plan import SetupPlan, StepResult
from edge_agent.core.errors import SettingsError
from tests.monitoring.conftest import write
from tests.support.databases import DATABASE, DatabaseServer, running
from tests.support.patience import PATIENCE_S

_DAY_S = 86_400
_NEW = "fresh"


def results(server: TelemetryServer, plan: SetupPlan) -> list[StepResult]:
    return [step.result for step in set_up(server, plan)[1]]


def policies(influxdb: DatabaseServer, name: str) -> dict[str, tuple[str, str, bool]]:
    [series] = influxdb.influxql(f'SHOW RETENTION POLICIES ON "{name}"')
    return {row[0]: (row[1], row[2], row[4]) for row in series["values"]}


def queries(influxdb: DatabaseServer, name: str) -> dict[str, str]:
    every = {one["name"]: one.get("values", []) for one in influxdb.influxql("SHOW CONTINUOUS QUERIES")}
    return {row[0]: row[1] for row in every[name]}


def session_line(at_s: float, latency_s: float) -> str:
    fields = f"end_to_end_latency_s={latency_s},responses_expected=2i,responses_joined=1i"
    return f"agent_session,mesh=home,device_id=d1,outcome=answered {fields} {int(at_s * 1e9)}"


def test_an_empty_server_is_set_up_and_a_second_time_changes_nothing(influxdb: DatabaseServer) -> None:
    server = TelemetryServer(influxdb.url, _NEW)
    first = results(server, SetupPlan())
    assert first[:3] == [StepResult.CREATED, StepResult.CHANGED, StepResult.CREATED]  # the policy comes with a database
    assert set(first[3:]) == {StepResult.CREATED}
    before = policies(influxdb, _NEW), queries(influxdb, _NEW)
    assert before[0] == {"autogen": ("336h0m0s", "24h0m0s", True), MEANS_POLICY: ("17520h0m0s", "720h0m0s", False)}
    assert len(before[1]) == len(DOWNSAMPLED)
    assert set(results(server, SetupPlan())) == {StepResult.UNCHANGED}
    assert (policies(influxdb, _NEW), queries(influxdb, _NEW)) == before


def test_other_bounds_change_what_is_there(influxdb: DatabaseServer) -> None:
    server = TelemetryServer(influxdb.url)
    set_up(server, SetupPlan())
    assert results(server, SetupPlan(raw_days=30, means_days=0))[1:3] == [StepResult.CHANGED, StepResult.CHANGED]
    kept = policies(influxdb, DATABASE)
    assert (kept["autogen"][0], kept[MEANS_POLICY][0]) == ("720h0m0s", "0s")


def test_a_continuous_query_of_an_older_version_is_replaced(influxdb: DatabaseServer) -> None:
    server = TelemetryServer(influxdb.url)
    set_up(server, SetupPlan())
    name = f"{MEANS_POLICY}_agent_queue"
    wanted = queries(influxdb, DATABASE)[name]
    influxdb.influxql(f'DROP CONTINUOUS QUERY "{name}" ON "{DATABASE}"')
    older = continuous_query(DOWNSAMPLED[0], DATABASE, "autogen").replace("mean(", "median(")
    influxdb.influxql(older)
    assert queries(influxdb, DATABASE)[name] != wanted
    assert results(server, SetupPlan()).count(StepResult.CHANGED) == 1
    assert queries(influxdb, DATABASE)[name] == wanted


def test_points_older_than_the_bound_are_deleted_only_by_agreement(influxdb: DatabaseServer) -> None:
    server = TelemetryServer(influxdb.url)
    influxdb.write([session_line(time.time() - 40 * _DAY_S, 1.0)])
    with pytest.raises(SettingsError, match=r"older than 14 days.*--delete-older"):
        set_up(server, SetupPlan())
    assert policies(influxdb, DATABASE)["autogen"][0] == "0s"
    set_up(server, SetupPlan(raw_days=60))
    set_up(server, SetupPlan(delete_older=True))
    assert policies(influxdb, DATABASE)["autogen"][0] == "336h0m0s"


def test_figures_are_made_of_whole_windows_and_keep_their_tags(influxdb: DatabaseServer) -> None:
    server = TelemetryServer(influxdb.url)
    set_up(server, SetupPlan())
    begin_s = time.time() // WINDOW_S * WINDOW_S - 2 * WINDOW_S
    influxdb.write([session_line(begin_s + at, float(at)) for at in range(1, 101)])
    for kept in DOWNSAMPLED:
        influxdb.influxql(select_into(kept, DATABASE, "autogen", from_s=0))
    [series] = influxdb.influxql(f'SELECT * FROM "{MEANS_POLICY}"."agent_session"')
    [row] = [dict(zip(series["columns"], values, strict=True)) for values in series["values"]]
    assert row["time"] == int(begin_s) * 1_000_000_000
    assert (row["mesh"], row["device_id"], row["outcome"]) == ("home", "d1", "answered")
    assert row["end_to_end_latency_s"] == pytest.approx(50.5)
    assert [row[f"end_to_end_latency_s_p{of}"] for of in (50, 95, 99)] == [50.0, 95.0, 99.0]
    assert (row["responses_expected_sum"], row["responses_joined_sum"], row["end_to_end_latency_s_count"]) == (
        200,
        100,
        100,
    )


def test_the_backfill_makes_figures_of_points_that_were_there_before(influxdb: DatabaseServer) -> None:
    influxdb.write([session_line(time.time() - 3 * _DAY_S, 2.0)])
    identity, steps = set_up(TelemetryServer(influxdb.url), SetupPlan(backfill=True))
    assert identity.version.startswith("1.6")
    assert [step.what for step in steps if step.result is StepResult.DONE][2] == (
        "five-minute figures of agent_session so far: 1 written"
    )
    [series] = influxdb.influxql(f'SELECT end_to_end_latency_s FROM "{MEANS_POLICY}"."agent_session"')
    assert [row[1] for row in series["values"]] == [2.0]


def test_the_first_window_of_a_backfill_is_whole() -> None:
    now_s = 1_800_000_123.0
    first_s = first_window_s(now_s, 14)
    assert first_s % WINDOW_S == 0
    assert 0 <= first_s - (now_s - 14 * _DAY_S) < WINDOW_S
    assert first_window_s(now_s, 0) == 0


def test_the_server_itself_makes_the_figures_when_they_are_due(influxdb: DatabaseServer) -> None:
    """The very continuous query, with windows of seconds: nobody waits five minutes in a test."""
    set_up(TelemetryServer(influxdb.url), SetupPlan())
    kept = next(one for one in DOWNSAMPLED if one.measurement == "agent_session")
    statement = continuous_query(kept, DATABASE, "autogen")
    assert statement.count("5m ") + statement.count("(5m)") == 2
    influxdb.influxql(f'DROP CONTINUOUS QUERY "{MEANS_POLICY}_agent_session" ON "{DATABASE}"')
    influxdb.influxql(statement.replace("EVERY 5m FOR 1h", "EVERY 1s FOR 30s").replace("time(5m)", "time(1s)"))
    at_s = int(time.time()) - 5
    influxdb.write([session_line(at_s, 1.0), session_line(at_s + 0.5, 3.0)])
    ends_at = time.monotonic() + PATIENCE_S
    found: list[float] = []
    while not found and time.monotonic() < ends_at:
        for series in influxdb.influxql(f'SELECT end_to_end_latency_s FROM "{MEANS_POLICY}"."agent_session"'):
            found = [row[1] for row in series["values"]]
        time.sleep(0.1)
    assert found == [2.0]


def test_a_server_that_wants_a_user_names_what_it_refuses(tmp_path: Path) -> None:
    with running(DatabaseServer("influxdb", tmp_path, auth=True)) as guarded:
        user, password = guarded.ADMIN
        with pytest.raises(TelemetryServerError, match=r"refuses .*authorization failed") as refusal:
            set_up(TelemetryServer(guarded.url, username=user, password="wrong"), SetupPlan())
        assert "wrong" not in str(refusal.value)
        assert not refusal.value.retryable
        results_now = results(TelemetryServer(guarded.url, username=user, password=password), SetupPlan())
        assert StepResult.CREATED in results_now


def test_a_server_that_is_away_is_one_line() -> None:
    with pytest.raises(TelemetryServerError, match="cannot be reached") as refusal:
        set_up(TelemetryServer("http://127.0.0.1:9"), SetupPlan())
    assert refusal.value.retryable


def test_a_dry_run_with_the_kind_given_needs_no_server() -> None:
    for kind in (ServerKind.INFLUX_1, ServerKind.INFLUX_2):
        _, steps = set_up(TelemetryServer("http://127.0.0.1:9", kind=kind), SetupPlan(backfill=True), dry_run=True)
        assert {step.result for step in steps} == {StepResult.PLANNED}
        assert any("1209600" in step.statement or "14d" in step.statement for step in steps)


def test_every_statement_of_a_dry_run_is_one_that_the_server_takes(influxdb: DatabaseServer) -> None:
    server = TelemetryServer(influxdb.url, _NEW)
    _, steps = set_up(server, SetupPlan(backfill=True), dry_run=True)
    assert not any(row[0] == _NEW for row in influxdb.influxql("SHOW DATABASES")[0]["values"])
    for step in steps:
        influxdb.influxql(step.statement)
    assert set(results(server, SetupPlan())) == {StepResult.UNCHANGED}


def test_names_with_quotes_stay_names(influxdb: DatabaseServer) -> None:
    name = 'a "b"; DROP DATABASE c'  # a backslash InfluxDB itself refuses
    set_up(TelemetryServer(influxdb.url, name), SetupPlan(backfill=True))
    assert any(row[0] == name for row in influxdb.influxql("SHOW DATABASES")[0]["values"])
    write(influxdb, [session_line(time.time() - 600, 1.0)], name)
    assert set(results(TelemetryServer(influxdb.url, name), SetupPlan())) == {StepResult.UNCHANGED}


@pytest.mark.parametrize(
    ("raw", "means", "words"), [(-1, 730, "0 .*to"), (14, 7, "would expire before"), (0, 730, "would expire before")]
)
def test_bounds_that_make_no_sense_are_refused(raw: int, means: int, words: str) -> None:
    with pytest.raises(SettingsError, match=words):
        SetupPlan(raw, means)
