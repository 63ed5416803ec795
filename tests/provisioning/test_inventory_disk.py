"""A disk that refuses is no damage: the inventory is good, and nobody is told to move it away."""

from __future__ import annotations

import sqlite3
import subprocess
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

import pytest

from provisioning import database
from provisioning.errors import ProvisioningError
from provisioning.inventory import Inventory
from tests.support.small_disk import small_disk


@contextmanager
def full(path: Path) -> Iterator[None]:
    ballast = path.with_name("ballast")
    with ballast.open("wb", buffering=0) as file:
        for size in (4096, 1):
            try:
                while True:
                    file.write(b"x" * size)
            except OSError:
                continue
    yield
    ballast.unlink()


@contextmanager
def read_only(path: Path) -> Iterator[None]:
    subprocess.run(["mount", "-o", "remount,ro", str(path.parent)], check=True)
    yield
    subprocess.run(["mount", "-o", "remount,rw", str(path.parent)], check=True)


@contextmanager
def busy(path: Path) -> Iterator[None]:
    other = sqlite3.connect(path, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    yield
    other.close()


@pytest.mark.parametrize(
    ("state", "says"), [(full, "make room on its disk"), (read_only, "mount its disk writable"), (busy, "try again")]
)
def test_a_disk_that_refuses_is_said_with_its_own_way_out(
    state: Callable[[Path], AbstractContextManager[None]],
    says: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(database, "LOCK_TIMEOUT_S", 0.1)
    with small_disk(tmp_path / "card", 128) as card:
        path = card / "inventory.sqlite3"
        Inventory.make(path)
        with state(path), pytest.raises(ProvisioningError) as raised:
            invite(path, "kitchen")
        assert says in str(raised.value)
        assert "move it" not in str(raised.value)
        invite(path, "kitchen")


def invite(path: Path, name: str) -> None:
    inventory = Inventory(path)
    try:
        inventory.invite(name, password_hash="$7$" + "x" * 9000, proof_key=b"x" * 32)
    finally:
        inventory.close()
