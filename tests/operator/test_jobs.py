"""Jobs where no broker can be reached: who is asked, what watchers are told, what is kept."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

import pytest

from edge_agent.operator.jobs import ask_and_watch, choose_devices, job_services, open_job_store, rows_of
from edge_agent.operator.user_sync import remember_broker
from provisioning.errors import ProvisioningError
from provisioning.job_store import JobRow, JobStore
from provisioning.jobs import Action, JobReport, JobState
from provisioning.mesh import MeshFolder, MeshSettings
from tests.support.patience import PATIENCE_S
from tests.support.ports import free_ports


@pytest.fixture
def mesh(tmp_path: Path) -> MeshFolder:
    made = MeshFolder.create(tmp_path / "home", MeshSettings("home", (f"mqtts://127.0.0.1:{free_ports(1)[0]}",)))
    for device in ("kitchen", "pantry"):
        made.enrol(device, made.authority())
    return made


@pytest.fixture
def job_store(mesh: MeshFolder) -> Iterator[JobStore]:
    with contextlib.closing(open_job_store(mesh)) as opened:
        yield opened


def test_devices_are_named_or_all_and_each_is_asked_once(mesh: MeshFolder) -> None:
    assert choose_devices(mesh, ["pantry", "pantry"], everybody=False) == ["pantry"]
    assert choose_devices(mesh, [], everybody=True) == ["kitchen", "pantry"]
    for names, everybody in (([], False), (["kitchen"], True), (["attic"], False)):
        with pytest.raises(ProvisioningError):
            choose_devices(mesh, names, everybody=everybody)


def test_a_device_with_its_own_broker_is_asked_there_and_the_others_at_the_shared_one(
    mesh: MeshFolder, job_store: JobStore
) -> None:
    assert len(job_services(mesh, job_store, ["kitchen", "pantry"], mesh.settings.brokers)) == 1
    remember_broker(mesh, "kitchen", "mqtts://kitchen.local:8883")
    assert len(job_services(mesh, job_store, ["kitchen", "pantry"], mesh.settings.brokers)) == 2
    assert len(job_services(mesh, job_store, ["kitchen"], mesh.settings.brokers)) == 1


async def test_whoever_watches_is_told_and_waits_no_longer_than_the_jobs_last(
    mesh: MeshFolder, job_store: JobStore
) -> None:
    """The devices' words come to the store by another process here, as from `mesh serve`."""
    seen: list[list[str]] = []

    def report(rows: list[JobRow]) -> None:
        seen.append([row.state for row in rows])
        for row in rows:
            job_store.take(JobReport(row.job.job_id, row.job.device_id, JobState.DONE), row.job.device_id)

    rows = await ask_and_watch(
        *(mesh, job_store, ["kitchen", "pantry"], Action.RESTART, {}),
        broker_urls=mesh.settings.brokers,
        wait_s=PATIENCE_S,
        on_rows=report,
    )
    assert [(row.job.device_id, row.state) for row in rows] == [("kitchen", "done"), ("pantry", "done")]
    assert seen == [["asked", "asked"], ["done", "done"]]


async def test_a_job_that_nobody_waits_for_is_kept_and_may_be_cancelled(mesh: MeshFolder, job_store: JobStore) -> None:
    urls = mesh.settings.brokers
    (row,) = await ask_and_watch(mesh, job_store, ["kitchen"], Action.RESTART, {}, broker_urls=urls, wait_s=0)
    assert (row.state, job_store.rows()) == ("asked", [row])
    assert job_store.cancel(row.job.job_id)
    assert rows_of(job_store, [row.job]) == []
