"""`moamesh top` on real devices and a real broker: through Textual's own pilot, and as a program in a terminal."""

from __future__ import annotations

import contextlib
import signal
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio
from rich.text import Text
from textual.widgets import Static

from broker.mosquitto import MosquittoBroker
from edge_agent.cli.mesh_address import MeshAddress
from edge_agent.cli.watch.top.app import HelpScreen, TopApp
from edge_agent.cli.watch.top.model import SortKey
from edge_agent.client import MeshClient
from edge_agent.fleet.local import LocalFleet
from edge_agent.fleet.plan import EngineKind, FleetPlan
from edge_agent.mqtt import TlsFiles
from tests.cli.test_live_commands import MOAMESH, home, mesh_up
from tests.client.conftest import LocalBroker, own_broker
from tests.client.samples import presence, status
from tests.client.scripted_device import scripted_device
from tests.support.commands import moamesh
from tests.support.polling import until
from tests.support.secured import HOST, SecuredMesh
from tests.support.terminals import in_terminal

__all__ = ["home", "own_broker"]
pytestmark = pytest.mark.broker


def plan(devices: int) -> FleetPlan:
    return FleetPlan(devices, EngineKind.SYNTHETIC, service="deterministic:0.02", status_interval_s=0.3)


@contextlib.asynccontextmanager
async def app_of(fleet: LocalFleet, devices: int) -> AsyncIterator[TopApp]:
    async with MeshClient(fleet.url, fleet.mesh) as client:
        await client.discover(at_least=devices)
        yield TopApp(client, MeshAddress(fleet.url, fleet.mesh), "dark")


@contextlib.asynccontextmanager
async def fleet_and_app(folder: Path, devices: int) -> AsyncIterator[tuple[LocalFleet, TopApp]]:
    async with LocalFleet(plan(devices), folder=folder) as fleet, app_of(fleet, devices) as app:
        yield fleet, app


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def three_devices(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[LocalFleet]:
    """For the tests that kill none."""
    async with LocalFleet(plan(3), folder=tmp_path_factory.mktemp("fleet")) as fleet:
        yield fleet


def words(app: TopApp, place: str) -> str:
    shown = app.screen_stack[0].query_one(f"#{place}", Static).content
    return shown.plain if isinstance(shown, Text) else str(shown)


def cells(app: TopApp) -> list[list[str]]:
    table = app._table
    return [[cell.plain.strip() for cell in table.get_row_at(line)] for line in range(table.row_count)]


async def test_three_devices_are_shown_ordered_filtered_looked_into_and_one_is_killed(tmp_path: Path) -> None:
    async with fleet_and_app(tmp_path, 3) as (fleet, app), app.run_test(size=(80, 24)) as pilot:
        await until(lambda: len(app.device_ids) == 3 and "/32" in " ".join(cells(app)[2]), "three rows with figures")
        assert app.device_ids == ["device-1", "device-2", "device-3"]
        await until(
            lambda: "3 of 3 online  3 synthetic, no language model" in words(app, "heading"), "all with figures"
        )
        await until(lambda: words(app, "alerts") == "no alerts", "no alerts")

        await pilot.press("s")
        assert app.sort_key is SortKey.STATE
        await pilot.press(*"s" * (len(SortKey) - 1), "S")
        assert app.sort_key is SortKey.DEVICE
        assert app.device_ids == ["device-3", "device-2", "device-1"]
        await pilot.press("S")

        await pilot.press("down")
        assert "device-2" in words(app, "detail")
        await until(lambda: "waiting, last" in words(app, "detail"), "the graphs")

        await pilot.press("slash", *"ice-3")
        assert app.device_ids == ["device-3"]
        await pilot.press("enter")
        assert "device-3" in words(app, "detail")
        await pilot.press("escape")
        assert len(app.device_ids) == 3

        fleet.kill("device-2")
        await until(lambda: "device-2 went offline" in words(app, "alerts"), "the dead device among the alerts")
        assert "✗ offline" in cells(app)[1]
        assert "2 of 3 online" in words(app, "heading")


async def test_pausing_keeps_what_is_shown_and_hides_nothing_of_it(tmp_path: Path) -> None:
    async with fleet_and_app(tmp_path, 2) as (fleet, app), app.run_test(size=(120, 40)) as pilot:
        await until(lambda: len(app.device_ids) == 2, "two rows")
        await pilot.press("space")
        assert "paused" in words(app, "heading")
        fleet.kill("device-1")
        view = app._client.roster
        await until(lambda: "offline" in str(view.get("device-1")), "the client heard of it")
        app._tick()
        assert "offline" not in " ".join(cells(app)[0])
        await pilot.press("s", "s")
        assert app.sort_key is SortKey.WAITING
        await pilot.press("space")
        await until(lambda: "device-1 went offline" in words(app, "alerts"), "going on")


async def test_a_broker_that_goes_and_comes_back_is_shown(own_broker: LocalBroker) -> None:
    async with MeshClient(own_broker.url, "test") as client:
        app = TopApp(client, MeshAddress(own_broker.url, "test"), "light")
        async with app.run_test(size=(80, 24)) as pilot:
            assert "no device has reported yet" in words(app, "empty")
            own_broker.stop()
            await until(lambda: "no connection to the broker" in words(app, "heading"), "the loss")
            own_broker.start()
            await own_broker.until_up()
            await until(lambda: "no connection" not in words(app, "heading"), "the return")
            async with scripted_device(own_broker.url) as device:
                await device.announce(presence())
                await device.announce(status())
                await until(lambda: app.device_ids == ["device-1"], "a device heard of after the return")
                await pilot.pause()
                assert app._table.display


@pytest.mark.asyncio(loop_scope="module")
async def test_help_theme_detail_and_size_change_without_losing_the_mesh(three_devices: LocalFleet) -> None:
    async with app_of(three_devices, 3) as app, app.run_test(size=(80, 24)) as pilot:
        await until(lambda: len(app.device_ids) == 3, "three rows")
        await pilot.press("question_mark")
        assert isinstance(app.screen, HelpScreen)
        app._tick()  # what is behind the help is drawn on
        assert "3 of 3 online" in words(app, "heading")
        await pilot.press("escape")
        assert not isinstance(app.screen, HelpScreen)
        dark = app.current_theme.dark
        await pilot.press("t")
        assert app.current_theme.dark is not dark
        assert app._detail.display
        await pilot.press("enter")
        assert not app._detail.display
        narrow = len(app._columns)
        await pilot.resize_terminal(200, 60)
        await until(lambda: len(app._columns) > narrow, "more columns in a wider terminal")
        await pilot.resize_terminal(30, 10)
        await until(lambda: len(app._columns) < narrow, "fewer columns in a narrower one")
        assert len(app.device_ids) == 3


@pytest.mark.asyncio(loop_scope="module")
async def test_a_click_on_a_heading_orders_by_it_and_a_second_one_turns_it_round(three_devices: LocalFleet) -> None:
    async with app_of(three_devices, 3) as app, app.run_test(size=(80, 24)) as pilot:
        await until(lambda: len(app.device_ids) == 3, "three rows")
        await pilot.click("#devices", offset=(2, 0))
        await until(lambda: app.device_ids[0] == "device-3", "turned round")
        await pilot.click("#devices", offset=(36, 0))
        await until(lambda: app.sort_key is SortKey.WAITING, "the queue's heading")


async def test_the_program_finds_the_local_mesh_and_leaves_the_terminal_as_it_was(home: dict[str, str]) -> None:
    with mesh_up(home, "--devices", "2"):
        async with in_terminal([*MOAMESH, "top"], home) as terminal:
            await terminal.until(lambda: "2 of 2 online" in terminal.text and "device-2" in terminal.text)
            await terminal.until(lambda: "Leave" in terminal.lines[-1])
            terminal.type("q")
            assert await terminal.ends() == 0
            await terminal.until(lambda: b"\x1b[?1049l" in terminal.received)
        async with in_terminal([*MOAMESH, "top"], home, columns=140, lines=45) as terminal:
            await terminal.until(lambda: "waiting, last" in terminal.text)
            terminal.process.send_signal(signal.SIGTERM)
            assert await terminal.ends() == 143
            await terminal.until(lambda: b"\x1b[?1049l" in terminal.received)
        assert "Traceback" not in terminal.text


async def test_a_user_of_one_device_sees_that_device_over_tls_and_no_other(
    home: dict[str, str], tmp_path: Path
) -> None:
    mesh = SecuredMesh(tmp_path)
    bob, files = mesh.user("bob", ("kitchen",)), mesh.broker_files(tmp_path / "broker")
    assert bob.password is not None
    (tmp_path / "password").write_text(f"{bob.password}\n")
    devices = f"mqtts://{HOST}:{files.config.listeners.devices}"
    where = [
        "--broker",
        f"mqtts://{HOST}:{files.config.listeners.passwords}",
        "--mesh",
        "home",
        "--ca-file",
        str(mesh.ca),
    ]
    login = ["--username", "user.bob", "--password-file", str(tmp_path / "password")]
    async with MosquittoBroker(files, lambda: mesh.people), contextlib.AsyncExitStack() as stack:
        for name in ("garage", "kitchen"):
            credentials = mesh.device(name)
            tls = TlsFiles(str(mesh.ca), str(credentials.certificate), str(credentials.key))
            device = await stack.enter_async_context(scripted_device(devices, mesh="home", device_id=name, tls=tls))
            await device.announce(presence(name))
            await device.announce(status(name))
        async with in_terminal([*MOAMESH, "top", *where, *login], home) as terminal:
            await terminal.until(lambda: "1 of 1 online" in terminal.text and "kitchen" in terminal.text)
            assert "garage" not in terminal.text
            terminal.type("q")
            assert await terminal.ends() == 0


def test_without_a_terminal_or_a_broker_it_is_one_clear_line(home: dict[str, str]) -> None:
    done = moamesh(home, "top")
    assert (done.returncode, done.stderr) == (
        2,
        "moamesh: moamesh top needs a terminal; in a pipe: moamesh status --json\n",
    )
