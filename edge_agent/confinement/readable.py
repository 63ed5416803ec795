"""The paths that Python and llama.cpp read from: the interpreter, packages, the system's libraries; no state."""

from __future__ import annotations

import os
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
