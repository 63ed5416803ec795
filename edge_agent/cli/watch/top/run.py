"""Runs the screen on a connection of its own."""

from __future__ import annotations

import asyncio

from edge_agent.cli.mesh_address import MeshAddress
from edge_agent.cli.watch.top.app import Theme, TopApp

DISCOVER_TIMEOUT_S = 1.0  # so that the first screen shows who is there; nobody waits longer for an empty mesh


async def show_top(address: MeshAddress, theme: Theme) -> None:
    """Shows the mesh until the user leaves.

    Raises:
        SettingsError, BrokerUnreachableError: the broker cannot be reached at the start. Later it is waited for.
    """
    async with address.client() as client:
        await client.discover(DISCOVER_TIMEOUT_S)
        await TopApp(client, address, theme).run_async()
        task = asyncio.current_task()
        if task is not None and task.cancelling():  # Textual takes it for a wish to leave, and tells nobody
            raise asyncio.CancelledError
