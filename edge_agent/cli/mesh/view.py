"""Meshes and devices as tables for people and as objects for JSON."""

from __future__ import annotations

import datetime
from collections.abc import Sequence

from rich.table import Table
from rich.text import Text

from edge_agent.cli.durations import iso
from edge_agent.cli.terminal import JsonObject, plain_table
from edge_agent.operator.mesh_setup import MeshOverview
from provisioning.certificates import RENEWAL_MARGIN
from provisioning.records import CertificateKind, CertificateRow, DeviceRow, DeviceState

_STATE_STYLE = {DeviceState.INVITED: "busy", DeviceState.ACTIVE: "good", DeviceState.REVOKED: "bad"}
_DAY_S = 86_400.0
_STEPS = ((_DAY_S, "d"), (3_600.0, "h"), (60.0, "min"), (1.0, "s"))
_NONE = Text("–", style="quiet")


def devices_table(devices: Sequence[DeviceRow], now: float) -> Table:
    """Each device with its state, until when it is one, and when it was last heard of."""
    table = plain_table("device", "state", "until", "last seen")
    for row in devices:
        table.add_row(
            Text(row.device_id, style="name"),
            Text(row.state.value, style=_STATE_STYLE[row.state]),
            _until(row, now),
            _NONE if row.last_seen_at is None else Text(f"{_span(now - row.last_seen_at)} ago"),
        )
    return table


def device_object(row: DeviceRow, now: float) -> JsonObject:
    """A device for JSON; times are ISO 8601."""
    member = row.state is DeviceState.ACTIVE
    return {
        "device_id": row.device_id,
        "state": row.state.value,
        "addresses": list(row.ip_addresses),
        "serial": None if row.serial is None else f"{row.serial:x}",
        "expires_at": iso(row.expires_at) if member else None,
        "expired": member and row.expires_at is not None and row.expires_at <= now,
        "claim_expires_at": iso(row.claim_expires_at),
        "claim_used": row.claim_used,
        "added_at": iso(row.added_at),
        "last_seen_at": iso(row.last_seen_at),
    }


def certificates_table(certificates: Sequence[CertificateRow]) -> Table:
    """Every certificate that a device ever had."""
    table = plain_table("certificate", "issued", "until", "")
    for row in certificates:
        mark = Text("revoked", style="bad") if row.revoked else Text("")
        table.add_row(Text(row.serial_text, style="quiet"), _day(row.issued_at), _day(row.expires_at), mark)
    return table


def ledger_table(certificates: Sequence[CertificateRow], now: float) -> Table:
    """Every certificate that a mesh ever gave."""
    table = plain_table("certificate", "kind", "name", "issued", "until", "")
    for row in certificates:
        state = Text("expired", style="quiet") if row.expires_at <= now else Text("")
        mark = Text("revoked", style="bad") if row.revoked else state
        name = ", ".join(row.hosts) if row.kind in (CertificateKind.BROKER, CertificateKind.WEB) else row.name
        table.add_row(
            Text(row.serial_text, style="quiet"),
            row.kind.value,
            Text(name, style="name"),
            _day(row.issued_at),
            _day(row.expires_at),
            mark,
        )
    return table


def certificate_object(row: CertificateRow) -> JsonObject:
    """A certificate for JSON."""
    return {
        "serial": row.serial_text,
        "kind": row.kind.value,
        "name": row.name,
        "hosts": list(row.hosts),
        "issued_at": iso(row.issued_at),
        "expires_at": iso(row.expires_at),
        "revoked": row.revoked,
    }


def meshes_table(meshes: Sequence[MeshOverview]) -> Table:
    """Each mesh with how many devices it has."""
    table = plain_table("mesh", *(state.value for state in DeviceState))
    for one in meshes:
        table.add_row(Text(one.mesh.name, style="name"), *(str(count) for count in _counts(one).values()))
    return table


def mesh_object(overview: MeshOverview) -> JsonObject:
    """A mesh for JSON."""
    mesh = overview.mesh
    bundle = mesh.bundle()
    return {
        "name": mesh.name,
        "folder": str(mesh.folder),
        "brokers": list(mesh.settings.brokers),
        "claim_broker": mesh.settings.claim_broker,
        "passphrase": mesh.locked,
        "authorities": [
            {"generation": number, "expires_at": iso(ca.not_valid_after_utc.timestamp())}
            for number, ca in zip(bundle.generations, bundle.authorities, strict=True)
        ],
        "rotating": len(bundle.authorities) > 1,
        "devices": _counts(overview),
        "users": overview.users,
    }


def _counts(overview: MeshOverview) -> dict[str, int]:
    return {state.value: sum(row.state is state for row in overview.devices) for state in DeviceState}


def _until(row: DeviceRow, now: float) -> Text:
    if row.state is DeviceState.REVOKED:
        return _NONE
    if row.state is DeviceState.INVITED:
        left = (row.claim_expires_at or 0.0) - now
        return Text(f"claim: {_span(left)} left", style="quiet") if left > 0 else Text("claim expired", style="bad")
    left = (row.expires_at or 0.0) - now
    if left <= 0:
        return Text("expired", style="bad")
    # Devices renew by themselves; one that has not is worth a look before it is locked out.
    late = left < RENEWAL_MARGIN.total_seconds()
    return Text(f"{_day(row.expires_at or 0.0)} ({_span(left)})", style="busy" if late else "")


def _day(timestamp: float) -> str:
    return datetime.datetime.fromtimestamp(timestamp, datetime.UTC).date().isoformat()


def _span(seconds: float) -> str:
    for length, unit in _STEPS:
        if seconds >= length:
            return f"{seconds / length:.0f} {unit}"
    return "0 s"
