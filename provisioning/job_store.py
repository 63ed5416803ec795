"""The operator's side of jobs: what was asked of which device, and how far it is. Kept over restarts."""

from __future__ import annotations

import json
import secrets
import sqlite3
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, final

from provisioning.database import cannot_be_used, make_database, open_database
from provisioning.errors import ProvisioningError
from provisioning.jobs import Action, Job, JobReport, JobState, Value, encode
from provisioning.signed import sign

JOBS_MAX = 10_000  # a hundred jobs for each of a hundred devices; the oldest that have ended leave first
RESEND_S = 10.0  # a device that is there answers at once; one that is not is asked when it comes online
_SCHEMA = """
CREATE TABLE IF NOT EXISTS jobs (
    job_id TEXT PRIMARY KEY, device_id TEXT NOT NULL, sequence INTEGER NOT NULL, action TEXT NOT NULL,
    arguments TEXT NOT NULL, state TEXT NOT NULL, detail TEXT NOT NULL, progress REAL, asked_at REAL NOT NULL,
    told_at REAL
);
CREATE INDEX IF NOT EXISTS jobs_of_device ON jobs (device_id, sequence);
"""
_SCHEMA_VERSION = 1
_WAY_OUT = "put a copy back, or move it away: the results of earlier jobs are then lost"
ASKED = "asked"
"""The state of a job that its device has not answered."""


@final
@dataclass(frozen=True, slots=True)
class JobRow:
    """A job as the operator sees it. `state` is `ASKED` or a `JobState`; times are seconds since 1970."""

    job: Job
    state: str
    detail: str
    progress: float | None
    asked_at: float
    told_at: float | None

    @property
    def ended(self) -> bool:
        """Whether nothing more will happen."""
        return self.state != ASKED and JobState(self.state).ended


class JobStore:
    """The jobs of one mesh, in one file of the operator's.

    Args:
        path: the file; made if it is not there.
        operator: returns certificate and key (PEM) with which jobs are signed, as they are then.

    Raises:
        ProvisioningError: here, and from every method: the file is damaged or can't be used.
    """

    def __init__(
        self,
        path: Path,
        mesh: str,
        operator: Callable[[], tuple[bytes, bytes]],
        *,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._path = path
        self._mesh = mesh
        self._operator = operator
        self._clock = clock
        make_database(path, _SCHEMA, _SCHEMA_VERSION)
        self._database = open_database(path, _SCHEMA, _SCHEMA_VERSION, _WAY_OUT)

    def close(self) -> None:
        """Closes the file."""
        self._database.close()

    def ask(self, device_id: str, action: Action, arguments: dict[str, Value] | None = None) -> Job:
        """Records a job for a device and returns it. Its sequence number is above every one before, also should this
        file have been lost: it begins at the time of day."""
        now = self._clock()
        with self._transaction() as database:
            (highest,) = database.execute(
                "SELECT coalesce(max(sequence), 0) FROM jobs WHERE device_id = ?", (device_id,)
            ).fetchone()
            job = Job(
                f"job-{secrets.token_hex(8)}",
                self._mesh,
                device_id,
                max(highest + 1, int(now * 1000)),
                action,
                arguments or {},
            )
            database.execute(
                "INSERT INTO jobs VALUES (?, ?, ?, ?, ?, ?, '', NULL, ?, NULL)",
                (job.job_id, device_id, job.sequence, action.value, json.dumps(job.arguments), ASKED, now),
            )
            self._forget(database)
        return job

    def body(self, job: Job) -> bytes:
        """Returns what is published on the device's `jobs`."""
        return sign(encode(job), *self._operator())

    def take(self, report: JobReport, device_id: str) -> JobRow | None:
        """Takes what came on the `job-reports` of `device_id`. Returns the row, `None` if there is no such job of this
        device. What has ended stays as it is."""
        with self._transaction() as database:
            database.execute(
                "UPDATE jobs SET state = ?, detail = ?, progress = ?, told_at = ? "
                "WHERE job_id = ? AND device_id = ? AND state NOT IN ('done', 'failed', 'refused')",
                (report.state.value, report.detail, report.progress, self._clock(), report.job_id, device_id),
            )
        row = self.find(report.job_id)
        return row if row is not None and row.job.device_id == device_id == report.device_id else None

    def next_for(self, device_id: str) -> Job | None:
        """Returns the oldest job of a device that has not ended: what to publish (again) when it is online."""
        rows = self._select("WHERE device_id = ? ORDER BY sequence", (device_id,))
        return next((row.job for row in rows if not row.ended), None)

    def due(self) -> list[Job]:
        """Returns the oldest job of each device that has not ended: what is to be published now."""
        oldest: dict[str, Job] = {}
        for row in self._select("WHERE state NOT IN ('done', 'failed', 'refused') ORDER BY sequence", ()):
            oldest.setdefault(row.job.device_id, row.job)
        return list(oldest.values())

    def cancel(self, job_id: str) -> bool:
        """Forgets a job that its device has not answered yet; says whether there was one."""
        with self._transaction() as database:
            gone = database.execute("DELETE FROM jobs WHERE job_id = ? AND state = ?", (job_id, ASKED))
        return gone.rowcount > 0

    def find(self, job_id: str) -> JobRow | None:
        """Returns one job."""
        return next(iter(self._select("WHERE job_id = ?", (job_id,))), None)

    def rows(self, device_id: str | None = None) -> list[JobRow]:
        """Returns the jobs, the newest first."""
        if device_id is None:
            return self._select("ORDER BY sequence DESC, job_id", ())
        return self._select("WHERE device_id = ? ORDER BY sequence DESC", (device_id,))

    def _select(self, rest: str, values: tuple[str, ...]) -> list[JobRow]:
        with self._explained():
            rows = self._database.execute(f"SELECT * FROM jobs {rest}", values).fetchall()  # noqa: S608 - from this file
        return [self._row(*row) for row in rows]

    def _row(
        self, job_id: str, device_id: str, sequence: int, action: str, arguments: str, state: str, *how_far: Any
    ) -> JobRow:
        try:
            job = Job(job_id, self._mesh, device_id, sequence, Action(action), json.loads(arguments))
        except ValueError:
            raise ProvisioningError(f"{self._path}: {job_id[:80]} is damaged; remove the file to start again") from None
        return JobRow(job, state, *how_far)

    def _forget(self, database: sqlite3.Connection) -> None:
        database.execute(
            "DELETE FROM jobs WHERE job_id IN (SELECT job_id FROM jobs WHERE state IN ('done', 'failed', 'refused') "
            "ORDER BY sequence LIMIT max(0, (SELECT count(*) FROM jobs) - ?))",
            (JOBS_MAX,),
        )

    @contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
        with self._explained():
            self._database.execute("BEGIN IMMEDIATE")
            try:
                yield self._database
                self._database.execute("COMMIT")
            except BaseException:
                if self._database.in_transaction:
                    self._database.execute("ROLLBACK")
                raise

    @contextmanager
    def _explained(self) -> Iterator[None]:
        try:
            yield
        except (sqlite3.Error, OSError) as error:
            raise cannot_be_used(self._path, error, _WAY_OUT) from None
