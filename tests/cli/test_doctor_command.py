"""`moamesh doctor`, as its users run it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.cli.test_live_commands import home
from tests.doctor.test_home_broker import settings
from tests.support.brokers import MosquittoWith
from tests.support.commands import moamesh_beside

__all__ = ["home"]
pytestmark = pytest.mark.broker


async def test_what_is_found_of_a_device_s_broker_is_shown(tmp_path: Path, home: dict[str, str]) -> None:
    async with MosquittoWith(tmp_path, "retain_available false") as broker:
        file = settings(tmp_path, broker.url)
        done = await moamesh_beside(home, "doctor", "--config", str(file), "--json")
        told = [one["detail"] for one in json.loads(done.stdout)["checks"] if one["name"] == "home broker"]
        assert any("keeps no retained messages" in line for line in told), done.stderr
