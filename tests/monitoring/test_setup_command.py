"""`moamesh telemetry setup` as people and programs use it."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from typer.testing import CliRunner

from edge_agent.adapters.telemetry.downsampling import MEANS_DAYS, RAW_DAYS
from edge_agent.cli.main import app
from tests.monitoring.recorder import TOKEN, recording
from tests.support.databases import DatabaseServer


def invoke(*arguments: object) -> tuple[int, str, str]:
    result = CliRunner().invoke(app, ["telemetry", "setup", *map(str, arguments)])
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    return result.exit_code, result.stdout, result.stderr


def test_it_says_what_was_created_and_then_that_nothing_had_to_be_done(influxdb: DatabaseServer) -> None:
    status, out, _ = invoke(influxdb.url, "--database", "garden")
    assert status == 0
    assert "influxdb-1 1.6" in out
    assert "database garden" in out
    assert out.count("created") == 6
    status, out, _ = invoke(influxdb.url, "--database", "garden")
    assert status == 0
    assert out.count("unchanged") == 7


def test_for_programs_it_is_json_with_every_statement(influxdb: DatabaseServer) -> None:
    status, out, _ = invoke(influxdb.url, "--json", "--keep-raw", 0, "--keep-means", 0)
    assert status == 0
    said = json.loads(out)
    assert (said["kind"], said["database"]) == ("influxdb-1", "moamesh")
    assert {step["result"] for step in said["steps"]} <= {"created", "changed", "unchanged"}
    assert any("DURATION INF" in step["statement"] for step in said["steps"])


def test_a_dry_run_prints_statements_and_changes_nothing(influxdb: DatabaseServer) -> None:
    status, out, _ = invoke(influxdb.url, "--database", "garden", "--dry-run")
    assert status == 0
    assert out.count("CREATE CONTINUOUS QUERY") == 4
    assert 'CREATE DATABASE "garden"' in out
    assert ["garden"] not in influxdb.influxql("SHOW DATABASES")[0]["values"]


def test_a_dry_run_for_influxdb_2_prints_requests_and_the_whole_task() -> None:
    status, out, _ = invoke("http://127.0.0.1:9", "--kind", "influxdb-2", "--dry-run")
    assert status == 0
    assert out.count("POST /api/v2/buckets") == out.count("POST /api/v2/dbrps") == 2
    assert "option task" in out


def test_the_token_comes_from_a_file_or_the_environment_and_is_never_shown(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "token"
    file.write_text(TOKEN + "\n")
    with recording() as recorder:
        status, out, _ = invoke(recorder.url, "--token-file", file)
        assert status == 0
        assert "created" in out
        monkeypatch.setenv("MOAMESH_INFLUX_TOKEN", TOKEN)
        status, out, _ = invoke(recorder.url, "--json")
        assert status == 0
        assert TOKEN not in out
        monkeypatch.setenv("MOAMESH_INFLUX_TOKEN", "another-token")
        status, _, said = invoke(recorder.url)
        assert status == 2
        assert "401" in said
        assert "another-token" not in said


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("http://127.0.0.1:9",), "cannot be reached"),
        (("127.0.0.1:8086",), "http://host:port"),
        (("http://127.0.0.1:9", "--keep-raw", "30", "--keep-means", "7"), "would expire before"),
        (("http://127.0.0.1:9", "--kind", "postgres"), "--kind is"),
        (("http://127.0.0.1:9", "--token-file", "/nowhere"), "No such file"),
    ],
)
def test_what_is_wrong_is_one_line_and_status_2(arguments: tuple[str, ...], words: str) -> None:
    status, out, said = invoke(*arguments)
    assert status == 2
    assert out == ""
    assert said.startswith("moamesh: ")
    assert said.count("\n") == 1
    assert words in said


def test_the_help_names_the_bounds_that_hold() -> None:
    _, out, _ = invoke("--help")
    assert re.findall(r"\((\d+)\)", out) == [str(RAW_DAYS), str(MEANS_DAYS)]
