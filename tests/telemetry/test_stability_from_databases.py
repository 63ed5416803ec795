"""`moamesh stability --influx`: the same report as from files, and clear words for what is wrong."""

from __future__ import annotations

from pathlib import Path

import pytest

from edge_agent.cli.telemetry.options import DatabaseOptions
from edge_agent.cli.telemetry.source import database_server
from edge_agent.lab.simulator.load.run import LoadRun
from edge_agent.lab.simulator.load.scenario import Scenario
from edge_agent.lab.simulator.load.telemetry import TelemetryWriter
from edge_agent.wire.line_protocol import encode
from tests.support.databases import DATABASE, DatabaseServer
from tests.support.polling import until
from tests.telemetry.records import recorded
from tests.telemetry.reporting import invoke, lines_in, report_of
from tests.telemetry.test_readers import fill

SEED = 7


@pytest.fixture
def simulated(tmp_path: Path) -> Path:
    """Telemetry of a simulated mesh, each time a whole millisecond as live devices write it."""
    folder = tmp_path / "simulated"
    run = LoadRun(Scenario(devices=4, layers=1, fanout=2, utilisation=0.7, prompts=800, status=True, seed=SEED))
    writer = TelemetryWriter(run.cluster, folder)
    run.run()
    writer.close()
    for path in folder.rglob("*.lp"):
        path.write_text("".join(f"{line}\n" for line in _whole_milliseconds(path.read_text().splitlines())))
    return folder


def _whole_milliseconds(lines: list[str]) -> list[str]:
    """Each line at a millisecond of its own."""
    moved, last_ms = [], 0
    for line in lines:
        point, _, time_ns = line.rpartition(" ")
        last_ms = max(last_ms + 1, int(time_ns) // 1_000_000)
        moved.append(f"{point} {last_ms * 1_000_000}")
    return moved


@pytest.mark.parametrize("since", [(), ("--since", "5m")])
async def test_files_and_both_databases_give_one_report_to_the_last_digit(
    simulated: Path, influxdb: DatabaseServer, victoria_metrics: DatabaseServer, since: tuple[str, ...]
) -> None:
    lines = lines_in(simulated)
    for server in (influxdb, victoria_metrics):
        server.write(lines)
    of_files = report_of("--telemetry", simulated, *since)
    assert of_files["outcomes"]["answered"] > 100
    assert of_files["predicted"]["load_paper"] == pytest.approx(0.7, rel=0.2)
    assert report_of("--influx", influxdb.url, *since) == of_files
    await until(lambda: report_of("--influx", victoria_metrics.url, *since) == of_files, "the same from both")


def test_the_database_and_the_mesh_can_be_named(influxdb: DatabaseServer, tmp_path: Path) -> None:
    fill(influxdb, recorded(100, mesh="home"))
    fill(influxdb, recorded(100, mesh="barn"))
    status, out, said = invoke("--influx", influxdb.url)
    assert (status, out) == (2, "")
    assert "(barn, home): choose one with --mesh" in said
    assert report_of("--influx", influxdb.url, "--database", DATABASE, "--mesh", "barn")["mesh"] == "barn"
    picture = tmp_path / "barn.svg"
    assert invoke("--influx", influxdb.url, "--mesh", "barn", "--plot", picture)[0] == 0
    assert "mesh barn, synthetic engine" in picture.read_text()


def test_the_mesh_of_files_can_be_named_too(tmp_path: Path) -> None:
    for mesh in ("home", "barn"):
        (tmp_path / mesh).mkdir()
        lines = [encode(point) for point in recorded(100, mesh=mesh)]
        (tmp_path / mesh / "d.00000001.lp").write_text("".join(f"{line}\n" for line in lines))
    assert invoke("--telemetry", tmp_path)[0] == 2
    assert report_of("--telemetry", tmp_path, "--mesh", "barn")["mesh"] == "barn"


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ((), "--telemetry FOLDER for files, or --influx URL"),
        (("--telemetry", "{folder}", "--influx", "{url}"), "--telemetry FOLDER for files, or --influx URL"),
        (("--telemetry", "{folder}", "--token-file", "x"), "--token-file goes with --influx"),
        (("--influx", "127.0.0.1:8086"), "http://host:port"),
        (("--influx", "{url}", "--kind", "mysql"), "--kind is auto, influxdb-1"),
        (("--influx", "{url}", "--database", "attic"), "no database attic"),
        (("--influx", "{url}", "--password-file", "x"), "needs --username"),
        (("--influx", "{url}", "--token-file", "{folder}/none"), "No such file"),
        (("--influx", "{url}", "--token-file", "{folder}/empty"), "its first line is empty"),
        (("--influx", "{url}", "--ca-file", "{folder}/empty"), "empty: is empty"),
        (("--influx", "{url}"), "no telemetry of a mesh in database moamesh"),
        (("--influx", "http://127.0.0.1:9"), "cannot be reached: Connection refused"),
    ],
)
def test_what_is_wrong_is_one_line_and_status_2(
    influxdb: DatabaseServer, tmp_path: Path, arguments: tuple[str, ...], says: str
) -> None:
    (tmp_path / "empty").write_text("")
    status, out, said = invoke(*(text.format(folder=tmp_path, url=influxdb.url) for text in arguments))
    assert (status, out) == (2, "")
    assert says in said
    assert said.count("\n") == 1


def test_a_token_is_read_from_a_file_or_the_environment_and_never_shown(
    influxdb: DatabaseServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "token").write_text("from-a-file\nand more")
    monkeypatch.setenv("MOAMESH_INFLUX_TOKEN", "from-the-environment")
    assert database_server(influxdb.url, DatabaseOptions()).token == "from-the-environment"
    server = database_server(influxdb.url, DatabaseOptions(token_file=tmp_path / "token"))
    assert server.token == "from-a-file"
    assert "from-a-file" not in repr(server)
