"""What the doctor says of a disk on which the journal's reserve must have room."""

from __future__ import annotations

from pathlib import Path

import pytest

from edge_agent.doctor import journal as doctor
from edge_agent.doctor.findings import Finding
from tests.support.small_disk import small_disk

SMALL = 256 * 1024


def test_a_disk_without_room_for_the_reserve_is_noted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "RESERVE_BYTES", SMALL)
    monkeypatch.setattr(doctor, "RESERVE_ROOM_BYTES", 2 * SMALL)
    with small_disk(tmp_path / "card", kib=1024) as card:
        journal = card / "not" / "made" / "yet.sqlite3"
        assert doctor.check_reserve(journal).finding is Finding.OK
        (card / "ballast").write_bytes(bytes(640 * 1024))
        check = doctor.check_reserve(journal)
        assert check.finding is Finding.NOTE
        assert "no room" in check.detail
        assert str(card) in check.mend
        (card / "j-ends").write_bytes(bytes(SMALL))
        assert doctor.check_reserve(card / "j").finding is Finding.OK
