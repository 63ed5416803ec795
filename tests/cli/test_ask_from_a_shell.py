"""What README and docs/FROM-A-SHELL.md show is run as it stands there: MQTT 3.1.1 programs, a shell, real devices.

The commands name no port, so it is given where mosquitto's programs look for options: in a folder of this test's own.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import shutil
import signal
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from broker.mosquitto import MosquittoBroker
from edge_agent.config import AgentConfig, BrokerSection, DeviceSection, EngineSection, write_config
from edge_agent.fleet.device_process import DeviceProcess
from edge_agent.fleet.local import LocalFleet
from edge_agent.fleet.plan import EngineKind, FleetPlan
from tests.support.polling import until
from tests.support.secured import HOST, SecuredMesh

pytestmark = pytest.mark.broker

ROOT = Path(__file__).resolve().parent.parent.parent
PROGRAMS = ("mosquitto_pub", "mosquitto_sub")
SERVICE = "deterministic:0.4"  # long enough that a subscriber who starts beside the publisher misses nothing


def readme() -> str:
    """The commands under "Ask it from anything" of the README."""
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    _, heading, section = text.partition("### Ask it from anything\n")
    assert heading
    return section.split("```")[1].partition("\n")[2]


def shown(name: str) -> str:
    """The block of docs/FROM-A-SHELL.md that is marked with this name."""
    text = (ROOT / "docs" / "FROM-A-SHELL.md").read_text(encoding="utf-8")
    _, mark, section = text.partition(f"<!-- test: {name} -->\n```")
    assert mark, name
    return section.partition("\n")[2].partition("```")[0]


@pytest.fixture(autouse=True)
def _programs() -> None:
    missing = [program for program in (*PROGRAMS, "jq") if shutil.which(program) is None]
    if missing:
        pytest.skip(f"not installed: {', '.join(missing)} (scripts/install_test_programs.sh)")


@dataclass
class Shell:
    """Runs commands, and keeps what they print for as long as the test lasts."""

    env: dict[str, str]
    lines: list[str] = field(default_factory=list)
    _tasks: list[asyncio.Task[None]] = field(default_factory=list)
    _processes: list[asyncio.subprocess.Process] = field(default_factory=list)

    async def run(self, commands: str) -> None:
        """Begins; what runs in the background goes on."""
        process = await asyncio.create_subprocess_exec(
            *("bash", "-c", f"set -m; {commands}\nwait"),
            env=self.env,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
            start_new_session=True,
        )
        self._processes.append(process)
        self._tasks.append(asyncio.create_task(self._read(process)))

    async def _read(self, process: asyncio.subprocess.Process) -> None:
        assert process.stdout is not None
        async for line in process.stdout:
            self.lines.append(line.decode().rstrip("\n"))

    @property
    def messages(self) -> list[dict[str, Any]]:
        """The lines that are messages."""
        return [json.loads(line) for line in self.lines if line.startswith("{")]

    def of(self, kind: str, body_id: str) -> list[dict[str, Any]]:
        """The messages of a type about a prompt."""
        return [one for one in self.messages if (one["type"], one.get("id")) == (kind, body_id)]

    async def answer(self, body_id: str) -> dict[str, Any]:
        """Waits for the answer to a prompt."""
        await until(lambda: bool(self.of("answer", body_id)), f"the answer to {body_id}; have {self.lines}")
        return self.of("answer", body_id)[0]

    async def close(self) -> None:
        """Ends all that was begun, with what it began itself."""
        for process in self._processes:
            for child in _session_of(process.pid):
                with contextlib.suppress(ProcessLookupError):
                    os.kill(child, signal.SIGKILL)
            await process.wait()
        await asyncio.gather(*self._tasks)


def _session_of(leader: int) -> list[int]:
    """The processes of a session: job control gives each job of a shell a group of its own."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            fields = (folder / "stat").read_text().rpartition(")")[2].split()
            if int(fields[3]) == leader:
                found.append(int(folder.name))
    return found


@contextlib.asynccontextmanager
async def shell(folder: Path, options: str) -> AsyncIterator[Shell]:
    """A shell whose mosquitto programs have these options."""
    await asyncio.to_thread(_write_options, folder, options)
    one = Shell({**os.environ, "XDG_CONFIG_HOME": str(folder)})
    try:
        yield one
    finally:
        await one.close()


def _write_options(folder: Path, options: str) -> None:
    folder.mkdir()
    for program in PROGRAMS:
        (folder / program).write_text(options)


@contextlib.asynccontextmanager
async def local_mesh(folder: Path, plan: FleetPlan) -> AsyncIterator[Shell]:
    async with (
        LocalFleet(plan, folder=folder / "fleet") as fleet,
        shell(folder / "config", f"-p {fleet.broker.port}\n") as one,
    ):
        yield one


async def test_the_commands_of_the_readme_ask_and_get_an_answer(tmp_path: Path) -> None:
    async with local_mesh(tmp_path, FleetPlan(3, EngineKind.SYNTHETIC, service=SERVICE)) as run:
        await run.run(readme())
        answer = await run.answer("p1")
        assert answer["outcome"] == "answered"
        assert answer["text"].startswith("[synthetic]")
        assert len(answer["provenance"]["layers"]) == 2
        assert answer["device_id"] == "device-1"


async def test_the_page_takes_a_prompt_back(tmp_path: Path) -> None:
    async with local_mesh(tmp_path, FleetPlan(1, EngineKind.SYNTHETIC, service="deterministic:5", layers=0)) as run:
        await run.run(shown("ask"))
        await until(lambda: any(one.get("id") == "p1" for one in run.messages), f"it is under way; have {run.lines}")
        await run.run(shown("cancel"))
        assert (await run.answer("p1"))["outcome"] == "cancelled"


async def test_the_page_asks_with_options_is_refused_and_sees_who_is_there(tmp_path: Path) -> None:
    async with local_mesh(tmp_path, FleetPlan(3, EngineKind.SYNTHETIC, service=SERVICE)) as run:
        await run.run(shown("ask"))  # begins to listen
        await run.answer("p1")
        await run.run(shown("refusal"))
        await until(lambda: bool(run.of("prompt-refusal", "p4")), f"the refusal; have {run.lines}")
        (refusal,) = run.of("prompt-refusal", "p4")
        assert refusal["reason"] == "invalid"
        assert "layers" in refusal["detail"]

        await run.run(shown("options"))
        answer = await run.answer("p2")
        assert answer["outcome"] == "answered"
        assert len(answer["provenance"]["layers"]) == 1
        assert run.of("token-chunk", "p2")
        assert run.of("layer-progress", "p2")

        await run.run(shown("text"))
        await until(lambda: any(line.startswith("[synthetic]") for line in run.lines), "the text alone")
        await run.run(shown("presence"))
        expected = {f'["device-{number}","online"]' for number in (1, 2, 3)}
        await until(lambda: expected <= set(run.lines), f"three devices online; have {run.lines}")


async def test_with_a_name_and_a_password_only_the_own_inbox_is_readable_and_a_wrong_secret_opens_nothing(
    tmp_path: Path,
) -> None:
    mesh = SecuredMesh(tmp_path)
    credentials, alice, bob = mesh.device("kitchen"), mesh.user("alice"), mesh.user("bob")
    files = mesh.broker_files(tmp_path / "broker")
    write_config(
        AgentConfig(
            device=DeviceSection(id="kitchen", mesh="home", data_dir=tmp_path / "data"),
            broker=BrokerSection(
                urls=(f"mqtts://{HOST}:{files.config.listeners.devices}",),
                ca_file=mesh.ca,
                crl_file=mesh.crl,
                cert_file=credentials.certificate,
                key_file=credentials.key,
            ),
            engine=EngineSection(kind="synthetic", service=SERVICE),
        ),
        tmp_path / "agent.toml",
    )
    kitchen = DeviceProcess("kitchen", tmp_path / "agent.toml", tmp_path / "agent.log")

    def options(login: str, secret: str) -> str:
        """Those that the page shows, with this test's own values."""
        given = {
            "broker.local": HOST,
            "8884": str(files.config.listeners.passwords),
            "/home/alice/ca.pem": str(mesh.ca),
        }
        text = shown("secured options")
        for old, new in {**given, "user.alice": login, "the-secret-of-alice": secret}.items():
            assert old in text
            text = text.replace(old, new)
        return text

    assert alice.password is not None
    assert bob.password is not None
    async with (
        MosquittoBroker(files, lambda: mesh.people),
        shell(tmp_path / "alice", options("user.alice", alice.password)) as of_alice,
        shell(tmp_path / "bob", options("user.bob", bob.password)) as of_bob,
        shell(tmp_path / "wrong", options("user.alice", "guessed")) as of_nobody,
    ):
        await kitchen.start()
        try:
            await of_alice.run("mosquitto_sub -V mqttv311 -q 1 -t moamesh/v2/home/devices/kitchen/presence")
            await until(lambda: bool(of_alice.messages), f"the device is there; have {of_alice.lines}")
            await of_bob.run("mosquitto_sub -V mqttv311 -q 1 -t 'moamesh/v2/home/devices/kitchen/#'")
            await until(lambda: bool(of_bob.messages), f"bob reads what he may; have {of_bob.lines}")
            await of_nobody.run(shown("secured"))
            await until(lambda: any("not authorised" in line.lower() for line in of_nobody.lines), "a wrong secret")
            await of_alice.run(shown("secured"))
            assert (await of_alice.answer("p5"))["outcome"] == "answered"
            assert not of_nobody.messages
            assert {one["type"] for one in of_bob.messages} <= {"presence", "device-status"}
        finally:
            await kitchen.stop()


async def test_an_overloaded_device_tells_a_shell_when_to_try_again(tmp_path: Path) -> None:
    plan = FleetPlan(1, EngineKind.SYNTHETIC, service="deterministic:30", agent={"queue_capacity": 2}, layers=0)
    async with local_mesh(tmp_path, plan) as run:
        await run.run(readme())
        for number in range(2, 6):
            await run.run(readme().replace('"p1"', f'"p{number}"').partition("&\n")[2])
        await until(lambda: any(one["type"] == "prompt-refusal" for one in run.messages), f"refused: {run.lines}")
        refusal = next(one for one in run.messages if one["type"] == "prompt-refusal")
        assert refusal["reason"] == "overloaded"
        assert refusal["retry_after_s"] >= 1.0
