"""`moamesh stability`, on telemetry written by hand and by the simulator."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from edge_agent.cli.main import app
from edge_agent.cli.telemetry.folders import read_all
from edge_agent.core.errors import SettingsError
from edge_agent.lab.analysis import collect, report
from edge_agent.lab.simulator.load.run import LoadRun
from edge_agent.lab.simulator.load.scenario import Scenario
from edge_agent.lab.simulator.load.telemetry import TelemetryWriter
from tests.lab.analysis.points import two_devices, write

SEED = 5


def invoke(*arguments: str) -> tuple[int, str, str]:
    result = CliRunner().invoke(app, ["stability", *arguments])
    assert result.exception is None or isinstance(result.exception, SystemExit)
    return result.exit_code, result.stdout, result.stderr


def test_it_shows_measured_beside_predicted(tmp_path: Path):
    write(tmp_path, two_devices())
    status, out, _ = invoke("--telemetry", str(tmp_path))
    assert status == 0
    assert "stable: load 0.80 on the busiest device, margin 0.20" in out
    assert "d2" in out


def test_json_has_the_figures_of_the_report(tmp_path: Path):
    write(tmp_path, two_devices())
    status, out, _ = invoke("--telemetry", str(tmp_path), "--json", "--since", "1h")
    assert status == 0
    made = json.loads(out)
    assert made["devices"][0]["utilisation"] == pytest.approx(0.8)
    assert made["plans"] == {"1,1": 3}


def test_a_fleets_folder_holds_the_telemetry_of_every_device_below_it(tmp_path: Path):
    for device in ("d1", "d2"):
        points = [point for point in two_devices() if point.tags["device_id"] == device]
        write(tmp_path / device / "telemetry", points, device)
    made = report(collect(read_all(tmp_path)))
    assert [device.device_id for device in made.devices] == ["d1", "d2"]


def test_it_draws(tmp_path: Path):
    write(tmp_path, two_devices())
    assert invoke("--telemetry", str(tmp_path), "--plot", str(tmp_path / "p.html"))[0] == 0
    assert "<svg" in (tmp_path / "p.html").read_text()


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("--telemetry", "{}/nowhere"), "not there"),
        (("--telemetry", "{}/file"), "not a folder"),
        (("--telemetry", "{}/empty"), "no telemetry in"),
        (("--telemetry", "{}", "--since", "tomorrow"), "a duration is"),
        (("--telemetry", "{}", "--plot", "p.pdf"), "ending in"),
    ],
)
def test_what_is_wrong_is_one_line_and_status_2(tmp_path: Path, arguments: tuple[str, ...], says: str):
    (tmp_path / "file").write_text("")
    (tmp_path / "empty").mkdir()
    status, out, said = invoke(*(argument.format(tmp_path) for argument in arguments))
    assert (status, out) == (2, "")
    assert says in said
    assert said.count("\n") == 1


def test_a_folder_that_vanishes_is_an_error_of_ours_at_once(tmp_path: Path):
    with pytest.raises(SettingsError):
        read_all(tmp_path / "nowhere")  # not first when the points are read


def test_telemetry_of_a_simulated_run_gives_the_simulators_own_numbers(tmp_path: Path):
    run = LoadRun(
        Scenario(devices=5, layers=2, fanout=2, utilisation=0.6, prompts=1500, warm_up_s=0.0, status=True, seed=SEED)
    )
    writer = TelemetryWriter(run.cluster, tmp_path)
    measured = run.run().measurement
    writer.close()
    made = report(collect(read_all(tmp_path)))
    assert made.outcomes == dict(measured.outcomes) == {"answered": 1500}
    latency = measured.latency()
    assert made.latency_s.mean.value == pytest.approx(latency.value, rel=1e-9)
    assert made.latency_s.mean.half_width == pytest.approx(latency.half_width, rel=1e-9)
    assert made.latency_s.p99.value == pytest.approx(measured.latency(0.99).value, rel=1e-9)
    # telemetry also covers the time in which the last prompts are finished, and not that after the last interval
    assert made.requests_waiting.value == pytest.approx(measured.requests_waiting().value, rel=0.02)
    assert made.utilisation == pytest.approx(measured.utilisation(), rel=0.02)
    for number, device in enumerate(made.devices):
        assert device.device_id == f"d{number}"
        assert device.utilisation == pytest.approx(measured.utilisation_of(number), rel=0.02)
    # the sum of waiting times over the time is the time average of the number waiting, by another road
    waited_s = made.waiting_time_s.mean.value * made.waiting_time_s.count
    assert waited_s / (5 * made.duration_s) == pytest.approx(made.requests_waiting.value, rel=0.02)
    assert made.predicted is not None
    assert made.predicted.load_paper == pytest.approx(0.6, rel=0.05)
