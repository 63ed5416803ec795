"""Whom to ask where the user leaves it open: who is expected to be free first, and whom next after a refusal. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Protocol

from edge_agent.client.roster import DeviceView
from edge_agent.core.messages import RefusalReason

CANDIDATES_MAX = 3
"""Devices asked one after the other where the choice is ours: one overloaded is no answer."""
ELSEWHERE = frozenset({RefusalReason.OVERLOADED, RefusalReason.STOPPING, RefusalReason.UNABLE})
"""Refusals of one device that another need not share."""


class RandomStream(Protocol):
    """Breaks ties; `random.Random` is one."""

    def random(self) -> float:
        """Returns a float in [0, 1)."""
        ...


def least_busy(
    online: Iterable[DeviceView], ties: RandomStream, open_at: Mapping[str, int] | None = None
) -> tuple[str, ...]:
    """Returns the ids of the devices that can answer, the one that is expected to be free first in front.

    open_at: prompts of this very client that are open at each device: newer than the device's own figures.
    """
    ours = open_at or {}

    def expected_wait(view: DeviceView) -> tuple[float, int, float]:
        status = view.status
        there = status.requests_waiting + status.requests_running if status is not None else 0
        items = max(there, ours.get(view.device_id, 0))
        return items * (status.service_time_s_mean if status is not None else 0.0), items, ties.random()

    able = [view for view in online if view.able]
    return tuple(view.device_id for view in sorted(able, key=expected_wait))
