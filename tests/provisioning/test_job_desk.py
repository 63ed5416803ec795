"""The operator's list of jobs: one at a time for each device, each with a number above the last."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from provisioning import job_desk
from provisioning.authority import MeshAuthority
from provisioning.job_desk import ASKED, JobDesk
from provisioning.jobs import Action, JobReport, JobState, decode_job
from provisioning.signed import open_signed


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> MeshAuthority:
    return MeshAuthority.create(tmp_path_factory.mktemp("mesh") / "home", "home")


@pytest.fixture
def desk(tmp_path: Path, authority: MeshAuthority) -> Iterator[JobDesk]:
    made = new_desk(tmp_path, authority)
    yield made
    made.close()


def new_desk(folder: Path, authority: MeshAuthority, now: float = 1_000.0) -> JobDesk:
    operator = authority.issue_operator()
    return JobDesk(
        folder / "jobs.sqlite3", "home", lambda: (operator.certificate_pem, operator.key_pem), clock=lambda: now
    )


def test_jobs_of_a_device_are_handed_out_one_after_the_other(desk: JobDesk) -> None:
    first, second = desk.ask("kitchen", Action.RESTART), desk.ask("kitchen", Action.SET, {"agent.layers": 1})
    other = desk.ask("pantry", Action.RESTART)
    assert first.sequence < second.sequence
    assert desk.next_for("kitchen") == first
    assert desk.next_for("pantry") == other
    desk.take(JobReport(first.job_id, "kitchen", JobState.RUNNING, "half way", 0.5), "kitchen")
    assert desk.next_for("kitchen") == first
    assert desk.find(first.job_id).progress == 0.5
    desk.take(JobReport(first.job_id, "kitchen", JobState.DONE), "kitchen")
    assert desk.next_for("kitchen") == second
    assert desk.find(second.job_id).state == ASKED


def test_what_is_published_is_signed_and_says_the_job(desk: JobDesk, authority: MeshAuthority) -> None:
    job = desk.ask("kitchen", Action.PULL_MODEL, {"model": "smollm2-135m", "use": True})
    assert decode_job(open_signed(desk.body(job), authority.bundle_pem)) == job


def test_a_device_cannot_report_on_anothers_jobs_nor_change_an_end(desk: JobDesk) -> None:
    job = desk.ask("kitchen", Action.RESTART)
    assert desk.take(JobReport(job.job_id, "pantry", JobState.DONE), "pantry") is None
    assert desk.take(JobReport(job.job_id, "kitchen", JobState.DONE), "pantry") is None
    assert desk.find(job.job_id).state == ASKED
    desk.take(JobReport(job.job_id, "kitchen", JobState.FAILED, "no disk"), "kitchen")
    desk.take(JobReport(job.job_id, "kitchen", JobState.RUNNING), "kitchen")
    assert desk.find(job.job_id).detail == "no disk"


def test_a_lost_file_does_not_bring_back_old_numbers(tmp_path: Path, authority: MeshAuthority) -> None:
    desk = new_desk(tmp_path, authority, now=1_000.0)
    before = [desk.ask("kitchen", Action.RESTART) for _ in range(50)][-1]
    desk.close()
    (tmp_path / "jobs.sqlite3").unlink()
    again = new_desk(tmp_path, authority, now=1_001.0)
    assert again.ask("kitchen", Action.RESTART).sequence > before.sequence
    again.close()


def test_the_list_survives_a_restart_and_is_for_its_owner_alone(tmp_path: Path, authority: MeshAuthority) -> None:
    desk = new_desk(tmp_path, authority)
    job = desk.ask("kitchen", Action.RESTART)
    desk.close()
    assert (tmp_path / "jobs.sqlite3").stat().st_mode & 0o077 == 0
    again = new_desk(tmp_path, authority)
    assert [row.job for row in again.rows()] == [job]
    again.close()


def test_the_oldest_ended_jobs_leave_a_full_list(desk: JobDesk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(job_desk, "JOBS_MAX", 5)
    waiting = desk.ask("pantry", Action.RESTART)
    for _ in range(8):
        job = desk.ask("kitchen", Action.RESTART)
        desk.take(JobReport(job.job_id, "kitchen", JobState.DONE), "kitchen")
    assert len(desk.rows()) <= 5
    assert desk.next_for("pantry") == waiting
