"""`moamesh provision`: from a blank card to a member of the mesh."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from edge_agent.cli import membership as member
from edge_agent.cli import options as opt
from edge_agent.cli.groups import takes_groups
from edge_agent.cli.provision import options as provopt
from edge_agent.operator.meshes import open_mesh

if TYPE_CHECKING:
    from edge_agent.operator.seed_contents import SeedOptions
    from edge_agent.operator.seeds import Outputs
    from provisioning.authority import MeshAuthority
    from provisioning.mesh import MeshFolder

app = typer.Typer(help="Make a device's boot seed; write images to cards.", no_args_is_help=True)


Yes = Annotated[bool, typer.Option("--yes", "-y", help="Write without asking: everything on the target is lost.")]
DryRun = Annotated[
    bool, typer.Option("--dry-run", help="Check everything and say what would be done, but write nothing.")
]
Name = Annotated[str, typer.Argument(help="The device: 1 to 64 of a-z, 0-9 and -.")]


@app.callback()
def _check_packages() -> None:
    """Says what is missing before anything is begun."""
    from importlib.util import find_spec

    from edge_agent.core.errors import SettingsError

    missing = [package for package in ("yaml", "pycdlib", "zstandard", "cryptography") if find_spec(package) is None]
    if missing:
        raise SettingsError(f"{', '.join(missing)}: not installed; pip install 'moamesh[provisioning]'")


@app.command()
@takes_groups
def device(
    name: Name,
    mesh: member.MeshName = None,
    *,
    place: provopt.OutputOptions,
    network: provopt.NetworkOptions,
    wanted: provopt.DeviceOptions,
    passphrase_file: member.PassphraseFile = None,
    yes: Yes = False,
    json: opt.Json = False,
) -> None:
    """Invite a device and make its boot seed: it boots, makes its key, claims its certificate, joins, answers.

    The seed holds the claim, which works once: keep it as you would a password, until the device has booted.
    """
    from edge_agent.cli.agent.overrides import parse_overrides
    from edge_agent.cli.durations import parse_duration
    from edge_agent.cli.provision.network import make_network
    from edge_agent.cli.provision.view import first_boot_of
    from edge_agent.operator.seed_contents import SeedOptions
    from edge_agent.operator.seeds import Outputs

    outputs = Outputs(place.seed_dir, place.iso, place.image, place.to, first_boot_of(place.first_boot))
    options = SeedOptions(
        name=name,
        hostname=network.hostname,
        network=make_network(network),
        user=wanted.user,
        ssh_keys=tuple(wanted.ssh_key or ()),
        engine=wanted.engine.value,
        model=wanted.model,
        wheelhouse=wanted.wheelhouse,
        settings=parse_overrides(wanted.settings or ()),
        own_broker=wanted.own_broker,
        lifetime_s=parse_duration(wanted.expires),
    )
    opened = open_mesh(mesh)
    authority = member.open_authority(opened, passphrase_file) if wanted.offline else None
    _make(opened, options, outputs, authority, yes=yes, json=json)


@app.command()
def flash(
    image: Annotated[Path, typer.Argument(metavar="IMAGE", help="A disk image: raw, .xz, .gz, .bz2, .zst or .zip.")],
    to: Annotated[Path, typer.Option("--to", metavar="TARGET", help="A card (/dev/sdX) or a file.")],
    seed_dir: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Put this seed into the boot partition (`provision device`).")
    ] = None,
    first_boot: provopt.FirstBoot = None,
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
