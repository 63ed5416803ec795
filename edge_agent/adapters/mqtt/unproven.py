"""Homes that somebody only told of, and the messages that wait for them to show that they are what was said.

Anybody who gossips can invent homes, as many as a message holds. So they have a room, a number of tries at a time and a
rate of their own, and none of them ever takes a place from a home that has shown who it is. First come those whose
device itself said where it is, then those that failed least; what fails is tried ever more seldom.
"""

from __future__ import annotations

import asyncio
import logging
import random
import ssl
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field

from edge_agent.adapters.mqtt.outbox import VOLATILE_MAX, Outgoing
from edge_agent.adapters.mqtt.proving import Prover
from edge_agent.adapters.mqtt.settings import MqttCounters, MqttSettings
from edge_agent.mqtt import BrokerUrl
from edge_agent.tasks import TaskSupervisor, describe

_log = logging.getLogger(__name__)

FAILED_KEPT_MAX = 256  # homes that failed and are remembered, so that naming them again does not try them at once
LIE_PAUSE_S = 60.0  # until a home whose certificate is another's is looked at again
SAID_AGAIN_S = 600.0  # a liar may name new homes all night: a line every ten minutes
Home = tuple[BrokerUrl, ...]
Key = tuple[Home, str]
OnProven = Callable[[Home, str, bool, list[Outgoing]], None]
"""Takes a home, its device, whether it serves everybody there, and what waited for it."""


@dataclass(slots=True)
class _Failures:
    tries: int = 0
    due: float = 0.0


@dataclass(slots=True)
class _Entry:
    home: Home
    device_id: str
    first_hand: bool
    sequence: int
    failures: _Failures
    items: list[Outgoing] = field(default_factory=list)
    proving: bool = False

    @property
    def rank(self) -> tuple[bool, int, int]:
        """Whose turn is first: the lowest."""
        return not self.first_hand, self.failures.tries, self.sequence


class Unproven:
    """Keeps messages until a home is proven, and has homes proven within the settings' bounds."""

    def __init__(self, settings: MqttSettings, counters: MqttCounters, rng: random.Random, on_proven: OnProven) -> None:
        self._settings = settings
        self._counters = counters
        self._rng = rng
        self._on_proven = on_proven
        self._entries: dict[Key, _Entry] = {}
        self._failed: OrderedDict[Key, _Failures] = OrderedDict()
        self._prover: Prover | None = None
        self._tasks = TaskSupervisor("homes")
        self._timer: asyncio.TimerHandle | None = None
        self._sequence = 0
        self._under_way = 0
        self._allowance = float(settings.proofs_max)
        self._allowed_at = 0.0
        self._said_at = float("-inf")
        self._unsaid = 0
        self._stopped = False

    def __len__(self) -> int:
        return len(self._entries)

    @property
    def items(self) -> int:
        """Messages that wait."""
        return sum(len(entry.items) for entry in self._entries.values())

    def put(self, home: Home, device_id: str, item: Outgoing, *, first_hand: bool) -> None:
        """Has a message wait for a home. `first_hand`: the device itself said that it is there."""
        key = home, device_id
        entry = self._entries.get(key)
        if entry is None:
            failures = self._failed.get(key)
            if failures is not None and item.priority <= VOLATILE_MAX and self._now() < failures.due:
                self._refuse([item], "its home broker has not proven its identity")
                return
            self._sequence += 1
            entry = _Entry(home, device_id, first_hand, self._sequence, failures or _Failures())
            self._entries[key] = entry
        entry.first_hand = entry.first_hand or first_hand
        entry.items.append(item)
        self._make_room()
        self._pump()

    def retry(self) -> None:
        """Tries all of them anew: what this device shows or trusts has changed."""
        self._failed.clear()
        for entry in self._entries.values():
            entry.failures = _Failures()
        self._pump()

    async def stop(self) -> None:
        """Ends every try, and drops what waits."""
        self._stopped = True
        if self._timer is not None:
            self._timer.cancel()
        await self._tasks.stop()
        if self._prover is not None:
            self._prover.stop()
        for entry in self._entries.values():
            self._refuse(entry.items, "this device stops")
        self._entries.clear()

    def _make_room(self) -> None:
        """Forgets whoever's turn is last, until the room's bounds hold."""
        settings = self._settings
        while (
            len(self._entries) > settings.unproven_max
            or self.items > settings.unproven_items_max
            or sum(item.size for entry in self._entries.values() for item in entry.items) > settings.unproven_bytes_max
        ):
            # Among alike a random one: were it the newest, a flood of old ones would keep everybody else out for good.
            last = max(self._entries.values(), key=lambda entry: (*entry.rank[:2], self._rng.random()))
            self._drop(last, "too many home brokers known from gossip alone")

    def _pump(self) -> None:
        """Begins as many tries as may be, and comes back when the next may be."""
        if self._stopped:
            return
        now = self._now()
        self._expire(now)
        while self._under_way < self._settings.proofs_max:
            due = [entry for entry in self._entries.values() if not entry.proving and entry.failures.due <= now]
            if not due or not self._may_try(now):
                break
            entry = min(due, key=lambda entry: entry.rank)
            entry.proving = True
            self._under_way += 1
            self._tasks.begin(f"proof of {entry.device_id}", self._prove(entry))
        self._come_back(now)

    def _come_back(self, now: float) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        waiting = [entry.failures.due for entry in self._entries.values() if not entry.proving]
        if waiting:
            soonest = 1.0 / self._settings.proof_rate_hz
            loop = asyncio.get_running_loop()
            self._timer = loop.call_later(max(soonest, min(waiting) - now), self._pump)

    def _may_try(self, now: float) -> bool:
        """A token bucket: as many at once as may be under way, and a rate over time."""
        most, rate_hz = self._settings.proofs_max, self._settings.proof_rate_hz
        self._allowance = min(most, self._allowance + (now - self._allowed_at) * rate_hz)
        self._allowed_at = now
        if self._allowance < 1.0:
            return False
        self._allowance -= 1.0
        return True

    async def _prove(self, entry: _Entry) -> None:
        self._counters.proofs += 1
        if self._prover is None:
            self._prover = Prover(self._settings)
        url = entry.home[entry.failures.tries % len(entry.home)]
        try:
            for_all = await self._prover.prove(url, entry.device_id)
        except ssl.SSLCertVerificationError as error:
            self._lied(entry, url, error)
        except (OSError, ValueError, EOFError) as error:  # a TimeoutError is an OSError
            self._no_answer(entry, error)
        else:
            # It may have given way meanwhile and been named again: what waits now is what goes.
            waiting = self._entries.pop((entry.home, entry.device_id), entry)
            self._failed.pop((entry.home, entry.device_id), None)
            items, waiting.items = waiting.items, []
            self._on_proven(entry.home, entry.device_id, for_all, items)
        finally:
            entry.proving = False
            self._under_way -= 1
            self._pump()

    def _lied(self, entry: _Entry, url: BrokerUrl, error: ssl.SSLCertVerificationError) -> None:
        reason = getattr(error, "verify_message", "") or str(error)
        why = f"{url} is not the home broker of {entry.device_id}, though another device says so: {reason}"
        self._fail(entry, LIE_PAUSE_S)
        self._say(why)
        if (waiting := self._entries.get((entry.home, entry.device_id))) is not None:
            self._drop(waiting, why)

    def _no_answer(self, entry: _Entry, error: Exception) -> None:
        rounds = entry.failures.tries // len(entry.home)
        longest = min(self._settings.backoff_max_s, self._settings.backoff_min_s * 2 ** min(rounds, 32))
        self._fail(entry, self._rng.uniform(0.0, longest))
        passing = [item for item in entry.items if item.priority <= VOLATILE_MAX]
        entry.items = [item for item in entry.items if item.priority > VOLATILE_MAX]
        self._refuse(passing, describe(error))
        if not entry.items and self._entries.get((entry.home, entry.device_id)) is entry:
            del self._entries[entry.home, entry.device_id]

    def _fail(self, entry: _Entry, pause_s: float) -> None:
        self._counters.proofs_failed += 1
        entry.failures.tries += 1
        entry.failures.due = self._now() + pause_s
        key = entry.home, entry.device_id
        self._failed[key] = entry.failures
        self._failed.move_to_end(key)
        while len(self._failed) > FAILED_KEPT_MAX:
            self._failed.popitem(last=False)

    def _expire(self, now: float) -> None:
        for key, entry in list(self._entries.items()):
            alive = [item for item in entry.items if item.expires_at is None or now < item.expires_at]
            self._counters.expired += len(entry.items) - len(alive)
            entry.items = alive
            if not alive and not entry.proving:
                del self._entries[key]

    def _drop(self, entry: _Entry, why: str) -> None:
        self._entries.pop((entry.home, entry.device_id), None)
        items, entry.items = entry.items, []
        self._refuse(items, why)

    def _refuse(self, items: list[Outgoing], why: str) -> None:
        for item in items:
            self._counters.unproven_dropped += 1
            if item.on_refused is not None:
                item.on_refused(why)

    def _say(self, why: str) -> None:
        now = self._now()
        if now - self._said_at < SAID_AGAIN_S:
            self._unsaid += 1
            return
        more = f" ({self._unsaid} more since the last such line)" if self._unsaid else ""
        self._said_at, self._unsaid = now, 0
        _log.warning("%s%s", why, more)

    def _now(self) -> float:
        return asyncio.get_running_loop().time()
