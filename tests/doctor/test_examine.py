"""The doctor's whole round, and what it says of a machine."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable
from pathlib import Path

import pytest

from edge_agent.core.errors import SettingsError
from edge_agent.doctor import machine
from edge_agent.doctor.examine import examine
from edge_agent.doctor.findings import Check, Finding


def test_a_machine_is_looked_at_and_what_is_not_right_has_a_mend() -> None:
    checks = list(examine())
    assert [check.name for check in checks][:3] == ["Python", "C++ compiler", "llama.cpp"]
    assert {"broker", "memory", "model process"} <= {check.name for check in checks}
    assert not {"home broker", "journal's reserve", "telemetry"} & {check.name for check in checks}, "without settings"
    for check in checks:
        assert check.finding is not Finding.MISSING or check.mend, check


def test_wrong_settings_are_said_before_anything_is_looked_at(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine, "check_llama", lambda: pytest.fail("it looks"))
    with pytest.raises(SettingsError, match="nowhere"):
        next(examine(tmp_path / "nowhere.toml"))


def _no_room(_: Path, monkeypatch: pytest.MonkeyPatch) -> Check:
    monkeypatch.setattr(machine, "_available_bytes", lambda: 1024)
    return machine.check_memory()


def _read_only(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Check:
    monkeypatch.setattr(os, "access", lambda path, _: Path(path) != folder)  # root may write anywhere
    return machine.check_folder("state folder", folder / "not" / "made")


def _new_clock(_: Path, monkeypatch: pytest.MonkeyPatch) -> Check:
    monkeypatch.setattr(machine.time, "time", lambda: 0.0)
    return machine.check_clock()


def _no_compiler(_: Path, monkeypatch: pytest.MonkeyPatch) -> Check:
    monkeypatch.setattr(machine.shutil, "which", lambda _: None)
    return machine.check_compiler(needed=False)


@pytest.mark.parametrize(
    ("look", "finding", "said", "mend"),
    [
        (_no_room, Finding.MISSING, "0 MiB free", "smaller model"),
        (_read_only, Finding.MISSING, "cannot be written", "sudo chown"),
        (_new_clock, Finding.NOTE, "before this program was installed", "timedatectl"),
        (_no_compiler, Finding.NOTE, "compiled when installed", "apt install"),
    ],
)
def test_what_is_wrong_with_a_machine_is_found(
    look: Callable[[Path, pytest.MonkeyPatch], Check],
    finding: Finding,
    said: str,
    mend: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    check = look(tmp_path, monkeypatch)
    assert check.finding is finding
    assert said in check.detail
    assert mend in check.mend


def test_a_port_in_use_is_no_trouble(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server(("127.0.0.1", 0)) as there:
        monkeypatch.setattr(machine, "MQTT_PORT", there.getsockname()[1])
        check = machine.check_port()
    assert check.finding is Finding.OK
    assert "is in use" in check.detail
