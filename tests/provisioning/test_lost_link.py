"""A management connection that breaks while nobody waits at it."""

from __future__ import annotations

import asyncio
import gc
from pathlib import Path
from typing import Any

import pytest

from provisioning.mqtt_link import BrokerAccess, mqtt_connect
from tests.support.brokers import MosquittoWith
from tests.support.polling import until

pytestmark = pytest.mark.broker


async def test_a_broker_that_dies_between_two_requests_leaves_no_complaint_in_the_log(tmp_path: Path) -> None:
    complaints: list[dict[str, Any]] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: complaints.append(context))
    async with MosquittoWith(tmp_path) as broker:
        connect = mqtt_connect(BrokerAccess(broker.url, "operator", tmp_path / "ca.pem"))
        async with connect() as link:
            await link.publish("a/topic", b"heard")
            await broker.stop()
            client = link._link._client  # type: ignore[attr-defined]  # when it has noticed is told nowhere else
            await until(client._disconnected.done, "the link has noticed")
        del link, client
        gc.collect()
        await asyncio.sleep(0)  # what is collected complains through the loop
    assert complaints == []
