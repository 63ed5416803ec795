"""When prompts arrive, and at which device."""

from __future__ import annotations

import math
import random
from bisect import bisect
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import accumulate
from pathlib import Path
from typing import Protocol

from edge_agent.core.errors import SettingsError


class Workload(Protocol):
    """Arrivals in the order of time."""

    def arrivals(self, rng: random.Random) -> Iterator[tuple[float, int]]:
        """Yields (time in seconds, device). May never end."""
        ...


@dataclass(frozen=True, slots=True)
class Burst:
    """A time in which every device gets `factor` times as many prompts."""

    start_s: float
    duration_s: float
    factor: float

    def __post_init__(self) -> None:
        if self.start_s < 0 or self.duration_s <= 0 or self.factor < 0:
            raise SettingsError("a burst must start at 0 or later, last more than 0 s and have a factor of 0 or more")


@dataclass(frozen=True, slots=True)
class Poisson:
    """Independent Poisson arrivals at each device, with bursts.

    The streams of all devices are drawn as one, and each arrival is then given to a device in proportion to its rate:
    the same process, with one pending arrival instead of one for each device.
    """

    rates_hz: Sequence[float]
    bursts: Sequence[Burst] = ()

    def __post_init__(self) -> None:
        if not self.rates_hz or min(self.rates_hz) < 0 or not 0 < math.fsum(self.rates_hz) < math.inf:
            raise SettingsError("arrival rates must be 0 or more, and one of them above 0")

    def arrivals(self, rng: random.Random) -> Iterator[tuple[float, int]]:
        """Never ends."""
        count = len(self.rates_hz)
        equal = min(self.rates_hz) == max(self.rates_hz)
        edges = [] if equal else list(accumulate(self.rates_hz))
        total = math.fsum(self.rates_hz)
        now = 0.0
        while True:
            now = self._after(now, rng.expovariate(1.0), total)
            share = rng.random()
            yield now, int(share * count) if equal else min(bisect(edges, share * edges[-1]), count - 1)

    def _after(self, now: float, expected: float, rate_hz: float) -> float:
        """The moment by which `expected` arrivals more are to be expected after `now`."""
        while True:
            factor, until = self._factor(now)
            if expected <= rate_hz * factor * (until - now):
                return now + expected / (rate_hz * factor)
            expected -= rate_hz * factor * (until - now)
            now = until

    def _factor(self, now: float) -> tuple[float, float]:
        """The factor in force, and until when."""
        factor, until = 1.0, math.inf
        for burst in self.bursts:
            end = burst.start_s + burst.duration_s
            if burst.start_s <= now < end:
                factor *= burst.factor
                until = min(until, end)
            elif now < burst.start_s:
                until = min(until, burst.start_s)
        return factor, until


@dataclass(frozen=True, slots=True)
class Recorded:
    """Arrivals that were recorded, as (time in seconds, device), in any order."""

    times: Sequence[tuple[float, int]]

    @property
    def duration_s(self) -> float:
        """When the last one comes."""
        return max((at for at, _ in self.times), default=0.0)

    def rate_hz(self, devices: int) -> float:
        """Arrivals per second and device."""
        return len(self.times) / (max(self.duration_s, 1e-9) * devices)

    def arrivals(self, rng: random.Random) -> Iterator[tuple[float, int]]:
        """Ends with the recording."""
        yield from sorted(self.times)


def read_arrivals(path: Path, devices: int) -> Recorded:
    """Reads a recording: lines `seconds,device` with devices counted from 0; `#` begins a comment.

    Raises:
        SettingsError: the file can't be read, or a line has another form; says which.
    """
    times = []
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise SettingsError(f"{path}: {error}") from None
    for number, line in enumerate(lines, start=1):
        text = line.partition("#")[0].strip()
        if not text:
            continue
        try:
            seconds, device = text.split(",")
            times.append((float(seconds), int(device)))
        except ValueError:
            raise SettingsError(f"{path}:{number}: not `seconds,device`") from None
        if not 0 <= times[-1][0] < math.inf or not 0 <= times[-1][1] < devices:
            raise SettingsError(f"{path}:{number}: seconds must be 0 or more, devices 0 to {devices - 1}")
    if not times:
        raise SettingsError(f"{path}: no arrival in it")
    return Recorded(times)
