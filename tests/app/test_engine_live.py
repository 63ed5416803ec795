"""The app's engine under Node.js against a real broker and real devices: app/test/live says what is expected."""

from __future__ import annotations

import asyncio
import base64
import json
from pathlib import Path
from typing import Any

import pytest

from edge_agent.core.errors import MoameshError
from edge_agent.fleet.local import LocalFleet
from edge_agent.fleet.plan import EngineKind, FleetPlan
from tests.app.node import install_packages, run
from tests.conftest import missing

SERVICE = "deterministic:0.4"  # long enough to meet an answer half-way


@pytest.mark.broker
async def test_the_engine_with_real_devices(tmp_path: Path) -> None:
    install_packages()
    plan = FleetPlan(2, EngineKind.SYNTHETIC, service=SERVICE, agent={"queue_capacity": 6, "principal_share": 1.0})
    async with LocalFleet(plan, folder=tmp_path / "run") as fleet:
        if not fleet.web_url:
            missing("this broker has no WebSockets listener: apt-get install mosquitto")
        server = await asyncio.start_server(Control(fleet).serve, "127.0.0.1", 0)
        async with server:
            port = server.sockets[0].getsockname()[1]
            await run("vitest/vitest.mjs", "run", "--config", "vitest.live.config.ts", MOAMESH_CONTROL_PORT=str(port))


class Control:
    """What the tests under Node.js may ask of the mesh: one line of JSON each way."""

    def __init__(self, fleet: LocalFleet) -> None:
        self._fleet = fleet

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Answers one request."""
        try:
            request = json.loads(await reader.readline())
            answer = {"result": await self._do(**request), "error": ""}
        except (MoameshError, KeyError, ValueError, TypeError) as error:
            answer = {"result": "", "error": f"{type(error).__name__}: {error}"}
        writer.write(json.dumps(answer).encode() + b"\n")
        await writer.drain()
        writer.close()

    async def _do(self, *, do: str, user: str = "", device: str = "", devices: list[str] | None = None) -> str:
        match do:
            case "pairing":
                return await self._pairing(user, devices)
            case "remove_user":
                await self._fleet.remove_user(user)
            case "restart_broker":
                await self._fleet.broker.restart()
            case "kill_device":
                self._fleet.kill(device)
                await self._fleet.until_died(device)
            case "restart_device":
                await self._fleet.restart(device)
            case "sessions_ended":
                return str(self._sessions_ended(device))
            case _:
                raise ValueError(f"{do} is unknown")
        return ""

    async def _pairing(self, user: str, devices: list[str] | None) -> str:
        fleet = self._fleet
        secret = await fleet.add_user(user, devices)
        pairing: dict[str, Any] = {"v": 1, "mesh": fleet.mesh, "brokers": [fleet.web_url], "user": user}
        pairing |= {"secret": secret} | ({"devices": devices} if devices else {})
        text = base64.urlsafe_b64encode(json.dumps(pairing).encode()).decode().rstrip("=")
        return f"http://127.0.0.1/#pair={text}"

    def _sessions_ended(self, device: str) -> int:
        """Prompts that have ended, as the device's own measurements say."""
        files = sorted((self._fleet.folder / device / "telemetry").glob("*"))
        lines = [line for file in files if file.is_file() for line in file.read_text("utf-8").splitlines()]
        return sum(line.startswith("agent_session,") for line in lines)
