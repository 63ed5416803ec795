"""How long a device is waited for where another can be asked: its first word must come soon, and it must stay."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable

from edge_agent.client import MeshClient, NoReceiptError, until_gone
from edge_agent.core.messages import DeviceToUser
from edge_agent.tasks import unless

FIRST_WORD_S = 4.0  # for a receipt, where another device can be asked: it takes milliseconds, a repeat comes after 2 s
OTHER_POLL_S = 1.0  # between looks at whether there is another, while the one that was asked is away


async def while_it_is_there(
    asking: AsyncGenerator[DeviceToUser, None],
    client: MeshClient,
    device_id: str,
    has_begun: Callable[[], bool],
    other_is_there: Callable[[], bool],
) -> AsyncGenerator[DeviceToUser, None]:
    """Yields what a device says. Once its text `has_begun`, whatever follows must be its rest: then it is waited for.

    Raises:
        NoReceiptError: it said nothing for `FIRST_WORD_S` while the broker was there to carry it, or it went offline.
    """
    yield await unless(anext(asking), _silence(client, device_id))
    while not has_begun():
        try:
            yield await unless(anext(asking), _gone(client, device_id, other_is_there))
        except StopAsyncIteration:
            return
    async for message in asking:
        yield message


async def _silence(client: MeshClient, device_id: str) -> None:
    heard_nothing = False
    while not heard_nothing:
        await asyncio.sleep(FIRST_WORD_S)
        heard_nothing = client.connected  # without a connection the silence is not the device's
    raise NoReceiptError(f"{device_id} does not respond")


async def _gone(client: MeshClient, device_id: str, other_is_there: Callable[[], bool]) -> None:
    while True:
        await until_gone(client, device_id)
        if other_is_there():
            raise NoReceiptError(f"{device_id} went offline")
        await asyncio.sleep(OTHER_POLL_S)
