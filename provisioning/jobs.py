"""What an operator asks of a device over MQTT, and what the device says of it.

Modelled on AWS IoT Jobs: a job is asked for again until the device has taken it, and is done once however often it is
asked for. Its sequence number only goes up, so that an old job, repeated by whoever recorded it, is not done again.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from enum import StrEnum
from typing import Any, final

from edge_agent.wire.topics import VERSION, is_id

_VERSIONS_READ = (1, VERSION)  # a device that a job has upgraded reads it as its former self kept it
PAYLOAD_BYTES_MAX = 32 * 1024
ARGUMENTS_MAX = 64  # settings, or users, in one job: more than there are keys that anybody changes at once
TEXT_CHARACTERS_MAX = 4096  # of one argument
DETAIL_CHARACTERS_MAX = 500  # one line for people
_SEQUENCE_MAX = 2**52  # the largest that every JSON reader holds exactly


class JobMessageError(Exception):
    """A payload is no job or report. One line."""


class Action(StrEnum):
    """What can be asked. The arguments of each stand in `_FORMS`."""

    SET = "set"
    """Settings by dotted key (`agent.layers`), over the device's file; `None` takes one back. Then it restarts."""
    PULL_MODEL = "pull-model"
    """Makes `model` available; with `use` it becomes the engine's, and the device restarts."""
    RESTART = "restart"
    """Ends cleanly and starts again; accepted prompts are finished after it."""
    UPGRADE = "upgrade"
    """Installs `version` of moamesh, the wheel with this `sha256` and what it was locked to, then restarts."""
    USERS = "users"
    """Who may use a device that runs its own broker: names and their passwords' hashes, nobody else from then on."""


class JobState(StrEnum):
    """How far a job is. The last three are its end."""

    ACCEPTED = "accepted"
    RUNNING = "running"
    DONE = "done"
    FAILED = "failed"
    REFUSED = "refused"

    @property
    def ended(self) -> bool:
        """Whether nothing more will happen."""
        return self in (JobState.DONE, JobState.FAILED, JobState.REFUSED)


Value = str | int | float | bool | None
_FORMS: dict[Action, dict[str, type]] = {
    Action.PULL_MODEL: {"model": str, "use": bool},
    Action.RESTART: {},
    Action.UPGRADE: {"version": str, "sha256": str},
}


@final
@dataclass(frozen=True, slots=True)
class Job:
    """One thing asked of one device of one mesh."""

    job_id: str
    mesh: str
    device_id: str
    sequence: int
    action: Action
    arguments: dict[str, Value] = field(default_factory=dict)


@final
@dataclass(frozen=True, slots=True)
class JobReport:
    """What the device says. `detail` is one line; `progress` from 0 to 1 while running, where it is known."""

    job_id: str
    device_id: str
    state: JobState
    detail: str = ""
    progress: float | None = None


def encode(message: Job | JobReport) -> str:
    """Returns the payload."""
    kind = "job" if isinstance(message, Job) else "job-report"
    return json.dumps({"v": VERSION, "type": kind, **asdict(message)}, ensure_ascii=False, allow_nan=False)


def decode_job(payload: str) -> Job:
    """Reads a job, strictly.

    Raises:
        JobMessageError: it is none, or its arguments are not those of its action.
    """
    fields = _fields(payload, "job", {"job_id", "mesh", "device_id", "sequence", "action", "arguments"})
    for name in ("job_id", "mesh", "device_id"):
        _check(isinstance(fields[name], str) and is_id(fields[name]), f"{name} must be 1 to 64 of a-z, 0-9 and -")
    sequence = fields["sequence"]
    _check(type(sequence) is int and 0 < sequence <= _SEQUENCE_MAX, "sequence must be a whole number above 0")
    _check(fields["action"] in list(Action), f"action must be one of {', '.join(Action)}")
    action = Action(fields["action"])
    arguments = fields["arguments"]
    _check(isinstance(arguments, dict) and len(arguments) <= ARGUMENTS_MAX, f"arguments: at most {ARGUMENTS_MAX}")
    _check_arguments(action, arguments)
    return Job(fields["job_id"], fields["mesh"], fields["device_id"], sequence, action, arguments)


def decode_report(payload: str) -> JobReport:
    """Reads a report, strictly.

    Raises:
        JobMessageError: it is none.
    """
    fields = _fields(payload, "job-report", {"job_id", "device_id", "state", "detail", "progress"})
    for name in ("job_id", "device_id"):
        _check(isinstance(fields[name], str) and is_id(fields[name]), f"{name} must be 1 to 64 of a-z, 0-9 and -")
    _check(fields["state"] in list(JobState), f"state must be one of {', '.join(JobState)}")
    detail, progress = fields["detail"], fields["progress"]
    _check(isinstance(detail, str) and len(detail) <= DETAIL_CHARACTERS_MAX, "detail must be a line of text")
    known = progress is None or (type(progress) in (int, float) and 0.0 <= progress <= 1.0)
    _check(known, "progress must be from 0 to 1")
    return JobReport(fields["job_id"], fields["device_id"], JobState(fields["state"]), one_line(detail), progress)


def one_line(text: str) -> str:
    """Returns `text` as it may stand in a report: one line, and no control character, which a terminal would obey."""
    printable = "".join(letter if letter.isprintable() else "?" for letter in " ".join(text.split()))
    return printable[:DETAIL_CHARACTERS_MAX]


def _check_arguments(action: Action, arguments: dict[str, Any]) -> None:
    for name, value in arguments.items():
        plain = value is None or isinstance(value, str | int | float | bool)
        _check(plain and len(str(value)) <= TEXT_CHARACTERS_MAX, f"{name}: must be a short text, number or flag")
    if action is Action.SET:
        _check(bool(arguments), "set needs at least one section.key")
        for name in arguments:
            _check(name.count(".") == 1 and not name.startswith("."), f"{name}: must be section.key")
        return
    if action is Action.USERS:
        for name, value in arguments.items():
            _check(is_id(name) and isinstance(value, str), f"{name}: must be a user's name and a password's hash")
        return
    form = _FORMS[action]
    wanted = ", ".join(form) or "no arguments"
    _check(set(arguments) == set(form), f"{action} takes {wanted}")
    for name, kind in form.items():
        _check(type(arguments[name]) is kind, f"{name} must be {'true or false' if kind is bool else 'text'}")


def _fields(payload: str, kind: str, names: set[str]) -> dict[str, Any]:
    _check(len(payload.encode(errors="replace")) <= PAYLOAD_BYTES_MAX, f"over {PAYLOAD_BYTES_MAX} bytes")
    try:
        fields = json.loads(payload, parse_constant=_refuse_constant)
    except (ValueError, RecursionError):
        raise JobMessageError("job: not JSON") from None
    _check(isinstance(fields, dict) and set(fields) == names | {"v", "type"}, f"must have {', '.join(sorted(names))}")
    _check(fields["v"] in _VERSIONS_READ and fields["type"] == kind, f"must be type {kind!r} of v {VERSION}")
    return dict(fields)


def _refuse_constant(name: str) -> None:
    raise ValueError(f"{name} is not a number")


def _check(holds: bool, problem: str) -> None:
    if not holds:
        raise JobMessageError(f"job: {problem}")
