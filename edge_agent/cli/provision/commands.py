"""`moamesh provision`: from a blank card to a member of the mesh."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from edge_agent.cli import membership as member
from edge_agent.cli import options as opt

app = typer.Typer(help="Make a device's boot seed; write images to cards.", no_args_is_help=True)


class SeedEngine(StrEnum):
    """What infers on the device."""

    LLAMA = "llama"
    SYNTHETIC = "synthetic"


class FirstBootReader(StrEnum):
    """Which system reads the seed."""

    CLOUD_INIT = "cloud-init"
    FIRSTRUN = "firstrun"


_OUTPUT = "Where the seed goes"
_NETWORK = "Network"
_LOGIN = "Login"
_SOFTWARE = "Software"
_MEMBERSHIP = "Membership"

Yes = Annotated[bool, typer.Option("--yes", "-y", help="Write without asking: everything on the target is lost.")]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Check everything, say what would be done, write nothing.")]
FirstBoot = Annotated[
    FirstBootReader | None,
    typer.Option(
        "--first-boot",
        rich_help_panel=_OUTPUT,
        help="Who reads the seed; else found out: cloud-init (Raspberry Pi OS since Trixie, Ubuntu) or firstrun.sh.",
    ),
]
Name = Annotated[str, typer.Argument(help="The device: 1 to 64 of a-z, 0-9 and -.")]
SeedDir = Annotated[
    Path | None, typer.Option(metavar="DIR", rich_help_panel=_OUTPUT, help="Write the seed's files into a folder.")
]
Iso = Annotated[
    Path | None, typer.Option(metavar="FILE", rich_help_panel=_OUTPUT, help="Write an ISO labelled cidata.")
]
Image = Annotated[
    Path | None,
    typer.Option(
        metavar="FILE",
        rich_help_panel=_OUTPUT,
        help="Put the seed into this image; with --to, write the image there first and leave it as it is.",
    ),
]
To = Annotated[
    Path | None, typer.Option("--to", metavar="TARGET", rich_help_panel=_OUTPUT, help="A card (/dev/sdX) or a file.")
]
Hostname = Annotated[str, typer.Option(rich_help_panel=_NETWORK, help="Else the device's name.")]
Ethernet = Annotated[str, typer.Option(metavar="INTERFACE", rich_help_panel=_NETWORK, help="Its name on the device.")]
WifiSsid = Annotated[str | None, typer.Option(metavar="NAME", rich_help_panel=_NETWORK, help="Join this Wi-Fi too.")]
WifiCountry = Annotated[
    str | None, typer.Option(metavar="CC", rich_help_panel=_NETWORK, help="Two letters; the radio is off without.")
]
WifiPasswordFile = Annotated[
    Path | None,
    typer.Option(metavar="FILE", rich_help_panel=_NETWORK, help="Its first line; else it is asked for."),
]
WifiOpen = Annotated[bool, typer.Option("--wifi-open", rich_help_panel=_NETWORK, help="The Wi-Fi has no password.")]
WifiHidden = Annotated[
    bool, typer.Option("--wifi-hidden", rich_help_panel=_NETWORK, help="The Wi-Fi does not show its name.")
]
Address = Annotated[
    str | None,
    typer.Option(metavar="IP/BITS", rich_help_panel=_NETWORK, help="A fixed address, of Wi-Fi if it is used."),
]
Gateway = Annotated[str | None, typer.Option(metavar="IP", rich_help_panel=_NETWORK)]
Dns = Annotated[list[str] | None, typer.Option(metavar="IP", rich_help_panel=_NETWORK, help="Repeatable.")]
User = Annotated[str, typer.Option(metavar="NAME", rich_help_panel=_LOGIN, help="Who may log in, with --ssh-key.")]
SshKey = Annotated[
    list[Path] | None,
    typer.Option(metavar="FILE", rich_help_panel=_LOGIN, help="A public key; without one nobody can log in."),
]
Engine = Annotated[SeedEngine, typer.Option(rich_help_panel=_SOFTWARE, help="synthetic: no model, for trying out.")]
Model = Annotated[
    str | None,
    typer.Option(
        metavar="NAME|FILE", rich_help_panel=_SOFTWARE, help="A name is pulled by the device; a GGUF file is put in."
    ),
]
Wheelhouse = Annotated[
    Path | None,
    typer.Option(
        metavar="DIR", rich_help_panel=_SOFTWARE, help="Put these wheels in, each with its checksum; required."
    ),
]
Settings = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="SECTION.KEY=VALUE", rich_help_panel=_SOFTWARE, help="Another setting; repeatable."),
]
OwnBroker = Annotated[
    bool, typer.Option("--own-broker", rich_help_panel=_MEMBERSHIP, help="The device is its own home broker.")
]
Offline = Annotated[
    bool,
    typer.Option(
        "--offline",
        rich_help_panel=_MEMBERSHIP,
        help="Make key and certificate here and put them into the seed: nobody has to answer a claim.",
    ),
]
Expires = Annotated[
    str, typer.Option(metavar="DURATION", rich_help_panel=_MEMBERSHIP, help="How long the claim holds: 12h, 7d.")
]


@app.callback()
def _check_packages() -> None:
    """Says what is missing before anything is begun."""
    from importlib.util import find_spec

    from edge_agent.core.errors import SettingsError

    missing = [package for package in ("yaml", "pycdlib", "zstandard", "cryptography") if find_spec(package) is None]
    if missing:
        raise SettingsError(f"{', '.join(missing)}: not installed; pip install 'moamesh[provisioning]'")


@app.command()
def device(
    name: Name,
    mesh: member.MeshName = None,
    seed_dir: SeedDir = None,
    iso: Iso = None,
    image: Image = None,
    to: To = None,
    first_boot: FirstBoot = None,
    hostname: Hostname = "",
    ethernet: Ethernet = "eth0",
    wifi_ssid: WifiSsid = None,
    wifi_country: WifiCountry = None,
    wifi_password_file: WifiPasswordFile = None,
    wifi_open: WifiOpen = False,
    wifi_hidden: WifiHidden = False,
    address: Address = None,
    gateway: Gateway = None,
    dns: Dns = None,
    user: User = "pi",
    ssh_key: SshKey = None,
    engine: Engine = SeedEngine.LLAMA,
    model: Model = None,
    wheelhouse: Wheelhouse = None,
    settings: Settings = None,
    own_broker: OwnBroker = False,
    offline: Offline = False,
    expires: Expires = "7d",
    passphrase_file: member.PassphraseFile = None,
    yes: Yes = False,
    json: opt.Json = False,
) -> None:
    """Invite a device and make its boot seed: it boots, makes its key, claims its certificate, joins, answers.

    The seed holds the claim, which works once: keep it as you would a password, until the device has booted.
    """
    from edge_agent.cli.provision.device import NetworkWish, Outputs, SeedWish, provision
    from edge_agent.cli.provision.images import first_boot_of, put_by_hand_line
    from edge_agent.cli.terminal import console, print_json

    wifi = (wifi_ssid, wifi_country, wifi_password_file, wifi_open, wifi_hidden)
    network = NetworkWish(hostname, ethernet, *wifi, address, gateway, tuple(dns or ()))
    wish = SeedWish(
        name=name,
        network=network,
        user=user,
        ssh_keys=tuple(ssh_key or ()),
        engine=engine.value,
        model=model,
        wheelhouse=wheelhouse,
        settings=tuple(settings or ()),
        own_broker=own_broker,
        offline=offline,
        expires=expires,
    )
    outputs = Outputs(seed_dir, iso, image, to, first_boot_of(first_boot), yes)
    out = console(stderr=json)
    opened = member.open_mesh(mesh)
    authority = member.open_authority(opened, passphrase_file) if offline else None
    made = provision(opened, wish, outputs, authority, out)
    if json:
        print_json(made)
        return
    for line in made["written"]:
        out.print(line, soft_wrap=True, markup=False)
    if seed_dir is not None:
        out.print(put_by_hand_line(seed_dir), style="quiet", soft_wrap=True, markup=False)
    _say_what_next(name, opened.name, made.get("claim_expires_at"))


@app.command()
def flash(
    image: Annotated[Path, typer.Argument(metavar="IMAGE", help="A disk image: raw, .xz, .gz, .bz2, .zst or .zip.")],
    to: Annotated[Path, typer.Option("--to", metavar="TARGET", help="A card (/dev/sdX) or a file.")],
    seed_dir: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Put this seed into the boot partition (`provision device`).")
    ] = None,
    first_boot: FirstBoot = None,
    yes: Yes = False,
    dry_run: DryRun = False,
    json: opt.Json = False,
) -> None:
    """Write an image to a card, read it back, put a seed in.

    The partition table is written last: a card whose writing was cut off has none, and nothing takes it for a system.
    """
    from edge_agent.cli.provision.images import first_boot_of, flash_shown, flashed_object, plan_object, planned
    from edge_agent.cli.terminal import console, print_json
    from provisioning.image import read_seed_folder

    out = console(stderr=json)
    seed = read_seed_folder(seed_dir) if seed_dir is not None else None
    plan = planned(image, to)
    if dry_run:
        if json:
            print_json(plan_object(plan) | {"dry_run": True})
        else:
            out.print("nothing was written", soft_wrap=True)
        return
    done = flash_shown(out, plan, seed, first_boot_of(first_boot), yes=yes)
    if json:
        print_json(flashed_object(plan, done))


def _say_what_next(name: str, mesh: str, claim_expires_at: object) -> None:
    from edge_agent.cli.terminal import console, styled

    out = console()
    if claim_expires_at is None:
        out.print(styled((name, "name"), " is a member of mesh ", (mesh, "name"), " already"), soft_wrap=True)
    else:
        out.print(styled((name, "name"), f" may claim its certificate until {claim_expires_at}"), soft_wrap=True)
        out.print("moamesh mesh serve must run when it boots", style="quiet", soft_wrap=True)
