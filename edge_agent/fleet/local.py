"""`LocalFleet`: a broker and N device processes, up until the context is left."""

from __future__ import annotations

import asyncio
import shutil
import signal
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from broker.embedded import EmbeddedBroker
from broker.embedded_web import ALL_INTERFACES
from broker.web_login import NotAdmittedError, until_admitted, web_endpoint
from edge_agent.children import ChildStartError
from edge_agent.client import DeviceState, MeshClient
from edge_agent.core.errors import MoameshError
from edge_agent.fleet.device_config import write_device_config
from edge_agent.fleet.device_process import DeviceProcess
from edge_agent.fleet.gateway_process import GatewayProcess, GatewayStartError
from edge_agent.fleet.network import lan_address
from edge_agent.fleet.people import FleetPeople
from edge_agent.fleet.plan import FleetPlan
from edge_agent.fleet.runs import announce, new_run_folder
from edge_agent.hangs import HangDetector, HangError
from edge_agent.tasks import Started, gathered, unless
from edge_agent.wire.topics import user_login

KEY_NAME = "network"  # of the gateway's API key, where the network reaches it
START_STILL_S = 60.0  # in which no device that is late does anything; one that ended is said at once
START_COMPUTED_MAX_S = 300.0  # for each device: an interpreter and a model
_POLL_S = 0.05


class FleetError(MoameshError):
    """The broker or a device did not come up, or died. The message says which and ends with the last of its log."""


class LocalFleet(Started):
    """Devices on this host. Enter it in the main thread: `async with LocalFleet(plan) as fleet:`.

    Args:
        plan: how many, and what they run.
        folder: for configurations, logs and journals; by default a new one in the user's state folder, which is removed
            when the fleet stops, unless a device died.

    Raises (on entering):
        FleetError: the broker or a device did not come up.
    """

    def __init__(self, plan: FleetPlan, *, folder: Path | None = None) -> None:
        self.plan = plan
        self._own_folder = folder is None
        self.folder = new_run_folder() if folder is None else folder
        self.on_progress: Callable[[int, int], None] | None = None
        """Called with (devices online, devices in all) while they start."""
        self.people = FleetPeople(self.folder)
        """Who may come in by WebSockets; `add_user` and `remove_user` also wait until it holds."""
        try:
            self.broker = EmbeddedBroker(
                port=plan.port,
                run_dir=self.folder / "broker",
                web_port=plan.web_port if plan.web else None,
                web_host=ALL_INTERFACES if plan.lan else "127.0.0.1",
                people=self.people,
                mesh=plan.mesh,
            )
        except RuntimeError as error:  # no broker program is installed
            raise FleetError(str(error)) from None
        self.devices: dict[str, DeviceProcess] = {}
        self.gateway: GatewayProcess | None = None
        self.api_key = ""
        """What the gateway asks for where the network reaches it; "" on this host alone, which needs none."""

    @property
    def url(self) -> str:
        """Where the broker listens."""
        return self.broker.url

    @property
    def mesh(self) -> str:
        """The name of the mesh."""
        return self.plan.mesh

    @property
    def web_url(self) -> str:
        """Where users with secrets connect by WebSockets from this host; "" where the broker cannot do that."""
        return self.broker.web_url

    @property
    def gateway_url(self) -> str:
        """Where this host reaches the API and the app; "" without a gateway."""
        return self.gateway.url if self.gateway is not None else ""

    def reached(self, url: str) -> str:
        """Returns a URL of this fleet as those reach it for whom it is meant: the network's where the plan says so."""
        address = lan_address() if self.plan.lan else ""
        return url.replace("//127.0.0.1:", f"//{address}:") if address else url

    async def add_user(self, name: str, devices: Sequence[str] | None = None) -> str:
        """Returns a new secret of a user, with which they get in now; it replaces an older one.

        devices: the only ones they may use; `None` is all.

        Raises:
            SettingsError: a name is none.
            FleetError: the broker has no web listener, or did not take the user over.
        """
        if not self.web_url:
            raise FleetError(self.broker.web_hint or "this fleet has no web listener (FleetPlan.web)")
        secret, _ = await asyncio.to_thread(self.people.put, name, devices)
        await self._follow_people()
        try:
            await until_admitted(web_endpoint(self.web_url), user_login(name), secret)
        except NotAdmittedError as error:
            raise FleetError(str(error)) from None
        return secret

    async def remove_user(self, name: str) -> None:
        """Takes a user's secret back and ends their live sessions, by a restart of the broker.

        Raises:
            SettingsError: nobody is called so.
            FleetError: the broker did not come back.
        """
        await asyncio.to_thread(self.people.remove, name)
        await self._follow_people()

    async def start(self) -> None:
        """Starts the broker and the devices; returns when all are online. After this you must call `stop`.

        Raises:
            FleetError: the broker or a device did not come up; everything is stopped again.
        """
        try:
            await self.broker.start()
            async with gathered() as tasks:
                tasks.create_task(self._start_gateway())
                await self._start_devices()
            reached = {"web": self.web_url, "gateway": self.gateway_url}
            announce(self.folder, self.url, self.mesh, tuple(self.devices), **reached, lan=self.plan.lan)
        except ChildStartError as error:
            await self.stop()
            raise FleetError(f"the broker did not start: {error}") from None
        except GatewayStartError as error:
            await self.stop()
            raise FleetError(f"the gateway did not start: {error}") from None
        except BaseException:
            await self.stop()
            raise

    async def stop(self) -> None:
        """Stops the gateway, the devices, then the broker, so that farewells still get out. May be called twice."""
        died = self.dead()
        if self.gateway is not None:
            await self.gateway.stop()
        await asyncio.gather(*(device.stop() for device in self.devices.values()))
        await self.broker.stop()
        if self._own_folder and not died:
            await asyncio.to_thread(shutil.rmtree, self.folder, ignore_errors=True)

    def dead(self) -> tuple[DeviceProcess, ...]:
        """The devices whose process has ended, though nobody stopped it."""
        return tuple(device for device in self.devices.values() if device.exit_status is not None)

    async def until_died(self, device_id: str) -> None:
        """Returns once the process of a device has ended."""
        await self.devices[device_id].wait()

    def kill(self, device_id: str) -> None:
        """Kills a device as a power cut would."""
        self.devices[device_id].send_signal(signal.SIGKILL)

    async def restart(self, device_id: str) -> None:
        """Starts a device again that has ended, on its old configuration and journal, and waits until it is online.

        Raises:
            FleetError: it did not come up.
        """
        device = self.devices[device_id]
        await device.wait()
        await device.start()
        await self._until_online((device_id,))

    async def _follow_people(self) -> None:
        try:
            await self.broker.follow()
        except (ChildStartError, ValueError, OSError) as error:
            raise FleetError(f"the broker: {error}") from None

    async def _start_gateway(self) -> None:
        if self.plan.gateway_port is None:
            return
        host = ALL_INTERFACES if self.plan.lan else "127.0.0.1"
        web_broker = self.reached(self.web_url)
        self.gateway = GatewayProcess(
            self.folder, self.url, self.mesh, host=host, port=self.plan.gateway_port, web_broker=web_broker
        )
        if self.plan.lan:
            from edge_agent.gateway.keys import add_key  # here: only who has a gateway has what it needs

            self.api_key = await asyncio.to_thread(add_key, self.gateway.keys_file, KEY_NAME)
        await self.gateway.start()

    async def _start_devices(self) -> None:
        for number, device_id in enumerate(self.plan.device_ids):
            config_path = write_device_config(self.plan, number, self.url, self.folder / device_id)
            log_path = self.folder / device_id / "agent.log"
            self.devices[device_id] = DeviceProcess(device_id, config_path, log_path)
        for device in self.devices.values():
            await device.start()
        await self._until_online(tuple(self.devices))

    async def _until_online(self, device_ids: tuple[str, ...]) -> None:
        async with MeshClient(self.url, self.mesh) as client:
            await client.start_watching()

            def late() -> list[str]:
                return [device_id for device_id in device_ids if not self._is_online(client, device_id)]

            detector = HangDetector(
                lambda: [self.devices[device_id].pid for device_id in late()],
                START_STILL_S,
                computed_max_s=START_COMPUTED_MAX_S * len(device_ids),
            )
            try:
                await unless(self._all_online(device_ids, late), detector.found())
            except HangError as error:
                who = late() or list(device_ids)
                raise FleetError(f"{', '.join(who)} not online: it {error}{self._tail(who[0])}") from None

    async def _all_online(self, device_ids: tuple[str, ...], late: Callable[[], list[str]]) -> None:
        shown = -1
        while True:
            for device_id in device_ids:
                self._check_alive(device_id)
            online = len(device_ids) - len(late())
            if online != shown and self.on_progress is not None:
                self.on_progress(online, len(device_ids))
                shown = online
            if online == len(device_ids):
                return
            await asyncio.sleep(_POLL_S)

    def _is_online(self, client: MeshClient, device_id: str) -> bool:
        view = client.roster.get(device_id)
        return view is not None and view.state(time.monotonic()) is DeviceState.ONLINE

    def _check_alive(self, device_id: str) -> None:
        status = self.devices[device_id].exit_status
        if status is not None:
            ended = f"was killed by signal {-status}" if status < 0 else f"ended with status {status}"
            raise FleetError(f"{device_id} {ended} before it was online{self._tail(device_id)}")

    def _tail(self, device_id: str) -> str:
        device = self.devices[device_id]
        return f"; the end of {device.log_path}:\n{device.log_tail()}"
