"""Ports on this machine: which are free, and whether a broker answers there."""

from __future__ import annotations

import asyncio
import contextlib
import socket

from edge_agent.wire import client_ids

_CONNACK = 0x20


async def answers_connect(host: str, port: int, timeout_s: float) -> bool:
    """Whether a broker accepts an MQTT 5 CONNECT there in time: more than an open port, which iotcore has too early."""
    client_id = client_ids.unguessable("health").encode()
    variable = b"\x00\x04MQTT\x05\x02\x00\x05\x00" + len(client_id).to_bytes(2, "big") + client_id
    try:
        async with asyncio.timeout(timeout_s):
            reader, writer = await asyncio.open_connection(host, port)
            try:
                writer.write(bytes([0x10, len(variable)]) + variable)
                head = await reader.readexactly(4)
                accepted = head[0] == _CONNACK and head[3] == 0
                if accepted:
                    writer.write(b"\xe0\x00")
                    await writer.drain()
                return accepted
            finally:
                writer.close()
                with contextlib.suppress(OSError):
                    await writer.wait_closed()
    except (OSError, TimeoutError, asyncio.IncompleteReadError):
        return False


def free_port(host: str) -> int:
    """Returns a port that nobody has just now."""
    with _tcp_socket(host) as probe:
        probe.bind((host, 0))
        port: int = probe.getsockname()[1]
        return port


def port_is_free(host: str, port: int) -> bool:
    """Whether somebody could listen there just now."""
    with _tcp_socket(host) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # connections that are over do not count
        try:
            probe.bind((host, port))
        except OSError:
            return False
        return True


def _tcp_socket(host: str) -> socket.socket:
    return socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_STREAM)
