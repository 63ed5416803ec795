"""A connection to one home broker that keeps coming back: connect, subscribe, send and receive, pause, again.

A home may have several addresses, the nodes of a cluster: each new try goes to the next one, and none is preferred.

The outbox belongs to it, so what waits survives a broken connection. What was published and not acknowledged is
published again: repeats are harmless in this protocol, losses are not.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import random
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from typing import final

import aiomqtt

from edge_agent.adapters.mqtt.client import CONNECT_TIMEOUT_S, BrokerUrl, open_client
from edge_agent.adapters.mqtt.link import Incoming, Link
from edge_agent.adapters.mqtt.outbox import VOLATILE_MAX, Outbox, Outgoing
from edge_agent.adapters.mqtt.settings import Counters, MqttSettings

_log = logging.getLogger(__name__)

END_TIMEOUT_S = CONNECT_TIMEOUT_S + 1.0  # a connect under way cannot be cancelled, only outlasted


@final
@dataclass(frozen=True, slots=True)
class Inbox:
    """What a connection reads, and whom it tells. Without one it only sends."""

    filters: tuple[tuple[str, int], ...]
    take: Callable[[Incoming], Awaitable[None]]
    """Called for one message at a time; the message is acknowledged after it returned."""
    changed: Callable[[bool], Awaitable[None]]
    """Called with True once subscribed, with False once lost and all that had come was taken."""
    optional_filters: tuple[tuple[str, int], ...] = ()
    """Read where the broker allows it; a device does without otherwise."""


class Connection:
    """Keeps one home broker connected from `start` to `stop`.

    Args:
        home: its addresses.
        owner: the device whose home it is: over TLS, a broker of that name is the right one whatever its address.
        own: whether it is this device's own home, which alone is shown the password.
    """

    def __init__(
        self,
        home: tuple[BrokerUrl, ...],
        settings: MqttSettings,
        counters: Counters,
        rng: random.Random,
        *,
        client_id: str,
        owner: str,
        own: bool = False,
        inbox: Inbox | None = None,
        will: aiomqtt.Will | None = None,
    ) -> None:
        self.home = home
        self._at = rng.randrange(len(home))  # devices spread over the nodes of a cluster
        self._owner = owner
        self._serves_others = False
        self._names_host = False
        self._settings = settings
        self._counters = counters
        self._rng = rng
        self._client_id = client_id
        self._own = own
        self._inbox = inbox
        self._will = will
        self._outbox = Outbox(settings.outgoing_max, settings.outgoing_bytes_max, counters)
        self._in_flight: dict[int, Outgoing] = {}
        self._greeting: Outgoing | None = None
        self._link: Link | None = None
        self._task: asyncio.Task[None] | None = None
        self._hopeful = True  # until the first failure, what is worth nothing later may wait for the connect
        self._stopping = asyncio.Event()
        self._idle = asyncio.Event()
        self._idle.set()

    @property
    def connected(self) -> bool:
        """Whether messages flow now."""
        return self._link is not None

    @property
    def url(self) -> BrokerUrl:
        """The address that is connected, or tried next."""
        return self.home[self._at]

    def serves(self, device_id: str) -> bool:
        """Whether messages for this device may be sent here; if so, this stays true.

        A broker that could only show that it is its owner's gets nothing that is meant for others.
        """
        if device_id == self._owner or not self.url.tls:
            return True
        self._serves_others = self._serves_others or self._names_host
        return self._serves_others

    @property
    def waiting(self) -> int:
        """Messages queued or not acknowledged yet."""
        return len(self._outbox) + len(self._in_flight)

    def start(self) -> None:
        """Begins connecting, in the background."""
        self._task = asyncio.create_task(self._run(), name=f"mqtt {self.url}")

    def send(self, item: Outgoing) -> None:
        """Sends `item` now if the connection has room, else queues it."""
        if self._stopping.is_set() or (item.priority <= VOLATILE_MAX and not self._hopeful):
            self._counters.dropped += 1
            return
        self._idle.clear()
        self._outbox.put(item)
        self._pump()

    def greet(self, item: Outgoing) -> None:
        """Sends `item` now if connected, and again first of all at every connect (a broker may have forgotten it)."""
        self._greeting = item
        if self._link is not None:
            self.send(replace(item))

    def renew(self) -> None:
        """Leaves the broker and comes back, with the certificate files as they are by then."""
        if self._link is not None:
            self._link.end()

    async def stop(self, flush_s: float) -> None:
        """Waits at most `flush_s` seconds until all is acknowledged, then disconnects so that no will fires."""
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._idle.wait(), flush_s)
        self._stopping.set()
        if self._link is not None:
            self._link.end()
        if self._task is not None:
            await asyncio.wait([self._task], timeout=END_TIMEOUT_S)
            self._task.cancel()
            await asyncio.wait([self._task])
        self._counters.dropped += self.waiting

    # --- the loop ---------------------------------------------------------------------------------------------------

    async def _run(self) -> None:
        loop = asyncio.get_running_loop()
        attempt = 0
        while not self._stopping.is_set():
            began = loop.time()
            try:
                await self._connect_once()
            except (aiomqtt.MqttError, OSError, ValueError) as error:  # ValueError: unusable certificate files
                self._counters.connect_failures += 1
                self._drop_volatile()
                _log.info("broker %s: %s", self.url, error)
            self._at = (self._at + 1) % len(self.home)
            attempt = 0 if loop.time() - began >= self._settings.steady_s else attempt + 1
            await self._back_off(attempt)

    async def _back_off(self, attempt: int) -> None:
        # Full jitter: after a broker's restart a whole mesh comes back, and should not come back at once. The pause
        # grows with each round of the addresses: one that is dead must not keep a device from those that live.
        rounds = attempt // len(self.home)
        longest = min(self._settings.backoff_max_s, self._settings.backoff_min_s * 2 ** min(rounds, 32))
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._stopping.wait(), self._rng.uniform(0.0, longest))

    async def _connect_once(self) -> None:
        link = Link(self._client(), self._settings.incoming_max, self._counters, self._published)
        try:
            async with link.client:
                link.opened()
                if self._inbox is not None:
                    await link.subscribe(self._inbox.filters)
                    await link.subscribe(self._inbox.optional_filters, required=False)
                await self._serve(link)
        finally:
            link.close_socket()

    async def _serve(self, link: Link) -> None:
        self._counters.connects += 1
        self._link = link
        self._hopeful = True
        if self._greeting is not None:
            self._outbox.put_back([replace(self._greeting)])
        self._pump()
        if self._stopping.is_set():
            link.end()
        try:
            if self._inbox is not None:
                await self._inbox.changed(True)
            while (message := await link.next()) is not None:
                if self._inbox is not None:
                    await self._inbox.take(message)
                link.acknowledge(message)
        finally:
            self._lost()
        if self._inbox is not None and not self._stopping.is_set():
            await self._inbox.changed(False)

    def _client(self) -> aiomqtt.Client:
        settings = self._settings
        return open_client(
            self.url,
            client_id=self._client_id,
            will=self._will,
            receive_maximum=settings.incoming_max,
            username=settings.username if self._own else None,
            password=settings.password if self._own else None,
            tls=settings.tls,
            names=() if self._serves_others else (self._owner,),
            on_certificate=self._certificate_shown,
            session_expiry_s=settings.session_expiry_s if self._own else 0,
        )

    def _certificate_shown(self, names: frozenset[str]) -> None:
        self._names_host = self.url.host in names

    # --- out --------------------------------------------------------------------------------------------------------

    def _pump(self) -> None:
        """Publishes what is waiting, up to the number that may be under way."""
        now = asyncio.get_running_loop().time()
        while (link := self._link) is not None and len(self._in_flight) < self._window(link):
            item = self._outbox.pop(now)
            if item is None:
                break
            if not link.fits(item):
                self._counters.refused += 1
                continue
            self._publish(link, item, now)
        self._note_idle()

    def _window(self, link: Link) -> float:
        return min(self._settings.in_flight_max, link.in_flight_max)

    def _publish(self, link: Link, item: Outgoing, now: float) -> None:
        number = link.publish(item, now)
        if number is None:  # just lost: `_serve` is about to notice
            self._link = None
            self._outbox.put_back([item])
            return
        item.sends += 1
        self._counters.sent += 1
        self._counters.repeated += item.sends > 1
        self._in_flight[number] = item

    def _published(self, number: int, taken: bool) -> None:
        item = self._in_flight.pop(number, None)
        if item is None:
            return
        self._pump()
        if not taken:
            self._counters.refused += 1
            _log.warning("broker %s refused a message to %s", self.url, item.topic)
        elif item.qos:
            self._counters.delivered += 1
            if item.on_delivered is not None:
                item.on_delivered()

    def _lost(self) -> None:
        self._link = None
        self._counters.connection_losses += not self._stopping.is_set()
        again = [item for item in self._in_flight.values() if item.qos and item.sends < self._settings.sends_max]
        self._counters.dropped += len(self._in_flight) - len(again)
        self._in_flight.clear()
        self._outbox.put_back(again)
        self._drop_volatile()

    def _drop_volatile(self) -> None:
        self._hopeful = False
        self._outbox.drop_volatile()
        self._note_idle()

    def _note_idle(self) -> None:
        if not self.waiting:
            self._idle.set()
