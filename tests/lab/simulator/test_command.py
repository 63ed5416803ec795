"""`moamesh simulate` as a user meets it."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from edge_agent.adapters.telemetry import read_points
from edge_agent.cli.main import app
from edge_agent.lab.simulator.faults import campaign
from edge_agent.lab.simulator.faults.kinds import FaultKind
from edge_agent.lab.simulator.load.scenario import PROMPTS_PER_DEVICE, PROMPTS_TO_SETTLE_MAX, Scenario

QUICK = ("--devices", "6", "--prompts", "300")
KEYS = {
    *("latency_s", "requests_waiting_mean", "utilisation_mean", "outcomes", "messages", "events", "events_per_s"),
    *("predicted", "violations", "trace_hash", "seed"),
}


def simulate(*arguments: str) -> Result:
    return CliRunner().invoke(app, ["simulate", *arguments])


def figures(*arguments: str) -> dict[str, Any]:
    result = simulate(*arguments, "--json")
    assert result.exit_code == 0, result.stderr
    answer = json.loads(result.stdout)
    assert isinstance(answer, dict)
    return answer


def test_a_run_prints_measured_figures_beside_predicted_ones() -> None:
    result = simulate(*QUICK)
    assert result.exit_code == 0
    words = ("measured", "predicted", "latency p95", "utilisation", "prompts answered", "95 % interval", "Trace")
    for word in (*words, "an approximation"):
        assert word in " ".join(result.stdout.split())


def test_json_is_one_object_with_the_promised_keys_and_nothing_infinite() -> None:
    answer = figures(*QUICK, "--utilisation", "1.5")
    assert set(answer) == KEYS
    assert set(answer["latency_s"]) == set(answer["predicted"]["latency_s"]) == {"mean", "p50", "p95", "p99"}
    assert set(answer["predicted"]) == {
        *("kind", "latency_s", "requests_waiting_mean", "utilisation_mean", "outcomes", "messages")
    }
    assert "approximation" in answer["predicted"]["kind"]
    assert answer["predicted"]["latency_s"]["mean"] is None, "above a load of 1 it grows without bound"
    assert answer["outcomes"] == {"answered": 300}
    assert answer["violations"] == []


def test_quantiles_stand_in_their_order_and_load_is_as_asked_for() -> None:
    answer = figures("--devices", "20", "--prompts", "3000", "--utilisation", "0.5")
    latency = answer["latency_s"]
    assert latency["p50"] < latency["mean"] < latency["p95"] < latency["p99"]
    assert answer["utilisation_mean"] == pytest.approx(0.5, rel=0.05)
    assert answer["latency_s"]["mean"] == pytest.approx(answer["predicted"]["latency_s"]["mean"], rel=0.1)


def test_a_mesh_is_given_prompts_enough_to_settle_and_one_that_is_not_is_said_to_be_filling() -> None:
    default = Scenario(devices=1000, utilisation=0.8)
    assert default.warm_up == default.warm_up_wanted == pytest.approx(250.0)
    assert default.duration_s >= 2 * default.warm_up
    assert Scenario(devices=1000, utilisation=0.95).prompt_count == PROMPTS_TO_SETTLE_MAX
    assert Scenario(devices=1000, utilisation=1.1).prompt_count == PROMPTS_PER_DEVICE * 1000, "it never settles"

    filling, settled = (simulate("--devices", "6", "--utilisation", "0.8", "--prompts", str(n)) for n in (300, 400))
    assert "--prompts 343 lets it settle first" in " ".join(filling.stdout.split())
    assert "filling" not in settled.stdout


def test_a_bounded_queue_refuses_and_nothing_is_left_out_of_the_count() -> None:
    answer = figures(*QUICK, "--capacity", "4", "--utilisation", "1.5")
    assert answer["outcomes"]["refused"] > 0
    assert sum(answer["outcomes"].values()) == 300


def test_slow_devices_aggregation_and_delay_lengthen_the_latency() -> None:
    base = figures(*QUICK, "--arrival-rate-hz", "0.02")["latency_s"]["mean"]
    for arguments in (["--slow-devices", "3"], ["--aggregation-factor", "2"], ["--network-delay-s", "1"]):
        assert figures(*QUICK, "--arrival-rate-hz", "0.02", *arguments)["latency_s"]["mean"] > 1.15 * base


@pytest.mark.parametrize(
    "arguments",
    [
        ["--devices", "1", "--fanout", "1"],
        ["--devices", "3", "--fanout", "3"],
        ["--devices", "0"],
        ["--utilisation", "0"],
        ["--utilisation", "-1"],
        ["--utilisation", "nan"],
        ["--arrival-rate-hz", "0"],
        ["--utilisation", "0.5", "--arrival-rate-hz", "1"],
        ["--policy", "unheard-of"],
        ["--layer-plan", "unheard-of"],
        ["--service", "uniform:1"],
        ["--service", "exponential:0"],
        ["--aggregation-factor", "0"],
        ["--capacity", "none"],
        ["--capacity", "0"],
        ["--prompts", "0"],
        ["--warm-up", "-1"],
        ["--warm-up", "1e9"],
        ["--network-delay-s", "-1"],
        ["--slow-devices", "21"],
        ["--layers", "99"],
        ["--plot", "run.gif"],
        ["--plot", "nowhere/run.html"],
        ["--arrivals", "nowhere.csv"],
        ["--burst", "1,2"],
        ["--faults", "luck"],
        ["--faults", "all", "--seeds", "9..1"],
        ["--faults", "all", "--jobs", "0"],
        ["--faults", "all", "--without", "nothing"],
    ],
)
def test_wrong_input_is_one_clear_line_and_exit_status_2(arguments: list[str]) -> None:
    result = simulate(*arguments)
    assert result.exit_code == 2
    assert result.stdout == ""
    (line,) = result.stderr.splitlines()
    assert line.startswith("moamesh: ")


def test_a_run_is_drawn_as_a_page_that_needs_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "run.html"
    assert simulate(*QUICK, "--plot", str(path)).exit_code == 0
    text = path.read_text()
    assert "<svg" in text
    assert "latency p95" in text
    assert "src=" not in text
    assert "href=" not in text


@pytest.mark.parametrize(("suffix", "beginning"), [(".png", b"\x89PNG"), (".svg", b"<?xml")])
def test_a_run_is_drawn_as_a_picture(tmp_path: Path, suffix: str, beginning: bytes) -> None:
    path = tmp_path / f"run{suffix}"
    assert simulate(*QUICK, "--plot", str(path)).exit_code == 0
    assert path.read_bytes().startswith(beginning)


def test_telemetry_is_read_back_by_the_reader_of_live_telemetry(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    answer = figures(*QUICK, "--telemetry", str(folder))
    points = list(read_points(folder))
    sessions = [point for point in points if point.measurement == "agent_session"]
    items = [point for point in points if point.measurement == "agent_request"]
    assert len(sessions) == answer["outcomes"]["answered"] == 300
    assert len(items) == 300 * 7
    assert {point.tags["device_id"] for point in points} == {f"d{number}" for number in range(6)}
    assert any(point.measurement == "agent_queue" and point.fields["utilisation"] > 0 for point in points)
    times = [point.time_ns for point in points]
    assert times == sorted(set(times)), "two points with one timestamp would be one in a database"


def test_telemetry_does_not_overwrite_an_earlier_run(tmp_path: Path) -> None:
    assert simulate(*QUICK, "--telemetry", str(tmp_path)).exit_code == 0
    again = simulate(*QUICK, "--telemetry", str(tmp_path))
    assert again.exit_code == 2
    assert "is there already" in again.stderr


def test_recorded_arrivals_are_what_arrives(tmp_path: Path) -> None:
    recording = tmp_path / "arrivals.csv"
    recording.write_text("# seconds,device\n0.5,1\n2,0\n\n1,1\n")
    answer = figures("--devices", "3", "--arrivals", str(recording), "--warm-up", "0")
    assert answer["outcomes"] == {"answered": 3}
    assert answer["predicted"]["utilisation_mean"] == 1.0, "three prompts in two seconds are far too many"


@pytest.mark.parametrize("line", ["1", "1,9", "-1,0", "x,0", "1,0,0"])
def test_a_wrong_line_of_a_recording_is_named(tmp_path: Path, line: str) -> None:
    recording = tmp_path / "arrivals.csv"
    recording.write_text(f"0.5,1\n{line}\n")
    result = simulate("--devices", "3", "--arrivals", str(recording))
    assert result.exit_code == 2
    assert f"{recording}:2:" in result.stderr


def test_faults_by_seed_hold_and_say_so() -> None:
    result = simulate("--faults", "all", "--seeds", "1..5")
    assert result.exit_code == 0
    assert "seeds 1 to 5 hold" in result.stdout


def test_a_violation_prints_seed_trace_and_the_command_that_repeats_it() -> None:
    result = simulate("--faults", "all", "--seeds", "1..50", "--without", "cancel")
    assert result.exit_code == 4
    lines = result.stdout.splitlines()
    assert any("PeerMessageReceived" in line for line in lines), "the trace is missing"
    repeat = lines[-1].removeprefix("to repeat it: moamesh ")
    again = CliRunner().invoke(app, repeat.split())
    assert again.exit_code == 4
    assert again.stdout.splitlines()[-5:-2] == lines[-5:-2]


def test_faults_as_json() -> None:
    answer = json.loads(simulate("--faults", "loss,crash", "--seeds", "1..3", "--json").stdout)
    assert answer["seeds_run"] == 3
    assert answer["violations"] == []
    assert answer["first_failing_seed"] is None
    assert answer["prompts_accepted"] == answer["prompts_ended"] == answer["prompts_told"] > 0
    assert math.isfinite(answer["events"])


def test_the_kinds_of_faults_are_listed() -> None:
    kinds = json.loads(simulate("--faults", "list", "--json").stdout)
    assert set(kinds) == set(FaultKind)
    said = simulate("--faults", "list").stdout
    assert all(kind in said for kind in FaultKind)


def test_seeds_in_several_processes_come_to_the_same_and_all_of_them_are_run_if_asked_for(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(campaign, "_CHUNK", 3)  # so that each process has some of a few seeds
    arguments = ("--faults", "all", "--seeds", "5..12", "--without", "cancel", "--go-on", "--json")
    one, two = (json.loads(simulate(*arguments, "--jobs", jobs).stdout) for jobs in ("1", "2"))
    assert one == two
    assert one["seeds_run"] == 8
    (broken, *_) = one["violations"]
    assert broken["count"] > 1
    assert broken["first_seeds"][0] == one["first_failing_seed"]
