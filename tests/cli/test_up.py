"""`moamesh up` as a user sees it: where the app and the API are, and that all of it ends together."""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import signal
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import psutil
import pytest

from tests.support.commands import moamesh
from tests.support.patience import PATIENCE_S

pytestmark = pytest.mark.broker

SYNTHETIC = ("--engine", "synthetic", "--service", "deterministic:0.02", "--devices", "1")


def environment_in(folder: Path) -> dict[str, str]:
    """That of a user whose files lie here."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("MOAMESH_")}
    return kept | {"XDG_STATE_HOME": str(folder / "state"), "MOAMESH_HOME": str(folder), "COLUMNS": "200"}


@contextlib.asynccontextmanager
async def up(folder: Path, *options: str) -> AsyncIterator[tuple[asyncio.subprocess.Process, str]]:
    """A running `moamesh up`, and what it said until it was up."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "edge_agent.cli.main", "up", *SYNTHETIC, *options),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
        env=environment_in(folder),
    )
    assert process.stdout is not None
    said = ""
    try:
        async with asyncio.timeout(PATIENCE_S):
            while "● online" not in said and (line := await process.stdout.readline()):
                said += line.decode()
        yield process, said
    finally:
        if process.returncode is None:
            process.send_signal(signal.SIGINT)
        await process.communicate()


async def test_it_says_where_app_and_api_are_and_takes_everything_with_it(tmp_path: Path) -> None:
    async with up(tmp_path, "--gateway-port", "0") as (process, said):
        found = re.search(r"app: (http://127\.0\.0\.1:\d+) +API for OpenAI clients: \1/v1", said)
        assert found is not None, said
        assert "moamesh pair NAME" in said
        async with httpx.AsyncClient(timeout=PATIENCE_S) as client:
            assert (await client.get(f"{found[1]}/v1/models")).status_code == 200
        started = psutil.Process(process.pid).children(recursive=True)
        assert len(started) >= 3, "a broker, a gateway, a device"
        process.send_signal(signal.SIGINT)
        async with asyncio.timeout(PATIENCE_S):
            await process.communicate()
        assert process.returncode == 130
    _, alive = await asyncio.to_thread(psutil.wait_procs, started, PATIENCE_S)
    assert alive == []
    asked = moamesh(environment_in(tmp_path), "ask", "why?")
    assert (asked.returncode, "no local mesh is running" in asked.stderr) == (2, True)


async def test_for_the_network_it_says_so_and_shows_the_key(tmp_path: Path) -> None:
    async with up(tmp_path, "--lan", "--gateway-port", "0") as (_, said):
        assert "this network reaches both, unencrypted" in said
        key = re.search(r"asks for this key: (sk-moamesh-\S+)", said)
        url = re.search(r"app: (\S+)", said)
        assert key is not None
        assert url is not None
        async with httpx.AsyncClient(timeout=PATIENCE_S) as client:
            assert (await client.get(f"{url[1]}/v1/models")).status_code == 401
            keyed = {"Authorization": f"Bearer {key[1]}"}
            assert (await client.get(f"{url[1]}/v1/models", headers=keyed)).status_code == 200


async def test_without_a_gateway_nothing_is_served(tmp_path: Path) -> None:
    async with up(tmp_path, "--no-gateway") as (process, said):
        assert "app:" not in said
        commands = [" ".join(child.cmdline()) for child in psutil.Process(process.pid).children(recursive=True)]
        assert not any(" gateway " in command for command in commands)
    refused = moamesh(environment_in(tmp_path), "up", *SYNTHETIC, "--no-gateway", "--lan")
    assert (
        refused.stderr == "moamesh: --no-gateway serves nothing: leave it out, or leave out --lan and --gateway-port\n"
    )
    assert (refused.returncode, refused.stdout) == (2, "")
