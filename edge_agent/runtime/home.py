"""Where a device is at home: at a shared broker, or at one that it runs itself."""

from __future__ import annotations

import asyncio
import contextlib
import importlib
import logging
from collections.abc import AsyncIterator
from dataclasses import dataclass
from types import ModuleType
from typing import final

from broker.mosquitto_files import BrokerFilesError
from broker.people_file import USERS_FILE, PeopleFile
from broker.per_device import DeviceBroker
from edge_agent.children import ChildStartError
from edge_agent.config import AgentConfig
from edge_agent.core.errors import SettingsError
from edge_agent.tasks import ProblemListener, log_only

log = logging.getLogger(__name__)

ADDRESS_TIMEOUT_S = 60.0  # a device that boots may wait that long for its network; then whoever started it tries again
ADDRESS_POLL_S = 1.0
MOVED_AFTER_S = 10.0  # a new address must have held so long: networks flap while they come up


@final
@dataclass(frozen=True, slots=True)
class Home:
    """A home broker: how this device connects to it, what others are told, and by what else they may call it."""

    connect: str
    advertised: str
    aliases: tuple[str, ...] = ()


async def find_home(config: AgentConfig) -> Home:
    """Returns the home that `config` describes. With a broker of its own it waits until there is an address.

    Raises:
        SettingsError: there is no address at which others could reach this device.
    """
    broker = config.broker
    if broker.mode == "shared":
        return Home(broker.home, broker.home, broker.aliases)
    address = broker.address
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(ADDRESS_TIMEOUT_S):
            while not (address := address or _address()):  # noqa: ASYNC110 - the system has no event for it
                await asyncio.sleep(ADDRESS_POLL_S)
    if not address:
        raise SettingsError(
            "[broker] address: this device has no network address; set one, or connect the device to a network"
        )
    return Home(f"mqtts://127.0.0.1:{broker.port}", f"mqtts://{_in_url(address)}:{broker.port}")


async def until_moved(config: AgentConfig, home: Home) -> None:
    """Returns when others reach this device at another address than `home` says: what it told of itself is wrong."""
    loop = asyncio.get_running_loop()
    since: float | None = None
    while True:
        await asyncio.sleep(ADDRESS_POLL_S)
        if config.broker.mode == "shared" or config.broker.address:
            continue
        address = _address()
        if not address or f"mqtts://{_in_url(address)}:{config.broker.port}" == home.advertised:
            since = None
        elif since is None:
            since = loop.time()
        elif loop.time() - since >= MOVED_AFTER_S:
            log.warning("this device is now at %s: restarting with that address", address)
            return


@contextlib.asynccontextmanager
async def own_broker(config: AgentConfig, on_problem: ProblemListener = log_only) -> AsyncIterator[DeviceBroker | None]:
    """Runs this device's own broker, where it is to have one, and keeps it running; `told` hears how it is.

    Raises:
        SettingsError: it cannot be started; one line that says why.
    """
    section = config.broker
    if section.mode == "shared":
        yield None
        return
    if section.cert_file is None or section.key_file is None or section.ca_file is None or section.crl_file is None:
        raise SettingsError('[broker] mode = "own" needs ca_file, crl_file, cert_file and key_file')
    try:
        broker = DeviceBroker(
            config.data_dir / "broker",
            config.device.id,
            config.device.mesh,
            section.cert_file,
            section.key_file,
            section.ca_file,
            section.crl_file,
            port=section.port,
            plain_port=section.local_port,
            web_port=section.web_port,
            people=PeopleFile(config.data_dir / USERS_FILE),
            on_problem=on_problem,
        )
        await broker.start()
    except (BrokerFilesError, ChildStartError, RuntimeError, OSError, ValueError) as error:
        raise SettingsError(f"this device's own broker: {error}") from None
    try:
        yield broker
    finally:
        await broker.stop()


def discovery_module() -> ModuleType:
    """Returns `adapters.discovery`, which needs a library that only devices with a broker of their own need.

    Raises:
        SettingsError: it is not installed.
    """
    try:
        return importlib.import_module("edge_agent.adapters.discovery")
    except ImportError as error:
        raise SettingsError(
            f"{error.name} is not installed: pip install 'moamesh[secure]', or set [broker] mdns = false and address"
        ) from None


def _address() -> str:
    return str(discovery_module().reachable_address())


def _in_url(address: str) -> str:
    return f"[{address}]" if ":" in address else address
