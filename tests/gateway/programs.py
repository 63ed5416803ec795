"""Meshes and gateways as their users start them, on free ports of loopback: processes, or a gateway in a thread."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import queue
import select
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import httpx
import pytest
import typer.main
from typer.testing import CliRunner

from edge_agent.cli.main import app
from edge_agent.gateway import server
from edge_agent.gateway.options import GatewayOptions
from tests.support.patience import PATIENCE_S

POLL_S = 0.02
SEVERAL = {"layers": 3, "fanout": 0}
"""Inferences one after the other: on the slow device six seconds, a hundred times what it takes to see one running."""


@dataclass
class Mesh:
    """A fleet that is up."""

    broker: str
    mesh: str
    folder: Path
    process: subprocess.Popen[str]

    def harm(self, order: str) -> None:
        """Carries out an order of `fleet_process`; returns when it is done."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write(f"{order}\n")
        self.process.stdin.flush()
        assert self.process.stdout.readline() == "done\n"


@dataclass
class Gateway:
    """A gateway that listens."""

    url: str
    keys_file: Path
    headers: dict[str, str] = field(default_factory=dict)

    @property
    def api(self) -> str:
        return f"{self.url}/v1"

    @property
    def port(self) -> int:
        return int(self.url.rpartition(":")[2])

    def get(self, path: str, **options: Any) -> httpx.Response:
        return httpx.get(self.url + path, timeout=PATIENCE_S, **options)

    def ask(self, text: str = "why?", model: str = "local", **fields: Any) -> httpx.Response:
        """A chat completion, without any client library."""
        headers = {**self.headers, **fields.pop("headers", {})}
        body = {"model": model, "messages": [{"role": "user", "content": text}], **fields}
        return httpx.post(f"{self.api}/chat/completions", json=body, headers=headers, timeout=PATIENCE_S)

    def figure(self, name: str, **labels: str) -> float:
        """One figure of /metrics; 0 where it is not there yet."""
        wanted = {f'{label}="{value}"' for label, value in labels.items()}
        for line in self.get("/metrics", headers=self.headers).text.splitlines():
            head, _, value = line.rpartition(" ")
            if head.partition("{")[0] == name and all(one in head for one in wanted):
                return float(value)
        return 0.0


def eventually(holds: Callable[[], bool], what: str, wait_s: float = PATIENCE_S) -> None:
    """Polls until `holds`."""
    ends_at = time.monotonic() + wait_s
    while not holds():
        assert time.monotonic() < ends_at, f"did not happen in {wait_s} s: {what}"
        time.sleep(POLL_S)


@contextlib.contextmanager
def mesh_of(folder: Path, *, devices: int = 1, engine: str = "synthetic", **plan: Any) -> Iterator[Mesh]:
    """A broker and devices, each its own process."""
    fields = {"folder": str(folder), "devices": devices, "engine": engine, **plan}
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.gateway.fleet_process", json.dumps(fields)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        yield Mesh(folder=folder, process=process, **_first_line(process))
    finally:
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.close()
        process.wait(PATIENCE_S)
        process.stdout.close()


@contextlib.contextmanager
def gateway_of(broker: str, mesh: str, folder: Path, *options: str) -> Iterator[Gateway]:
    """A gateway on a free port, stopped in the end. It is the command itself, in a thread, which saves its start."""
    keys_file = folder / "api-keys.json"
    arguments = ["gateway", "--port", "0", "--broker", broker, "--mesh", mesh, "--keys-file", str(keys_file), *options]
    with ThreadPoolExecutor(1) as pool:
        listening: queue.Queue[str] = queue.Queue()
        stops: queue.Queue[Callable[[], object]] = queue.Queue()

        @contextlib.contextmanager
        def hear_us(serving: server._Server) -> Iterator[None]:  # a thread gets no signals: we call what they would
            loop = asyncio.get_running_loop()
            stops.put(lambda: loop.call_soon_threadsafe(serving._stop))
            yield

        def run(told: GatewayOptions, _: object) -> None:
            run_gateway(told, lambda where: listening.put(where.url))

        run_gateway = server.run_gateway
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(server._Server, "capture_signals", hear_us)
            patch.setattr(server, "run_gateway", run)
            ended = pool.submit(_command().main, arguments, standalone_mode=False)
            ended.add_done_callback(lambda _: listening.put(""))
            url = listening.get(timeout=PATIENCE_S)
        if not url:
            raise AssertionError(f"{arguments} did not start") from ended.exception()
        try:
            yield Gateway(url, keys_file)
        finally:
            stop = stops.get(timeout=PATIENCE_S)
            stop()
            stop()  # the second does not wait for answers
            ended.result(PATIENCE_S)


@cache
def _command() -> Any:
    return typer.main.get_command(app)


@dataclass
class GatewayInProcess(Gateway):
    """A gateway that listens, in a process of its own."""

    process: subprocess.Popen[str] = field(kw_only=True)


@contextlib.contextmanager
def gateway_process_of(broker: str, mesh: str, folder: Path, *options: str) -> Iterator[GatewayInProcess]:
    """As `gateway_of`, as a process: where its start, its end or its size are the point."""
    keys_file = folder / "api-keys.json"
    process = start_gateway("--broker", broker, "--mesh", mesh, "--keys-file", str(keys_file), *options)
    try:
        yield GatewayInProcess(_first_line(process)["url"], keys_file, process=process)
    finally:
        if process.poll() is None:
            process.send_signal(signal.SIGTERM)
            process.send_signal(signal.SIGTERM)  # the second does not wait for answers
        process.wait(PATIENCE_S)
        for stream in (process.stdout, process.stderr):
            if stream is not None:
                stream.close()


def start_gateway(*options: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "edge_agent.cli.main", "gateway", "--port", "0", "--json", *options]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=None, text=True, env=_environment())


def moamesh(*arguments: str) -> subprocess.CompletedProcess[str]:
    """Runs a command to its end."""
    command = [sys.executable, "-m", "edge_agent.cli.main", *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE_S, env=_environment(), check=False)


def refused(*arguments: str) -> str:
    """The one line with which a command that cannot do it ends; run in this process, which saves its start."""
    ended = CliRunner(env=dict.fromkeys(os.environ.keys() - _environment().keys())).invoke(app, list(arguments))
    assert ended.exit_code == 2, (arguments, ended.output)
    assert ended.stderr.count("\n") == 1, ended.stderr
    return ended.stderr


def _environment() -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if not name.startswith("MOAMESH_")}


def _first_line(process: subprocess.Popen[str]) -> dict[str, Any]:
    assert process.stdout is not None
    ready, _, _ = select.select([process.stdout], [], [], PATIENCE_S)
    line = process.stdout.readline() if ready else ""
    if not line:
        process.kill()
        raise AssertionError(f"{process.args!r} did not start: status {process.wait()}")
    fields: dict[str, Any] = json.loads(line)
    return fields
