"""`moamesh broker`: what carries the messages."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, final

import typer

from edge_agent.cli import membership as member
from edge_agent.cli import options as opt
from edge_agent.cli.groups import takes_groups
from edge_agent.operator.meshes import open_mesh

if TYPE_CHECKING:
    from edge_agent.operator.broker.setup import BrokerOptions

app = typer.Typer(help="Run a broker, write the configuration of one, check one.", no_args_is_help=True)


class Mode(StrEnum):
    """Which kind of broker."""

    EMBEDDED = "embedded"
    MOSQUITTO = "mosquitto"
    PER_DEVICE = "per-device"
    CLUSTER = "cluster"


class Target(StrEnum):
    """For which program a configuration is written."""

    MOSQUITTO = "mosquitto"
    EMQX = "emqx"
    TABLE = "table"


_listener = partial(typer.Option, rich_help_panel="Listeners")
_cluster = partial(typer.Option, rich_help_panel="Cluster")

RunMode = Annotated[
    Mode,
    typer.Option(
        "--mode",
        help="embedded: this machine only, no passwords. mosquitto: a mesh's shared broker. per-device: one device's "
        "own. cluster: a node of ejabberd's MQTT cluster.",
    ),
]
Kind = Annotated[
    str | None,
    typer.Option("--kind", metavar="mosquitto|iotcore", help="Embedded: which program; by default the better one."),
]
DeviceConfig = Annotated[
    Path | None, typer.Option("--config", "-c", metavar="FILE", help="Per-device: the device's agent.toml.")
]


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class ListenerOptions:
    """Where a broker listens."""

    host: Annotated[str, _listener(metavar="ADDRESS", help="Listen at this address only; by default at all.")] = ""
    port: Annotated[
        int | None,
        _listener(
            min=0,
            max=65535,
            help="Port for devices; by default that of the mesh's first broker URL. Embedded: 0 picks a free one.",
        ),
    ] = None
    password_port: Annotated[
        int | None,
        _listener(min=1, max=65535, help="Port for users and claims; by default that of the claim broker URL."),
    ] = None
    web: Annotated[bool, _listener("--web/--no-web", help="WebSockets for browsers.")] = True
    web_port: Annotated[int, _listener(min=1, max=65535, help="Port for browsers.")] = 8885
    name: Annotated[
        list[str] | None,
        _listener(
            metavar="HOST",
            help="Another host name or address by which clients know this broker; part of its certificate.",
        ),
    ] = None

    def wanted(self) -> BrokerOptions:
        """Returns them for the operator's work."""
        from edge_agent.operator.broker.setup import BrokerOptions

        names = tuple(self.name or ())
        return BrokerOptions(self.host, self.port, self.password_port, self.web, self.web_port, names)


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class ClusterOptions:
    """A node of ejabberd's cluster."""

    node: Annotated[str | None, _cluster(metavar="NAME@HOST", help="This node; others reach it by HOST.")] = None
    cluster_node: Annotated[
        list[str] | None,
        _cluster(metavar="NAME@HOST", help="Another node of the cluster, whether it runs already or not; repeatable."),
    ] = None
    node_port: Annotated[
        int,
        _cluster(
            min=1,
            max=65535,
            help="Port between nodes, unencrypted: keep it in a private network. The same on every node.",
        ),
    ] = 5210
    cookie_file: Annotated[
        Path | None,
        _cluster(
            metavar="FILE",
            help="The secret that nodes share; made in the mesh's folder if not given. The same on every node.",
        ),
    ] = None


@app.command()
@takes_groups
def run(
    mode: RunMode = Mode.EMBEDDED,
    mesh: member.MeshName = None,
    *,
    listeners: ListenerOptions,
    kind: Kind = None,
    config: DeviceConfig = None,
    cluster: ClusterOptions,
    passphrase_file: member.PassphraseFile = None,
    json: opt.Json = False,
) -> None:
    """Run a broker until Ctrl-C. It is started again when it crashes or hangs."""
    from edge_agent.cli.broker.running import embedded_told, keep_running, mosquitto_told, node_told, own_told
    from edge_agent.cli.exits import run_async
    from edge_agent.cli.terminal import console
    from edge_agent.config import load_config
    from edge_agent.core.errors import SettingsError
    from edge_agent.operator.broker.run import cluster_node, device_broker, embedded_broker, mosquitto_broker
    from edge_agent.operator.broker.setup import mosquitto_files, node_settings, server_files

    out = console(stderr=json)
    if mode is Mode.EMBEDDED:
        if listeners.host not in ("", "127.0.0.1", "localhost"):
            raise SettingsError(
                "the embedded broker accepts everyone, so it listens on loopback only: use --mode mosquitto"
            )
        run_async(keep_running(out, embedded_broker(port=listeners.port or 0, kind=kind), embedded_told, json=json))
    elif mode is Mode.PER_DEVICE:
        if config is None:
            raise SettingsError("--mode per-device needs the device's settings: --config agent.toml")
        loaded = load_config(config)
        run_async(keep_running(out, device_broker(loaded), lambda broker: own_told(loaded, broker), json=json))
    else:
        opened = open_mesh(mesh)
        options = listeners.wanted()
        server = server_files(opened, options.names, lambda: member.open_authority(opened, passphrase_file))
        if mode is Mode.MOSQUITTO:
            files = mosquitto_files(opened, options, server)
            told = mosquitto_told(opened.name, files)
            run_async(keep_running(out, mosquitto_broker(opened, files), lambda _: told, json=json))
            return
        if cluster.node is None:
            raise SettingsError("--mode cluster needs --node NAME@HOST, and --cluster-node for each other node")
        others = tuple(cluster.cluster_node or ())
        settings = node_settings(opened, options, server, cluster.node, others, cluster.node_port, cluster.cookie_file)
        run_async(
            keep_running(out, cluster_node(opened, settings), lambda nodes: node_told(settings, nodes), json=json)
        )


@app.command()
@takes_groups
def render(
    folder: Annotated[Path, typer.Argument(metavar="FOLDER", help="Folder to write to; created if it is missing.")],
    engine: Annotated[
        Target, typer.Option("--for", help="mosquitto; emqx (not tried); table: every right, as JSON, for any other.")
    ] = Target.MOSQUITTO,
    mesh: member.MeshName = None,
    at: Annotated[
        Path, typer.Option("--at", metavar="FOLDER", help="Where the folder will be on the broker's machine.")
    ] = Path("/etc/moamesh/broker"),
    user: Annotated[str, typer.Option(metavar="NAME", help="System user that runs the broker there.")] = "mosquitto",
    *,
    listeners: ListenerOptions,
    passphrase_file: member.PassphraseFile = None,
    json: opt.Json = False,
) -> None:
    """Write configuration, access rules, certificates and systemd units for a broker that you run yourself."""
    from edge_agent.cli.terminal import console, print_json
    from edge_agent.operator.broker.render import render_files
    from edge_agent.operator.broker.setup import server_files

    opened = open_mesh(mesh)
    options = listeners.wanted()
    server = server_files(opened, options.names, lambda: member.open_authority(opened, passphrase_file))
    rendered = render_files(opened, engine.value, options, server, folder, at.absolute(), user)
    if json:
        print_json({"folder": str(rendered.folder), "files": rendered.files, "steps": rendered.steps})
        return
    out = console()
    out.print(f"in {rendered.folder}: {', '.join(rendered.files)}", soft_wrap=True, markup=False)
    for number, step in enumerate(rendered.steps, 1):
        out.print(f"{number}. {step}", soft_wrap=True, markup=False)


@app.command()
def check(
    url: Annotated[str, typer.Argument(metavar="URL", help="mqtts://host:port where devices connect.")],
    mesh: member.MeshName = None,
    password_url: Annotated[
        str | None,
        typer.Option(metavar="URL", help="Where users and claims connect; by default the mesh's claim broker."),
    ] = None,
    passphrase_file: member.PassphraseFile = None,
    json: opt.Json = False,
) -> None:
    """Try a broker as device, user, unclaimed device and stranger: every row of the topic table, and some outside it.

    What counts is which messages arrive, not what the broker acknowledges. The identities are made for the check and
    end with it; real devices only see some unreadable messages in presence. Exit status 1 if anything was allowed
    or refused against the table.
    """
    from edge_agent.cli.broker.view import print_report, report_object
    from edge_agent.cli.exits import NOT_ANSWERED
    from edge_agent.cli.terminal import console, print_json
    from edge_agent.operator.broker.check import check_broker

    opened = open_mesh(mesh)
    authority = member.open_authority(opened, passphrase_file)
    out = console(stderr=json)
    with out.status(f"trying {url}"):
        report = check_broker(opened, authority, url, password_url)
    if json:
        print_json(report_object(report))
    else:
        print_report(out, report)
    if not report.good:
        raise typer.Exit(NOT_ANSWERED)
