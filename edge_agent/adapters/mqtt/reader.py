"""From what a broker delivers to what happened: bytes on a topic become one event, or none.

Nothing here raises because of what somebody sent. Whatever is wrong becomes `BadInputReceived`, with the way back to
the sender where it is known and allowed.
"""

from __future__ import annotations

import hashlib
from typing import cast

from edge_agent.adapters.mqtt.link import Incoming
from edge_agent.core.errors import ProtocolError
from edge_agent.core.events import (
    BadInputReceived,
    Event,
    PeerMessageReceived,
    PromptCancelReceived,
    PromptReceived,
    ReplyRoute,
)
from edge_agent.core.messages import Presence, Prompt, RefusalReason
from edge_agent.wire import topics
from edge_agent.wire.codec import UserInputError, decode, decode_prompt
from edge_agent.wire.topics import TABLE, Address, Channel, Role

CORRELATION_BYTES_MAX = 128  # it is kept and journalled with the prompt; clients use 16 bytes or fewer

RETAINED_SEEN_MAX = 64  # retained messages that were told of: a topic keeps one, and a device has few inboxes
CLEAR = "mosquitto_pub -r -n -t"

_INBOXES = (Channel.PROMPTS, Channel.PROPOSALS, Channel.REPLIES, Channel.GOSSIP)


class Reader:
    """Reads what arrives for one device."""

    def __init__(self, mesh: str, device_id: str, body_bytes_max: int) -> None:
        self._mesh = mesh
        self._device_id = device_id
        self._body_bytes_max = body_bytes_max
        self._retained_seen: dict[bytes, None] = {}

    def read(self, incoming: Incoming) -> Event | None:
        """Returns the event that `incoming` is; `None` for what is rightly ignored (own or cleared presence)."""
        address = topics.parse(incoming.topic)
        if address is None or address.mesh != self._mesh:
            return _bad("topic: none of this device's")
        if address.channel is Channel.PRESENCE:
            return self._presence(address, incoming)
        if address.device != self._device_id or not self._is_read(address.channel):
            return _bad("topic: none of this device's")
        if incoming.retain:
            return self._retained(address, incoming)
        if address.channel not in _INBOXES:  # what is taken of these is `management`'s
            return _bad(f"{address.channel}: {len(incoming.payload)} bytes, at most {self._body_bytes_max} are taken")
        if address.channel is Channel.PROMPTS:
            return self._prompt(incoming)
        return self._peer_message(address, incoming)

    def _is_read(self, channel: Channel) -> bool:
        return channel in _INBOXES or (not TABLE[channel].types and Role.DEVICE in TABLE[channel].readers)

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
        event = self._prompt(incoming)
        if isinstance(event, PromptReceived):
            return BadInputReceived(RefusalReason.INVALID, why, event.prompt.prompt_id, event.reply)
        if isinstance(event, PromptCancelReceived):
            return _bad(why, event.prompt_id)
        return BadInputReceived(RefusalReason.INVALID, why, event.message_id, event.reply)

    def management(self, incoming: Incoming) -> Channel | None:
        """Returns the channel of a body that is for this device and not for the core to read, else `None`."""
        address = topics.parse(incoming.topic)
        if address is None or (address.mesh, address.device) != (self._mesh, self._device_id) or incoming.retain:
            return None
        if TABLE[address.channel].types or len(incoming.payload) > self._body_bytes_max:
            return None
        return address.channel

    def _presence(self, address: Address, incoming: Incoming) -> Event | None:
        if address.device == self._device_id or not incoming.payload:
            return None
        event = self._peer_message(address, incoming)
        if isinstance(event, PeerMessageReceived) and cast(Presence, event.message).entry.device_id != address.device:
            return _bad("presence: speaks for another device")
        return event

    def _peer_message(self, address: Address, incoming: Incoming) -> Event:
        try:
            message = decode(incoming.payload, TABLE[address.channel].types, self._body_bytes_max)
        except ProtocolError as error:
            return BadInputReceived(RefusalReason(error.reason), error.detail, error.message_id)
        return PeerMessageReceived(message)

    def _prompt(self, incoming: Incoming) -> PromptReceived | PromptCancelReceived | BadInputReceived:
        try:
            given = decode_prompt(incoming.payload, self._body_bytes_max)
        except UserInputError as error:
            route = self._route(incoming, error.reply_to, error.body_id)
            if isinstance(route, str):
                return BadInputReceived(RefusalReason(error.reason), f"{error.detail}; {route}", error.message_id)
            return BadInputReceived(RefusalReason(error.reason), error.detail, error.message_id, route)
        route = self._route(incoming, given.reply_to, given.body_id)
        message = given.message
        if isinstance(route, str):
            return _bad(route, message.prompt_id)
        if isinstance(message, Prompt):
            return PromptReceived(message, route, len(incoming.payload))
        return PromptCancelReceived(message.prompt_id, route)

    def _route(self, incoming: Incoming, reply_to: str, body_id: str) -> ReplyRoute | str:
        """Returns the way back, or why there is none. The MQTT 5 property comes before the body's `reply_to`."""
        topic = incoming.response_topic or reply_to
        if not topic:
            return "response topic: missing, and no reply_to in the body"
        if not topics.is_own_answer(topic, self._mesh, self._device_id):
            return "response topic: must be answers/<client> of this device"
        if len(incoming.correlation) > CORRELATION_BYTES_MAX:
            return f"correlation data: must be at most {CORRELATION_BYTES_MAX} bytes"
        return ReplyRoute(topic, incoming.correlation.hex(), body_id)


def _bad(detail: str, message_id: str = "") -> BadInputReceived:
    return BadInputReceived(RefusalReason.INVALID, detail, message_id)
