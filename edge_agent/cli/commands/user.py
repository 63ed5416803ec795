"""`moamesh user`: the people who use a mesh's devices from apps."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from edge_agent.cli import membership as member
from edge_agent.cli import options as opt

app = typer.Typer(help="Give people passwords for a mesh's devices, list and remove them.", no_args_is_help=True)

UserName = Annotated[str, typer.Argument(help="1 to 64 of a-z, 0-9 and -.")]


@app.command()
def add(
    name: UserName,
    device: Annotated[
        list[str] | None, typer.Option("--device", metavar="NAME", help="May use this device; without: all.")
    ] = None,
    mesh: member.MeshName = None,
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", metavar="FILE", help="Write the password there, readable by you alone."),
    ] = None,
    json: opt.Json = False,
) -> None:
    """Add a user; their password is made here and shown once."""
    from broker.passwords import hash_password
    from edge_agent.cli.terminal import console, print_json
    from edge_agent.core.errors import SettingsError
    from edge_agent.wire.topics import OPERATOR_ID, user_login
    from provisioning.errors import ProvisioningError
    from provisioning.files import PRIVATE, write_atomically
    from provisioning.proofs import new_secret

    try:
        login = user_login(name)
    except ValueError as error:
        raise SettingsError(str(error)) from None
    if name == OPERATOR_ID:
        raise SettingsError(f"a user may not be called {name!r}: that name means somebody else")
    opened, secret = member.open_mesh(mesh), new_secret()
    with opened.inventory() as inventory:
        inventory.add_user(name, hash_password(secret), device)
        if output is not None:
            try:
                write_atomically(output, f"{secret}\n".encode(), PRIVATE)
            except ProvisioningError:
                inventory.remove_user(name)  # nobody would ever know the password
                raise
    shown = {"name": name, "login": login, "devices": device, "mesh": opened.name}
    if json:
        print_json(shown | ({"password": secret} if output is None else {"output": str(output)}))
        return
    out = console()
    out.print(f"user [name]{name}[/] logs in as {login}", soft_wrap=True)
    if output is None:
        out.print(f"password: {secret}", soft_wrap=True, markup=False)
        out.print("it is shown this once", style="quiet")
    else:
        out.print(f"the password is in {output}", soft_wrap=True)


@app.command("list")
def list_users(mesh: member.MeshName = None, json: opt.Json = False) -> None:
    """Show the users and which devices they may use."""
    from edge_agent.cli.terminal import console, print_json
    from edge_agent.cli.views.members import user_object, users_table

    with member.open_mesh(mesh).inventory() as inventory:
        users = inventory.users()
    if json:
        print_json({"users": [user_object(row) for row in users]})
    elif users:
        console().print(users_table(users))
    else:
        console(stderr=True).print("no users yet; add one: moamesh user add NAME", style="quiet")


@app.command()
def remove(name: UserName, mesh: member.MeshName = None, json: opt.Json = False) -> None:
    """Remove a user; brokers run by moamesh cut their sessions."""
    from edge_agent.cli.terminal import console, print_json

    with member.open_mesh(mesh).inventory() as inventory:
        inventory.remove_user(name)
    if json:
        print_json({"name": name, "removed": True})
    else:
        console().print(f"user [name]{name}[/] is removed", soft_wrap=True)
