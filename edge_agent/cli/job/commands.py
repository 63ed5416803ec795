"""`moamesh job`: ask devices of a mesh to change a setting, pull a model, restart, upgrade."""

from __future__ import annotations

from contextlib import closing, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, final

import typer

from edge_agent.cli import membership as member
from edge_agent.cli import options as opt
from edge_agent.cli.groups import takes_groups
from edge_agent.operator.meshes import open_mesh

if TYPE_CHECKING:
    from provisioning.jobs import Action, Value

WHEEL_BYTES_MAX = 64 * 1024 * 1024  # ours has less than one MiB

app = typer.Typer(help="Give devices jobs over MQTT: each does a job once and reports its progress.")

Devices = Annotated[list[str] | None, typer.Option("--device", "-d", metavar="NAME", help="A device; repeatable.")]
Wait = Annotated[
    float,
    typer.Option(metavar="SECONDS", min=0.0, help="How long to watch; after that `moamesh mesh serve` keeps trying."),
]


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Whom:
    """Which devices of which mesh are asked."""

    device: Devices = None
    everybody: Annotated[bool, typer.Option("--all", help="Every active device.")] = False
    mesh: member.MeshName = None
    broker: Annotated[str | None, typer.Option(metavar="URL", help="Instead of the mesh's own broker.")] = None


@app.command("set")
@takes_groups
def set_(
    settings: Annotated[list[str], typer.Argument(metavar="SECTION.KEY=VALUE...", help="Such as agent.layers=1.")],
    wait: Wait = 60.0,
    json: opt.Json = False,
    *,
    whom: Whom,
) -> None:
    """Change settings over a device's own file; it restarts. KEY= removes one.

    A device that does not start with them undoes them by itself.
    """
    from edge_agent.cli.agent.overrides import parse_overrides
    from edge_agent.core.errors import SettingsError
    from provisioning.jobs import Action

    values: dict[str, Value] = {}
    for name, value in parse_overrides(settings).items():
        if not isinstance(value, str | int | float | bool):
            raise SettingsError(f"{name}: a job can set texts, numbers and flags only")
        values[name] = None if value == "" else value
    _ask(Action.SET, values, whom, wait, json=json)


@app.command("pull-model")
@takes_groups
def pull_model(
    model: Annotated[str, typer.Argument(help="A name from `moamesh models list`, or a source.")],
    use: Annotated[bool, typer.Option(help="Use it from then on; the device restarts.")] = False,
    wait: Wait = 600.0,
    json: opt.Json = False,
    *,
    whom: Whom,
) -> None:
    """Make a model available on devices."""
    from provisioning.jobs import Action

    _ask(Action.PULL_MODEL, {"model": model, "use": use}, whom, wait, json=json)


@app.command()
@takes_groups
def restart(wait: Wait = 60.0, json: opt.Json = False, *, whom: Whom) -> None:
    """Restart devices. Accepted prompts are finished after the restart."""
    from provisioning.jobs import Action

    _ask(Action.RESTART, {}, whom, wait, json=json)


@app.command()
@takes_groups
def upgrade(
    version: Annotated[str, typer.Argument(help="Version of moamesh; the device's own pip installs it.")],
    sha256: Annotated[
        str | None, typer.Option(metavar="HEX", help="The checksum of its wheel, as published with the release.")
    ] = None,
    wheel: Annotated[
        Path | None, typer.Option(metavar="FILE", help="The wheel itself, to compute its checksum.")
    ] = None,
    wait: Wait = 1800.0,
    json: opt.Json = False,
    *,
    whom: Whom,
) -> None:
    """Install another version on devices and restart them: this very wheel and the dependencies it was locked to."""
    import hashlib

    from edge_agent.core.errors import SettingsError
    from edge_agent.files import read_file, reason
    from provisioning.jobs import Action

    if (sha256 is None) == (wheel is None):
        raise SettingsError("give the wheel's checksum as --sha256 HEX or --wheel FILE; devices install no other wheel")
    if wheel is not None:
        try:
            sha256 = hashlib.sha256(read_file(wheel, WHEEL_BYTES_MAX)).hexdigest()
        except OSError as error:
            raise SettingsError(f"{wheel}: {reason(error)}") from None
    checksum = (sha256 or "").lower()
    if len(checksum) != 64 or set(checksum) - set("0123456789abcdef"):
        raise SettingsError("--sha256: a wheel's checksum is 64 of 0-9 and a-f")
    _ask(Action.UPGRADE, {"version": version, "sha256": checksum}, whom, wait, json=json)


@app.command("list")
def list_jobs(device: Devices = None, mesh: member.MeshName = None, json: opt.Json = False) -> None:
    """Show the jobs, newest first: asked, accepted, running, done, failed or refused."""
    from edge_agent.cli.job.view import job_object, jobs_table
    from edge_agent.cli.terminal import console, print_json
    from edge_agent.operator.jobs import open_job_store

    with closing(open_job_store(open_mesh(mesh))) as job_store:
        rows = [row for row in job_store.rows() if not device or row.job.device_id in device]
    if json:
        print_json({"jobs": [job_object(row) for row in rows]})
    elif rows:
        console().print(jobs_table(rows))
    else:
        console().print("no jobs yet: moamesh job restart --device NAME", style="quiet")


@app.command()
def cancel(
    job_id: Annotated[str, typer.Argument(help="From `moamesh job list`.")], mesh: member.MeshName = None
) -> None:
    """Cancel a job that its device has not answered yet."""
    from edge_agent.cli.terminal import console
    from edge_agent.core.errors import SettingsError
    from edge_agent.operator.jobs import open_job_store

    with closing(open_job_store(open_mesh(mesh))) as job_store:
        cancelled = job_store.cancel(job_id)
    if not cancelled:
        raise SettingsError(f"{job_id}: there is no such job, or its device has it already")
    console().print(f"{job_id} is removed", markup=False)


def _ask(action: Action, arguments: dict[str, Value], whom: Whom, wait_s: float, *, json: bool) -> None:
    from edge_agent.cli.exits import NOT_ANSWERED, run_async
    from edge_agent.cli.job.view import job_object, jobs_table, live_table
    from edge_agent.cli.terminal import console, print_json
    from edge_agent.operator.jobs import ask_and_watch, choose_devices, open_job_store

    opened = open_mesh(whom.mesh)
    devices = choose_devices(opened, whom.device or [], whom.everybody)
    out = console()
    live = live_table(out) if wait_s > 0 and not json and out.is_terminal else None
    with closing(open_job_store(opened)) as job_store, live or nullcontext(lambda _rows: None) as on_rows:
        urls = [whom.broker] if whom.broker else opened.settings.brokers
        asked = ask_and_watch(
            opened, job_store, devices, action, arguments, broker_urls=urls, wait_s=wait_s, on_rows=on_rows
        )
        rows = run_async(asked)
    if json:
        print_json({"jobs": [job_object(row) for row in rows]})
    elif live is None:
        out.print(jobs_table(rows))
    if wait_s > 0 and not all(row.state == "done" for row in rows):
        raise typer.Exit(NOT_ANSWERED)
