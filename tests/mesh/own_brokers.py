"""Devices with a broker each, in a namespace each, and users who ask them from where they are."""

from __future__ import annotations

import asyncio
import contextlib
import secrets
import sys
import time
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from broker.local_login import LOCAL_SECRET_FILE
from edge_agent.client import Access, AskTimeoutError, ClientSettings, MeshClient, NoReceiptError
from edge_agent.config import AgentConfig, BrokerSection, DeviceSection, EngineSection, SeedSection, write_config
from edge_agent.core.messages import Answer, DeviceToUser, PromptOptions, PromptReceipt
from edge_agent.core.settings import AgentSettings
from edge_agent.core.states import Outcome
from edge_agent.tasks import within
from edge_agent.wire.topics import ANYBODY
from provisioning.authority import MeshAuthority
from tests.support.namespaces import Inside, Network, network
from tests.support.patience import PATIENCE_S
from tests.support.polling import until

MESH = "test"
OPEN_MAX = 6
LOCAL_URL = "mqtt://127.0.0.1:1883"
AGENT = AgentSettings(
    gossip_interval_s=0.5, suspect_after_s=3.0, dead_after_s=8.0, status_interval_s=1.0, receipt_timeout_s=1.0
)
PATIENT = ClientSettings(connect_timeout_s=PATIENCE_S, sends_max=12)


@dataclass
class Asked:
    """A prompt and what became of it."""

    prompt_id: str
    device: str
    accepted: bool = False
    answers: list[Answer] = field(default_factory=list)
    failure: str = ""

    @property
    def answered(self) -> bool:
        """Whether there is exactly one answer, and a good one."""
        return [answer.outcome for answer in self.answers] == [Outcome.ANSWERED]


class User:
    """Asks one device, from the device itself, at a steady pace until told to stop, and watches its status.

    A machine that cannot keep up with the pace is asked less: at most `OPEN_MAX` prompts are open at a time.
    """

    def __init__(self, device: str, secret: Path, namespace: str, *, deadline_s: float, interval_s: float) -> None:
        self.device = device
        self.asked: list[Asked] = []
        self.peers_alive = -1
        self.asking = False
        self._ends = False
        self._deadline_s = deadline_s
        self._secret = secret
        self._interval_s = interval_s
        self._inside = Inside(namespace, self._live)

    @property
    def open(self) -> int:
        """Prompts of which the end has not come."""
        return sum(not (one.answers or one.failure) for one in self.asked)

    @property
    def answered(self) -> int:
        """Prompts with an answer."""
        return sum(bool(one.answers) for one in self.asked)

    async def end(self) -> None:
        """Asks no more and waits for what is open."""
        self.asking = False
        self._ends = True
        await self._inside.end(PATIENCE_S)

    async def _live(self) -> None:
        await until(self._secret.exists, f"{self._secret} is there")
        access = Access(ANYBODY, self._secret.read_text().strip())
        async with (
            MeshClient(LOCAL_URL, MESH, access=access, settings=PATIENT) as client,
            asyncio.TaskGroup() as open_prompts,
        ):
            await client.start_watching()
            while not self._ends:
                view = client.roster.get(self.device)
                if view is not None and view.status is not None:
                    self.peers_alive = view.status.peers_alive
                if self.asking and self.open < OPEN_MAX:
                    open_prompts.create_task(self._ask(client))
                await asyncio.sleep(self._interval_s)

    async def _ask(self, client: MeshClient) -> None:
        asked = Asked(secrets.token_hex(8), self.device)
        self.asked.append(asked)

        def take(message: DeviceToUser) -> None:
            asked.accepted = asked.accepted or isinstance(message, PromptReceipt)
            if isinstance(message, Answer):
                asked.answers.append(message)

        options = PromptOptions(layers=1, fanout=2, deadline_s=self._deadline_s)
        try:
            end = await client.ask_to_end(
                self.device, "why?", options, prompt_id=asked.prompt_id, timeout_s=self._deadline_s, on_message=take
            )
            if not isinstance(end, Answer):
                asked.failure = str(end)
        except (NoReceiptError, AskTimeoutError) as error:
            asked.failure = str(error)


class OwnBrokers:
    """The devices of a test. Enter it by `own_brokers`."""

    def __init__(self, net: Network, names: Sequence[str], folder: Path, **broker: Any) -> None:
        self.net = net
        self.names = tuple(names)
        self.users: dict[str, User] = {}
        self._folder = folder
        self._broker = broker
        self._processes: dict[str, asyncio.subprocess.Process] = {}
        self._authority = MeshAuthority.create(folder / "ca", MESH)

    async def start(self, name: str, seeds: Sequence[str] = ()) -> None:
        """Starts a device, with the identity and journal that it had."""
        path = self._folder / name / "agent.toml"
        if not path.exists():
            self._provision(name, path, seeds)
        command = (sys.executable, "-m", "edge_agent.fleet.agent_process")
        log = path.with_name("agent.log")
        self._processes[name] = await self.net.start(name, *command, "--config", str(path), log=log)

    async def kill(self, name: str) -> None:
        """Power off: agent and broker are gone in the same moment."""
        await asyncio.to_thread(self.net.cut_power, name)
        await self._processes[name].wait()

    def admit_user(self, name: str, **options: float) -> User:
        """Has a user at this device."""
        options = {"deadline_s": PATIENCE_S, "interval_s": 0.7, **options}
        secret = self._folder / name / "data" / LOCAL_SECRET_FILE
        self.users[name] = User(name, secret, self.net.namespace(name), **options)
        return self.users[name]

    async def until_all_know(self, names: Sequence[str], what: str, wait_s: float = PATIENCE_S) -> None:
        """Waits until each of these counts all the others as alive."""
        wanted = len(names) - 1

        def known() -> bool:
            return all(self.users[name].peers_alive == wanted for name in names)

        try:
            await until(known, what, wait_s)
        except AssertionError:
            counted = {name: self.users[name].peers_alive for name in names}
            raise AssertionError(f"{what}: alive peers {counted}, wanted {wanted}\n{self._tail(names)}") from None

    async def stop(self) -> None:
        """Ends users and devices."""
        for process in self._processes.values():
            if process.returncode is None:
                process.terminate()
        for name, process in self._processes.items():
            with contextlib.suppress(TimeoutError):
                await within(process.wait(), PATIENCE_S)
            await self.kill(name)

    def _tail(self, names: Sequence[str]) -> str:
        logs = [(name, (self._folder / name / "agent.log").read_text(errors="replace")) for name in names]
        return "\n".join(f"--- {name}\n" + "\n".join(text.splitlines()[-8:]) for name, text in logs)

    def _provision(self, name: str, path: Path, seeds: Sequence[str]) -> None:
        identity = self._authority.issue_device(name)  # names the device, no address
        path.parent.mkdir()
        path.with_name("device.pem").write_bytes(identity.certificate_pem)
        path.with_name("device.key").write_bytes(identity.key_pem)
        config = AgentConfig(
            device=DeviceSection(id=name, mesh=MESH, data_dir=path.parent / "data"),
            broker=BrokerSection(
                mode="own",
                ca_file=self._folder / "ca" / "ca.pem",
                crl_file=self._folder / "ca" / "crl.pem",
                cert_file=path.with_name("device.pem"),
                key_file=path.with_name("device.key"),
                **self._broker,
            ),
            engine=EngineSection(kind="synthetic", service="gamma:4,0.1"),
            agent=AGENT,
            seeds=tuple(
                SeedSection(device_id=seed, home_broker=f"mqtts://{self.net.address(seed)}:8883") for seed in seeds
            ),
        )
        write_config(config, path)


@contextlib.asynccontextmanager
async def own_brokers(names: Sequence[str], folder: Path, **broker: Any) -> AsyncIterator[OwnBrokers]:
    """A network with a host for each name; nothing is started yet."""
    async with network(names) as net:
        devices = OwnBrokers(net, names, folder, **broker)
        try:
            yield devices
        finally:
            for user in devices.users.values():
                user._ends = True
            await devices.stop()


def elapsed(since: float) -> str:
    """Seconds since, for what a test prints."""
    return f"{time.monotonic() - since:.1f} s"
