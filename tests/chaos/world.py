"""A whole mesh of real processes on a network of its own: broker, database, gateway, operator's service, devices."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import httpx

from broker.kinds import find_mosquitto
from edge_agent.adapters.telemetry import TelemetryServer
from edge_agent.config import AgentConfig, BrokerSection, DeviceSection, EngineSection, InfluxSection, write_config
from edge_agent.core.settings import AgentSettings
from provisioning.mesh import MeshFolder, MeshSettings
from tests.chaos.programs import Program
from tests.chaos.schedule import BROKER, DATABASE, GATEWAY, OPERATOR, USERS
from tests.chaos.switch import Switch
from tests.support.patience import PATIENCE_S

MESH = "chaos"
MQTT_PORT, OPERATOR_PORT, DATABASE_PORT, GATEWAY_PORT = 1883, 8883, 8086, 8080
DISK_BYTES = 48 * 1024 * 1024  # of each device: journal and telemetry of thousands of prompts, quick to fill
SERVICE_MEAN_S = 0.3  # of an inference: long enough for faults to hit prompts under way
SERVICE = f"gamma:4,{SERVICE_MEAN_S}"
MODEL_CONTEXT = 1024
FAKETIME = sorted(Path("/usr/lib").glob("*/faketime/libfaketimeMT.so.1"))
DATABASE_NAME = "moamesh"
KEPT_S = 86_400.0  # answers are fetched again at the end of a run, however long it is
KEPT_BYTES = 24 * 1024 * 1024

_MOSQUITTO = """\
user root
per_listener_settings true
set_tcp_nodelay true
max_queued_messages 10000
listener {port} 0.0.0.0
allow_anonymous true
listener {operator_port} 0.0.0.0
cafile {mesh}/ca.pem
certfile {folder}/broker.pem
keyfile {folder}/broker.key
require_certificate true
use_identity_as_username true
"""
_INFLUXDB = """\
reporting-disabled = true
bind-address = "127.0.0.1:8088"
[meta]
dir = "{folder}/meta"
logging-enabled = false
[data]
dir = "{folder}/data"
wal-dir = "{folder}/wal"
query-log-enabled = false
cache-max-memory-size = 67108864
cache-snapshot-memory-size = 4194304
[monitor]
store-enabled = false
[http]
bind-address = "0.0.0.0:{port}"
log-enabled = false
auth-enabled = false
[continuous_queries]
enabled = false
"""


@dataclass(frozen=True)
class Size:
    """How large the mesh is.

    models: how many of the devices run llama.cpp; they are the last ones.
    model_file: what they run.
    disks: whether each device has a small disk of its own, a tmpfs.
    clocks: whether devices' clocks can be set (libfaketime).
    kept_long: ends are kept for as long as a run lasts, in place of the default.
    """

    devices: int = 5
    models: int = 0
    model_file: Path | None = None
    disks: bool = True
    clocks: bool = True
    kept_long: bool = True


class World:
    """Everything that runs, in a folder of its own. Must be made inside namespaces of its own (`__main__`).

    After `start` you must `end`.
    """

    def __init__(self, folder: Path, size: Size, seed: int) -> None:
        self.folder = folder
        self.size = size
        self.devices = tuple(f"d{number}" for number in range(1, size.devices + 1))
        self.models = self.devices[size.devices - size.models :] if size.models else ()
        self.switch = Switch((USERS, BROKER, DATABASE, *self.devices), seed)
        self.broker_url = f"mqtt://{self.switch.address(BROKER)}:{MQTT_PORT}"
        self.gateway_url = f"http://127.0.0.1:{GATEWAY_PORT}"
        self.database = TelemetryServer(
            f"http://{self.switch.address(DATABASE)}:{DATABASE_PORT}", DATABASE_NAME, timeout_s=PATIENCE_S
        )
        self.programs: dict[str, Program] = {}

    def data(self, device: str) -> Path:
        """A device's disk."""
        return self.folder / "data" / device

    def clock_file(self, device: str) -> Path:
        """Says how far a device's clock is off."""
        return self.folder / "clocks" / device

    async def start(self) -> None:
        """Starts everything; returns when each has said that it is there, except the devices."""
        for name in ("logs", "clocks", "config", "home/meshes", "influxdb"):
            (self.folder / name).mkdir(parents=True, exist_ok=True)
        self.switch.build()
        mesh = self._make_operator()
        for program in (self._mosquitto(mesh), self._influxdb(), self._operator(), self._gateway()):
            self.programs[program.name] = program
        for device in self.devices:
            self._make_disk(device)
            self.programs[device] = self._device(device)
        await self.programs[BROKER].start()
        await self._listens(BROKER, MQTT_PORT)
        await self.programs[DATABASE].start()
        await self._listens(DATABASE, DATABASE_PORT)
        await asyncio.to_thread(self._make_database)
        await asyncio.gather(*(program.start() for program in self.programs.values()))

    async def start_all(self) -> None:
        """Starts what does not run, and lets go on what is stopped."""
        for program in self.programs.values():
            program.signal(signal.SIGCONT)
            program.feed()
            await program.start()

    async def end(self) -> dict[str, int | None]:
        """Ends everything in order, the broker and the database last; returns how each ended."""
        ended: dict[str, int | None] = {}
        last = [self.programs[name] for name in (BROKER, DATABASE) if name in self.programs]
        first = [program for program in self.programs.values() if program not in last]
        for group in (first, last):
            found = await asyncio.gather(*(program.end() for program in group))
            ended.update(zip((program.name for program in group), found, strict=True))
        self.switch.close()
        return ended

    async def kill(self) -> None:
        """Ends everything at once. May be called at any time."""
        for program in self.programs.values():
            with contextlib.suppress(OSError):
                await program.kill()

    # --- what runs --------------------------------------------------------------------------------------------------

    def _program(self, name: str, host: str, *command: str, **more: object) -> Program:
        group = f"{self.folder.name}-{name}"
        return Program(name, command, self.folder / "logs" / f"{name}.log", host, group=group, **more)  # type: ignore[arg-type]  # by name

    def _make_operator(self) -> MeshFolder:
        url = f"mqtts://{self.switch.address(BROKER)}:{OPERATOR_PORT}"
        mesh = MeshFolder.create(self.folder / "home" / "meshes" / MESH, MeshSettings(MESH, (url,), url))
        identity = mesh.authority(None).issue_broker([self.switch.address(BROKER)])
        (self.folder / "broker.pem").write_bytes(identity.certificate_pem)
        key = self.folder / "broker.key"
        key.touch(mode=0o600)
        key.write_bytes(identity.key_pem)
        return mesh

    def _mosquitto(self, mesh: MeshFolder) -> Program:
        path = self.folder / "config" / "mosquitto.conf"
        path.write_text(
            _MOSQUITTO.format(port=MQTT_PORT, operator_port=OPERATOR_PORT, mesh=mesh.folder, folder=self.folder)
        )
        return self._program(BROKER, BROKER, find_mosquitto() or "mosquitto", "-c", str(path))

    def _influxdb(self) -> Program:
        path = self.folder / "config" / "influxdb.conf"
        path.write_text(_INFLUXDB.format(folder=self.folder / "influxdb", port=DATABASE_PORT))
        return self._program(DATABASE, DATABASE, "influxd", "-config", str(path))

    def _operator(self) -> Program:
        command = (sys.executable, "-m", "edge_agent.cli.main", "mesh", "serve", MESH)
        return self._program(OPERATOR, "", *command, environment={"MOAMESH_HOME": str(self.folder / "home")})

    def _gateway(self) -> Program:
        command = (sys.executable, "-m", "edge_agent.cli.main", "gateway", "--broker", self.broker_url, "--mesh", MESH)
        where = ("--host", "127.0.0.1", "--port", str(GATEWAY_PORT))
        environment = {"MOAMESH_HOME": str(self.folder / "home")}
        return self._program(GATEWAY, "", *command, *where, environment=environment)

    def _device(self, device: str) -> Program:
        path = self.folder / "config" / f"{device}.toml"
        write_config(self._config(device), path)
        environment: dict[str, str] = {"OMP_NUM_THREADS": "1"}
        if self.size.clocks:
            self.clock_file(device).write_text("+0\n")
            environment |= {
                "LD_PRELOAD": str(FAKETIME[0]),
                "FAKETIME_TIMESTAMP_FILE": str(self.clock_file(device)),
                "FAKETIME_NO_CACHE": "1",
                "DONT_FAKE_MONOTONIC": "1",
            }
        command = (sys.executable, "-m", "edge_agent.fleet.agent_process", "--config", str(path))
        return self._program(device, device, *command, environment=environment)

    def _config(self, device: str) -> AgentConfig:
        engine = EngineSection(kind="synthetic", service=SERVICE)
        if device in self.models:
            engine = EngineSection(
                kind="llama", model=str(self.size.model_file), threads=1, context_tokens=MODEL_CONTEXT
            )
        settings = AgentSettings(status_interval_s=2.0)
        if self.size.kept_long:
            settings = replace(settings, answers_kept_s=KEPT_S, answers_bytes_max=KEPT_BYTES)
        return AgentConfig(
            device=DeviceSection(id=device, mesh=MESH, data_dir=self.data(device)),
            broker=BrokerSection(urls=(self.broker_url,)),
            engine=engine,
            agent=settings,
            influx=[InfluxSection(url=self.database.url, database=DATABASE_NAME, kind="influxdb-1")],
        )

    def _make_disk(self, device: str) -> None:
        self.data(device).mkdir(parents=True)
        if self.size.disks:
            options = f"size={DISK_BYTES},mode=700"
            subprocess.run(["mount", "-t", "tmpfs", "-o", options, device, str(self.data(device))], check=True)

    async def _listens(self, host: str, port: int) -> None:
        """Waits until somebody does. Never blocks: the frames go through this very loop."""
        async with asyncio.timeout(PATIENCE_S):
            while True:
                with contextlib.suppress(OSError, TimeoutError):
                    async with asyncio.timeout(1.0):
                        _, writer = await asyncio.open_connection(self.switch.address(host), port)
                    writer.close()
                    return
                await asyncio.sleep(0.05)

    def _make_database(self) -> None:
        query = {"q": f'CREATE DATABASE "{DATABASE_NAME}"'}
        httpx.post(f"{self.database.url}/query", params=query, timeout=PATIENCE_S).raise_for_status()


async def until(condition: Callable[[], bool], what: str, wait_s: float = PATIENCE_S) -> None:
    """Polls until `condition` holds.

    Raises:
        TimeoutError: it does not, with `what` in words.
    """
    try:
        async with asyncio.timeout(wait_s):
            while not condition():  # noqa: ASYNC110 -- waits for many unlike things, none an asyncio.Event
                await asyncio.sleep(0.05)
    except TimeoutError:
        raise TimeoutError(f"did not happen in {wait_s:g} s: {what}") from None


def other_processes() -> list[str]:
    """What else runs in our namespace of processes but ourselves and its first one, as `pid command`."""
    found = []
    for folder in Path("/proc").iterdir():
        if folder.name.isdigit() and int(folder.name) not in (1, os.getpid()):
            with contextlib.suppress(OSError):
                command = (folder / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace").strip()
                if command:  # zombies have none; the first process reaps them
                    found.append(f"{folder.name} {command[:120]}")
    return found
