"""A view of every device that all devices share: for meshes so large that a view each would fill the memory.

It stands in for a peer view that is complete and never wrong about who is alive. How old its news of load may be is
chosen: with gossip it would be seconds, with 0 it is always fresh.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from edge_agent.core.agent import Agent
from edge_agent.core.measured import Promise
from edge_agent.core.messages import PeerEntry
from edge_agent.core.peers import Peer, PeerView
from edge_agent.core.policies.peer_selection import Draws


class Directory:
    """What is known of each device, for all of them.

    news_s: entries are at most this old in seconds when looked at; `None` leaves them as they were at first, for
        policies that do not look at load.
    """

    def __init__(self, names: Sequence[str], news_s: float | None) -> None:
        self._entries = [PeerEntry(name, "", "simulated", "simulated", 1, 1, 0, None) for name in names]
        self._read_at = [-1.0] * len(names)
        self._news_s = news_s
        self._agents: Sequence[Agent | None] = ()
        self._clock: Callable[[], float] = lambda: 0.0

    def watch(self, agents: Sequence[Agent | None], clock: Callable[[], float]) -> None:
        """Names the agents whose load is told, and the time. To be called before any entry is looked at."""
        self._agents = agents
        self._clock = clock

    def __len__(self) -> int:
        return len(self._entries)

    def entry(self, index: int) -> PeerEntry:
        """Returns what is known of a device."""
        if self._news_s is not None:
            now = self._clock()
            agent = self._agents[index]
            if agent is not None and now - self._read_at[index] >= self._news_s:
                self._entries[index] = agent.last_will().entry
                self._read_at[index] = now
        return self._entries[index]


class CompleteView(PeerView):
    """One device's look at the directory: everyone but itself, all alive. Overrides every method: it has no rows."""

    __slots__ = ("_directory", "_index")

    def __init__(self, index: int, directory: Directory) -> None:
        self._index = index
        self._directory = directory

    def __len__(self) -> int:
        return len(self._directory) - 1

    def __getitem__(self, index: int) -> PeerEntry:
        return self._directory.entry(index if index < self._index else index + 1)

    @property
    def size(self) -> int:
        """Everyone but itself."""
        return len(self)

    def get(self, device_id: str) -> Peer | None:
        """No rows are kept."""
        return None

    def rows(self) -> list[Peer]:
        """No rows are kept."""
        return []

    def word_of(self, entry: PeerEntry) -> PeerEntry:
        """Entries are read from the devices themselves."""
        return entry

    def learn(self, entry: PeerEntry, now: float, draws: Draws, *, carried: bool = False) -> bool:
        """Everyone is known already."""
        return False

    def heard(self, device_id: str, now: float) -> None:
        """Everyone is alive."""

    def set_load(self, device_id: str, requests_waiting: int) -> None:
        """Load is read from the devices themselves."""

    def set_unable(self, device_id: str) -> None:
        """Everyone can infer."""

    def promise_of(self, entry: PeerEntry) -> Promise:
        """Entries are read from the devices themselves."""
        return Promise(entry.requests_waiting, entry.service_time_s_mean)

    def measure(self, device_id: str, promise: Promise, taken_s: float, *, finished: bool = True) -> None:
        """Nobody lies."""

    def suspect(self, device_id: str) -> bool:
        """Everyone is alive."""
        return False

    def bury(self, last: PeerEntry) -> bool:
        """Everyone is alive."""
        return False

    def refresh(self, now: float) -> None:
        """Nothing is out of date."""

    def age(self, now: float, suspect_after_s: float, dead_after_s: float) -> tuple[list[str], list[str]]:
        """Nobody ages."""
        return [], []

    def check_invariants(self) -> None:
        """There is nothing to contradict."""
