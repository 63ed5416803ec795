"""Jobs, renewal and revocation on a real agent process, behind the product's own broker with mutual TLS."""

from __future__ import annotations

import asyncio
import contextlib
import signal
import sys
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest
from cryptography import x509

from edge_agent import __version__
from edge_agent.children.parent import with_parent
from edge_agent.operator.jobs import ask_and_watch, open_job_store
from edge_agent.tasks import within
from provisioning.claiming import claim
from provisioning.jobs import Action, Value
from tests.provisioning.home import Home
from tests.support.patience import PATIENCE_S


class Device:
    """One claimed device and its agent process."""

    def __init__(self, home: Home, device_id: str) -> None:
        self.home = home
        self.device_id = device_id
        self.folder = home.folder / "devices" / device_id
        self.log = self.folder / "agent.log"

    async def claim(self) -> None:
        invitation = self.home.invite(self.device_id)
        self.store = self.home.store(self.device_id, invitation)
        await claim(self.store, invitation.secret, self.home.claimant(invitation, self.store), give_up_s=PATIENCE_S)
        (self.folder / "agent.toml").write_text(
            f"""
            [device]
            id = "{self.device_id}"
            mesh = "home"
            data_dir = "data"
            [broker]
            urls = ["{self.home.url(self.home.device_port)}"]
            ca_file = "identity/ca.pem"
            crl_file = "identity/crl.pem"
            cert_file = "identity/identity.pem"
            key_file = "identity/identity.pem"
            [engine]
            kind = "synthetic"
            service = "deterministic:0.05"
            [agent]
            status_interval_s = 0.5
            layers = 2
            """
        )

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator[asyncio.subprocess.Process]:
        with self.log.open("ab") as log:
            process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-m", "edge_agent.fleet.agent_process"),
                *("--config", str(self.folder / "agent.toml")),
                stdout=log,
                stderr=log,
                preexec_fn=with_parent(signal.SIGTERM),
            )
        try:
            yield process
        finally:
            if process.returncode is None:
                process.terminate()
                await within(process.wait(), PATIENCE_S)

    def certificate(self) -> x509.Certificate:
        certificate = self.store.certificate()
        assert certificate is not None
        return certificate

    async def logged(self, text: str, times: int = 1) -> None:
        await until(lambda: self.log.read_text().count(text) >= times, f"{text!r} in {self.log.read_text()[-2000:]}")

    async def job(self, action: Action, arguments: dict[str, Value] | None = None) -> tuple[str, str]:
        job_store = open_job_store(self.home.mesh)
        try:
            (row,) = await ask_and_watch(
                self.home.mesh,
                job_store,
                [self.device_id],
                action,
                arguments or {},
                broker_urls=[self.home.url(self.home.device_port)],
                wait_s=PATIENCE_S,
            )
        finally:
            job_store.close()
        return row.state, row.detail


async def until(condition: Callable[[], bool], what: str) -> None:
    for _ in range(int(PATIENCE_S / 0.05)):
        if condition():
            return
        await asyncio.sleep(0.05)
    raise AssertionError(f"not within {PATIENCE_S:g} s: {what}")


@pytest.fixture
async def device(tmp_path: Path) -> AsyncIterator[Device]:
    home = Home(tmp_path)
    async with home.broker(), home.serving():
        made = Device(home, "kitchen")
        await made.claim()
        yield made


async def test_jobs_change_a_real_device_which_restarts_itself(device: Device) -> None:
    async with device.running() as process:
        state, detail = await device.job(Action.SET, {"agent.layers": 1})
        assert (state, detail) == ("done", "in force since the restart")
        assert process.returncode is None, "the process became a new one under the same number"
        await device.logged("beginning anew")

        state, detail = await device.job(Action.SET, {"agent.layers": -3})
        assert state == "failed"
        assert "agent.layers" in detail

        state, detail = await device.job(Action.RESTART)
        assert (state, detail) == ("done", f"restarted with version {__version__}")

        assert (await device.job(Action.UPGRADE, {"version": __version__, "sha256": "0" * 64}))[0] == "done"
    assert '"agent.layers": 1' in (device.folder / "data" / "operator-settings.json").read_text()


async def test_a_device_takes_back_what_it_cannot_start_with(device: Device) -> None:
    async with device.running():
        state, detail = await device.job(Action.SET, {"engine.kind": "llama", "engine.model": "never-pulled"})
        assert state == "failed", detail
        assert "undone" in detail
        assert "never-pulled" in detail
        assert (await device.job(Action.RESTART))[0] == "done", "it runs, with its own engine"
    assert (device.folder / "data" / "operator-settings.json").read_text() == "{}"


async def test_a_job_asked_while_the_device_is_off_is_done_when_it_comes(device: Device) -> None:
    async def late() -> None:
        await asyncio.sleep(1.0)  # not a wait for something: the device is off for this long
        async with device.running():
            await device.logged("restarted with version")

    state, _ = (await asyncio.gather(device.job(Action.RESTART), late()))[0]
    assert state == "done"


async def test_a_certificate_that_runs_out_is_renewed_while_the_device_works(device: Device) -> None:
    before = device.certificate().serial_number
    device.home.authority.rotate()
    device.home.mesh.renew_operator(device.home.authority)
    device.home.issue_server()
    async with device.running():
        await until(lambda: device.certificate().serial_number != before, "a new certificate")
        await device.logged("certificate renewed")
        bundle = device.store.bundle()
        assert bundle.issuer_of(device.certificate()) is bundle.newest
        assert (await device.job(Action.RESTART))[0] == "done", "it is connected with the new one"


async def test_a_device_learns_who_is_revoked(device: Device) -> None:
    other = Device(device.home, "pantry")
    await other.claim()
    serial = other.certificate().serial_number
    async with device.running():
        await device.logged("home broker")
        device.home.mesh.revoke("pantry", device.home.authority)
        from provisioning.revocation import serials_in

        await until(
            lambda: serial in serials_in(device.store.crl_file.read_bytes()), "the revocation on the other device"
        )
        await device.logged("the revocation list has changed")
