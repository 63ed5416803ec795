"""A device that follows a script: it speaks the real codec over real MQTT, and has no agent in it."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field

import aiomqtt

from edge_agent.adapters.mqtt import BrokerLimits, TlsFiles, open_client
from edge_agent.core.messages import DeviceToUser, Message, Prompt
from edge_agent.wire import codec, topics


@dataclass
class ScriptedDevice:
    """What a script may do, and what it has seen."""

    client: aiomqtt.Client
    mesh: str
    device_id: str
    heard: list[Message] = field(default_factory=list)
    correlations: list[bytes] = field(default_factory=list)
    reply_to: str = ""
    limits: BrokerLimits = field(default_factory=BrokerLimits)

    @property
    def prompts(self) -> list[Prompt]:
        return [message for message in self.heard if isinstance(message, Prompt)]

    async def say(self, *messages: DeviceToUser) -> None:
        for message in messages:
            await self.client.publish(self.reply_to, codec.encode(message), min(1, self.limits.qos_max))

    async def announce(self, message: Message) -> None:
        row = topics.row_for(message)
        topic = topics.build(self.mesh, self.device_id, row.channel)
        qos, retain = min(row.qos, self.limits.qos_max), row.retain and self.limits.retain
        await self.client.publish(topic, codec.encode(message), qos, retain=retain)


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
    told: list[BrokerLimits] = []
    async with open_client(url, client_id=f"{device_id}-script", tls=tls, on_limits=told.append) as client:
        device = ScriptedDevice(client, mesh, device_id, limits=told[-1])
        await client.subscribe(topics.topic_filter(mesh, device_id, topics.Channel.PROMPTS), 1)

        async def listen() -> None:
            async for incoming in client.messages:
                assert isinstance(incoming.payload, bytes)
                device.reply_to = getattr(incoming.properties, "ResponseTopic", "")
                device.correlations.append(getattr(incoming.properties, "CorrelationData", b""))
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
