"""Answers of a hostile device, under the page's real rules: no script runs, nothing is fetched, nobody is led away."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio
from playwright.async_api import expect

from edge_agent.client import DeviceState, MeshClient
from edge_agent.config import AgentConfig, BrokerSection, DeviceSection, EngineSection, write_config
from edge_agent.fleet.device_process import DeviceProcess
from tests.app.conftest import OpenApp
from tests.app.hostile_model import HARMLESS, HostileServer, attacks, hostile_server
from tests.app.live_mesh import LiveMesh, until_known
from tests.support.browser import WAIT_MS, AppPage

pytestmark = [pytest.mark.broker, pytest.mark.asyncio(loop_scope="session")]

DEVICE = "hostile"
CLICKS_MAX = 20


@pytest_asyncio.fixture(loop_scope="session")
async def hostile(mesh: LiveMesh) -> AsyncIterator[HostileServer]:
    """A fifth device of the mesh, a real process, whose engine is a server with hostile answers."""
    folder = mesh.fleet.folder / DEVICE
    async with hostile_server() as server, MeshClient(mesh.fleet.url, mesh.fleet.mesh) as client:
        config = AgentConfig(
            device=DeviceSection(id=DEVICE, mesh=mesh.fleet.mesh, data_dir=folder),
            broker=BrokerSection(urls=(mesh.fleet.url,)),
            engine=EngineSection(kind="openai", base_url=server.url, model="hostile"),
        )
        write_config(config, folder / "agent.toml")
        process = DeviceProcess(DEVICE, folder / "agent.toml", folder / "agent.log")
        await process.start()
        try:
            await client.start_watching()
            await until_known(client, DEVICE, DeviceState.ONLINE)
            yield server
        finally:
            await process.stop()


async def ask_hostile(app: AppPage, server: HostileServer, text: str) -> None:
    server.text = text + HARMLESS
    await app.choose(DEVICE, layers=0)
    exchange = await app.ask("What do you say?")
    await exchange.until("answered")
    if len(text) < 2_000:  # a longer one may be cut
        await expect(exchange.answer).to_contain_text("unharmed", timeout=WAIT_MS)


async def test_hostile_answers_run_no_script_and_fetch_nothing(open_app: OpenApp, hostile: HostileServer) -> None:
    app = await open_app()
    context, page = app.page.context, app.page
    opened: list[str] = []
    page.on("dialog", lambda dialog: opened.append(dialog.message))
    context.on("page", lambda other: opened.append(other.url))
    await app.until_device(DEVICE)
    at = page.url.split("#")[0]
    for attack in attacks(hostile.url):
        await ask_hostile(app, hostile, attack)
        assert await page.evaluate("() => window.pwned") is None, attack
    answers = page.get_by_role("log", name="Conversation").locator('[data-part="answer"]')
    made = "script, iframe, object, embed, form, style, link, meta, base, img, audio, video, math, [onerror], [onload]"
    assert await answers.locator(made).count() == 0
    strange = await answers.locator("a").evaluate_all(
        "links => links.map(a => [a.protocol, a.target, a.rel]).filter(([p, t, r]) =>"
        " !/^(https?|mailto):$/.test(p) || t !== '_blank' || !/noopener/.test(r))"
    )
    assert strange == []
    assert page.url.split("#")[0] == at
    assert opened == []
    assert hostile.fetched == []
    # after a reload the same texts come out of the history
    await page.reload()
    await expect(app.articles.last).to_contain_text("What do you say?", timeout=WAIT_MS)
    assert await page.evaluate("() => window.pwned") is None
    assert hostile.fetched == []


async def test_what_looks_like_a_link_to_script_does_nothing_when_it_is_clicked(
    open_app: OpenApp, hostile: HostileServer
) -> None:
    app = await open_app()
    await app.until_device(DEVICE)
    await ask_hostile(
        app, hostile, "[click me](javascript:window.pwned='link')\n\n<a href=\"javascript:pwned=1\">or me</a>"
    )
    at = app.page.url
    await app.articles.last.get_by_text("click me").first.click()
    await app.articles.last.get_by_text("or me").first.click()
    assert await app.page.evaluate("() => window.pwned") is None
    assert app.page.url == at


async def test_the_pages_rules_hold_even_if_a_tag_got_through(open_app: OpenApp, hostile: HostileServer) -> None:
    """The second wall, on its own: elements put into the page as if its Markdown reader had a hole."""
    app = await open_app()
    await app.page.evaluate(
        """url => {
             const hole = document.createElement("div");
             hole.innerHTML = `<img src="x" onerror="window.pwned = 'onerror'"><img src="${url}/pixel.gif">`
               + `<iframe src="${url}/frame"></iframe><form action="${url}/form"></form>`
               + `<link rel="stylesheet" href="${url}/style.css"><p style="color: red">styled</p>`;
             document.body.append(hole);
             for (const [name, value] of [["textContent", "window.pwned = 'inline'"], ["src", url + "/script.js"]]) {
               const script = document.createElement("script");
               script[name] = value;
               document.body.append(script);
             }
             const base = document.createElement("base");
             base.href = url;
             document.head.append(base);
             hole.querySelector("form").submit();
           }""",
        hostile.url,
    )
    await app.page.wait_for_function("() => [...document.images].every(image => image.complete)")
    refused = await app.page.evaluate("fetch('data:text/plain,x').then(() => 'went out', () => 'refused')")
    assert refused == "refused"
    assert await app.page.evaluate("() => window.pwned") is None
    assert hostile.fetched == []
    assert "127.0.0.1" in app.page.url
    said = " ".join(app.refused)
    for rule in ("script-src", "img-src", "style-src", "form-action", "base-uri"):
        assert rule in said
    app.refused.clear()  # it was this test that tried


@pytest.mark.parametrize("path", ["", "index.html"])
async def test_the_rules_come_with_every_page(mesh: LiveMesh, open_app: OpenApp, path: str) -> None:
    app = await open_app(paired=False)
    answer = await app.page.request.get(f"{mesh.app_url.rstrip('/')}/{path}")
    policy = answer.headers["content-security-policy"]
    for rule in ("default-src 'self'", "object-src 'none'", "base-uri 'none'", "frame-ancestors 'none'"):
        assert rule in policy
    assert "unsafe" not in policy
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert "referrer-policy" in answer.headers
