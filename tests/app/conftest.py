"""One browser and one mesh for the tests of this folder: a broker, four device processes, the gateway with the app.

Everything runs in the session's event loop, because a browser and a mesh belong to the loop that started them. They end
with the folder: after it nobody would run that loop, and the devices would only be in the way of other tests.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import pytest
import pytest_asyncio
from playwright.async_api import Browser, BrowserContext

from edge_agent.fleet.local import LocalFleet
from edge_agent.fleet.plan import EngineKind, FleetPlan
from tests.app.live_mesh import LiveMesh
from tests.conftest import missing
from tests.support.browser import (
    CHROMIUM,
    DESKTOP,
    AppPage,
    Pairing,
    Scheme,
    Screen,
    chromium_is_here,
    launched,
    new_context,
)

APP_FILES = Path(__file__).parents[2] / "edge_agent" / "gateway" / "static"
SERVICE = "deterministic:0.5"  # long enough to meet an answer half-way, short enough to wait for it often
QUEUE_CAPACITY = 6  # few, so that a test can fill it


@pytest_asyncio.fixture(scope="package", loop_scope="session")
async def chromium() -> AsyncIterator[Browser]:
    """The browser."""
    if not chromium_is_here():
        missing(f"{CHROMIUM} is not installed: apt-get install chromium-headless-shell")
    async with launched() as browser:
        yield browser


@pytest_asyncio.fixture(scope="package", loop_scope="session")
async def mesh(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[LiveMesh]:
    """Four devices with declared service times, their broker, and the gateway that serves the app."""
    plan = FleetPlan(
        4,
        EngineKind.SYNTHETIC,
        service=SERVICE,
        gateway_port=0,
        agent={"queue_capacity": QUEUE_CAPACITY, "principal_share": 1.0},
    )
    async with LocalFleet(plan, folder=tmp_path_factory.mktemp("mesh")) as fleet:
        if not fleet.web_url:
            missing("this broker has no WebSockets listener: apt-get install mosquitto")
        yield LiveMesh(fleet)


# as a browser answers that allows none; Playwright's own way answers as no browser does
NO_SERVICE_WORKER = """
if (navigator.serviceWorker) navigator.serviceWorker.register = () => Promise.reject(new DOMException("none here"));
"""
OpenApp = Callable[..., Awaitable[AppPage]]


@pytest_asyncio.fixture(loop_scope="session")
async def open_app(chromium: Browser, mesh: LiveMesh) -> AsyncIterator[OpenApp]:
    """Opens the app in a browser profile of its own, or in one given; paired with a new user, unless said otherwise.

    `service_worker`: whether the app may have one, which keeps its files for when there is no network. It costs each
    new profile a third of what opening a page does.

    At the end no page may have had an uncaught exception, nor tried what its own rules forbid.
    """
    if not (APP_FILES / "index.html").exists():
        missing("the app is not built: make app")
    contexts: list[BrowserContext] = []
    pages: list[AppPage] = []

    async def open_one(
        screen: Screen = DESKTOP,
        *,
        scheme: Scheme = "light",
        pairing: Pairing | None = None,
        context: BrowserContext | None = None,
        paired: bool = True,
        service_worker: bool = False,
    ) -> AppPage:
        if context is None:
            context = await new_context(chromium, screen, scheme)
            contexts.append(context)
            if not service_worker:
                await context.add_init_script(NO_SERVICE_WORKER)
        app = AppPage(await context.new_page(), mesh.app_url)
        pages.append(app)
        if paired and pairing is None:
            pairing = await mesh.pairing()
        await app.open(pairing)
        return app

    yield open_one
    for context in contexts:
        await context.close()
    assert [app.errors for app in pages if app.errors] == []
    assert [app.refused for app in pages if app.refused] == []
