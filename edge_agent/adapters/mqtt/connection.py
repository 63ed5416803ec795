"""A connection to one home broker that keeps coming back: connect, subscribe, send and receive, pause, again (`Tries`).

What waits to be sent belongs to it (`sender`), and so survives a broken connection.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import random
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from typing import final

from edge_agent.adapters.mqtt.outbox import Outgoing
from edge_agent.adapters.mqtt.sender import Sender
from edge_agent.adapters.mqtt.settings import MqttCounters, MqttSettings
from edge_agent.adapters.mqtt.troubles import Troubles
from edge_agent.homes import Host, Whom
from edge_agent.mqtt import (
    BROKEN,
    CONNECT_TIMEOUT_S,
    QOS_NOT_SUPPORTED,
    RETAIN_NOT_SUPPORTED,
    SESSION_TAKEN_OVER,
    THROWN_OUT,
    Bounds,
    BrokerLimits,
    BrokerUrl,
    Incoming,
    Link,
    Pace,
    RefusedError,
    Tries,
    Trouble,
    Will,
    WordlessError,
    code_of,
    explain,
    of_code,
    open_client,
)
from edge_agent.tasks import TaskSupervisor, within
from edge_agent.wire.salvage import ends_of

_log = logging.getLogger(__name__)

THROWN_OUT_WITHIN_S = 60.0  # longer than two clones leave each other alone
THROWN_OUT_MAX = 3  # a broker's restart and a bad moment of the network look the same, but not three times in a row
END_TIMEOUT_S = CONNECT_TIMEOUT_S + 1.0  # only the look for a host's address cannot be given up
CONNECT_TIMEOUT_MAX_S = 24.0  # as long as it may become where connects take long: each holds a thread meanwhile
CONNECT_SLACK = 4.0  # times as long as the last connect took
FLUSH_UNCONNECTED_S = 1.0  # for a connect under way to come about, and take along what waits


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
        owner: the device whose home it is: over TLS, its own broker is the right one whatever the address.
        own: whether it is this device's own home, which alone is shown the password.
        will: makes the last will of each connection: what it says is signed, and may be out of date at the next.
        on_trouble: told in one line what is wrong with the broker, and "" when it is well again.
    """

    def __init__(
        self,
        home: tuple[BrokerUrl, ...],
        settings: MqttSettings,
        counters: MqttCounters,
        rng: random.Random,
        *,
        client_id: str,
        owner: str,
        own: bool = False,
        inbox: Inbox | None = None,
        will: Callable[[], Will] | None = None,
        on_trouble: Callable[[str], None] | None = None,
    ) -> None:
        self.home = home
        # the shortest pause is for a broker that restarts: where there was no connection yet, it begins with the second
        pace = Pace(settings.backoff_min_s, settings.backoff_max_s, settings.refused_backoff_max_s, before=1)
        self._tries = Tries(home, pace, rng)
        self._owner = owner
        self._serves_others = False
        self._serves_host = False
        self._settings = settings
        self._counters = counters
        self._client_id = client_id
        self._own = own
        self._inbox = inbox
        self._will = will
        self._limits = BrokerLimits()  # as of the last connect, or as a refused one taught
        self._connected_at: float | None = None
        self._thrown_out = 0  # connections in a row that were let in at once, and soon lost without a word
        self._troubles = Troubles(
            lambda: str(self.url), on_trouble, steady_s=settings.steady_s, refused_steady_s=settings.refused_steady_s
        )
        self._connecting: Link | None = None
        self._connect_timeout_s = CONNECT_TIMEOUT_S
        bytes_max = settings.outgoing_bytes_max if own else settings.away_bytes_max
        self._sender = Sender(settings, counters, self._troubles, bytes_max, lambda: str(self.url))
        self._tasks = TaskSupervisor("mqtt")
        self._ended = asyncio.Event()
        self._started = False

    @property
    def _link(self) -> Link | None:
        return self._sender.link

    @property
    def connected(self) -> bool:
        """Whether messages flow now."""
        return self._link is not None

    @property
    def url(self) -> BrokerUrl:
        """The address that is connected, or tried next."""
        return self._tries.url

    def serves(self, device_id: str) -> bool:
        """Whether messages for this device may be sent here; if so, this stays true.

        A broker that could only show that it is its owner's gets nothing that is meant for others.
        """
        if device_id == self._owner or not self.url.tls:
            return True
        self._serves_others = self._serves_others or self._serves_host
        return self._serves_others

    @property
    def serves_many(self) -> bool:
        """Whether messages for others than its owner may be sent here, as far as is known."""
        return not self.url.tls or self._serves_others or self._serves_host

    @property
    def limits(self) -> BrokerLimits:
        """What the broker takes, as it said at the last connect."""
        return self._limits

    @property
    def waiting(self) -> int:
        """Messages queued or not acknowledged yet."""
        return self._sender.waiting

    def start(self) -> None:
        """Begins connecting, in the background."""
        self._started = True
        self._tasks.keep(str(self.url), self._run_to_the_end)

    def send(self, item: Outgoing) -> None:
        """Sends `item` now if the connection has room, else queues it."""
        if self._tries.stopped:
            self._counters.dropped += 1
            if item.on_refused is not None:
                item.on_refused("this device stops")
        else:
            self._sender.send(item)

    def greet(self, item: Outgoing) -> None:
        """Sends `item` now if connected, and again first of all at every connect (a broker may have forgotten it)."""
        self._sender.greeting = item
        if self._link is not None:
            self.send(replace(item))

    def stand_aside(self, pause_s: float) -> None:
        """Leaves the broker, so that no will fires, and comes back after so long. What is to be sent waits."""
        self._tries.wait_for(pause_s)
        if self._link is not None:
            self._link.end()

    def renew(self) -> None:
        """Leaves the broker and comes back, with the certificate files as they are by then."""
        if self._link is not None:
            self._link.end()

    async def stop(self, flush_s: float) -> None:
        """Waits at most `flush_s` seconds until all is acknowledged, then disconnects so that no will fires."""
        with contextlib.suppress(TimeoutError):
            await within(self._sender.idle.wait(), flush_s if self.connected else min(flush_s, FLUSH_UNCONNECTED_S))
        self._tries.stop()
        if self._link is not None:
            self._link.end()
        elif self._connecting is not None:
            self._connecting.give_up()
        if self._started:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(END_TIMEOUT_S):
                    await self._ended.wait()
            await self._tasks.stop()
        self._counters.dropped += self.waiting

    # --- the loop ---------------------------------------------------------------------------------------------------

    async def _run_to_the_end(self) -> None:
        await self._run()
        self._ended.set()
        await asyncio.Event().wait()  # its supervisor begins anew whatever ends

    async def _run(self) -> None:
        loop = asyncio.get_running_loop()
        async for _ in self._tries:
            self._connected_at = None
            try:
                trouble = await self._connect_once()
            except BROKEN as error:
                if self._can_do_with_less(error):
                    self._tries.repeat()
                    continue
                self._counters.connect_failures += 1
                self._thrown_out = 0
                self._sender.drop_volatile()
                trouble = explain(error, self._settings.tls)
            if self._tries.stopped:
                return
            began = self._connected_at
            steady = began is not None and loop.time() - began >= self._troubles.steady_s
            if trouble is not None:
                self._counters.take_overs += trouble.code == SESSION_TAKEN_OVER
                if self._thrown_out >= THROWN_OUT_MAX:
                    trouble = THROWN_OUT
                self._troubles.failed(trouble, steady=steady)
            if steady:
                self._tries.well()
            self._tries.slow = self._troubles.lasting or self._thrown_out >= THROWN_OUT_MAX

    def _can_do_with_less(self, error: Exception) -> bool:
        """Whether the broker refused only what our last will asks for; the next try then asks for less."""
        code, limits = code_of(getattr(error, "rc", None)), self._limits
        if code == RETAIN_NOT_SUPPORTED and limits.retain:
            self._limits = replace(limits, retain=False)
        elif code == QOS_NOT_SUPPORTED and limits.qos_max > 0:
            self._limits = replace(limits, qos_max=0)
        return limits is not self._limits

    async def _connect_once(self) -> Trouble | None:
        """Connects, and returns once the connection is lost: why, `None` if it was left."""
        link = self._new_link()
        steady: asyncio.TimerHandle | None = None
        loop = asyncio.get_running_loop()
        began, self._connecting = loop.time(), link
        try:
            async with link:
                self._limits = link.limits
                refused = await self._subscribe(link, self._inbox) if self._inbox is not None else []
                self._connecting, self._connected_at = None, loop.time()
                self._took(self._connected_at - began, came_about=True)
                self._troubles.connected(link.limits if self._own else BrokerLimits(), refused)
                steady = loop.call_later(self._troubles.steady_s, self._troubles.steady)
                await self._serve(link)
        finally:
            if self._connecting is not None:
                self._connecting = None
                self._took(loop.time() - began, came_about=False)
            if steady is not None:
                steady.cancel()
        if link.lost_by is None:
            return None
        trouble = explain(link.lost_by)
        soon = loop.time() - self._connected_at < THROWN_OUT_WITHIN_S
        self._thrown_out = self._thrown_out + 1 if soon and isinstance(link.lost_by, WordlessError) else 0
        return trouble

    def _took(self, seconds: float, *, came_about: bool) -> None:
        """Learns from a connect how long the next one may take: on a busy small machine a handshake takes seconds."""
        if came_about:
            wanted_s = CONNECT_SLACK * seconds
        elif seconds >= self._connect_timeout_s:
            wanted_s = 2 * self._connect_timeout_s
        else:
            return
        self._connect_timeout_s = min(CONNECT_TIMEOUT_MAX_S, max(CONNECT_TIMEOUT_S, wanted_s))

    async def _subscribe(self, link: Link, inbox: Inbox) -> list[tuple[str, str]]:
        """Subscribes to what is to be read; returns what may not be and can be done without, as (filter, reason).

        Raises:
            RefusedError: an inbox of this device's may not be read.
        """
        needless: list[tuple[str, str]] = []
        for topic, code in await link.subscribe((*inbox.filters, *inbox.optional_filters)):
            reason = of_code(code)
            if topic in dict(inbox.filters):
                raise RefusedError(replace(reason, detail=f"subscription to {topic} refused: {reason.detail}"))
            needless.append((topic, f"subscription to {topic} refused: {reason.detail}"))
        return needless

    async def _serve(self, link: Link) -> None:
        self._counters.connects += 1
        self._sender.attach(link)
        if self._tries.stopped:
            link.end()
        try:
            if self._inbox is not None:
                await self._inbox.changed(True)
            while (message := await link.next()) is not None:
                if self._inbox is not None:
                    try:
                        await self._inbox.take(message)
                    except Exception:  # a defect met by one message must not meet it again at every reconnect
                        self._counters.bad += 1
                        _log.exception("broker %s: a message on %s could not be processed", self.url, message.topic)
                link.acknowledge(message)
        finally:
            self._counters.connection_losses += not self._tries.stopped
            self._sender.lost(code_of(getattr(link.lost_by, "rc", None)))
        if self._inbox is not None and not self._tries.stopped:
            await self._inbox.changed(False)

    def _new_link(self) -> Link:
        settings = self._settings
        client = open_client(
            self.url,
            client_id=self._client_id,
            will=self._will_now(),
            receive_maximum=settings.incoming_max,
            username=settings.username if self._own else None,
            password=settings.password if self._own else None,
            tls=settings.tls,
            device="" if self._serves_others else self._owner,
            hosts=None if self._own else settings.named_hosts,
            on_served=self._served,
            session_expiry_s=settings.session_expiry_s if self._own else 0,
            connect_timeout_s=self._connect_timeout_s,
        )
        bounds = Bounds(
            waiting_max=settings.incoming_max,
            sheds=True,
            whole_max=settings.body_bytes_max,
            cut=ends_of,
            came=self._counters.came,
        )
        return Link(client, bounds, self._sender.published)

    def _will_now(self) -> Will | None:
        """The last will as the broker takes it, as far as that is known."""
        if self._will is None:
            return None
        will, limits = self._will(), self._limits
        return Will(will.topic, will.payload, min(will.qos, limits.qos_max), will.retain and limits.retain)

    def _served(self, whoms: tuple[Whom, ...]) -> None:
        self._serves_host = any(isinstance(whom, Host) for whom in whoms)
