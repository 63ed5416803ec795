"""What can be turned in the transport, the bound of everything that could grow in it, and what it counts."""

from __future__ import annotations

from dataclasses import dataclass, field

from edge_agent.core.errors import SettingsError
from edge_agent.mqtt import TlsFiles, parse_home
from edge_agent.wire import client_ids
from edge_agent.wire.codec import BODY_BYTES_MAX
from edge_agent.wire.topics import check_id


@dataclass(frozen=True, slots=True)
class MqttSettings:
    """How a device reaches brokers.

    home: where this device is connected and reads its inboxes: a URL, or those of a cluster's nodes, commas between.
    install: this installation's secret, of which its client id is made; the same after a restart, so that a broker
        that can keeps what arrives meanwhile. One that is made here lasts as long as this.
    home_aliases: other URLs by which peers may name the same broker (its address in the local network, say).
    hosts: where the mesh has brokers that many share, beside those of `home` and `home_aliases`.
    seeds: devices and their homes: each is dialled there without being looked at first.
    username, password: for the home broker only; strangers' brokers never see them. `tls` is shown to all of them.
    """

    device_id: str
    mesh: str
    home: str
    install: str = field(default_factory=client_ids.new_secret, repr=False)
    home_aliases: tuple[str, ...] = ()
    hosts: tuple[str, ...] = ()
    seeds: tuple[tuple[str, str], ...] = ()
    username: str | None = None
    password: str | None = field(default=None, repr=False)
    tls: TlsFiles | None = None

    body_bytes_max: int = BODY_BYTES_MAX  # a larger body is refused unread
    message_rate_hz: float = 200.0  # of one sender; as `[agent] message_rate_hz` says
    message_burst: int = 1_000
    entries_max: int = 9  # of an exchange, that a core looks at: `gossip_sample` and the sender's own
    incoming_max: int = 64  # messages read and not yet taken by the runtime; at that many the socket is left alone
    outgoing_max: int = 1_024  # messages waiting for one broker: minutes of peer traffic, seconds of tokens
    outgoing_bytes_max: int = 16 * 1024 * 1024  # and never more memory than this for the home broker
    away_bytes_max: int = 1024 * 1024  # for each broker elsewhere: there may be `away_max`, and four of the largest fit
    in_flight_max: int = 16  # published and not acknowledged: enough to hide a round trip, few to repeat
    sends_max: int = 8  # a message that goes down with its connection this often may be what kills it
    away_max: int = 16  # connections to other devices' home brokers, least recently used out
    unproven_max: int = 64  # homes that somebody told of and that have not shown who they are
    unproven_items_max: int = 256  # messages that wait for these
    unproven_bytes_max: int = 4 * 1024 * 1024
    proofs_max: int = 32  # of these looked at at a time: ten dead ones a second, each for 3 s, keep nobody waiting
    proof_rate_hz: float = 16.0  # how many are looked at over time: a mesh must not make a port scanner of a device
    backoff_min_s: float = 0.1  # first pause before reconnecting: a restarted broker is back within this
    backoff_max_s: float = 10.0  # longest pause: bounds what a broker hears from a mesh while it is down
    steady_s: float = 5.0  # a connection that held this long resets the pause
    refused_backoff_max_s: float = 60.0  # between tries where only somebody can mend it: a wrong password, a clone
    refused_steady_s: float = 600.0  # a connection that held this long after such a thing shows that it is mended
    flush_s: float = 2.0  # how long a stop waits for queued messages
    raw_max: int = 16  # management messages of a channel that wait for their turn; senders repeat what was dropped
    raw_bytes_max: int = 1024 * 1024  # and of all of these: four of the largest
    session_expiry_s: int = 120  # brokers that can keep what arrives while this device restarts

    def __post_init__(self) -> None:
        try:
            check_id(self.device_id, "device_id")
            check_id(self.mesh, "mesh")
            check_id(self.install, "install")
            for home in (self.home, *self.home_aliases, *(home for _, home in self.seeds)):
                parse_home(home)
        except ValueError as error:
            raise SettingsError(str(error)) from None
        bounds = (
            "body_bytes_max entries_max incoming_max outgoing_max outgoing_bytes_max away_bytes_max in_flight_max "
            "sends_max away_max raw_max raw_bytes_max unproven_max unproven_items_max unproven_bytes_max proofs_max "
            "proof_rate_hz backoff_min_s message_rate_hz message_burst"
        )
        for name in bounds.split():
            if not getattr(self, name) > 0:
                raise SettingsError(f"{name} must be above 0, not {getattr(self, name)}")
        if self.backoff_max_s < self.backoff_min_s:
            raise SettingsError("backoff_max_s must not be below backoff_min_s")

    @property
    def client_id(self) -> str:
        """This device's name for its session at its home broker, and nowhere else: who knows it can end the session."""
        return client_ids.lasting(self.mesh, self.device_id, self.install)

    @property
    def named_hosts(self) -> frozenset[str]:
        """Hosts that may serve others' homes, as far as these settings say: what gossip says adds none."""
        urls = (url for home in (self.home, *self.home_aliases) for url in parse_home(home))
        return frozenset((*(url.host for url in urls), *self.hosts))

    def passing_client_id(self) -> str:
        """Returns a name for one connection elsewhere, or beside the session at home."""
        return client_ids.passing(self.mesh, self.device_id)


@dataclass(slots=True)
class MqttCounters:
    """What the transport did since it was made; all connections together."""

    received: int = 0
    bad: int = 0
    over_rate: int = 0
    """Messages over their sender's rate: not read."""
    entries_refused: int = 0
    """Entries that were not their owner's word, or whose certificate counts no more."""
    entries_unread: int = 0
    """Entries that came faster from one sender than signatures are looked at."""
    gossip_dropped: int = 0
    """QoS 0 messages that came while the runtime was behind."""
    sent: int = 0
    delivered: int = 0
    """Taken by a broker (QoS 1)."""
    repeated: int = 0
    """Published again after a connection broke."""
    dropped: int = 0
    """Outgoing messages that did not fit, or that nobody wants late, or that killed their connection too often."""
    expired: int = 0
    refused: int = 0
    """Outgoing messages that a broker did not take: not authorised, or larger than it allows."""
    connects: int = 0
    connection_losses: int = 0
    connect_failures: int = 0
    away_evicted: int = 0
    bad_homes: int = 0
    """Messages to a home broker whose URL is unusable."""
    proofs: int = 0
    """Homes that somebody told of and that were looked at."""
    proofs_failed: int = 0
    unproven_dropped: int = 0
    """Messages to homes that did not show who they are, or for which there was no room."""
    raw_dropped: int = 0
    """Management messages that came while too many waited."""
    take_overs: int = 0
    """Times that another client took this device's session over."""
    notices_dropped: int = 0
    """Things to tell the core that came while it was far behind."""

    def came(self, kept: bool) -> None:
        """Counts a message that came in; those that are not kept are gossip."""
        self.received += 1
        self.gossip_dropped += not kept
