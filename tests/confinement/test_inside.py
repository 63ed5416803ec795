"""What a process that has shut itself in still has, as the kernel tells it: rarer calls, limits, root's rights."""

from __future__ import annotations

import errno
import json
import os
import platform
import resource
from pathlib import Path
from typing import Any

import psutil
import pytest

from edge_agent.confinement.landlock import landlock_abi
from edge_agent.confinement.readable import readable_paths
from tests.confinement.test_confinement import run_inside

GIB = 1024**3
NUMBERS = {  # asm/unistd.h, written down once more: a wrong number in the filter is found here
    "x86_64": {"bpf": 321, "mount": 165, "setns": 308, "unshare": 272, "ptrace": 101},
    "aarch64": {"bpf": 280, "mount": 40, "setns": 268, "unshare": 97, "ptrace": 117},
}
HARMLESS = {"bpf": (-1, 0, 0), "mount": (0, 0, 0, 0, 0), "setns": (-1, 0), "unshare": (0,), "ptrace": (0, 0, 0, 0)}
OUTSIDE = {"setns": errno.EBADF, "unshare": 0, "ptrace": 0}  # the others depend on who runs this
CALLS = """
import ctypes, json, sys
from edge_agent.confinement import AllowedFiles, confine
libc = ctypes.CDLL(None, use_errno=True)
doors = confine(AllowedFiles([])) if sys.argv[1] == "inside" else ()
errors = {}
for name, (number, arguments) in json.loads(sys.argv[2]).items():
    ctypes.set_errno(0)
    failed = libc.syscall(number, *map(ctypes.c_long, arguments)) < 0
    errors[name] = ctypes.get_errno() if failed else 0
print(json.dumps([doors, errors]))
"""


def errors_of(where: str) -> tuple[list[str], dict[str, int]]:
    """What doors are said to be open, and the error of each call."""
    numbers = NUMBERS.get(platform.machine(), {})
    calls = {name: (number, HARMLESS[name]) for name, number in numbers.items()}
    doors, errors = json.loads(run_inside(CALLS, where, json.dumps(calls)))
    return doors, errors


def test_the_kernels_rarer_doors_are_shut_or_said_to_be_open() -> None:
    doors, errors = errors_of("inside")
    assert any("sockets" in door for door in doors) or set(errors.values()) == {errno.EPERM}
    _, outside = errors_of("outside")
    assert {name: error for name, error in outside.items() if name in OUTSIDE} == (OUTSIDE if outside else {})


def told_inside(script: str, *arguments: str) -> Any:
    return json.loads(run_inside(script, *arguments))


def test_the_limits_are_those_that_the_page_tells(tmp_path: Path) -> None:
    model = tmp_path / "model"
    model.write_bytes(bytes(2**20))
    script = """
import json, resource, sys
from pathlib import Path
from edge_agent.confinement import AllowedFiles, confine
confine(AllowedFiles([Path(sys.argv[1])]))
names = ("DATA", "AS", "NOFILE", "FSIZE", "CORE", "NPROC")
print(json.dumps({name: resource.getrlimit(getattr(resource, f"RLIMIT_{name}"))[1] for name in names}))
"""
    memory = max(psutil.virtual_memory().total + psutil.swap_memory().total, GIB)
    wanted = {
        "DATA": memory,
        "AS": memory + 2 * model.stat().st_size + 8 * GIB + (os.cpu_count() or 1) * GIB // 2,
        "NOFILE": 1_200,
        "FSIZE": 0,
        "CORE": 0,
        "NPROC": 4_096,
    }
    for name, most in wanted.items():
        already = resource.getrlimit(getattr(resource, f"RLIMIT_{name}"))[1]
        wanted[name] = most if already == resource.RLIM_INFINITY else min(most, already)
    assert told_inside(script, str(model)) == wanted


def test_root_inside_has_no_right_of_roots_but_over_the_modes_of_files() -> None:
    script = """
import json
from edge_agent.confinement import AllowedFiles, confine
status = open("/proc/self/status")  # read once it is shut in: then it could no longer be opened
confine(AllowedFiles([]))
print(json.dumps(dict(line.split() for line in status if line.startswith("Cap"))))
"""
    rights = {name.rstrip(":"): int(bits, 16) for name, bits in told_inside(script).items()}
    dac_override, dac_read_search = 1 << 1, 1 << 2
    for name in ("CapEff", "CapPrm"):
        assert rights[name] & ~(dac_override | dac_read_search) == 0, name
    assert rights["CapInh"] == 0


def test_a_machine_for_which_there_is_no_filter_is_said_to_have_none() -> None:
    script = """
import json, platform
from edge_agent.confinement import AllowedFiles, confine
platform.machine = lambda: "armv7l"
print(json.dumps(confine(AllowedFiles([]))))
"""
    assert any("no seccomp filter for this system" in door for door in told_inside(script))


def test_it_sees_how_large_a_file_is_and_not_what_is_in_it(tmp_path: Path) -> None:
    (tmp_path / "key").write_bytes(b"secret")
    script = """
import json, sys
from pathlib import Path
from edge_agent.confinement import AllowedFiles, confine
confine(AllowedFiles([]))
key = Path(sys.argv[1])
try:
    found = key.read_text()
except PermissionError:
    found = ""
print(json.dumps([key.stat().st_size, found]))
"""
    assert told_inside(script, str(tmp_path / "key")) == [6, "" if landlock_abi() else "secret"]


@pytest.mark.parametrize("folder", ["/dev", "/proc", "/sys"])
def test_no_device_of_a_gpu_is_let_in(folder: str) -> None:
    inside = {str(path) for path in readable_paths() if path.is_relative_to(folder)}
    assert inside <= {
        *("/dev/zero", "/dev/urandom", "/proc/cpuinfo", "/proc/meminfo"),
        *("/sys/devices/system/cpu", "/sys/devices/system/node"),
    }
