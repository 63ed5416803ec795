"""Live devices and what a test does with them: users who may ask, queues that are full, what was recorded."""

from __future__ import annotations

import asyncio
import contextlib
import secrets
from collections.abc import AsyncIterator
from dataclasses import dataclass

from edge_agent.client import DeviceState, MeshClient
from edge_agent.core.messages import DeviceToUser, PromptOptions
from edge_agent.fleet.local import LocalFleet
from tests.support.browser import Pairing
from tests.support.polling import until


@dataclass
class LiveMesh:
    """A running fleet with a gateway. In tests `device-1` lives all through; `device-4` may be killed and come back."""

    fleet: LocalFleet

    @property
    def app_url(self) -> str:
        """Where the gateway serves the app."""
        return self.fleet.gateway_url

    async def pairing(self, name: str = "", devices: tuple[str, ...] | None = None) -> Pairing:
        """A new user of the mesh; each test has its own."""
        name = name or f"user-{secrets.token_hex(4)}"
        secret = await self.fleet.add_user(name, devices)
        return Pairing(self.fleet.mesh, (self.fleet.web_url,), name, secret, devices)

    def sessions_ended(self, device_id: str) -> list[str]:
        """What the device recorded of the prompts that it was given: one line for each that has ended."""
        files = (self.fleet.folder / device_id / "telemetry").glob("*")
        lines = [line for file in files if file.is_file() for line in file.read_text("utf-8").splitlines()]
        return [line for line in lines if line.startswith("agent_session,")]

    @contextlib.asynccontextmanager
    async def filled(self, device_id: str, *, free: int = 0) -> AsyncIterator[None]:
        """Keeps the device's queue full while inside, but for `free` places. Its capacity is the plan's.

        A prompt that gets a free place takes its turn behind all the others: with eight layers some twenty seconds.
        """
        places = int(self.fleet.plan.agent["queue_capacity"]) - free
        async with MeshClient(self.fleet.url, self.fleet.mesh) as client:
            ids = [secrets.token_hex(8) for _ in range(places)]
            received: set[str] = set()

            def note(said: DeviceToUser) -> None:
                received.add(said.prompt_id)

            # eight rounds and an aggregation each: nobody is done before the test is
            options = PromptOptions(layers=8, fanout=0)
            asking = [
                asyncio.create_task(
                    client.ask_to_end(
                        device_id,
                        "Tell me a long story.",
                        options,
                        prompt_id=one,
                        on_message=note,
                    )
                )
                for one in ids
            ]
            try:
                await until(lambda: received.issuperset(ids), "the queue is full")
                yield
            finally:
                for one in ids:
                    await client.cancel(device_id, one)
                await asyncio.gather(*asking)


async def until_known(client: MeshClient, device_id: str, state: DeviceState) -> None:
    """Waits until a watching client sees the device so."""

    def holds() -> bool:
        view = client.roster.get(device_id)
        return view is not None and view.state(asyncio.get_running_loop().time()) is state

    await until(holds, f"{device_id} is {state}")
