"""What must hold at the end, read from journals, telemetry, and what users were told."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path

from pydantic import TypeAdapter

from edge_agent.adapters.telemetry import Point, TelemetryServer, read_database, read_points
from edge_agent.core.events import ReplyRoute
from edge_agent.core.messages import Answer
from edge_agent.wire.measurements import FIELDS
from tests.chaos.record import Key, Record
from tests.support.patience import PATIENCE_S

JOURNAL = "journal.sqlite3"
EXAMPLES_MAX = 20  # of each kind of violation, to be read

_ANSWER = TypeAdapter(Answer)
_REPLY = TypeAdapter(ReplyRoute)


@dataclass
class Journal:
    """What a device's journal holds: prompts under way and ends, by (user, prompt id)."""

    open: list[tuple[str, str]] = field(default_factory=list)
    ends: dict[tuple[str, str], Answer] = field(default_factory=dict)


def read_journal(path: Path) -> Journal:
    """Reads a journal without changing it."""
    journal = Journal()
    with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True, timeout=PATIENCE_S)) as database:
        for inbox, prompt_id in database.execute("SELECT inbox, prompt_id FROM prompts"):
            journal.open.append((_user(inbox), prompt_id))
        for inbox, prompt_id, answer in database.execute("SELECT inbox, prompt_id, answer FROM answers"):
            journal.ends[_user(inbox), prompt_id] = _ANSWER.validate_json(answer)
    return journal


@dataclass
class Report:
    """What was found. `violations` is empty when every promise was kept.

    Attributes:
        accepted, ended, told: prompts with a durable receipt; of them those that ended; of them those whose end was
            told, or waits in the journal for a user who is gone (a gateway that was killed).
        not_durable, not_durable_lost: prompts whose receipt said that a restart loses them; those that never ended.
        two_ends: prompts of which two different ends were told.
    """

    accepted: int = 0
    ended: int = 0
    told: int = 0
    lost: int = 0
    not_durable: int = 0
    not_durable_lost: int = 0
    two_ends: int = 0
    points: int = 0
    points_missing: int = 0
    points_strange: int = 0
    violations: list[str] = field(default_factory=list)

    def add(self, what: str, found: list[str]) -> None:
        """Notes violations of one kind."""
        self.violations += [f"{what}: {one}" for one in found[:EXAMPLES_MAX]]
        if len(found) > EXAMPLES_MAX:
            self.violations.append(f"{what}: {len(found) - EXAMPLES_MAX} more")


def judge_prompts(
    report: Report,
    record: Record,
    journals: dict[str, Journal],
    unanswered: dict[Key, str],
) -> None:
    """Compares promises with ends.

    Args:
        unanswered: prompts that were asked again at the end and still not answered, with the reason.
    """
    lost: list[str] = []
    for key, story in record.accepted(durable=True).items():
        report.accepted += 1
        kept = journals[key[0]].ends.get(key[1:])
        if story.ends or kept is not None:
            report.ended += 1
            report.told += key not in unanswered
        if key in unanswered or not (story.ends or kept is not None):
            lost.append(f"{_say(key)}: {unanswered.get(key, 'no end anywhere')}")
    report.lost = len(lost)
    report.add("accepted for good and not told its end", lost)
    weak = record.accepted(durable=False)
    report.not_durable = len(weak)
    report.not_durable_lost = sum(
        not story.ends and key[1:] not in journals[key[0]].ends for key, story in weak.items()
    )
    _judge_ends(report, record, journals)
    still_open = [
        f"{device}: {user} {prompt_id}" for device, journal in journals.items() for user, prompt_id in journal.open
    ]
    report.add("still under way at the end", still_open)


def _judge_ends(report: Report, record: Record, journals: dict[str, Journal]) -> None:
    differing: list[str] = []
    for key, story in record.stories.items():
        kept = journals[key[0]].ends.get(key[1:])
        answers = [answer for _, answer in story.ends]
        if kept is not None and story.ends and kept not in answers:
            answers.append(kept)
        if len(answers) < 2:
            continue
        said = f"{_say(key)} ({'durable' if story.durable else 'not durable'}): "
        said += " / ".join(f"{one.outcome.value} {one.text[:60]!r} {one.detail[:80]!r}" for one in answers)
        differing.append(said)
    report.two_ends = len(differing)
    report.add("two different ends", differing)


def points_written(folder: Path) -> set[str]:
    """What a device has measured, in its files; not what became of its points, which nobody reads back."""
    return {_line(point) for point in read_points(folder) if point.measurement in FIELDS}


def points_stored(database: TelemetryServer, mesh: str, device: str) -> set[str]:
    """What the database has of a device."""
    return {_line(point) for point in read_database(database, mesh) if point.tags.get("device_id") == device}


def _line(point: Point) -> str:
    """The same for the same point, in whatever order its parts come."""
    return f"{point.measurement} {sorted(point.tags.items())} {sorted(point.fields.items())} {point.time_ns}"


def _user(inbox: str) -> str:
    return inbox.rpartition("/")[2]


def _say(key: Key) -> str:
    return f"{key[2]} of {key[1]} at {key[0]}"
