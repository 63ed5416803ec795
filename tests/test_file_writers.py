"""State is written by `edge_agent/files.py` alone; whoever else writes a file stands here, with what kind it is.

What a state file is: docs/STATE.md. The rule reads the source, so that a new writer is met before its first lost file.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
ROOMS = ("moamesh", "edge_agent", "broker", "provisioning")
WRITER = "edge_agent/files.py"

OTHERS = {
    "written in place, with checks of its own: a journal's reserve, which a full disk must still take": {
        "edge_agent/adapters/journal/reserve.py Reserve._open_file",
        "edge_agent/adapters/journal/reserve.py _write",
    },
    "a database, which keeps itself whole; these make it, look at it, or set it and what belongs to it aside": {
        "edge_agent/adapters/journal/database.py open_database",
        "edge_agent/adapters/journal/database.py set_aside",
        "edge_agent/adapters/journal/file.py JournalFile._read_copy",
        "provisioning/database.py make_database",
        "provisioning/database.py _first_bytes",
    },
    "grows line by line: measurements, logs, the record of a run of prompts": {
        "edge_agent/adapters/telemetry/refused.py RefusedFile.add",
        "edge_agent/adapters/telemetry/spool.py Spool._open_file",
        "edge_agent/adapters/telemetry/spool.py Spool._write",
        "edge_agent/children/output_tail.py",
        "edge_agent/cli/prompts/file.py ProvenanceFile.__init__",
        "edge_agent/lab/simulator/load/telemetry.py TelemetryWriter.__init__",
    },
    "a large download, in parts; `put_in_place` gives it its name once it is whole": {
        "edge_agent/models/fetch_http.py _write",
        "edge_agent/models/fetch_pypi.py _download",
        "edge_agent/models/fetch_pypi.py _join",
        "edge_agent/models/optimise.py _make_empty",
    },
    "a card, a disk or an image of one, which is told whole by its partition table": {
        "provisioning/image/flash.py",
        "provisioning/image/targets.py",
        "provisioning/image/writing.py",
    },
    "lives as long as its process: a broker's settings, a trial in a temporary folder, a pipe, the kernel's": {
        "broker/kinds.py _iotcore",
        "broker/kinds.py _mosquitto",
        "edge_agent/engines/child_start.py yield_to_agent",
        "edge_agent/adapters/llama/worker.py main",
        "edge_agent/children/helpers.py",
        "edge_agent/confinement/probe.py",
        "edge_agent/doctor/model_process.py",
        "edge_agent/management/upgrade.py upgrade",
    },
    "what somebody asked to have, a page or a picture; may be a pipe, and is made again by the same command": {
        "edge_agent/cli/prompts/command.py",
        "edge_agent/lab/analysis/figures.py",
        "edge_agent/lab/experiments/pages.py write_pages",
        "edge_agent/lab/simulator/load/picture.py write_picture",
        "edge_agent/lab/simulator/load/plot.py plot",
    },
    "no file at all: a `replace` of ours that is called as a path's": {
        "broker/people_file.py PeopleFile.changing",
        "edge_agent/lab/simulator/faults/mesh.py FaultMesh.lose_disk",
        "edge_agent/management/actions.py DeviceActions._let_in",
    },
}
"""Function or module of each writer, by why it is none of a state file."""

_MODE = re.compile(r"[rwaxbt+]{1,4}")
_MODULES = {
    "os": {"replace", "rename", "renames", "link", "symlink", "fsync", "fdatasync", "truncate", "write", "pwrite"},
    "shutil": {"copy", "copy2", "copyfile", "copytree", "move"},
    "tempfile": {"NamedTemporaryFile", "TemporaryFile", "mkstemp"},
}
_METHODS = {"write_text", "write_bytes", "extractall", "hardlink_to", "symlink_to", "savefig"}


def writers(source: str) -> Iterator[tuple[str, int]]:
    """The qualified name of each function that writes, makes or renames a file, and the line."""
    yield from _writers(ast.parse(source), "")


def _writers(node: ast.AST, name: str) -> Iterator[tuple[str, int]]:
    for child in ast.iter_child_nodes(node):
        inner = name
        if isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            inner = f"{name}.{child.name}".lstrip(".")
        if (isinstance(child, ast.Call) and _writes(child)) or (isinstance(child, ast.Attribute) and _hands_on(child)):
            yield name, child.lineno
        yield from _writers(child, inner)


def _hands_on(node: ast.Attribute) -> bool:
    """Whether it names a writer, called or handed to a thread."""
    if isinstance(node.value, ast.Name) and node.value.id in _MODULES:
        return node.attr in _MODULES[node.value.id]
    return node.attr in _METHODS


def _writes(call: ast.Call) -> bool:
    match call.func:
        case ast.Attribute(value=ast.Name(id="os"), attr="open"):
            flags = {node.attr for node in ast.walk(call) if isinstance(node, ast.Attribute)}
            return not flags & {"O_RDONLY", "O_PATH"}
        case ast.Attribute(attr="open" | "fdopen"):
            return _has_writing_mode(call, call.args)
        case ast.Name(id="open"):
            return _has_writing_mode(call, call.args[1:])
        case ast.Attribute(attr="replace" | "rename"):  # a path's; a text's `replace` takes two
            return len(call.args) == 1 and not call.keywords
    return False


def _has_writing_mode(call: ast.Call, arguments: list[ast.expr]) -> bool:
    given = [*arguments, *(keyword.value for keyword in call.keywords if keyword.arg == "mode")]
    texts = [node.value for one in given for node in ast.walk(one) if isinstance(node, ast.Constant)]
    modes = [text for text in texts if isinstance(text, str) and _MODE.fullmatch(text)]
    return any(set(mode) & set("wax+") for mode in modes)


@pytest.mark.parametrize(
    "line",
    [
        "path.write_text('x')",
        "path.write_bytes(b'x')",
        "thread(path.write_text, 'x')",
        "open(path, 'w')",
        "open(path, mode='a')",
        "path.open('ab' if begun else 'wb')",
        "path.open(mode='r+')",
        "os.open(path, os.O_CREAT | os.O_WRONLY)",
        "os.open(path, flags)",
        "os.replace(part, path)",
        "part.replace(path)",
        "part.rename(path)",
        "thread(os.replace, part, path)",
        "os.fsync(file)",
        "shutil.copyfile(part, path)",
        "tempfile.NamedTemporaryFile()",
        "archive.extractall(folder)",
    ],
)
def test_a_breach_is_caught(line: str) -> None:
    assert list(writers(f"class TaskSupervisor:\n    def keep(self):\n        {line}\n")) == [
        ("TaskSupervisor.keep", 3)
    ]


@pytest.mark.parametrize(
    "line",
    [
        "write_atomically(path, b'x')",
        "rename(path, new)",
        "path.read_text()",
        "open(path)",
        "path.open('rb')",
        "path.open(encoding='utf-8')",
        "os.open(path, os.O_RDONLY | os.O_CLOEXEC)",
        "MeshFolder.open(folder)",
        "text.replace('a', 'b')",
        "replace(settings, layers=1)",
        "moment.replace(tzinfo=UTC)",
    ],
)
def test_what_writes_no_file_is_none(line: str) -> None:
    assert list(writers(f"def keep():\n    {line}\n")) == []


def test_every_writer_but_the_one_is_known_and_says_what_it_writes() -> None:
    known = {one for names in OTHERS.values() for one in names}
    found: dict[str, int] = {}
    for room in ROOMS:
        for path in sorted((ROOT / room).rglob("*.py")):
            file = str(path.relative_to(ROOT))
            for function, line in writers(path.read_text(encoding="utf-8")) if file != WRITER else ():
                found[file if file in known else f"{file} {function}".rstrip()] = line
    new = [f"{name} (line {line})" for name, line in found.items() if name not in known]
    assert new == [], "a state file goes through edge_agent/files.py; anything else is listed here, with its kind"
    assert sorted(known - found.keys()) == [], "these write no file any more"
