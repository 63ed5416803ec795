"""Measured load of devices over a run, from the statuses they publish. Pure."""

from __future__ import annotations

from dataclasses import dataclass

from edge_agent.core.messages import DeviceStatus, Presence

OBSERVED_SHARE_MIN = 0.9  # with less of the run seen, an average is over what was seen


@dataclass(slots=True)
class DeviceRecord:
    """Integrals over the observed time of one device: exact inside each of its status intervals."""

    device_id: str
    observed_s: float = 0.0
    waiting_area_s: float = 0.0
    busy_s: float = 0.0

    def requests_waiting_mean(self, duration_s: float) -> float:
        """Time-average of waiting items over a run of `duration_s`."""
        return self.waiting_area_s / self._time_s(duration_s)

    def utilisation(self, duration_s: float) -> float:
        """Share of a run of `duration_s` in which the device inferred."""
        return self.busy_s / self._time_s(duration_s)

    def _time_s(self, duration_s: float) -> float:
        # The intervals at both ends reach a little beyond the run, where nothing waits: the areas are the run's own.
        seen = self.observed_s >= OBSERVED_SHARE_MIN * duration_s
        return max(duration_s if seen else self.observed_s, 1e-9)


class LoadRecord:
    """Adds up the statuses of devices."""

    def __init__(self) -> None:
        self._loads: dict[str, DeviceRecord] = {}

    def watch(self, message: Presence | DeviceStatus, retained: bool) -> None:
        """A watcher for `MeshClient`: adds live statuses; retained ones are of the past."""
        if isinstance(message, DeviceStatus) and not retained:
            self.take(message)

    def take(self, status: DeviceStatus) -> None:
        """Adds one live status."""
        load = self._loads.setdefault(status.device_id, DeviceRecord(status.device_id))
        load.observed_s += status.interval_s
        load.waiting_area_s += status.requests_waiting_mean * status.interval_s
        load.busy_s += status.utilisation * status.interval_s

    def loads(self) -> tuple[DeviceRecord, ...]:
        """What was seen of every device, in the order of their ids."""
        return tuple(self._loads[name] for name in sorted(self._loads))
