"""Options of `moamesh simulate`."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Annotated, final

import typer

_load = partial(typer.Option, rich_help_panel="Load")
_faults = partial(typer.Option, rich_help_panel="Faults")
_output = partial(typer.Option, rich_help_panel="Output")


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class LoadOptions:
    """The mesh and its load."""

    devices: Annotated[int, typer.Option("--devices", "-n", help="How many devices.")] = 20
    layers: Annotated[int, typer.Option("--layers", "-l", help="M: Mixture-of-Agents layers.")] = 2
    fanout: Annotated[int, typer.Option("--fanout", "-k", help="k: peers asked in each layer.")] = 2
    utilisation: Annotated[
        float | None, _load(help="ρ of a device of normal speed; by default 0.8 if no rate is given.")
    ] = None
    arrival_rate_hz: Annotated[float | None, _load(help="λ: prompts per second and device, instead of ρ.")] = None
    arrivals: Annotated[
        Path | None, _load(metavar="FILE", help="Recorded arrivals instead: lines `seconds,device`.")
    ] = None
    burst: Annotated[str | None, _load(metavar="START,SECONDS,FACTOR", help="A period with FACTOR times the load.")] = (
        None
    )
    prompts: Annotated[int | None, _load(help="Prompts in all; by default enough for the mesh to settle.")] = None
    warm_up: Annotated[float | None, _load(metavar="S", help="Seconds at the start that are not measured.")] = None
    capacity: Annotated[str, _load(metavar="N|unbounded", help="Places in a device's queue.")] = "unbounded"
    service: Annotated[
        str, _load(metavar="SPEC", help="deterministic:MEAN, exponential:MEAN or gamma:SHAPE,MEAN (s).")
    ] = "exponential:1.0"
    aggregation_factor: Annotated[
        float, _load(metavar="F", help="Mean service time with references, divided by that without.")
    ] = 1.0
    slots: Annotated[int, _load(metavar="C", help="How many items a device infers at once.")] = 1
    speed_up: Annotated[str, _load(metavar="CURVE", help="What that gains: 1,1.7,2.2, amdahl:SHARE or none.")] = "none"
    slow_devices: Annotated[int, _load(metavar="N", help="How many devices are slower.")] = 0
    slow_factor: Annotated[float, _load(metavar="F", help="How many times slower they are.")] = 3.0
    network_delay_s: Annotated[float, _load(metavar="D", help="Delay of each message.")] = 0.0
    policy: Annotated[str, _load(metavar="NAME", help="Peer selection.")] = "uniform"
    layer_plan: Annotated[str, _load(metavar="NAME", help="Layer plan.")] = "fixed"
    load_news_s: Annotated[
        float, _load(metavar="S", help="How old a device's information about others' load may be.")
    ] = 0.0
    gossip: Annotated[bool, _load("--gossip", help="Give devices peer views and gossip, as live ones have.")] = False


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class FaultOptions:
    """What is broken instead, and by which seeds."""

    faults: Annotated[
        str | None,
        _faults(
            metavar="all|list|NAME,...", help="Inject random faults by seed instead; `list` shows the kinds of faults."
        ),
    ] = None
    seeds: Annotated[str | None, _faults(metavar="A..B", help="Seeds to run, up to the first violation.")] = None
    without: Annotated[
        str | None, _faults(metavar="SAFEGUARD", help="Disable a safeguard, to see whether the checkers notice.")
    ] = None
    jobs: Annotated[int, _faults("--jobs", "-j", metavar="N", help="Processes that run seeds at a time.")] = 1
    go_on: Annotated[
        bool, _faults("--go-on", help="Run all seeds and count the violations, instead of stopping at the first.")
    ] = False


Seed = Annotated[int, typer.Option(help="Seed of all random numbers.")]
Plot = Annotated[Path | None, _output(metavar="FILE.png|svg|html", help="Plot the run to a file.")]
Telemetry = Annotated[Path | None, _output(metavar="FOLDER", help="Write telemetry as a live mesh would.")]
