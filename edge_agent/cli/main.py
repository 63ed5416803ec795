"""The `moamesh` command. Each command has its own file under `commands`, which imports what it needs when it runs."""

from __future__ import annotations

import errno
import io
import os
import sys
from collections.abc import Sequence
from typing import Any

import typer
from typer.core import TyperGroup

from edge_agent import __version__
from edge_agent.cli.agent import commands as agent
from edge_agent.cli.answers import commands as answers
from edge_agent.cli.ask import commands as ask
from edge_agent.cli.broker import commands as broker
from edge_agent.cli.device import commands as device
from edge_agent.cli.doctor import commands as doctor
from edge_agent.cli.entry import check_entry
from edge_agent.cli.evaluate import commands as evaluate
from edge_agent.cli.exits import USER_ERROR, error_line
from edge_agent.cli.experiment import commands as experiment
from edge_agent.cli.gateway import commands as gateway
from edge_agent.cli.help_text import show_help_as_text
from edge_agent.cli.job import commands as job
from edge_agent.cli.local import demo_command as demo
from edge_agent.cli.local import up_command as up
from edge_agent.cli.mesh import commands as mesh
from edge_agent.cli.models import commands as models
from edge_agent.cli.pair import commands as pair
from edge_agent.cli.prompts import commands as run_prompts
from edge_agent.cli.provision import commands as provision
from edge_agent.cli.simulate import commands as simulate
from edge_agent.cli.stability import commands as stability
from edge_agent.cli.telemetry import commands as telemetry
from edge_agent.cli.user import commands as user
from edge_agent.cli.watch import status_command as status
from edge_agent.cli.watch import top_command as top
from edge_agent.core.errors import MoameshError, SettingsError
from provisioning.errors import ProvisioningError

_COMPLETION_VARIABLE = "_MOAMESH_COMPLETE"


class _Commands(TyperGroup):
    """Commands whose known errors are one line on stderr and exit status 2, never a traceback.

    Their help is text: Typer would take `[[influx]]` in it for markup and print `[]`.
    """

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        show_help_as_text(self)

    def main(self, args: Sequence[str] | None = None, *more: Any, **options: Any) -> Any:
        if _COMPLETION_VARIABLE not in os.environ:  # there the last word is not finished yet
            try:
                check_entry(self, sys.argv[1:] if args is None else args, os.environ)
            except SettingsError as error:
                error_line(str(error))
                sys.exit(USER_ERROR)
        return super().main(args, *more, **options)

    def invoke(self, ctx: typer.Context) -> Any:  # type: ignore[override]  # typer.Context is click's with more
        try:
            return super().invoke(ctx)
        except (MoameshError, ProvisioningError) as error:
            error_line(str(error))
            raise typer.Exit(USER_ERROR) from error
        except OSError as error:
            if error.errno == errno.EPIPE:  # whoever read our output has seen enough
                raise
            error_line(f"{error.filename}: {error.strerror}" if error.filename else str(error))
            raise typer.Exit(USER_ERROR) from error


app = typer.Typer(
    name="moamesh",
    cls=_Commands,
    help="Small devices answer prompts together: distributed Mixture-of-Agents over MQTT.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
)
app.command("demo", rich_help_panel="Try it")(demo.demo)
app.command("up", rich_help_panel="Try it")(up.up)
app.command("ask", rich_help_panel="Use a mesh")(ask.ask)
app.command("answers", rich_help_panel="Use a mesh")(answers.answers)
app.command("status", rich_help_panel="Use a mesh")(status.status)
app.command("top", rich_help_panel="Use a mesh")(top.top)
app.command("pair", rich_help_panel="Use a mesh")(pair.pair)
app.command("run-prompts", rich_help_panel="Use a mesh")(run_prompts.run_prompts)
app.add_typer(gateway.app, name="gateway", rich_help_panel="Use a mesh")
app.command("simulate", rich_help_panel="Study a mesh")(simulate.simulate)
app.command("stability", rich_help_panel="Study a mesh")(stability.stability)
app.command("evaluate", rich_help_panel="Study a mesh")(evaluate.evaluate)
app.add_typer(experiment.app, name="experiment", rich_help_panel="Study a mesh")
app.add_typer(telemetry.app, name="telemetry", rich_help_panel="Study a mesh")
app.command("agent", rich_help_panel="Run a device")(agent.agent)
app.add_typer(models.app, name="models", rich_help_panel="Run a device")
app.add_typer(mesh.app, name="mesh", rich_help_panel="Run a mesh")
app.add_typer(device.app, name="device", rich_help_panel="Run a mesh")
app.add_typer(user.app, name="user", rich_help_panel="Run a mesh")
app.add_typer(job.app, name="job", no_args_is_help=True, rich_help_panel="Run a mesh")
app.add_typer(broker.app, name="broker", rich_help_panel="Run a mesh")
app.add_typer(provision.app, name="provision", rich_help_panel="Run a mesh")
app.command("doctor", rich_help_panel="Run a device")(doctor.doctor)


@app.callback(invoke_without_command=True)
def _root(version: bool = typer.Option(False, "--version", help="Show the version and exit.", is_eager=True)) -> None:
    if version:
        typer.echo(__version__)
        raise typer.Exit


def run() -> None:
    """The console entry."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")  # a terminal that is not UTF-8 shows what it can
    sys.exit(app())


if __name__ == "__main__":
    run()
