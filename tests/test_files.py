"""The one writer of state files: the old or the new, never half, whatever stands in the way."""

from __future__ import annotations

import errno
import os
import random
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from edge_agent.files import PRIVATE, PUBLIC, is_there, read_file, read_if_there, write_atomically
from tests.support.small_disk import small_disk

ROOT = Path(__file__).parents[1]
SEED = 20261127
KILLS = 6
OWN_WRITERS = {
    "edge_agent/files.py",
    "edge_agent/adapters/journal/database.py",  # its folder, after SQLite has made the file
    "edge_agent/adapters/journal/reserve.py",  # in place: a full disk has no room for a second file
    "provisioning/image/flash.py",  # a card, not a file
    "provisioning/image/writing.py",
}
"""Who may bring bytes to a disk by its own hand."""


def test_a_file_has_its_mode_whatever_the_umask_says(tmp_path: Path) -> None:
    before = os.umask(0o077)
    try:
        write_atomically(tmp_path / "public", b"a", PUBLIC)
        write_atomically(tmp_path / "private", b"b")
    finally:
        os.umask(before)
    assert [(tmp_path / name).stat().st_mode & 0o777 for name in ("public", "private")] == [PUBLIC, PRIVATE]


def test_a_link_is_followed_and_stays_one(tmp_path: Path) -> None:
    there = tmp_path / "elsewhere" / "file"
    there.parent.mkdir()
    there.write_bytes(b"old")
    link = tmp_path / "file"
    link.symlink_to(there)
    write_atomically(link, b"new")
    assert link.is_symlink()
    assert there.read_bytes() == b"new"


def test_a_folder_or_a_pipe_is_not_replaced(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    os.mkfifo(tmp_path / "pipe")
    for name in ("folder", "pipe"):
        with pytest.raises(OSError, match="in its place"):
            write_atomically(tmp_path / name, b"new")
        with pytest.raises(OSError, match="in its place"):  # and a pipe does not make its reader wait
            read_file(tmp_path / name, 10)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["folder", "pipe"]


def test_nothing_there_is_told_apart_from_what_cannot_be_had(tmp_path: Path) -> None:
    assert read_if_there(tmp_path / "none", 10) is None
    assert not is_there(tmp_path / "none")
    link = tmp_path / "link"
    link.symlink_to(tmp_path / "gone")
    assert is_there(link)
    with pytest.raises(OSError, match="a link to a file that is not there") as caught:
        read_if_there(link, 10)
    assert not isinstance(caught.value, FileNotFoundError)
    (tmp_path / "large").write_bytes(b"12345678901")
    with pytest.raises(OSError, match="larger than 10 bytes") as caught:
        read_if_there(tmp_path / "large", 10)
    assert caught.value.errno == errno.EFBIG


def test_a_full_disk_leaves_the_old_file_and_nothing_beside_it(tmp_path: Path) -> None:
    with small_disk(tmp_path / "disk", kib=64) as disk:
        write_atomically(disk / "file", b"old")
        for _ in range(3):
            with pytest.raises(OSError, match="No space left"):
                write_atomically(disk / "file", b"n" * 100_000)
            assert [(path.name, path.read_bytes()) for path in disk.iterdir()] == [("file", b"old")]
        write_atomically(disk / "file", b"new")
        assert (disk / "file").read_bytes() == b"new"


WRITES = """
import sys
from pathlib import Path
from edge_agent.files import write_atomically
path, times = Path(sys.argv[1]), int(sys.argv[2])
for number in range(times):
    write_atomically(path, b"ab"[number % 2 :][:1] * 300_000, durable=False)
    if number == 0:
        print("begun", flush=True)
"""


def writer(path: Path, times: int) -> subprocess.Popen[bytes]:
    return subprocess.Popen([sys.executable, "-c", WRITES, str(path), str(times)], cwd=ROOT, stdout=subprocess.PIPE)


def test_a_kill_at_any_moment_leaves_one_whole_file_and_the_next_writer_cleans_up(tmp_path: Path) -> None:
    rng = random.Random(SEED)
    print(f"seed {SEED}")
    path = tmp_path / "file[1]*"
    for _ in range(KILLS):
        with writer(path, 1_000_000) as process:
            assert process.stdout is not None
            assert process.stdout.readline() == b"begun\n"
            for _ in range(rng.randrange(2000)):
                path.stat()
            process.send_signal(signal.SIGKILL)
        content = path.read_bytes()
        assert content in (b"a" * 300_000, b"b" * 300_000)
    (tmp_path / ".file[1]*.deadbeef.tmp").write_bytes(b"what a kill left")
    (tmp_path / ".another.deadbeef.tmp").write_bytes(b"not of this file")
    write_atomically(path, b"last")
    assert sorted(one.name for one in tmp_path.iterdir()) == [".another.deadbeef.tmp", "file[1]*"]


def test_two_writers_never_take_each_others_work_for_a_leftover(tmp_path: Path) -> None:
    path = tmp_path / "file"
    processes = [writer(path, 100) for _ in range(3)]
    assert [process.communicate()[0] for process in processes] == [b"begun\n"] * 3
    assert [process.returncode for process in processes] == [0] * 3
    assert [one.name for one in tmp_path.iterdir()] == ["file"]


def test_nobody_else_writes_state_by_its_own_hand() -> None:
    written = []
    for package in ("edge_agent", "broker", "provisioning"):
        for path in sorted((ROOT / package).rglob("*.py")):
            name = str(path.relative_to(ROOT))
            text = path.read_text(encoding="utf-8")
            if name not in OWN_WRITERS and "os.fsync" in text:
                written.append(name)
    assert written == [], "edge_agent.files.write_atomically is for that"
