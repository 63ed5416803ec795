"""Without a network: the app opens, shows what was said, and sends what was asked meanwhile when it is back."""

from __future__ import annotations

import pytest
from playwright.async_api import expect

from tests.app.conftest import OpenApp
from tests.app.live_mesh import LiveMesh
from tests.support.browser import PHONE, PLAIN_HOST, SCREENS, Screen

pytestmark = [pytest.mark.broker, pytest.mark.asyncio(loop_scope="session")]


@pytest.mark.parametrize("screen", SCREENS, ids=lambda screen: screen.name)
async def test_a_reload_without_a_network_shows_the_history(open_app: OpenApp, screen: Screen) -> None:
    app = await open_app(screen, service_worker=True)
    await app.choose("device-1", layers=0)
    exchange = await app.ask("Remember this.")
    await exchange.until("answered")
    said = await exchange.read()
    # the worker that keeps the app's files is in charge once it controls the page
    await app.page.wait_for_function("navigator.serviceWorker.ready.then(() => true)")
    await app.page.context.set_offline(True)
    await app.page.reload()
    await exchange.until("answered")
    assert await exchange.read() == said
    await expect(exchange.article).to_contain_text("Remember this.")
    await app.page.context.set_offline(False)
    await app.until_online()


async def test_on_a_plain_address_of_the_network_everything_but_the_offline_shell_works(
    open_app: OpenApp, mesh: LiveMesh
) -> None:
    app = await open_app(PHONE, paired=False, service_worker=True)
    app.app_url = mesh.app_url.replace("127.0.0.1", PLAIN_HOST)
    await app.open(await mesh.pairing())
    assert await app.page.evaluate("() => [isSecureContext, 'serviceWorker' in navigator]") == [False, False]
    await app.choose("device-1", layers=1, fanout=1)
    exchange = await app.ask("Can you hear me over there?")
    await exchange.until("answered")
    await app.page.reload()
    await exchange.until("answered")


async def test_a_prompt_asked_without_a_network_is_sent_when_it_is_back_and_answered_once(
    open_app: OpenApp, mesh: LiveMesh
) -> None:
    app = await open_app(service_worker=True)
    await app.choose("device-1", layers=0)
    before = len(mesh.sessions_ended("device-1"))
    await mesh.fleet.broker.stop()
    try:
        exchange = await app.ask("Send this later.")
        await exchange.until("sending")
    finally:
        await mesh.fleet.broker.start()
    await exchange.until("answered")
    await expect(app.articles).to_have_count(1)
    assert len(mesh.sessions_ended("device-1")) == before + 1
