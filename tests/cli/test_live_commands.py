"""Commands as people run them at a mesh of real processes, a real broker, the synthetic engine."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil
import pytest

from edge_agent.cli.exits import EXPIRED, REFUSED
from tests.support.commands import moamesh
from tests.support.patience import PATIENCE_S

pytestmark = pytest.mark.broker
MOAMESH = [sys.executable, "-m", "edge_agent.cli.main"]
QUICK = ["--engine", "synthetic", "--service", "deterministic:0.05"]


@pytest.fixture
def home(tmp_path: Path) -> dict[str, str]:
    """An environment with a home of its own, so that no other run is found."""
    return home_in(tmp_path)


def home_in(folder: Path) -> dict[str, str]:
    """The same, in a folder that is given."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("MOAMESH_")}
    return kept | {"XDG_STATE_HOME": str(folder / "state"), "MOAMESH_HOME": str(folder / "home")}


def run_moamesh(home: dict[str, str], *arguments: str, stdin: str = "") -> subprocess.CompletedProcess[str]:
    """Runs a command as a process of its own."""
    return subprocess.run(
        [*MOAMESH, *arguments], env=home, input=stdin, capture_output=True, text=True, timeout=PATIENCE_S, check=False
    )


@contextmanager
def mesh_up(home: dict[str, str], *arguments: str) -> Iterator[subprocess.Popen[str]]:
    """`moamesh up` that is up, without its gateway; killed at the end if the test has not stopped it."""
    command = [*MOAMESH, "up", *QUICK, "--no-gateway", *arguments]
    with subprocess.Popen(command, env=home, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            assert any(line.startswith("up.") for line in process.stdout)
            yield process
        finally:
            if process.poll() is None:
                process.terminate()
                process.wait(PATIENCE_S)


def test_demo_prints_one_json_object_with_all_that_made_the_answers(home: dict[str, str]) -> None:
    unhurried = {f"MOAMESH_AGENT__{name}": "60" for name in ("RECEIPT_TIMEOUT_S", "SUSPECT_AFTER_S")}
    done = run_moamesh(home | unhurried, "demo", *QUICK, "--json")  # nobody is taken for dead who is only slow
    assert done.returncode == 0, done.stderr
    shown: dict[str, Any] = json.loads(done.stdout)
    assert shown.keys() >= {"answers", "devices", "broker", "engine", "stability"}
    assert shown["engine"] == "synthetic"
    assert len(shown["devices"]) == len(shown["answers"]) == 4
    for answer in shown["answers"]:
        assert answer["outcome"] == "answered"
        provenance, origin = answer["provenance"], answer["device_id"]
        assert len(provenance["layers"]) == 2
        for layer in provenance["layers"]:
            proposers = [response["device_id"] for response in layer]
            assert len(set(proposers)) == 3
            assert origin in proposers
        assert provenance["aggregation"]["device_id"] == origin
        assert provenance["substitutes"] == provenance["missing"] == []
    assert shown["stability"]["utilisation_predicted"] == pytest.approx(shown["stability"]["utilisation"], rel=0.2)


def test_demo_on_a_pipe_says_what_happens_in_lines(home: dict[str, str]) -> None:
    done = run_moamesh(home, "demo", *QUICK, "--no-gateway", "--devices", "2", "--fanout", "1", "--layers", "1")
    assert done.returncode == 0, done.stderr
    assert "device-1: layer 1/1 asked device-1, device-2" in done.stdout
    assert "2 of 2 prompts answered" in done.stdout
    assert "\x1b" not in done.stdout


@pytest.fixture(scope="module")
def local_mesh(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """The environment of a local mesh of three devices that is up."""
    environment = home_in(tmp_path_factory.mktemp("mesh"))
    with mesh_up(environment, "--devices", "3"):
        yield environment


def test_ask_finds_the_local_mesh_and_keeps_the_answer_apart_from_the_rest(local_mesh: dict[str, str]) -> None:
    done = run_moamesh(local_mesh, "ask", "why?", "--layers", "1", "--fanout", "2")
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("[synthetic]")
    assert len(done.stdout.splitlines()) == 1
    assert "layer 1" in done.stderr
    piped = moamesh(local_mesh, "ask", "-", "--device", "device-2", "--json", stdin="from a pipe")
    answer = json.loads(piped.stdout)
    assert (answer["prompt"], answer["device_id"], answer["outcome"]) == ("from a pipe", "device-2", "answered")
    assert moamesh(local_mesh, "answers", answer["prompt_id"]).stdout.strip() == answer["text"]
    listed = json.loads(moamesh(local_mesh, "answers", "--since", "1h", "--json").stdout)
    assert sum(len(device["answers"]) for device in listed["devices"]) == 2, "and nobody else's"
    assert answer["prompt_id"] in [line["prompt_id"] for one in listed["devices"] for line in one["answers"]]
    late = moamesh(local_mesh, "ask", "why?", "--deadline", "0.01")
    assert late.returncode == EXPIRED
    assert "expired" in late.stderr
    status = moamesh(local_mesh, "status", "--once", "--json")
    assert [device["state"] for device in json.loads(status.stdout)["devices"]] == ["online"] * 3


def test_a_refused_prompt_is_not_zero_and_says_why(local_mesh: dict[str, str]) -> None:
    done = moamesh(local_mesh, "ask", "-", "--device", "device-1", stdin="x" * 200_000)
    assert done.returncode == REFUSED
    assert "too_large" in done.stderr


def test_interrupting_a_question_cancels_it(home: dict[str, str]) -> None:
    with mesh_up(home, "--devices", "1", "--service", f"deterministic:{2 * PATIENCE_S:g}") as up:
        command = [*MOAMESH, "ask", "why?", "--device", "device-1", "--layers", "0", "--json"]
        with subprocess.Popen(command, env=home, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as asking:
            await_running(home)
            asking.send_signal(signal.SIGINT)
            assert asking.wait(PATIENCE_S) == 130
            assert asking.stderr is not None
            assert b"Traceback" not in asking.stderr.read()
        await_running(home, running=0)
        assert up.poll() is None


def await_running(home: dict[str, str], running: int = 1) -> None:
    ends_at = time.monotonic() + PATIENCE_S
    while time.monotonic() < ends_at:
        status = json.loads(moamesh(home, "status", "--once", "--json").stdout)
        figures = status["devices"][0]["status"]
        if figures is not None and figures["requests_running"] == running:
            return
        time.sleep(0.1)  # before the next connection
    raise AssertionError(f"the device never had {running} running")


def test_a_file_of_prompts_becomes_outputs_and_provenance_and_can_be_resumed(
    home: dict[str, str], tmp_path: Path
) -> None:
    prompts = tmp_path / "prompts.json"
    entries = [{"instruction": f"question {number}", "dataset": "test"} for number in range(6)]
    prompts.write_text(json.dumps(entries), encoding="utf-8")
    output, report = tmp_path / "outputs.json", tmp_path / "report.md"
    common = ["run-prompts", str(prompts), "--output", str(output), *QUICK]

    first = run_moamesh(home, *common, "--devices", "3", "--limit", "4", "--report", str(report))
    assert first.returncode == 0, first.stderr
    outputs = json.loads(output.read_text(encoding="utf-8"))
    assert [entry["instruction"] for entry in outputs] == [f"question {number}" for number in range(4)]
    assert outputs[0].keys() == {"instruction", "dataset", "output", "generator", "datasplit"}
    assert outputs[0]["generator"].startswith("moamesh-synthetic")
    lines = provenance_of(output)
    assert sorted(line["device_id"] for line in lines) == ["device-1", "device-1", "device-2", "device-3"]
    assert all(len(line["provenance"]["layers"]) == 2 for line in lines)
    assert "| messages per prompt (2kM + kM receipts) | 12.0 | 12 |" in report.read_text(encoding="utf-8")

    second = moamesh(home, *common, "--devices", "1", "--resume", "--json", "--rate", "20")
    assert second.returncode == 0, second.stderr
    assert json.loads(second.stdout)["prompts"] == 2
    assert len(json.loads(output.read_text(encoding="utf-8"))) == len(provenance_of(output)) == 6
    assert provenance_of(output)[:4] == lines


def provenance_of(output: Path) -> list[dict[str, Any]]:
    text = output.with_name(f"{output.name}.provenance.jsonl").read_text(encoding="utf-8")
    return [json.loads(line) for line in text.splitlines()]


def test_a_device_that_dies_in_a_run_is_reported_and_the_others_go_on(home: dict[str, str]) -> None:
    command = [*MOAMESH, "demo", "--no-gateway", "--engine", "synthetic", "--service", "deterministic:0.5", "--json"]
    with subprocess.Popen(command, env=home, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as demo:
        assert demo.stderr is not None
        assert any("layer 1/2 asked" in line for line in demo.stderr)
        victim = next(
            child
            for child in psutil.Process(demo.pid).children()
            if any("device-3" in part for part in child.cmdline())
        )
        victim.kill()
        out, _ = demo.communicate(timeout=PATIENCE_S)
    assert demo.returncode == 1
    answers = {answer["device_id"]: answer for answer in json.loads(out)["answers"]}
    assert answers.pop("device-3")["outcome"] == "device_died"
    assert {answer["outcome"] for answer in answers.values()} == {"answered"}
    states = {device["device_id"]: device["state"] for device in json.loads(out)["devices"]}
    assert states["device-3"] == "offline"
