"""What a process holds of the machine, sampled over hours, and whether it grows."""

from __future__ import annotations

import contextlib
import os
import statistics
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from tests.chaos.programs import children_of

MIB = 1024 * 1024
WARM_UP_SHARE = 0.25  # of the run: caches fill, pools open; growth is looked for after it
EDGE_SHARE = 0.1  # of what comes after it: its first and last tenth are compared by their medians
DISK = "disk MiB"


@dataclass(frozen=True)
class Bound:
    """How far a measure may rise after the warm-up: by `share` of itself and `more` besides."""

    share: float
    more: float
    reason: str

    def allows(self, start: float, end: float) -> bool:
        """Whether this is flat enough."""
        return end <= start * (1.0 + self.share) + self.more


BOUNDS = {
    "RSS MiB": Bound(0.1, 16.0, "answers and responses are kept up to 8 MiB each for an hour; allocators keep pages"),
    "handles": Bound(
        0.0, 8.0, "connections come and go; what leaks one for each of thousands of prompts is far beyond"
    ),
    "threads": Bound(0.0, 4.0, "a pool that opens one more when two calls meet"),
    DISK: Bound(0.0, 160.0, "telemetry has 16 files of 8 MiB a device, the journal 8 MiB of answers"),
}
"""What is measured of each process, and its bound."""
DATABASE_DISK = Bound(0.0, 1024.0, "a database keeps what it is given; it is not ours to bound")


@dataclass
class Series:
    """One measure of one process over time."""

    at_s: list[float] = field(default_factory=list)
    values: list[float] = field(default_factory=list)

    def add(self, at_s: float, value: float) -> None:
        """Adds a sample."""
        self.at_s.append(at_s)
        self.values.append(value)

    def after_warm_up(self) -> Series:
        """What of it is looked at."""
        first = int(len(self.values) * WARM_UP_SHARE)
        return Series(self.at_s[first:], self.values[first:])

    def edges(self) -> tuple[float, float]:
        """The medians of the first and the last tenth."""
        some = max(1, int(len(self.values) * EDGE_SHARE))
        return statistics.median(self.values[:some]), statistics.median(self.values[-some:])

    def slope_per_hour(self) -> float:
        """Of the line that fits best (least squares); 0 of less than two samples."""
        if len(self.values) < 2 or self.at_s[0] == self.at_s[-1]:
            return 0.0
        return statistics.linear_regression(self.at_s, self.values).slope * 3600.0


def sample(pid: int, folders: Iterable[Path]) -> dict[str, float]:
    """Measures a process with its children, and what is in its folders; {} if it has just ended."""
    rss = handles = threads = 0
    for one in (pid, *children_of(pid)):
        try:
            status = Path(f"/proc/{one}/status").read_text()
            open_now = len(os.listdir(f"/proc/{one}/fd"))
        except OSError:
            if one == pid:
                return {}
            continue
        numbers = {line.split(":")[0]: line.split()[1] for line in status.splitlines() if len(line.split()) > 1}
        rss += int(numbers.get("VmRSS", 0)) * 1024
        threads += int(numbers["Threads"])
        handles += open_now
    return {
        "RSS MiB": rss / MIB,
        "handles": handles,
        "threads": threads,
        DISK: sum(map(bytes_in, folders)) / MIB,
    }


def bytes_in(folder: Path) -> int:
    """Bytes of all files in a folder, as far as they are still there."""
    total = 0
    for path in folder.rglob("*"):
        with contextlib.suppress(OSError):
            total += path.stat().st_size if path.is_file() else 0
    return total
