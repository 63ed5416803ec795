"""Where and when something was measured live."""

from __future__ import annotations

import os
import platform
import time
from pathlib import Path

_CPU_INFO = Path("/proc/cpuinfo")


def machine() -> str:
    """Returns cores, kind of processor and the day, such as `2 cores (x86_64), 2026-11-23`."""
    return f"{len(os.sched_getaffinity(0))} cores ({_processor()}), {time.strftime('%Y-%m-%d')}"


def _processor() -> str:
    """What Linux calls the processor; not every kind has a name there."""
    try:
        lines = _CPU_INFO.read_text(encoding="utf-8").splitlines()
    except OSError:
        lines = []
    names = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(names, platform.machine())
