"""Tries the brokers of a device as that device: whether it is let in, what it may read, and what the broker allows."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import aiomqtt

from edge_agent.adapters.mqtt import (
    WILDCARDS_NOT_SUPPORTED,
    BrokerLimits,
    BrokerUrl,
    MqttSettings,
    TlsFiles,
    Trouble,
    code_of,
    explain,
    of_code,
    open_client,
    parse_home,
    unless_lost,
)
from edge_agent.config import AgentConfig
from edge_agent.core.errors import SettingsError
from edge_agent.doctor.findings import Check, Finding
from edge_agent.runtime.assemble import make_notary, transport_settings
from edge_agent.runtime.home import Home
from edge_agent.wire import client_ids, topics

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
        async with open_client(url, client_id=client_id, tls=tls, device=settings.device_id):
            return True
    except (aiomqtt.MqttError, OSError, ValueError):
        return False


async def _check(url: BrokerUrl, settings: MqttSettings, *, own: bool) -> list[Check]:
    told: list[BrokerLimits] = []
    name = "home broker"
    try:
        client = open_client(
            url,
            client_id=settings.passing_client_id(),  # beside the device, whose session is its own
            username=settings.username,
            password=settings.password,
            tls=settings.tls,
            device=settings.device_id,
            on_limits=told.append,
        )
        async with client:
            refused, retained = await _read(client, settings, told[-1])
    except (aiomqtt.MqttError, OSError, ValueError) as error:
        trouble = explain(error)
        if own and not trouble.lasting:
            return [Check(name, Finding.NOTE, f"{url}: {trouble.detail}; it runs with the agent")]
        return [Check(name, Finding.MISSING, f"{url}: {trouble.detail}")]
    limits = told[-1]
    checks = [Check(name, Finding.OK, f"{url} lets {settings.device_id} in")]
    checks += [Check(name, Finding.MISSING, f"{url}: {topic} may not be read: {why.detail}") for topic, why in refused]
    checks += [Check(name, Finding.NOTE, f"{url} {line}") for line in _remarks(limits)]
    for topic in retained[:_ENOUGH]:
        detail = f"{url}: a retained message lies in {topic}; it is not acted on"
        checks.append(Check(name, Finding.NOTE, detail, f"mosquitto_pub -r -n -t {topic}"))
    return checks


async def _read(
    client: aiomqtt.Client, settings: MqttSettings, limits: BrokerLimits
) -> tuple[list[tuple[str, Trouble]], list[str]]:
    """Returns what the device may not read, with the reason, and its inboxes in which a retained message lies."""
    inboxes = topics.device_inboxes(settings.mesh, settings.device_id)
    filters = (*inboxes, topics.others_presence(settings.mesh))
    if not limits.wildcards:
        return [(topic, of_code(WILDCARDS_NOT_SUPPORTED)) for topic, _ in inboxes[:1]], []
    codes = await unless_lost(client, client.subscribe(list(filters)))
    refused = [
        (topic, of_code(code_of(code))) for (topic, _), code in zip(filters, codes, strict=True) if code_of(code)
    ]
    if refused:
        return refused, []
    await unless_lost(
        client, client.unsubscribe([topic for topic, _ in inboxes])
    )  # what a broker keeps comes before it answers this
    retained: list[str] = []
    while len(client.messages):
        message = await anext(client.messages)
        if message.retain and any(message.topic.matches(topic) for topic, _ in inboxes):
            retained.append(str(message.topic))
    return refused, retained


def _remarks(limits: BrokerLimits) -> Iterator[str]:
    if limits.hindrance:
        yield limits.hindrance
    yield from limits.notes()
