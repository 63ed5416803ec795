"""A device as a process: runs until it is told to stop."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
from collections.abc import Callable, Coroutine
from concurrent.futures import ThreadPoolExecutor

from edge_agent.config import AgentConfig
from edge_agent.runtime.assemble import make_host
from edge_agent.runtime.home import Home, find_home, own_broker, until_moved
from edge_agent.runtime.service_manager import ServiceManager

log = logging.getLogger(__name__)

LOG_LEVEL_VARIABLE = "MOAMESH_LOG_LEVEL"
THREADS_MAX = 48  # one for each connection that may be made or left at once, and a few; made only when needed


async def run_agent(config: AgentConfig) -> None:
    """Runs the device that `config` describes until SIGTERM or SIGINT, then stops it cleanly.

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
    asked = asyncio.Event()
    loop = asyncio.get_running_loop()
    # Connects to hosts that are gone wait in threads; they must not keep the others from having one.
    loop.set_default_executor(ThreadPoolExecutor(THREADS_MAX, "worker"))

    def stop() -> None:
        manager.stopping()
        asked.set()

    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop)
    started = manager.ready
    async with own_broker(config):
        while not asked.is_set():
            await _run_at_home(config, await find_home(config), asked, started)
            started = _said_already
    log.info("stopped")


async def _run_at_home(config: AgentConfig, home: Home, asked: asyncio.Event, started: Callable[[], None]) -> None:
    """Runs the device until it is asked to stop, or its home has another address."""
    host = make_host(config, home)
    log.info("device %s of mesh %s, home broker %s", config.device.id, config.device.mesh, home.advertised)

    async def end_after(reason: Coroutine[object, object, object]) -> None:
        await reason
        host.stop()

    ends = [asyncio.create_task(end_after(reason)) for reason in (asked.wait(), until_moved(config, home))]
    try:
        await host.run(started)
    finally:
        for task in ends:
            task.cancel()
        await asyncio.wait(ends)


def _said_already() -> None:
    """A device that starts over at a new address is no news to who started its process."""
