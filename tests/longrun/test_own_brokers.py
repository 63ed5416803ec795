"""Three devices with a broker each and no shared one: what the operator does reaches every one of them."""

from __future__ import annotations

import asyncio
import contextlib
import os
import sys
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from broker.local_login import LOCAL_SECRET_FILE
from broker.passwords import hash_password
from edge_agent.client import Access, AskTimeoutError, MeshClient, NoReceiptError
from edge_agent.core.messages import Answer, PromptOptions
from edge_agent.operator import mesh_service
from edge_agent.operator.user_sync import bring_users, remember_broker
from provisioning import link, service
from provisioning.identity_store import IdentityStore
from provisioning.job_store import RESEND_S
from provisioning.revocation import serials_in
from tests.longrun.programs import WAIT_S, Program, program
from tests.provisioning.home import MESH, Home
from tests.support.polling import until
from tests.support.secured import HOST, free_ports

pytestmark = pytest.mark.broker

NAMES = ("kitchen", "pantry", "attic")
REACHES_S = 15.0  # what is promised, on a machine that has the time


@dataclass
class Device:
    """An agent process with a broker of its own on loopback."""

    name: str
    store: IdentityStore
    port: int
    plain_port: int
    web_port: int
    folder: Path
    log: Path = field(init=False)

    def __post_init__(self) -> None:
        self.log = self.folder / f"{self.name}.log"

    @property
    def url(self) -> str:
        return f"mqtts://{HOST}:{self.port}"

    @property
    def serial(self) -> int:
        certificate = self.store.certificate()
        assert certificate is not None
        return certificate.serial_number

    def revoked(self) -> frozenset[int]:
        path = self.store.crl_file
        return serials_in(path.read_bytes()) if path.exists() else frozenset()

    def configure(self, others: list[Device]) -> Path:
        path = self.folder / "agent.toml"
        identity = self.store.identity_file.parent
        seeds = "".join(
            f'[[seeds]]\ndevice_id = "{one.name}"\nhome_broker = "{one.url}"\n' for one in others if one is not self
        )
        path.write_text(
            f"""
            [device]
            id = "{self.name}"
            mesh = "{MESH}"
            data_dir = "data"
            [broker]
            mode = "own"
            address = "{HOST}"
            port = {self.port}
            local_port = {self.plain_port}
            web_port = {self.web_port}
            mdns = false
            ca_file = "{identity}/ca.pem"
            crl_file = "{identity}/crl.pem"
            cert_file = "{identity}/identity.pem"
            key_file = "{identity}/identity.pem"
            [engine]
            kind = "synthetic"
            service = "deterministic:0.05"
            [agent]
            layers = 1
            fanout = 2
            status_interval_s = 0.5
            gossip_interval_s = 0.5
            {seeds}
            """
        )
        return path


@contextlib.asynccontextmanager
async def three(home: Home) -> AsyncIterator[dict[str, Device]]:
    """The devices, running, each known to the operator by its own broker."""
    ports = free_ports(9)
    devices = []
    for number, name in enumerate(NAMES):
        store = home.joined(name)
        store.take_crl(home.authority.crl_pem.decode())
        folder = store.identity_file.parent.parent
        devices.append(Device(name, store, *ports[3 * number : 3 * number + 3], folder))
        remember_broker(home.mesh, name, devices[-1].url)
    async with contextlib.AsyncExitStack() as stack:
        for device in devices:
            path = device.configure(devices)
            command = (sys.executable, "-m", "edge_agent.fleet.agent_process")
            arguments = ("--config", str(path))
            await stack.enter_async_context(program(device.name, device.folder, *arguments, command=command))
        yield {device.name: device for device in devices}


@contextlib.asynccontextmanager
async def serving(home: Home) -> AsyncIterator[Program]:
    arguments = ("mesh", "serve", MESH)
    async with program("mesh serve", home.folder, *arguments, env={"MOAMESH_HOME": str(home.folder)}) as it:
        for name in NAMES:
            await it.said(f"renewals of {name}")
        yield it
        it.check()


async def proposers(device: Device) -> set[str]:
    """Who proposed on a prompt asked of this device just now."""
    access = Access("me", (device.folder / "data" / LOCAL_SECRET_FILE).read_text().strip())
    async with MeshClient(f"mqtt://127.0.0.1:{device.plain_port}", MESH, access=access) as client:
        options = PromptOptions(layers=1, fanout=2, deadline_s=30.0)
        with contextlib.suppress(NoReceiptError, AskTimeoutError):
            end = await client.ask_to_end(device.name, "why?", options)
            if isinstance(end, Answer) and end.provenance is not None:
                return {one.device_id for layer in end.provenance.layers for one in layer}
    return set()


async def until_proposing(device: Device, wanted: set[str]) -> None:
    async with asyncio.timeout(WAIT_S):
        while (found := await proposers(device)) != wanted:
            await asyncio.sleep(0.2)
            print(f"{device.name} had proposals of {sorted(found)}, wanted are {sorted(wanted)}")


def test_the_times_that_a_word_may_take_add_up_to_what_is_promised() -> None:
    # seen in the settings; then at the worst a broker that has just come back, and one look or one resend more
    assert mesh_service.FOLLOW_S + link.PAUSE_MAX_S + service.WATCH_S < REACHES_S
    assert RESEND_S + service.WATCH_S < REACHES_S


async def test_a_revocation_reaches_every_own_broker_and_the_revoked_proposes_no_more(tmp_path: Path) -> None:
    home = Home(tmp_path)
    async with three(home) as devices, serving(home):
        kitchen, pantry, attic = (devices[name] for name in NAMES)
        await until_proposing(kitchen, set(NAMES))
        gone = pantry.serial
        home.mesh.revoke("pantry", home.authority)
        began = time.monotonic()
        for device in (kitchen, attic):
            await until(lambda one=device: gone in one.revoked(), f"{device.name} knows of it", WAIT_S)
        print(f"known at every own broker after {time.monotonic() - began:.1f} s")
        await until_proposing(kitchen, {"kitchen", "attic"})
        print(f"proposes no more after {time.monotonic() - began:.1f} s")
        for _ in range(3):
            assert "pantry" not in await proposers(attic)


@pytest.mark.long
async def test_renewals_users_and_jobs_reach_every_own_broker(tmp_path: Path) -> None:
    home = Home(tmp_path)
    environment = {"MOAMESH_HOME": str(home.folder)}
    async with three(home) as devices:
        async with serving(home):
            before = {name: device.serial for name, device in devices.items()}
            home.authority.rotate()
            home.mesh.renew_operator(home.authority)
            began = time.monotonic()
            for name, device in devices.items():
                await until(lambda one=device, old=before[name]: one.serial != old, f"{name} has renewed", WAIT_S)
                bundle, certificate = device.store.bundle(), device.store.certificate()
                assert certificate is not None
                assert bundle.issuer_of(certificate) is bundle.newest
            print(f"renewed everywhere after {time.monotonic() - began:.1f} s")
        with home.mesh.inventory() as inventory:
            inventory.put_user("alice", hash_password("secret"), None)
        assert await bring_users(home.mesh, NAMES, wait_s=WAIT_S) == ""
        for device in devices.values():
            assert "alice" in (device.folder / "data" / "users.json").read_text()
        # without `mesh serve`, and without any broker that is shared
        jobs = ("job", "set", "agent.layers=1", "--all", "--wait", str(WAIT_S))
        async with program("job", home.folder, *jobs, env=environment) as job:
            assert await job.ends() == 0, job.text


@pytest.mark.long
async def test_a_device_that_was_off_hears_of_a_revocation_and_of_a_new_authority_when_it_is_back(
    tmp_path: Path,
) -> None:
    home = Home(tmp_path)
    async with three(home) as devices, serving(home):
        attic = devices["attic"]
        gone = devices["pantry"].serial
        config = attic.folder / "agent.toml"
        processes = [one for one in _agents() if str(config) in one[1]]
        assert len(processes) == 1
        os.kill(processes[0][0], 9)
        before = attic.serial
        home.mesh.revoke("pantry", home.authority)
        home.authority.rotate()
        home.mesh.renew_operator(home.authority)  # attic's broker does not trust this one yet
        await until(lambda: gone in devices["kitchen"].revoked(), "kitchen knows of it", WAIT_S)
        command = (sys.executable, "-m", "edge_agent.fleet.agent_process")
        async with program("attic again", attic.folder, "--config", str(config), command=command) as again:
            await until(lambda: gone in attic.revoked(), f"attic knows of it\n{again.text[-2000:]}", WAIT_S)
            await until(lambda: attic.serial != before, "attic has renewed", WAIT_S)


def _agents() -> list[tuple[int, str]]:
    """Process ids and command lines of the agents that this test started."""
    import psutil

    return [
        (child.pid, " ".join(child.cmdline()))
        for child in psutil.Process().children()
        if "agent_process" in str(child.cmdline())
    ]
