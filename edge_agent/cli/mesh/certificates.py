"""`moamesh mesh certificates` and `moamesh mesh revoke`: the ledger of all certificates, and the way out of it."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

import typer

from edge_agent.cli import membership as member
from edge_agent.cli import options as opt
from edge_agent.operator.meshes import open_mesh


class Listed(StrEnum):
    """Whose certificates to list."""

    DEVICE = "device"
    OPERATOR = "operator"
    BROKER = "broker"
    WEB = "web"


class Revocable(StrEnum):
    """Whose certificates are shut out one by one; a device is shut out as a whole, by `moamesh device revoke`."""

    OPERATOR = "operator"
    BROKER = "broker"
    WEB = "web"


def certificates(
    mesh: member.MeshName = None,
    kind: Annotated[Listed | None, typer.Option(help="Only those of this kind.")] = None,
    json: opt.Json = False,
) -> None:
    """Show every certificate that the mesh ever issued: whose, from when, until when, and whether it is revoked."""
    import time

    from edge_agent.cli.mesh.view import certificate_object, ledger_table
    from edge_agent.cli.terminal import console, print_json
    from edge_agent.operator.mesh_setup import all_certificates
    from provisioning.records import CertificateKind

    opened = open_mesh(mesh)
    rows = all_certificates(opened, None if kind is None else CertificateKind(kind.value))
    room = opened.revocation_room()
    if json:
        print_json({"certificates": [certificate_object(row) for row in rows], "revocation_room_bytes": room})
        return
    if rows:
        console().print(ledger_table(rows, time.time()))
    member.say_room(opened)


def revoke(
    kind: Annotated[Revocable, typer.Argument(help="Whose certificate it is.")],
    serial: Annotated[str, typer.Argument(metavar="NUMBER", help="As `moamesh mesh certificates` shows it.")],
    mesh: member.MeshName = None,
    passphrase_file: member.PassphraseFile = None,
    json: opt.Json = False,
) -> None:
    """Revoke one certificate of the operator, a broker or a web page, at once.

    If it is in use here, another one with a new key replaces it first.
    """
    import re

    from edge_agent.cli.terminal import console, print_json, styled
    from provisioning.errors import ProvisioningError
    from provisioning.records import CertificateKind

    if re.fullmatch(r"[0-9a-fA-F]{1,40}", serial) is None:
        raise ProvisioningError("a certificate's number is 1 to 40 of 0-9 and a-f; see moamesh mesh certificates")
    opened = open_mesh(mesh)
    authority = member.open_authority(opened, passphrase_file)
    replaced = opened.revoke_certificate(CertificateKind(kind.value), int(serial, 16), authority)
    if json:
        print_json({"kind": kind.value, "serial": serial.lower(), "replaced": replaced, "crl": str(opened.crl_file)})
        return
    out = console()
    out.print(styled((f"{kind.value} {serial.lower()}", "name"), f" is revoked ({opened.crl_file})"), soft_wrap=True)
    if replaced:
        out.print(f"another {kind.value} certificate, with a new key, has taken its place", soft_wrap=True)
    out.print(_WHAT_NEXT[kind], style="quiet", soft_wrap=True)
    member.say_room(opened)


_WHAT_NEXT = {
    Revocable.OPERATOR: "moamesh broker run ends its sessions within a second, moamesh mesh serve informs the devices. "
    "A cluster (ejabberd) knows the operator by name alone: there rotate (moamesh mesh rotate, and --finish)",
    Revocable.BROKER: "moamesh mesh serve informs the devices, which then refuse it; "
    "moamesh broker run shows the new one",
    Revocable.WEB: "browsers check no revocation list: if its key was stolen, make another web CA "
    "(moamesh mesh server-cert --new-ca) and have every phone forget the old one",
}
