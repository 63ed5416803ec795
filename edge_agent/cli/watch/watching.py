"""The devices of a mesh, once or until Ctrl-C."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence

from rich.console import Console, Group, RenderableType
from rich.text import Text

from edge_agent.cli.local.live import live_view
from edge_agent.cli.mesh_address import MeshAddress
from edge_agent.cli.results import device_object
from edge_agent.cli.terminal import JsonObject, console, print_json
from edge_agent.cli.watch.devices_view import devices_table
from edge_agent.client import DeviceState, DeviceView, MeshClient

JSON_INTERVAL_S = 1.0
PLAIN_INTERVAL_S = 10.0  # into a log, a table is long


async def show_once(address: MeshAddress, *, json: bool) -> bool:
    """Shows what is known after a moment; returns whether anybody is online."""
    async with address.client() as client:
        online = await client.discover()
        views = client.roster.all()
    now = time.monotonic()
    if json:
        print_json(mesh_object(address, views, now))
    else:
        console().print(_table(address, views, now))
    return bool(online)


async def show_until_stopped(address: MeshAddress, *, json: bool) -> None:
    """Shows the devices until cancelled: a live table, or JSON objects or tables one after another."""
    out = console()
    async with address.client() as client:
        await client.discover()
        await watch_client(out, client, address, json=json, note="Ctrl-C to leave")


async def watch_client(out: Console, client: MeshClient, address: MeshAddress, *, json: bool, note: str) -> None:
    """As `show_until_stopped`, with a client that is already watching."""

    def render() -> RenderableType:
        lost = "" if client.connected else "no connection to the broker, trying again · "
        table = _table(address, client.roster.all(), time.monotonic())
        return Group(table, Text(f"{lost}{note}", style="bad" if lost else "quiet"))

    if json or not out.is_terminal:
        while True:
            if json:
                print_json(mesh_object(address, client.roster.all(), time.monotonic()))
            else:
                out.print(render())
            await asyncio.sleep(JSON_INTERVAL_S if json else PLAIN_INTERVAL_S)
    with live_view(out, render, keep=True):
        await asyncio.Event().wait()


def mesh_object(address: MeshAddress, views: Sequence[DeviceView], now: float) -> JsonObject:
    """The mesh for JSON."""
    return {
        "broker": address.broker,
        "mesh": address.mesh,
        "devices": [device_object(view, now) for view in views],
    }


def _table(address: MeshAddress, views: Sequence[DeviceView], now: float) -> RenderableType:
    online = sum(view.state(now) is DeviceState.ONLINE for view in views)
    title = f"mesh {address.mesh} at {address.broker}: {online} of {len(views)} online"
    return devices_table(views, now, title=title)
