"""Which llama.cpp server there is on this machine: the package xllamacpp, or a program."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path
from typing import final

from edge_agent.children import run
from edge_agent.core.errors import SettingsError

PACKAGE = "xllamacpp"
PROGRAM = "llama-server"
HELP_TIMEOUT_S = 60.0  # it prints within a second; its libraries may have to come from a slow memory card
SOCKET_MARK = ".sock"  # in its help: a host that ends so is a Unix socket. llama.cpp of spring 2025 and later
WAY_OUT = "pip install 'moamesh[llama-server]', or put llama.cpp's llama-server on the PATH"


@final
@dataclass(frozen=True, slots=True)
class ServerProgram:
    """A server that can be started. `program` is `None` for the package's, which runs in a Python process."""

    program: Path | None

    @property
    def name(self) -> str:
        """For people."""
        return str(self.program) if self.program else f"{PACKAGE} {_package_version()}"


def find_server(wish: str) -> ServerProgram:
    """Returns the server that the setting names: the package's, a program by name or path; "": the package's if it is
    installed, else a program on the PATH.

    Raises:
        SettingsError: it is not there; says the way out.
    """
    if wish == PACKAGE or (not wish and find_spec(PACKAGE) is not None):
        if find_spec(PACKAGE) is None:
            raise SettingsError(f"{PACKAGE} is not installed: pip install 'moamesh[llama-server]'")
        return ServerProgram(None)
    found = shutil.which(str(Path(wish).expanduser()) if wish else PROGRAM)
    if found is None:
        raise SettingsError(f"no llama.cpp server here{f' by the name {wish}' if wish else ''}: {WAY_OUT}")
    return ServerProgram(Path(found).absolute())


def knows_sockets(program: Path) -> bool:
    """Whether this server can listen on a Unix socket; an older one can't."""
    try:
        return SOCKET_MARK in run([str(program), "--help"], timeout_s=HELP_TIMEOUT_S).text
    except (OSError, TimeoutError):
        return False


def _package_version() -> str:
    try:
        return version(PACKAGE)
    except PackageNotFoundError:
        return ""
