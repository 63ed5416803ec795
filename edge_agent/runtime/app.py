"""A device as a process: runs until it is told to stop."""

from __future__ import annotations

import asyncio
import logging
import os
import signal

from edge_agent.config import AgentConfig
from edge_agent.runtime.assemble import make_host

log = logging.getLogger(__name__)

LOG_LEVEL_VARIABLE = "MOAMESH_LOG_LEVEL"


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
    host = make_host(config)
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, host.stop)
    log.info("device %s of mesh %s, broker %s", config.device.id, config.device.mesh, config.broker.home)
    await host.run()
    log.info("stopped")
