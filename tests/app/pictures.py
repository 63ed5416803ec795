"""Takes the pictures of docs/APP.md: `python -m tests.app.pictures [NAME ...]`. Four devices, each with llama.cpp.

Look at what it made before you commit it.
"""

from __future__ import annotations

import asyncio
import contextlib
import io
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path

from PIL import Image
from playwright.async_api import Browser, expect

from edge_agent.fleet.local import LocalFleet
from edge_agent.fleet.plan import EngineKind, FleetPlan
from edge_agent.models import DEFAULT_MODEL
from tests.app.live_mesh import LiveMesh
from tests.support.browser import DESKTOP, PHONE, WAIT_MS, AppPage, Pairing, Scheme, Screen, launched, new_context

FOLDER = Path(__file__).parents[2] / "docs" / "img"
COLOURS = 128  # of a picture; an interface has few, and the files stay small
ANSWER_WAIT_MS = 180_000  # four models on two cores
QUEUE_CAPACITY = 4
GAP_PX = 24  # between pictures in a row
MESH_HEIGHT = 1100  # of the mesh view's picture: devices and graphs


@dataclass
class Studio:
    """Where pictures are taken."""

    browser: Browser
    mesh: LiveMesh
    pairing: Pairing
    wanted: tuple[str, ...]

    @contextlib.asynccontextmanager
    async def page(self, screen: Screen, scheme: Scheme, *, paired: bool = True) -> AsyncIterator[AppPage]:
        """A page in a profile of its own."""
        context = await new_context(self.browser, screen, scheme, scale=2.0 if screen is PHONE else 1.0)
        try:
            app = AppPage(await context.new_page(), self.mesh.app_url)
            await app.open(self.pairing if paired else None)
            yield app
        finally:
            await context.close()

    async def take(self, app: AppPage, name: str) -> None:
        """Keeps what is seen now as `app-<name>.png`."""
        if self.wanted and not any(word in name for word in self.wanted):
            return
        await app.until_still()
        shot = Image.open(io.BytesIO(await app.page.screenshot(animations="disabled")))
        path = FOLDER / f"app-{name}.png"
        shot.convert("RGB").quantize(COLOURS, dither=Image.Dither.NONE).save(path, optimize=True)
        print(f"{path.name}: {path.stat().st_size // 1024} KiB")


async def chat(studio: Studio) -> None:
    """A conversation on both screens, light and dark; on the way what a session looks like while it runs."""
    for screen in (PHONE, DESKTOP):
        async with studio.page(screen, "light") as app:
            await app.choose("device-1", layers=0)
            first = await app.ask("Write a Python function that adds two numbers. Answer with code only.")
            await first.until("answered", wait_ms=ANSWER_WAIT_MS)
            await app.choose("device-1", layers=2, fanout=2)
            exchange = await app.ask("Why is the sky blue? Answer in two sentences.")
            await exchange.until("proposing")
            await expect(exchange.article).to_contain_text("Layer 2 of 2", timeout=ANSWER_WAIT_MS)
            await studio.take(app, f"running-{screen.name}")
            await exchange.until("answered", wait_ms=ANSWER_WAIT_MS)
            await app.page.locator('[aria-controls="ask-options"]').click()  # away, as in a chat that goes on
            for scheme in ("light", "dark"):
                await app.page.emulate_media(color_scheme=scheme)
                await studio.take(app, f"chat-{screen.name}-{scheme}")
            await app.page.emulate_media(color_scheme="light")
            await exchange.article.get_by_text("How it was made").click()
            await exchange.article.get_by_text("How it was made").scroll_into_view_if_needed()
            await studio.take(app, f"provenance-{screen.name}")


async def refused(studio: Studio) -> None:
    """A device that is full."""
    async with studio.page(PHONE, "light") as app, studio.mesh.filled("device-2"):
        await app.choose("device-2", layers=0)
        exchange = await app.ask("Any place left?")
        await exchange.until("refused")
        await studio.take(app, "refused-phone")


async def mesh_view(studio: Studio) -> None:
    """The devices, one of them full and one of them gone."""
    async with (
        studio.page(DESKTOP, "dark") as wide,
        studio.page(PHONE, "light") as narrow,
        studio.mesh.filled("device-2"),
    ):
        await wide.page.set_viewport_size({"width": DESKTOP.width, "height": MESH_HEIGHT})
        for app in (wide, narrow):
            await app.go("Mesh")
        studio.mesh.fleet.kill("device-4")
        try:
            for app in (wide, narrow):
                await expect(app.device("device-4")).to_have_attribute("data-state", "offline", timeout=WAIT_MS)
            await asyncio.sleep(12)  # for lines to be seen in the graphs
            await studio.take(wide, "mesh-desktop-dark")
            await studio.take(narrow, "mesh-phone-light")
        finally:
            await studio.mesh.fleet.restart("device-4")


async def alone(studio: Studio) -> None:
    """Before anything is paired, and the settings."""
    async with studio.page(PHONE, "light", paired=False) as app:
        await expect(app.page.locator("body")).to_contain_text("moamesh pair", timeout=WAIT_MS)
        await studio.take(app, "first-run-phone")
    async with studio.page(PHONE, "dark") as app:
        await app.go("Settings")
        await studio.take(app, "settings-phone-dark")


def side_by_side(names: tuple[str, ...], name: str) -> None:
    """One picture of several, in a row."""
    pictures = [Image.open(FOLDER / f"app-{one}.png").convert("RGB") for one in names]
    width = sum(picture.width + GAP_PX for picture in pictures) - GAP_PX
    row = Image.new("RGB", (width, max(picture.height for picture in pictures)), "#8a8f94")
    at = 0
    for picture in pictures:
        row.paste(picture, (at, 0))
        at += picture.width + GAP_PX
    half = row.resize((row.width // 2, row.height // 2), Image.Resampling.LANCZOS)
    half.quantize(COLOURS, dither=Image.Dither.NONE).save(FOLDER / f"app-{name}.png", optimize=True)


PICTURES: tuple[Callable[[Studio], Awaitable[None]], ...] = (alone, chat, refused, mesh_view)


async def main() -> None:
    """Takes all pictures, or those whose names contain one of the words."""
    FOLDER.mkdir(exist_ok=True)
    plan = FleetPlan(
        4,
        EngineKind.LLAMA,
        models=(DEFAULT_MODEL,),
        mesh="home",
        gateway_port=0,
        agent={"queue_capacity": QUEUE_CAPACITY, "principal_share": 1.0},
    )
    async with LocalFleet(plan) as fleet, launched() as browser:
        mesh = LiveMesh(fleet)
        studio = Studio(browser, mesh, await mesh.pairing("ada"), tuple(sys.argv[1:]))
        for picture in PICTURES:
            await picture(studio)
    side_by_side(("running-phone", "provenance-phone", "mesh-phone-light"), "phone")


if __name__ == "__main__":
    asyncio.run(main())
