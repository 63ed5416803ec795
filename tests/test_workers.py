from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from tests.workers import FIRST, TOGETHER, group_of, in_order, pytest_make_parametrize_id

ROOT = Path(__file__).parents[1]


def test_a_folder_that_shares_a_mesh_stays_together_and_other_files_go_alone() -> None:
    assert group_of("tests/app/test_asking.py::test_a[x::y]") == group_of("tests/app/test_offline.py::test_b")
    assert group_of("tests/core/test_queue.py::test_a") != group_of("tests/core/test_peers.py::test_b")


def test_every_folder_with_package_scope_stays_together() -> None:
    shared = {
        f"{path.parent.relative_to(ROOT)}/"
        for path in (ROOT / "tests").rglob("*.py")
        if 'scope="package"' in path.read_text() and path != Path(__file__)
    }
    assert shared == set(TOGETHER)


def test_what_takes_long_begins_first_and_is_there() -> None:
    found = ["tests/core/test_queue.py::test_a", f"{FIRST[1]}test_x.py::test_b", "tests/zzz.py::test_c"]
    assert in_order(found) == [found[1], found[0], found[2]]
    assert [path for path in FIRST if not (ROOT / path).exists()] == []


def test_a_test_is_not_named_after_many_bytes() -> None:
    assert pytest_make_parametrize_id(b"x" * 1000, "data") == "data"
    assert pytest_make_parametrize_id(b"short", "data") is None
    assert pytest_make_parametrize_id("x" * 1000, "data") is None


def test_each_group_is_run_by_one_worker_alone(tmp_path: Path) -> None:
    text = "import os, pathlib, pytest\n@pytest.mark.parametrize('at', range(5))\ndef test_a(at, worker_id):\n"
    text += "    with pathlib.Path(f'{__file__}.ran').open('a') as file: file.write(worker_id)\n"
    files = [tmp_path / f"test_{name}.py" for name in "abcd"]
    for file in files:
        file.write_text(text)
    (tmp_path / "pytest.ini").write_text("[pytest]\naddopts = -p tests.workers -p no:cacheprovider\n")
    command = [
        sys.executable,
        "-m",
        "pytest",
        "-n",
        "2",
        "--dist",
        "loadscope",
        "--rootdir",
        str(tmp_path),
        str(tmp_path),
    ]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert "20 passed" in done.stdout, done.stdout + done.stderr
    ran = [Path(f"{file}.ran").read_text() for file in files]
    assert all(one in ("gw0" * 5, "gw1" * 5) for one in ran), ran
    assert len(set(ran)) == 2
