"""Options of `moamesh provision device`."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from functools import partial
from pathlib import Path
from typing import Annotated, final

import typer

_output = partial(typer.Option, rich_help_panel="Where the seed goes")
_network = partial(typer.Option, rich_help_panel="Network")
_login = partial(typer.Option, rich_help_panel="Login")
_software = partial(typer.Option, rich_help_panel="Software")
_membership = partial(typer.Option, rich_help_panel="Membership")


class SeedEngine(StrEnum):
    """What infers on the device."""

    LLAMA = "llama"
    SYNTHETIC = "synthetic"


class FirstBootReader(StrEnum):
    """Which system reads the seed."""

    CLOUD_INIT = "cloud-init"
    FIRSTRUN = "firstrun"


FirstBoot = Annotated[
    FirstBootReader | None,
    _output(
        "--first-boot",
        help="Who reads the seed, by default found out: cloud-init (Raspberry Pi OS from Trixie, Ubuntu), firstrun.sh.",
    ),
]


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class OutputOptions:
    """Where the seed goes."""

    seed_dir: Annotated[Path | None, _output(metavar="DIR", help="Write the seed's files into a folder.")] = None
    iso: Annotated[Path | None, _output(metavar="FILE", help="Write an ISO labelled cidata.")] = None
    image: Annotated[
        Path | None,
        _output(
            metavar="FILE",
            help="Put the seed into this image; with --to, write the image there first and leave it as it is.",
        ),
    ] = None
    to: Annotated[Path | None, _output(metavar="TARGET", help="A card (/dev/sdX) or a file.")] = None
    first_boot: FirstBoot = None


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class NetworkOptions:
    """How the device is in the network."""

    hostname: Annotated[str, _network(help="Host name; by default the device's name.")] = ""
    ethernet: Annotated[str, _network(metavar="INTERFACE", help="Name of the Ethernet interface on the device.")] = (
        "eth0"
    )
    wifi_ssid: Annotated[str | None, _network(metavar="NAME", help="Join this Wi-Fi too.")] = None
    wifi_country: Annotated[str | None, _network(metavar="CC", help="Two letters; without it the radio stays off.")] = (
        None
    )
    wifi_password_file: Annotated[
        Path | None, _network(metavar="FILE", help="File with the password in its first line; asked for by default.")
    ] = None
    wifi_open: Annotated[bool, _network("--wifi-open", help="The Wi-Fi has no password.")] = False
    wifi_hidden: Annotated[bool, _network("--wifi-hidden", help="The Wi-Fi does not broadcast its name.")] = False
    address: Annotated[str | None, _network(metavar="IP/BITS", help="A fixed address, for Wi-Fi if that is used.")] = (
        None
    )
    gateway: Annotated[str | None, _network(metavar="IP")] = None
    dns: Annotated[list[str] | None, _network(metavar="IP", help="DNS server; repeatable.")] = None


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class DeviceOptions:
    """Who may log in, what runs on the device, and how it becomes a member."""

    user: Annotated[str, _login(metavar="NAME", help="User who may log in with --ssh-key.")] = "pi"
    ssh_key: Annotated[
        list[Path] | None, _login(metavar="FILE", help="A public key; without one nobody can log in.")
    ] = None
    engine: Annotated[SeedEngine, _software(help="synthetic: no model, for trials.")] = SeedEngine.LLAMA
    model: Annotated[
        str | None,
        _software(
            metavar="NAME|FILE", help="A name, which the device pulls, or a GGUF file, which is put into the seed."
        ),
    ] = None
    wheelhouse: Annotated[
        Path | None,
        _software(metavar="DIR", help="Folder of wheels to put into the seed, each with its checksum; required."),
    ] = None
    settings: Annotated[
        list[str] | None, _software("--set", metavar="SECTION.KEY=VALUE", help="Another setting; repeatable.")
    ] = None
    own_broker: Annotated[bool, _membership("--own-broker", help="The device is its own home broker.")] = False
    offline: Annotated[
        bool,
        _membership(
            "--offline", help="Make key and certificate here and put them into the seed: no claim has to be answered."
        ),
    ] = False
    expires: Annotated[str, _membership(metavar="DURATION", help="How long the claim is valid: 12h, 7d.")] = "7d"
