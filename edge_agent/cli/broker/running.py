"""Keeps a broker running for `moamesh broker run`, once it has said what there is to know of it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from typing import TypeVar

from rich.console import Console

from broker.ejabberd import NodeSettings
from broker.embedded import EmbeddedBroker
from broker.mosquitto_files import MosquittoFiles
from broker.per_device import DeviceBroker
from edge_agent.cli.terminal import JsonObject, log_to_stderr, print_json, styled
from edge_agent.config import AgentConfig

Running = TypeVar("Running")
Told = tuple[JsonObject, dict[str, str]]
"""What is known of a broker, and remarks for people with the style of each."""


async def keep_running(
    out: Console, broker: AbstractAsyncContextManager[Running], tell: Callable[[Running], Told], *, json: bool
) -> None:
    """Runs it until this is cancelled; what happens meanwhile goes to stderr.

    Raises:
        SettingsError: it did not start.
    """
    log_to_stderr()
    async with broker as running:
        known, remarks = tell(running)
        if json:
            print_json(known)
        else:
            width = max(map(len, known))
            for label, value in known.items():
                if value not in (None, ""):
                    out.print(styled((f"{label.replace('_', ' '):{width}}", "label"), f" {value}"), soft_wrap=True)
        for remark, style in remarks.items():
            out.print(remark, style=style, soft_wrap=True)
        await asyncio.Event().wait()


def embedded_told(broker: EmbeddedBroker) -> Told:
    """Of a broker for this host alone."""
    remarks = {broker.limitations: "busy"} if broker.limitations else {}
    return (
        {"mode": "embedded", "kind": broker.kind, "url": broker.url, "limitations": broker.limitations},
        remarks | {"everybody on this machine may use it, and nobody else": "quiet"},
    )


def mosquitto_told(mesh: str, files: MosquittoFiles) -> Told:
    """Of a mesh's shared broker."""
    listeners, limits = files.config.listeners, files.config.limits
    return (
        {
            "mode": "mosquitto",
            "mesh": mesh,
            "version": ".".join(map(str, files.config.program.version)),
            "devices": listeners.devices,
            "passwords": listeners.passwords,
            "web": listeners.web,
            "packet_bytes_max": limits.packet_bytes_max,
            "queued_messages_max": limits.queued_messages_max,
            "queued_bytes_max": limits.queued_bytes_max,
            "in_flight_max": limits.in_flight_max,
            "connections_max": limits.connections_max,
            "folder": str(files.config.folder),
        },
        {"users, claims and revocations of the mesh take effect at once": "quiet"},
    )


def node_told(settings: NodeSettings, running: list[str]) -> Told:
    """Of a node of a cluster, of which these nodes run."""
    listeners = settings.listeners
    note = "devices send their name as MQTT user name here ([broker] username); retained messages stay on one node"
    return (
        {
            "mode": "cluster",
            "mesh": settings.mesh,
            "node": settings.name,
            "running": ", ".join(running),
            "devices": listeners.devices,
            "passwords": listeners.passwords,
            "web": listeners.web,
            "nodes": settings.node_port,
            "folder": str(settings.folder),
        },
        {note: "busy"},
    )


def own_told(config: AgentConfig, broker: DeviceBroker) -> Told:
    """Of one device's own broker."""
    return (
        {"mode": "per-device", "device": config.device.id, "mesh": config.device.mesh, "devices": broker.port},
        {"`moamesh agent` runs this broker itself: do not run both": "quiet"},
    )
