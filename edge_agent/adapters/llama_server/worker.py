"""The child process: `python -m edge_agent.adapters.llama_server.worker`. Becomes llama.cpp's server for one parent.

Its orders come as a line of JSON on its standard input. It shuts itself in (`edge_agent.confinement`), says in a line
what does not hold on this machine, and then serves: as the package xllamacpp, which ends with its standard input, or by
becoming the program that it was given. Either way it dies with its parent, by the signal that `edge_agent.children`
asks for.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any, NoReturn

from edge_agent.confinement import AllowedFiles, Server, confine
from edge_agent.engines.child_start import model_files, yield_to_agent

ORDERS_BYTES_MAX = 64 * 1024
CANNOT_LOAD = 65  # exit status; EX_DATAERR of sysexits.h
_VERBOSITY_ERRORS = 1
_THREADS_BESIDE = 2  # of HTTP: for questions about health beside every slot's stream


def main() -> None:
    """Runs until the parent closes the pipe, or kills it."""
    orders: dict[str, Any] = json.loads(sys.stdin.buffer.readline(ORDERS_BYTES_MAX))
    program = Path(orders["program"]) if orders["program"] else None
    socket = Path(orders["socket"]) if orders["socket"] else None
    yield_to_agent()
    server = Server(socket.parent if socket else None, program)
    open_doors = confine(AllowedFiles(model_files(Path(orders["model"])), server=server))  # before there are threads
    sys.stdout.write(json.dumps({"open_doors": "; ".join(open_doors)}) + "\n")
    sys.stdout.flush()
    os.dup2(2, 1)  # whatever a library prints is no word to the parent
    if program is not None:
        _become(program, orders)
    _serve(orders)


def _become(program: Path, orders: dict[str, Any]) -> NoReturn:
    """Becomes the program, which takes its key from the environment: arguments are for everybody to see."""
    try:
        os.execve(program, [str(program), *orders["arguments"]], {**os.environ, "LLAMA_API_KEY": orders["api_key"]})  # noqa: S606 - the user's setting
    except OSError as error:
        _end(f"{program} cannot be started: {error.strerror}", CANNOT_LOAD)


def _serve(orders: dict[str, Any]) -> NoReturn:
    try:
        import xllamacpp  # after the above: it is what reads the stranger's file
    except ImportError as error:
        _end(f"xllamacpp does not import ({error}): pip install 'moamesh[llama-server]'", CANNOT_LOAD)
    params = xllamacpp.CommonParams()
    params.model.path = orders["model"]
    params.model_alias = {orders["name"]}
    params.hostnames = [orders["socket"]]
    params.api_keys = [orders["api_key"]]
    params.n_ctx = orders["context_tokens"] * orders["slots"]
    params.n_parallel = orders["slots"]
    params.cpuparams.n_threads = params.cpuparams_batch.n_threads = orders["threads"]
    params.n_threads_http = orders["slots"] + _THREADS_BESIDE
    params.swa_full = True  # a sliding-window cache that forgets cannot go back to a common prefix
    params.cache_ram_mib = 0  # beside the slots' own cache it would take up to 8 GiB of a small device
    params.ui = False
    params.chat_template = orders["chat_template"]
    params.verbosity = _VERBOSITY_ERRORS
    try:
        server = xllamacpp.Server(params)
    except Exception as error:  # the file is a program's input: a library may stumble over it in any way
        _end(f"llama.cpp cannot load {orders['model']}: {error}", CANNOT_LOAD)
    sys.stdin.read()
    del server
    os._exit(0)


def _end(reason: str, status: int) -> NoReturn:
    sys.stderr.write(reason + "\n")
    sys.stderr.flush()
    os._exit(status)


if __name__ == "__main__":
    main()
