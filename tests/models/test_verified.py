"""A model's file that is not the one that was pulled is refused at the load; one that is the same is read once."""

from __future__ import annotations

import hashlib
import os
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from edge_agent.adapters.llama import LlamaEngine
from edge_agent.core.errors import EngineError
from edge_agent.models import ModelError, ModelFile, verified, verify
from edge_agent.models.store import StoredFile, write_manifest
from tests.models.tiny_gguf import tiny_gguf

CONTENT = tiny_gguf(weights=True)


def stored(content: bytes) -> StoredFile:
    return StoredFile("m.gguf", hashlib.sha256(content).hexdigest(), len(content), "Q8_0")


@pytest.fixture
def model(tmp_path: Path) -> ModelFile:
    folder = tmp_path / "m"
    folder.mkdir()
    (folder / "m.gguf").write_bytes(CONTENT)
    one = ModelFile("m", "tiny", "", "file:m", folder, stored(CONTENT), stored(CONTENT), "only")
    write_manifest(one)
    return one


@pytest.fixture
def readings(monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """Every file that is read from end to end."""
    found: list[Path] = []
    whole = verified.sha256_of

    def counted(path: Path, progress: Callable[..., None]) -> str:
        found.append(path)
        return whole(path, progress)

    monkeypatch.setattr(verified, "sha256_of", counted)
    return found


def edit_and_set_the_time_back(path: Path) -> None:
    before = path.stat()
    with path.open("r+b") as file:
        file.seek(-1, os.SEEK_END)
        file.write(b"\x01")
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))


def replace_by_another(path: Path) -> None:
    aside = path.with_suffix(".new")
    aside.write_bytes(CONTENT[:-1] + b"\x01")
    shutil.copystat(path, aside)
    aside.replace(path)


CHANGES: dict[str, tuple[Callable[[Path], object], str]] = {
    "edited in place, the time set back": (edit_and_set_the_time_back, "its sha256 is"),
    "replaced by one of the same size and time": (replace_by_another, "its sha256 is"),
    "cut off": (lambda path: os.truncate(path, len(CONTENT) - 1), "bytes, and had"),
    "longer": (lambda path: path.write_bytes(CONTENT + b"x"), "bytes, and had"),
    "empty": (lambda path: path.write_bytes(b""), "it has 0 bytes"),
    "gone": (lambda path: path.unlink(), "No such file"),
    "a folder": (lambda path: (path.unlink(), path.mkdir()), "m.gguf"),
}


@pytest.mark.parametrize("change", CHANGES)
def test_a_file_that_changed_since_it_was_found_good_is_refused(change: str, model: ModelFile) -> None:
    verify(model)
    deed, said = CHANGES[change]
    deed(model.path)
    with pytest.raises(ModelError, match=said) as caught:
        verify(model)
    assert "\n" not in str(caught.value)
    with pytest.raises(ModelError):
        verify(model)  # and the next time too


def test_a_good_file_is_read_once(model: ModelFile, readings: list[Path]) -> None:
    for _ in range(3):
        verify(model)
    assert readings == [model.path]


@pytest.mark.parametrize("record", [b"", b"{}", b"[" * 4000, b"\xff", b'{"sha256": "0"}', b"x" * 100_000, None])
def test_a_damaged_record_costs_a_reading(record: bytes | None, model: ModelFile, readings: list[Path]) -> None:
    verify(model)
    path = model.folder / verified.VERIFIED
    path.unlink()
    if record is None:
        path.mkdir()
    else:
        path.write_bytes(record)
    verify(model)
    assert len(readings) == 2


def test_who_may_write_the_records_beside_a_model_is_not_found_out(model: ModelFile) -> None:
    """What the page on security says that this does not find."""
    verify(model)
    other = CONTENT[:-1] + b"\x01"
    model.path.write_bytes(other)
    write_manifest(replace(model, original=stored(other), chosen=stored(other)))
    verify(model)


def test_what_is_touched_alone_is_read_and_found_good(model: ModelFile, readings: list[Path]) -> None:
    verify(model)
    os.utime(model.path)
    verify(model)
    assert len(readings) == 2


def test_a_model_pulled_anew_under_the_same_name_is_the_one_that_counts(model: ModelFile) -> None:
    verify(model)
    other = tiny_gguf(weights=True, parameters=2000)
    model.path.write_bytes(other)
    write_manifest(replace(model, original=stored(other), chosen=stored(other)))
    verify(model)


def test_one_who_no_longer_waits_gets_no_finding_and_nothing_is_noted(model: ModelFile) -> None:
    model.path.write_bytes(CONTENT[:-1] + b"\x01")
    verify(model, lambda: True)
    assert not (model.folder / verified.VERIFIED).exists()


async def test_an_engine_does_not_load_a_file_that_is_another(model: ModelFile) -> None:
    replace_by_another(model.path)
    engine = LlamaEngine(model.path, threads=1, verify=lambda given_up: verify(model, given_up))
    with pytest.raises(EngineError, match="is not the file that was pulled: its sha256 is") as caught:
        await engine.start()
    assert "run `moamesh models pull m`" in caught.value.detail
    assert (engine.child_pid, engine.restarts) == (None, 0)
