"""`moamesh provision device`, as an operator runs it."""

from __future__ import annotations

import hashlib
import json
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml
from click.testing import Result
from typer.testing import CliRunner

from edge_agent.cli.main import app
from provisioning.image import read_seed_folder
from provisioning.mesh import MeshFolder, MeshSettings
from tests.provisioning.disks import check_clean, make_disk
from tests.provisioning.test_seed_contents import KEY


@pytest.fixture
def mesh(tmp_path: Path) -> MeshFolder:
    settings = MeshSettings("home", ("mqtts://hub.lan:8883",), "mqtts://hub.lan:8884", layers=1)
    (tmp_path / "data" / "wheels").mkdir(parents=True)
    (tmp_path / "data" / "wheels" / "moamesh-0.1.0-py3-none-any.whl").write_bytes(b"a wheel")
    return MeshFolder.create(tmp_path / "data" / "meshes" / "home", settings)


def run(mesh: MeshFolder, *arguments: str) -> Result:
    wheels = () if "--wheelhouse" in arguments else ("--wheelhouse", str(mesh.folder.parents[1] / "wheels"))
    return invoke(mesh, *arguments, *wheels)


def invoke(mesh: MeshFolder, *arguments: str) -> Result:
    own = {"MOAMESH_HOME": str(mesh.folder.parents[1]), "MOAMESH_ENGINE__KIND": "openai"}
    result = CliRunner().invoke(app, ["provision", "device", *arguments], env=own)
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    return result


def provisioned(mesh: MeshFolder, folder: Path, *arguments: str) -> tuple[dict[str, Any], dict[str, str]]:
    """Returns the device's settings, and the files of the booted system."""
    done = run(mesh, "kitchen", "--seed-dir", str(folder), "--json", *arguments)
    assert done.exit_code == 0, done.stderr
    assert json.loads(done.stdout)["device_id"] == "kitchen"
    user = yaml.safe_load((folder / "user-data").read_text())
    files = {file["path"]: file["content"] for file in user["write_files"]}
    return tomllib.loads(files["/etc/moamesh/agent.toml"]), files


def states(mesh: MeshFolder) -> dict[str, str]:
    with mesh.inventory() as inventory:
        return {row.device_id: row.state.value for row in inventory.devices()}


def test_a_seed_carries_the_settings_of_the_mesh_and_not_of_this_machine(mesh: MeshFolder, tmp_path: Path) -> None:
    config, files = provisioned(mesh, tmp_path / "seed", "--set", "agent.fanout=1")
    assert config["device"] == {"id": "kitchen", "data_dir": "/var/lib/moamesh/device"}
    assert config["broker"]["urls"] == ["mqtts://hub.lan:8883"]
    assert config["broker"]["cert_file"] == "/var/lib/moamesh/identity/identity.pem"
    assert config["engine"] == {"model": "smollm2-135m-instruct"}
    assert config["agent"] == {"layers": 1, "fanout": 1}
    claim = json.loads(files["/var/lib/moamesh/claim.json"])
    assert claim["claim_broker"] == "mqtts://hub.lan:8884"
    digest = hashlib.sha256(b"a wheel").hexdigest()
    assert files["/etc/moamesh/requirements.txt"] == f"moamesh[secure,llama]==0.1.0 --hash=sha256:{digest}\n"
    assert states(mesh) == {"kitchen": "invited"}
    assert read_seed_folder(tmp_path / "seed").instance_id.startswith("moamesh-")


def test_an_offline_seed_holds_the_identity_and_no_claim(mesh: MeshFolder, tmp_path: Path) -> None:
    _, files = provisioned(mesh, tmp_path / "seed", "--offline", "--engine", "synthetic")
    assert "/var/lib/moamesh/claim.json" not in files
    assert "BEGIN PRIVATE KEY" in files["/var/lib/moamesh/identity/identity.pem"]
    assert "BEGIN CERTIFICATE" in files["/var/lib/moamesh/identity/ca.pem"]
    assert states(mesh) == {"kitchen": "active"}


def test_a_device_with_its_own_broker_gets_mosquitto_and_its_address(mesh: MeshFolder, tmp_path: Path) -> None:
    config, files = provisioned(
        *(mesh, tmp_path / "seed", "--own-broker", "--address", "192.168.1.10/24", "--gateway", "192.168.1.1")
    )
    assert (config["broker"]["mode"], config["broker"]["address"]) == ("own", "192.168.1.10")
    assert "DEBIAN_PACKAGES=mosquitto" in files["/etc/moamesh/setup.conf"]
    with mesh.inventory() as inventory:
        assert inventory.device("kitchen").ip_addresses == ("192.168.1.10",)
    remembered = MeshFolder.open(mesh.folder).settings.own_brokers
    assert remembered == {"kitchen": "mqtts://192.168.1.10:8883"}, "its users can be sent there"


def test_everything_that_can_go_in_goes_in(mesh: MeshFolder, tmp_path: Path) -> None:
    wheels, model, key, password = (tmp_path / name for name in ("wheels", "tiny.gguf", "id.pub", "wifi"))
    wheels.mkdir()
    (wheels / "moamesh-0.1.0-py3-none-any.whl").write_bytes(b"wheel")
    model.write_bytes(b"GGUF")
    key.write_text(f"{KEY} ada@job_store\n")
    password.write_text("correct horse battery\n")
    config, files = provisioned(
        *(mesh, tmp_path / "seed", "--wheelhouse", str(wheels), "--model", str(model), "--ssh-key", str(key)),
        *("--wifi-ssid", "Büro", "--wifi-country", "DE", "--wifi-password-file", str(password), "--wifi-hidden"),
        *("--address", "192.168.1.10/24", "--gateway", "192.168.1.1", "--dns", "192.168.1.1"),
    )
    assert config["engine"]["model"] == "/var/lib/moamesh/models/tiny.gguf"
    assert "MODEL_FILE=tiny.gguf" in files["/etc/moamesh/setup.conf"]
    assert (tmp_path / "seed/moamesh/wheelhouse/moamesh-0.1.0-py3-none-any.whl").read_bytes() == b"wheel"
    assert (tmp_path / "seed/moamesh/model/tiny.gguf").read_bytes() == b"GGUF"
    network = yaml.safe_load((tmp_path / "seed/network-config").read_text())
    assert network["wifis"]["wlan0"]["access-points"]["Büro"]["hidden"] is True
    assert "nameservers" not in network["wifis"]["wlan0"]
    assert "192.168.1.1" in files["/etc/moamesh/network/netplan.yaml"]


def test_a_seed_goes_into_an_image_or_onto_a_card(mesh: MeshFolder, tmp_path: Path) -> None:
    image, card = make_disk(tmp_path / "pi.img", cloud_init=True), tmp_path / "card"
    done = run(mesh, "kitchen", "--engine", "synthetic", "--image", str(image.path), "--to", str(card))
    assert done.exit_code == 0, done.stderr
    assert image.boot.read("user-data") == image.others["user-data"]
    check_clean(card, tmp_path)
    done = run(mesh, "kitchen", "--engine", "synthetic", "--image", str(image.path), "--iso", str(tmp_path / "s.iso"))
    assert done.exit_code == 0, done.stderr
    assert b"hostname: kitchen" in image.boot.read("user-data")
    assert (tmp_path / "s.iso").stat().st_size > 0


def test_a_seed_without_wheels_is_refused_in_one_line_and_invites_nobody(mesh: MeshFolder, tmp_path: Path) -> None:
    done = invoke(mesh, "kitchen", "--seed-dir", str(tmp_path / "s"))
    assert done.exit_code == 2
    (line,) = done.stderr.strip().splitlines()
    assert "give --wheelhouse DIR with the wheels of moamesh[secure,llama] and all it needs" in line
    assert states(mesh) == {}
    assert not (tmp_path / "s").exists()


def test_a_target_that_holds_something_is_asked_about_before_anybody_is_invited(
    mesh: MeshFolder, tmp_path: Path
) -> None:
    image, card = make_disk(tmp_path / "pi.img", cloud_init=True), tmp_path / "card"
    card.write_bytes(b"photos")
    arguments = ("kitchen", "--engine", "synthetic", "--image", str(image.path), "--to", str(card))
    done = run(mesh, *arguments)
    assert done.exit_code == 2
    assert f"everything on {card} would be lost: say --yes" in done.stderr
    assert (states(mesh), card.read_bytes()) == ({}, b"photos")
    done = run(mesh, *arguments, "--yes")
    assert done.exit_code == 0, done.stderr
    check_clean(card, tmp_path)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ((), "say where to write the seed"),
        (("--to", "card"), "say where to write the seed"),
        (("--seed-dir", "s", "--to", "card"), "--to needs the image"),
        (("--seed-dir", "s", "--wifi-ssid", "home"), "needs --wifi-country"),
        (("--seed-dir", "s", "--wifi-ssid", "home", "--wifi-country", "GB"), "--wifi-password-file FILE"),
        (("--seed-dir", "s", "--wifi-open"), "go with --wifi-ssid"),
        (("--seed-dir", "s", "--wifi-hidden"), "go with --wifi-ssid"),
        (("--seed-dir", "s", "--wifi-ssid", "caf\udce9", "--wifi-country", "GB", "--wifi-open"), "UTF-8"),
        (("--seed-dir", "s", "--wifi-ssid", "a\nb", "--wifi-country", "GB"), "holds a line break"),
        (("--seed-dir", "s", "--address", "10.0.0.2/8", "--gateway", ""), "is empty"),
        (("--seed-dir", "s", "--address", "10.0.0.2/8", "--dns", "router"), "network address"),
        (("--seed-dir", "s", "--gateway", "10.0.0.1"), "go with a fixed --address"),
        (("--seed-dir", "s", "--ssh-key", "/no/such"), "No such file"),
        (("--seed-dir", "s", "--model", "/no/such.gguf"), "no such file"),
        (("--seed-dir", "s", "--set", "agent.layerz=1"), "did you mean layers"),
        (("--seed-dir", "s", "--wheelhouse", "."), "holds no moamesh wheel"),
        (("--seed-dir", "s", "--hostname", "a.b"), "can't be a host name"),
        (("--image", "/no/such.img"), "No such file"),
        (("--image", "/no/such.img", "--to", "card"), "no such file"),
        (("--seed-dir", "s", "--expires", "never"), "a duration is"),
    ],
)
def test_what_is_wrong_is_one_line_and_invites_nobody(
    mesh: MeshFolder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: tuple[str, ...], said: str
) -> None:
    monkeypatch.chdir(tmp_path)
    done = run(mesh, "kitchen", *arguments)
    assert done.exit_code == 2
    assert said in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1
    assert states(mesh) == {}
    assert not (tmp_path / "s").exists()
