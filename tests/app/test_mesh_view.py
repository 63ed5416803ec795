"""The mesh as a user sees it: who is there, and who no longer is."""

from __future__ import annotations

import pytest
from playwright.async_api import expect

from tests.app.conftest import OpenApp
from tests.app.live_mesh import LiveMesh
from tests.support.browser import SCREENS, WAIT_MS, Screen

pytestmark = [pytest.mark.broker, pytest.mark.asyncio(loop_scope="session")]


@pytest.mark.parametrize("screen", SCREENS, ids=lambda screen: screen.name)
async def test_a_killed_device_is_shown_and_so_is_its_return(open_app: OpenApp, mesh: LiveMesh, screen: Screen) -> None:
    app = await open_app(screen)
    await app.go("Mesh")
    listed = app.page.get_by_role("list", name="Devices")
    for device_id in mesh.fleet.devices:
        await expect(listed.get_by_role("article", name=device_id)).to_be_attached(timeout=WAIT_MS)
        await expect(app.device(device_id)).to_have_attribute("data-state", "online", timeout=WAIT_MS)
    mesh.fleet.kill("device-4")
    try:
        await expect(app.device("device-4")).to_have_attribute("data-state", "offline", timeout=WAIT_MS)
        alerts = app.page.get_by_role("list", name="Alerts")
        await expect(alerts).to_contain_text("device-4", timeout=WAIT_MS)
    finally:
        await mesh.fleet.restart("device-4")
    await expect(app.device("device-4")).to_have_attribute("data-state", "online", timeout=WAIT_MS)


async def test_a_full_queue_is_seen_live(open_app: OpenApp, mesh: LiveMesh) -> None:
    app = await open_app()
    await app.go("Mesh")
    await expect(app.device("device-2")).to_have_attribute("data-state", "online", timeout=WAIT_MS)
    async with mesh.filled("device-2"):
        # one runs, the others wait
        await expect(app.device("device-2")).to_contain_text("5 waiting", timeout=WAIT_MS)
