"""The app's side of a pairing, without a browser: MQTT 5 over WebSockets with what the link says, and nothing else."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import json
import secrets
import ssl
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiomqtt
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

from broker.web_login import web_endpoint
from edge_agent.core import messages as m
from edge_agent.wire import codec, topics
from tests.support.patience import PATIENCE_S

APP = "app"
"""Which client of its user it is."""
RESEND_S = 3.0  # without a word: a device may be on its way back to a broker that restarted for a user who left


def read_link(link: str) -> dict[str, Any]:
    """What a pairing link says."""
    packed = link.partition("#pair=")[2]
    said: dict[str, Any] = json.loads(base64.urlsafe_b64decode(packed + "=" * (-len(packed) % 4)))
    return said


@dataclass
class PairedApp:
    """A connected app. `ended` is set once the broker has cut it off."""

    client: aiomqtt.Client
    mesh: str
    user: str
    inbox: list[tuple[str, bytes]] = field(default_factory=list)
    ended: asyncio.Event = field(default_factory=asyncio.Event)

    @property
    def login(self) -> str:
        """Whom the broker knows it as."""
        return topics.user_login(self.user)

    async def ask(self, device: str, text: str) -> m.Message:
        """Asks, again while nothing is heard, as the app does; returns the answer or the refusal."""
        prompt = m.Prompt(secrets.token_hex(16), (m.ChatMessage(m.Role.USER, text),))
        loop = asyncio.get_running_loop()
        send_at = loop.time()
        async with asyncio.timeout(PATIENCE_S):
            while True:
                heard = [codec.decode(body) for _, body in self.inbox if prompt.prompt_id.encode() in body]
                if ends := [message for message in heard if isinstance(message, m.Answer | m.PromptRefusal)]:
                    return ends[0]
                if not heard and loop.time() >= send_at:
                    await self.send(device, prompt)
                    send_at = loop.time() + RESEND_S
                await asyncio.sleep(0.02)

    async def send(self, device: str, prompt: m.Prompt) -> None:
        """Publishes a prompt, whatever becomes of it."""
        properties = Properties(PacketTypes.PUBLISH)
        properties.ResponseTopic = topics.build(self.mesh, device, topics.Channel.ANSWERS, self.login, APP)
        properties.CorrelationData = prompt.prompt_id.encode()
        topic = topics.written_by(self.login, self.mesh, device, topics.Channel.PROMPTS)
        with contextlib.suppress(aiomqtt.MqttCodeError):  # "not authorized": the tests judge by what comes of it
            await self.client.publish(topic, codec.encode(prompt), qos=1, properties=properties)

    async def listen(self) -> None:
        """Fills the inbox until the connection is over."""
        with contextlib.suppress(aiomqtt.MqttError):
            async for message in self.client.messages:
                if isinstance(message.payload, bytes):
                    self.inbox.append((str(message.topic), message.payload))
        self.ended.set()


@contextlib.asynccontextmanager
async def paired_app(link: str, *, ca: Path | None = None, spies: bool = False) -> AsyncIterator[PairedApp]:
    """An app that has taken a link. `spies`: it subscribes to everything that anybody might be told.

    Raises:
        aiomqtt.MqttCodeError: the broker does not let it in.
    """
    said = read_link(link)
    endpoint = web_endpoint(said["brokers"][0])
    secure = said["brokers"][0].startswith("wss:")
    client = aiomqtt.Client(
        endpoint.host,
        endpoint.port,
        identifier=f"{said['user']}-{secrets.token_hex(4)}",
        username=topics.user_login(said["user"]),
        password=said["secret"],
        protocol=aiomqtt.ProtocolVersion.V5,
        transport="websockets",
        tls_context=ssl.create_default_context(cafile=str(ca)) if secure else None,
        timeout=PATIENCE_S,
    )
    await _enter(client)
    app = PairedApp(client, said["mesh"], said["user"])
    listening = asyncio.create_task(app.listen())
    try:
        for device in said.get("devices", [topics.ANY]):
            for wanted, qos in topics.user_subscriptions(said["mesh"], app.login, APP, device):
                await client.subscribe(wanted, qos=qos)
        if spies:
            await client.subscribe([("#", 1), (f"{topics.ROOT}/{said['mesh']}/devices/+/answers/+/+", 1)])
        yield app
    finally:
        listening.cancel()
        await asyncio.wait([listening])
        with contextlib.suppress(aiomqtt.MqttError):  # the broker has cut it off
            await client.__aexit__(None, None, None)


async def _enter(client: aiomqtt.Client) -> None:
    """Connects; a broker that restarts just now is tried again, as the app does."""
    async with asyncio.timeout(PATIENCE_S):
        while True:
            try:
                await client.__aenter__()
                return
            except aiomqtt.MqttCodeError:
                raise
            except aiomqtt.MqttError:
                await asyncio.sleep(0.05)
