"""A wheelhouse for the emulated device: moamesh as it stands in this tree, and what it needs."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
_DEVICE_PYTHON = "3.11"  # Debian 12's
_PLATFORMS = ("manylinux_2_36", "manylinux_2_34", "manylinux_2_28", "manylinux_2_17", "manylinux2014")


def make_wheelhouse(arch: str, folder: Path, extra_wheels: Path | None = None) -> Path:
    """Fills `folder`. Wheels in `extra_wheels` (llama.cpp built for the device) go in too."""
    folder.mkdir()
    machine = {"amd64": "x86_64", "arm64": "aarch64"}[arch]
    pip = (sys.executable, "-m", "pip", "--disable-pip-version-check", "-q")
    subprocess.run([*pip, "wheel", "--no-deps", "--wheel-dir", str(folder), str(ROOT)], check=True)
    (wheel,) = folder.glob("moamesh-*.whl")
    found = ("--find-links", str(extra_wheels)) if extra_wheels is not None else ()
    extras = "secure,llama" if extra_wheels is not None else "secure"
    platforms = [word for name in _PLATFORMS for word in ("--platform", f"{name}_{machine}")]
    subprocess.run(
        [
            *(*pip, "download", "--only-binary", ":all:", "--python-version", _DEVICE_PYTHON, *platforms, *found),
            *("--platform", f"linux_{machine}", "--dest", str(folder), f"moamesh[{extras}] @ {wheel.as_uri()}"),
        ],
        check=True,
    )
    return folder
