"""From what a broker delivers to what happened: bytes on a topic become one event, or none.

Nothing here raises because of what somebody sent. Whatever is wrong becomes `BadInputReceived`; where it is a user's,
with the way back, since the topic says whose it is. What a device says in another's name is dropped here.
"""

from __future__ import annotations

import hashlib

from edge_agent.core.errors import ProtocolError
from edge_agent.core.events import (
    AnswersQueryReceived,
    BadInputReceived,
    Event,
    OwnPresenceReceived,
    PeerMessageReceived,
    PromptCancelReceived,
    PromptReceived,
    ReplyRoute,
)
from edge_agent.core.messages import AnswersQuery, Presence, Prompt, RefusalReason
from edge_agent.mqtt import Incoming
from edge_agent.wire import topics
from edge_agent.wire.codec import UserInputError, decode, decode_prompt
from edge_agent.wire.topics import INBOXES, TABLE, Address, Channel, Role

CORRELATION_BYTES_MAX = 128  # it is kept and journalled with the prompt; clients use 16 bytes or fewer

RETAINED_SEEN_MAX = 64  # retained messages that were told of: a topic keeps one, and a device has few inboxes
CLEAR = "mosquitto_pub -r -n -t"


class Reader:
    """Reads what arrives for one device."""

    def __init__(self, mesh: str, device_id: str, body_bytes_max: int) -> None:
        self._mesh = mesh
        self._device_id = device_id
        self._body_bytes_max = body_bytes_max
        self._retained_seen: dict[bytes, None] = {}

    def read(self, incoming: Incoming) -> Event | None:
        """Returns the event that `incoming` is; `None` for what is rightly ignored (cleared presence)."""
        address = topics.parse(incoming.topic)
        if address is None or address.mesh != self._mesh:
            return _bad("topic: not one of this device's")
        if address.channel is Channel.PRESENCE:
            return self._presence(address, incoming)
        if address.device != self._device_id or not self._is_read(address.channel):
            return _bad("topic: not one of this device's")
        if incoming.retain:
            return self._retained(address, incoming)
        if address.channel not in INBOXES:  # what is taken of these is `management`'s
            return _bad(f"{address.channel}: {incoming.size} bytes, at most {self._body_bytes_max} are taken")
        if address.channel is Channel.PROMPTS:
            return self._prompt(address.principal, incoming)
        return self._peer_message(address, incoming)

    def _is_read(self, channel: Channel) -> bool:
        return channel in INBOXES or (not TABLE[channel].types and Role.DEVICE in TABLE[channel].readers)

    def _retained(self, address: Address, incoming: Incoming) -> Event | None:
        """A retained message in an inbox comes again at every connect, long after its sender has gone: it is told of
        once, and not acted on."""
        mark = hashlib.sha256(incoming.topic.encode() + b"\0" + incoming.payload).digest()
        if mark in self._retained_seen:
            return None
        self._retained_seen[mark] = None
        while len(self._retained_seen) > RETAINED_SEEN_MAX:
            self._retained_seen.pop(next(iter(self._retained_seen)))
        why = f"{address.channel}: retained, so it would come at every connect; `{CLEAR} {incoming.topic}` removes it"
        if address.channel is not Channel.PROMPTS:
            return _bad(why)
        event = self._prompt(address.principal, incoming)
        if isinstance(event, PromptReceived):
            return BadInputReceived(RefusalReason.INVALID, why, event.prompt.prompt_id, event.reply)
        if isinstance(event, PromptCancelReceived):
            return BadInputReceived(RefusalReason.INVALID, why, event.prompt_id, event.reply)
        if isinstance(event, AnswersQueryReceived):
            return BadInputReceived(RefusalReason.INVALID, why, event.query.query_id, event.reply)
        return BadInputReceived(RefusalReason.INVALID, why, event.message_id, event.reply)

    def management(self, incoming: Incoming) -> Address | None:
        """Returns where a body came that is for this device and not for the core to read, else `None`."""
        address = topics.parse(incoming.topic)
        if address is None or (address.mesh, address.device) != (self._mesh, self._device_id) or incoming.retain:
            return None
        if TABLE[address.channel].types or incoming.size > self._body_bytes_max:
            return None
        return address

    def _presence(self, address: Address, incoming: Incoming) -> Event | None:
        if not incoming.payload:
            return None
        event = self._peer_message(address, incoming)
        if address.device != self._device_id:
            return event
        own = isinstance(event, PeerMessageReceived) and event.message
        return OwnPresenceReceived(own, incoming.retain) if isinstance(own, Presence) else None

    def _peer_message(self, address: Address, incoming: Incoming) -> Event:
        sender = address.principal or address.device
        try:
            types = TABLE[address.channel].types
            message = decode(incoming.payload, types, self._body_bytes_max, sender, incoming.size)
        except ProtocolError as error:
            return BadInputReceived(RefusalReason(error.reason), error.detail, error.message_id)
        return PeerMessageReceived(message)

    def _prompt(
        self, principal: str, incoming: Incoming
    ) -> PromptReceived | PromptCancelReceived | AnswersQueryReceived | BadInputReceived:
        try:
            given = decode_prompt(incoming.payload, self._body_bytes_max, incoming.size)
        except UserInputError as error:
            route, wrong = self._route(principal, incoming, error.client, error.body_id)
            detail = f"{error.detail}; {wrong}" if wrong else error.detail
            return BadInputReceived(RefusalReason(error.reason), detail, error.message_id, route)
        route, wrong = self._route(principal, incoming, given.client, given.body_id)
        message = given.message
        if wrong:
            message_id = message.query_id if isinstance(message, AnswersQuery) else message.prompt_id
            return BadInputReceived(RefusalReason.INVALID, wrong, message_id, route)
        if isinstance(message, AnswersQuery):
            return AnswersQueryReceived(message, route)
        if isinstance(message, Prompt):
            return PromptReceived(message, route, len(incoming.payload))
        return PromptCancelReceived(message.prompt_id, route)

    def _route(self, principal: str, incoming: Incoming, client: str, body_id: str) -> tuple[ReplyRoute, str]:
        """Returns the way back, and what was wrong with the one that was asked for, "" if nothing.

        The MQTT 5 property comes before the body's `client`.
        """
        wrong, correlation = "", incoming.correlation
        if incoming.response_topic:
            named = topics.client_at(incoming.response_topic, self._mesh, self._device_id, principal)
            client = named or client
            if named is None:
                wrong = f"response topic: must be answers/{principal}/<client> of this device"
        if len(correlation) > CORRELATION_BYTES_MAX:
            wrong, correlation = f"correlation data: must be at most {CORRELATION_BYTES_MAX} bytes", b""
        return ReplyRoute(principal, client, correlation.hex(), body_id), wrong


def _bad(detail: str, message_id: str = "") -> BadInputReceived:
    return BadInputReceived(RefusalReason.INVALID, detail, message_id)
