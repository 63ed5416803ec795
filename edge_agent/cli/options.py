"""Options that several commands share, declared once so that they read and behave the same everywhere."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from edge_agent.core.messages import FANOUT_MAX, LAYERS_MAX, OUTPUT_TOKENS_MAX

BROKER_VARIABLE = "MOAMESH_BROKER__URLS"
MESH_VARIABLE = "MOAMESH_DEVICE__MESH"
"""Where a user may keep --broker and --mesh: the same variables that set them for a device."""

_MESH = "Mesh"
_PROMPT = "Prompt"
_FLEET = "Local devices"

Broker = Annotated[
    str | None,
    typer.Option(
        "--broker",
        metavar="URL",
        envvar=BROKER_VARIABLE,
        rich_help_panel=_MESH,
        help="mqtt://host:port or mqtts://host:port, nodes of one cluster with commas between; by default the local "
        "mesh that `moamesh up` runs.",
    ),
]
Mesh = Annotated[
    str | None,
    typer.Option("--mesh", metavar="NAME", envvar=MESH_VARIABLE, rich_help_panel=_MESH, help="Name of the mesh."),
]
CaFile = Annotated[
    Path | None,
    typer.Option(
        "--ca-file",
        metavar="FILE",
        envvar="MOAMESH_BROKER__CA_FILE",
        rich_help_panel=_MESH,
        help="mqtts: the mesh's authority (PEM); by default those that the system trusts.",
    ),
]
CertFile = Annotated[
    Path | None,
    typer.Option(
        "--cert-file",
        metavar="FILE",
        envvar="MOAMESH_BROKER__CERT_FILE",
        rich_help_panel=_MESH,
        help="mqtts: a certificate of one's own (PEM), with --key-file.",
    ),
]
KeyFile = Annotated[
    Path | None,
    typer.Option(
        "--key-file",
        metavar="FILE",
        envvar="MOAMESH_BROKER__KEY_FILE",
        rich_help_panel=_MESH,
        help="mqtts: the certificate's private key (PEM).",
    ),
]
Username = Annotated[
    str | None,
    typer.Option(
        "--username",
        metavar="LOGIN",
        envvar="MOAMESH_BROKER__USERNAME",
        rich_help_panel=_MESH,
        help="How to log in, as `moamesh user add` shows it (user.NAME).",
    ),
]
PasswordFile = Annotated[
    Path | None,
    typer.Option(
        "--password-file",
        metavar="FILE",
        envvar="MOAMESH_BROKER__PASSWORD_FILE",
        rich_help_panel=_MESH,
        help="A file with the password in its first line.",
    ),
]
BrokerOf = Annotated[
    str | None,
    typer.Option(
        "--broker-of",
        metavar="DEVICE",
        envvar="MOAMESH_BROKER_OF",
        rich_help_panel=_MESH,
        help="mqtts: the broker is this device's own, whose certificate names the device, not the address.",
    ),
]
Layers = Annotated[
    int | None,
    typer.Option(
        "--layers",
        "-l",
        min=0,
        max=LAYERS_MAX,
        rich_help_panel=_PROMPT,
        help="M: Mixture-of-Agents layers; 0 is the device alone.",
    ),
]
Fanout = Annotated[
    int | None,
    typer.Option(
        "--fanout", "-k", min=0, max=FANOUT_MAX, rich_help_panel=_PROMPT, help="k: peers asked in each layer."
    ),
]
Deadline = Annotated[
    float | None,
    typer.Option(
        "--deadline", "-d", metavar="SECONDS", rich_help_panel=_PROMPT, help="The answer is worth nothing after this."
    ),
]
Join = Annotated[
    int | None,
    typer.Option(
        "--join",
        "-r",
        min=1,
        max=FANOUT_MAX + 1,
        rich_help_panel=_PROMPT,
        help="Go on with this many of the k+1 responses of a layer.",
    ),
]
MaxTokens = Annotated[
    int,
    typer.Option(
        "--max-tokens", min=1, max=OUTPUT_TOKENS_MAX, rich_help_panel=_PROMPT, help="Tokens of each response."
    ),
]
Temperature = Annotated[
    float,
    typer.Option("--temperature", "-t", min=0.0, max=5.0, rich_help_panel=_PROMPT, help="How freely tokens are drawn."),
]
Seed = Annotated[
    int | None, typer.Option("--seed", min=0, rich_help_panel=_PROMPT, help="Draw the same tokens each time.")
]
Devices = Annotated[
    int, typer.Option("--devices", "-n", min=1, max=64, rich_help_panel=_FLEET, help="How many devices to start.")
]
Model = Annotated[
    list[str] | None,
    typer.Option(
        "--model",
        metavar="NAME|FILE",
        rich_help_panel=_FLEET,
        help="Model of the devices; give several to mix them, round robin.",
    ),
]
Engine = Annotated[
    str,
    typer.Option(
        "--engine",
        metavar="llama|synthetic",
        rich_help_panel=_FLEET,
        help="llama.cpp, or declared service times without a model.",
    ),
]
Service = Annotated[
    str,
    typer.Option(
        "--service",
        metavar="SPEC",
        rich_help_panel=_FLEET,
        help="Service times of the synthetic engine, e.g. exponential:1.0 (seconds).",
    ),
]
Port = Annotated[
    int,
    typer.Option("--port", min=0, max=65535, rich_help_panel=_FLEET, help="Port of the broker; 0 picks a free one."),
]
Json = Annotated[bool, typer.Option("--json", help="Print JSON on stdout; everything else goes to stderr.")]
ConfigFile = Annotated[Path, typer.Option("--config", "-c", metavar="FILE", help="The device's agent.toml.")]
