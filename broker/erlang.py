"""Starting an Erlang node, and asking one that runs."""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
import os
import re
import secrets
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import final

from edge_agent.children import Child, OutputTail
from edge_agent.hangs import HangDetector, HangError
from edge_agent.tasks import unless

CALL_STILL_S = 20.0  # in which neither the control process nor the node does anything
CALL_COMPUTED_MAX_S = 120.0  # by both: a control process takes a third of a second to start, and a node has other work
OPEN_TIMEOUT_S = 2.0
TICK_S = 16  # a node that says nothing for this long is taken for dead by the others
ANSWER_BYTES_MAX = 64 * 1024


class NodeUnreachableError(RuntimeError):
    """A node did not answer, or answered with an error. The message is one line."""


@final
@dataclass(frozen=True, slots=True)
class Erlang:
    """One node by its name. `folder` holds its secret (`.erlang.cookie`), which so never stands in a process list.

    pid: of the node while it runs.
    calls: the processes that ask it something just now.
    """

    folder: Path
    name: str
    port: int
    libraries: str
    pid: Callable[[], int | None] = lambda: None
    calls: set[int] = field(default_factory=set)

    def command(self) -> list[str]:
        """Returns how to start ejabberd in it."""
        return [
            *("erl", "-noinput", *self._naming(self.name), *self._interface()),
            # ejabberd.yml says it too, but a change would take a minute to come into force
            *("-kernel", "net_ticktime", str(TICK_S)),
            *("-mnesia", "dir", f'"{self.folder}/database"', "-s", "ejabberd"),
        ]

    def environment(self) -> dict[str, str]:
        """Returns its environment."""
        folder = str(self.folder)
        return {
            **os.environ,
            "HOME": folder,
            "ERL_LIBS": self.libraries,
            "ERL_CRASH_DUMP_BYTES": "0",  # hundreds of megabytes with secrets in them, for nobody to read
            "EJABBERD_CONFIG_PATH": f"{folder}/ejabberd.yml",
            "EJABBERD_LOG_PATH": f"{folder}/ejabberd.log",
            "SPOOL_DIR": folder,
            "PYTHONPATH": str(Path(__file__).parents[1]),  # for the program that checks passwords
        }

    async def run(self, expression: str) -> str:
        """Evaluates an expression beside the node, where `Node` is its name, and returns what comes out as text.

        Raises:
            NodeUnreachableError: it failed.
        """
        name = f"control-{secrets.token_hex(4)}@{self.name.partition('@')[2]}"
        code = f"Node = '{self.name}', io:format(\"~0p\", [begin {expression} end]), halt()."
        command = ["erl", "-noinput", "-hidden", "-dist_listen", "false", *self._naming(name), "-eval", code]
        words = OutputTail(ANSWER_BYTES_MAX)
        async with await Child.start(command, environment=self.environment(), folder=self.folder) as process:
            self.calls.add(process.pid)
            detector = HangDetector(lambda: [process.pid, self.pid()], CALL_STILL_S, computed_max_s=CALL_COMPUTED_MAX_S)
            try:
                status = await unless(process.hear(words.add), detector.found())
            except HangError as error:
                raise NodeUnreachableError(f"{self.name} does not answer: it {error}") from None
            finally:
                self.calls.discard(process.pid)
        text = words.get().decode(errors="replace").strip()
        if status or "badrpc" in text:
            raise NodeUnreachableError(f"{self.name}: {' '.join(text.split())[:200] or 'no answer'}")
        return text

    async def atoms(self, expression: str) -> tuple[str, ...]:
        """Evaluates an expression that is a list of names.

        Raises:
            NodeUnreachableError: it failed, or is none.
        """
        text = await self.run(expression)
        if not (text.startswith("[") and text.endswith("]")):
            raise NodeUnreachableError(f"{self.name}: {text[:200]}")
        return tuple(re.findall(r"'([^']+)'", text))

    def _naming(self, name: str) -> list[str]:
        kind = "-name" if "." in name.partition("@")[2] else "-sname"
        return [kind, name, "-erl_epmd_port", str(self.port), "-start_epmd", "false"]

    def _interface(self) -> list[str]:
        """A node that is named by an address listens for others there only."""
        try:
            address = ipaddress.ip_address(self.name.partition("@")[2])
        except ValueError:
            return []
        return ["-kernel", "inet_dist_use_interface", "{" + ",".join(str(part) for part in address.packed) + "}"]


async def is_open(host: str, port: int) -> bool:
    """Whether something listens there."""
    try:
        async with asyncio.timeout(OPEN_TIMEOUT_S):
            _, writer = await asyncio.open_connection(host, port)
    except (OSError, TimeoutError):
        return False
    writer.close()
    with contextlib.suppress(OSError):
        await writer.wait_closed()
    return True
