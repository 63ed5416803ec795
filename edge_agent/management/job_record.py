"""What a device remembers of its jobs over a restart: how far each is, and the highest sequence number it has seen."""

from __future__ import annotations

import json
import logging
import shutil
from collections import OrderedDict
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, final

from edge_agent.files import read_if_there, rename
from provisioning.errors import ProvisioningError
from provisioning.files import PRIVATE, write_atomically
from provisioning.jobs import Job, JobMessageError, JobState, decode_job, encode

log = logging.getLogger(__name__)

JOBS_MAX = 64  # an operator who asks what became of a job asks about one of the last few
FILE_BYTES_MAX = 4 * 1024 * 1024  # 64 jobs of 32 KiB each, twice over


@final
@dataclass(frozen=True, slots=True)
class JobEntry:
    """One job. `restarting`: all is done but the restart; whether it worked shows after it."""

    job: Job
    state: JobState
    detail: str = ""
    restarting: bool = False


class JobRecord:
    """The record of one device in one file, whole after any crash. Read it with `open` first.

    A file that cannot be read is put aside and said. Then a job counts only if it was asked after that file was last
    written: what was done is not done again, whoever sends it, and the operator asks anew for what was not.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._entries: OrderedDict[str, JobEntry] = OrderedDict()
        self.sequence = 0
        """The highest sequence number taken so far."""

    def open(self) -> None:
        """Reads the file, if there is one.

        Raises:
            OSError: it is there and can be neither read nor put aside.
            ProvisioningError: what takes its place cannot be written.
        """
        try:
            data = read_if_there(self._path, FILE_BYTES_MAX)
            if data is None:
                return
            self._load(json.loads(data))
        except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError, JobMessageError) as error:
            self._set_aside(error)

    def find(self, job_id: str) -> JobEntry | None:
        """Returns what is known of a job."""
        return self._entries.get(job_id)

    def unfinished(self) -> list[JobEntry]:
        """Returns the jobs that have not ended, in the order in which they came."""
        return [entry for entry in self._entries.values() if not entry.state.ended]

    def add(self, job: Job) -> JobEntry:
        """Records a job as accepted; the oldest that have ended are forgotten over `JOBS_MAX`.

        Raises:
            ProvisioningError: it cannot be recorded, and must not be begun.
        """
        before = self.sequence
        self.sequence = max(before, job.sequence)
        try:
            return self._put(JobEntry(job, JobState.ACCEPTED))
        except ProvisioningError:
            self.sequence = before
            self._entries.pop(job.job_id, None)
            raise

    def update(self, entry: JobEntry, state: JobState, detail: str = "", *, restarting: bool = False) -> JobEntry:
        """Records how far a job is.

        Raises:
            ProvisioningError: it cannot be recorded.
        """
        return self._put(replace(entry, state=state, detail=detail, restarting=restarting))

    def _put(self, entry: JobEntry) -> JobEntry:
        self._entries[entry.job.job_id] = entry
        while len(self._entries) > JOBS_MAX:
            ended = next((name for name, kept in self._entries.items() if kept.state.ended), None)
            if ended is None:
                break
            del self._entries[ended]
        self._save()
        return entry

    def _set_aside(self, error: Exception) -> None:
        aside = self._path.with_suffix(".unreadable")
        self._entries.clear()
        self.sequence = int(self._path.lstat().st_mtime * 1000)  # sequence numbers begin at the time of day
        if aside.is_dir() and not aside.is_symlink():  # of an earlier time: one is kept
            shutil.rmtree(aside)
        else:
            aside.unlink(missing_ok=True)
        rename(self._path, aside)
        self._save()
        log.error(
            "the record of jobs, %s, is unreadable (%s) and was moved to %s; earlier jobs are refused: give them again",
            *(self._path, " ".join(str(error).split()), aside),
        )

    def _load(self, data: Any) -> None:
        for item in data["jobs"]:
            job = decode_job(item["job"])
            self._entries[job.job_id] = JobEntry(
                job, JobState(item["state"]), str(item["detail"]), bool(item["restarting"])
            )
        self.sequence = int(data["sequence"])

    def _save(self) -> None:
        jobs = [
            {"job": encode(entry.job), "state": entry.state, "detail": entry.detail, "restarting": entry.restarting}
            for entry in self._entries.values()
        ]
        self._path.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(self._path, json.dumps({"sequence": self.sequence, "jobs": jobs}).encode(), PRIVATE)
