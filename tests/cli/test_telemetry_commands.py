"""`moamesh telemetry check` and `status`, and the doctor's look at a device's databases."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from typer.testing import CliRunner

from edge_agent.adapters.telemetry import check
from edge_agent.cli.main import app
from edge_agent.config import load_config
from edge_agent.runtime.databases import TOKEN_VARIABLE, telemetry_servers
from tests.adapters.telemetry_samples import SESSION, new_sink, until
from tests.support.databases import DatabaseServer, running
from tests.support.faulty_database import FaultyDatabase, Reply
from tests.support.patience import PATIENCE_S
from tests.support.small_disk import small_disk

NOBODY = "http://127.0.0.1:1"


def invoke(*arguments: str) -> tuple[int, str, str]:
    result = CliRunner().invoke(app, ["telemetry", *arguments])
    assert result.exception is None or isinstance(result.exception, SystemExit)
    return result.exit_code, result.stdout, result.stderr


@pytest.fixture(params=["influxdb", "victoria-metrics"])
def database(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[DatabaseServer]:
    with running(DatabaseServer(request.param, tmp_path / request.param)) as server:
        yield server


def write_config(folder: Path, *urls: str, more: str = "") -> Path:
    path = folder / "agent.toml"
    tables = "".join(f'[[influx]]\nurl = "{url}"\n{more}' for url in urls)
    path.write_text(f'[device]\nid = "dev-1"\ndata_dir = "{folder}"\n{tables}')
    return path


def test_a_check_names_the_server_and_reads_its_point_back(database: DatabaseServer) -> None:
    status, out, _ = invoke("check", database.url)
    assert status == 0
    assert out.startswith(f"✓ {database.url}  ")
    assert "read back" in out
    assert ("influxdb-1 1.6" if database.kind == "influxdb" else "victoria-metrics") in out


def test_a_check_for_programs_has_the_same_in_json(database: DatabaseServer) -> None:
    status, out, _ = invoke("check", database.url, "--json")
    (found,) = json.loads(out)
    assert (status, found["ok"], found["url"], found["error"]) == (0, True, database.url, None)
    assert found["write_s"] > 0


def test_a_server_that_accepts_a_point_and_does_not_give_it_back_fails_the_check(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(check.check_server, "__kwdefaults__", {"within_s": 0.3})
    with FaultyDatabase().serving() as liar:
        status, _, err = invoke("check", liar.url)
        assert status == 1
        assert liar.writes
    assert len(err.strip().splitlines()) == 1


@pytest.mark.parametrize(
    ("answer", "says"),
    [
        (Reply(401, "unauthorized"), "token_file, or username and password_file"),
        (Reply(404, "database not found"), "create it (`moamesh telemetry setup`)"),
        (Reply(500, "out of disk"), "answered 500: out of disk"),
    ],
)
def test_a_check_that_fails_says_why_in_one_line_and_exits_with_1(answer: Reply, says: str) -> None:
    with FaultyDatabase().serving() as database:
        database.behave = lambda _: answer
        status, out, err = invoke("check", database.url)
    assert (status, out) == (1, "")
    assert says in err
    assert len(err.strip().splitlines()) == 1


def test_a_check_of_a_configuration_tries_every_database_in_it(tmp_path: Path) -> None:
    with running(DatabaseServer("influxdb", tmp_path / "influxdb")) as database:
        config = write_config(tmp_path, NOBODY, database.url)
        status, out, err = invoke("check", "--config", str(config))
        assert status == 1
        assert out.startswith(f"✓ {database.url}")
        assert err == f"moamesh: {NOBODY} cannot be reached: Connection refused\n"
        found = json.loads(invoke("check", "--config", str(config), "--json")[1])
        assert [one["ok"] for one in found] == [False, True]
        result = CliRunner().invoke(app, ["doctor", "--config", str(config), "--json"])
        findings = [one["finding"] for one in json.loads(result.stdout)["checks"] if one["name"] == "telemetry"]
        assert findings == ["note", "ok"]


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ([], "name a database by URL, or the databases of a device by --config"),
        ([NOBODY, "--config", "agent.toml"], "name a database by URL, or the databases of a device by --config"),
        (
            ["--config", "agent.toml", "--database", "x"],
            "with --config, all settings of a database come from the file",
        ),
        (["--config", "agent.toml"], "agent.toml names no database: add an [[influx]] table"),
        (["ftp://here"], "a telemetry server is http://host:port or https://host:port"),
        (["http://pi", "--token-file", "token"], "the token for http://pi contains characters that no token can have"),
        *(
            ([f"http://{place}"], "a telemetry server is http://host:port or https://host:port")
            for place in ("pi:port", "pi:65536", "pi:0", "pi:-1", ":8086", "[::1", "ü..de", "x" * 64 + ".de", "xn--a")
        ),
    ],
)
def test_a_check_that_is_asked_for_wrongly_says_how(
    arguments: list[str], says: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    write_config(tmp_path)
    (tmp_path / "token").write_text("caf\u00e9")
    status, _, err = invoke("check", *arguments)
    assert status == 2
    assert says in err


async def test_the_status_says_what_became_of_the_points_for_each_database(tmp_path: Path) -> None:
    with FaultyDatabase().serving() as works, FaultyDatabase().serving() as refuses:
        refuses.behave = lambda write: Reply(400, f"partial write dropped={len(write.lines)}")
        config = write_config(tmp_path, works.url, refuses.url, NOBODY)
        sink = new_sink(tmp_path / "telemetry", servers=telemetry_servers(load_config(config)))
        for _ in range(100):
            sink.record_session(SESSION)
        await until(lambda: len(works.points) == 100)
        await sink.stop()
    status, out, _ = invoke("status", "--config", str(config), "--json")
    assert status == 0
    found = json.loads(out)
    told = 103  # with the last word about each database
    assert (found["files"], found["points_written"], found["points_dropped"]) == (1, told, 0)
    sent, refused, nobody = found["databases"]
    assert (sent["points_sent"], sent["spool_points"], sent["refused_file"]) == (told, 0, None)
    assert (refused["points_refused"], refused["points_sent"], refused["spool_points"]) == (told, 0, 0)
    with open(refused["refused_file"]) as file:  # noqa: ASYNC230 -- the loop has nothing else to do
        assert "partial write" in file.read()
    assert (nobody["spool_points"], nobody["points_sent"]) == (told, 0)
    assert nobody["spool_bytes"] == found["bytes"]
    human = invoke("status", "--config", str(config))[1]
    assert "103 points from the beginning" in human
    assert "what it refused, and why" in human


def test_the_status_of_a_device_that_has_recorded_nothing_says_so(tmp_path: Path) -> None:
    status, _, err = invoke("status", "--config", str(write_config(tmp_path, NOBODY)))
    assert status == 2
    assert "dev-1 has recorded nothing in" in err


def test_secrets_come_from_files_and_the_environment_and_show_nowhere(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "token").write_text("secret-of-file\n")
    with_file = load_config(write_config(tmp_path, NOBODY, more='token_file = "token"\n'))
    monkeypatch.setenv(TOKEN_VARIABLE, "secret-of-environment")
    assert telemetry_servers(with_file)[0].token == "secret-of-file"
    without = load_config(write_config(tmp_path, NOBODY))
    (server,) = telemetry_servers(without)
    assert server.token == "secret-of-environment"
    assert "secret" not in repr(server)
    assert telemetry_servers(without, with_secrets=False)[0].token is None


def test_a_database_named_twice_is_refused(tmp_path: Path) -> None:
    status, _, err = invoke("check", "--config", str(write_config(tmp_path, NOBODY, NOBODY)))
    assert status == 2
    assert "are there twice" in err


async def test_status_and_doctor_say_in_a_line_what_is_wrong_with_folder_and_database(tmp_path: Path) -> None:
    with small_disk(tmp_path / "disk", 256) as disk:
        config = write_config(disk, NOBODY)
        folder = load_config(config).telemetry_folder
        sink = new_sink(folder, servers=telemetry_servers(load_config(config)))
        sink.record_session(SESSION)
        await until(lambda: "Connection refused" in sink._shippers[0]._progress.trouble(), PATIENCE_S)
        await sink.stop()
        with (disk / "ballast").open("ab", buffering=0) as file, contextlib.suppress(OSError):
            while file.write(b"\0" * 4096):
                pass
        status, out, _ = invoke("status", "--config", str(config))
        assert status == 0
        (full,) = [line for line in out.splitlines() if "No space left on device" in line]
        assert "make room" in full
        (waits,) = [line for line in out.splitlines() if "waits:" in line]
        assert "cannot be reached: Connection refused" in waits
        found = json.loads(invoke("status", "--config", str(config), "--json")[1])
        assert "No space left on device" in found["problems"][0]
        assert "Connection refused" in found["databases"][0]["trouble"]
        doctor = await asyncio.to_thread(CliRunner().invoke, app, ["doctor", "--config", str(config)])
        assert "No space left on device; make room" in doctor.stdout
