"""How devices find each other and notice who is gone: gossip, presence, suspicion.

Every interval a device tells one random peer about itself and a random sample of its view, and is told the same.
Presence messages and last wills make this quicker where a broker carries them; nothing depends on them.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from edge_agent.core.context import Context
from edge_agent.core.effects import PublishPresence, SendToDevice
from edge_agent.core.incarnations import INCARNATION_MAX, is_newer, next_incarnation
from edge_agent.core.inference import InferenceServer
from edge_agent.core.messages import PeerEntry, Presence, PresenceState, ViewExchange
from edge_agent.core.peers import PeerView
from edge_agent.core.policies.peer_selection import sample_distinct
from edge_agent.core.timers import TimerKind
from edge_agent.core.twins import Twins

_GOSSIP = (TimerKind.GOSSIP, "")
_SEED_EVERY = 10  # gossips between two with a seed: halves of a mesh that buried each other meet again there
_DISCOVERED_MAX = 64  # devices seen in the local network that are kept as seeds; anybody there can make up more


class Membership:
    """Keeps the peer view true. `on_lost(device_id, now)` is called for each device found dead or restarted,
    `on_suspected(device_id, now)` for each that begins to be silent, `on_found(now)` when a new one is known."""

    __slots__ = (
        *("_context", "_discovered", "_heartbeat", "_incarnation", "_on_found", "_on_lost", "_on_suspected"),
        *("_run", "_seeds", "_server"),
        "twins",
        "view",
    )

    def __init__(
        self,
        context: Context,
        view: PeerView,
        server: InferenceServer,
        seeds: tuple[tuple[str, str], ...],
        on_lost: Callable[[str, float], None],
        on_found: Callable[[float], None],
        on_suspected: Callable[[str, float], None],
    ) -> None:
        self._context = context
        self.view = view
        self._server = server
        self._seeds = tuple(seed for seed in seeds if seed[0] != context.identity.device_id)
        self._discovered: dict[str, str] = {}
        self._on_lost = on_lost
        self._on_found = on_found
        self._on_suspected = on_suspected
        self._incarnation = 0
        self._heartbeat = 0
        self._run = ""
        self.twins = Twins(context, self.presence)

    def start(self, incarnation: int, now: float) -> None:
        """Begins to gossip."""
        self._incarnation = incarnation
        self._run = f"{incarnation}-{self._context.identity.nonce}"
        interval = self._context.settings.gossip_interval_s
        if interval is not None:
            # the first one at a random moment, or devices started together would gossip together for ever
            self._context.timers.set(_GOSSIP, now + interval * self._context.streams.gossip.random())

    @property
    def run(self) -> str:
        """Which start of this device this is; "" before it."""
        return self._run

    def own_entry(self) -> PeerEntry:
        """Returns what this device tells of itself."""
        identity = self._context.identity
        return PeerEntry(
            device_id=identity.device_id,
            home_broker=identity.home_broker,
            model=identity.model,
            model_family=identity.model_family,
            parameter_count=identity.parameter_count,
            incarnation=self._incarnation,
            heartbeat=self._heartbeat,
            requests_waiting=self._server.turns_waiting(),
            service_time_s_mean=self._server.meter.service_times.expected(True),
            able=self._context.health.able,
        )

    def presence(self, state: PresenceState) -> Presence:
        """Returns this device's presence message in `state`; as `offline` it is the last will."""
        identity, capacity = self._context.identity, self._context.settings.queue_capacity
        return Presence(self.own_entry(), state, capacity, identity.version, install=identity.install, run=self._run)

    def connection_changed(self, connected: bool, now: float) -> None:
        """Says hello on every new connection; what was not heard while it was gone is nobody's fault."""
        self._context.connected = connected
        if connected:
            self._heartbeat += 1
            self.view.refresh(now)
            self._context.out.append(PublishPresence(self.presence(PresenceState.ONLINE)))
            self.twins.connected()
            for device_id, home in self._all_seeds():
                self._send_view(device_id, home, reply_wanted=True)

    def ability_changed(self) -> None:
        """This device can infer again, or no longer: the others hear of it at once."""
        self._heartbeat += 1
        if self._context.connected and not self._context.stopping:
            self._context.out.append(PublishPresence(self.presence(PresenceState.ONLINE)))

    def discovered(self, device_id: str, home: str) -> None:
        """A device was seen in the local network: it is a seed from now on, asked at once who else is there."""
        if device_id == self._context.identity.device_id:
            return
        self._discovered.pop(device_id, None)
        if len(self._discovered) >= _DISCOVERED_MAX:
            del self._discovered[next(iter(self._discovered))]
        self._discovered[device_id] = home
        if self._context.connected and not self._context.stopping:
            self._send_view(device_id, home, reply_wanted=True)

    def tick(self, now: float) -> None:
        """One gossip interval has passed."""
        settings = self._context.settings
        if settings.gossip_interval_s is None:
            return
        if self._context.stopping:  # it has said farewell: a heartbeat would take that back
            return
        self._context.timers.set(_GOSSIP, now + settings.gossip_interval_s)
        self._heartbeat += 1
        if not self._context.connected:
            return
        # an exchange carries a sample: the larger the view, the longer until news of one device comes round
        slowness = max(1.0, self.view.size / settings.gossip_sample)
        silent, dead = self.view.age(now, slowness * settings.suspect_after_s, slowness * settings.dead_after_s)
        for device_id in dead:
            self._context.counters.peers_lost += 1
            self._on_lost(device_id, now)
        for device_id in silent:
            self._on_suspected(device_id, now)
        partner = self._partner()
        if partner is not None:
            self._send_view(*partner, reply_wanted=True)

    def view_received(self, exchange: ViewExchange, now: float) -> None:
        """Takes a peer's sample; the first entry is the sender itself."""
        first = self._is_full_for(exchange)
        for place, entry in enumerate(exchange.entries[first : self._context.settings.gossip_sample + 1], first):
            self._learn(entry, now, carried=place > 0)
        if exchange.entries:
            sender = exchange.entries[0]
            self.view.heard(sender.device_id, now)
            self.view.set_load(sender.device_id, sender.requests_waiting)  # between two heartbeats queues change too
            if exchange.reply_wanted and sender.device_id != self._context.identity.device_id:
                # who lost disk and clock comes back looking older than it was: told of it, it outdoes its former self
                self._send_view(
                    sender.device_id, sender.home_broker, reply_wanted=False, news=self.view.newer_than(sender)
                )

    def _is_full_for(self, exchange: ViewExchange) -> bool:
        """Whether the view has no row to spare for who sent this: a seed that was asked because it is a seed.

        Everybody asks the seeds again and again. Were they let into full views each time, a mesh much larger than a
        view would choose them many times as often as others, and bury them in work.
        """
        if exchange.reply_wanted or not exchange.entries or self.view.size < self._context.settings.view_size_max:
            return False
        sender = exchange.entries[0].device_id
        return self.view.get(sender) is None and any(sender == device_id for device_id, _ in self._all_seeds())

    def _all_seeds(self) -> tuple[tuple[str, str], ...]:
        return (*self._seeds, *self._discovered.items()) if self._discovered else self._seeds

    def presence_received(self, presence: Presence, now: float) -> None:
        """A device was born, stopped, or its broker says that it is gone."""
        entry = presence.entry
        if entry.device_id == self._context.identity.device_id:
            return
        if presence.state is not PresenceState.ONLINE:
            known = self.view.get(entry.device_id)
            same = known is None or known.entry.incarnation == entry.incarnation
            if known is None or same or is_newer(entry.age, known.entry.age):  # else it is back already
                self._context.counters.peers_lost += self.view.bury(entry)
                self._on_lost(entry.device_id, now)  # also if it is not in the view: it may have asked for work here
        elif self._learn(entry, now) and len(self.view) <= self._context.settings.gossip_sample:
            # a small mesh introduces itself at once: a newcomer hears of nobody where presence is not retained
            self._send_view(entry.device_id, entry.home_broker, reply_wanted=False)

    def suspect(self, device_id: str, now: float) -> None:
        """The device did not answer: it is not chosen until there is news of it."""
        if self.view.suspect(device_id):
            self._context.counters.peers_suspected += 1
            self._on_suspected(device_id, now)

    def parameter_count(self, device_id: str) -> int | None:
        """Returns how many parameters the model of a device has, as that device says; `None` if it is not known."""
        if device_id == self._context.identity.device_id:
            return self._context.identity.parameter_count
        peer = self.view.get(device_id)
        return None if peer is None else peer.entry.parameter_count

    def choose(self, count: int, excluded: Sequence[str]) -> list[PeerEntry]:
        """Returns up to `count` peers to ask, as the policy in force chooses them, none of them `excluded`."""
        return self._context.policies.peer_selection.select(
            self.view, count, excluded, self._context.identity, self._context.streams.peer_selection
        )

    def _partner(self) -> tuple[str, str] | None:
        """Returns (device, home broker) to gossip with: an alive peer, else a suspect, which may only have been out of
        reach; from time to time, and if nobody is known, a seed."""
        draws = self._context.streams.gossip
        chosen = sample_distinct(self.view, 1, (), draws)
        known = chosen or [row.entry for row in self.view.rows()]
        if (seeds := self._all_seeds()) and (not known or self._heartbeat % _SEED_EVERY == 0):
            return seeds[int(draws.random() * len(seeds))]
        if not known:
            return None
        entry = known[int(draws.random() * len(known))]
        return entry.device_id, entry.home_broker

    def _learn(self, entry: PeerEntry, now: float, *, carried: bool = False) -> bool:
        if entry.device_id == self._context.identity.device_id:
            self._outdo(entry)
            return False
        known = self.view.get(entry.device_id)
        restarted = (
            known is not None and entry.incarnation != known.entry.incarnation and is_newer(entry.age, known.entry.age)
        )
        is_new = self.view.learn(entry, now, self._context.streams.gossip, carried=carried)
        if restarted:
            self._context.counters.peers_lost += 1
            self._on_lost(entry.device_id, now)  # what its former self had queued and asked for is gone
        if is_new:
            self._on_found(now)
        return is_new or restarted

    def _outdo(self, entry: PeerEntry) -> None:
        """Others know a later life of this device than this one: from now on this one is the latest."""
        if entry.incarnation <= INCARNATION_MAX and is_newer(entry.age, (self._incarnation, self._heartbeat)):
            self._incarnation = next_incarnation(entry.incarnation)
            self._context.out.append(PublishPresence(self.presence(PresenceState.ONLINE)))

    def _send_view(self, device_id: str, home: str, *, reply_wanted: bool, news: PeerEntry | None = None) -> None:
        settings = self._context.settings
        sample = sample_distinct(self.view, settings.gossip_sample, (device_id,), self._context.streams.gossip)
        sample = [self.view.word_of(entry) for entry in sample]
        if news is not None:
            sample = [news, *sample[: settings.gossip_sample - 1]]
        self._context.out.append(
            SendToDevice(
                device_id,
                home,
                ViewExchange((self.own_entry(), *sample), reply_wanted),
                expires_in_s=settings.gossip_interval_s,
            )
        )
