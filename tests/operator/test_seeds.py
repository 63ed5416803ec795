"""Boot seeds as a library makes them: checked before anybody is invited, told while they are written."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from edge_agent.core.errors import SettingsError
from edge_agent.operator.seed_contents import SeedOptions
from edge_agent.operator.seeds import Outputs, make_seed, prepare_seed
from provisioning.errors import ProvisioningError
from provisioning.image import FirstBoot, read_seed_folder
from provisioning.mesh import MeshFolder, MeshSettings
from provisioning.seed import Network, StaticAddress
from tests.provisioning.disks import check_clean, make_disk


@pytest.fixture
def mesh(tmp_path: Path) -> MeshFolder:
    return MeshFolder.create(tmp_path / "home", MeshSettings("home", ("mqtts://hub.lan:8883",)))


@pytest.fixture
def options(tmp_path: Path) -> SeedOptions:
    wheels = tmp_path / "wheels"
    wheels.mkdir()
    (wheels / "moamesh-0.1.0-py3-none-any.whl").write_bytes(b"a wheel")
    return SeedOptions("kitchen", engine="synthetic", wheelhouse=wheels)


def states(mesh: MeshFolder) -> dict[str, str]:
    with mesh.inventory() as inventory:
        return {row.device_id: row.state.value for row in inventory.devices()}


def nobody(_step: str, _done: int, _total: int) -> None:
    """Watches."""


def test_a_seed_is_prepared_without_a_trace_and_made_once_for_all_its_places(
    mesh: MeshFolder, options: SeedOptions, tmp_path: Path
) -> None:
    image, card, folder = make_disk(tmp_path / "pi.img", cloud_init=True), tmp_path / "card", tmp_path / "seed"
    prepared = prepare_seed(mesh, options, Outputs(folder, tmp_path / "seed.iso", image.path, card))
    assert prepared.plan is not None
    assert (states(mesh), folder.exists(), card.exists()) == ({}, False, False)
    steps: list[str] = []
    made = make_seed(prepared, lambda step, done, total: steps.append(step))
    assert list(dict.fromkeys(steps)) == ["writing", "verifying", "seed"]
    assert states(mesh) == {"kitchen": "invited"}
    assert made.claim_expires_at is not None
    assert made.flashed is not None
    assert made.flashed.seed is not None
    assert made.flashed.seed.first_boot is FirstBoot.CLOUD_INIT
    assert made.put is None, "the image itself is as it was"
    assert read_seed_folder(folder).instance_id == made.instance_id
    check_clean(card, tmp_path)


def test_with_the_authority_the_device_is_a_member_at_once(
    mesh: MeshFolder, options: SeedOptions, tmp_path: Path
) -> None:
    made = make_seed(prepare_seed(mesh, options, Outputs(tmp_path / "seed")), nobody, mesh.authority())
    assert (made.claim_expires_at, states(mesh)) == (None, {"kitchen": "active"})


@pytest.mark.parametrize(
    ("address", "url"),
    [
        (None, "mqtts://kitchen.local:8883"),
        ("192.168.1.10/24", "mqtts://192.168.1.10:8883"),
        ("fd00::10/64", "mqtts://[fd00::10]:8883"),
    ],
)
def test_where_a_device_has_its_own_broker_is_remembered(
    mesh: MeshFolder, options: SeedOptions, tmp_path: Path, address: str | None, url: str
) -> None:
    network = Network(static=StaticAddress(address) if address is not None else None)
    own = replace(options, network=network, own_broker=True)
    make_seed(prepare_seed(mesh, own, Outputs(tmp_path / "seed")), nobody)
    assert MeshFolder.open(mesh.folder).settings.own_brokers == {"kitchen": url}


def test_a_seed_that_can_not_be_written_says_that_its_device_is_recorded(
    mesh: MeshFolder, options: SeedOptions, tmp_path: Path
) -> None:
    prepared = prepare_seed(mesh, options, Outputs(iso=tmp_path / "none" / "seed.iso"))
    with pytest.raises(
        ProvisioningError, match="kitchen has been recorded, but its seed was not written: run this again"
    ):
        make_seed(prepared, nobody)
    assert states(mesh) == {"kitchen": "invited"}


def test_what_is_not_right_invites_nobody(mesh: MeshFolder, options: SeedOptions, tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="say where to write the seed"):
        Outputs(to=tmp_path / "card")
    packed = tmp_path / "pi.img.xz"
    packed.write_bytes(b"\xfd7zXZ\x00")
    outputs = Outputs(tmp_path / "seed")
    for wrong, where, said in (
        (options, Outputs(image=packed), "is compressed: give --to TARGET"),
        (replace(options, wheelhouse=None), outputs, "give --wheelhouse DIR"),
        (replace(options, settings={"agent.layerz": 1}), outputs, "did you mean layers"),
        (replace(options, hostname="a.b"), outputs, "can't be a host name"),
        (replace(options, engine="llama", model="/no/such.gguf"), outputs, "no such file"),
    ):
        with pytest.raises((SettingsError, ProvisioningError), match=said):
            prepare_seed(mesh, wrong, where)
    assert states(mesh) == {}
    assert not (tmp_path / "seed").exists()
