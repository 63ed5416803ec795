"""Ports for servers that tests start: from a range of each process's own, so that nobody else is given one meanwhile.

A port that the kernel gave out and that was closed again may be taken by anybody before the server has it, by an
outgoing connection, too. So these lie below the kernel's own, and each process of tests claims a block of them.
"""

from __future__ import annotations

import itertools
import os
import socket

HOST = "127.0.0.1"
FIRST, LAST = 20_000, 32_000  # below Linux's ephemeral ports (32768 on), above what services have by custom
BLOCK = 200  # ports a process: more than one needs before those it had first are free again

_claims: dict[int, itertools.cycle[int]] = {}
"""The ports of each process's block in turn; by process id, because a fork must not share. Its first port is held."""


def free_ports(count: int) -> list[int]:
    """Ports that nobody else has or is given; each may be listened at by one server after another."""
    return [_next() for _ in range(count)]


def _next() -> int:
    for port in itertools.islice(_claims.get(os.getpid()) or _claim(), BLOCK):
        if _is_free(port):
            return port
    raise AssertionError(f"no port is free in the block of this process: {sorted(_claims)}")


def _claim() -> itertools.cycle[int]:
    """Takes a block that no other process has, for as long as this one lives."""
    starts = range(FIRST, LAST, BLOCK)
    for at in range(len(starts)):
        start = starts[(os.getpid() + at) % len(starts)]
        holder = socket.socket()
        try:
            holder.bind((HOST, start))
            holder.listen()
        except OSError:
            holder.close()
            continue
        holder.detach()  # stays open until this process ends
        _claims[os.getpid()] = itertools.cycle(range(start + 1, start + BLOCK))
        return _claims[os.getpid()]
    raise AssertionError("every block of ports is taken")


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # connections that are over do not count
        try:
            probe.bind(("", port))  # on any interface
        except OSError:
            return False
        return True
