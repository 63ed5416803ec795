"""The gateway beside a device: a process of its own, kept running while the device runs.

A process, because a hundred open streams must not slow the device's loop, and because a defect there must not cost an
answer. The device does not wait for it, nor end with it: who speaks MQTT is served whatever becomes of HTTP.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import ssl
import sys
from collections.abc import AsyncIterator
from pathlib import Path

from broker.loopback import port_is_free
from edge_agent.children import STOP_STILL_S, ChildStartError, Supervised
from edge_agent.config import AgentConfig, EngineSection, TelemetrySection, write_config
from edge_agent.config.model import ENV_DELIMITER, ENV_PREFIX, LISTS
from edge_agent.config.sections import Section
from edge_agent.core.settings import AgentSettings
from edge_agent.files import reason
from edge_agent.tasks import HealthSources, ProblemListener, TaskSupervisor, log_only

log = logging.getLogger(__name__)

CONFIG_FILE = "gateway.toml"  # what the gateway reads: the device's settings as they were put together here
LOG_FILE = "gateway.log"
GRACE_S = STOP_STILL_S - 2.0  # for answers under way, and then for its words of farewell, before it is killed
RETRY_MIN_S = 5.0  # after a start that failed: the reason (a port in use, no keys) is for people to mend
RETRY_MAX_S = 60.0


@contextlib.asynccontextmanager
async def gateway_beside(config: AgentConfig, on_problem: ProblemListener = log_only) -> AsyncIterator[None]:
    """Runs the gateway of this device, where it is to have one, until the context is left.

    Use it in the main thread's event loop. A gateway that cannot be started is told, said in the log and tried again.
    """
    if not config.gateway.enabled:
        yield
        return
    sources = HealthSources(on_problem)
    child = Supervised(
        "gateway",
        _command(config),
        config.data_dir / LOG_FILE,
        lambda timeout_s: _answers(config, timeout_s),
        environment=_environment(),
        on_problem=sources.source(),
    )
    tasks = TaskSupervisor("gateway", sources.source())
    starting = sources.source()
    tasks.keep("start", lambda: _keep(child, config, starting))
    try:
        yield
    finally:
        await tasks.stop()
        await child.stop()


async def _keep(child: Supervised, config: AgentConfig, on_problem: ProblemListener) -> None:
    """Starts it, however often that takes; from then on `Supervised` keeps it running."""
    pause_s, said = RETRY_MIN_S, ""
    while True:
        try:
            _check_port(config)
            await asyncio.to_thread(_write_settings, config)
            await child.start()
        except (ChildStartError, OSError) as error:
            why = f"gateway: {_settings_path(config)}: {reason(error)}" if isinstance(error, OSError) else str(error)
            if why != said:
                log.error("%s; this device continues without it, and tries again", why)
                said = why
                on_problem(said)
            await asyncio.sleep(pause_s)
            pause_s = min(2 * pause_s, RETRY_MAX_S)
        else:
            section = config.gateway
            scheme = "https" if section.cert_file is not None else "http"
            log.info("the gateway serves %s://%s:%d/v1", scheme, section.host, section.port)
            on_problem("")
            await asyncio.Event().wait()


def _check_port(config: AgentConfig) -> None:
    """Whoever has the port already would be taken for our child.

    Raises:
        ChildStartError: somebody has it.
    """
    section = config.gateway
    if not port_is_free(section.host, section.port):
        raise ChildStartError(f"gateway: cannot listen on {section.host}:{section.port}, another program listens there")


def _command(config: AgentConfig) -> list[str]:
    path = str(_settings_path(config))
    return [sys.executable, "-m", "edge_agent.gateway", "--config", path, "--stop-timeout", str(GRACE_S)]


def _write_settings(config: AgentConfig) -> None:
    """Writes what the gateway reads.

    Raises:
        OSError: it cannot be written, as on a full disk.
    """
    kept = {
        "device": config.device.model_copy(update={"data_dir": config.data_dir.absolute()}),
        "broker": _with_absolute_paths(config.broker),
        "gateway": _with_absolute_paths(config.gateway),
    }
    # The other sections are none of its business, and hold secrets: a database's token, an engine's key.
    left_out = {"engine": EngineSection(), "agent": AgentSettings(), "telemetry": TelemetrySection()}
    write_config(config.model_copy(update=kept | left_out | dict.fromkeys(LISTS, ())), _settings_path(config))


def _settings_path(config: AgentConfig) -> Path:
    return config.data_dir.absolute() / CONFIG_FILE


def _with_absolute_paths(section: Section) -> Section:
    """In a file paths count from its folder; those of --set and the environment count from where we were started."""
    paths = {name: value.absolute() for name, value in section if isinstance(value, Path)}
    return section.model_copy(update=paths)


def _environment() -> dict[str, str]:
    """Without the settings of this process: they are in the file already, where --set counts over them."""
    return {
        name: value
        for name, value in os.environ.items()
        if not (name.upper().startswith(ENV_PREFIX) and ENV_DELIMITER in name)
    }


async def _answers(config: AgentConfig, timeout_s: float) -> bool:
    """Whether it says in time that it lives."""
    section = config.gateway
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(section.host, section.host)  # noqa: S104 - asked, not bound
    context = None
    if section.cert_file is not None:
        context = ssl.create_default_context()
        context.check_hostname = False  # this is our own child on our own address: alive or not is all we ask
        context.verify_mode = ssl.CERT_NONE
    return await says_it_lives(host, section.port, timeout_s, context)


async def says_it_lives(host: str, port: int, timeout_s: float, context: ssl.SSLContext | None = None) -> bool:
    """Whether a gateway says in time that it lives."""
    try:
        async with asyncio.timeout(timeout_s):
            reader, writer = await asyncio.open_connection(host, port, ssl=context)
            try:
                writer.write(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
                return b" 200 " in await reader.readline()
            finally:
                writer.close()
    except (OSError, TimeoutError, ValueError):  # ValueError: a line without end, from who is no web server
        return False
