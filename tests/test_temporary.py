"""Where the tests' temporary folders lie."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from tests import temporary
from tests.conftest import missing


def test_a_folder_with_room_is_taken_and_one_without_is_not(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(temporary, "ROOM_MIN", 1)
    assert temporary.temporary_root(tmp_path) == str(tmp_path)
    monkeypatch.setattr(temporary, "ROOM_MIN", 1 << 60)
    assert temporary.temporary_root(tmp_path) is None
    assert temporary.temporary_root(tmp_path / "nothing") is None


def test_where_no_program_may_be_started_nothing_is_put(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(temporary, "ROOM_MIN", 1)
    mount = ["mount", "-t", "tmpfs", "-o", "size=64k,noexec", "tmpfs", str(tmp_path)]
    if os.geteuid() != 0 or subprocess.run(mount, capture_output=True, check=False).returncode != 0:
        missing("mounting a file system needs root")
    try:
        assert temporary.temporary_root(tmp_path) is None
    finally:
        subprocess.run(["umount", "-l", str(tmp_path)], check=True)
