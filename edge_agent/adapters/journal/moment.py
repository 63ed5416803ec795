"""Points in time that can be compared over a restart of the process, and as well as possible over one of the device.

While the machine stays up, its time since boot counts the seconds exactly, whatever is done to the wall clock. Over a
reboot only the wall clock is left, and on a device without a battery (a Raspberry Pi) it may have stood still or be
set later by years: so what it says is bounded by the caller, and a step backwards counts as no time at all.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path
from typing import final

_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")


@final
@dataclass(frozen=True, slots=True)
class Moment:
    """When something was written. `boot_id` is "" where the system does not tell; then the wall clock decides."""

    wall_s: float
    boot_id: str = ""
    since_boot_s: float = 0.0

    def seconds_since(self, earlier: Moment) -> float:
        """Seconds that passed since `earlier`, never negative."""
        if self.boot_id and self.boot_id == earlier.boot_id:
            return max(0.0, self.since_boot_s - earlier.since_boot_s)
        return max(0.0, self.wall_s - earlier.wall_s)


def read_moment() -> Moment:
    """Returns the present moment of this machine."""
    try:
        boot_id = _BOOT_ID.read_text().strip()
        since_boot_s = time.clock_gettime(time.CLOCK_BOOTTIME)  # goes on while the machine is suspended
    except (OSError, AttributeError):  # not Linux
        return Moment(time.time())
    return Moment(time.time(), boot_id, since_boot_s)
