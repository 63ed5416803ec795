"""What a broker does beside carrying messages: it keeps presences, and tells of deaths. Some do neither."""

from __future__ import annotations

import random
from collections.abc import Callable

from edge_agent.core import events as ev
from edge_agent.core.messages import Presence
from edge_agent.lab.simulator.faults.plan import Plan
from edge_agent.lab.simulator.network import Network

WILL_AFTER_S = 3.0  # from a death to the broker's word of it


class Broker:
    """The one broker of the mesh.

    Args:
        at: has something happen at a time.
        clock: the time.
    """

    def __init__(
        self,
        plan: Plan,
        network: Network,
        rng: random.Random,
        at: Callable[[float, Callable[[], None]], None],
        clock: Callable[[], float],
    ) -> None:
        self.up = True
        self.packet_bytes_max = plan.packet_bytes_max
        self._plan = plan
        self._network = network
        self._rng = rng
        self._at = at
        self._clock = clock
        self._wills: dict[int, Presence] = {}
        self._retained: dict[int, Presence] = {}

    def back(self) -> None:
        """The broker is there again, or another in its place."""
        self.up = True
        self.packet_bytes_max = self._plan.packet_bytes_later

    def connected(self, device: int, will: Presence) -> tuple[Presence, ...]:
        """Takes a device's will; returns the presences that are kept for it."""
        self._wills[device] = will
        if not (self._plan.presence and self._plan.retained):
            return ()
        return tuple(presence for other, presence in self._retained.items() if other != device)

    def gone(self, device: int) -> None:
        """A device is gone without a word: the broker may tell the others, a little later."""
        will = self._wills.pop(device, None)
        if will is not None and self.up and self._rng.random() < self._plan.will_share:
            self._at(self._clock() + WILL_AFTER_S, lambda: self.publish(device, will))

    def publish(self, device: int, presence: Presence) -> None:
        """Tells every other device, and keeps it for those who connect later."""
        if not self._plan.presence or not self.up:
            return
        same = [other for other, kept in self._retained.items() if kept.entry.device_id == presence.entry.device_id]
        for other in same:  # there is one topic for each id, whoever has it
            del self._retained[other]
        self._retained[device] = presence
        sender = device if self._network.connected[device] else -1
        for other in range(self._plan.devices + self._plan.clones):
            if other != device:
                self._network.send(self._clock(), sender, other, ev.PeerMessageReceived(presence))

    def forget_retained(self) -> None:
        """What was kept for those who connect later is lost."""
        self._retained.clear()
