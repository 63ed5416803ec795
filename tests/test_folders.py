"""Where this user's files are: the variables, the defaults, and the one module that reads them."""

from __future__ import annotations

import ast
import os
from collections.abc import Mapping
from pathlib import Path

import pytest

from edge_agent.cli.gateway.options import default_keys_file
from edge_agent.config import load_config
from edge_agent.folders import data_folder, state_folder
from edge_agent.models import models_home
from provisioning.mesh_names import meshes_folder

ROOT = Path(__file__).parents[1]
VARIABLES = ("MOAMESH_HOME", "XDG_DATA_HOME", "XDG_STATE_HOME", "HOME")
DATA, STATE = "/home/ada/.local/share/moamesh", "/home/ada/.local/state/moamesh"


def set_only(monkeypatch: pytest.MonkeyPatch, variables: Mapping[str, str]) -> None:
    for name in VARIABLES:
        monkeypatch.delenv(name, raising=False)
    for name, value in {"HOME": "/home/ada", **variables}.items():
        monkeypatch.setenv(name, value)


@pytest.mark.parametrize(
    ("variables", "data", "state"),
    [
        ({}, DATA, STATE),
        ({"XDG_DATA_HOME": "/data"}, "/data/moamesh", STATE),
        ({"XDG_DATA_HOME": "/data//"}, "/data/moamesh", STATE),
        ({"XDG_STATE_HOME": "/state"}, DATA, "/state/moamesh"),
        ({"XDG_DATA_HOME": "", "XDG_STATE_HOME": ""}, DATA, STATE),
        ({"XDG_DATA_HOME": "data", "XDG_STATE_HOME": "./state"}, DATA, STATE),  # "ignored", says the specification
        ({"XDG_DATA_HOME": "~/data"}, DATA, STATE),  # as the specification has it, a shell's sign is no folder
        ({"MOAMESH_HOME": "/srv/moamesh"}, "/srv/moamesh", STATE),
        ({"MOAMESH_HOME": "/srv/moamesh", "XDG_DATA_HOME": "/data"}, "/srv/moamesh", STATE),
        ({"MOAMESH_HOME": "", "XDG_DATA_HOME": "/data"}, "/data/moamesh", STATE),
        ({"MOAMESH_HOME": "here"}, "here", STATE),  # ours, so it may count from where one stands
    ],
)
def test_folders_follow_the_environment(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, variables: Mapping[str, str], data: str, state: str
) -> None:
    settings = tmp_path / "agent.toml"
    settings.write_text('[device]\nid = "kitchen"\n')
    set_only(monkeypatch, variables)
    assert data_folder() == Path(data)
    assert state_folder() == Path(state)
    assert models_home() == Path(data) / "models"
    assert meshes_folder() == Path(data) / "meshes"
    assert default_keys_file() == Path(data) / "gateway" / "api-keys.json"
    assert load_config(settings).data_dir == Path(data) / "devices" / "kitchen"


def test_asking_for_a_folder_makes_none(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    set_only(monkeypatch, {"HOME": str(tmp_path)})
    assert (data_folder(), state_folder()) == (tmp_path / ".local/share/moamesh", tmp_path / ".local/state/moamesh")
    assert os.listdir(tmp_path) == []


def variables_named(source: str) -> list[str]:
    texts = [node.value for node in ast.walk(ast.parse(source)) if isinstance(node, ast.Constant)]
    return [text for text in texts if isinstance(text, str) and (text == "MOAMESH_HOME" or text.startswith("XDG_"))]


def test_one_module_knows_the_variables() -> None:
    assert variables_named('import os\nbase = os.environ.get("XDG_DATA_HOME")') == ["XDG_DATA_HOME"]
    knows = [
        str(path.relative_to(ROOT))
        for room in ("moamesh", "edge_agent", "broker", "provisioning", "monitoring")
        for path in (ROOT / room).rglob("*.py")
        if variables_named(path.read_text(encoding="utf-8"))
    ]
    # the command line's check of every variable that our files depend on names them, and reads none
    assert sorted(knows) == ["edge_agent/cli/entry.py", "edge_agent/folders.py"]
