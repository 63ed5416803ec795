"""Boot seeds: what makes a blank card, at its first boot, this one device of this mesh.

`prepare_seed` looks at everything and changes nothing, `make_seed` invites the device and writes.
"""

from __future__ import annotations

import json
import tempfile
from dataclasses import dataclass, replace
from pathlib import Path
from typing import final

from broker.mosquitto_config import DEVICE_PORT
from edge_agent.core.errors import SettingsError
from edge_agent.operator.devices import claim_object, invite_device
from edge_agent.operator.seed_contents import SeedOptions, seed_contents
from edge_agent.operator.user_sync import remember_broker
from provisioning.authority import MeshAuthority
from provisioning.errors import ProvisioningError
from provisioning.files import read_file
from provisioning.identity_store import IdentityStore
from provisioning.image import (
    Compression,
    FirstBoot,
    Flashed,
    ImageError,
    Plan,
    ProgressCallback,
    SeedPut,
    compression_of,
    flash,
    plan_flash,
    put_seed,
)
from provisioning.mesh import MeshFolder
from provisioning.seed import Membership, SeedContents, render_seed, write_folder, write_iso


@final
@dataclass(frozen=True, slots=True)
class Outputs:
    """Where a seed goes: into a folder, an ISO, an image, or with the image to a card or file.

    first_boot: which system reads it; `None` is found out.

    Raises:
        SettingsError: it goes nowhere, or no image is given for the card.
    """

    folder: Path | None = None
    iso: Path | None = None
    image: Path | None = None
    to: Path | None = None
    first_boot: FirstBoot | None = None

    def __post_init__(self) -> None:
        if self.folder is None and self.iso is None and self.image is None:
            raise SettingsError(
                "say where to write the seed: --seed-dir DIR, --iso FILE, or --image FILE with or without --to"
            )
        if self.to is not None and self.image is None:
            raise SettingsError("--to needs the image to write: --image FILE")


@final
@dataclass(frozen=True, slots=True)
class PreparedSeed:
    """A seed that lacks the membership alone. plan: what will be written to a card or file; `None` if nothing."""

    mesh: MeshFolder
    options: SeedOptions
    outputs: Outputs
    contents: SeedContents
    plan: Plan | None


@final
@dataclass(frozen=True, slots=True)
class MadeSeed:
    """What was done. claim_expires_at: in seconds since 1970; `None` for a device that has its certificate already."""

    instance_id: str
    claim_expires_at: float | None
    put: SeedPut | None
    """Into an image that was there already."""
    flashed: Flashed | None


def prepare_seed(mesh: MeshFolder, options: SeedOptions, outputs: Outputs) -> PreparedSeed:
    """Checks all that can be checked before the device is invited. Nothing is changed.

    Raises:
        SettingsError, ProvisioningError: something is not right.
    """
    if outputs.image is not None and outputs.to is None and compression_of(outputs.image) is not Compression.NONE:
        raise ImageError(f"{outputs.image} is compressed: give --to TARGET, or unpack it first")
    contents = seed_contents(mesh, options)
    render_seed(contents)
    plan = plan_flash(outputs.image, outputs.to) if outputs.image and outputs.to else None
    return PreparedSeed(mesh, options, outputs, contents, plan)


def make_seed(prepared: PreparedSeed, progress: ProgressCallback, authority: MeshAuthority | None = None) -> MadeSeed:
    """Invites the device (or, with the authority, makes it a member) and writes its seed.

    Raises:
        ProvisioningError: the device can't be invited, and nothing was changed; or the seed can't be written, and the
            message says what to do.
    """
    mesh, options, outputs = prepared.mesh, prepared.options, prepared.outputs
    membership, claim_expires_at = _admit(mesh, options, authority)
    if options.own_broker:
        host = options.address or f"{options.name}.local"
        remember_broker(mesh, options.name, f"mqtts://{f'[{host}]' if ':' in host else host}:{DEVICE_PORT}")
    seed = render_seed(replace(prepared.contents, membership=membership))
    put, flashed = None, None
    try:
        if outputs.folder is not None:
            write_folder(seed, outputs.folder)
        if outputs.iso is not None:
            write_iso(seed, outputs.iso)
        if prepared.plan is not None:
            flashed = flash(prepared.plan, progress, seed, outputs.first_boot)
        elif outputs.image is not None:
            put = put_seed(outputs.image, seed, first_boot=outputs.first_boot)
    except (ProvisioningError, OSError) as error:
        undo = f"moamesh device revoke {options.name}, then this command again" if authority else "run this again"
        raise ProvisioningError(
            f"{error}. {options.name} has been recorded, but its seed was not written: {undo}"
        ) from None
    return MadeSeed(seed.instance_id, claim_expires_at, put, flashed)


def _admit(mesh: MeshFolder, options: SeedOptions, authority: MeshAuthority | None) -> tuple[Membership, float | None]:
    addresses = [options.address] if options.address else []
    if authority is None:
        invitation = invite_device(mesh, options.name, lifetime_s=options.lifetime_s, ip_addresses=addresses)
        return Membership(claim=json.dumps(claim_object(invitation)).encode()), invitation.expires_at
    identity = mesh.enrol(options.name, authority, addresses)
    with tempfile.TemporaryDirectory(prefix="moamesh-identity-") as folder:
        store = IdentityStore(Path(folder), mesh.name, options.name)
        store.trust(mesh.bundle().pem)
        store.adopt(identity)
        files = [store.identity_file, store.ca_file]
        held = [(file.name, read_file(file)) for file in files]
    if mesh.crl_file.exists():
        held.append(("crl.pem", read_file(mesh.crl_file)))
    return Membership(identity=tuple(held)), None
