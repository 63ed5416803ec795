"""Which device a prompt goes to where the client leaves the choice, and what follows a device that cannot take it."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest

from broker.embedded import EmbeddedBroker
from edge_agent.client import ClientSettings, absence
from edge_agent.core.messages import (
    Answer,
    ChatMessage,
    Message,
    Presence,
    PresenceState,
    Prompt,
    PromptCancel,
    PromptReceipt,
    PromptRefusal,
    RefusalReason,
    Role,
    TokenChunk,
)
from edge_agent.core.states import Outcome
from edge_agent.gateway import mesh as gateway_mesh
from edge_agent.gateway import patience
from edge_agent.gateway.errors import ApiError
from edge_agent.gateway.inquiry import Inquiries, Inquiry
from edge_agent.gateway.mesh import MeshLink
from edge_agent.gateway.options import GatewayOptions
from tests.client.samples import presence, status
from tests.client.scripted_device import Script, ScriptedDevice, scripted_device, silence
from tests.gateway.test_streaming import answer
from tests.support.brokers import mosquitto
from tests.support.polling import until

__all__ = ["mosquitto"]
pytestmark = pytest.mark.broker

PROMPT = Prompt("p1", (ChatMessage(Role.USER, "why?"),))


def answering(name: str) -> Script:
    async def script(device: ScriptedDevice, message: Message) -> None:
        if isinstance(message, Prompt):
            await device.say(PromptReceipt("p1", name, None), replace(answer("p1", f"I am {name}"), device_id=name))

    return script


def refusing(name: str, reason: RefusalReason) -> Script:
    async def script(device: ScriptedDevice, message: Message) -> None:
        if isinstance(message, Prompt):
            await device.say(PromptRefusal("p1", name, reason, "no", 7.0))

    return script


@contextlib.asynccontextmanager
async def mesh_of_two(
    url: str, folder: Path, first: Script, second: Script, before: Presence | tuple[Presence, ...] = ()
) -> AsyncIterator[Inquiries]:
    """`quick` is expected to be free sooner than `slow`; both are online, and then say `before` of themselves."""
    said = before if isinstance(before, tuple) else (before,)
    link = MeshLink(GatewayOptions(url, "test", folder / "keys.json"))
    inquiries = Inquiries(link, GatewayOptions(url, "test", folder / "keys.json"))
    async with (
        scripted_device(url, first, device_id="quick") as quick,
        scripted_device(url, second, device_id="slow") as slow,
    ):
        for device in (quick, slow):
            await device.announce(presence(device.device_id))
        await link.start()
        try:
            await until(lambda: len(link.online()) == 2, "both are known")
            for device, waiting in ((quick, 1), (slow, 3)):
                await device.announce(status(device.device_id, waiting=waiting))
            await until(lambda: all(view.status is not None for view in link.online()), "both told their load")
            for one in said:
                await (quick if one.entry.device_id == "quick" else slow).announce(one)
            await until(lambda: all(not link.can_be_asked(one.entry.device_id) for one in said), "they have said it")
            yield inquiries
        finally:
            await inquiries.close()
            await link.stop()


async def ask(inquiries: Inquiries, *, reads: bool = False) -> Answer:
    inquiry: Inquiry = await inquiries.open(PROMPT, None, keyed=False)
    try:
        inquiry.is_read = reads  # as by a stream
        return await inquiry.until_answered()
    finally:
        inquiry.leave()


async def test_the_device_with_the_smallest_expected_wait_is_asked(mosquitto: EmbeddedBroker, tmp_path: Path) -> None:
    async with mesh_of_two(mosquitto.url, tmp_path, answering("quick"), answering("slow")) as inquiries:
        assert (await ask(inquiries)).text == "I am quick"


@pytest.mark.parametrize("reason", [RefusalReason.OVERLOADED, RefusalReason.STOPPING, RefusalReason.UNABLE])
async def test_a_device_without_a_place_is_followed_by_the_next(
    mosquitto: EmbeddedBroker, tmp_path: Path, reason: RefusalReason
) -> None:
    async with mesh_of_two(mosquitto.url, tmp_path, refusing("quick", reason), answering("slow")) as inquiries:
        assert (await ask(inquiries)).text == "I am slow"


async def test_a_refusal_that_another_would_share_is_passed_on(mosquitto: EmbeddedBroker, tmp_path: Path) -> None:
    first = refusing("quick", RefusalReason.TOO_LARGE)
    async with mesh_of_two(mosquitto.url, tmp_path, first, answering("slow")) as inquiries:
        with pytest.raises(ApiError) as caught:
            await ask(inquiries)
    assert (caught.value.status, caught.value.code) == (400, "context_length_exceeded")


async def test_where_all_are_full_the_last_ones_word_counts(mosquitto: EmbeddedBroker, tmp_path: Path) -> None:
    scripts = (refusing(name, RefusalReason.OVERLOADED) for name in ("quick", "slow"))
    async with mesh_of_two(mosquitto.url, tmp_path, *scripts) as inquiries:
        with pytest.raises(ApiError) as caught:
            await ask(inquiries)
    assert (caught.value.status, caught.value.headers["Retry-After"]) == (429, "7")
    assert "slow" in caught.value.message


async def test_a_device_that_says_nothing_is_left_and_told_so(
    mosquitto: EmbeddedBroker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    heard: list[Message] = []

    async def note(_device: ScriptedDevice, message: Message) -> None:
        heard.append(message)

    monkeypatch.setattr(gateway_mesh, "SETTINGS", ClientSettings(receipt_timeout_s=1.0, sends_max=2))
    async with mesh_of_two(mosquitto.url, tmp_path, note, answering("slow")) as inquiries:
        assert (await ask(inquiries)).text == "I am slow"
        await until(lambda: PromptCancel("p1") in heard, "the silent one is told that nobody waits")


def unable(name: str) -> Presence:
    told = presence(name)
    return replace(told, entry=replace(told.entry, able=False))


async def test_a_device_that_says_that_it_cannot_infer_is_not_asked(mosquitto: EmbeddedBroker, tmp_path: Path) -> None:
    async def say_so(device: ScriptedDevice, message: Message) -> None:
        raise AssertionError("it was asked")

    async with mesh_of_two(mosquitto.url, tmp_path, say_so, answering("slow"), before=unable("quick")) as inquiries:
        assert (await ask(inquiries)).text == "I am slow"


async def test_where_nobody_can_infer_that_is_the_answer(mosquitto: EmbeddedBroker, tmp_path: Path) -> None:
    async with mesh_of_two(
        mosquitto.url, tmp_path, answering("quick"), answering("slow"), before=(unable("quick"), unable("slow"))
    ) as inquiries:
        with pytest.raises(ApiError) as caught:
            await ask(inquiries)
    assert (caught.value.status, caught.value.code) == (503, "device_unable")


def dying(name: str, *, begun: bool) -> Script:
    """Accepts, finds its engine dead, says so, and fails the prompt."""

    async def script(device: ScriptedDevice, message: Message) -> None:
        if isinstance(message, Prompt):
            await device.say(PromptReceipt("p1", name, None), *([TokenChunk("p1", 0, "half")] if begun else []))
            await device.announce(unable(name))
            await device.say(replace(answer("p1", "", Outcome.FAILED), device_id=name))

    return script


async def test_a_prompt_that_a_dead_engine_failed_goes_to_the_next_device(
    mosquitto: EmbeddedBroker, tmp_path: Path
) -> None:
    first = dying("quick", begun=False)
    async with mesh_of_two(mosquitto.url, tmp_path, first, answering("slow")) as inquiries:
        assert (await ask(inquiries)).text == "I am slow"


async def test_what_has_begun_to_be_read_is_not_asked_again(mosquitto: EmbeddedBroker, tmp_path: Path) -> None:
    first = dying("quick", begun=True)
    async with mesh_of_two(mosquitto.url, tmp_path, first, answering("slow")) as inquiries:
        assert (await ask(inquiries, reads=True)).outcome is Outcome.FAILED


async def test_a_silent_device_is_soon_left_for_another_and_asked_last_until_it_is_heard_of(
    mosquitto: EmbeddedBroker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []

    async def frozen(_device: ScriptedDevice, message: Message) -> None:
        asked.append(type(message).__name__)

    monkeypatch.setattr(patience, "FIRST_WORD_S", 0.3)
    monkeypatch.setattr(gateway_mesh, "SETTINGS", ClientSettings(receipt_timeout_s=600.0))  # nobody waits for that
    async with mesh_of_two(mosquitto.url, tmp_path, frozen, answering("slow")) as inquiries:
        assert (await ask(inquiries)).text == "I am slow"
        await until(lambda: asked == ["Prompt", "PromptCancel"], "the silent one is told that nobody waits")
        assert (await ask(inquiries)).text == "I am slow"
        assert asked == ["Prompt", "PromptCancel"]  # it was not asked again


async def test_a_device_that_is_slow_to_answer_but_has_the_prompt_is_waited_for(
    mosquitto: EmbeddedBroker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    waited = asyncio.Event()

    async def thorough(device: ScriptedDevice, message: Message) -> None:
        if isinstance(message, Prompt):
            await device.say(PromptReceipt("p1", "quick", None))
            await waited.wait()
            await device.say(replace(answer("p1", "I am quick"), device_id="quick"))

    monkeypatch.setattr(patience, "FIRST_WORD_S", 1.0)
    async with mesh_of_two(mosquitto.url, tmp_path, thorough, answering("slow")) as inquiries:
        asking = asyncio.create_task(ask(inquiries))
        done, _ = await asyncio.wait({asking}, timeout=2.0)  # twice what a first word may take
        assert not done
        waited.set()
        assert (await asking).text == "I am quick"


@pytest.mark.parametrize(("begun", "reads"), [(False, False), (True, False), (True, True)])
async def test_a_device_that_took_a_prompt_and_went_away_is_left_for_another_until_its_text_is_read(
    mosquitto: EmbeddedBroker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, begun: bool, reads: bool
) -> None:
    comes_back = asyncio.Event()

    async def goes(device: ScriptedDevice, message: Message) -> None:
        if isinstance(message, Prompt):
            await device.say(PromptReceipt("p1", "quick", None), *([TokenChunk("p1", 0, "I am")] if begun else []))
            await device.announce(replace(presence("quick"), state=PresenceState.OFFLINE))
            await comes_back.wait()
            await device.say(replace(answer("p1", "I am quick"), device_id="quick"))

    monkeypatch.setattr(absence, "GONE_S", 0.2)
    async with mesh_of_two(mosquitto.url, tmp_path, goes, answering("slow")) as inquiries:
        asking = asyncio.create_task(ask(inquiries, reads=reads))
        if reads:
            done, _ = await asyncio.wait({asking}, timeout=1.0)  # five times what it may be away for
            assert not done
        else:
            assert (await asking).text == "I am slow"
        comes_back.set()
        assert (await asking).text == ("I am quick" if reads else "I am slow")


async def test_a_device_that_went_away_is_waited_for_where_there_is_no_other(
    mosquitto: EmbeddedBroker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    comes_back = asyncio.Event()

    async def goes(device: ScriptedDevice, message: Message) -> None:
        if isinstance(message, Prompt):
            other = ScriptedDevice(device.link, device.mesh, "slow")
            await other.announce(replace(presence("slow"), state=PresenceState.OFFLINE))
            await device.say(PromptReceipt("p1", "quick", None))
            await device.announce(replace(presence("quick"), state=PresenceState.OFFLINE))
            await comes_back.wait()
            await device.say(replace(answer("p1", "I am quick"), device_id="quick"))

    monkeypatch.setattr(absence, "GONE_S", 0.2)
    async with mesh_of_two(mosquitto.url, tmp_path, goes, silence) as inquiries:
        asking = asyncio.create_task(ask(inquiries))
        done, _ = await asyncio.wait({asking}, timeout=1.0)
        assert not done
        comes_back.set()
        assert (await asking).text == "I am quick"
