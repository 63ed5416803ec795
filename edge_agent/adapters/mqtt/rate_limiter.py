"""Before anything is read: whether its sender speaks too often. To drop something costs a look at its topic."""

from __future__ import annotations

from edge_agent.adapters.mqtt.rates import MessageRates
from edge_agent.adapters.mqtt.reader import CORRELATION_BYTES_MAX
from edge_agent.core.events import OverRate, ReplyRoute
from edge_agent.mqtt import Incoming
from edge_agent.wire import topics
from edge_agent.wire.checks import MESSAGE_ID_LENGTH_MAX
from edge_agent.wire.salvage import Salvage
from edge_agent.wire.topics import CLIENT_DEFAULT, ID_LENGTH_MAX, INBOXES, Address, Channel

LISTS_HZ = 1.0  # revocation lists of one sender: a peer sends one when it meets us, the operator when it has a new one
LISTS_BURST = 8  # to look at one costs a signature and up to 200 KiB


class RateLimiter:
    """Counts who speaks how often to one device.

    rate_hz, burst: as `MessageRates`. Revocation lists, which members bring each other, have a rate of their own.
    """

    def __init__(self, mesh: str, device_id: str, rate_hz: float, burst: int) -> None:
        self._mesh = mesh
        self._device_id = device_id
        self._rates = MessageRates(rate_hz, burst)
        self._lists = MessageRates(LISTS_HZ, LISTS_BURST)
        self.dropped = 0
        """Messages over their sender's rate, since the start."""

    def over_rate(self, incoming: Incoming, now: float) -> Address | None:
        """Returns where a message came that is over its sender's rate, `None` if it is to be read."""
        address = topics.parse(incoming.topic)
        if address is not None and address.channel is Channel.REVOCATIONS:
            if self._lists.takes(address.principal, "", now):
                return None
            self.dropped += 1
            return address
        if address is None or (address.channel not in INBOXES and address.channel is not Channel.PRESENCE):
            return None
        client = incoming.response_topic.rpartition("/")[2][:ID_LENGTH_MAX]  # all that is known of it unread
        if self._rates.takes(address.principal or address.device, client, now):
            return None
        self.dropped += 1
        return address

    def word(self, address: Address, incoming: Incoming, now: float) -> OverRate | None:
        """Returns what the core is to tell the sender of a message that was turned away; mostly nothing any more."""
        if address.channel not in (Channel.PROMPTS, Channel.PROPOSALS):
            return None
        if not self._rates.tells(address.principal, now):
            return None
        said = Salvage(incoming.payload)
        if address.channel is Channel.PROPOSALS:
            request_id = said.text("request_id", MESSAGE_ID_LENGTH_MAX)
            return OverRate(request_id, device_id=address.principal) if request_id else None
        named = topics.client_at(incoming.response_topic, self._mesh, self._device_id, address.principal)
        client = named or said.text("client", ID_LENGTH_MAX)
        correlation = incoming.correlation if len(incoming.correlation) <= CORRELATION_BYTES_MAX else b""
        body_id = said.text("id", MESSAGE_ID_LENGTH_MAX)
        client = client if topics.is_id(client) else CLIENT_DEFAULT
        return OverRate(
            said.message_id(MESSAGE_ID_LENGTH_MAX),
            reply=ReplyRoute(address.principal, client, correlation.hex(), body_id),
        )
