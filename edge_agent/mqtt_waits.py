"""How aiomqtt's clients of this project wait for their broker: one place, for devices, users and provisioning."""

from __future__ import annotations

import math
from collections.abc import Awaitable
from typing import TypeVar

import aiomqtt

from edge_agent.tasks import within

T = TypeVar("T")


def keep_cancellations(client: aiomqtt.Client) -> None:
    """Has a task end that is cancelled just as the broker answers it; aiomqtt itself would go on: see `tasks.within`.

    Raises (from what the client then awaits):
        aiomqtt.MqttError: no answer within the client's timeout.
    """

    async def wait_for(fut: Awaitable[T], timeout: float | None) -> T:
        timeout_s = client.timeout if timeout is None else timeout
        try:
            return await within(fut, None if timeout_s == math.inf else timeout_s)
        except TimeoutError:
            raise aiomqtt.MqttError("the broker did not answer in time") from None

    client._wait_for = wait_for  # type: ignore[method-assign]  # aiomqtt has no setting for it
