"""The operator's list of jobs: one at a time for each device, each with a number above the last."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from provisioning.authority import MeshAuthority
from provisioning.job_store import ASKED, JobStore
from provisioning.jobs import Action, JobReport, JobState, decode_job
from provisioning.signed import open_signed


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> MeshAuthority:
    return MeshAuthority.create(tmp_path_factory.mktemp("mesh") / "home", "home")


@pytest.fixture
def job_store(tmp_path: Path, authority: MeshAuthority) -> Iterator[JobStore]:
    made = new_job_store(tmp_path, authority)
    yield made
    made.close()


def new_job_store(folder: Path, authority: MeshAuthority, now: float = 1_000.0) -> JobStore:
    operator = authority.issue_operator()
    return JobStore(
        folder / "jobs.sqlite3", "home", lambda: (operator.certificate_pem, operator.key_pem), clock=lambda: now
    )


def test_jobs_of_a_device_are_handed_out_one_after_the_other(job_store: JobStore) -> None:
    first, second = job_store.ask("kitchen", Action.RESTART), job_store.ask("kitchen", Action.SET, {"agent.layers": 1})
    other = job_store.ask("pantry", Action.RESTART)
    assert first.sequence < second.sequence
    assert job_store.next_for("kitchen") == first
    assert job_store.next_for("pantry") == other
    job_store.take(JobReport(first.job_id, "kitchen", JobState.RUNNING, "half way", 0.5), "kitchen")
    assert job_store.next_for("kitchen") == first
    assert job_store.find(first.job_id).progress == 0.5
    job_store.take(JobReport(first.job_id, "kitchen", JobState.DONE), "kitchen")
    assert job_store.next_for("kitchen") == second
    assert job_store.find(second.job_id).state == ASKED


def test_what_is_published_is_signed_and_says_the_job(job_store: JobStore, authority: MeshAuthority) -> None:
    job = job_store.ask("kitchen", Action.PULL_MODEL, {"model": "smollm2-135m", "use": True})
    assert decode_job(open_signed(job_store.body(job), authority.bundle_pem)) == job


def test_a_device_cannot_report_on_anothers_jobs_nor_change_an_end(job_store: JobStore) -> None:
    job = job_store.ask("kitchen", Action.RESTART)
    assert job_store.take(JobReport(job.job_id, "pantry", JobState.DONE), "pantry") is None
    assert job_store.take(JobReport(job.job_id, "kitchen", JobState.DONE), "pantry") is None
    assert job_store.find(job.job_id).state == ASKED
    job_store.take(JobReport(job.job_id, "kitchen", JobState.FAILED, "no disk"), "kitchen")
    job_store.take(JobReport(job.job_id, "kitchen", JobState.RUNNING), "kitchen")
    assert job_store.find(job.job_id).detail == "no disk"


def test_a_lost_file_does_not_bring_back_old_numbers(tmp_path: Path, authority: MeshAuthority) -> None:
    job_store = new_job_store(tmp_path, authority, now=1_000.0)
    before = [job_store.ask("kitchen", Action.RESTART) for _ in range(50)][-1]
    job_store.close()
    (tmp_path / "jobs.sqlite3").unlink()
    again = new_job_store(tmp_path, authority, now=1_001.0)
    assert again.ask("kitchen", Action.RESTART).sequence > before.sequence
    again.close()


def test_the_list_survives_a_restart_and_is_for_its_owner_alone(tmp_path: Path, authority: MeshAuthority) -> None:
    job_store = new_job_store(tmp_path, authority)
    job = job_store.ask("kitchen", Action.RESTART)
    job_store.close()
    assert (tmp_path / "jobs.sqlite3").stat().st_mode & 0o077 == 0
    again = new_job_store(tmp_path, authority)
    assert [row.job for row in again.rows()] == [job]
    again.close()


def test_the_oldest_ended_jobs_leave_a_full_list(job_store: JobStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("provisioning.job_store.JOBS_MAX", 5)
    waiting = job_store.ask("pantry", Action.RESTART)
    for _ in range(8):
        job = job_store.ask("kitchen", Action.RESTART)
        job_store.take(JobReport(job.job_id, "kitchen", JobState.DONE), "kitchen")
    assert len(job_store.rows()) <= 5
    assert job_store.next_for("pantry") == waiting
