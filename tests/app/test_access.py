"""Who gets nothing: strangers, wrong secrets, and other users' ears."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
from urllib.parse import urlsplit

import paho.mqtt.client as mqtt
import pytest
from paho.mqtt.properties import Properties
from paho.mqtt.reasoncodes import ReasonCode
from playwright.async_api import expect

from edge_agent.wire import topics
from tests.app.conftest import OpenApp
from tests.app.live_mesh import LiveMesh
from tests.support.browser import WAIT_MS, Pairing
from tests.support.polling import until

pytestmark = [pytest.mark.broker, pytest.mark.asyncio(loop_scope="session")]


class WebClient:
    """Any program that speaks MQTT over WebSockets, as somebody might write to look around. Threads of its own."""

    def __init__(self, url: str, login: str | None, secret: str | None) -> None:
        self.topics: list[str] = []
        self.refused: list[ReasonCode] = []
        self.connected = False
        self._mqtt = mqtt.Client(
            mqtt.CallbackAPIVersion.VERSION2, transport="websockets", protocol=mqtt.MQTTv5, client_id="looks-around"
        )
        if login is not None:
            self._mqtt.username_pw_set(login, secret)
        self._mqtt.on_connect = self._on_connect
        self._mqtt.on_message = lambda _client, _data, message: self.topics.append(message.topic)
        address = urlsplit(url)
        self._mqtt.connect(address.hostname or "", address.port or 0)
        self._mqtt.loop_start()

    def _on_connect(
        self, client: mqtt.Client, _data: object, _flags: mqtt.ConnectFlags, code: ReasonCode, _more: Properties | None
    ) -> None:
        if code.is_failure:
            self.refused.append(code)
            client.disconnect()
        else:
            client.subscribe([("#", mqtt.SubscribeOptions(qos=1)), ("moamesh/v2/#", mqtt.SubscribeOptions(qos=1))])
            self.connected = True

    def subscribe(self, topic: str) -> None:
        """Asks for one more topic."""
        self._mqtt.subscribe(topic, qos=1)

    def stop(self) -> None:
        """Leaves."""
        self._mqtt.disconnect()
        self._mqtt.loop_stop()


@contextlib.asynccontextmanager
async def web_client(url: str, login: str | None, secret: str | None):  # type: ignore[no-untyped-def]  # a test's helper
    client = await asyncio.to_thread(WebClient, url, login, secret)
    try:
        yield client
    finally:
        await asyncio.to_thread(client.stop)


async def test_a_page_that_nobody_paired_says_how_to_pair_and_shows_nothing_of_the_mesh(open_app: OpenApp) -> None:
    app = await open_app(paired=False)
    await expect(app.page.locator("body")).to_contain_text("moamesh pair", timeout=WAIT_MS)
    assert "device-1" not in await app.page.locator("body").text_content()


async def test_a_wrong_secret_is_refused_in_words_and_shows_nothing_of_the_mesh(
    open_app: OpenApp, mesh: LiveMesh
) -> None:
    app = await open_app(paired=False)
    pairing = dataclasses.replace(await mesh.pairing(), secret="not-the-secret")
    await app.page.goto(pairing.link(mesh.app_url))
    await app.until_link("refused")
    await expect(app.page.locator("body")).to_contain_text("does not let this app in")
    assert "device-1" not in await app.page.locator("body").text_content()


async def test_the_secret_leaves_the_address_bar_at_once(open_app: OpenApp, mesh: LiveMesh) -> None:
    pairing = await mesh.pairing()
    app = await open_app(pairing=pairing)
    assert "pair=" not in app.page.url
    assert pairing.secret not in await app.page.content()
    assert "pair=" not in await app.page.evaluate("() => document.referrer + JSON.stringify(history.state)")


async def test_a_link_followed_while_the_app_still_starts_pairs_it_and_leaves_no_secret(
    open_app: OpenApp, mesh: LiveMesh
) -> None:
    app = await open_app(paired=False)
    pairing = await mesh.pairing()
    link = pairing.link(mesh.app_url)
    await app.page.goto("about:blank")
    await app.page.goto(
        mesh.app_url, wait_until="domcontentloaded"
    )  # its script has begun, its engine reads what it has
    await app.page.evaluate("hash => { location.hash = hash; }", link.partition("#")[2])
    await app.until_online()
    assert "pair=" not in app.page.url


@pytest.mark.parametrize("login", [None, "user.nobody", "device-1", "operator"])
async def test_a_stranger_is_not_let_in(mesh: LiveMesh, login: str | None) -> None:
    async with web_client(mesh.fleet.web_url, login, None if login is None else "a guess") as stranger:
        await until(lambda: bool(stranger.refused), "the broker refused")
        assert not stranger.connected
        assert stranger.topics == []


async def test_a_user_reads_their_own_answers_and_nobody_elses(open_app: OpenApp, mesh: LiveMesh) -> None:
    alice, bob = await mesh.pairing(), await mesh.pairing()
    other = await open_app(pairing=bob)
    async with web_client(mesh.fleet.web_url, topics.user_login(bob.user), bob.secret) as ears:
        await until(lambda: ears.connected, "bob is in")
        inbox = topics.build(mesh.fleet.mesh, "device-1", topics.Channel.ANSWERS, topics.user_login(alice.user), "app")
        ears.subscribe(inbox)
        app = await open_app(pairing=alice)
        await app.choose("device-1", layers=1, fanout=1)
        exchange = await app.ask("For Alice alone.")
        await exchange.until("answered")
        await until(lambda: any("/status" in topic for topic in ears.topics), "bob hears what he may")
        private = [topic for topic in ears.topics if not topic.endswith(("/presence", "/status"))]
        assert private == []
        mine = await _ask(other)
        await until(
            lambda: any(f"/answers/{topics.user_login(bob.user)}/" in topic for topic in ears.topics),
            "bob hears his own",
        )
    assert not any(alice.user in topic for topic in ears.topics)
    assert await other.exchange(exchange.prompt_id).article.count() == 0
    assert await app.exchange(mine).article.count() == 0


async def test_a_user_of_one_device_cannot_use_another(open_app: OpenApp, mesh: LiveMesh) -> None:
    app = await open_app(pairing=await mesh.pairing(devices=("device-3",)))
    names = await app.page.get_by_role("combobox", name="Device").locator("option").all_inner_texts()
    assert any("device-3" in name for name in names)
    assert not any("device-1" in name for name in names)
    await app.choose("device-3", layers=0)
    exchange = await app.ask("May I?")
    await exchange.until("answered")


async def test_a_removed_user_is_out_and_is_told(open_app: OpenApp, mesh: LiveMesh) -> None:
    pairing: Pairing = await mesh.pairing()
    app = await open_app(pairing=pairing)
    await mesh.fleet.remove_user(pairing.user)
    await app.until_link("refused")


async def _ask(app) -> str:  # type: ignore[no-untyped-def]  # an AppPage
    await app.choose("device-1", layers=0)
    exchange = await app.ask("For Bob alone.")
    await exchange.until("answered")
    return exchange.prompt_id
