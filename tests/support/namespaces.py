"""A network of this test alone: a namespace for each device, cables to a switch, and a switch that can be parted.

Needs root and iproute2. Nothing of it is seen outside: the switch has a namespace of its own too.
"""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import os
import secrets
import shutil
import signal
import subprocess
import threading
from collections.abc import AsyncIterator, Callable, Coroutine, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from edge_agent.children.parent import with_parent
from tests.conftest import missing
from tests.support.patience import PATIENCE_S

_CLONE_NEWNET = 0x40000000  # linux/sched.h
_LIBC = ctypes.CDLL(None, use_errno=True)


def needs_namespaces() -> None:
    """Skips the test where none can be made."""
    if os.geteuid() != 0 or shutil.which("ip") is None:
        missing("network namespaces need root and iproute2")
    if subprocess.run(["ip", "netns", "list"], capture_output=True, timeout=PATIENCE_S, check=False).returncode:
        missing("this system has no network namespaces")


class Network:
    """Hosts on one switch: host n has the address 10.77.0.n, numbered from 1."""

    def __init__(self, hosts: Sequence[str]) -> None:
        self._mark = f"moamesh-{secrets.token_hex(3)}"
        self._switch = f"{self._mark}-switch"
        self._numbers = {host: number for number, host in enumerate(hosts, start=1)}

    def namespace(self, host: str) -> str:
        """The namespace of a host."""
        return f"{self._mark}-{host}"

    def address(self, host: str) -> str:
        """The address of a host."""
        return f"10.77.0.{self._numbers[host]}"

    def build(self) -> None:
        """Makes everything."""
        _ip("netns", "add", self._switch)
        for bridge in ("left", "right"):
            _ip(
                "-n", self._switch, "link", "add", bridge, "type", "bridge", "forward_delay", "0", "mcast_snooping", "0"
            )
            _ip("-n", self._switch, "link", "set", bridge, "up")
        for host, number in self._numbers.items():
            inside, port = self.namespace(host), f"port{number}"
            _ip("netns", "add", inside)
            _ip("link", "add", "eth0", "netns", inside, "type", "veth", "peer", "name", port, "netns", self._switch)
            _ip("-n", inside, "addr", "add", f"{self.address(host)}/24", "dev", "eth0")
            for device in ("lo", "eth0"):
                _ip("-n", inside, "link", "set", device, "up")
            _ip("-n", self._switch, "link", "set", port, "master", "left", "up")

    def remove(self) -> None:
        """Kills what still runs there and removes everything."""
        for host in self._numbers:
            self.cut_power(host)
        for name in (*map(self.namespace, self._numbers), self._switch):
            subprocess.run(["ip", "netns", "del", name], capture_output=True, timeout=PATIENCE_S, check=False)

    def part(self, others: Iterable[str]) -> None:
        """From now on `others` hear only each other. What is under way is lost without a word."""
        for host in others:
            _ip("-n", self._switch, "link", "set", f"port{self._numbers[host]}", "master", "right")

    def heal(self) -> None:
        """All hear each other again."""
        for number in self._numbers.values():
            _ip("-n", self._switch, "link", "set", f"port{number}", "master", "left")

    def unplug(self, host: str) -> None:
        """Takes away a host's address and cable, as if its network were not up yet."""
        _ip("-n", self.namespace(host), "addr", "flush", "dev", "eth0")
        _ip("-n", self.namespace(host), "link", "set", "eth0", "down")

    def plug(self, host: str) -> None:
        """Gives them back."""
        _ip("-n", self.namespace(host), "link", "set", "eth0", "up")
        _ip("-n", self.namespace(host), "addr", "add", f"{self.address(host)}/24", "dev", "eth0")

    def cut_power(self, host: str) -> None:
        """Kills every process of a host at once."""
        found = subprocess.run(
            ["ip", "netns", "pids", self.namespace(host)],
            capture_output=True,
            text=True,
            timeout=PATIENCE_S,
            check=False,
        )
        # Never this very process: threads of it that look into the namespace do not make it live there.
        for pid in {int(word) for word in found.stdout.split()} - {os.getpid()}:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)

    async def start(self, host: str, *command: str, log: Path) -> asyncio.subprocess.Process:
        """Starts a process on a host."""
        with log.open("ab") as output:
            return await asyncio.create_subprocess_exec(
                *("ip", "netns", "exec", self.namespace(host), *command),
                stdin=asyncio.subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                preexec_fn=with_parent(signal.SIGKILL),
                start_new_session=True,
            )


@contextlib.asynccontextmanager
async def network(hosts: Sequence[str]) -> AsyncIterator[Network]:
    """A network for the length of a test."""
    needs_namespaces()
    made = Network(hosts)
    try:
        await asyncio.to_thread(made.build)
        yield made
    finally:
        await asyncio.to_thread(made.remove)


class Inside:
    """Runs one coroutine of this process in a namespace: a thread with a loop whose sockets are made there."""

    def __init__(self, namespace: str, work: Callable[[], Coroutine[object, object, None]]) -> None:
        self._namespace = namespace
        self._work = work
        self._error: BaseException | None = None
        self._thread = threading.Thread(target=self._run, name=f"inside {namespace}", daemon=True)
        self._thread.start()

    async def end(self, timeout_s: float) -> None:
        """Waits until the coroutine has ended; raises what it raised."""
        await asyncio.to_thread(self._thread.join, timeout_s)
        if self._error is not None:
            raise self._error
        assert not self._thread.is_alive(), f"{self._thread.name} does not end"

    def _run(self) -> None:
        try:
            _enter(self._namespace)
            loop = asyncio.new_event_loop()
            # connects are made in these threads, and a socket belongs to the namespace of the thread that made it
            loop.set_default_executor(ThreadPoolExecutor(2, initializer=_enter, initargs=(self._namespace,)))
            try:
                loop.run_until_complete(self._work())
            finally:
                loop.run_until_complete(loop.shutdown_default_executor())
                loop.close()
        except BaseException as error:
            self._error = error


def _enter(namespace: str) -> None:
    handle = os.open(f"/run/netns/{namespace}", os.O_RDONLY)
    try:
        if _LIBC.setns(handle, _CLONE_NEWNET) != 0:
            raise OSError(ctypes.get_errno(), f"cannot enter {namespace}")
    finally:
        os.close(handle)


def _ip(*arguments: str) -> None:
    subprocess.run(["ip", *arguments], check=True, capture_output=True, text=True, timeout=PATIENCE_S)
