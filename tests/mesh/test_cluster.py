"""A cluster of two brokers under load: either node dies, and devices and users go on at the other."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import secrets
from collections.abc import AsyncIterator, Awaitable, Callable
from functools import partial
from pathlib import Path

import aiomqtt
import pytest

from edge_agent.config import AgentConfig, BrokerSection, DeviceSection, EngineSection, write_config
from edge_agent.core.chat import ChatMessage, PromptOptions, Role
from edge_agent.core.errors import ProtocolError
from edge_agent.core.messages import Answer, Prompt, PromptReceipt, PromptRefusal
from edge_agent.core.states import Outcome
from edge_agent.fleet.device_process import DeviceProcess
from edge_agent.mqtt import TlsFiles, open_client
from edge_agent.tasks import within
from edge_agent.wire import topics
from edge_agent.wire.codec import decode, encode
from tests.support.ejabberd import Cluster, running_cluster
from tests.support.patience import PATIENCE_S
from tests.support.polling import until
from tests.support.secured import SecuredMesh

pytestmark = pytest.mark.broker

DEVICES = ("device-1", "device-2", "device-3")
INTERVAL_S = 0.5
OPEN_MAX = 10  # prompts without an answer: a machine that cannot keep up is asked less
"""Between two prompts: three inferences of 0.05 s each, on three devices. What is tested is loss, not speed."""
AGAIN_S = 2.0  # without a receipt a prompt is sent again, as every client does


class User:
    """Connected to every node at once, so that what is seen is the mesh's doing and not the user's.

    Sends again what is not answered whenever a node takes it back, as every client does: an answer that a node had
    acknowledged dies with that node.
    """

    def __init__(self, cluster: Cluster) -> None:
        credentials = cluster.mesh.user("alice")
        assert credentials.username is not None
        self._name, self._login, self._password = "alice", credentials.username, credentials.password
        self._cluster = cluster
        self._clients: dict[int, aiomqtt.Client] = {}
        self._sent: dict[str, tuple[str, bytes]] = {}
        self.receipts: set[str] = set()
        self.answers: dict[str, list[Answer]] = {}
        self.refused: list[PromptRefusal] = []

    @contextlib.asynccontextmanager
    async def connected(self) -> AsyncIterator[None]:
        tasks = [asyncio.create_task(self._stay(node)) for node in range(len(self._cluster.nodes))]
        try:
            await until(lambda: len(self._clients) == len(tasks), "the user is connected")
            yield
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.wait(tasks)

    async def ask(self, device: str) -> str:
        """Asks, again and again until the device says that it has the prompt; returns the prompt's id."""
        mesh = self._cluster.mesh.name
        prompt = Prompt(
            secrets.token_hex(16),
            (ChatMessage(Role.USER, "Why is the sky blue?"),),
            PromptOptions(layers=1, fanout=2, deadline_s=PATIENCE_S),
        )
        body = encode(prompt)
        topic = topics.written_by(self._login, mesh, device, topics.Channel.PROMPTS)
        self._sent[prompt.prompt_id] = topic, body
        async with asyncio.timeout(PATIENCE_S):
            while prompt.prompt_id not in self.receipts | set(self.answers):
                for client in list(self._clients.values()):
                    with contextlib.suppress(aiomqtt.MqttError):
                        await client.publish(topic, body, qos=1, timeout=AGAIN_S)
                        break
                with contextlib.suppress(AssertionError):
                    await until(partial(self.receipts.__contains__, prompt.prompt_id), "a receipt", AGAIN_S)
        return prompt.prompt_id

    async def _stay(self, node: int) -> None:
        endpoint = self._cluster.password_endpoint(node)
        answers = topics.topic_filter(self._cluster.mesh.name, topics.ANY, topics.Channel.ANSWERS, self._login)
        while True:
            with contextlib.suppress(aiomqtt.MqttError, OSError):
                async with open_client(
                    f"mqtts://{endpoint.host}:{endpoint.port}",
                    client_id=f"alice-{secrets.token_hex(6)}",
                    username=self._login,
                    password=self._password,
                    tls=TlsFiles(str(endpoint.ca)),
                ) as client:
                    await client.subscribe(answers, qos=1)
                    self._clients[node] = client
                    for prompt_id, (topic, body) in list(self._sent.items()):
                        if prompt_id not in self.answers:
                            await client.publish(topic, body, qos=1)
                    async for message in client.messages:
                        self._take(bytes(message.payload))
            self._clients.pop(node, None)
            await asyncio.sleep(0.2)

    def _take(self, body: bytes) -> None:
        with contextlib.suppress(ProtocolError):
            message = decode(body)
            if isinstance(message, PromptReceipt):
                self.receipts.add(message.prompt_id)
            elif isinstance(message, Answer):
                self.answers.setdefault(message.prompt_id, []).append(message)
            elif isinstance(message, PromptRefusal):
                self.refused.append(message)


@contextlib.asynccontextmanager
async def devices_of(cluster: Cluster, folder: Path) -> AsyncIterator[list[DeviceProcess]]:
    """Agent processes that know both nodes."""
    mesh = cluster.mesh
    processes = []
    for name in DEVICES:
        credentials = mesh.device(name)
        home = folder / name
        home.mkdir()
        section = BrokerSection(
            urls=tuple(cluster.urls),
            ca_file=mesh.ca,
            crl_file=mesh.crl,
            cert_file=credentials.certificate,
            key_file=credentials.key,
            username=name,
        )
        config = AgentConfig(
            device=DeviceSection(id=name, mesh=mesh.name, data_dir=home),
            broker=section,
            engine=EngineSection(kind="synthetic", service="deterministic:0.05"),
        )
        write_config(config, home / "agent.toml")
        processes.append(DeviceProcess(name, home / "agent.toml", home / "agent.log"))
    try:
        for process in processes:
            await process.start()
        yield processes
    finally:
        await asyncio.gather(*(process.stop() for process in processes))


async def ask_on(user: User, asked: list[str], stop: asyncio.Event) -> None:
    """A steady stream of prompts to the devices in turn."""
    asking: list[asyncio.Task[str]] = []
    for device in itertools.cycle(DEVICES):
        if stop.is_set():
            break
        if len(asking) - len(user.answers) < OPEN_MAX:
            asking.append(asyncio.create_task(user.ask(device)))
        with contextlib.suppress(TimeoutError):
            await within(stop.wait(), INTERVAL_S)
    asked += await asyncio.gather(*asking)


@pytest.mark.long
async def test_either_node_is_killed_under_load_and_no_accepted_prompt_is_lost(tmp_path: Path) -> None:
    mesh = SecuredMesh(tmp_path)
    async with running_cluster(mesh, tmp_path) as cluster:
        user = User(cluster)
        async with devices_of(cluster, tmp_path) as processes, user.connected():
            first = await user.ask(DEVICES[0])  # the devices are up
            await until(lambda: first in user.answers, "the first answer", PATIENCE_S)
            asked: list[str] = []
            stop = asyncio.Event()
            load = asyncio.create_task(ask_on(user, asked, stop))

            async def more_answers(count: int) -> None:
                wanted = len(user.answers) + count
                await until(lambda: len(user.answers) >= wanted, f"{count} more answers", PATIENCE_S)

            await more_answers(4)
            for node in cluster.nodes:
                await _while_dead(node.kill, node.start, more_answers)
            stop.set()
            await load
            await until(lambda: set(asked) <= set(user.answers), "all that was accepted is answered", PATIENCE_S)
            assert user.refused == []
            assert {answer.outcome for given in user.answers.values() for answer in given} == {Outcome.ANSWERED}
            assert user.receipts <= set(user.answers), "a prompt was accepted and not answered"
            assert len(asked) > 20
            assert all(process.exit_status is None for process in processes), "a device died with the broker"


async def _while_dead(
    kill: Callable[[], Awaitable[None]], start: Callable[[], Awaitable[None]], more: Callable[[int], Awaitable[None]]
) -> None:
    await kill()
    await more(8)  # answers go on without it
    await start()
    await more(4)
