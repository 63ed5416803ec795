"""`moamesh pair` with the local mesh: whom the link lets in, what they reach, and how they are shut out."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiomqtt
import httpx
import pytest
import pytest_asyncio

from edge_agent.core import messages as m
from edge_agent.fleet.local import LocalFleet
from edge_agent.fleet.plan import EngineKind, FleetPlan
from edge_agent.wire import codec
from tests.support.commands import moamesh_beside
from tests.support.paired_app import PairedApp, paired_app, read_link
from tests.support.patience import PATIENCE_S

pytestmark = pytest.mark.broker


on_shared_loop = pytest.mark.asyncio(loop_scope="module")  # that of `fleet`


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A user's home without a mesh."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    monkeypatch.setenv("MOAMESH_HOME", str(tmp_path))
    return tmp_path


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def fleet(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[LocalFleet]:
    """One mesh for all tests; each pairs people of its own."""
    folder = tmp_path_factory.mktemp("home")
    plan = FleetPlan(2, EngineKind.SYNTHETIC, service="deterministic:0.02", gateway_port=0)
    with pytest.MonkeyPatch.context() as patched:
        patched.setenv("XDG_STATE_HOME", str(folder / "state"))
        patched.setenv("MOAMESH_HOME", str(folder))
        async with LocalFleet(plan) as running:
            yield running


async def run(*arguments: str) -> tuple[int, str, str]:
    ended = await moamesh_beside(None, *arguments)
    return ended.returncode, ended.stdout, ended.stderr


async def users() -> list[str]:
    return [user["name"] for user in (await told("user", "list"))["users"]]


async def told(*arguments: str) -> Any:
    status, out, errors = await run(*arguments, "--json")
    assert status == 0, errors
    return json.loads(out)


async def refused(*arguments: str) -> str:
    status, out, errors = await run(*arguments)
    assert (status, out, errors.count("\n")) == (2, "", 1), errors
    return errors


def answered(app: PairedApp) -> set[str]:
    """The prompts whose answers an app has seen."""
    said = [codec.decode(body) for topic, body in app.inbox if "/answers/" in topic]
    return {message.prompt_id for message in said if isinstance(message, m.Answer)}


@on_shared_loop
async def test_a_paired_user_asks_and_is_answered_and_nobody_else_reads_it(fleet: LocalFleet) -> None:
    alice, bob = await told("pair", "alice"), await told("pair", "bob")
    assert (alice["this_computer_only"], alice["tls"], alice["problem"]) == (True, False, "")
    async with httpx.AsyncClient() as browser:
        assert (await browser.get(alice["link"])).status_code == 200
        assert (await browser.get(f"{alice['app_url']}/about.json")).json()["web_broker"] == alice["web_brokers"][0]
    async with paired_app(alice["link"]) as app, paired_app(bob["link"], spies=True) as spy:
        answer = await app.ask("device-1", "why is the sky blue?")
        assert isinstance(answer, m.Answer)
        assert answer.text
        assert isinstance(await spy.ask("device-2", "and mine?"), m.Answer)
        assert len(answered(spy)) == 1, "bob was answered and saw nothing of alice's"
        assert all(topic.endswith(("/answers/user.bob/app", "/presence", "/status")) for topic, _ in spy.inbox)


@on_shared_loop
async def test_who_is_removed_is_cut_off_and_cannot_return(fleet: LocalFleet) -> None:
    link, other = (await told("pair", "dora"))["link"], (await told("pair", "emil"))["link"]
    async with paired_app(link) as app:
        assert (await told("pair", "dora", "--remove"))["removed"]
        async with asyncio.timeout(PATIENCE_S):
            await app.ended.wait()
    with pytest.raises(aiomqtt.MqttCodeError):
        async with paired_app(link):
            pass
    async with paired_app(other) as app:
        assert isinstance(await app.ask("device-1", "still there?"), m.Answer)
    left = await users()
    assert "emil" in left
    assert "dora" not in left
    assert f"no user is called 'dora'; there are {', '.join(left)}" in await refused("pair", "dora", "--remove")


@on_shared_loop
async def test_pairing_again_replaces_the_secret_and_keeps_the_limits(fleet: LocalFleet) -> None:
    first = await told("pair", "carl", "--device", "device-1")
    assert (first["devices"], first["replaced"]) == (["device-1"], False)
    async with paired_app(first["link"]) as app:
        status, out, _ = await run("pair", "carl")
        assert status == 0
        async with asyncio.timeout(PATIENCE_S):
            await app.ended.wait()
    assert "carl's earlier secret is no longer valid" in out
    assert "device-1 (as before" in out
    link = next(line for line in out.splitlines() if "#pair=" in line)
    assert read_link(link)["devices"] == ["device-1"]
    assert read_link(link)["secret"] != read_link(first["link"])["secret"]
    async with paired_app(link, spies=True) as app:
        forbidden = m.Prompt("p" * 32, (m.ChatMessage(m.Role.USER, "for the other device"),))
        await app.send("device-2", forbidden)
        assert isinstance(await app.ask("device-1", "for mine"), m.Answer)
        assert all("/device-1/" in topic for topic, _ in app.inbox)
        assert len(answered(app)) == 1


@on_shared_loop
async def test_what_cannot_be_paired_is_said_in_one_line(fleet: LocalFleet) -> None:
    before = await users()
    assert "no device is called 'cellar'; there are device-1, device-2" in await refused("pair", "-d", "cellar")
    assert "user must be 1 to 64 of a-z, 0-9 and -" in await refused("pair", "Ann Smith")
    assert "that name is reserved" in await refused("pair", "operator")
    assert "use a wss:// broker" in await refused("pair", "--app-url", "https://pi:8080")
    assert "there is no mesh 'garden'" in await refused("pair", "--mesh", "garden")
    assert await users() == before, "whoever was refused has no secret"


async def test_without_a_mesh_the_way_to_one_is_said(home: Path) -> None:
    assert "start one with `moamesh up`" in await refused("pair")
