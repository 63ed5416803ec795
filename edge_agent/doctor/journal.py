"""Whether the disk of a device has room for what its journal must be able to keep."""

from __future__ import annotations

import os
from pathlib import Path

from edge_agent.adapters.journal import RESERVE_BYTES, RESERVE_ROOM_BYTES, reserve_of
from edge_agent.config import AgentConfig
from edge_agent.doctor.findings import Check, Finding

_MIB = 1024 * 1024
NAME = "journal's reserve"


def journal_checks(config: AgentConfig) -> list[Check]:
    """Returns what is found of a device's journal."""
    return [check_reserve(config.journal_path)]


def check_reserve(journal: Path) -> Check:
    """Whether ends of prompts are kept when the disk is full."""
    reserve = reserve_of(journal)
    try:
        if reserve.stat().st_size >= RESERVE_BYTES:
            return Check(NAME, Finding.OK, str(reserve))
    except OSError:
        pass  # not made yet: is there room?
    folder = next(folder for folder in journal.absolute().parents if folder.exists())
    disk = os.statvfs(folder)
    free = disk.f_bavail * disk.f_frsize
    if free >= RESERVE_ROOM_BYTES:
        return Check(NAME, Finding.OK, f"{free // _MIB} MiB free")
    detail = (
        f"no room for it: {free // _MIB} of {RESERVE_ROOM_BYTES // _MIB} MiB; a full disk would take ends of prompts"
    )
    return Check(NAME, Finding.NOTE, detail, f"free some space under {folder}")
