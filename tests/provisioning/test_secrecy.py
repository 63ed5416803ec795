"""Private keys and secrets are in no log, no process list and no file that others may read."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import re
import sys
from asyncio.subprocess import PIPE, Process
from pathlib import Path

import pytest

from broker.access import ClaimLogin, People, UserLogin
from broker.mosquitto import MosquittoBroker
from broker.mosquitto_config import Listeners, MosquittoConfig, installed_program
from broker.mosquitto_files import MosquittoFiles, ServerFiles
from edge_agent.tasks import within
from provisioning.mesh import MeshFolder
from tests.support.patience import PATIENCE_S
from tests.support.ports import free_ports
from tests.support.secured import HOST

pytestmark = pytest.mark.broker
MOAMESH = [sys.executable, "-m", "edge_agent.cli.main"]
PASSPHRASE = "correct horse battery"
LOOK_S = 0.01  # every command runs for many times that


def command_lines() -> set[bytes]:
    found = set()
    for process in Path("/proc").iterdir():
        if process.name.isdigit():
            with contextlib.suppress(OSError):
                found.add((process / "cmdline").read_bytes())
    return found


def readable_by_others(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if path.is_file() and path.stat().st_mode & 0o077]


class Watch:
    """Reads the command line of every process, again and again."""

    def __init__(self) -> None:
        self.seen: set[bytes] = set()
        self._looking: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Watch:
        self._looking = asyncio.create_task(self._look())
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._looking is not None
        self._looking.cancel()
        await asyncio.wait([self._looking])

    async def _look(self) -> None:
        while True:
            self.seen |= command_lines()
            await asyncio.sleep(LOOK_S)


def key_bodies(text: str) -> set[str]:
    """The second line of every private key in a text; the first is nearly the same in all."""
    return set(re.findall(r"PRIVATE KEY-----\n[A-Za-z0-9+/=]{64}\n([A-Za-z0-9+/=]{40})", text))


@pytest.mark.long
async def test_no_secret_leaves_the_files_that_hold_it(tmp_path: Path) -> None:
    device_port, password_port = free_ports(2)
    logs: list[str] = []
    environment = os.environ | {"MOAMESH_HOME": str(tmp_path / "data"), "PYTHONUNBUFFERED": "1"}
    for name in ("MOAMESH_DEVICE__MESH", "MOAMESH_BROKER__URL"):
        environment.pop(name, None)
    passphrase = tmp_path / "passphrase"
    passphrase.touch(mode=0o600)
    passphrase.write_text(f"{PASSPHRASE}\n")

    async def start(*command: str) -> Process:
        return await asyncio.create_subprocess_exec(*command, env=environment, stdout=PIPE, stderr=PIPE)

    async def moamesh(*arguments: str) -> str:
        process = await start(*MOAMESH, *arguments)
        output, errors = await within(process.communicate(), PATIENCE_S)
        logs.append(errors.decode())
        assert process.returncode == 0, errors.decode()
        return output.decode()

    async with Watch() as watch:
        locked = ["--passphrase-file", str(passphrase)]
        urls = ["--broker", f"mqtts://{HOST}:{device_port}", "--claim-broker", f"mqtts://{HOST}:{password_port}"]
        await moamesh("mesh", "create", "home", *urls, *locked)
        secret_file, password_file = tmp_path / "claim.json", tmp_path / "ana.password"
        logs.append(await moamesh("device", "invite", "kitchen", "--output", str(secret_file)))
        logs.append(await moamesh("user", "add", "ana", "--output", str(password_file)))
        mesh = MeshFolder.open(tmp_path / "data" / "meshes" / "home")
        async with _broker(mesh, tmp_path, device_port, password_port) as broker:
            service = await start(*MOAMESH, "mesh", "serve", *locked)
            command = [sys.executable, "-m", "tests.provisioning.device_process", str(secret_file)]
            device = await start(*command, str(tmp_path / "device"))
            output, errors = await within(device.communicate(), PATIENCE_S)
            assert output.decode().startswith("a member"), errors.decode()
            logs.append(errors.decode())
            logs.append(await moamesh("device", "list"))
            logs.append(await moamesh("mesh", "rotate", *locked))
            await broker.follow()
            logs.append(await moamesh("device", "revoke", "kitchen", *locked))
            await broker.follow()
            service.terminate()
            served = (await within(service.communicate(), PATIENCE_S))[1].decode()
            assert "kitchen: claim accepted" in served
            assert "Traceback" not in served
            logs.append(served)
    logs.append((tmp_path / "broker" / "mosquitto.log").read_text())

    secret, password = json.loads(secret_file.read_text())["secret"], password_file.read_text().strip()
    private = [*_key_files(tmp_path)]
    keys = {body for path in private for body in key_bodies(path.read_text())}
    assert len(keys) >= 4  # the CA's two, the operator's, the broker's, the device's
    secrets = {secret, password, PASSPHRASE} | keys
    assert any(b"mesh\0serve" in line for line in watch.seen)
    for text in (*logs, *(line.decode(errors="replace") for line in watch.seen)):
        assert not [each for each in secrets if each in text], text[:2000]
    for path in readable_by_others(tmp_path):
        content = path.read_text(errors="replace")
        assert not [each for each in secrets if each in content], path
    inventory = (mesh.folder / "inventory.sqlite3").read_bytes()
    assert secret.encode() not in inventory  # hashes alone
    assert password.encode() not in inventory


def _broker(mesh: MeshFolder, folder: Path, device_port: int, password_port: int) -> MosquittoBroker:
    identity = mesh.authority(PASSPHRASE).issue_broker([HOST])
    (folder / "broker.pem").write_bytes(identity.certificate_pem)
    (folder / "broker.key").touch(mode=0o600)
    (folder / "broker.key").write_bytes(identity.key_pem)
    (folder / "broker").mkdir(mode=0o700)

    def people() -> People:
        with mesh.inventory() as inventory:
            return People(
                tuple(UserLogin(user.name, user.password_hash, user.devices) for user in inventory.users()),
                tuple(ClaimLogin(claim.device_id, claim.password_hash) for claim in inventory.open_claims()),
            )

    listeners = Listeners(HOST, device_port, password_port, None, None)
    server = ServerFiles(folder / "broker.pem", folder / "broker.key", mesh.ca_file, mesh.crl_file)
    files = MosquittoFiles(MosquittoConfig(folder / "broker", listeners, installed_program()), mesh.name, server)
    return MosquittoBroker(files, people)


def _key_files(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if path.is_file() and b"PRIVATE KEY" in path.read_bytes()]
