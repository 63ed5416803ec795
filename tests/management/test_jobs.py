"""Jobs on a device: believed only from the operator, done once, told of until the operator knows."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_agent.core.errors import SettingsError
from edge_agent.management.job_record import JOBS_MAX, JobRecord
from edge_agent.management.jobs import WAITING_MAX, JobRunner, Performed, Progress, revert_unproven
from provisioning.authority import Identity, MeshAuthority
from provisioning.jobs import Action, Job, JobMessageError, JobReport, JobState, decode_job, decode_report, encode
from provisioning.signed import SignedMessageError, open_signed, sign


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> MeshAuthority:
    return MeshAuthority.create(tmp_path_factory.mktemp("mesh") / "home", "home")


@pytest.fixture(scope="module")
def operator(authority: MeshAuthority) -> Identity:
    return authority.issue_operator()


class Bench:
    """Actions that count what they did, and a device around them that restarts when asked."""

    def __init__(self, folder: Path, bundle: bytes) -> None:
        self.folder = folder
        self.bundle = bundle
        self.revoked: frozenset[int] = frozenset()
        self.reports: list[JobReport] = []
        self.performed: list[str] = []
        self.reverted: list[str] = []
        self.restarts = 0
        self.blocked: asyncio.Event | None = None
        self.problem: str | None = None
        self.confirm_problem: str | None = None
        self.runner = self.boot()

    def boot(self) -> JobRunner:
        record = JobRecord(self.folder / "jobs.json")
        record.open()
        self.record = record
        self.runner = JobRunner(
            "home", "kitchen", record, self, lambda: (self.bundle, self.revoked), self.reports.append, self._restart
        )
        return self.runner

    def _restart(self) -> None:
        self.restarts += 1

    async def perform(self, job: Job, progress: Progress) -> Performed:
        self.performed.append(job.job_id)
        if self.blocked is not None:
            await self.blocked.wait()
        if self.problem is not None:
            raise SettingsError(self.problem)
        progress(0.5)
        return Performed("did it", restart=job.action is not Action.PULL_MODEL)

    def confirm(self, job: Job) -> str:
        if self.confirm_problem is not None:
            raise SettingsError(self.confirm_problem)
        return "in force"

    def revert(self, job: Job) -> None:
        self.reverted.append(job.job_id)

    def states(self, job_id: str) -> list[JobState]:
        return [report.state for report in self.reports if report.job_id == job_id]


@pytest.fixture
async def bench(tmp_path: Path, authority: MeshAuthority) -> AsyncIterator[Bench]:
    made = Bench(tmp_path, authority.bundle_pem)
    made.runner.start()
    yield made
    await made.runner.stop()


def pull(number: int, job_id: str = "", **changes: object) -> Job:
    fields = {
        "job_id": job_id or f"job-{number}",
        "mesh": "home",
        "device_id": "kitchen",
        "sequence": number,
        "action": Action.PULL_MODEL,
        "arguments": {"model": "smollm2-135m", "use": False},
    }
    return Job(**{**fields, **changes})


def restart(number: int) -> Job:
    return pull(number, action=Action.RESTART, arguments={})


def body_of(job: Job, operator: Identity) -> bytes:
    return sign(encode(job), operator.certificate_pem, operator.key_pem)


async def until(condition: Callable[[], bool]) -> None:
    for _ in range(2_000):
        if condition():
            return
        await asyncio.sleep(0.005)
    raise AssertionError("it did not come to this in 10 s")


async def test_a_job_is_accepted_runs_and_is_done(bench: Bench, operator: Identity) -> None:
    await bench.runner.take(body_of(pull(1), operator))
    await until(lambda: JobState.DONE in bench.states("job-1"))
    assert list(dict.fromkeys(bench.states("job-1"))) == [JobState.ACCEPTED, JobState.RUNNING, JobState.DONE]
    assert any(report.progress == 0.5 for report in bench.reports)


async def test_a_job_asked_for_again_is_told_of_and_not_done_again(bench: Bench, operator: Identity) -> None:
    for _ in range(3):
        await bench.runner.take(body_of(pull(1), operator))
        await until(lambda: bench.record.find("job-1").state is JobState.DONE)
    assert bench.performed == ["job-1"]
    assert bench.states("job-1").count(JobState.DONE) == 3


async def test_an_old_job_under_a_new_name_is_refused(bench: Bench, operator: Identity) -> None:
    await bench.runner.take(body_of(pull(7), operator))
    await bench.runner.take(body_of(pull(7, "again"), operator))
    await bench.runner.take(body_of(pull(3, "older"), operator))
    await until(lambda: bench.record.find("job-7").state is JobState.DONE)
    assert bench.performed == ["job-7"]
    assert bench.states("again") == bench.states("older") == [JobState.REFUSED]


async def test_a_job_that_fails_says_why_in_one_line(bench: Bench, operator: Identity) -> None:
    bench.problem = "no such\nmodel"
    await bench.runner.take(body_of(pull(1), operator))
    await until(lambda: JobState.FAILED in bench.states("job-1"))
    assert bench.reports[-1].detail == "no such model"


async def test_a_job_with_a_restart_is_done_when_the_device_is_back(bench: Bench, operator: Identity) -> None:
    await bench.runner.take(body_of(restart(1), operator))
    await until(lambda: bench.restarts == 1)
    assert bench.states("job-1")[-1] is JobState.RUNNING
    await bench.runner.stop()
    bench.boot().start()
    assert bench.states("job-1")[-1] is JobState.DONE
    assert bench.performed == ["job-1"]
    assert bench.restarts == 1


async def test_after_a_restart_that_changed_nothing_the_job_has_failed(bench: Bench, operator: Identity) -> None:
    await bench.runner.take(body_of(restart(1), operator))
    await until(lambda: bench.restarts == 1)
    await bench.runner.stop()
    bench.confirm_problem = "the old version runs"
    bench.boot().start()
    assert bench.reports[-1] == JobReport("job-1", "kitchen", JobState.FAILED, "the old version runs")


async def test_a_job_cut_off_by_a_crash_is_taken_up_again(bench: Bench, operator: Identity) -> None:
    bench.blocked = asyncio.Event()
    await bench.runner.take(body_of(pull(1), operator))
    await until(lambda: bench.performed == ["job-1"])
    await bench.runner.stop()  # what is on disk is what a kill would leave
    bench.blocked = None
    bench.boot().start()
    await until(lambda: JobState.DONE in bench.states("job-1"))
    assert bench.performed == ["job-1", "job-1"]


async def test_a_device_that_does_not_start_takes_the_change_back(bench: Bench, operator: Identity) -> None:
    await bench.runner.take(body_of(restart(1), operator))
    await until(lambda: bench.restarts == 1)
    await bench.runner.stop()
    bench.boot()
    assert revert_unproven(bench.record, bench, "model not found")
    assert bench.reverted == ["job-1"]
    assert not revert_unproven(bench.record, bench, "model not found"), "there is nothing more to take back"
    bench.runner.start()
    await bench.runner.take(body_of(restart(1), operator))
    assert bench.reports[-1].state is JobState.FAILED
    assert "model not found" in bench.reports[-1].detail


async def test_jobs_that_do_not_fit_are_refused_in_words(bench: Bench, operator: Identity) -> None:
    bench.blocked = asyncio.Event()
    for number in range(1, WAITING_MAX + 3):
        await bench.runner.take(body_of(pull(number), operator))
        if number == 1:
            await until(lambda: bench.performed == ["job-1"])
    assert bench.reports[-1].state is JobState.REFUSED
    assert "waiting" in bench.reports[-1].detail
    assert bench.record.find(bench.reports[-1].job_id) is None


async def test_only_the_operator_of_this_mesh_is_believed(
    bench: Bench, authority: MeshAuthority, operator: Identity, tmp_path: Path
) -> None:
    stranger = MeshAuthority.create(tmp_path / "other", "home").issue_operator()
    device = authority.issue_device("pantry")
    good = body_of(pull(1), operator)
    for body in (
        body_of(pull(1), stranger),
        body_of(pull(1), device),
        sign(encode(pull(1)), operator.certificate_pem, stranger.key_pem),
        good.replace(b"kitchen", b"chicken"),
        body_of(pull(1, device_id="pantry"), operator),
        body_of(pull(1, mesh="away"), operator),
        b"",
        b"{}",
        b"\xff" * 100,
        good + b" " * 70_000,
    ):
        await bench.runner.take(body)
    assert bench.reports == []
    assert bench.performed == []
    await bench.runner.take(good)
    await until(lambda: JobState.DONE in bench.states("job-1"))


async def test_a_revoked_operator_is_not_believed(bench: Bench, operator: Identity) -> None:
    from cryptography import x509

    bench.revoked = frozenset({x509.load_pem_x509_certificate(operator.certificate_pem).serial_number})
    await bench.runner.take(body_of(pull(1), operator))
    assert bench.reports == []


def test_the_record_is_bounded_and_keeps_what_has_not_ended(tmp_path: Path) -> None:
    record = JobRecord(tmp_path / "jobs.json")
    record.open()
    record.add(pull(1))
    for number in range(2, JOBS_MAX + 10):
        record.update(record.add(pull(number)), JobState.DONE)
    again = JobRecord(tmp_path / "jobs.json")
    again.open()
    assert [entry.job.job_id for entry in again.unfinished()] == ["job-1"]
    assert again.find("job-2") is None
    assert again.find(f"job-{JOBS_MAX + 9}").state is JobState.DONE
    assert again.sequence == JOBS_MAX + 9
    assert len(json.loads((tmp_path / "jobs.json").read_text())["jobs"]) == JOBS_MAX
    assert (tmp_path / "jobs.json").stat().st_mode & 0o077 == 0


@pytest.mark.parametrize("damage", ["", "{", "[]", '{"sequence": 1, "jobs": [{"job": "?"}]}'])
def test_a_damaged_record_is_put_aside_not_lost(tmp_path: Path, damage: str) -> None:
    path = tmp_path / "jobs.json"
    path.write_text(damage)
    record = JobRecord(path)
    record.open()
    assert record.unfinished() == []
    assert path.with_suffix(".unreadable").read_text() == damage
    record.add(pull(1))


@given(
    st.one_of(
        st.binary(max_size=200),
        st.recursive(st.none() | st.booleans() | st.text(), st.lists).map(json.dumps).map(str.encode),
    )
)
def test_whatever_comes_is_a_signed_message_or_one_known_error(body: bytes) -> None:
    with pytest.raises(SignedMessageError):
        open_signed(body, b"")


_json = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=10), inner, max_size=4),
    max_leaves=10,
)
_fields = st.sampled_from(
    ["v", "type", "job_id", "mesh", "device_id", "sequence", "action", "arguments", "state", "detail", "progress"]
)


@given(st.dictionaries(_fields, _json), st.sampled_from([pull(1), restart(2), JobReport("a", "b", JobState.DONE)]))
def test_a_message_with_anything_in_its_fields_is_read_or_refused(changes: dict[str, object], message: Job) -> None:
    text = json.dumps({**json.loads(encode(message)), **changes})
    for decode in (decode_job, decode_report):
        try:
            decoded = decode(text)
        except JobMessageError:
            continue
        assert decode(encode(decoded)) == decoded


def test_a_job_survives_its_encoding() -> None:
    for job in (pull(1), restart(2), pull(3, action=Action.SET, arguments={"agent.layers": 1, "engine.model": None})):
        assert decode_job(encode(job)) == job
