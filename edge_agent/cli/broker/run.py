"""Runs a broker until it is told to stop."""

from __future__ import annotations

import asyncio
import logging
import sys
from typing import Any

from rich.console import Console

from broker.ejabberd import EjabberdNode, NodeSettings
from broker.embedded import EmbeddedBroker
from broker.mosquitto import MosquittoBroker
from broker.mosquitto_files import MosquittoFiles
from edge_agent.cli.broker.people import MeshPeople
from edge_agent.cli.broker.setup import one_line_errors
from edge_agent.cli.terminal import print_json, styled
from edge_agent.config import AgentConfig
from edge_agent.core.errors import SettingsError
from edge_agent.runtime.home import own_broker
from provisioning.mesh import MeshFolder


async def run_embedded(out: Console, *, port: int, kind: str | None, json: bool) -> None:
    """Runs the broker for this host alone; it is started again should it end or hang.

    Raises:
        SettingsError: it did not start.
    """
    log_to_stderr()
    with one_line_errors():
        broker = EmbeddedBroker(port=port, kind=kind)
        await broker.start()
    try:
        shown = {"mode": "embedded", "kind": broker.kind, "url": broker.url, "limitations": broker.limitations}
        _say(out, shown, json=json)
        if broker.limitations:
            out.print(broker.limitations, style="busy", soft_wrap=True)
        out.print("everybody on this machine may use it, and nobody else", style="quiet", soft_wrap=True)
        await asyncio.Event().wait()
    finally:
        await broker.stop()


async def run_mosquitto(out: Console, mesh: MeshFolder, files: MosquittoFiles, *, json: bool) -> None:
    """Runs the mesh's broker; users, claims and revocations are followed.

    Raises:
        SettingsError: it did not start.
    """
    log_to_stderr()
    with one_line_errors():
        broker = MosquittoBroker(files, MeshPeople(mesh))
        await broker.start()
    try:
        listeners, limits = files.config.listeners, files.config.limits
        shown = {
            "mode": "mosquitto",
            "mesh": mesh.name,
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
        }
        _say(out, shown, json=json)
        out.print("users, claims and revocations of the mesh take effect at once", style="quiet", soft_wrap=True)
        await asyncio.Event().wait()
    finally:
        await broker.stop()


async def run_cluster_node(out: Console, mesh: MeshFolder, settings: NodeSettings, *, json: bool) -> None:
    """Runs one node of the mesh's ejabberd cluster; users, claims and revocations are followed.

    Raises:
        SettingsError: it did not start.
    """
    log_to_stderr()
    with one_line_errors():
        people = MeshPeople(mesh)
        node = EjabberdNode(settings, people, people.revoked)
        await node.start()
        running = await node.running_nodes()
    try:
        listeners = settings.listeners
        shown = {
            "mode": "cluster",
            "mesh": mesh.name,
            "node": settings.name,
            "running": ", ".join(sorted(running)),
            "devices": listeners.devices,
            "passwords": listeners.passwords,
            "web": listeners.web,
            "nodes": settings.node_port,
            "folder": str(settings.folder),
        }
        _say(out, shown, json=json)
        note = "devices send their name as MQTT user name here ([broker] username); retained messages stay on one node"
        out.print(note, style="busy", soft_wrap=True, markup=False)
        await asyncio.Event().wait()
    finally:
        await node.stop()


async def run_per_device(out: Console, config: AgentConfig, *, json: bool) -> None:
    """Runs one device's own broker without its agent, which otherwise runs it itself.

    Raises:
        SettingsError: it did not start, or the settings name no own broker.
    """
    log_to_stderr()
    if config.broker.mode == "shared":
        raise SettingsError('the device\'s settings say no own broker: set mode = "own" in [broker]')
    async with own_broker(config) as broker:
        if broker is None:
            raise SettingsError("the device's settings say no own broker")
        shown = {"mode": "per-device", "device": config.device.id, "mesh": config.device.mesh, "devices": broker.port}
        _say(out, shown, json=json)
        out.print("`moamesh agent` runs this broker itself: do not run both", style="quiet", soft_wrap=True)
        await asyncio.Event().wait()


def _say(out: Console, shown: dict[str, Any], *, json: bool) -> None:
    if json:
        print_json(shown)
        return
    width = max(map(len, shown))
    for label, value in shown.items():
        if value not in (None, ""):
            out.print(styled((f"{label.replace('_', ' '):{width}}", "label"), f" {value}"), soft_wrap=True)


def log_to_stderr() -> None:
    """What happens while it runs goes to stderr, a line each."""
    logging.basicConfig(stream=sys.stderr, level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s")
