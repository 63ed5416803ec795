"""An upgrade: the very wheel that the operator named, and what it was locked to. Another index gets nothing in."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
import tomllib
import zipfile
from importlib.metadata import distributions
from pathlib import Path

import pytest
from packaging.requirements import Requirement

from edge_agent.management.upgrade import BUILT_HERE, LOCK, UpgradeError, needed, read_lock
from provisioning.seed.requirements import normal_name
from scripts.lock_requirements import ROOT, requirements_digest
from tests.provisioning.test_seed_requirements import wheel_of

LOCKED = (ROOT / LOCK).read_text(encoding="utf-8")


def test_the_lock_is_of_the_requirements_as_they_are_now() -> None:
    assert f"# of requirements {requirements_digest()}\n" in LOCKED, "run: make lock"


def test_the_lock_holds_whatever_pyproject_asks_for_in_a_version_that_it_allows() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    asked = [*project["dependencies"], *(one for extra in project["optional-dependencies"].values() for one in extra)]
    locked: dict[str, list[str]] = {}
    for one in read_lock(LOCKED):
        locked.setdefault(one.name, []).append(one.line.partition("==")[2].split()[0])
    for requirement in map(Requirement, asked):
        if requirement.name != "moamesh":
            versions = locked[normal_name(requirement.name)]
            assert all(requirement.specifier.contains(version) for version in versions), requirement


def test_everything_in_the_lock_is_pinned_has_checksums_and_names_no_place() -> None:
    entries = read_lock(LOCKED)
    assert len(entries) > 50
    assert all("--hash=sha256:" in one.line for one in entries)
    assert all(one.needed_by for one in entries)
    assert "://" not in LOCKED


@pytest.mark.parametrize(
    "damaged", ["httpx==1.0\n", "httpx>=1.0 \\\n    --hash=sha256:" + "0" * 64, "-r other.txt\n", "git+https://x\n"]
)
def test_a_lock_that_pins_not_everything_is_refused(damaged: str) -> None:
    with pytest.raises(UpgradeError, match="is not a package with its version and checksums") as refused:
        read_lock(damaged)
    assert "\n" not in str(refused.value)


def test_a_device_gets_what_it_has_and_what_that_needs_and_no_more() -> None:
    names = {one.name for one in needed(read_lock(LOCKED), ["cryptography", "llama-cpp-python"], ["httpx", "pydantic"])}
    assert {"cryptography", "cffi", "httpx", "httpcore", "pydantic", "pydantic-core"} <= names
    assert not names & {"matplotlib", "textual", "fastapi", *BUILT_HERE}


# --- with pip, in an environment of its own ---------------------------------------------------------------------------


@pytest.fixture(scope="module")
def python(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A device's Python with moamesh 0.1 in it; the code that upgrades comes from this tree."""
    folder = tmp_path_factory.mktemp("device")
    subprocess.run([sys.executable, "-m", "venv", str(folder / "venv")], check=True)
    made = folder / "venv" / "bin" / "python"
    pip = (str(made), "-m", "pip", "install", "-q", "--no-index", "--no-deps")
    subprocess.run([*pip, str(wheel_of(folder, "moamesh", "0.1")), str(wheel_of(folder, "needed", "0.9"))], check=True)
    return made


def release(folder: Path, lock: str) -> Path:
    """A wheel of moamesh 0.2 that is locked to these."""
    wheel = wheel_of(folder, "moamesh", "0.2", "needed")
    with zipfile.ZipFile(wheel, "a") as file:
        file.writestr(LOCK, lock)
    return wheel


def upgraded(python: Path, index: Path, wheel_sha256: str, folder: Path) -> tuple[str, dict[str, str]]:
    """Upgrades from a folder as index; returns what was said and the versions there are then. Takes it all back."""
    venv = folder / "venv"
    shutil.copytree(python.parents[1], venv, symlinks=True)
    there = venv / "bin" / "python"
    code = (
        "import asyncio, sys\nfrom edge_agent.management import upgrade as u\n"
        "try:\n    asyncio.run(u.upgrade('0.2', sys.argv[1]))\nexcept u.UpgradeError as error:\n    print(error)\n"
    )
    own = {"PIP_NO_INDEX": "1", "PIP_FIND_LINKS": str(index), "PIP_CONFIG_FILE": "/dev/null", "PYTHONPATH": str(ROOT)}
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PIP_")} | own
    run = subprocess.run(
        [str(there), "-c", code, wheel_sha256], env=environment, capture_output=True, text=True, check=False, cwd=folder
    )
    assert run.returncode == 0, run.stderr
    (site,) = (venv / "lib").glob("python*/site-packages")
    return run.stdout, {one.name: one.version for one in distributions(path=[str(site)])}


def locked_to(*wheels: Path) -> str:
    lines = ""
    for wheel in wheels:
        name, version = wheel.name.split("-")[:2]
        digest = hashlib.sha256(wheel.read_bytes()).hexdigest()
        lines += f"{name}=={version} \\\n    --hash=sha256:{digest}\n    # via moamesh\n"
    return lines


@pytest.fixture
def index(tmp_path: Path) -> Path:
    folder = tmp_path / "index"
    folder.mkdir()
    return folder


def sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


@pytest.mark.long
def test_the_named_wheel_and_what_it_is_locked_to_are_installed(python: Path, index: Path, tmp_path: Path) -> None:
    wheel = release(index, locked_to(wheel_of(index, "needed", "1.0")))
    wheel_of(index, "needed", "2.0")  # newer, and not what it was locked to
    said, there = upgraded(python, index, sha256(wheel), tmp_path)
    assert said == ""
    assert (there["moamesh"], there["needed"]) == ("0.2", "1.0")


@pytest.mark.parametrize("what", ["another wheel of that version", "another file of a package", "no lock"])
def test_whatever_has_another_checksum_changes_nothing(python: Path, index: Path, tmp_path: Path, what: str) -> None:
    other = wheel_of(index, "needed", "1.0")
    wheel = release(index, locked_to(other))
    named = sha256(wheel)
    if what == "another wheel of that version":
        release(index, locked_to(other) + "# of somebody who registered the name\n")
    elif what == "another file of a package":
        wheel_of(index, "needed", "1.0", "evil")
    else:
        named = sha256(wheel_of(index, "moamesh", "0.2", "needed"))
    said, there = upgraded(python, index, named, tmp_path)
    assert len(said.strip().splitlines()) == 1, said
    assert "could not install" in said or "is not a release of moamesh" in said
    assert (there["moamesh"], there["needed"]) == ("0.1", "0.9")
