"""A device as a process: runs until it is told to stop."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
from collections.abc import Callable, Coroutine
from concurrent.futures import ThreadPoolExecutor

from broker.mosquitto_files import BrokerFilesError
from broker.per_device import DeviceBroker
from edge_agent.adapters.mqtt import MqttTransport
from edge_agent.children import ChildStartError
from edge_agent.config import AgentConfig
from edge_agent.core.health import Part
from edge_agent.ports import Steward
from edge_agent.runtime.announcing import announcements
from edge_agent.runtime.assemble import make_host, make_transport
from edge_agent.runtime.gateway_child import gateway_beside
from edge_agent.runtime.home import Home, find_home, own_broker, until_moved
from edge_agent.runtime.host import AgentHost
from edge_agent.runtime.reports import HealthReports
from edge_agent.runtime.service_manager import ServiceManager
from edge_agent.tasks import TaskSupervisor, hear_callbacks
from edge_agent.wire.topics import Channel

log = logging.getLogger(__name__)

LOG_LEVEL_VARIABLE = "MOAMESH_LOG_LEVEL"
THREADS_MAX = 48  # one for each connection that may be made or left at once, and a few; made only when needed


async def run_agent(config: AgentConfig, steward: Steward | None = None) -> bool:
    """Runs the device that `config` describes until SIGTERM or SIGINT, then stops it cleanly.

    Returns whether its steward asked for a restart: the caller then begins the process anew.

    Raises:
        SettingsError: something that the configuration names is missing.
        EngineError: the engine cannot be started.
        JournalError: the journal cannot be opened.
    """
    logging.basicConfig(
        level=os.environ.get(LOG_LEVEL_VARIABLE, "INFO").upper(),
        format="%(asctime)s %(levelname)s %(name)s: %(message)s",
    )
    logging.getLogger("httpx").setLevel(logging.WARNING)  # it logs every request's URL
    manager = ServiceManager(os.environ)
    loop = asyncio.get_running_loop()
    hear_callbacks(loop)
    # Connects to hosts that are gone wait in threads; they must not keep the others from having one.
    loop.set_default_executor(ThreadPoolExecutor(THREADS_MAX, "worker"))
    end = Shutdown(manager.stopping)
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, end.ask)
    started = manager.ready
    reports = HealthReports()
    async with (
        manager,
        own_broker(config, reports.teller(Part.BROKER)) as broker,
        gateway_beside(config, reports.teller(Part.GATEWAY)),
    ):
        while not end.asked.is_set():
            await _run_at_home(config, await find_home(config), broker, steward, end, reports, manager, started)
            started = _said_already
    log.info("restarting" if end.restart else "stopped")
    return end.restart


class Shutdown:
    """Whether the device is to end, and to begin anew after it."""

    def __init__(self, say: Callable[[], None]) -> None:
        self._say = say
        self.asked = asyncio.Event()
        self.restart = False

    def ask(self) -> None:
        """Somebody wants it to end."""
        self._say()
        self.asked.set()

    def ask_restart(self) -> None:
        """Somebody wants it to end and begin anew."""
        self.restart = True
        self.ask()


class DeviceLine:
    """`ports.ManagementLine` of a running device."""

    def __init__(
        self,
        config: AgentConfig,
        transport: MqttTransport,
        host: AgentHost,
        broker: DeviceBroker | None,
        end: Shutdown,
        reports: HealthReports,
    ) -> None:
        self.report = reports.teller(Part.STEWARD)
        self._device_id = config.device.id
        self._transport = transport
        self._broker = broker
        self.peers = host.peers
        self.restart = end.ask_restart

    @property
    def connected(self) -> bool:
        """Whether the home broker is connected."""
        return self._transport.connected

    def publish(self, channel: Channel, body: bytes) -> None:
        """Queues a body on a management channel of this device."""
        self._transport.publish_raw(self._device_id, "", channel, body)

    def publish_to(self, device_id: str, home_broker: str, channel: Channel, body: bytes) -> None:
        """Queues a body on a management channel of another device."""
        self._transport.publish_raw(device_id, home_broker, channel, body)

    async def renew(self) -> None:
        """Has the device's own broker, if there is one, and its connections follow the certificate files."""
        if self._broker is not None:
            try:
                await self._broker.apply_crl()
            except (BrokerFilesError, ChildStartError, OSError) as error:
                log.error("this device's own broker: %s", error)
        self._transport.renew()


async def _run_at_home(
    config: AgentConfig,
    home: Home,
    broker: DeviceBroker | None,
    steward: Steward | None,
    end: Shutdown,
    reports: HealthReports,
    manager: ServiceManager,
    started: Callable[[], None],
) -> None:
    """Runs the device until it is asked to stop, or its home has another address."""
    transport = make_transport(config, home)
    if steward is not None:
        transport.watch(steward.channels, steward.take)
    host = make_host(config, home, transport, reports)
    host.watch_problems(manager.tell)
    transport.advertise(announcements(config, host.model))
    log.info("device %s of mesh %s, home broker %s", config.device.id, config.device.mesh, home.advertised)

    async def end_after(reason: Coroutine[object, object, object]) -> None:
        await reason
        host.stop()
        await asyncio.Event().wait()  # its supervisor begins anew whatever ends

    tasks = TaskSupervisor("device", reports.teller(Part.STEWARD))
    tasks.keep("waiting for its end", lambda: end_after(end.asked.wait()))
    tasks.keep("watching its address", lambda: end_after(until_moved(config, home)))
    if steward is not None:
        line = DeviceLine(config, transport, host, broker, end, reports)
        attend = steward.attend
        tasks.keep("steward", lambda: attend(line))
    reports.connect(host.report)
    try:
        await host.run(started)
    finally:
        reports.disconnect()
        await tasks.stop()


def _said_already() -> None:
    """A device that starts over at a new address is no news to who started its process."""
