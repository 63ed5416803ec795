"""llama.cpp's own server out of the package xllamacpp, with the command line of the program `llama-server`.

`write` makes it a program in a folder, of today or, with `knows_sockets=False`, of before it knew Unix sockets.
"""

from __future__ import annotations

import argparse
import inspect
import os
import signal
import sys
from pathlib import Path

SOCKETS = "or bind to an UNIX socket if the address ends with .sock"


def write(folder: Path, *, knows_sockets: bool = True) -> Path:
    """Returns the program."""
    program = folder / "llama-server"
    head = f"#!{Path(sys.executable).resolve()}\nimport argparse, os, signal, sys\nsys.path[:0] = {sys.path!r}\n"
    program.write_text(f"{head}{inspect.getsource(serve)}\nserve({SOCKETS if knows_sockets else ''!r})\n")
    program.chmod(0o755)
    return program


def serve(about_sockets: str) -> None:
    """Serves until it is ended."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--host", help=f"ip address to listen, {about_sockets}")
    for name in ("--model", "--alias"):
        parser.add_argument(name, required=True)
    for name in ("--port", "--ctx-size", "--parallel", "--threads", "--threads-batch"):
        parser.add_argument(name, type=int, default=0)
    parser.add_argument("--jinja", action="store_true")
    options = parser.parse_args()
    import xllamacpp

    params = xllamacpp.CommonParams()
    params.model.path, params.model_alias = options.model, {options.alias}
    params.hostnames, params.port = [options.host], options.port
    params.api_keys = [os.environ["LLAMA_API_KEY"]]
    params.n_ctx, params.n_parallel = options.ctx_size, options.parallel
    params.cpuparams.n_threads = params.cpuparams_batch.n_threads = options.threads
    params.verbosity = 1
    server = xllamacpp.Server(params)
    signal.pause()
    del server
