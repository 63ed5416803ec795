"""What is done to whom and when: a pure function of the seed."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum


class Kind(StrEnum):
    """What can be done to a process, its disk, its link or its clock."""

    KILL = "kill -9"
    STOP = "stop"
    STARVE = "starve"
    FILL = "fill disk"
    SLOW = "slow link"
    LOSSY = "lossy link"
    DEAF = "link cut inward"
    MUTE = "link cut outward"
    CLOCK = "clock set back"


BROKER, DATABASE, GATEWAY, OPERATOR, USERS = "broker", "influxdb", "gateway", "mesh-serve", "users"
MODEL = "model of "
"""Before the name of a device: its llama.cpp child."""

GAP_MEAN_S = 1.0  # between faults: several overlap, and a process still gets to work between two of its own
KILLS_SHARE = 0.6  # of all faults; what is not a kill is spread evenly over the other kinds
DEVICE_SHARE = 0.75  # of the faults that could hit anything hit a device: they hold what was promised
DAY_S = 86_400.0


@dataclass(frozen=True, slots=True)
class Fault:
    """One thing done: `gap_s` after the one before, for `lasts_s`.

    amount: of STARVE, the share of one core that is left; of FILL, the bytes that stay free; of SLOW, seconds of delay
        each way; of LOSSY, the share of frames lost; of CLOCK, seconds set back. 0 elsewhere.
    """

    number: int
    gap_s: float
    kind: Kind
    target: str
    lasts_s: float
    amount: float = 0.0


def draw_schedule(seed: int, kills: int, devices: Sequence[str], models: Iterable[str] = ()) -> tuple[Fault, ...]:
    """Returns faults with exactly `kills` kills among them, the last one a kill.

    Args:
        devices: their names.
        models: the devices that have a model process of their own, which is killed and stopped apart.
    """
    rng = random.Random(seed)
    anything = (BROKER, DATABASE, GATEWAY, OPERATOR, *(MODEL + device for device in models))
    others = [kind for kind in Kind if kind is not Kind.KILL]
    faults: list[Fault] = []
    killed = 0
    while killed < kills:
        kind = Kind.KILL if rng.random() < KILLS_SHARE else rng.choice(others)
        killed += kind is Kind.KILL
        target = _target(rng, kind, devices, anything)
        gap_s = rng.expovariate(1.0 / GAP_MEAN_S)
        faults.append(Fault(len(faults) + 1, gap_s, kind, target, *_how(rng, kind)))
    return tuple(faults)


def count_kinds(faults: Iterable[Fault]) -> dict[str, int]:
    """Returns how many there are of each kind, all kinds named."""
    counted = Counter(fault.kind for fault in faults)
    return {kind.value: counted[kind] for kind in Kind}


def _target(rng: random.Random, kind: Kind, devices: Sequence[str], anything: Sequence[str]) -> str:
    match kind:
        case Kind.KILL | Kind.STOP | Kind.STARVE if rng.random() >= DEVICE_SHARE:
            return rng.choice(anything)
        case Kind.SLOW | Kind.LOSSY | Kind.DEAF | Kind.MUTE if rng.random() >= DEVICE_SHARE:
            return rng.choice((BROKER, DATABASE, USERS))
        case _:
            return rng.choice(devices)


def _how(rng: random.Random, kind: Kind) -> tuple[float, float]:
    """Draws how long it lasts, in seconds, and how much of it there is."""
    match kind:
        case Kind.KILL:
            return rng.expovariate(1.0), 0.0  # a service manager that restarts at once, or a board that boots
        case Kind.STOP:
            return rng.choice((0.5, 3.0, 15.0)), 0.0  # unnoticed; over a receipt's time; suspected
        case Kind.STARVE:
            return rng.uniform(3.0, 10.0), rng.uniform(0.03, 0.2)
        case Kind.FILL:
            return rng.uniform(2.0, 15.0), float(rng.choice((0, 0, 4096, 65536)))
        case Kind.SLOW:
            return rng.uniform(3.0, 10.0), rng.choice((0.05, 0.3, 1.5))  # a busy radio, a satellite, a wedged router
        case Kind.LOSSY:
            return rng.uniform(3.0, 10.0), rng.choice((0.02, 0.1, 0.4))
        case Kind.DEAF | Kind.MUTE:
            return rng.choice((1.0, 5.0, 20.0)), 0.0  # within TCP's patience, over a receipt's, over a suspicion's
        case Kind.CLOCK:
            return rng.uniform(3.0, 15.0), rng.choice((2.0, 3600.0, 20 * DAY_S))
