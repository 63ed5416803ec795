"""Building the app where that cannot be done: one line, and everything else goes on."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from scripts.build_app import NPM_CLI
from tests.app.node import NODE

ROOT = Path(__file__).resolve().parents[2]
NOBODY = "http://127.0.0.1:9"  # the discard port: nothing listens there


def build(folder: Path, *options: str) -> subprocess.CompletedProcess[str]:
    """Builds a copy of the app's package list, with a registry that cannot be reached and nothing cached."""
    (folder / "app").mkdir()
    (folder / "scripts").mkdir()
    for name in ("app/package.json", "app/package-lock.json", "scripts/build_app.py"):
        shutil.copy(ROOT / name, folder / name)
    environment = {"npm_config_registry": NOBODY, "npm_config_cache": str(folder / "cache")}
    return subprocess.run(
        [sys.executable, "scripts/build_app.py", *options],
        cwd=folder,
        env={**os.environ, **environment},
        check=False,
        capture_output=True,
        text=True,
    )


@pytest.mark.parametrize(("options", "status"), [((), 1), (("--optional",), 0)])
def test_without_npms_registry_one_line_says_so(tmp_path: Path, options: tuple[str, ...], status: int) -> None:
    done = build(tmp_path, *options)
    assert done.returncode == status
    (line,) = done.stderr.splitlines()
    assert line.startswith("The web app is not built: its npm packages cannot be had (")
    assert line.endswith("Once they can: make app")


def test_the_lock_names_every_package_for_every_kind_of_machine_and_no_host() -> None:
    text = (ROOT / "app" / "package-lock.json").read_text("utf-8")
    assert "resolved" not in text  # whichever registry a machine uses will do
    for platform in ("linux-x64-gnu", "linux-arm64-gnu", "darwin-arm64"):
        assert f"@rolldown/binding-{platform}" in text


@pytest.mark.parametrize("ours", [True, False])
def test_no_packages_script_is_run_when_the_app_is_built(ours: bool, tmp_path: Path) -> None:
    script = {"name": "evil", "version": "1.0.0", "scripts": {"install": "echo > ran", "prepare": "echo > ran"}}
    (tmp_path / "package.json").write_text(json.dumps(script))
    (tmp_path / "package-lock.json").write_text(
        json.dumps({"name": "evil", "version": "1.0.0", "lockfileVersion": 3, "packages": {"": script}})
    )
    if ours:
        shutil.copy(ROOT / "app" / ".npmrc", tmp_path)
    environment = {**os.environ, "npm_config_registry": NOBODY, "npm_config_cache": str(tmp_path / "cache")}
    command = [str(NODE), str(NPM_CLI), "ci", "--no-audit", "--no-fund"]
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "ran").exists() is not ours, "without our .npmrc it is run: else this would prove nothing"


def test_every_package_of_the_app_is_locked_by_version_and_checksum() -> None:
    packages = json.loads((ROOT / "app" / "package-lock.json").read_text("utf-8"))["packages"]
    assert len(packages) > 50
    assert [name for name, one in packages.items() if name and not (one.get("version") and one.get("integrity"))] == []
