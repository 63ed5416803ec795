"""The command line: what it understands, and how it says no."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from edge_agent.cli.agent.overrides import parse_overrides
from edge_agent.cli.main import app
from edge_agent.cli.mesh_options import BROKER_VARIABLE
from edge_agent.core.errors import SettingsError

HEAVY = ("aiomqtt", "pydantic", "rich.live", "llama_cpp", "httpx", "edge_agent.runtime")


@pytest.fixture(autouse=True)
def own_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    monkeypatch.setenv("MOAMESH_HOME", str(tmp_path / "home"))
    monkeypatch.delenv(BROKER_VARIABLE, raising=False)


def invoke(*arguments: str, stdin: str | None = None) -> tuple[int, str, str]:
    result = CliRunner().invoke(app, arguments, input=stdin)
    assert result.exception is None or isinstance(result.exception, SystemExit)
    return result.exit_code, result.stdout, result.stderr


def test_help_names_every_command() -> None:
    status, out, _ = invoke("--help")
    assert status == 0
    for command in ("agent", "up", "ask", "status", "demo", "run-prompts", "models", "doctor"):
        assert command in out
        assert invoke(command, "--help")[0] == 0


def test_help_loads_nothing_heavy() -> None:
    code = f"import sys, edge_agent.cli.main; print([name for name in {HEAVY!r} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


EARLY_CTRL_C = """
import os, signal, sys

class Finder:
    def find_spec(self, name, path=None, target=None):
        if name == "typer":
            os.kill(os.getpid(), signal.SIGINT)

signal.signal(signal.SIGINT, signal.default_int_handler)  # whoever runs the tests may have it ignored
sys.meta_path.insert(0, Finder())
from edge_agent.cli.start import run
run()
"""


def test_ctrl_c_while_the_command_loads_ends_it_without_a_traceback() -> None:
    done = subprocess.run([sys.executable, "-c", EARLY_CTRL_C, "status"], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (-signal.SIGINT, "")


def test_shell_completion_is_offered() -> None:
    command = [sys.executable, "-m", "edge_agent.cli.main"]
    environment = {"_MOAMESH_COMPLETE": "complete_bash", "COMP_WORDS": "moamesh d", "COMP_CWORD": "1"}
    code = "from edge_agent.cli.main import app; app(prog_name='moamesh')"
    done = subprocess.run([command[0], "-c", code], env=environment, capture_output=True, text=True, check=False)
    assert done.stdout.split() == ["demo", "doctor", "device"]


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["ask", "hi"], "no local mesh is running"),
        (["ask", "  "], "the prompt is empty"),
        (["ask", "hi", "--deadline", "0"], "deadline_s must be above 0"),
        (["ask", "hi", "--broker", "http://x"], "broker URL must be"),
        (["ask", "hi", "--broker", "mqtt://127.0.0.1:1883", "--mesh", "A B"], "mesh must be"),
        (["status"], "no local mesh is running"),
        (["demo", "--engine", "magic"], "--engine must be auto, llama, llama-server or synthetic"),
        (["demo", "--engine", "synthetic", "--service", "often"], "service time"),
        (["up", "--model", "no-such-model"], "unknown model 'no-such-model'"),
        (["up", "--model", "nowhere.gguf"], "no model file nowhere.gguf"),
        (["models", "path", "nothing"], "moamesh models pull nothing"),
        (["run-prompts", "nowhere.json", "--output", "o.json"], "cannot read nowhere.json"),
        (["run-prompts", "x.json", "-o", "o.json", "--rate", "1", "--concurrency", "2"], "--rate"),
        (["agent", "--config", "nowhere.toml"], "nowhere.toml: No such file"),
        (["agent", "--config", "nowhere.toml", "--set", "layers=1"], "--set takes section.key=value"),
    ],
)
def test_what_is_wrong_is_one_line_on_stderr_and_status_2(arguments: list[str], says: str) -> None:
    status, out, err = invoke(*arguments)
    assert (status, out) == (2, "")
    assert says in err
    assert len(err.strip().splitlines()) == 1


@pytest.mark.parametrize("arguments", [["ask", "hi", "--layers", "9"], ["demo", "--devices", "0"], ["nonsense"]])
def test_flags_out_of_range_are_refused_with_status_2(arguments: list[str]) -> None:
    status, out, err = invoke(*arguments)
    assert (status, out) == (2, "")
    assert "Error" in err


def test_a_wrong_key_in_the_settings_is_named_with_its_place(tmp_path: Path) -> None:
    path = tmp_path / "agent.toml"
    path.write_text('[device]\nid = "kitchen"\n\n[agent]\nlayer = 3\n', encoding="utf-8")
    status, _, err = invoke("agent", "--config", str(path))
    assert status == 2
    assert "agent.toml:5" in err
    assert "did you mean layers?" in err


def test_a_users_broker_variable_is_no_setting_of_a_device(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(BROKER_VARIABLE, "mqtt://127.0.0.1:1")
    path = tmp_path / "agent.toml"
    path.write_text('[device]\nid = "kitchen"\n[engine]\nmodel = "nowhere.gguf"\n', encoding="utf-8")
    status, _, err = invoke("agent", "--config", str(path))
    assert (status, err) == (2, "moamesh: no model file nowhere.gguf\n")


def test_overrides_are_toml_values_or_text() -> None:
    texts = [
        "agent.layers=1",
        "engine.kind=synthetic",
        'device.id="a"',
        "broker.aliases=['mqtt://x:1']",
        "agent.x=true",
    ]
    assert parse_overrides(texts) == {
        "agent.layers": 1,
        "engine.kind": "synthetic",
        "device.id": "a",
        "broker.aliases": ["mqtt://x:1"],
        "agent.x": True,
    }
    with pytest.raises(SettingsError, match=r"section\.key=value"):
        parse_overrides(["layers=1"])


def test_models_that_can_be_pulled_are_listed_as_json() -> None:
    status, out, _ = invoke("models", "list", "--json")
    listed = json.loads(out)
    assert status == 0
    assert listed["models"] == []
    assert listed["default"] in [model["name"] for model in listed["available"]]


def test_the_doctor_names_a_command_for_each_thing_that_is_not_right() -> None:
    status, out, _ = invoke("doctor", "--json")
    report = json.loads(out)
    findings = {check["name"]: check["finding"] for check in report["checks"]}
    assert findings["Python"] == "ok"
    assert findings["default model"] == "note"  # this home is empty
    assert all(check["mend"] for check in report["checks"] if check["finding"] == "missing")
    assert (status == 0) == report["ok"] == ("missing" not in findings.values())
