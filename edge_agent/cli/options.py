"""Options that several commands share, declared once so that they read and behave the same everywhere."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from edge_agent.core.messages import FANOUT_MAX, LAYERS_MAX, OUTPUT_TOKENS_MAX

_PROMPT = "Prompt"
_FLEET = "Local devices"

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
        "--deadline", metavar="SECONDS", rich_help_panel=_PROMPT, help="Give up on the answer after this time."
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
        help="Continue after this many of the k+1 responses of a layer.",
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
    typer.Option(
        "--temperature",
        "-t",
        min=0.0,
        max=5.0,
        rich_help_panel=_PROMPT,
        help="Sampling temperature; 0 always takes the likeliest token.",
    ),
]
Seed = Annotated[
    int | None,
    typer.Option("--seed", min=0, rich_help_panel=_PROMPT, help="Seed of the sampling, for the same tokens each time."),
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
AUTO = "auto"
Engine = Annotated[
    str,
    typer.Option(
        "--engine",
        metavar="auto|llama|llama-server|synthetic",
        rich_help_panel=_FLEET,
        help="llama.cpp compiled for this CPU, or its prebuilt server (auto: the first that is installed), or declared "
        "service times without a model.",
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
