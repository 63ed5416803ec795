from __future__ import annotations

import socket
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.ports import BLOCK, FIRST, HOST, LAST, free_ports

ASK = "from tests.support.ports import free_ports; print(*free_ports(150), flush=True); input()"


def test_processes_side_by_side_are_never_given_one_port_twice() -> None:
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", ASK], cwd=Path(__file__).parents[1], stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )
        for _ in range(4)
    ]
    given = free_ports(150)
    for process in processes:
        assert process.stdout is not None
        given += map(int, process.stdout.readline().split())
    for process in processes:
        process.communicate(b"\n")
    assert len(given) == 750
    assert len(set(given)) == 750
    assert all(FIRST < port < LAST for port in given)


def test_a_port_in_use_is_passed_over_and_no_outgoing_connection_takes_one() -> None:
    with socket.socket() as taken:
        taken.bind((HOST, free_ports(1)[0]))
        taken.listen()
        assert taken.getsockname()[1] not in free_ports(BLOCK)
    lowest, _ = map(int, Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split())
    assert lowest > LAST or pytest.fail(f"the kernel gives out ports from {lowest} on")
