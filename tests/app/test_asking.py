"""A user asks on a phone and on a desktop, and what may go wrong on the way does."""

from __future__ import annotations

import asyncio
import contextlib
import json
import re
import sqlite3
from pathlib import Path

import pytest
from playwright.async_api import expect

from edge_agent.fleet.local import LocalFleet
from edge_agent.fleet.plan import EngineKind, FleetPlan
from edge_agent.models import DEFAULT_MODEL
from tests.app.conftest import OpenApp
from tests.app.live_mesh import LiveMesh
from tests.support.browser import DESKTOP, PHONE, SCREENS, WAIT_MS, Exchange, Screen
from tests.support.polling import until

pytestmark = [pytest.mark.broker, pytest.mark.asyncio(loop_scope="session")]

ENDED = ("answered", "refused", "expired", "cancelled", "failed", "unreachable")
LONG = 4  # layers of a prompt that a test means to meet half-way: two seconds and a half of declared service times


def lengths(notes: list[tuple[float, str, int]]) -> list[int]:
    return [letters for _, _, letters in notes if letters > 0]


async def until_under_way(exchange: Exchange) -> None:
    """A page that is slower than the mesh may find it answered: what a test does then costs nothing either."""
    await exchange.until("proposing", "streaming", "answered")


@pytest.mark.parametrize("screen", SCREENS, ids=lambda screen: screen.name)
async def test_an_answer_grows_on_the_page_as_its_tokens_are_made(open_app: OpenApp, screen: Screen) -> None:
    app = await open_app(screen)
    await app.choose("device-1", layers=2, fanout=2)
    exchange = await app.ask("Why is the sky blue?")
    await exchange.until("answered")
    notes = await exchange.witnessed()
    grown = lengths(notes)
    assert len(set(grown)) >= 2, notes  # of the engine's four pieces; a busy machine may draw some as one
    assert grown == sorted(grown)
    assert [state for _, state, _ in notes].index("proposing") < [state for _, state, _ in notes].index("streaming")
    await expect(exchange.answer).to_contain_text("no language model")
    await exchange.article.get_by_text("How it was made").click()
    await expect(exchange.article).to_contain_text(re.compile(r"device-[234]"))  # who proposed


@pytest.mark.llm
async def test_tokens_of_a_real_model_on_two_devices_stream_into_the_page(
    open_app: OpenApp, default_model: Path, tmp_path: Path
) -> None:
    plan = FleetPlan(2, EngineKind.LLAMA, models=(DEFAULT_MODEL,))
    async with LocalFleet(plan, folder=tmp_path) as fleet:
        app = await open_app(PHONE, pairing=await LiveMesh(fleet).pairing())
        await app.choose("device-1", layers=1, fanout=1)
        exchange = await app.ask("Describe the moon in three sentences.")
        await exchange.until("answered")
        grown = lengths(await exchange.witnessed())
        assert len(set(grown)) >= 3
        assert grown == sorted(grown)
        await exchange.article.get_by_text("How it was made").click()
        await expect(exchange.article).to_contain_text(DEFAULT_MODEL, ignore_case=True)
        await expect(exchange.article).not_to_contain_text("synthetic")


@pytest.mark.parametrize("screen", SCREENS, ids=lambda screen: screen.name)
async def test_a_broker_restarted_in_mid_answer_costs_nothing_and_the_answer_comes_once(
    open_app: OpenApp, mesh: LiveMesh, screen: Screen
) -> None:
    app = await open_app(screen)
    await app.choose("device-1", layers=LONG, fanout=1)
    before = len(mesh.sessions_ended("device-1"))
    exchange = await app.ask("Will this survive?")
    await until_under_way(exchange)
    await mesh.fleet.broker.restart()
    await exchange.until("answered")
    await expect(app.articles).to_have_count(1)
    await expect(exchange.answer).to_contain_text("no language model")
    states = [state for _, state, _ in await exchange.witnessed()]
    assert states.count("answered") == 1 or set(states[states.index("answered") :]) == {"answered"}
    # the device, too, answered one prompt, and made one answer
    ended = mesh.sessions_ended("device-1")[before:]
    assert len(ended) == 1, ended
    assert "outcome=answered" in ended[0]


async def test_the_page_shows_what_stands_in_the_journal_of_the_device(open_app: OpenApp, mesh: LiveMesh) -> None:
    app = await open_app()
    await app.choose("device-3", layers=2, fanout=1)
    exchange = await app.ask("What will be kept?")
    await until_under_way(exchange)
    await mesh.fleet.broker.restart()
    await exchange.until("answered")
    shown = await exchange.read()
    await mesh.fleet.devices["device-3"].stop()  # its journal is its own while it runs
    try:
        with contextlib.closing(sqlite3.connect(mesh.fleet.folder / "device-3" / "journal.sqlite3")) as journal:
            rows = journal.execute("SELECT answer FROM answers WHERE prompt_id = ?", (exchange.prompt_id,)).fetchall()
            unfinished = journal.execute("SELECT count(*) FROM prompts").fetchone()
    finally:
        await mesh.fleet.restart("device-3")
    assert unfinished == (0,)
    assert [json.loads(row)["text"].strip() for (row,) in rows] == [shown.strip()]


async def test_a_page_reloaded_in_mid_answer_takes_the_prompt_up_again(open_app: OpenApp, mesh: LiveMesh) -> None:
    app = await open_app(PHONE)
    await app.choose("device-1", layers=LONG, fanout=1)
    before = len(mesh.sessions_ended("device-1"))
    exchange = await app.ask("Are you still there?")
    await until_under_way(exchange)
    await app.page.reload()
    await exchange.until("answered")
    await expect(app.articles).to_have_count(1)
    await expect(exchange.answer).to_contain_text("no language model")
    assert len(mesh.sessions_ended("device-1")) == before + 1


async def test_a_cancelled_prompt_says_so_and_frees_the_device(open_app: OpenApp, mesh: LiveMesh) -> None:
    app = await open_app()
    await app.choose("device-1", layers=8, fanout=0)
    before = len(mesh.sessions_ended("device-1"))
    async with mesh.filled("device-1", free=1):
        exchange = await app.ask("Never mind.")
        await exchange.until("proposing", "streaming")
        await app.page.get_by_role("button", name="Cancel").click()
        await exchange.until("cancelled")
        await until(lambda: len(mesh.sessions_ended("device-1")) == before + 1, "the device ended it")
        assert "outcome=cancelled" in mesh.sessions_ended("device-1")[-1]


@pytest.mark.parametrize("screen", SCREENS, ids=lambda screen: screen.name)
async def test_a_refused_prompt_says_why_and_when_to_ask_again_and_asking_again_works(
    open_app: OpenApp, mesh: LiveMesh, screen: Screen
) -> None:
    app = await open_app(screen)
    await app.choose("device-2", layers=0)
    async with mesh.filled("device-2"):
        exchange = await app.ask("Any place left?")
        await exchange.until("refused")
        # why, and when trying again can help
        for words in (re.compile(r"busy|full|overload", re.IGNORECASE), re.compile(r"\d+ ?s")):
            await expect(exchange.article).to_contain_text(words, use_inner_text=True)
    again = exchange.article.get_by_role("button", name=re.compile(r"Send again|Retry"))
    await expect(again).to_be_enabled(timeout=WAIT_MS)
    await again.click()
    await expect(app.articles.last).to_have_attribute("data-state", "answered", timeout=WAIT_MS)
    assert await app.articles.last.get_attribute("data-prompt-id") != exchange.prompt_id


async def test_two_tabs_of_one_user_do_not_take_each_others_answers(open_app: OpenApp, mesh: LiveMesh) -> None:
    pairing = await mesh.pairing()
    one = await open_app(pairing=pairing)
    two = await open_app(pairing=pairing, context=one.page.context)
    await one.choose("device-1", layers=0)
    await two.choose("device-3", layers=0)
    before = [len(mesh.sessions_ended(device)) for device in ("device-1", "device-3")]
    asked = await asyncio.gather(one.ask("From the first tab."), two.ask("From the second."))
    for exchange in asked:
        await exchange.until("answered")
        await expect(exchange.answer).to_contain_text("no language model")
    for app, other in ((one, asked[1]), (two, asked[0])):
        # the other's chat may be listed, but its answer belongs to its own chat
        assert await app.articles.count() == 1
        assert await app.exchange(other.prompt_id).article.count() == 0
    after = [len(mesh.sessions_ended(device)) for device in ("device-1", "device-3")]
    assert after == [count + 1 for count in before]


async def test_a_conversation_goes_on_with_what_was_said_before(open_app: OpenApp) -> None:
    app = await open_app(DESKTOP)
    await app.choose("device-1", layers=0)
    first = await app.ask("My name is Ada.")
    await first.until("answered")
    second = await app.ask("What is my name?")
    await second.until("answered")
    await expect(app.articles).to_have_count(2)
    await app.page.get_by_role("button", name="New chat").click()
    await expect(app.articles).to_have_count(0)
