"""`moamesh broker`: what carries the messages."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from edge_agent.cli import membership as member
from edge_agent.cli import options as opt
from edge_agent.operator.meshes import open_mesh

app = typer.Typer(help="Run what carries the messages, write its configuration, check it.", no_args_is_help=True)


class Mode(StrEnum):
    """Which kind of broker."""

    EMBEDDED = "embedded"
    MOSQUITTO = "mosquitto"
    PER_DEVICE = "per-device"
    CLUSTER = "cluster"


class Engine(StrEnum):
    """For which program a configuration is written."""

    MOSQUITTO = "mosquitto"
    EMQX = "emqx"
    TABLE = "table"


_LISTENERS = "Listeners"
_CLUSTER = "Cluster"

RunMode = Annotated[
    Mode,
    typer.Option(
        "--mode",
        help="embedded: this machine only, no passwords. mosquitto: a mesh's shared broker. per-device: one device's "
        "own. cluster: a node of ejabberd's MQTT cluster.",
    ),
]
Host = Annotated[
    str,
    typer.Option("--host", metavar="ADDRESS", rich_help_panel=_LISTENERS, help="Listen there only; else everywhere."),
]
Port = Annotated[
    int | None,
    typer.Option(
        "--port",
        min=0,
        max=65535,
        rich_help_panel=_LISTENERS,
        help="For devices; else the port of the mesh's first broker URL. Embedded: 0 picks a free one.",
    ),
]
PasswordPort = Annotated[
    int | None,
    typer.Option(
        min=1,
        max=65535,
        rich_help_panel=_LISTENERS,
        help="For users and claims; else the port of the claim broker URL.",
    ),
]
Web = Annotated[bool, typer.Option("--web/--no-web", rich_help_panel=_LISTENERS, help="WebSockets for browsers.")]
WebPort = Annotated[int, typer.Option(min=1, max=65535, rich_help_panel=_LISTENERS, help="For browsers.")]
Names = Annotated[
    list[str] | None,
    typer.Option(
        "--name",
        metavar="HOST",
        rich_help_panel=_LISTENERS,
        help="Another host name or address by which clients know this broker; part of its certificate.",
    ),
]
Kind = Annotated[
    str | None,
    typer.Option("--kind", metavar="mosquitto|iotcore", help="Embedded: which program; else the better one."),
]
DeviceConfig = Annotated[
    Path | None, typer.Option("--config", "-c", metavar="FILE", help="Per-device: the device's agent.toml.")
]
Node = Annotated[
    str | None,
    typer.Option("--node", metavar="NAME@HOST", rich_help_panel=_CLUSTER, help="This node; others reach it by HOST."),
]
ClusterNodes = Annotated[
    list[str] | None,
    typer.Option(
        "--cluster-node",
        metavar="NAME@HOST",
        rich_help_panel=_CLUSTER,
        help="Another node of the cluster, whether it runs already or not; repeatable.",
    ),
]
NodePort = Annotated[
    int,
    typer.Option(
        "--node-port",
        min=1,
        max=65535,
        rich_help_panel=_CLUSTER,
        help="Where nodes talk to each other, in clear: keep it in a private network. The same on every node.",
    ),
]
CookieFile = Annotated[
    Path | None,
    typer.Option(
        "--cookie-file",
        metavar="FILE",
        rich_help_panel=_CLUSTER,
        help="The secret that nodes share; made in the mesh's folder if not given. The same on every node.",
    ),
]


@app.command()
def run(
    mode: RunMode = Mode.EMBEDDED,
    mesh: member.MeshName = None,
    host: Host = "",
    port: Port = None,
    password_port: PasswordPort = None,
    web: Web = True,
    web_port: WebPort = 8885,
    name: Names = None,
    kind: Kind = None,
    config: DeviceConfig = None,
    node: Node = None,
    other_nodes: ClusterNodes = None,
    node_port: NodePort = 5210,
    cookie_file: CookieFile = None,
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
    from edge_agent.operator.broker.setup import BrokerOptions, mosquitto_files, node_settings, server_files

    out = console(stderr=json)
    if mode is Mode.EMBEDDED:
        if host not in ("", "127.0.0.1", "localhost"):
            raise SettingsError("the embedded broker lets everyone in and stays on loopback: use --mode mosquitto")
        run_async(keep_running(out, embedded_broker(port=port or 0, kind=kind), embedded_told, json=json))
    elif mode is Mode.PER_DEVICE:
        if config is None:
            raise SettingsError("--mode per-device needs the device's settings: --config agent.toml")
        loaded = load_config(config)
        run_async(keep_running(out, device_broker(loaded), lambda broker: own_told(loaded, broker), json=json))
    else:
        opened = open_mesh(mesh)
        options = BrokerOptions(host, port, password_port, web, web_port, tuple(name or ()))
        server = server_files(opened, options.names, lambda: member.open_authority(opened, passphrase_file))
        if mode is Mode.MOSQUITTO:
            files = mosquitto_files(opened, options, server)
            told = mosquitto_told(opened.name, files)
            run_async(keep_running(out, mosquitto_broker(opened, files), lambda _: told, json=json))
            return
        if node is None:
            raise SettingsError("--mode cluster needs --node NAME@HOST, and --cluster-node for each other node")
        settings = node_settings(opened, options, server, node, tuple(other_nodes or ()), node_port, cookie_file)
        run_async(
            keep_running(out, cluster_node(opened, settings), lambda nodes: node_told(settings, nodes), json=json)
        )


@app.command()
def render(
    folder: Annotated[Path, typer.Argument(metavar="FOLDER", help="Write there; made if need be.")],
    engine: Annotated[
        Engine, typer.Option("--for", help="mosquitto; emqx (not tried); table: every right, as JSON, for any other.")
    ] = Engine.MOSQUITTO,
    mesh: member.MeshName = None,
    at: Annotated[
        Path, typer.Option("--at", metavar="FOLDER", help="Where the folder will lie on the broker's machine.")
    ] = Path("/etc/moamesh/broker"),
    user: Annotated[str, typer.Option(metavar="NAME", help="Who runs the broker there.")] = "mosquitto",
    host: Host = "",
    port: Port = None,
    password_port: PasswordPort = None,
    web: Web = True,
    web_port: WebPort = 8885,
    name: Names = None,
    passphrase_file: member.PassphraseFile = None,
    json: opt.Json = False,
) -> None:
    """Write configuration, access rules, certificates and systemd units for a broker that you run yourself."""
    from edge_agent.cli.terminal import console, print_json
    from edge_agent.operator.broker.render import render_files
    from edge_agent.operator.broker.setup import BrokerOptions, server_files

    opened = open_mesh(mesh)
    options = BrokerOptions(host, port, password_port, web, web_port, tuple(name or ()))
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
        typer.Option(metavar="URL", help="Where users and claims connect; else the mesh's claim broker."),
    ] = None,
    passphrase_file: member.PassphraseFile = None,
    json: opt.Json = False,
) -> None:
    """Try a broker as device, user, unclaimed device and stranger: every row of the topic table, and some outside it.

    What counts is which messages arrive, not what the broker acknowledges. The identities are made for the check and
    end with it; real devices only see some unreadable messages in presence. Exit status 1 if anything was let through
    or kept back against the table.
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
