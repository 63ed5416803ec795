"""`moamesh job`: whom it asks, what it keeps, what it says where nobody can be asked."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from edge_agent.cli.main import app
from provisioning.mesh import MeshFolder, MeshSettings


@pytest.fixture
def mesh(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> MeshFolder:
    monkeypatch.setenv("MOAMESH_HOME", str(tmp_path))
    made = MeshFolder.create(
        tmp_path / "meshes" / "home", MeshSettings("home", ("mqtts://127.0.0.1:1",), "mqtts://127.0.0.1:2")
    )
    for device_id in ("kitchen", "pantry"):
        made.enrol(device_id, made.authority())
    return made


def run(*arguments: str) -> tuple[int, str, str]:
    result = CliRunner().invoke(app, ["job", *arguments])
    return result.exit_code, result.stdout, result.stderr


def test_a_job_that_need_not_be_watched_is_kept_for_each_device(mesh: MeshFolder) -> None:
    status, out, _ = run("set", "agent.layers=1", "agent.peer_selection=", "--all", "--wait", "0", "--json")
    assert status == 0
    jobs = json.loads(out)["jobs"]
    assert [job["device_id"] for job in jobs] == ["kitchen", "pantry"]
    assert jobs[0]["arguments"] == {"agent.layers": 1, "agent.peer_selection": None}
    assert {job["state"] for job in json.loads(run("list", "--json")[1])["jobs"]} == {"asked"}
    assert run("cancel", jobs[0]["job_id"])[0] == 0
    assert [job["device_id"] for job in json.loads(run("list", "--json")[1])["jobs"]] == ["pantry"]


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        (["restart"], "name devices, or give --all"),
        (["restart", "--all", "-d", "kitchen"], "name devices, or give --all"),
        (["restart", "-d", "attic"], "attic is not an active device"),
        (["set", "agent.layers", "--all"], "section.key=value"),
        (["set", "agent.layers=[1]", "--all"], "texts, numbers and flags only"),
        (["cancel", "job-0"], "no such job"),
        (["restart", "--all", "--mesh", "away"], "there is no mesh 'away'"),
    ],
)
def test_what_cannot_be_asked_is_one_line(mesh: MeshFolder, arguments: list[str], problem: str) -> None:
    status, _, error = run(*arguments)
    assert status == 2
    assert problem in error
    assert error.count("\n") == 1


def test_a_broker_that_is_not_there_is_said_and_the_job_is_kept(mesh: MeshFolder) -> None:
    status, _, error = run("restart", "-d", "kitchen", "--wait", "1")
    assert status == 2
    assert "the jobs are kept" in error
    assert json.loads(run("list", "--json")[1])["jobs"][0]["state"] == "asked"
