"""Files of prompts and of answers, in AlpacaEval's form."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edge_agent.cli.entry import has_surrogates
from edge_agent.core.errors import SettingsError
from edge_agent.files import PUBLIC, write_atomically

DATASPLIT = "eval"  # what AlpacaEval calls the split that its prompts belong to
FILE_BYTES_MAX = 256 * 1024 * 1024  # hundreds of thousands of prompts; beyond, the wrong file was named


@dataclass(frozen=True, slots=True)
class PromptEntry:
    """A prompt of a file. `number` is its place there, from 0."""

    number: int
    instruction: str
    dataset: str


def read_prompts(path: Path, limit: int | None) -> list[PromptEntry]:
    """Reads a list of {instruction, dataset}; other keys are ignored.

    Raises:
        SettingsError: the file cannot be read or is not of that form; says where.
    """
    try:
        if path.stat().st_size > FILE_BYTES_MAX:
            raise SettingsError(f"{path} is too large for a file of prompts")
        entries = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise SettingsError(f"cannot read {path}: {error.strerror}") from None
    except UnicodeDecodeError:
        raise SettingsError(f"{path} is not UTF-8 text") from None
    except (ValueError, RecursionError) as error:
        raise SettingsError(f"{path} is not JSON: {error}") from None
    if not isinstance(entries, list):
        raise SettingsError(f"{path} must hold a list of {{instruction, dataset}}")
    if not entries:
        raise SettingsError(f"{path} holds no prompts")
    return [_entry(path, number, entry) for number, entry in enumerate(entries[:limit])]


def _entry(path: Path, number: int, entry: Any) -> PromptEntry:
    instruction = entry.get("instruction") if isinstance(entry, dict) else None
    if not isinstance(instruction, str) or not instruction.strip():
        raise SettingsError(f"{path}: entry {number} has no instruction")
    dataset = str(entry.get("dataset", ""))
    if has_surrogates(instruction + dataset):  # JSON's escapes can write halves of characters, which nobody can send
        raise SettingsError(f"{path}: entry {number} holds half a character (\\ud800 to \\udfff)")
    return PromptEntry(number, instruction, dataset)


def write_outputs(path: Path, outputs: Sequence[dict[str, Any]]) -> None:
    """Writes the list at once or not at all."""
    write_atomically(path, (json.dumps(list(outputs), ensure_ascii=False, indent=2) + "\n").encode(), PUBLIC)


class ProvenanceFile:
    """One JSON object a line for each prompt that ended, written as it ends: a crash loses nothing that was done.

    Args:
        path: the file. What another run left there is kept beside it as `.old`, unless it is resumed.
        resume: keep the prompts answered before; `done` has them by number.
    """

    def __init__(self, path: Path, *, resume: bool) -> None:
        self.path = path
        self.done: dict[int, dict[str, Any]] = _answered(path) if resume else {}
        if path.exists() and not resume:
            path.replace(path.with_name(f"{path.name}.old"))
        write_atomically(path, "".join(_line(fields) for fields in self.done.values()).encode(), PUBLIC)
        self._file = path.open("a", encoding="utf-8")

    def add(self, fields: dict[str, Any]) -> None:
        """Writes one prompt's object, which must have its `number`."""
        self._file.write(_line(fields))
        self._file.flush()
        self.done[fields["number"]] = fields

    def close(self) -> None:
        """Closes the file."""
        self._file.close()


def _answered(path: Path) -> dict[int, dict[str, Any]]:
    done: dict[int, dict[str, Any]] = {}
    if path.exists():
        for line in path.read_text(encoding="utf-8", errors="replace").splitlines():
            try:
                fields = json.loads(line)
                if fields["outcome"] == "answered":
                    done[int(fields["number"])] = fields
            except (ValueError, KeyError, TypeError, RecursionError):
                continue  # the last line of a run that was killed
    return done


def _line(fields: dict[str, Any]) -> str:
    return json.dumps(fields, ensure_ascii=False) + "\n"
