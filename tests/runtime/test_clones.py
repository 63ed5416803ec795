"""A cloned card, and a second installation of one name, on a real broker: both are named, and one of them serves."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest

from edge_agent.client import MeshClient
from edge_agent.core.health import Part
from edge_agent.core.messages import Answer, PresenceState, PromptOptions
from edge_agent.core.states import Outcome
from edge_agent.mqtt import open_client
from edge_agent.wire import client_ids
from edge_agent.wire.codec import encode
from edge_agent.wire.topics import Channel, build
from tests.support.brokers import MosquittoWith
from tests.support.hosts import MESH, Device, make_device, until

pytestmark = pytest.mark.broker

CARD = client_ids.new_secret()
CASES = {
    "a copy of the card": ((CARD, CARD), "a copy of it (a cloned card or data folder", ()),
    "a second installation": ((CARD, client_ids.new_secret()), "another installation, ", ()),
    "a second installation, nothing retained": (
        (CARD, client_ids.new_secret()),
        "another installation, ",
        ("retain_available false",),
    ),
}


def named(one: Device) -> str:
    return next((problem.detail for problem in one.agent.problems if problem.part is Part.IDENTITY), "")


def aside_s(one: Device) -> float:
    """How long it keeps away from now on; below 0 if it doesn't."""
    home = one.transport._home
    return home._tries._not_before - asyncio.get_running_loop().time() if home is not None else -1.0


@contextlib.asynccontextmanager
async def twins(url: str, folder: Path, installs: tuple[str, str]) -> AsyncIterator[tuple[Device, Device]]:
    """Two devices `d0`, the second started when the first is there."""
    made = []
    try:
        for number, install in enumerate(installs):
            one = make_device("d0", url, folder / str(number), install=install)
            made.append(one)
            one.task = asyncio.create_task(one.host.run())
            await until(lambda one=one: one.agent.is_connected or named(one), "it is connected, or knows why not")  # type: ignore[misc]  # bound now
        yield made[0], made[1]
    finally:
        await asyncio.gather(*(one.stop() for one in made))


@pytest.mark.parametrize("what", CASES)
async def test_two_of_one_name_are_named_on_both_sides_and_one_of_them_serves(
    what: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    installs, words, settings = CASES[what]
    async with (
        MosquittoWith(tmp_path, *settings) as broker,
        twins(broker.url, tmp_path, installs) as (first, second),
        MeshClient(broker.url, MESH) as client,
    ):
        await client.start_watching()
        both = (first, second)
        await until(lambda: all(named(one) for one in both), "both are named")
        await until(lambda: max(map(aside_s, both)) > 0, "one stands aside")
        (away,) = [one for one in both if aside_s(one) > 0]
        (serving,) = [one for one in both if one is not away]
        await until(lambda: serving.agent.is_connected and not away.agent.is_connected, "one serves")
        assert words in named(first)
        assert words in named(second)
        assert "this one started later and stands aside" in named(away)
        for one in both:
            assert named(one) in caplog.text, "in the log of each"

        def told() -> list[str]:
            view = client.roster.get("d0")
            return list(view.troubles()) if view is not None else []

        await until(lambda: any(line.startswith("identity: ") for line in told()), "in the status")
        answer = await client.ask_to_end("d0", "why?", PromptOptions(layers=0))
        assert isinstance(answer, Answer)
        assert answer.outcome is Outcome.ANSWERED
        assert aside_s(away) > 0, "it comes back when its time is over, and not before"
        assert sum(one.transport.counters.connects for one in both) <= 12


async def test_a_device_that_starts_again_is_not_its_own_clone(tmp_path: Path) -> None:
    async with MosquittoWith(tmp_path) as broker:
        for install in (CARD, CARD, client_ids.new_secret()):
            one = make_device("d0", broker.url, tmp_path / "d0", install=install)
            one.task = asyncio.create_task(one.host.run())
            await until(lambda one=one: one.agent.is_connected, "connected")  # type: ignore[misc]  # bound now
            home = one.transport._home
            assert home is not None
            home.renew()
            await until(lambda one=one: one.transport.counters.connects >= 2, "connected again")  # type: ignore[misc]  # bound now
            await until(lambda one=one: one.agent.is_connected, "connected")  # type: ignore[misc]  # bound now
            assert not named(one)
            await one.stop()


async def test_where_everybody_is_let_in_anybody_can_say_that_and_keep_a_device_away(tmp_path: Path) -> None:
    """What an open mesh does not protect (docs/SECURITY.md)."""
    async with MosquittoWith(tmp_path) as broker, open_client(broker.url, client_id="mallory") as mallory:
        one = make_device("d0", broker.url, tmp_path / "d0")
        one.task = asyncio.create_task(one.host.run())
        try:
            await until(lambda: one.agent.is_connected, "connected")
            earlier = replace(one.agent.last_will(), state=PresenceState.ONLINE, run="1-aaaa")
            await mallory.publish(build(MESH, "d0", Channel.PRESENCE), encode(earlier), qos=1)
            await until(lambda: aside_s(one) > 0, "it stands aside")
            assert "stands aside" in named(one)
        finally:
            await one.stop()
