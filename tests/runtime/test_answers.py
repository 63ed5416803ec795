"""What became of prompts, asked on a real mosquitto that knows its users: each is told of their own, over restarts."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path

import pytest

from edge_agent.client import ClientSettings, MeshClient, NoReceiptError, QueryRefusedError
from edge_agent.core.messages import Answer, DeviceToUser, PromptReceipt, Standing
from tests.runtime.kitchen import ALONE, kitchen_of, user
from tests.support.patience import PATIENCE_S
from tests.support.polling import until

pytestmark = pytest.mark.broker

WAITING = ClientSettings(connect_timeout_s=PATIENCE_S, receipt_timeout_s=PATIENCE_S, sends_max=1)


async def standing_of(client: MeshClient, prompt_id: str) -> Standing:
    (line,) = (await client.fetch_answer("kitchen", prompt_id)).answers
    return line.standing


async def test_an_owner_gets_an_answer_later_and_nobody_else_does(tmp_path: Path) -> None:
    async with (
        kitchen_of(tmp_path) as (mesh, url, kitchen),
        user(mesh, url, "alice", settings=WAITING) as alice,
        user(mesh, url, "alice", client="phone", settings=WAITING) as phone,
        user(mesh, url, "bob", settings=WAITING) as bob,
        user(mesh, url, "bob", principal="user.alice") as liar,
    ):
        for client in (alice, phone, bob, liar):
            assert [view.device_id for view in await client.discover(PATIENCE_S)] == ["kitchen"]
        said: list[DeviceToUser] = []
        asking = asyncio.create_task(
            alice.ask_to_end("kitchen", "why?", ALONE, prompt_id="p1", on_message=said.append, timeout_s=PATIENCE_S)
        )
        await until(lambda: any(isinstance(one, PromptReceipt) for one in said), "alice's receipt")
        assert await standing_of(phone, "p1") is Standing.RUNNING
        assert await standing_of(bob, "p1") is Standing.GONE
        told = await asking
        assert isinstance(told, Answer)
        assert (await phone.fetch_answer("kitchen", "p1")).answer == told
        page = await phone.answers("kitchen", since_s=PATIENCE_S)
        assert [(line.prompt_id, line.client, line.standing) for line in page.answers] == [
            ("p1", "0", Standing.ANSWERED)
        ]
        assert await standing_of(bob, "p1") is Standing.GONE
        assert (await bob.answers("kitchen")).answers == ()
        with pytest.raises(NoReceiptError):  # the broker drops what bob writes as alice, and shows nothing of hers
            await liar.fetch_answer("kitchen", "p1")
        assert liar.dropped == 0
        with pytest.raises(QueryRefusedError, match="start again"):
            await alice.answers("kitchen", after="0/never")
        await kitchen.stop()
        await kitchen.start()
        await until(lambda: bool(phone.roster.online(time.monotonic())), "the device's birth")
        kept = await phone.answers("kitchen")
        assert [line.prompt_id for line in kept.answers] == ["p1"]
        assert kept.answers[0].age_s > 0.0
        assert (await phone.fetch_answer("kitchen", "p1")).answer == told
        assert await standing_of(bob, "p1") is Standing.GONE
