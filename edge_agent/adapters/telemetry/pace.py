"""How fast, how much at once and how long: the bounds of shipping, each with its reason."""

from __future__ import annotations

import random
from dataclasses import dataclass
from typing import final


@final
@dataclass(frozen=True, slots=True)
class Pace:
    """The bounds of shipping to one database. The defaults are for devices; tests hurry."""

    gather_s: float = 1.0
    """Between two batches while there is little: a dashboard is a second late, a device sends one request a second."""
    batch_points_max: int = 5000
    """What InfluxDB recommends at once."""
    batch_bytes_max: int = 1024 * 1024
    """Before gzip: little memory on a device, far below every server's limit (InfluxDB 25 MB)."""
    retry_first_s: float = 1.0
    retry_max_s: float = 30.0
    """Between tries, doubled each time up to the maximum, with full jitter: a fleet does not come back all at once."""
    settings_retry_s: float = 60.0
    """Between tries where a person must mend something: soon enough after it is mended."""
    retry_after_max_s: float = 300.0
    """What is believed of a server's Retry-After."""
    stop_s: float = 5.0
    """For the last shipment when the device stops; what does not get through stays in the spool."""
    durable_after_s: float = 60.0
    """VictoriaMetrics forgets up to the last 15 s when it is killed: what is older than this is surely on its disk."""

    def retry_s(self, failures: int) -> float:
        """Returns how long to wait after so many failures in a row."""
        bound = min(self.retry_max_s, self.retry_first_s * 2 ** min(failures - 1, 30))
        return random.uniform(0.0, bound)  # noqa: S311 - jitter is no secret
