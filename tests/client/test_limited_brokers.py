"""A user at brokers that allow less: refused at once and in words, or served all the same."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from edge_agent.client import Access, BrokerUnreachableError, ClientSettings, MeshClient
from edge_agent.core.messages import Answer, PromptRefusal, RefusalReason
from edge_agent.wire import codec, topics
from tests.client.samples import presence, status
from tests.client.scripted_device import scripted_device
from tests.client.test_mesh_client import answers_well
from tests.support.brokers import MosquittoWith, SayingBroker, connack
from tests.support.patience import PATIENCE_S

pytestmark = pytest.mark.broker

PATIENT = ClientSettings(connect_timeout_s=10 * PATIENCE_S, backoff_min_s=0.05, refused_after_s=0.3)


@pytest.mark.parametrize(
    ("settings", "size"), [("max_packet_size 65536", 65_500), ("max_packet_size 65536", 100_000), ("", 300_000)]
)
async def test_a_prompt_that_would_not_be_taken_is_refused_at_once_with_the_limit(
    tmp_path: Path, settings: str, size: int
) -> None:
    async with (
        MosquittoWith(tmp_path, settings) as broker,
        scripted_device(broker.url, answers_well) as device,
        MeshClient(broker.url, "test") as client,
    ):
        end = await client.ask_to_end("device-1", "x" * size)
        assert isinstance(end, PromptRefusal)
        assert end.reason is RefusalReason.TOO_LARGE
        limit = f"{codec.BODY_BYTES_MAX:,}" if not settings else f"the broker {broker.url} takes 65,"
        assert limit in end.detail
        assert not device.prompts
        assert client.connected, "and nobody hung up"
        assert isinstance(await client.ask_to_end("device-1", "x" * 60_000), Answer), "what fits goes on"


@pytest.mark.parametrize(
    "setting", ["retain_available false", "max_qos 0", "max_keepalive 10", "allow_zero_length_clientid false"]
)
async def test_a_user_is_answered_whatever_a_broker_leaves_out(setting: str, tmp_path: Path) -> None:
    async with MosquittoWith(tmp_path, setting) as broker, MeshClient(broker.url, "test") as client:
        asked = asyncio.Event()

        async with scripted_device(broker.url, answers_well) as device:

            async def tell() -> None:
                while not asked.is_set():
                    await device.announce(presence())
                    await device.announce(status())
                    await asyncio.sleep(0.05)

            telling = asyncio.create_task(tell())
            assert [view.device_id for view in await client.discover()] == ["device-1"]
            asked.set()
            await telling
            assert isinstance(await client.ask_to_end("device-1", "why?", timeout_s=20.0), Answer)


async def test_a_user_whom_the_broker_refuses_is_told_at_once_why_and_what_to_do(tmp_path: Path) -> None:
    async with MosquittoWith(tmp_path, "allow_anonymous false") as broker:
        access = Access("user.alice", "wrong")
        with pytest.raises(BrokerUnreachableError, match=r"not authorized \(reason 135\): check the user name"):
            async with asyncio.timeout(PATIENCE_S), MeshClient(broker.url, "test", access=access, settings=PATIENT):
                pass


async def test_a_user_who_may_not_read_the_answers_is_told_so() -> None:
    async with (
        SayingBroker(connack(0), grants=bytes([135]), hang_up=False) as broker,
        MeshClient(broker.url, "test", settings=PATIENT) as client,
    ):
        with pytest.raises(BrokerUnreachableError, match=r"device-1/answers/.*: not authorized \(reason 135\)"):
            await client.ask_to_end("device-1", "why?")


async def test_without_wildcards_a_user_reads_the_answers_of_the_device_that_is_asked(tmp_path: Path) -> None:
    async with (
        MosquittoWith(tmp_path) as broker,
        scripted_device(broker.url, answers_well),
        MeshClient(broker.url, "test") as client,
    ):
        client._connection.refused_filters[client._answers[0]] = "as a broker without wildcards says"
        assert isinstance(await client.ask_to_end("device-1", "why?"), Answer)
        exact = topics.build("test", "device-1", topics.Channel.ANSWERS, "me", client.client_id)
        assert client._connection.can_read(exact)
        assert exact in client._connection._subscriptions


async def test_a_broker_that_is_only_away_is_waited_for() -> None:
    settings = ClientSettings(connect_timeout_s=0.5, backoff_min_s=0.05, refused_after_s=0.0)
    async with SayingBroker(connack(136)) as broker:
        with pytest.raises(BrokerUnreachableError, match="server unavailable"):
            async with MeshClient(broker.url, "test", settings=settings):
                pass
        assert broker.connects >= 3
