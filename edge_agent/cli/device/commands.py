"""`moamesh device`: the devices of a mesh, as its operator knows them."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from edge_agent.cli import membership as member
from edge_agent.cli import options as opt
from edge_agent.operator.meshes import open_mesh

app = typer.Typer(help="Invite devices to a mesh, list them, revoke them.", no_args_is_help=True)

DeviceName = Annotated[str, typer.Argument(help="1 to 64 of a-z, 0-9 and -.")]


@app.command()
def invite(
    name: DeviceName,
    mesh: member.MeshName = None,
    expires: Annotated[str, typer.Option(metavar="DURATION", help="How long the claim is valid: 12h, 7d.")] = "7d",
    address: Annotated[
        list[str] | None,
        typer.Option(metavar="IP", help="Where others reach the device's own broker; part of its certificate."),
    ] = None,
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", metavar="FILE", help="Write the claim there, readable by you alone."),
    ] = None,
    json: opt.Json = False,
) -> None:
    """Give a device the right to claim one certificate. `moamesh provision device` also makes its boot seed."""
    from edge_agent.cli.durations import parse_duration
    from edge_agent.cli.terminal import console, print_json, styled
    from edge_agent.operator.devices import claim_object, invite_device

    opened, lifetime_s = open_mesh(mesh), parse_duration(expires)
    invitation = invite_device(opened, name, lifetime_s=lifetime_s, ip_addresses=address or (), claim_file=output)
    shown = claim_object(invitation)
    if output is not None:
        shown = {key: value for key, value in shown.items() if key != "secret"} | {"output": str(output)}
    if json:
        print_json(shown)
        return
    out = console()
    out.print(styled((name, "name"), f" may claim one certificate until {shown['expires_at']}"), soft_wrap=True)
    if output is not None:
        out.print(f"the claim is in {output}", soft_wrap=True)
    else:
        out.print(f"secret: {invitation.secret}", soft_wrap=True, markup=False)
        out.print("it is shown only once and can be used only once", style="quiet", soft_wrap=True)
    out.print("moamesh mesh serve must run when the device starts", style="quiet", soft_wrap=True)


@app.command()
def claim(
    invitation: Annotated[Path, typer.Argument(metavar="FILE", help="The file that `device invite --output` wrote.")],
    config: opt.ConfigFile,
    timeout: Annotated[
        float | None,
        typer.Option(metavar="SECONDS", min=0.0, help="Give up after this time; by default it tries for ever."),
    ] = None,
    json: opt.Json = False,
) -> None:
    """On a device: make its key and claim its certificate. The file is removed after use."""
    import logging
    import sys

    from edge_agent.cli.terminal import console, print_json, styled
    from edge_agent.config import load_config
    from edge_agent.management.claim import claim_identity

    logging.basicConfig(stream=sys.stderr, level=logging.INFO, format="%(levelname)s %(message)s")
    loaded = load_config(config)
    claimed = claim_identity(loaded, invitation, timeout)
    if json:
        print_json({"device_id": loaded.device.id, "mesh": loaded.device.mesh, "claimed": claimed})
        return
    said = "is now a member" if claimed else "was already a member"
    console().print(
        styled((loaded.device.id, "name"), f" {said} of mesh ", (loaded.device.mesh, "name")), soft_wrap=True
    )


@app.command("list")
def list_devices(mesh: member.MeshName = None, json: opt.Json = False) -> None:
    """Show the devices: invited, active or revoked, until when, last seen."""
    import time

    from edge_agent.cli.exits import error_line
    from edge_agent.cli.mesh.view import device_object, devices_table
    from edge_agent.cli.terminal import console, print_json

    opened, now = open_mesh(mesh), time.time()
    with opened.inventory() as inventory:
        devices, unlisted = inventory.devices(), opened.unlisted(inventory)
    if unlisted:
        error_line(f"{len(unlisted)} revoked certificates are not on the revocation list yet: repeat the device revoke")
    if json:
        print_json({"devices": [device_object(row, now) for row in devices]})
    elif devices:
        console().print(devices_table(devices, now))
    else:
        console(stderr=True).print("no devices yet; invite one: moamesh device invite NAME", style="quiet")


@app.command()
def show(name: DeviceName, mesh: member.MeshName = None, json: opt.Json = False) -> None:
    """Show one device and every certificate it ever had."""
    import time

    from edge_agent.cli.mesh.view import certificate_object, certificates_table, device_object, devices_table
    from edge_agent.cli.terminal import console, print_json

    opened, now = open_mesh(mesh), time.time()
    with opened.inventory() as inventory:
        row, certificates = inventory.device(name), inventory.certificates(name)
    if json:
        listed = [certificate_object(each) for each in certificates]
        print_json({**device_object(row, now), "certificates": listed})
        return
    out = console()
    out.print(devices_table([row], now))
    if certificates:
        out.print(certificates_table(certificates))


@app.command()
def revoke(
    name: DeviceName,
    mesh: member.MeshName = None,
    passphrase_file: member.PassphraseFile = None,
    json: opt.Json = False,
) -> None:
    """Revoke a device at once: its certificates go on the revocation list, its claim becomes invalid."""
    from edge_agent.cli.exits import error_line, run_async
    from edge_agent.cli.terminal import console, print_json, styled
    from edge_agent.operator.devices import clear_traces

    opened = open_mesh(mesh)
    serials = opened.revoke(name, member.open_authority(opened, passphrase_file))
    member.say_room(opened)
    traces, topics = run_async(clear_traces(opened, name))
    for trace in traces:
        if trace.problem:
            error_line(
                f"{trace.problem}: what {name} left at {trace.broker} was not removed "
                f"({', '.join(topics)}); moamesh mesh serve removes it when it is connected there, or repeat this"
            )
    if json:
        print_json(
            {
                "device_id": name,
                "revoked": [f"{serial:x}" for serial in serials],
                "crl": str(opened.crl_file),
                "traces": [
                    {"broker": one.broker, "cleared": not one.problem, "detail": one.problem, "topics": list(topics)}
                    for one in traces
                ],
            }
        )
        return
    out = console()
    out.print(styled((name, "name"), f" is revoked ({len(serials)} certificates, {opened.crl_file})"), soft_wrap=True)
    for trace in traces:
        if not trace.problem:
            out.print(f"its presence and status are removed at {trace.broker}", soft_wrap=True, markup=False)
    out.print(
        f"moamesh broker run --mesh {opened.name} ends its session within a second; another broker needs the new "
        "crl.pem and a restart. moamesh mesh serve informs the other devices.",
        style="quiet",
        soft_wrap=True,
    )
