"""How databases for telemetry, and a device's way to them, are shown."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from edge_agent.adapters.telemetry.shipping_status import SpoolStatus
from edge_agent.doctor.databases import DatabaseFinding

_FIGURES = ("points_written", "points_sent", "spool_points", "points_lost", "points_refused")
_HEADS = ("written", "sent", "waiting", "lost", "refused")
_MIB = 1024 * 1024


def checked_line(finding: DatabaseFinding) -> Text:
    """Returns one line about a database that works."""
    checked = finding.checked
    line = Text("✓ ", style="good")
    line.append(finding.server.url, style="name")
    if checked is not None:
        line.append(f"  {checked.kind} {checked.version}".rstrip(), style="default")
        times = f"written in {checked.write_s * 1e3:.0f} ms, read back {checked.read_back_s * 1e3:.0f} ms later"
        line.append(f"  one point {times}", style="default")
    return line


def checked_object(finding: DatabaseFinding) -> dict[str, Any]:
    """Returns the same for programs."""
    checked = finding.checked
    return {
        "url": finding.server.url,
        "database": finding.server.database,
        "ok": checked is not None,
        "kind": str(checked.kind) if checked else None,
        "version": checked.version if checked else None,
        "write_s": checked.write_s if checked else None,
        "read_back_s": checked.read_back_s if checked else None,
        "error": finding.error,
    }


def spool_view(status: SpoolStatus) -> RenderableType:
    """Returns a device's spool and, line by line, how far each database has got with it."""
    size = f"{status.bytes / _MIB:.1f} MiB"
    head = Text(f"{status.folder}: {status.files} files, {size}, {status.points_written} points from the beginning")
    if status.points_dropped:
        head.append(f", {status.points_dropped} dropped (the disk was full, failing or too slow)", style="bad")
    problems = [Text(f"✗ {problem}", style="bad") for problem in status.problems]
    if not status.databases:
        return Group(head, *problems, Text("no database: agent.toml has no [[influx]]"))
    table = Table(box=None, pad_edge=False)
    table.add_column("database")
    for name in _HEADS:
        table.add_column(name, justify="right")
    notes = []
    for one in status.databases:
        figures = asdict(one.figures)
        table.add_row(one.label, *(str(figures[name]) for name in _FIGURES))
        if one.trouble:
            notes.append(Text(f"✗ {one.label} waits: {one.trouble}", style="bad"))
        if not one.begun:
            notes.append(Text(f"{one.label}: nothing sent yet; the device begins when it runs with this agent.toml"))
        if one.refused_path is not None:
            notes.append(Text(f"{one.label}: what it refused, and why: {one.refused_path}"))
    return Group(head, *problems, table, *notes)


def spool_object(status: SpoolStatus) -> dict[str, Any]:
    """Returns the same for programs."""
    return {
        "folder": str(status.folder),
        "files": status.files,
        "bytes": status.bytes,
        "points_written": status.points_written,
        "points_dropped": status.points_dropped,
        "problems": list(status.problems),
        "databases": [
            {
                "server": one.label,
                "begun": one.begun,
                **asdict(one.figures),
                "trouble": one.trouble or None,
                "refused_file": str(one.refused_path) if one.refused_path else None,
            }
            for one in status.databases
        ],
    }
