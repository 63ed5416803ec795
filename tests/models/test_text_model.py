"""Only whole text models are kept: parts, other kinds of files, and files that say what can't be, are told and gone."""

from __future__ import annotations

import hashlib
import struct
import subprocess
import sys
from pathlib import Path

import pytest

from edge_agent.core.errors import SettingsError
from edge_agent.models import ModelError, list_models, pull, resolve
from edge_agent.models.gguf import read_header
from edge_agent.models.text_model import PARTS_MAX, read_text_model
from tests.models.serving import Answer, serving
from tests.models.tiny_gguf import entry, text, tiny_gguf

WHOLE = tiny_gguf(weights=True)
INFINITE, NOT_A_NUMBER = float("inf"), float("nan")
UINT32, INT32, FLOAT32, BOOL, STRING, ARRAY, UINT64, INT64, FLOAT64 = 4, 5, 6, 7, 8, 9, 10, 11, 12


def context(kind: int, layout: str, value: float) -> bytes:
    """A file whose context length is this."""
    return tiny_gguf(context=struct.pack("<I", kind) + struct.pack(layout, value), weights=True)


def array(kind: int, count: int, content: bytes = b"") -> bytes:
    return entry("tiny.list", ARRAY, struct.pack("<IQ", kind, count) + content)


ABSURD = {
    "infinite context": (context(FLOAT32, "<f", INFINITE), "a context length of 'inf'"),
    "infinite context, double": (context(FLOAT64, "<d", -INFINITE), "a context length of '-inf'"),
    "context that is no number": (context(FLOAT64, "<d", NOT_A_NUMBER), "a context length of 'nan'"),
    "context with a fraction": (context(FLOAT32, "<f", 512.5), "a context length"),
    "context of 2^64 - 1": (context(UINT64, "<Q", 2**64 - 1), "a context length"),
    "context of 2^32 - 1": (context(UINT32, "<I", 2**32 - 1), "a context length"),
    "negative context": (context(INT64, "<q", -1), "a context length"),
    "no context": (context(INT32, "<i", 0), "a context length"),
    "context of true": (context(BOOL, "<?", True), "a context length"),
    "context in words": (
        tiny_gguf(context=struct.pack("<IQ", STRING, 3) + b"512", weights=True),
        "a context length of '512'",
    ),
    "array that does not end": (tiny_gguf(more=[array(STRING, 2**63)], weights=True), "an array of"),
    "array behind the end": (tiny_gguf(more=[array(UINT64, 2**61)], weights=True), "an array of"),
    "array that is longer than the file": (tiny_gguf(more=[array(UINT32, 10**7)], weights=True), "cut off"),
    "array of arrays": (tiny_gguf(more=[array(ARRAY, 1)], weights=True), "arrays of arrays"),
    "the same twice": (tiny_gguf(more=[text("general.name", "Other")], weights=True), "stands in it twice"),
    "alignment of 0": (tiny_gguf(more=[entry("general.alignment", UINT32, bytes(4))], weights=True), "an alignment"),
    "alignment in words": (tiny_gguf(more=[text("general.alignment", "x")], weights=True), "an alignment"),
    "escapes in a name": (
        tiny_gguf(more=[text("\x1b]0;own\x07", "1"), text("\x1b]0;own\x07", "1")], weights=True),
        "]0;own",
    ),
}
OTHER_KINDS = {
    "part by its header": (tiny_gguf(more=[entry("split.count", 2, b"\3\0")], weights=True), "one of 3 parts"),
    "LoRA": (tiny_gguf(more=[text("general.type", "adapter")], weights=True), "a LoRA adapter"),
    "projector": (tiny_gguf(architecture="clip", words=False, weights=True), "reads pictures or sound"),
    "projector by its type": (tiny_gguf(more=[text("general.type", "mmproj")], weights=True), "reads pictures"),
    "imatrix": (tiny_gguf(more=[text("general.type", "imatrix")], words=False, weights=True), "importance matrix"),
    "encoder": (tiny_gguf(architecture="t5encoder", weights=True), "vectors, not text"),
    "embeddings": (
        tiny_gguf(architecture="bert", more=[entry("bert.attention.causal", BOOL, b"\0")], weights=True),
        "makes vectors",
    ),
    "ranker": (tiny_gguf(more=[entry("tiny.pooling_type", UINT32, b"\4\0\0\0")], weights=True), "makes vectors"),
    "pictures": (tiny_gguf(architecture="flux", words=False, weights=True), "has no vocabulary"),
    "vocabulary": (tiny_gguf(tensors=0, weights=True), "a vocabulary without weights"),
    "no model": (b"PK\3\4" + bytes(999), "is not a GGUF model file"),
    "nothing": (b"", "is not a GGUF model file"),
    "web page": (b"<!DOCTYPE html>", "is not a GGUF model file"),
    "header alone": (tiny_gguf(), "is cut off: its weights end at byte"),
    "last byte cut off": (WHOLE[:-1], "is cut off: its weights end at byte"),
    "half": (WHOLE[: len(WHOLE) // 2], "cut off"),
}
REFUSED = ABSURD | OTHER_KINDS
refused = pytest.mark.parametrize(("content", "said"), REFUSED.values(), ids=REFUSED)


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("MOAMESH_HOME", str(tmp_path / "home"))
    return tmp_path / "home" / "models"


def left_behind(home: Path) -> list[str]:
    return [path.name for path in home.rglob("*") if path.is_file() and path.name != "lock"]


@refused
def test_a_file_that_is_no_whole_text_model_is_refused_in_one_line(content: bytes, said: str, tmp_path: Path) -> None:
    (tmp_path / "m.gguf").write_bytes(content)
    with pytest.raises(ValueError, match=r"GGUF|text model|parts|cut off") as caught:
        read_text_model(tmp_path / "m.gguf")
    assert said in str(caught.value)
    assert str(caught.value).isprintable()


@refused
def test_a_download_of_no_whole_text_model_leaves_nothing(content: bytes, said: str, home: Path) -> None:
    checksum = hashlib.sha256(content).hexdigest()
    with serving(Answer(content)) as url, pytest.raises(ModelError) as caught:
        pull(f"{url}/m.gguf#sha256={checksum}")
    assert said in str(caught.value)
    assert ".part" not in str(caught.value)
    assert left_behind(home) == []
    assert list_models() == []


@refused
def test_a_file_of_one_s_own_that_is_no_whole_text_model_stays_and_is_not_taken(
    content: bytes, said: str, home: Path, tmp_path: Path
) -> None:
    (tmp_path / "m.gguf").write_bytes(content)
    with pytest.raises(ModelError) as caught:
        pull(f"file:{tmp_path}/m.gguf")
    assert said in str(caught.value)
    assert (tmp_path / "m.gguf").read_bytes() == content
    assert left_behind(home) == []


def test_a_whole_one_is_taken(home: Path) -> None:
    with serving(Answer(WHOLE)) as url:
        model = pull(f"{url}/m.gguf#sha256={hashlib.sha256(WHOLE).hexdigest()}")
    assert model.path.read_bytes() == WHOLE
    assert read_header(model.path).context_tokens == 512


def test_what_a_model_is_called_is_text_of_one_line(tmp_path: Path) -> None:
    name = "\x1b[31mred\nnew line" + "x" * 1000
    strange = tiny_gguf(architecture="\x1b[2J", more=[text("\x1b", name)], weights=True).replace(
        b"Tiny", b"T\x1b\n\x07"
    )
    (tmp_path / "m.gguf").write_bytes(strange)
    header = read_text_model(tmp_path / "m.gguf")
    assert header.name == "T???"
    assert header.architecture.isprintable()


@pytest.mark.parametrize("form", ["https://example.org/{}#sha256=" + "0" * 64, "hf:owner/repo/{}", "file:/m/{}"])
@pytest.mark.parametrize(
    ("file_name", "said"),
    [
        ("Big-00001-of-00003.gguf", "is part 1 of 3 of a model: take a model of one file"),
        ("Big-00003-of-00003.gguf", "is part 3 of 3"),
        ("mmproj-model-f16.gguf", "reads pictures or sound"),
        ("Big.mmproj-Q8_0.gguf", "reads pictures or sound"),
        ("x" * 250 + ".gguf", "cannot be used as a file name"),
    ],
)
def test_what_a_name_tells_is_refused_before_the_download(form: str, file_name: str, said: str, home: Path) -> None:
    with pytest.raises(SettingsError, match=said):
        pull(form.format(file_name))
    assert not home.exists()


def test_a_single_part_is_a_whole_model(home: Path, tmp_path: Path) -> None:
    (tmp_path / "m-00001-of-00001.gguf").write_bytes(WHOLE)
    assert pull(f"file:{tmp_path}/m-00001-of-00001.gguf").path.is_file()


def test_the_command_refuses_the_first_part_of_three_with_status_2(home: Path) -> None:
    command = [sys.executable, "-m", "edge_agent.cli.main", "models", "pull", "hf:o/r/Big-00001-of-00003.gguf"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (2, "")
    assert "is part 1 of 3" in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_a_model_of_one_s_own_in_parts_needs_them_all(tmp_path: Path) -> None:
    first, second = (tmp_path / f"m-0000{number}-of-00002.gguf" for number in (1, 2))
    first.write_bytes(WHOLE)
    with pytest.raises(
        SettingsError, match=r"is part 1 of 2 of a model, and m-00002-of-00002\.gguf is missing beside it"
    ):
        resolve(str(first))
    second.write_bytes(WHOLE)
    assert resolve(str(first)) == first
    with pytest.raises(SettingsError, match=r"is not the first part of its model: give m-00001-of-00002\.gguf"):
        resolve(str(second))
    many = tmp_path / "m-00001-of-99999.gguf"
    many.write_bytes(WHOLE)
    for number in range(2, 5):
        (tmp_path / f"m-{number:05}-of-99999.gguf").touch()
    with pytest.raises(SettingsError, match="m-00005-of-99999"):
        resolve(str(many))
    assert PARTS_MAX < 99999
