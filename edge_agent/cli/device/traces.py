"""Clears what a revoked device left at the mesh's brokers, for `moamesh device revoke`."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

from edge_agent.wire.topics import HOME_ASSISTANT_USER, OPERATOR_ID
from provisioning.errors import ProvisioningError
from provisioning.link import LinkError
from provisioning.mesh import MeshFolder
from provisioning.mqtt_link import BrokerAccess, mqtt_connect
from provisioning.traces import clear_for_good, trace_topics


@dataclass(frozen=True, slots=True)
class Cleared:
    """What became of a device's retained messages at one broker; `problem` "" is that they are gone."""

    broker: str
    problem: str


async def clear_traces(mesh: MeshFolder, device_id: str) -> tuple[list[Cleared], tuple[str, ...]]:
    """Clears them at every shared broker of the mesh; returns what came of each, and the topics.

    A device that ran a broker of its own kept its presence there, and shared ones what it wrote before.

    Raises:
        ProvisioningError: the mesh's files can't be used.
    """
    with mesh.inventory() as inventory:
        announced = inventory.has_user(HOME_ASSISTANT_USER)
    brokers = mesh.settings.brokers
    problems = await asyncio.gather(*(_at(mesh, url, device_id, announced=announced) for url in brokers))
    topics = trace_topics(mesh.name, device_id, home_assistant=announced)
    return [Cleared(*pair) for pair in zip(brokers, problems, strict=True)], topics


async def _at(mesh: MeshFolder, url: str, device_id: str, *, announced: bool) -> str:
    name = f"{mesh.name}.{OPERATOR_ID}-revoke"
    access = BrokerAccess(url, name, mesh.ca_file, mesh.operator_certificate, mesh.operator_key)
    try:
        await clear_for_good(mesh.name, device_id, mqtt_connect(access), home_assistant=announced)
    except (LinkError, ProvisioningError) as error:
        return str(error)
    return ""
