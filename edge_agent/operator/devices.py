"""Devices that come and go: the claim that a new one is given, and what a revoked one left at the mesh's brokers."""

from __future__ import annotations

import asyncio
import datetime
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import final

from broker.passwords import hash_password
from edge_agent.wire.topics import HOME_ASSISTANT_USER, OPERATOR_ID
from provisioning.errors import ProvisioningError
from provisioning.files import PRIVATE, write_atomically
from provisioning.link import LinkError
from provisioning.mesh import Invitation, MeshFolder
from provisioning.mqtt_link import BrokerAccess, mqtt_connect
from provisioning.traces import clear_for_good, trace_topics


def invite_device(
    mesh: MeshFolder,
    device_id: str,
    *,
    lifetime_s: float,
    ip_addresses: Sequence[str] = (),
    claim_file: Path | None = None,
) -> Invitation:
    """Gives a device the right to claim one certificate within `lifetime_s`.

    Args:
        ip_addresses: where others reach the device's own broker, to stand in its certificate.
        claim_file: where the claim is written, for its owner alone. Without it only the caller has the secret.

    Raises:
        ProvisioningError: the name may not be a device's, the device is a member already, or the file can't be written;
            then invite it again.
    """
    invitation = mesh.invite(device_id, hash_password=hash_password, lifetime_s=lifetime_s, ip_addresses=ip_addresses)
    if claim_file is not None:
        write_atomically(claim_file, json.dumps(claim_object(invitation), indent=1).encode() + b"\n", PRIVATE)
    return invitation


def claim_object(invitation: Invitation) -> dict[str, object]:
    """Returns all of an invitation, **its secret included**, as `management.claim` reads it on the device."""
    return {
        "mesh": invitation.mesh,
        "device_id": invitation.device_id,
        "secret": invitation.secret,
        "claim_broker": invitation.claim_broker,
        "brokers": list(invitation.brokers),
        "bundle": invitation.bundle_pem.decode(),
        "expires_at": datetime.datetime.fromtimestamp(invitation.expires_at, datetime.UTC).isoformat(),
    }


@final
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
