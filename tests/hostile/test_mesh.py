"""A mesh with certificates and logins on a real broker, and in it a device, a user and a process without any name that
do whatever they can. Honest devices and users must not notice. Results are counts, never times."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import json
import os
import re
import signal
import sys
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest

from broker.mosquitto import MosquittoBroker
from edge_agent.children.parent import with_parent
from edge_agent.client import Access, ClientSettings, MeshClient
from edge_agent.core import messages as m
from edge_agent.core.states import Outcome
from edge_agent.mqtt import TlsFiles
from edge_agent.tasks import within
from tests.hostile.attacker import Plan
from tests.support.patience import PATIENCE_S
from tests.support.polling import until
from tests.support.secured import HOST, SecuredMesh

pytestmark = [pytest.mark.broker, pytest.mark.long]

HONEST = ("kitchen", "garage", "cellar")
LIAR = "mallory"
ROUNDS = 2
OPEN = 2  # prompts of the honest user at a time on each device
BEFORE, AFTER = 3, 3  # honest answers of each device before the attack begins, and after it has ended
PEAK_BYTES_MAX = 160 * 1000 * 1000
"""Of one agent, ever: 60 MB at rest, 8 MiB each for queue and answers, and the inbox, where large bodies wait."""
TRIES_MAX = 20  # of one prompt, each after the time that the refusal named
LOG_LINES_MAX = 400  # of one agent: 64 kinds of what is no message are told apart, each a line in ten minutes
PATIENT = ClientSettings(connect_timeout_s=PATIENCE_S, sends_max=20)

AGENT = """
[device]
id = "{name}"
mesh = "home"
data_dir = "{name}-data"
[broker]
urls = ["mqtts://{host}:{port}"]
ca_file = "{ca}"
crl_file = "{crl}"
cert_file = "{certificate}"
key_file = "{key}"
mdns = false
[engine]
kind = "synthetic"
service = "deterministic:0.02"
[agent]
layers = 1
fanout = 2
status_interval_s = 0.5
gossip_interval_s = 0.5
"""


class Device:
    """An honest device as a process."""

    def __init__(self, mesh: SecuredMesh, name: str, port: int) -> None:
        credentials = mesh.device(name)
        self.name = name
        self.log = mesh.folder / f"{name}.log"
        self._config = mesh.folder / f"{name}.toml"
        self._config.write_text(
            AGENT.format(
                name=name,
                host=HOST,
                port=port,
                ca=mesh.ca,
                crl=mesh.crl,
                certificate=credentials.certificate,
                key=credentials.key,
            )
        )
        self.process: asyncio.subprocess.Process | None = None

    async def start(self) -> None:
        """Starts it."""
        with self.log.open("ab") as log:
            self.process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-m", "edge_agent.fleet.agent_process"),
                *("--config", str(self._config)),
                stdout=log,
                stderr=log,
                preexec_fn=with_parent(signal.SIGTERM),
            )

    @property
    def peak_bytes(self) -> int:
        """The most memory that it ever had."""
        assert self.process is not None
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        found = re.search(r"VmHWM:\s+(\d+) kB", status)
        assert found is not None
        return int(found[1]) * 1024


class HonestUser:
    """Alice: asks each device, `OPEN` prompts at a time, until told to stop."""

    def __init__(self, client: MeshClient) -> None:
        self.client = client
        self.answers: dict[str, list[m.Answer]] = {name: [] for name in HONEST}
        self.failures: list[str] = []
        self.told: dict[str, int] = {}
        """How often each prompt was said to have ended."""
        self.put_off = 0
        """How often it was told to ask again."""
        self.ends = False
        self._asked = 0

    async def live(self) -> None:
        """Asks."""
        async with asyncio.TaskGroup() as asking:
            for name in HONEST:
                for _ in range(OPEN):
                    asking.create_task(self._ask_on(name))

    async def _ask_on(self, device: str) -> None:
        while not self.ends:
            prompt_id = f"honest-{self._asked}"
            self._asked += 1

            def count(message: m.DeviceToUser, prompt_id: str = prompt_id) -> None:
                if isinstance(message, m.Answer):
                    self.told[prompt_id] = self.told.get(prompt_id, 0) + 1

            end = await self._until_taken(device, prompt_id, count)
            if isinstance(end, m.Answer):
                self.answers[device].append(end)
            else:
                self.failures.append(f"{device}: {end}")

    async def _until_taken(self, device: str, prompt_id: str, seen: Callable[[m.DeviceToUser], None]) -> m.DeviceToUser:
        """As any client: who is told that the device has no room just now asks again when it was told to."""
        options = m.PromptOptions(layers=1, fanout=2, deadline_s=PATIENCE_S)
        for _ in range(TRIES_MAX):
            end = await self.client.ask_to_end(
                device, "why?", options, prompt_id=prompt_id, timeout_s=PATIENCE_S, on_message=seen
            )
            if not (isinstance(end, m.PromptRefusal) and end.reason is m.RefusalReason.OVERLOADED):
                break
            self.put_off += 1
            await asyncio.sleep(end.retry_after_s or 0.0)
        return end

    async def has_answers(self, each: int) -> None:
        """Waits until each device has given so many more answers."""
        wanted = {name: len(answers) + each for name, answers in self.answers.items()}
        await until(
            lambda: bool(self.failures) or all(len(self.answers[name]) >= count for name, count in wanted.items()),
            f"{each} more answers of each",
        )


@contextlib.asynccontextmanager
async def devices_of(mesh: SecuredMesh, broker: MosquittoBroker) -> AsyncIterator[list[Device]]:
    devices = [Device(mesh, name, broker.port) for name in HONEST]
    try:
        for device in devices:
            await device.start()
        yield devices
    finally:
        for device in devices:
            if device.process is not None and device.process.returncode is None:
                device.process.terminate()
                await within(device.process.wait(), PATIENCE_S)


def plans_of(mesh: SecuredMesh, broker: MosquittoBroker, seed: str) -> list[Plan]:
    """The three who attack."""
    listeners = broker._files.config.listeners
    ports = [port for port in (listeners.devices, listeners.passwords, listeners.web) if port is not None]
    liar, eve = mesh.device(LIAR), mesh.user("eve")
    common = {
        **{"mesh": mesh.name, "devices": [*HONEST, LIAR], "others": ["user.alice", "kitchen", "operator", "me"]},
        **{"ports": ports, "ca": str(mesh.ca), "rounds": ROUNDS, "seed": seed},
    }
    certificate = {"certificate": str(liar.certificate), "key": str(liar.key), "crl": str(mesh.crl)}
    login = {"username": eve.username, "password": eve.password}
    whole: list[dict[str, Any]] = [
        {"kind": "peer", "name": LIAR, "endpoint": ports[0], **certificate, **common},
        {"kind": "user", "name": "user.eve", "endpoint": ports[1], **login, **common},
        {"kind": "stranger", "name": "nobody", "endpoint": ports[1], **common},
    ]
    return [Plan(**fields) for fields in whole]


async def attack(folder: Path, plan: Plan) -> dict[str, object]:
    """Runs one attacker to its end, and returns what came of it."""
    file = folder / f"{plan.kind}.json"
    file.write_text(json.dumps(dataclasses.asdict(plan)))
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "tests.hostile.attacker", str(file)), stdout=asyncio.subprocess.PIPE
    )
    said, _ = await process.communicate()
    assert process.returncode == 0, f"the {plan.kind} failed"
    done: dict[str, object] = json.loads(said)
    print(plan.kind, done)
    return done


def check_right(answer: m.Answer, device: str) -> None:
    """An answer is this device's own work, and says whose proposals went into it."""
    assert answer.outcome is Outcome.ANSWERED
    assert answer.device_id == device
    assert not answer.partial
    assert answer.text.startswith("[synthetic] no language model")
    assert answer.provenance.aggregation is not None
    assert answer.provenance.aggregation.device_id == device
    made_by = {work.device_id for layer in answer.provenance.layers for work in layer}
    assert made_by <= {*HONEST, LIAR}
    assert device in made_by


async def test_honest_devices_and_users_go_on_whatever_a_peer_a_user_and_a_stranger_do(tmp_path: Path) -> None:
    mesh, seed = SecuredMesh(tmp_path), os.environ.get("HOSTILE_SEED", os.urandom(4).hex())
    print(f"HOSTILE_SEED={seed}")
    alice = mesh.user("alice")
    broker = mesh.broker(tmp_path / "broker", web=True)
    plans = plans_of(mesh, broker, seed)
    access = Access(alice.username, alice.password, TlsFiles(ca=str(mesh.ca)))
    async with broker, devices_of(mesh, broker) as devices:
        url = f"mqtts://{HOST}:{plans[1].endpoint}"
        async with MeshClient(url, mesh.name, access=access, settings=PATIENT) as client:
            await client.start_watching()
            await until(lambda: all(client.roster.get(name) is not None for name in HONEST), "all are there")
            user = HonestUser(client)
            async with asyncio.TaskGroup() as living:
                living.create_task(user.live())
                try:
                    await user.has_answers(BEFORE)
                    results = await asyncio.gather(*(attack(tmp_path, plan) for plan in plans))
                    await user.has_answers(AFTER)
                finally:
                    user.ends = True
            counted = {name: client.roster.get(name).status for name in HONEST}  # type: ignore[union-attr]  # see above
        for device in devices:
            assert device.process is not None
            assert device.process.returncode is None, f"{device.name} is gone"
            lines = device.log.read_text(errors="replace").splitlines()
            print(f"{device.name}: {device.peak_bytes / 1e6:.0f} MB at most, {len(lines)} lines of log")
            assert device.peak_bytes < PEAK_BYTES_MAX
            assert len(lines) < LOG_LINES_MAX
            assert not [line for line in lines if "Traceback" in line]
            assert any("no message" in line for line in lines)
        assert broker.restarts == 0
    print(f"put off for now {user.put_off} times")
    assert user.failures == []
    for name, answers in user.answers.items():
        print(f"{name}: {len(answers)} right answers")
        for answer in answers:
            check_right(answer, name)
    assert set(user.told.values()) == {1}
    for name, status in counted.items():
        assert status is not None
        assert status.bad_input > 0, f"{name} shows nobody what it refused"
        assert status.peers_alive <= len(HONEST), f"{name} believes in devices that were made up"
    assert [one["leaked"] for one in results] == [[], [], []]
    peer, hostile_user, stranger = results
    assert int(str(peer["answered_for"])) > 0, "who says of itself that it is idle is asked"
    assert hostile_user["refused_in_words"], "who asks for too much is told"
    assert all(int(str(one["sent"])) > 100 for one in (peer, hostile_user))
    assert int(str(stranger["connections"])) > 0
