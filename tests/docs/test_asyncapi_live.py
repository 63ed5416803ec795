"""What devices and users really publish on a real broker is what docs/asyncapi.yaml says."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, get_args

import aiomqtt
import pytest
from paho.mqtt.properties import Properties
from paho.mqtt.subscribeoptions import SubscribeOptions

from edge_agent.client import MeshClient
from edge_agent.core.messages import Answer, BetweenTransports, PromptOptions, PromptReceipt, PromptRefusal
from edge_agent.core.states import Outcome
from edge_agent.fleet.local import LocalFleet
from edge_agent.fleet.plan import EngineKind, FleetPlan
from edge_agent.wire.codec import TYPE_NAMES
from edge_agent.wire.topics import ROOT, parse
from tests.docs.asyncapi_document import document, operations, problems
from tests.support.patience import PATIENCE_S
from tests.support.polling import until

pytestmark = pytest.mark.broker

PLAN = FleetPlan(
    3,
    EngineKind.SYNTHETIC,
    service="deterministic:0.1",
    web=False,
    layers=1,
    fanout=2,
    status_interval_s=0.5,
    agent={"queue_capacity": 3, "gossip_interval_s": 0.3},
)


@dataclass
class Recording:
    """Every message on the broker, as it was published."""

    messages: list[aiomqtt.Message] = field(default_factory=list)

    def types(self) -> set[str]:
        return {self.body(message)["type"] for message in self.messages}

    def states(self) -> set[str]:
        return {self.body(one)["state"] for one in self.messages if str(one.topic).endswith("/presence")}

    @staticmethod
    def body(message: aiomqtt.Message) -> Any:
        assert isinstance(message.payload, bytes)
        return json.loads(message.payload)


@asynccontextmanager
async def recording(port: int) -> AsyncIterator[Recording]:
    """Records at QoS 2 and with the publishers' own retain flag: what is recorded is then what was published."""
    record = Recording()
    async with aiomqtt.Client("127.0.0.1", port, protocol=aiomqtt.ProtocolVersion.V5) as client:
        await client.subscribe(f"{ROOT}/#", options=SubscribeOptions(qos=2, retainAsPublished=True))

        async def read() -> None:
            async for message in client.messages:
                record.messages.append(message)

        task = asyncio.create_task(read())
        yield record
        task.cancel()


async def ask_and_overload_and_cancel(client: MeshClient) -> None:
    end = await client.ask_to_end("device-1", "Why is the sky blue?")
    assert isinstance(end, Answer)
    ends = await asyncio.gather(*(client.ask_to_end("device-1", f"number {number}") for number in range(8)))
    assert any(isinstance(one, PromptRefusal) for one in ends), "eight prompts at once should not fit into 3 places"
    async for said in client.ask("device-2", "never mind", PromptOptions(layers=8), prompt_id="never-mind"):
        if isinstance(said, PromptReceipt):
            await client.cancel("device-2", "never-mind")
        if isinstance(said, Answer):
            assert said.outcome is Outcome.CANCELLED


async def ask_from_an_old_client(port: int, mesh: str) -> None:
    inbox = f"{ROOT}/{mesh}/devices/device-3/answers/me/shell"
    prompt = {"v": 2, "type": "prompt", "id": "p1", "client": "shell", "text": "Why is the sky blue?"}
    async with aiomqtt.Client("127.0.0.1", port, protocol=aiomqtt.ProtocolVersion.V311) as client:
        await client.subscribe(inbox, qos=1)
        await client.publish(f"{ROOT}/{mesh}/devices/device-3/prompts/me", json.dumps(prompt), qos=1)
        async with asyncio.timeout(PATIENCE_S):
            async for message in client.messages:
                if Recording.body(message)["type"] == "answer":
                    return


async def test_every_message_of_a_live_session_is_as_the_document_says(tmp_path: Path) -> None:
    certificates = get_args(BetweenTransports)  # only where a mesh has some: tests/runtime/test_entries.py
    wanted = {name for kind, name in TYPE_NAMES.items() if kind not in certificates}
    async with LocalFleet(PLAN, folder=tmp_path) as fleet, recording(fleet.broker.port) as record:
        async with MeshClient(fleet.url, fleet.mesh) as client:
            await ask_and_overload_and_cancel(client)
            assert (await client.answers("device-2")).answers
        await ask_from_an_old_client(fleet.broker.port, fleet.mesh)
        await until(lambda: record.types() == wanted, f"messages of every type; there were {sorted(record.types())}")
        fleet.kill("device-3")
        await until(lambda: "offline" in record.states(), "the last will of a killed device")
        await fleet.devices["device-2"].stop()
        await until(lambda: record.states() == {"online", "stopped", "offline"}, "a farewell")
    assert [found for message in record.messages if (found := against(message))] == []


def against(message: aiomqtt.Message) -> str:
    """What the document has against a message as it was published; "" if nothing."""
    address = parse(str(message.topic))
    if address is None:
        return f"{message.topic}: not a topic of the document"
    body = Recording.body(message)
    found = problems(address.channel, body)
    bindings = [one["bindings"]["mqtt"] for one in operations(address.channel)]
    if any(binding["qos"] != message.qos for binding in bindings):
        found.append(f"QoS {message.qos}")
    if bool(message.retain) != any(binding.get("retain") for binding in bindings):
        found.append(f"retain {message.retain}")
    if body["type"] == "prompt" and "client" not in body:
        found += against_properties(message.properties)
    return f"{message.topic} {body.get('type')}: {'; '.join(found)}" if found else ""


def against_properties(properties: Properties | None) -> list[str]:
    """What the document has against the properties of an MQTT 5 prompt."""
    binding = document()["components"]["messages"]["prompt"]["bindings"]["mqtt"]
    topic, correlation = getattr(properties, "ResponseTopic", ""), getattr(properties, "CorrelationData", b"")
    found = [] if re.fullmatch(binding["responseTopic"]["pattern"], topic) else [f"response topic {topic!r}"]
    if not 0 < len(correlation) <= binding["correlationData"]["maxLength"]:
        found.append(f"correlation data {correlation!r}")
    return found
