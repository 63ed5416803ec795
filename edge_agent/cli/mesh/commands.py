"""`moamesh mesh`: the meshes that this machine's user runs."""

from __future__ import annotations

from typing import Annotated

import typer

from edge_agent.cli import membership as member
from edge_agent.cli import options as opt
from edge_agent.cli.mesh import certificates, files
from edge_agent.operator.meshes import open_mesh

app = typer.Typer(help="Make and run a mesh: its CA, its settings, its service.", no_args_is_help=True)

app.command("ca")(files.ca)
app.command("server-cert")(files.server_cert)
app.command("certificates")(certificates.certificates)
app.command("revoke")(certificates.revoke)

Name = Annotated[str, typer.Argument(help="1 to 64 of a-z, 0-9 and -; part of every topic.")]
MeshArgument = Annotated[str | None, typer.Argument(metavar="[NAME]", help="Not needed where there is only one.")]
Brokers = Annotated[
    list[str] | None,
    typer.Option("--broker", metavar="URL", help="mqtts://host:port where devices connect; several for a cluster."),
]
ClaimBroker = Annotated[
    str | None,
    typer.Option(metavar="URL", help="Where new devices claim; by default the first broker's host, port 8884."),
]
_LIST = "moamesh device list"


@app.command()
def create(
    name: Name,
    broker: Brokers = None,
    claim_broker: ClaimBroker = None,
    passphrase_file: member.PassphraseFile = None,
    json: opt.Json = False,
) -> None:
    """Make a mesh: its certificate authority, the operator's identity, its settings."""
    from edge_agent.cli.mesh.view import mesh_object
    from edge_agent.cli.terminal import console, print_json, styled
    from edge_agent.operator.mesh_setup import create_mesh, overview

    mesh = create_mesh(name, broker or (), claim_broker, passphrase=member.read_passphrase(passphrase_file))
    if json:
        print_json(mesh_object(overview(mesh)))
        return
    out = console()
    out.print(styled("mesh ", (name, "name"), f" is at {mesh.folder}"), soft_wrap=True)
    out.print(
        "back this folder up and keep it secret: whoever has ca.key controls the mesh", style="quiet", soft_wrap=True
    )
    out.print(f"next: moamesh mesh serve {name}, and moamesh device invite DEVICE", style="quiet", soft_wrap=True)


@app.command("list")
def list_meshes(json: opt.Json = False) -> None:
    """Show the meshes on this machine."""
    from edge_agent.cli.mesh.view import mesh_object, meshes_table
    from edge_agent.cli.terminal import console, print_json
    from edge_agent.operator.mesh_setup import all_meshes

    meshes = all_meshes()
    if json:
        print_json({"meshes": [mesh_object(one) for one in meshes]})
    elif meshes:
        console().print(meshes_table(meshes))
    else:
        console(stderr=True).print("no mesh yet; make one: moamesh mesh create NAME", style="quiet")


@app.command()
def show(name: MeshArgument = None, json: opt.Json = False) -> None:
    """Show a mesh: its brokers, its CA, how many members it has."""
    from edge_agent.cli.mesh.view import mesh_object
    from edge_agent.cli.terminal import console, print_json, styled
    from edge_agent.operator.mesh_setup import overview

    mesh = open_mesh(name)
    shown = mesh_object(overview(mesh))
    if json:
        print_json(shown)
        return
    out = console()
    devices = ", ".join(f"{count} {state}" for state, count in shown["devices"].items())
    authorities = ", ".join(f"CA {ca['generation']} until {ca['expires_at'][:10]}" for ca in shown["authorities"])
    for label, text in (
        ("mesh", mesh.name),
        ("folder", str(mesh.folder)),
        ("brokers", ", ".join(mesh.settings.brokers)),
        ("claims at", mesh.settings.claim_broker),
        ("authority", authorities + (", key with passphrase" if mesh.locked else "")),
        ("devices", devices),
        ("users", str(shown["users"])),
    ):
        out.print(styled((f"{label:<10}", "label"), f" {text}"), soft_wrap=True)


@app.command()
def serve(name: MeshArgument = None, broker: Brokers = None, passphrase_file: member.PassphraseFile = None) -> None:
    """Answer claims and renewals, and inform members about trusted authorities and revocations. Runs until Ctrl-C.

    Devices keep working without it; only new ones wait, and certificates expire after 90 days.
    """
    from edge_agent.cli.exits import run_async
    from edge_agent.cli.terminal import log_to_stderr
    from edge_agent.operator.mesh_service import serve_mesh

    mesh = open_mesh(name)
    authority = member.open_authority(mesh, passphrase_file)
    log_to_stderr()
    run_async(serve_mesh(mesh, authority, broker or mesh.settings.brokers))


@app.command()
def rotate(
    name: MeshArgument = None,
    finish: Annotated[
        bool, typer.Option("--finish", help="Drop the old CA; its certificates are then refused.")
    ] = False,
    force: Annotated[bool, typer.Option("--force", help="Finish even if devices would be locked out.")] = False,
    passphrase_file: member.PassphraseFile = None,
    json: opt.Json = False,
) -> None:
    """Give the mesh a new CA key, with overlap: first without --finish, and once all devices have renewed, with it."""
    from edge_agent.cli.mesh.view import mesh_object
    from edge_agent.cli.terminal import console, print_json, styled
    from edge_agent.operator.mesh_setup import overview, rotate_mesh

    mesh = open_mesh(name)
    waiting = rotate_mesh(mesh, member.open_authority(mesh, passphrase_file), finish=finish, force=force)
    if json:
        print_json({**mesh_object(overview(mesh)), "waiting": waiting})
        return
    out = console()
    if finish:
        said = " has only its new CA now; brokers need new certificates: restart them"
        out.print(styled("mesh ", (mesh.name, "name"), said))
    else:
        said = f" has a new CA beside the old one; {len(waiting)} devices have yet to renew"
        out.print(styled("mesh ", (mesh.name, "name"), said))
        out.print(f"they do it while moamesh mesh serve runs; see {_LIST}. Then: moamesh mesh rotate --finish")
