"""The operator's and devices' management connections at brokers that allow less."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from provisioning.link import LinkError
from provisioning.mqtt_link import BrokerAccess, mqtt_connect
from tests.support.brokers import MosquittoWith
from tests.support.patience import PATIENCE_S

pytestmark = pytest.mark.broker


def access(url: str, folder: Path) -> BrokerAccess:
    return BrokerAccess(url, "operator", folder / "ca.pem")


async def test_messages_pass_where_qos_0_is_all_there_is(tmp_path: Path) -> None:
    async with (
        MosquittoWith(tmp_path, "max_qos 0") as broker,
        mqtt_connect(access(broker.url, tmp_path))() as one,
        mqtt_connect(access(broker.url, tmp_path))() as other,  # a second run of the same command
    ):
        await other.subscribe("a/topic")
        for number in range(3):
            await one.publish("a/topic", b"%d" % number)
        async with asyncio.timeout(PATIENCE_S):
            assert [(await other.receive()).body for _ in range(3)] == [b"0", b"1", b"2"]


async def test_what_the_broker_would_hang_up_on_is_refused_with_the_limit(tmp_path: Path) -> None:
    async with (
        MosquittoWith(tmp_path, "max_packet_size 5000") as broker,
        mqtt_connect(access(broker.url, tmp_path))() as link,
    ):
        with pytest.raises(LinkError, match=r"bytes for a/topic; the broker takes packets of 5,000"):
            await link.publish("a/topic", b"x" * 5_000)
        await link.publish("a/topic", b"x" * 4_000)
