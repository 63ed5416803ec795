"""Takes jobs from the operator, does each once, one after the other, and says how far it is."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol, final

from edge_agent.core.errors import MoameshError
from edge_agent.management.job_record import JobEntry, JobRecord
from edge_agent.tasks import ProblemListener, TaskSupervisor, describe, log_only
from provisioning.errors import ProvisioningError
from provisioning.jobs import Job, JobMessageError, JobReport, JobState, decode_job, one_line
from provisioning.signed import SignedMessageError, open_signed

log = logging.getLogger(__name__)

WAITING_MAX = 16  # jobs accepted and not begun; the operator is told to ask again later
PROGRESS_STEP = 0.05  # a report for each twentieth of a download

Progress = Callable[[float], None]
"""Called with the share that is done, from any thread."""


@final
@dataclass(frozen=True, slots=True)
class Performed:
    """What came of a job. With `restart` it is done only when the device has come back."""

    detail: str
    restart: bool = False


class Actions(Protocol):
    """What a device can do when asked. `edge_agent.management.actions` has the real ones."""

    async def perform(self, job: Job, progress: Progress) -> Performed:
        """Does the job; doing it again after a crash in the middle must come to the same.

        Raises:
            MoameshError: it cannot be done; one line.
        """
        ...

    def confirm(self, job: Job) -> str:
        """The device has restarted for this job and is connected. Returns one line on what is now so.

        Raises:
            MoameshError: it is not so; one line.
        """
        ...

    def revert(self, job: Job) -> None:
        """The device did not come up after this job: puts back what was before."""
        ...


class JobRunner:
    """The jobs of one device.

    Args:
        trusted: returns the authority's certificates (PEM) and the revoked serial numbers, as they are known now.
        report: sends a report; may be called at any time after `start`.
        restart: asks the device to end and begin anew.
        told: hears in one line of what nobody foresaw, and "" once all is well again.

    Duty of the caller: `start` once, when the device is connected; `take` for each body that comes; `stop`.
    """

    def __init__(
        self,
        mesh: str,
        device_id: str,
        record: JobRecord,
        actions: Actions,
        trusted: Callable[[], tuple[bytes, frozenset[int]]],
        report: Callable[[JobReport], None],
        restart: Callable[[], None],
        on_problem: ProblemListener = log_only,
    ) -> None:
        self._mesh = mesh
        self._device_id = device_id
        self._record = record
        self._actions = actions
        self._trusted = trusted
        self._report = report
        self._restart = restart
        self._waiting: asyncio.Queue[JobEntry] = asyncio.Queue(WAITING_MAX)
        self._tasks = TaskSupervisor("steward", on_problem)

    def start(self) -> None:
        """Ends what waited for a restart, takes up what a crash left, and begins to work."""
        self._waiting = asyncio.Queue(WAITING_MAX)  # what came before is on record, and so among the unfinished
        for entry in self._record.unfinished():
            if entry.restarting:
                self._confirm(entry)
            elif not self._waiting.full():
                self._waiting.put_nowait(entry)
        self._tasks.keep("jobs", self._work)

    async def stop(self) -> None:
        """Ends the work; a job that is running is taken up again at the next start."""
        await self._tasks.stop()

    async def take(self, body: bytes) -> None:
        """Takes a body that came for this device. What is no job of the operator is logged and dropped."""
        try:
            bundle, revoked = self._trusted()
            job = decode_job(open_signed(body, bundle, revoked=revoked))
        except (SignedMessageError, JobMessageError, ProvisioningError) as error:  # the last: a damaged file of ours
            log.warning("job refused: %s", error)
            return
        if (job.mesh, job.device_id) != (self._mesh, self._device_id):
            log.warning("job refused: it is for device %s of mesh %s", job.device_id, job.mesh)
            return
        known = self._record.find(job.job_id)
        if known is not None:
            self._tell(known)
        elif job.sequence <= self._record.sequence:
            self._refuse(
                job, f"its sequence number {job.sequence} was used already; the newest is {self._record.sequence}"
            )
        elif self._waiting.full():
            self._refuse(job, f"{WAITING_MAX} jobs are waiting here: ask again later")
        else:
            self._accept(job)

    def _accept(self, job: Job) -> None:
        try:
            entry = self._record.add(job)
        except ProvisioningError as error:
            self._refuse(job, f"the job cannot be recorded: {error}")
            return
        self._tell(entry)
        self._waiting.put_nowait(entry)

    async def _work(self) -> None:
        while True:
            entry = await self._waiting.get()
            try:
                await self._perform(entry)
            except ProvisioningError as error:
                log.error("job %s: %s", entry.job.job_id, error)  # the disk is full: it is taken up after a restart

    async def _perform(self, entry: JobEntry) -> None:
        entry = self._record.update(entry, JobState.RUNNING)
        self._tell(entry)
        log.info("job %s: %s", entry.job.job_id, entry.job.action)
        try:
            performed = await self._actions.perform(entry.job, self._progress(entry))
        except MoameshError as error:
            self._end(entry, JobState.FAILED, str(error))
            return
        except Exception as error:  # whatever an action raises: the operator hears of it, and the next job has its turn
            log.exception("job %s failed", entry.job.job_id)
            self._end(entry, JobState.FAILED, describe(error))
            return
        if not performed.restart:
            self._end(entry, JobState.DONE, performed.detail)
            return
        entry = self._record.update(entry, JobState.RUNNING, one_line(performed.detail), restarting=True)
        self._tell(entry)
        self._restart()
        await asyncio.Event().wait()  # nothing else is begun before the restart; `stop` ends this

    def _confirm(self, entry: JobEntry) -> None:
        try:
            self._end(entry, JobState.DONE, self._actions.confirm(entry.job))
        except MoameshError as error:
            self._end(entry, JobState.FAILED, str(error))

    def _end(self, entry: JobEntry, state: JobState, detail: str) -> None:
        log.info("job %s: %s, %s", entry.job.job_id, state, detail)
        self._tell(self._record.update(entry, state, one_line(detail)))

    def _refuse(self, job: Job, detail: str) -> None:
        log.warning("job %s refused: %s", job.job_id, detail)
        self._report(JobReport(job.job_id, self._device_id, JobState.REFUSED, detail))

    def _tell(self, entry: JobEntry) -> None:
        self._report(JobReport(entry.job.job_id, self._device_id, entry.state, entry.detail))

    def _progress(self, entry: JobEntry) -> Progress:
        loop = asyncio.get_running_loop()
        told = 0.0

        def progress(share: float) -> None:
            nonlocal told
            if share >= told + PROGRESS_STEP:
                told = share
                report = JobReport(entry.job.job_id, self._device_id, JobState.RUNNING, "", min(share, 1.0))
                loop.call_soon_threadsafe(self._report, report)

        return progress


def revert_unproven(record: JobRecord, actions: Actions, reason: str) -> bool:
    """The device could not be started. If a job asked for the restart, takes back what it changed.

    Returns whether something was taken back, so that another start is worth trying.
    """
    reverted = False
    for entry in record.unfinished():
        if entry.restarting:
            actions.revert(entry.job)
            record.update(
                entry, JobState.FAILED, one_line(f"undone, because the device did not start with it: {reason}")
            )
            log.error("job %s undone, because the device did not start with it: %s", entry.job.job_id, reason)
            reverted = True
    return reverted
