"""Tries the brokers of a device as that device: whether it is let in, what it may read, and what the broker allows."""

from __future__ import annotations

import asyncio
import contextlib
import math
from collections.abc import Iterator

from edge_agent.adapters.mqtt import MqttSettings
from edge_agent.config import AgentConfig
from edge_agent.core.errors import SettingsError
from edge_agent.doctor.findings import Check, Finding
from edge_agent.mqtt import (
    BROKEN,
    WILDCARDS_NOT_SUPPORTED,
    BrokerLimits,
    BrokerUrl,
    Link,
    TlsFiles,
    Trouble,
    explain,
    matches,
    of_code,
    open_client,
    parse_home,
)
from edge_agent.runtime.assemble import make_notary, transport_settings
from edge_agent.runtime.home import Home
from edge_agent.tasks import OvertakenError, unless
from edge_agent.wire import client_ids, topics
from edge_agent.wire.codec import BODY_BYTES_MAX

_OPEN = (
    "lets everybody in, without a name: who somebody is, which topics say, is only a claim there, everybody reads "
    "everybody's answers, and what devices say of each other is not signed (docs/SECURITY.md)"
)
_UNSIGNED = (
    "what devices say of each other is not signed: one that lies can tell the others where a device lives, whether it "
    "does, and how busy it is; a mesh with certificates of moamesh's own signs it (docs/SECURITY.md)"
)
_ENOUGH = 4  # retained messages named; whoever clears these looks again


def broker_checks(config: AgentConfig) -> list[Check]:
    """Returns what is found of a device's home brokers. Not to be called where an event loop runs."""
    own = config.broker.mode == "own"
    home = f"mqtts://127.0.0.1:{config.broker.port}" if own else config.broker.home
    settings = transport_settings(config, Home(home, home), "doctor")
    checks = [check for url in parse_home(home) for check in asyncio.run(_check(url, settings, own=own))]
    open_at = next((url for url in parse_home(home) if asyncio.run(_lets_everybody_in(url, settings))), None)
    if open_at is not None:
        return [*checks, Check("home broker", Finding.NOTE, f"{open_at} {_OPEN}")]
    return [*checks, *_entries_checks(config)]


def _entries_checks(config: AgentConfig) -> list[Check]:
    """What is wrong with the signatures of what devices say of each other."""
    try:
        notary = make_notary(config)
    except SettingsError as error:
        return [Check("entries", Finding.MISSING, str(error))]
    return [] if notary is not None else [Check("entries", Finding.NOTE, _UNSIGNED)]


async def _lets_everybody_in(url: BrokerUrl, settings: MqttSettings) -> bool:
    tls = TlsFiles(ca=settings.tls.ca) if settings.tls is not None else None
    client_id = client_ids.passing(settings.mesh, "stranger")
    try:
        async with Link(open_client(url, client_id=client_id, tls=tls, device=settings.device_id)):
            return True
    except BROKEN:
        return False


async def _check(url: BrokerUrl, settings: MqttSettings, *, own: bool) -> list[Check]:
    name = "home broker"
    try:
        client = open_client(
            url,
            client_id=settings.passing_client_id(),  # beside the device, whose session is its own
            username=settings.username,
            password=settings.password,
            tls=settings.tls,
            device=settings.device_id,
        )
        async with Link(client) as link:
            refused, retained = await _read(link, settings)
    except BROKEN as error:
        trouble = explain(error)
        if own and not trouble.lasting:
            return [Check(name, Finding.NOTE, f"{url}: {trouble.detail}; it runs with the agent")]
        return [Check(name, Finding.MISSING, f"{url}: {trouble.detail}")]
    checks = [Check(name, Finding.OK, f"{url} lets {settings.device_id} in")]
    checks += [Check(name, Finding.MISSING, f"{url}: {topic} may not be read: {why.detail}") for topic, why in refused]
    checks += [Check(name, Finding.NOTE, f"{url} {line}") for line in _remarks(link.limits)]
    for topic in retained[:_ENOUGH]:
        detail = f"{url}: a retained message lies in {topic}; it is not acted on"
        checks.append(Check(name, Finding.NOTE, detail, f"mosquitto_pub -r -n -t {topic}"))
    return checks


async def _read(link: Link, settings: MqttSettings) -> tuple[list[tuple[str, Trouble]], list[str]]:
    """Returns what the device may not read, with the reason, and its inboxes in which a retained message lies."""
    inboxes = topics.device_inboxes(settings.mesh, settings.device_id)
    if not link.limits.wildcards:
        return [(topic, of_code(WILDCARDS_NOT_SUPPORTED)) for topic, _ in inboxes[:1]], []
    refused = await link.subscribe((*inboxes, topics.others_presence(settings.mesh)))
    if refused:
        return [(topic, of_code(code)) for topic, code in refused], []
    retained: list[str] = []

    async def take(*, most: float = math.inf) -> None:
        while most > 0:
            most -= 1
            message = await link.receive()
            if message.retain and any(matches(topic, message.topic) for topic, _ in inboxes):
                retained.append(message.topic)

    with contextlib.suppress(OvertakenError):  # what a broker keeps comes before it answers this
        await unless(take(), link.unsubscribe([topic for topic, _ in inboxes]))
    await take(most=link.waiting)
    return [], retained


def _remarks(limits: BrokerLimits) -> Iterator[str]:
    if limits.hindrance:
        yield limits.hindrance
    yield from limits.notes(BODY_BYTES_MAX)
