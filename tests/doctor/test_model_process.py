"""What the doctor says of the model process: it has one shut itself in and try, on this kernel and on older ones."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from edge_agent.confinement.landlock import landlock_abi
from edge_agent.doctor.findings import Finding
from edge_agent.doctor.model_process import model_process_checks
from tests.confinement.test_confinement import LANDLOCK, SECCOMP

ROOT = Path(__file__).resolve().parents[2]
KERNELS = {"this kernel": (), "without Landlock": (LANDLOCK,), "without either": (LANDLOCK, SECCOMP)}


def on_kernel_without(numbers: tuple[int, ...], folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Has every process that is started with this interpreter find these system calls missing."""
    if not numbers:
        return
    python = folder / "python"
    missing = ",".join(map(str, numbers))
    python.write_text(
        f'#!/bin/sh\nexport PYTHONPATH="{ROOT}:$PYTHONPATH"\n'
        f'exec "{sys.executable}" -m tests.confinement.older_kernel {missing} "{sys.executable}" "$@"\n'
    )
    python.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(python))


@pytest.mark.parametrize("kernel", KERNELS)
def test_the_doctor_says_what_the_kernel_does_not_hold(
    kernel: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    numbers = KERNELS[kernel]
    on_kernel_without(numbers, tmp_path, monkeypatch)
    found = model_process_checks()
    assert {one.finding for one in found} <= {Finding.OK, Finding.NOTE}, "nothing of it is required"
    said = {one.detail: one.mend for one in found if one.finding is Finding.NOTE}
    keys = [detail for detail in said if "read a key" in detail]
    sockets = [detail for detail in said if "open an internet socket" in detail]
    assert bool(keys) is (LANDLOCK in numbers or landlock_abi() == 0)
    assert bool(sockets) is (SECCOMP in numbers or os.uname().machine not in ("x86_64", "aarch64"))
    assert all("Landlock" in said[detail] for detail in keys), "and what would mend it"
