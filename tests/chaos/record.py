"""What devices have told their users: every receipt and every end, as anybody at the broker hears them."""

from __future__ import annotations

import time
from collections import Counter
from dataclasses import dataclass, field
from typing import TypeAlias

from edge_agent.client.access import Access
from edge_agent.client.connection import Connection
from edge_agent.client.conversation import ClientSettings
from edge_agent.client.incoming import read
from edge_agent.core.messages import Answer, Presence, PresenceState, PromptReceipt, PromptRefusal
from edge_agent.mqtt import Incoming, parse_home
from edge_agent.wire import topics

Key: TypeAlias = tuple[str, str, str]
"""(device, user, prompt id)."""


@dataclass
class Story:
    """What was told of one prompt.

    Attributes:
        durable: whether one of its receipts said that a restart does not lose it.
        ends: every different answer, each with when it was first told (`time.monotonic`).
    """

    received: bool = False
    durable: bool = False
    refused: str = ""
    ends: list[tuple[float, Answer]] = field(default_factory=list)

    def take(self, message: object) -> None:
        """Notes a message about it."""
        match message:
            case PromptReceipt(durable=durable):
                self.received = True
                self.durable |= durable
            case PromptRefusal(reason=reason):
                self.refused = reason.value
            case Answer() if all(message != answer for _, answer in self.ends):
                self.ends.append((time.monotonic(), message))


class Record:
    """Everything that was told, by prompt; and since when each device is there."""

    def __init__(self) -> None:
        self.stories: dict[Key, Story] = {}
        self.online: dict[str, int] = {}
        """Of each device the incarnation that last said it was there; a device that said farewell is not there."""

    def take(self, device: str, user: str, message: object) -> None:
        """Notes a message that a user got."""
        if isinstance(message, PromptReceipt | PromptRefusal | Answer):
            self.stories.setdefault((device, user, message.prompt_id), Story()).take(message)

    def accepted(self, *, durable: bool) -> dict[Key, Story]:
        """The prompts that were accepted, durably or not."""
        return {key: story for key, story in self.stories.items() if story.received and story.durable is durable}

    def outcomes(self) -> dict[str, int]:
        """How many prompts ended how."""
        return dict(Counter(story.ends[0][1].outcome.value for story in self.stories.values() if story.ends))


class Listener:
    """Hears what every user is told, gateways' users too, while its connection stands."""

    def __init__(self, url: str, mesh: str, record: Record) -> None:
        self._mesh = mesh
        self._record = record
        settings = ClientSettings(backoff_max_s=1.0)
        self._connection = Connection(
            parse_home(url), Access(), f"{mesh}.listener", settings, self._on_message, lambda: None
        )

    async def start(self) -> None:
        """Begins to listen; call `stop` in the end."""
        for channel in (topics.Channel.ANSWERS, topics.Channel.PRESENCE):
            await self._connection.subscribe(topics.topic_filter(self._mesh, topics.ANY, channel), 1)
        self._connection.start()

    async def stop(self) -> None:
        """Listens no more."""
        await self._connection.stop()

    def _on_message(self, incoming: Incoming) -> None:
        received, address = read(self._mesh, incoming.topic, incoming.payload), topics.parse(incoming.topic)
        if received is None or address is None:
            return
        if isinstance(received.message, Presence):
            there = received.message.state is PresenceState.ONLINE
            self._record.online[received.device_id] = received.message.entry.incarnation if there else 0
        else:
            self._record.take(received.device_id, address.client, received.message)
