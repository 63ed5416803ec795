"""An engine with several slots on the virtual clock: what runs shares it evenly, by a declared speed-up."""

from __future__ import annotations

from typing import final

from edge_agent.core.events import Event
from edge_agent.speed_up import SpeedUp


@final
class SharedEngine:
    """The inferences that run at one device. Each has a clock that goes as fast as one of them gets on (speed-up(n) / n
    with n of them), and ends when the clock has gained what it would take alone."""

    __slots__ = ("_at", "_clock", "_running", "_speed_up")

    def __init__(self, speed_up: SpeedUp) -> None:
        self._speed_up = speed_up
        self._clock = 0.0
        self._at = 0.0
        self._running: dict[str, tuple[float, Event]] = {}

    def __len__(self) -> int:
        return len(self._running)

    def __contains__(self, item_id: str) -> bool:
        return item_id in self._running

    def items(self) -> list[str]:
        """Returns the ids of what runs, in the order it began."""
        return list(self._running)

    def start(self, now: float, item_id: str, seconds: float, event: Event) -> None:
        """An inference begins that would take so many seconds alone and ends with `event`."""
        self._advance(now)
        self._running[item_id] = (self._clock + seconds, event)

    def end(self, now: float, item_id: str) -> None:
        """An inference is over, or broken off."""
        self._advance(now)
        self._running.pop(item_id, None)

    def change(self, now: float, item_id: str, delay_s: float, event: Event) -> None:
        """A running inference will end otherwise, in `delay_s` seconds if nothing joins or leaves."""
        self._advance(now)
        self._running[item_id] = (self._clock + delay_s * self._speed_up.share(len(self._running)), event)

    def next_end(self) -> tuple[float, str, Event] | None:
        """Returns which ends first if nothing joins or leaves: (time, item, event); of equals which began first."""
        if not self._running:
            return None
        item_id, (target, event) = min(self._running.items(), key=_target)
        return self._at + (target - self._clock) / self._speed_up.share(len(self._running)), item_id, event

    def _advance(self, now: float) -> None:
        if self._running:
            self._clock += (now - self._at) * self._speed_up.share(len(self._running))
        self._at = now


def _target(entry: tuple[str, tuple[float, Event]]) -> float:
    return entry[1][0]
