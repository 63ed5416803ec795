"""From MQTT to what a client may believe: the right mesh, the right channel, each device speaking for itself only."""

from __future__ import annotations

import logging
from dataclasses import dataclass

from edge_agent.core.errors import ProtocolError
from edge_agent.core.messages import (
    Answer,
    AnswersPage,
    DeviceStatus,
    DeviceToUser,
    LayerProgress,
    Presence,
    PromptReceipt,
    PromptRefusal,
    TokenChunk,
)
from edge_agent.wire import codec, topics

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class FromDevice:
    """A message and the device whose topic it came on."""

    device_id: str
    message: DeviceToUser | Presence | DeviceStatus


def read(mesh: str, topic: str, body: object) -> FromDevice | None:
    """Returns what came, or `None` if it is nothing for a user of `mesh`."""
    address = topics.parse(topic)
    if address is None or address.mesh != mesh or not isinstance(body, bytes):
        return None
    try:
        message = codec.decode(body, topics.TABLE[address.channel].types, sender=address.device)
    except ProtocolError as error:
        log.debug("dropped a message on %s: %s", topic, error.detail)
        return None
    match message:
        case Presence() | DeviceStatus():
            return FromDevice(address.device, message)
        case PromptReceipt() | PromptRefusal() | LayerProgress() | TokenChunk() | Answer() | AnswersPage():
            return FromDevice(address.device, message)
    return None
