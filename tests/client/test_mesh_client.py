"""The client against a real broker and devices that follow a script."""

from __future__ import annotations

import asyncio
import contextlib
import re
from collections.abc import Callable
from dataclasses import replace

import aiomqtt
import pytest

from broker.embedded import EmbeddedBroker
from edge_agent.client import Access, BrokerUnreachableError, ClientSettings, MeshClient, NoReceiptError
from edge_agent.core.errors import SettingsError
from edge_agent.core.messages import (
    Answer,
    DeviceStatus,
    Message,
    PresenceState,
    Prompt,
    PromptCancel,
    PromptOptions,
    PromptReceipt,
    PromptRefusal,
    RefusalReason,
    TokenChunk,
)
from edge_agent.tasks import within
from tests.client.conftest import LocalBroker
from tests.client.samples import answer, presence, status
from tests.client.scripted_device import ScriptedDevice, scripted_device
from tests.support.patience import PATIENCE_S

pytestmark = pytest.mark.broker
# asks again at once, and never gives a device up that is only slow
QUICK = ClientSettings(
    connect_timeout_s=PATIENCE_S,
    receipt_timeout_s=0.2,
    sends_max=int(PATIENCE_S / 0.2),
    probe_interval_s=0.3,
    backoff_min_s=0.05,
    resend_s=0.1,
)


def client_of(url: str) -> MeshClient:
    return MeshClient(url, "test", settings=QUICK)


async def until(holds: Callable[[], bool]) -> None:
    async with asyncio.timeout(PATIENCE_S):
        while not holds():  # noqa: ASYNC110 - what is waited for has no event
            await asyncio.sleep(0.01)


async def answers_well(device: ScriptedDevice, message: Message) -> None:
    if isinstance(message, Prompt):
        receipt = PromptReceipt(message.prompt_id, device.device_id, 0.5)
        chunks = [TokenChunk(message.prompt_id, index, text) for index, text in enumerate(("be", "cause"))]
        await device.say(receipt, *chunks, answer(message.prompt_id, device.device_id))


async def test_a_prompt_brings_its_receipt_its_text_and_its_answer(broker_url: str) -> None:
    async with scripted_device(broker_url, answers_well) as device, MeshClient(broker_url, "test") as client:
        said = [message async for message in client.ask("device-1", "why?", PromptOptions(layers=2, fanout=2))]
    assert [type(message) for message in said] == [PromptReceipt, TokenChunk, TokenChunk, Answer]
    (prompt,) = device.prompts
    assert (prompt.messages[0].content, prompt.options.layers) == ("why?", 2)
    assert device.correlations == [prompt.prompt_id.encode()]
    assert device.reply_to.endswith(f"/devices/device-1/answers/me/{client.client_id}")


async def test_prompts_have_ids_that_nobody_can_guess(broker_url: str) -> None:
    async with scripted_device(broker_url, answers_well) as device, MeshClient(broker_url, "test") as client:
        for _ in range(2):
            await client.ask_to_end("device-1", "why?")
    ids = {prompt.prompt_id for prompt in device.prompts}
    assert len(ids) == 2
    assert all(re.fullmatch("[0-9a-f]{32}", one) for one in ids), "128 bits"


async def test_the_pip_only_broker_carries_asking_and_finding_too() -> None:
    async with (
        EmbeddedBroker(kind="iotcore") as broker,
        scripted_device(broker.url, answers_well) as device,
        client_of(broker.url) as client,
    ):
        await device.announce(presence())
        assert [view.device_id for view in await client.discover(PATIENCE_S, at_least=1)] == ["device-1"]
        assert isinstance(await client.ask_to_end("device-1", "why?"), Answer)


async def test_a_refusal_is_the_end_and_says_why(broker_url: str) -> None:
    async def refuses(device: ScriptedDevice, message: Message) -> None:
        assert isinstance(message, Prompt)
        await device.say(PromptRefusal(message.prompt_id, "device-1", RefusalReason.OVERLOADED, "full", 2.0))

    async with scripted_device(broker_url, refuses), MeshClient(broker_url, "test") as client:
        end = await client.ask_to_end("device-1", "why?")
    assert isinstance(end, PromptRefusal)
    assert (end.reason, end.retry_after_s) == (RefusalReason.OVERLOADED, 2.0)


async def test_without_a_receipt_the_same_prompt_is_sent_again(broker_url: str) -> None:
    async def deaf_at_first(device: ScriptedDevice, message: Message) -> None:
        if len(device.heard) >= 2:
            await answers_well(device, message)

    async with scripted_device(broker_url, deaf_at_first) as device, client_of(broker_url) as client:
        end = await client.ask_to_end("device-1", "why?")
    assert isinstance(end, Answer)
    assert len({prompt.prompt_id for prompt in device.prompts}) == 1
    assert len(device.prompts) >= 2


async def test_an_answer_that_was_lost_is_asked_for_again(broker_url: str) -> None:
    async def forgets_to_answer(device: ScriptedDevice, message: Message) -> None:
        if len(device.heard) == 1:
            await device.say(PromptReceipt(device.prompts[0].prompt_id, "device-1", None))
        else:
            await answers_well(device, message)

    async with scripted_device(broker_url, forgets_to_answer), client_of(broker_url) as client:
        assert isinstance(await client.ask_to_end("device-1", "why?"), Answer)


async def test_a_device_that_is_not_there_is_named_after_a_bounded_wait(broker_url: str) -> None:
    async with MeshClient(broker_url, "test", settings=replace(QUICK, sends_max=3)) as client:
        with pytest.raises(NoReceiptError, match="nobody does not respond"):
            await client.ask_to_end("nobody", "why?")


async def test_answers_that_come_twice_or_from_another_device_are_dropped(broker_url: str) -> None:
    async with (
        scripted_device(broker_url, device_id="device-1") as device,
        scripted_device(broker_url, device_id="device-2") as impostor,
        client_of(broker_url) as client,
    ):
        asking = asyncio.create_task(client.ask_to_end("device-1", "why?", prompt_id="p"))
        await until(lambda: bool(device.prompts))
        impostor.reply_to = device.reply_to.replace("device-1", "device-2")
        await impostor.say(answer("p", "device-1", "a lie"))
        await until(lambda: client.dropped == 1)
        await device.say(answer("p"), answer("p"))
        end = await within(asking, PATIENCE_S)
        assert isinstance(end, Answer)
        assert end.text == "because"
        await until(lambda: client.dropped == 2)


async def test_cancel_reaches_the_device(broker_url: str) -> None:
    async with scripted_device(broker_url) as device, client_of(broker_url) as client:
        assert await client.cancel("device-1", "p-1")
        await until(lambda: device.heard == [PromptCancel("p-1")])


async def test_devices_are_discovered_by_presence_and_fresh_status(broker_url: str) -> None:
    async with (
        scripted_device(broker_url, device_id="device-1") as first,
        scripted_device(broker_url, device_id="device-2") as second,
        client_of(broker_url) as client,
    ):
        await first.announce(presence("device-1"))
        await second.announce(presence("device-2", PresenceState.STOPPED))
        assert [view.device_id for view in await client.discover(PATIENCE_S, at_least=1)] == ["device-1"]
        await second.announce(presence("device-2"))
        assert len(await client.discover(PATIENCE_S, at_least=2)) == 2


async def test_a_device_cannot_speak_for_another(broker_url: str) -> None:
    async with scripted_device(broker_url, device_id="device-2") as device, client_of(broker_url) as client:
        await client.start_watching()
        await device.announce(status("device-1"))
        await until(lambda: client.dropped == 1)
        assert client.roster.all() == ()


async def test_watching_yields_statuses_as_they_come(broker_url: str) -> None:
    async with (
        scripted_device(broker_url) as device,
        client_of(broker_url) as client,
        contextlib.aclosing(client.watch()) as watching,
    ):
        coming = asyncio.ensure_future(anext(watching))
        await client.discover(0.1)
        await device.announce(status())
        assert isinstance(await within(coming, PATIENCE_S), DeviceStatus)


async def test_a_prompt_survives_a_restart_of_broker_and_device(own_broker: LocalBroker) -> None:
    async with client_of(own_broker.url) as client:
        with contextlib.suppress(aiomqtt.MqttError):  # the script loses its broker, too
            async with scripted_device(own_broker.url) as device:
                asking = asyncio.create_task(client.ask_to_end("device-1", "why?", timeout_s=PATIENCE_S))
                await until(lambda: bool(device.prompts))
                own_broker.stop()
        await until(lambda: not client.connected)
        own_broker.start()
        await own_broker.until_up()
        async with scripted_device(own_broker.url, answers_well):
            assert isinstance(await within(asking, PATIENCE_S), Answer)


async def test_a_broker_that_is_not_there_is_one_clear_error() -> None:
    client = MeshClient("mqtt://127.0.0.1:1", "test", settings=ClientSettings(connect_timeout_s=1.0))
    with pytest.raises(BrokerUnreachableError, match=r"cannot reach the broker mqtt://127.0.0.1:1: "):
        await client.__aenter__()


@pytest.mark.parametrize(
    ("url", "mesh"), [("http://x", "test"), ("mqtt://127.0.0.1:0", "test"), ("mqtt://127.0.0.1", "Not Allowed")]
)
async def test_malformed_names_are_the_users_error(url: str, mesh: str) -> None:
    with pytest.raises(SettingsError):
        MeshClient(url, mesh)


@pytest.mark.parametrize("names", [{"client_id": "a/b"}, {"principal": "a.b"}, {"principal": "user."}])
def test_names_that_can_stand_in_no_topic_are_the_users_error(names: dict[str, str]) -> None:
    with pytest.raises(SettingsError):
        MeshClient("mqtt://127.0.0.1", "test", **names)


def test_who_logs_in_is_always_the_same_client_and_who_does_not_is_a_new_one() -> None:
    def made(access: Access | None, **names: str) -> tuple[str, str]:
        client = MeshClient("mqtt://127.0.0.1", "test", access=access, **names)
        return client.principal, client.client_id

    assert made(Access("user.alice", "x")) == made(Access("user.alice", "x")) == ("user.alice", "0")
    assert made(Access("user.alice", "x"), client_id="phone") == ("user.alice", "phone")
    assert made(None)[0] == made(Access("no principal", "x"))[0] == "me"
    assert made(None) != made(None)
    assert made(None, principal="user.bob")[0] == "user.bob"
