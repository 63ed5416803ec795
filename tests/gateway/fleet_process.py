"""A local fleet as a process, up until its standard input ends: `python -m tests.gateway.fleet_process JSON`.

So one fleet serves many tests, each with an event loop of its own.
"""

from __future__ import annotations

import asyncio
import json
import sys
from pathlib import Path

from edge_agent.fleet.local import LocalFleet
from edge_agent.fleet.plan import EngineKind, FleetPlan


async def main(folder: Path, plan: FleetPlan) -> None:
    async with LocalFleet(plan, folder=folder) as fleet:
        print(json.dumps({"broker": fleet.url, "mesh": fleet.mesh}), flush=True)
        await asyncio.to_thread(sys.stdin.read)


if __name__ == "__main__":
    fields = json.loads(sys.argv[1])
    folder = Path(fields.pop("folder"))
    fields["engine"] = EngineKind(fields["engine"])
    fields["models"] = tuple(fields.get("models", ()))
    asyncio.run(main(folder, FleetPlan(**fields)))
