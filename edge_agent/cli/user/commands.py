"""`moamesh user`: the people who use a mesh's devices from apps."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from edge_agent.cli import membership as member
from edge_agent.cli import options as opt
from edge_agent.operator.meshes import open_mesh

app = typer.Typer(help="Add users of a mesh, list and remove them.", no_args_is_help=True)

UserName = Annotated[str, typer.Argument(help="1 to 64 of a-z, 0-9 and -.")]


@app.command()
def add(
    name: UserName,
    device: Annotated[
        list[str] | None,
        typer.Option("--device", "-d", metavar="NAME", help="A device that the user may use; by default all."),
    ] = None,
    mesh: member.MeshName = None,
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", metavar="FILE", help="Write the password there, readable by you alone."),
    ] = None,
    json: opt.Json = False,
) -> None:
    """Add a user; their password is made here and shown only once.

    The name home-assistant is special: with it the devices may announce themselves to Home Assistant.
    """
    from edge_agent.cli.exits import run_async
    from edge_agent.cli.terminal import console, print_json, styled
    from edge_agent.operator.users import add_user

    opened = open_mesh(mesh)
    added = run_async(add_user(opened, name, device, password_file=output))
    if json:
        shown = {"name": name, "login": added.login, "devices": device, "mesh": opened.name, "problem": added.problem}
        print_json(shown | ({"password": added.password} if output is None else {"output": str(output)}))
        return
    out = console()
    out.print(styled("user ", (name, "name"), f" logs in as {added.login}"), soft_wrap=True)
    if output is None:
        out.print(f"password: {added.password}", soft_wrap=True, markup=False)
        out.print("it is shown only once", style="quiet")
    else:
        out.print(f"the password is in {output}", soft_wrap=True)
    if added.problem:
        out.print(added.problem, style="bad", soft_wrap=True, markup=False)


@app.command("list")
def list_users(mesh: member.MeshName = None, json: opt.Json = False) -> None:
    """Show the users and which devices they may use. If no mesh was made here, those of the running local mesh."""
    from edge_agent.cli.terminal import console, print_json
    from edge_agent.cli.user.view import user_object, users_table
    from edge_agent.operator.users import find_users

    users = find_users(mesh)
    if json:
        print_json({"users": [user_object(one) for one in users]})
    elif users:
        console().print(users_table(users))
    else:
        console(stderr=True).print("no users yet; pair a phone: moamesh pair NAME", style="quiet")


@app.command()
def remove(name: UserName, mesh: member.MeshName = None, json: opt.Json = False) -> None:
    """Remove a user; brokers run by moamesh end their sessions."""
    from edge_agent.cli.exits import run_async
    from edge_agent.cli.terminal import console, print_json, styled
    from edge_agent.operator.users import remove_user

    problem = run_async(remove_user(open_mesh(mesh), name))
    if json:
        print_json({"name": name, "removed": True, "problem": problem})
        return
    console().print(styled("user ", (name, "name"), " is removed"), soft_wrap=True)
    if problem:
        console(stderr=True).print(problem, style="bad", soft_wrap=True, markup=False)


@app.command()
def sync(
    device: Annotated[
        list[str] | None,
        typer.Option("--device", "-d", metavar="NAME", help="Only this device; by default all known ones."),
    ] = None,
    broker: Annotated[
        str | None,
        typer.Option(metavar="URL", help="Where the broker of the one --device is, mqtts://host:port; remembered."),
    ] = None,
    wait: Annotated[
        float, typer.Option(metavar="SECONDS", min=0.1, help="How long to wait for them; `mesh serve` keeps trying.")
    ] = 10.0,
    mesh: member.MeshName = None,
    json: opt.Json = False,
) -> None:
    """Tell devices that run a broker of their own who may use them. `pair`, `add` and `remove` do it, too."""
    from edge_agent.cli.exits import NOT_ANSWERED, run_async
    from edge_agent.cli.terminal import console, print_json
    from edge_agent.core.errors import SettingsError
    from edge_agent.operator.user_sync import bring_users, remember_broker

    opened = open_mesh(mesh)
    if broker is not None:
        if device is None or len(device) != 1:
            raise SettingsError("--broker is of one device: name it with --device")
        remember_broker(opened, device[0], broker)
    own = opened.settings.own_brokers
    if unknown := [name for name in device or () if name not in own]:
        raise SettingsError(f"{unknown[0]} is not known to run its own broker; if it does, give --broker URL once")
    devices = sorted(device or own)
    if not devices:
        raise SettingsError("no device is known to run its own broker: name one with --device NAME --broker URL")
    problem = run_async(bring_users(opened, devices, wait_s=wait))
    if json:
        print_json({"devices": devices, "problem": problem})
    else:
        console().print(problem or f"{', '.join(devices)}: users are up to date", soft_wrap=True, markup=False)
    if problem:
        raise typer.Exit(NOT_ANSWERED)
