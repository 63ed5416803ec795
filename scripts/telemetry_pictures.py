"""Draws docs/img/stability-*.svg from a database that live devices sent to: `python -m scripts.telemetry_pictures`.

Four devices with the synthetic engine (declared service times, no language model), two minutes at ρ = 0.7 and two
at 1.2; an InfluxDB 1 of this run alone; the pictures are what `moamesh stability --influx URL --plot FILE` draws.
Needs the packages of `make install` and influxd (`make programs`).
"""

from __future__ import annotations

import asyncio
import subprocess
import sys
import tempfile
from pathlib import Path

from tests.support.databases import DatabaseServer, running
from tests.telemetry.live import live_mesh

FOLDER = Path(__file__).resolve().parent.parent / "docs" / "img"
LOADS = {"stability-stable.svg": 0.7, "stability-overload.svg": 1.2}
LOADED_S = 120.0


async def record(database: DatabaseServer, folder: Path, load: float) -> None:
    """Runs a mesh that sends its telemetry to the database."""
    async with live_mesh(folder, [database], load=load):
        await asyncio.sleep(LOADED_S)


def main() -> None:
    """Runs each mesh and draws it."""
    with tempfile.TemporaryDirectory(prefix="moamesh-pictures-") as name:
        for picture, load in LOADS.items():
            folder = Path(name) / picture
            with running(DatabaseServer("influxdb", folder / "influxdb")) as database:
                asyncio.run(record(database, folder / "fleet", load))
                command = [sys.executable, "-m", "edge_agent.cli.main", "stability", "--influx", database.url]
                subprocess.run([*command, "--plot", str(FOLDER / picture)], check=True)  # noqa: S603 -- our own command


if __name__ == "__main__":
    main()
