"""The operator's commands go on while their broker is restarted, crashes, or is gone for a while."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import pytest_asyncio

from broker.mosquitto import MosquittoBroker
from edge_agent.operator.jobs import open_job_store
from provisioning.claiming import claim
from tests.longrun.programs import EVERY_TROUBLE, TROUBLES, WAIT_S, Program, program
from tests.management.test_live import Device
from tests.provisioning.home import Home
from tests.support.patience import PATIENCE_S
from tests.support.polling import until

pytestmark = pytest.mark.broker

JOBS = "jobs.sqlite3"


@contextlib.asynccontextmanager
async def serving(home: Home) -> AsyncIterator[Program]:
    """`moamesh mesh serve`, which has to end in order at the end."""
    arguments = ("mesh", "serve", "home")
    async with program("mesh serve", home.folder, *arguments, env={"MOAMESH_HOME": str(home.folder)}) as it:
        yield it
        it.check()
        assert await it.ends_on_sigterm() == 143
        assert "Traceback" not in it.text


async def admit(home: Home, device_id: str) -> None:
    """A new device gets its certificate: the service listens and answers, at a broker that is there."""
    invitation = home.invite(device_id)
    store = home.store(device_id, invitation)
    await claim(store, invitation.secret, home.claimant(invitation, store), give_up_s=PATIENCE_S, pause_min_s=0.1)


@dataclass
class Site:
    """A mesh whose broker and service run through all troubles."""

    home: Home
    broker: MosquittoBroker
    devices: int = 0

    def next_device(self) -> str:
        """The name of one that was not there before."""
        self.devices += 1
        return f"device-{self.devices}"


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def site(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Site]:
    home = Home(tmp_path_factory.mktemp("site"))
    async with home.broker() as broker, serving(home) as service:
        await service.said("answering claims")
        yield Site(home, broker)


@pytest.mark.parametrize("trouble", EVERY_TROUBLE)
@pytest.mark.asyncio(loop_scope="module")
async def test_mesh_serve_outlives_its_broker(trouble: str, site: Site) -> None:
    await TROUBLES[trouble](site.broker)
    await admit(site.home, site.next_device())


async def test_mesh_serve_waits_for_a_broker_that_is_not_there_yet_or_goes_while_it_starts(tmp_path: Path) -> None:
    home = Home(tmp_path)
    broker = home.broker()
    async with serving(home) as service:
        await service.said("trying again")
        try:
            await broker.start()
            await broker.kill()
            await broker.start()
            await admit(home, "kitchen")
        finally:
            await broker.stop()


@pytest.mark.parametrize("trouble", EVERY_TROUBLE)
@pytest.mark.asyncio(loop_scope="module")
async def test_a_job_that_is_waited_for_ends_though_the_broker_went(trouble: str, site: Site) -> None:
    home, name = site.home, site.next_device()
    asking = ("job", "restart", "--device", name, "--wait", "90")
    device = Device(home, name)
    await device.claim()
    async with program("job", device.folder, *asking, env={"MOAMESH_HOME": str(home.folder)}) as job:
        with contextlib.closing(open_job_store(home.mesh)) as job_store:
            await until(lambda: bool(job_store.rows(name)), "it is asked, and waits for the device", WAIT_S)
        await TROUBLES[trouble](site.broker)
        async with device.running():
            assert await job.ends() == 0, job.text
    assert "Traceback" not in job.text


async def test_mesh_serve_says_that_its_jobs_cannot_be_read_and_goes_on(tmp_path: Path) -> None:
    home = Home(tmp_path)
    async with home.broker(), serving(home) as service:
        await service.said("answering claims")
        for name in (JOBS, f"{JOBS}-wal", f"{JOBS}-journal"):
            if (path := home.mesh.folder / name).exists():
                path.write_bytes(b"not a database, and more than a hundred bytes of it: " + bytes(4096))
        await service.said(JOBS)
        await admit(home, "kitchen")
