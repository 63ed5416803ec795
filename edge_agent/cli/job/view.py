"""How jobs are shown."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.live import Live
from rich.table import Table
from rich.text import Text

from provisioning.job_store import JobRow
from provisioning.jobs import Job

_STYLES = {"done": "good", "failed": "bad", "refused": "bad"}


def jobs_table(rows: Sequence[JobRow]) -> Table:
    """Returns the jobs, one a line."""
    table = Table(box=SIMPLE_HEAD, padding=(0, 1, 0, 0), pad_edge=False, header_style="label")
    for name in ("device", "what", "state", "asked", "job", "detail"):
        table.add_column(name, no_wrap=name in ("device", "state", "job"), overflow="fold")
    for row in rows:
        share = f" {row.progress:.0%}" if row.progress is not None and not row.ended else ""
        table.add_row(
            Text(row.job.device_id, style="name"),
            Text(_what(row.job)),
            Text(f"{row.state}{share}", style=_STYLES.get(row.state, "")),
            Text(_time(row.asked_at)),
            Text(row.job.job_id, style="quiet"),
            Text(row.detail),
        )
    return table


@contextlib.contextmanager
def live_table(out: Console) -> Iterator[Callable[[list[JobRow]], None]]:
    """Shows the jobs in a terminal while they are watched: call what it gives with how far they are."""
    with Live(console=out, refresh_per_second=4) as live:
        yield lambda rows: live.update(jobs_table(rows))


def job_object(row: JobRow) -> dict[str, Any]:
    """Returns a job for JSON."""
    return {
        **asdict(row.job),
        "state": row.state,
        "detail": row.detail,
        "progress": row.progress,
        "asked_at": _time(row.asked_at),
        "told_at": _time(row.told_at) if row.told_at is not None else None,
    }


def _what(job: Job) -> str:
    given = " ".join(f"{name}={value}" for name, value in job.arguments.items())
    return f"{job.action} {given}".strip()


def _time(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="seconds")
