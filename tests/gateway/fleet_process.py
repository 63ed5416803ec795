"""A local fleet as a process, up until its standard input ends: `python -m tests.gateway.fleet_process JSON`.

So one fleet serves many tests, each with an event loop of its own. Lines on its standard input do harm:
`restart-broker`, `restart DEVICE` (killed, and started again). It says `done` after each.
"""

from __future__ import annotations

import asyncio
import json
import sys
from pathlib import Path

from edge_agent.fleet.local import LocalFleet
from edge_agent.fleet.plan import EngineKind, FleetPlan


async def harm(fleet: LocalFleet, words: list[str]) -> None:
    match words:
        case ["restart-broker"]:
            await fleet.broker.restart()
        case ["restart", device_id]:
            fleet.kill(device_id)
            await fleet.restart(device_id)
        case _:
            raise ValueError(words)


async def main(folder: Path, plan: FleetPlan) -> None:
    async with LocalFleet(plan, folder=folder) as fleet:
        print(json.dumps({"broker": fleet.url, "mesh": fleet.mesh}), flush=True)
        while line := await asyncio.to_thread(sys.stdin.readline):
            await harm(fleet, line.split())
            print("done", flush=True)


if __name__ == "__main__":
    fields = json.loads(sys.argv[1])
    folder = Path(fields.pop("folder"))
    fields["engine"] = EngineKind(fields["engine"])
    fields["models"] = tuple(fields.get("models", ()))
    asyncio.run(main(folder, FleetPlan(**fields)))
