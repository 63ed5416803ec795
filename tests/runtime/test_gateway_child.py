"""The gateway beside a device: whatever keeps it from starting keeps the device from nothing."""

from __future__ import annotations

import contextlib
import logging
from pathlib import Path

import pytest

from edge_agent.config import load_config
from edge_agent.runtime import gateway_child
from edge_agent.runtime.gateway_child import gateway_beside
from tests.support.polling import until
from tests.support.ports import free_ports
from tests.support.small_disk import small_disk


async def test_a_full_disk_ends_no_device_and_the_gateway_comes_when_there_is_room(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(gateway_child, "RETRY_MIN_S", 0.05)
    monkeypatch.setattr(gateway_child, "RETRY_MAX_S", 0.1)
    caplog.set_level(logging.ERROR)
    told: list[str] = []
    settings = tmp_path / "agent.toml"
    with small_disk(tmp_path / "disk", kib=64) as disk:
        settings.write_text(
            f'[device]\nid = "kitchen"\ndata_dir = "{disk}"\n[broker]\nurls = ["mqtt://127.0.0.1:1"]\n'
            f"[gateway]\nenabled = true\nport = {free_ports(1)[0]}\n"
        )
        with contextlib.suppress(OSError), (disk / "filler").open("wb", buffering=0) as file:
            while True:
                file.write(b"x" * 4096)
        async with gateway_beside(load_config(settings), told.append):
            await until(lambda: bool(told), "the problem is told")
            assert told[0] == f"gateway: {disk}/gateway.toml: No space left on device"
            assert not (disk / "gateway.toml").exists()
            (disk / "filler").unlink()
            await until(lambda: told[-1] == "", "the gateway serves")
            assert [entry.levelname for entry in caplog.records].count("ERROR") == 1
