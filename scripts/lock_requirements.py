"""Writes edge_agent/requirements.lock: every package that moamesh may need, in one version, with its checksums.

python scripts/lock_requirements.py      asks the package index, by uv; some minutes

It is part of the wheel: an upgrade over MQTT installs nothing else. Whoever changes a requirement in pyproject.toml
runs this; a test says so where it was forgotten.
"""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
import tomllib
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
LOCK = ROOT / "edge_agent" / "requirements.lock"
PYTHON = "3.11"  # the oldest that is supported; the lock holds for all later ones and for every platform


def main() -> int:
    """Returns the exit status."""
    command = [
        *(sys.executable, "-m", "uv", "pip", "compile", str(ROOT / "pyproject.toml"), "--all-extras", "--universal"),
        *("--python-version", PYTHON, "--generate-hashes", "--no-header", "--annotation-style", "line", "--quiet"),
        *("--no-emit-index-url", "--no-emit-find-links"),
    ]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)  # noqa: S603 - fixed
    if done.returncode:
        print(done.stderr.strip(), file=sys.stderr)
        return 1
    LOCK.write_text(lock_text(done.stdout), encoding="utf-8")
    print(f"{LOCK.relative_to(ROOT)}: {done.stdout.count('==')} packages")
    return 0


def lock_text(body: str) -> str:
    """Returns the lock with a head that says what it was made of."""
    return (
        "# Every package that moamesh may need, in one version, with the checksums of its files. Made by: make lock\n"
        f"# of requirements {requirements_digest()}\n{body}"
    )


def requirements_digest() -> str:
    """Returns a checksum of what pyproject.toml asks for."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    asked = [project["requires-python"], project["dependencies"], project["optional-dependencies"]]
    return hashlib.sha256(json.dumps(asked, sort_keys=True).encode()).hexdigest()


if __name__ == "__main__":
    sys.exit(main())
