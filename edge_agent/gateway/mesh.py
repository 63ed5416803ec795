"""The gateway's connection to its mesh: kept up for ever, and the choice of a device."""

from __future__ import annotations

import asyncio
import hashlib
import logging
import random
import socket
import time
from collections import Counter

from edge_agent.client import (
    CANDIDATES_MAX,
    BrokerUnreachableError,
    ClientSettings,
    DeviceState,
    DeviceView,
    MeshClient,
    least_busy,
)
from edge_agent.gateway.errors import ApiError, invalid, unavailable
from edge_agent.gateway.options import GatewayOptions
from edge_agent.tasks import TaskSupervisor
from edge_agent.wire.topics import is_id

log = logging.getLogger(__name__)

SETTINGS = ClientSettings(
    receipt_timeout_s=2.0, sends_max=3
)  # 2 + 4 + 8 s: an HTTP client waits less gladly than a CLI
BROKER_WAIT_S = 5.0  # for a broker that is away: a restart of mosquitto takes well under a second
DEVICES_WAIT_S = 3.0  # after connecting: presences that the broker kept come at once, others with the next status
POLL_S = 0.05
RETRY_S = 5.0  # after a broker that refuses at once; one that is away takes twice as long to be found out


class MeshLink:
    """A `MeshClient` that is always being connected. Call `start`, and in the end `stop`.

    Raises:
        SettingsError: the broker's URL or the mesh's name is malformed.
    """

    def __init__(self, options: GatewayOptions) -> None:
        self._options = options
        self._make_client()  # not used: what is wrong with the settings is to be said before we listen
        self._client: MeshClient | None = None
        self._dropped = 0
        self._tasks = TaskSupervisor("gateway")
        self.open_at: Counter[str] = Counter()
        """Prompts of this gateway open at each device: newer than the device's own figures."""
        self._doubted_at: dict[str, float] = {}

    async def start(self) -> None:
        """Begins to connect; returns at once. A broker that is not there yet is waited for."""
        self._tasks.keep("connection to the mesh", self._keep_connected)

    async def stop(self) -> None:
        """Disconnects."""
        await self._tasks.stop()

    @property
    def connected(self) -> bool:
        """Whether the broker is connected at this moment."""
        return self._client is not None and self._client.connected

    @property
    def dropped(self) -> int:
        """Messages of devices that could not be used, since the start."""
        return self._dropped + (self._client.dropped if self._client is not None else 0)

    def devices(self) -> tuple[DeviceView, ...]:
        """Every device heard of."""
        return self._client.roster.all() if self._client is not None else ()

    def online(self) -> tuple[DeviceView, ...]:
        """The devices that can be asked; of a gateway for one device, that one."""
        now = time.monotonic()
        wanted = self._options.device_id
        return tuple(
            view
            for view in self.devices()
            if view.state(now) is DeviceState.ONLINE and wanted in (None, view.device_id)
        )

    async def client(self) -> MeshClient:
        """Returns the connected client.

        Raises:
            ApiError: 503, the broker did not come within `BROKER_WAIT_S`.
        """
        ends_at = time.monotonic() + BROKER_WAIT_S
        while self._client is None or not self._client.connected:
            if time.monotonic() >= ends_at:
                raise unavailable("the gateway has no connection to the mesh's broker", "broker_unreachable")
            await asyncio.sleep(POLL_S)
        return self._client

    async def candidates(self, wanted: str | None) -> tuple[str, ...]:
        """Returns whom to ask, the best first; more than one only where the choice is ours.

        Raises:
            ApiError: 503, nobody is online; 400 or 404, `wanted` cannot be asked here.
        """
        fixed = self._options.device_id
        if fixed is not None and wanted not in (None, fixed):
            raise invalid(f"this gateway asks {fixed} only", "moamesh.device", "invalid_value")
        wanted = fixed or wanted
        if wanted is not None and not is_id(wanted):
            raise invalid("moamesh.device: must be 1 to 64 of a-z, 0-9 and -", "moamesh.device", "invalid_value")
        while True:
            settled = time.monotonic() >= self._connected_at() + DEVICES_WAIT_S
            found = self._named(wanted, settled) if wanted else self._best()
            if found:
                return found
            if settled:
                raise self._nobody()
            await asyncio.sleep(POLL_S)

    def _connected_at(self) -> float:
        """When we last came to the broker: one that restarted has forgotten who is there."""
        return self._client.connected_at if self._client is not None else time.monotonic()

    def _named(self, wanted: str, settled: bool) -> tuple[str, ...]:
        view = next((view for view in self.devices() if view.device_id == wanted), None)
        state = view.state(time.monotonic()) if view is not None else None
        if state in (DeviceState.ONLINE, DeviceState.SILENT, DeviceState.UNKNOWN):
            return (wanted,)
        if settled and state is None:
            if self._options.device_id == wanted:
                return (wanted,)  # a broker that keeps no presence tells us nothing of it: its receipt will
            raise ApiError(404, f"unknown device {wanted}", param="moamesh.device", code="device_not_found")
        if settled and state is not None:
            raise unavailable(f"{wanted} is {state.value}", "no_device")
        return ()

    def doubt(self, device_id: str) -> None:
        """Notes that a device left a prompt without a word: until it is heard of again it is asked last."""
        self._doubted_at[device_id] = time.monotonic()

    def _is_doubted(self, view: DeviceView) -> bool:
        doubted_at = self._doubted_at.get(view.device_id)
        if doubted_at is None or (view.heard_at is not None and view.heard_at > doubted_at):
            self._doubted_at.pop(view.device_id, None)
            return False
        return True

    def can_be_asked(self, device_id: str) -> bool:
        """Whether a device is online and says that it can infer."""
        return any(view.able for view in self.online() if view.device_id == device_id)

    def _nobody(self) -> ApiError:
        online = self.online()
        if not online:
            return unavailable(f"no device of mesh {self._options.mesh!r} is online", "no_device")
        why = "; ".join(f"{view.device_id}: {view.trouble}" for view in online[:CANDIDATES_MAX])
        return unavailable(f"none of the {len(online)} devices online can infer: {why}", "device_unable")

    def _best(self) -> tuple[str, ...]:
        ties = random.Random()  # noqa: S311 - breaks ties, guards nothing
        online = self.online()
        doubted = {view.device_id for view in online if self._is_doubted(view)}
        chosen = least_busy(online, ties, self.open_at)
        return tuple(sorted(chosen, key=doubted.__contains__))[:CANDIDATES_MAX]  # stable: else as it was

    def _make_client(self) -> MeshClient:
        options = self._options
        return MeshClient(options.broker, options.mesh, _client_id(options), access=options.access, settings=SETTINGS)

    async def _keep_connected(self) -> None:
        said = ""
        while True:
            client = self._make_client()
            try:
                async with client:
                    await client.start_watching()
                    self._client, said = client, ""
                    log.info("connected to %s, mesh %s", client.url, client.mesh)
                    await asyncio.Event().wait()  # it heals itself from now on
            except BrokerUnreachableError as error:
                if str(error) != said:  # once, not every ten seconds for a night
                    log.warning("%s; trying again", error)
                    said = str(error)
                await asyncio.sleep(RETRY_S)
            finally:
                self._dropped += client.dropped
                self._client = None


def _client_id(options: GatewayOptions) -> str:
    """The same after a restart, so that a repeated prompt is known by the device to be the same client's; another for
    each gateway that has one login."""
    place = f"{socket.gethostname()} {options.host} {options.port} {options.device_id}"
    return f"gateway-{hashlib.sha256(place.encode()).hexdigest()[:16]}"
