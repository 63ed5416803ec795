"""So many steps of a world that keeps to no protocol around one core, in shards that each have a seed of their own."""

from __future__ import annotations

import traceback
from dataclasses import dataclass

from tests.hostile.lone_device import LoneDevice

SHARD = 500  # steps of one device, over several lives of it, before everything falls silent


@dataclass
class Played:
    """What became of one shard. `found` is "" if everything held."""

    seed: str
    steps: int
    found: str = ""


def play(seed: str, steps: int = SHARD, *, crowded: bool = False) -> Played:
    """Does `steps` things to a device of this seed, then lets it come to rest."""
    device, done = LoneDevice(seed, crowded=crowded), 0
    try:
        while done < steps:
            device.step()
            done += 1
        device.settle()
    except Exception as error:  # whatever is raised is what is looked for
        at = traceback.extract_tb(error.__traceback__)[-1]
        where = f"{at.filename.rpartition('/')[2]}:{at.lineno}"
        said = f"{type(error).__name__} at {where}: {error}"[:600]
        return Played(seed, done, f"{said}\n  at step {done}, after {device.did}")
    return Played(seed, steps)
