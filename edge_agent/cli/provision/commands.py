"""`moamesh provision`: from a blank card to a member of the mesh."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from edge_agent.cli import membership as member
from edge_agent.cli import options as opt
from edge_agent.operator.meshes import open_mesh

if TYPE_CHECKING:
    from edge_agent.operator.seed_contents import SeedOptions
    from edge_agent.operator.seeds import Outputs
    from provisioning.authority import MeshAuthority
    from provisioning.mesh import MeshFolder

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
    from edge_agent.cli.agent.overrides import parse_overrides
    from edge_agent.cli.durations import parse_duration
    from edge_agent.cli.provision.network import WifiOptions, make_network
    from edge_agent.cli.provision.view import first_boot_of
    from edge_agent.operator.seed_contents import SeedOptions
    from edge_agent.operator.seeds import Outputs

    outputs = Outputs(seed_dir, iso, image, to, first_boot_of(first_boot))
    wifi = WifiOptions(wifi_ssid, wifi_country, wifi_password_file, wifi_open, wifi_hidden)
    options = SeedOptions(
        name=name,
        hostname=hostname,
        network=make_network(ethernet, wifi, address, gateway, dns or ()),
        user=user,
        ssh_keys=tuple(ssh_key or ()),
        engine=engine.value,
        model=model,
        wheelhouse=wheelhouse,
        settings=parse_overrides(settings or ()),
        own_broker=own_broker,
        lifetime_s=parse_duration(expires),
    )
    opened = open_mesh(mesh)
    authority = member.open_authority(opened, passphrase_file) if offline else None
    _make(opened, options, outputs, authority, yes=yes, json=json)


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
    from edge_agent.cli.provision import view
    from edge_agent.cli.terminal import console, print_json
    from provisioning.image import flash as write_image
    from provisioning.image import plan_flash, read_seed_folder

    out = console(stderr=json)
    seed = read_seed_folder(seed_dir) if seed_dir is not None else None
    plan = plan_flash(image, to)
    view.show_plan(plan)
    if dry_run:
        if json:
            print_json(view.plan_object(plan) | {"dry_run": True})
        else:
            out.print("nothing was written", soft_wrap=True)
        return
    view.ask_first(plan, yes=yes)
    with view.flashing(out, plan) as progress:
        done = write_image(plan, progress, seed, view.first_boot_of(first_boot))
    view.show_flashed(out, plan, done)
    if json:
        print_json(view.flashed_object(plan, done))


def _make(
    mesh: MeshFolder,
    options: SeedOptions,
    outputs: Outputs,
    authority: MeshAuthority | None,
    *,
    yes: bool,
    json: bool,
) -> None:
    from edge_agent.cli.durations import iso
    from edge_agent.cli.provision import view
    from edge_agent.cli.terminal import console, print_json
    from edge_agent.operator.seeds import make_seed, prepare_seed

    out = console(stderr=json)
    prepared = prepare_seed(mesh, options, outputs)
    if prepared.plan is not None:
        view.show_plan(prepared.plan)
        view.ask_first(prepared.plan, yes=yes)
    with view.flashing(out, prepared.plan) as progress:
        made = make_seed(prepared, progress, authority)
    if prepared.plan is not None and made.flashed is not None:
        view.show_flashed(out, prepared.plan, made.flashed)
    lines, claim_expires_at = view.written_lines(prepared, made), iso(made.claim_expires_at)
    if json:
        shown = {"device_id": options.name, "mesh": mesh.name, "instance_id": made.instance_id}
        print_json({**shown, "claim_expires_at": claim_expires_at, "written": lines})
        return
    for line in lines:
        out.print(line, soft_wrap=True, markup=False)
    if outputs.folder is not None:
        out.print(view.put_by_hand_line(outputs.folder), style="quiet", soft_wrap=True, markup=False)
    _say_what_next(options.name, mesh.name, claim_expires_at)


def _say_what_next(name: str, mesh: str, claim_expires_at: str | None) -> None:
    from edge_agent.cli.terminal import console, styled

    out = console()
    if claim_expires_at is None:
        out.print(styled((name, "name"), " is a member of mesh ", (mesh, "name"), " already"), soft_wrap=True)
    else:
        out.print(styled((name, "name"), f" may claim its certificate until {claim_expires_at}"), soft_wrap=True)
        out.print("moamesh mesh serve must run when it boots", style="quiet", soft_wrap=True)
