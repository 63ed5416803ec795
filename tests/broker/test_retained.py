"""A broker cannot forbid retained messages on one topic. Who may write to an inbox may leave one there; a device takes
no notice of it."""

from __future__ import annotations

import asyncio

import pytest

from broker.embedded import EmbeddedBroker
from broker.probe_client import Credentials, Endpoint, ProbeClient
from edge_agent.adapters.mqtt import MqttSettings, MqttTransport
from edge_agent.core.events import BadInputReceived, ConnectionChanged, Event
from edge_agent.core.messages import PeerEntry, Presence, PresenceState
from edge_agent.wire.topics import Channel, topic_filter
from tests.support.polling import until

pytestmark = pytest.mark.broker

INBOXES = (Channel.PROMPTS, Channel.PROPOSALS, Channel.REPLIES, Channel.GOSSIP)
PROMPT = b'{"v":2,"type":"prompt","id":"x","text":"hi"}'


async def test_a_device_refuses_what_was_left_in_its_inboxes(mosquitto: EmbeddedBroker) -> None:
    def leave() -> None:
        with ProbeClient("leaver", Endpoint("127.0.0.1", mosquitto.port), Credentials()) as client:
            left = [(topic_filter("home", "kitchen", channel, "me"), PROMPT, True) for channel in INBOXES]
            assert client.publish(left) == [True] * len(left)

    await asyncio.to_thread(leave)
    events: list[Event] = []

    async def emit(event: Event) -> None:
        events.append(event)

    transport = MqttTransport(MqttSettings("kitchen", "home", mosquitto.url))
    will = Presence(PeerEntry("kitchen", mosquitto.url, "m", "f", 1, 1, 0, None), PresenceState.OFFLINE, 1, "0")
    await transport.start(emit, will)
    try:
        await until(lambda: sum(isinstance(one, BadInputReceived) for one in events) == len(INBOXES), "all refused")
    finally:
        await transport.stop()
    others = [one for one in events if not isinstance(one, BadInputReceived | ConnectionChanged)]
    assert others == []
    said = {one.detail for one in events if isinstance(one, BadInputReceived)}
    assert all("retained, so it would come at every connect; `mosquitto_pub -r -n" in detail for detail in said)
    assert {detail.partition(":")[0] for detail in said} == set(INBOXES)
