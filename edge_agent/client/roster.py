"""What a user knows of the devices of a mesh, from their presence and status. Pure: no clock, no network."""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import StrEnum

from edge_agent.core.health import Part, Problem
from edge_agent.core.messages import DeviceStatus, Presence, PresenceState

DEVICES_MAX = 4096  # a screen shows fewer by far; bounds what a hostile publisher can make us keep
SILENT_AFTER_INTERVALS = 3.0  # two statuses may be lost or late before a device counts as silent
SILENT_AFTER_MIN_S = 6.0  # a device that reports every second is allowed to be busy for a moment


class DeviceState(StrEnum):
    """A device as a user sees it. `silent`: it said it was online, but its statuses stopped."""

    ONLINE = "online"
    SILENT = "silent"
    STOPPED = "stopped"
    OFFLINE = "offline"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class DeviceView:
    """The newest presence and status of a device; `heard_at` is its last sign of life (seconds, any one clock)."""

    device_id: str
    presence: Presence | None = None
    status: DeviceStatus | None = None
    heard_at: float | None = None

    @property
    def model(self) -> str:
        """The model's name, or "?" before the device has told it."""
        if self.status is not None:
            return self.status.model
        return self.presence.entry.model if self.presence is not None and self.presence.entry.model else "?"

    @property
    def synthetic(self) -> bool:
        """Whether its answers are made by the synthetic load engine."""
        return self.status is not None and self.status.synthetic

    @property
    def able(self) -> bool:
        """Whether it can infer, by its last word; its presence is told at once when that changes."""
        if self.presence is not None:
            return self.presence.entry.able
        return self.status is None or self.status.able

    @property
    def problems(self) -> tuple[Problem, ...]:
        """What the device said last that is wrong with it, part by part."""
        return self.status.problems if self.status is not None else ()

    @property
    def trouble(self) -> str:
        """Why it cannot infer; "" if it can. Its presence may be news that its next status explains."""
        if self.able:
            return ""
        said = next((problem.detail for problem in self.problems if problem.part is Part.ENGINE), "")
        return said or "it has not said why yet"

    @property
    def health(self) -> str:
        """A word for a narrow column: "ok", "unable" (to infer), or the parts that are not well."""
        if not self.able:
            return "unable"
        return ", ".join(problem.part.value for problem in self.problems) or "ok"

    def troubles(self) -> tuple[str, ...]:
        """What is wrong with it, a line for each part; the reason why it cannot infer comes first."""
        others = [p for p in self.problems if p.part is not Part.ENGINE]
        first = () if self.able else (f"cannot infer: {self.trouble}",)
        return (*first, *(f"{problem.part.value}: {problem.detail}" for problem in others))

    def state(self, now: float) -> DeviceState:
        """What to call the device at `now` (the same clock as `heard_at`).

        Presence decides where there is any. Without it (a broker that keeps no retained messages) a fresh status
        does; a retained status proves nothing, because its device may be long gone.
        """
        fresh = self.heard_at is not None and now - self.heard_at <= self._silent_after_s()
        if self.presence is None:
            return DeviceState.ONLINE if fresh else DeviceState.UNKNOWN
        if self.presence.state is PresenceState.ONLINE:
            return DeviceState.ONLINE if fresh else DeviceState.SILENT
        return DeviceState.STOPPED if self.presence.state is PresenceState.STOPPED else DeviceState.OFFLINE

    def _silent_after_s(self) -> float:
        interval_s = self.status.interval_s if self.status is not None else 0.0
        return max(SILENT_AFTER_MIN_S, SILENT_AFTER_INTERVALS * interval_s)


class Roster:
    """The devices heard of, in the order of their ids. Bounded by `DEVICES_MAX`; more are not noticed."""

    def __init__(self) -> None:
        self._views: dict[str, DeviceView] = {}

    def take_presence(self, presence: Presence, now: float) -> None:
        """Notes a presence. A birth counts as a sign of life at `now`."""
        device_id = presence.entry.device_id
        old = self._view(device_id)
        if old is not None:
            at = now if presence.state is PresenceState.ONLINE else old.heard_at
            self._views[device_id] = replace(old, presence=presence, heard_at=at)

    def take_status(self, status: DeviceStatus, now: float, *, retained: bool) -> None:
        """Notes live figures; retained ones are shown, but are no sign of life."""
        old = self._view(status.device_id)
        if old is not None:
            at = old.heard_at if retained else now
            self._views[status.device_id] = replace(old, status=status, heard_at=at)

    def _view(self, device_id: str) -> DeviceView | None:
        view = self._views.get(device_id)
        if view is None and len(self._views) < DEVICES_MAX:
            view = DeviceView(device_id)
        return view

    def all(self) -> tuple[DeviceView, ...]:
        """Every device heard of."""
        return tuple(self._views[device_id] for device_id in sorted(self._views))

    def online(self, now: float) -> tuple[DeviceView, ...]:
        """The devices that can be asked."""
        return tuple(view for view in self.all() if view.state(now) is DeviceState.ONLINE)

    def get(self, device_id: str) -> DeviceView | None:
        """One device, if it was heard of."""
        return self._views.get(device_id)
