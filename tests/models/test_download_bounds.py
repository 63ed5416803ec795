"""A download ends: whole, or with a line, whatever the server says and sends."""

from __future__ import annotations

import hashlib
import itertools
import time
from collections import namedtuple
from collections.abc import Iterator
from pathlib import Path

import pytest

from edge_agent.core.errors import MoameshError
from edge_agent.models import ModelError, list_models, pull
from edge_agent.models import download_bounds as bounds
from tests.models.serving import Answer, serving
from tests.models.tiny_gguf import tiny_gguf

WHOLE = tiny_gguf(weights=True)
SHA256 = hashlib.sha256(WHOLE).hexdigest()
MIB = 1024 * 1024
Usage = namedtuple("Usage", "total used free")


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("MOAMESH_HOME", str(tmp_path / "home"))
    return tmp_path / "home" / "models" / "m"


def files_in(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def failing(answer: Answer) -> str:
    with serving(answer) as url, pytest.raises(ModelError) as caught:
        pull(f"{url}/m.gguf#sha256={SHA256}")
    assert "\n" not in str(caught.value)
    assert list_models() == []
    return str(caught.value)


def test_a_download_without_end_is_ended(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bounds, "MODEL_BYTES_MAX", 3 * MIB)
    assert "does not end: a model has 3,145,728 bytes at most" in failing(Answer(itertools.repeat(bytes(65536))))
    assert files_in(home) == ["lock"]


def test_a_download_of_absurd_length_is_refused_before_it_begins(home: Path) -> None:
    assert "a model 68,719,476,736 at most" in failing(Answer([], length=10**15))
    assert files_in(home) == ["lock"]


def test_a_download_that_does_not_fit_is_refused_before_it_begins(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bounds, "SPARE_DISK_BYTES", 10**15)
    assert "must stay free: make room" in failing(Answer([], length=len(WHOLE)))
    assert files_in(home) == ["lock"]


def test_a_download_that_fills_the_disk_is_ended_and_removed(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    left = iter([Usage(0, 0, 10**12), *[Usage(0, 0, bounds.SPARE_DISK_BYTES - 1)] * 9])
    monkeypatch.setattr(bounds.shutil, "disk_usage", lambda _folder: next(left))
    assert "fills the disk" in failing(Answer(itertools.repeat(bytes(MIB))))
    assert files_in(home) == ["lock"]


def test_a_download_that_drips_is_ended_and_can_go_on(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bounds, "PATIENCE_S", 0.3)

    def drip() -> Iterator[bytes]:
        yield WHOLE[:1000]
        while True:
            yield b"x"
            time.sleep(0.02)  # the server's own slowness is what is tried

    assert "is too slow" in failing(Answer(drip()))
    assert "m.gguf.part" in files_in(home)


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (lambda: Answer(WHOLE[:-1], length=len(WHOLE)), "cannot download"),
        (lambda: Answer(WHOLE[:-1]), "has the wrong checksum: sha256"),
        (lambda: Answer([WHOLE[:-1]]), "has the wrong checksum: sha256"),
        (lambda: Answer(WHOLE + b"x"), "has the wrong checksum: sha256"),
        (lambda: Answer([WHOLE, b"x"]), "has the wrong checksum: sha256"),
        (lambda: Answer(b""), "has the wrong checksum: sha256"),
        (lambda: Answer(WHOLE, headers={"Content-Encoding": "gzip"}, length=3), "has the wrong checksum: sha256"),
        (lambda: Answer(WHOLE, status="404 Not Found"), "the server answers 404"),
        (lambda: Answer([WHOLE], headers={"Content-Length": "-5"}), "cannot download"),
        (lambda: Answer(b"", status="302 Found", headers={"Location": "/m.gguf"}), "cannot download"),
        (lambda: Answer(b"", status="302 Found", headers={"Location": "http://[bad/m.gguf"}), "cannot download"),
    ],
)
def test_a_server_that_says_what_is_not_so_is_one_line(answer: object, said: str, home: Path) -> None:
    assert callable(answer)
    assert said in failing(answer())
    assert "m.gguf" not in files_in(home)


def test_what_is_longer_than_it_was_said_to_be_is_cut_where_it_was_said_to_end(home: Path) -> None:
    with serving(Answer([WHOLE, b"and more"], length=len(WHOLE))) as url:
        assert pull(f"{url}/m.gguf#sha256={SHA256}").path.read_bytes() == WHOLE


def test_a_server_that_goes_on_elsewhere_than_asked_is_not_believed(home: Path) -> None:
    with serving(Answer(WHOLE[:1000], length=len(WHOLE))) as url, pytest.raises(ModelError):
        pull(f"{url}/m.gguf#sha256={SHA256}")
    assert "m.gguf.part" in files_in(home)
    other = Answer(
        WHOLE[500:], status="206 Partial Content", headers={"Content-Range": f"bytes 500-{len(WHOLE) - 1}/{len(WHOLE)}"}
    )
    assert "sent another part than was asked for" in failing(other)
    assert other.asked == ["bytes=1000-"]
    assert files_in(home) == ["lock"]
    with serving(Answer(WHOLE)) as url:
        assert pull(f"{url}/m.gguf#sha256={SHA256}").path.read_bytes() == WHOLE


@pytest.mark.parametrize("address", ["http://[::1/m.gguf", "http://127.0.0.1:99999/m.gguf", "https:///m.gguf"])
def test_an_address_that_is_none_is_one_line(address: str) -> None:
    with pytest.raises(MoameshError) as caught:
        pull(f"{address}#sha256={SHA256}")
    assert "\n" not in str(caught.value)
