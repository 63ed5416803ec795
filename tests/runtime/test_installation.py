"""The secret of an installation: kept, made anew where it is damaged, done without where it cannot be kept."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from edge_agent.runtime.installation import INSTALLATION_FILE, installation
from edge_agent.wire.client_ids import SECRET_BYTES

DIGITS = 2 * SECRET_BYTES


def test_it_stays_the_same_and_no_two_folders_have_the_same(tmp_path: Path) -> None:
    one = installation(tmp_path / "a")
    assert len(one) == DIGITS
    assert installation(tmp_path / "a") == one
    assert (tmp_path / "a" / INSTALLATION_FILE).stat().st_mode & 0o077 == 0
    assert installation(tmp_path / "b") != one


@pytest.mark.parametrize(
    "content", [b"", b"\0" * 12, b"0" * 31, b"0" * 33, b"A B", b"x" * 300, b"\xff\xfe", "ü".encode()]
)
def test_a_damaged_one_is_made_anew_and_said(tmp_path: Path, content: bytes, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / INSTALLATION_FILE).write_bytes(content)
    one = installation(tmp_path)
    assert len(one) == DIGITS
    assert str(tmp_path / INSTALLATION_FILE) in caplog.text


@pytest.mark.parametrize("spoil", [Path.mkdir, lambda path: path.symlink_to("/nowhere/at/all")])
def test_where_it_cannot_be_kept_a_device_starts_all_the_same(
    tmp_path: Path, spoil: Callable[[Path], None], caplog: pytest.LogCaptureFixture
) -> None:
    spoil(tmp_path / INSTALLATION_FILE)
    assert len(installation(tmp_path)) == DIGITS
    assert "at each start" in caplog.text


def test_one_that_other_brokers_have_seen_is_replaced_without_a_word(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / INSTALLATION_FILE).write_bytes(b"0123456789ab\n")
    one = installation(tmp_path)
    assert len(one) == DIGITS
    assert installation(tmp_path) == one
    assert not caplog.messages
