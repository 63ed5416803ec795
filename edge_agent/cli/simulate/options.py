"""Options of `moamesh simulate`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

_LOAD = "Load"
_FAULTS = "Faults"
_OUTPUT = "Output"

Devices = Annotated[int, typer.Option("--devices", "-n", help="How many devices.")]
Layers = Annotated[int, typer.Option("--layers", "-l", help="M: Mixture-of-Agents layers.")]
Fanout = Annotated[int, typer.Option("--fanout", "-k", help="k: peers asked in each layer.")]
Utilisation = Annotated[
    float | None,
    typer.Option(rich_help_panel=_LOAD, help="ρ of a device of normal speed; by default 0.8 if no rate is given."),
]
ArrivalRateHz = Annotated[
    float | None, typer.Option(rich_help_panel=_LOAD, help="λ: prompts per second and device, instead of ρ.")
]
Arrivals = Annotated[
    Path | None,
    typer.Option(metavar="FILE", rich_help_panel=_LOAD, help="Recorded arrivals instead: lines `seconds,device`."),
]
Burst = Annotated[
    str | None,
    typer.Option(metavar="START,SECONDS,FACTOR", rich_help_panel=_LOAD, help="A time of FACTOR times the load."),
]
Prompts = Annotated[
    int | None, typer.Option(rich_help_panel=_LOAD, help="Prompts in all; by default enough for the mesh to settle.")
]
WarmUp = Annotated[
    float | None, typer.Option(metavar="S", rich_help_panel=_LOAD, help="Seconds at the start not measured.")
]
Capacity = Annotated[
    str, typer.Option(metavar="N|unbounded", rich_help_panel=_LOAD, help="Places in a device's queue.")
]
Service = Annotated[
    str,
    typer.Option(
        metavar="SPEC", rich_help_panel=_LOAD, help="deterministic:MEAN, exponential:MEAN or gamma:SHAPE,MEAN (s)."
    ),
]
AggregationFactor = Annotated[
    float, typer.Option(metavar="F", rich_help_panel=_LOAD, help="Mean service with references over without.")
]
SlowDevices = Annotated[int, typer.Option(metavar="N", rich_help_panel=_LOAD, help="How many are slower.")]
SlowFactor = Annotated[float, typer.Option(metavar="F", rich_help_panel=_LOAD, help="How much slower.")]
NetworkDelayS = Annotated[float, typer.Option(metavar="D", rich_help_panel=_LOAD, help="What each message takes.")]
Policy = Annotated[str, typer.Option(metavar="NAME", rich_help_panel=_LOAD, help="Peer selection.")]
LayerPlan = Annotated[str, typer.Option(metavar="NAME", rich_help_panel=_LOAD, help="Layer plan.")]
LoadNewsS = Annotated[
    float, typer.Option(metavar="S", rich_help_panel=_LOAD, help="How old news of others' load may be.")
]
Gossip = Annotated[
    bool, typer.Option("--gossip", rich_help_panel=_LOAD, help="Views and gossip of their own, as live ones have.")
]
Seed = Annotated[int, typer.Option(help="Decides everything.")]
Faults = Annotated[
    str | None,
    typer.Option(
        metavar="all|list|NAME,...",
        rich_help_panel=_FAULTS,
        help="Break a mesh at random instead, by seed; `list` says what may go wrong.",
    ),
]
Seeds = Annotated[
    str | None, typer.Option(metavar="A..B", rich_help_panel=_FAULTS, help="Seeds to run, up to the first violation.")
]
Without = Annotated[
    str | None, typer.Option(metavar="SAFEGUARD", rich_help_panel=_FAULTS, help="Take a safeguard away: is it missed?")
]
Jobs = Annotated[int, typer.Option("--jobs", "-j", metavar="N", rich_help_panel=_FAULTS, help="Processes for seeds.")]
GoOn = Annotated[
    bool, typer.Option("--go-on", rich_help_panel=_FAULTS, help="Run every seed and count what breaks, first to last.")
]
Plot = Annotated[Path | None, typer.Option(metavar="FILE.png|svg|html", rich_help_panel=_OUTPUT, help="Draw the run.")]
Telemetry = Annotated[
    Path | None, typer.Option(metavar="FOLDER", rich_help_panel=_OUTPUT, help="Write it as a live mesh would.")
]
