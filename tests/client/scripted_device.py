"""A device that follows a script: it speaks the real codec over real MQTT, and has no agent in it."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field

from edge_agent.core.messages import DeviceToUser, Message, Prompt
from edge_agent.mqtt import Link, TlsFiles, open_client
from edge_agent.wire import codec, topics


@dataclass
class ScriptedDevice:
    """What a script may do, and what it has seen."""

    link: Link
    mesh: str
    device_id: str
    heard: list[Message] = field(default_factory=list)
    correlations: list[bytes] = field(default_factory=list)
    reply_to: str = ""

    @property
    def prompts(self) -> list[Prompt]:
        return [message for message in self.heard if isinstance(message, Prompt)]

    async def say(self, *messages: DeviceToUser) -> None:
        for message in messages:
            await self.link.deliver(self.reply_to, codec.encode(message), qos=1)

    async def announce(self, message: Message) -> None:
        row = topics.row_for(message)
        topic = topics.build(self.mesh, self.device_id, row.channel)
        await self.link.deliver(topic, codec.encode(message), qos=row.qos, retain=row.retain)


Script = Callable[[ScriptedDevice, Message], Awaitable[None]]


async def silence(_device: ScriptedDevice, _message: Message) -> None:
    """The script of a device that hears and says nothing."""


@contextlib.asynccontextmanager
async def scripted_device(
    url: str,
    script: Script = silence,
    *,
    mesh: str = "test",
    device_id: str = "device-1",
    tls: TlsFiles | None = None,
) -> AsyncIterator[ScriptedDevice]:
    """Runs `script` for each message from a user."""
    async with Link(open_client(url, client_id=f"{device_id}-script", tls=tls)) as link:
        device = ScriptedDevice(link, mesh, device_id)
        await link.subscribe([(topics.topic_filter(mesh, device_id, topics.Channel.PROMPTS), 1)])

        async def listen() -> None:
            while True:
                incoming = await link.receive()
                device.reply_to = incoming.response_topic
                device.correlations.append(incoming.correlation)
                message = codec.decode_prompt(incoming.payload).message
                device.heard.append(message)
                await script(device, message)

        listening = asyncio.create_task(listen())
        try:
            yield device
        finally:
            listening.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await listening
