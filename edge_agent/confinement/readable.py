"""The paths that Python and llama.cpp read from: the interpreter, packages, the system's libraries; no state."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

SYSTEM = (
    "/lib",
    "/lib64",
    "/usr/lib",
    "/usr/lib64",
    "/usr/local/lib",
    "/usr/share/zoneinfo",
    "/usr/share/locale",
    "/etc/ld.so.cache",
    "/etc/localtime",
    "/dev/zero",
    "/dev/urandom",
    "/proc/cpuinfo",
    "/proc/meminfo",
    "/sys/devices/system/cpu",
    "/sys/devices/system/node",
)
"""What the C library, OpenMP and llama.cpp look at. /proc beyond these two files tells of other processes."""

PACKAGE_FOLDERS = ("site-packages", "dist-packages")
ENTRIES_MAX = 512
"""Of a folder on sys.path that is none of packages, such as a checkout: so many modules in it are let in."""


GRAPHICS_READABLE = [
    Path(path)
    for path in ("/proc", "/sys", "/etc/vulkan", "/usr/share/vulkan", "/etc/OpenCL", "/opt/rocm", "/usr/local/cuda")
]
"""What drivers of graphics processors look at. /proc tells of other processes, but of none's environment or memory to
one that may not trace them (Landlock)."""
_GRAPHICS_DEVICES = ("nvidia*", "kfd", "dri/*")
_DEVICES_MAX = 256
_PACKAGE_PLACES = ("/nix/store", "/opt/homebrew", "/home/linuxbrew/.linuxbrew", "/snap", "/usr/bin", "/usr/local/bin")
_FIRST_LINE_MAX = 256  # that the kernel reads of a script


def graphics_devices() -> list[Path]:
    """The devices of graphics processors here."""
    found = [path for pattern in _GRAPHICS_DEVICES for path in sorted(Path("/dev").glob(pattern)) if not path.is_dir()]
    return found[:_DEVICES_MAX]


def program_files(program: Path) -> tuple[list[Path], list[Path]]:
    """Returns what may be read, and what may be started, where a process becomes this program.

    That is the program and its loader. One that is a script starts others, nobody can tell which: then all that may be
    read, its own interpreter among them.
    """
    real = program.resolve()
    readable = [program, real, real.parent, real.parent.parent / "lib", *(Path(place) for place in _PACKAGE_PLACES)]
    try:
        with real.open("rb") as file:
            first_line = file.readline(_FIRST_LINE_MAX)
    except OSError:
        first_line = b""
    if first_line.startswith(b"#!"):
        named = first_line[2:].decode("utf-8", "replace").split()
        found = [shutil.which(name) for name in named]  # of `/usr/bin/env python3` both
        interpreters = [Path(path) for path in found if path]
        return [*readable, *interpreters, *(path.resolve() for path in interpreters)], [Path("/")]
    loaders = [loader for place in ("/lib64", "/lib") for loader in sorted(Path(place).glob("ld-*.so*"))]
    return readable, [real, *loaders]


def readable_paths() -> list[Path]:
    """Returns the paths for this interpreter, packages and system."""
    paths = [Path(path) for path in SYSTEM]
    paths += [Path(root) / "lib" for root in {sys.prefix, sys.base_prefix, sys.exec_prefix}]
    for folder in (os.environ.get("LD_LIBRARY_PATH", ""), os.environ.get("LLAMA_CPP_LIB_PATH", "")):
        paths += [Path(entry) for entry in folder.split(os.pathsep) if entry]
    for entry in sys.path:
        if entry:
            paths += _modules_in(Path(entry))
    return paths


def _modules_in(entry: Path) -> Iterator[Path]:
    """A folder of packages as a whole; of any other only what can be imported: a state folder may lie beside it."""
    if entry.name in PACKAGE_FOLDERS or not entry.is_dir():
        yield entry
        return
    try:
        found = sorted(entry.iterdir())[:ENTRIES_MAX]
    except OSError:
        return
    for path in found:
        if path.suffix in (".py", ".so") or (path / "__init__.py").is_file():
            yield path
