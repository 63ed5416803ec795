"""`moamesh mesh ca` and `moamesh mesh server-cert`: what a phone must trust, and what a web page shows it."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from edge_agent.cli import membership as member
from edge_agent.cli import options as opt
from edge_agent.operator.meshes import open_mesh

MeshArgument = Annotated[str | None, typer.Argument(metavar="[MESH]", help="Not needed where there is only one.")]


def ca(
    mesh: MeshArgument = None,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", metavar="FILE", help="Such as ca.crt, the name that phones expect.")
    ] = None,
    own_brokers: Annotated[
        bool,
        typer.Option(
            "--own-brokers",
            help="The mesh's own CA, for phones that go to devices' own brokers. It may certify any name: whoever "
            "steals its key can pass for any site there.",
        ),
    ] = False,
    passphrase_file: member.PassphraseFile = None,
) -> None:
    """Print the certificate of the mesh's web CA, which holds no secret: what phones and browsers must trust.

    It certifies servers of this mesh's hosts and nothing else. The first call makes it, as `server-cert` does.
    """
    from edge_agent.cli.terminal import console, styled
    from edge_agent.operator.web_certificates import web_ca
    from provisioning.files import PUBLIC, read_file, write_atomically

    opened = open_mesh(mesh)
    if own_brokers:
        content = read_file(opened.ca_file)
    else:
        content = web_ca(opened, lambda: member.open_authority(opened, passphrase_file))
    if output is None:
        typer.echo(content.decode(), nl=False)
        return
    write_atomically(output, content, PUBLIC)
    out = console()
    out.print(f"the certificate is in {output}; send it to the phone, and there:", soft_wrap=True)
    for system, way in (
        ("Android", "Settings > Security > Encryption & credentials > Install a certificate > CA certificate"),
        ("iOS", "open it, install the profile, then Settings > General > About > Certificate Trust Settings"),
        ("Firefox", "Settings > Privacy & Security > Certificates > View Certificates > Import"),
    ):
        out.print(styled((f"{system:<8}", "label"), f" {way}"), soft_wrap=True)


def server_cert(
    mesh: MeshArgument = None,
    name: Annotated[
        list[str] | None,
        typer.Option("--name", metavar="HOST", help="Host name or address of the server; repeatable."),
    ] = None,
    output: Annotated[
        Path, typer.Option("--output", "-o", metavar="DIR", help="Where server.pem and server.key go.")
    ] = Path(),
    new_ca: Annotated[
        bool, typer.Option("--new-ca", help="Make another web CA, for these hosts; phones must be told to trust it.")
    ] = False,
    passphrase_file: member.PassphraseFile = None,
    json: opt.Json = False,
) -> None:
    """Make a certificate of the mesh's web CA for HTTPS, for `moamesh gateway --tls-cert --tls-key`.

    It names this machine (HOST and HOST.local), the mesh's brokers, and what --name says, and is valid for 395 days.
    The first call makes the web CA, for these hosts and no others.
    """
    from edge_agent.cli.terminal import console, print_json
    from edge_agent.operator.web_certificates import issue_web_server

    opened = open_mesh(mesh)
    made = issue_web_server(
        opened, lambda: member.open_authority(opened, passphrase_file), name or (), output, new_ca=new_ca
    )
    if json:
        shown = {"hosts": list(made.hosts), "certificate": str(made.certificate), "key": str(made.key)}
        print_json({"mesh": opened.name} | shown)
        return
    out = console()
    out.print(f"{made.certificate} and {made.key} are for {', '.join(made.hosts)}", soft_wrap=True, markup=False)
    out.print(f"moamesh gateway --tls-cert {made.certificate} --tls-key {made.key}", style="quiet", soft_wrap=True)
