"""Installs another version of moamesh: the very wheel that the operator named by its checksum, and its locked packages.

The signed job holds the wheel's SHA-256. The wheel holds `requirements.lock`: every package that it may need, each in
one version and with the checksums of its files. So whoever answers at the package index can refuse, and nothing else.
Nothing is built here: what a build fetches has no checksum. llama.cpp's binding, which has no wheels, stays as it is.
"""

from __future__ import annotations

import asyncio
import re
import sys
import tempfile
import zipfile
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, distribution, distributions
from pathlib import Path
from typing import final

from edge_agent.children import Child, OutputTail
from edge_agent.core.errors import MoameshError

PACKAGE = "moamesh"
LOCK = "edge_agent/requirements.lock"
"""In the wheel; made by `make lock`."""
LOCK_BYTES_MAX = 1024 * 1024  # 130 KB in November 2026
INSTALL_TIMEOUT_S = 1_800.0  # packages over a slow line, onto a slow card
BUILT_HERE = frozenset({"llama-cpp-python"})
"""Has no wheels, so that its build would fetch what no checksum covers. It stays in the version that is installed."""

_VERSION = re.compile(r"[0-9]+(\.[0-9]+)*([abc]|rc|\.post|\.dev)?[0-9]*")
_SHA256 = re.compile(r"[0-9a-f]{64}")
_ENTRY = re.compile(r"([a-z0-9-]+)==[^\\]+( \\\n    --hash=sha256:[0-9a-f]{64})+")
_NEEDED_BY = "    # via "


class UpgradeError(MoameshError):
    """Another version could not be installed. One line."""


@final
@dataclass(frozen=True, slots=True)
class Locked:
    """A package in the lock: pip's line for it, with its checksums, and who needs it."""

    name: str
    line: str
    needed_by: frozenset[str]


async def upgrade(version: str, sha256: str) -> None:
    """Installs with this interpreter's own pip, from the index that is configured for it on the device.

    Raises:
        UpgradeError: what is asked for is none, is not to be had with this checksum, or could not be installed.
    """
    if not _VERSION.fullmatch(version):
        raise UpgradeError(f"{version!r} is not a version")
    if not _SHA256.fullmatch(sha256):
        raise UpgradeError("a wheel's checksum is 64 of 0-9 and a-f (SHA-256)")
    _check_installed()
    own = f"{PACKAGE}=={version} --hash=sha256:{sha256}\n"
    with tempfile.TemporaryDirectory(prefix="moamesh-upgrade-") as made:
        folder = Path(made)
        wanted = folder / "requirements.txt"
        await asyncio.to_thread(wanted.write_text, own, encoding="utf-8")
        hashed = ("--require-hashes", "--only-binary", ":all:", "-r", str(wanted))
        await _pip("download", "--no-deps", *hashed, "--dest", str(folder), what=f"{PACKAGE} {version}")
        lines = await asyncio.to_thread(_needed_lines, folder)
        await asyncio.to_thread(wanted.write_text, own + "".join(lines), encoding="utf-8")
        await _pip("install", *hashed, what=f"{PACKAGE} {version}")


def read_lock(text: str) -> list[Locked]:
    """Returns the packages of a lock.

    Raises:
        UpgradeError: a line is none of a lock, or a package has no checksum.
    """
    entries: list[tuple[list[str], set[str]]] = []
    for line in text.splitlines():
        if line.startswith(_NEEDED_BY) and entries:
            entries[-1][1].update(word.strip().partition(" ")[0] for word in line[len(_NEEDED_BY) :].split(","))
        elif line.startswith("    ") and entries:
            entries[-1][0].append(line)
        elif line and not line.startswith("#"):
            entries.append(([line], set()))
    found = []
    for lines, needed_by in entries:
        match = _ENTRY.fullmatch("\n".join(lines))
        if match is None:
            raise UpgradeError(f"{LOCK}: {lines[0][:60]!r} is not a package with its version and checksums")
        found.append(Locked(match[1], match[0] + "\n", frozenset(needed_by)))
    return found


def needed(locked: Iterable[Locked], installed: Iterable[str], direct: Iterable[str]) -> list[Locked]:
    """Returns what of a lock a device needs: what it has, what moamesh itself asks for, and whatever these need."""
    entries = [one for one in locked if one.name not in BUILT_HERE]
    names = {one.name for one in entries} & {*installed, *direct}
    while more := {one.name for one in entries if one.needed_by & names} - names:
        names |= more
    return [one for one in entries if one.name in names]


def _needed_lines(folder: Path) -> list[str]:
    wheels = list(folder.glob("*.whl"))
    try:
        with zipfile.ZipFile(wheels[0]) as wheel:
            lock = read_lock(_read(wheel, LOCK))
            (metadata,) = [name for name in wheel.namelist() if re.fullmatch(r"[^/]+\.dist-info/METADATA", name)]
            direct = _direct(_read(wheel, metadata))
    except (IndexError, ValueError, KeyError, zipfile.BadZipFile):
        raise UpgradeError("the wheel contains no lock file, so it is not a release of moamesh") from None
    installed = (_normal(one.metadata["Name"] or "") for one in distributions())
    return [one.line for one in needed(lock, installed, direct)]


def _read(wheel: zipfile.ZipFile, name: str) -> str:
    if wheel.getinfo(name).file_size > LOCK_BYTES_MAX:
        raise ValueError(f"{name} is too large")
    return wheel.read(name).decode()


def _direct(metadata: str) -> Iterator[str]:
    """What it asks for without any extra."""
    for need in re.findall(r"^Requires-Dist: ([A-Za-z0-9._-]+)(.*)$", metadata, re.MULTILINE):
        if "extra ==" not in need[1]:
            yield _normal(need[0])


def _normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def _check_installed() -> None:
    try:
        direct = distribution(PACKAGE).read_text("direct_url.json")
    except PackageNotFoundError:
        raise UpgradeError(f"{PACKAGE} was not installed by pip here: upgrade it as it was installed") from None
    if direct and '"editable": true' in direct:
        raise UpgradeError(f"{PACKAGE} runs from a source tree here, which a job does not replace")


async def _pip(*arguments: str, what: str) -> None:
    command = (sys.executable, "-m", "pip", "--disable-pip-version-check", "--no-input", "-q", *arguments)
    words = OutputTail()
    # If we are killed it goes on: better a new version that nobody saw arrive than half a version.
    async with await Child.start(command, with_us=None) as pip:
        try:
            async with asyncio.timeout(INSTALL_TIMEOUT_S):
                status = await pip.hear(words.add)
        except TimeoutError:
            raise UpgradeError(f"pip did not finish in {INSTALL_TIMEOUT_S:g} s") from None
    if status:
        lines = [line for line in words.lines() if line.startswith("ERROR")]
        raise UpgradeError(f"pip could not install {what}: {lines[-1] if lines else status}")
