"""Draws docs/img/top.svg, the screen of `moamesh top`, from a real run: `python scripts/top_picture.py`.

Six devices on this host with synthetic engines, one of them slow, work off a stream of prompts; one is then killed, so
that the picture shows what that looks like.
"""

from __future__ import annotations

import argparse
import asyncio
import re
from pathlib import Path

from edge_agent.cli.mesh_address import MeshAddress
from edge_agent.cli.watch.top.app import TopApp
from edge_agent.client import MeshClient
from edge_agent.core.messages import PromptOptions
from edge_agent.fleet.local import LocalFleet
from edge_agent.fleet.plan import EngineKind, FleetPlan

PICTURE = Path(__file__).resolve().parent.parent / "docs" / "img" / "top.svg"
SIZE = (120, 34)
DEVICES = 6
PROMPTS_EVERY_S = 0.45
WATCHED_S = 40.0
PLAN = FleetPlan(
    DEVICES,
    EngineKind.SYNTHETIC,
    service="exponential:0.3",
    slow_devices=1,
    slow_factor=1.6,
    layers=1,
    fanout=2,
    agent={"queue_capacity": 16},
)


async def draw(watched_s: float) -> None:
    """Runs the mesh and writes the picture."""
    async with LocalFleet(PLAN) as fleet, MeshClient(fleet.url, fleet.mesh) as client:
        await client.discover(at_least=DEVICES)
        app = TopApp(client, MeshAddress(fleet.url, fleet.mesh), "dark")
        async with app.run_test(size=SIZE) as pilot:
            asking = asyncio.create_task(_ask(client))
            await asyncio.sleep(watched_s)
            fleet.kill(f"device-{DEVICES}")
            await asyncio.sleep(2.0)
            await pilot.pause()
            picture = app.export_screenshot(title="moamesh top")
            asking.cancel()
    # fonts of the reader's own, none fetched
    PICTURE.write_text(re.sub(r"@font-face\s*\{.*?\}", "", picture, flags=re.DOTALL), encoding="utf-8")


async def _ask(user: MeshClient) -> None:
    async with asyncio.TaskGroup() as asked:
        number = 0
        while True:
            device_id = f"device-{number % (DEVICES - 1) + 1}"
            asked.create_task(user.ask_to_end(device_id, f"question {number}", PromptOptions(layers=1, fanout=2)))
            number += 1
            await asyncio.sleep(PROMPTS_EVERY_S)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=WATCHED_S)
    asyncio.run(draw(parser.parse_args().seconds))
