"""Seeds say exactly what was meant, whatever characters are in it, to cloud-init and to the shell alike."""

from __future__ import annotations

import base64
import configparser
import io
import os
import subprocess
import tempfile
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import example, given, settings
from hypothesis import strategies as st

from provisioning.seed import (
    Login,
    Membership,
    Model,
    Network,
    Packages,
    SeedContents,
    SeedError,
    SeedFiles,
    StaticAddress,
    Wifi,
    render_seed,
    write_folder,
    write_iso,
)
from provisioning.seed.layout import UNITS, device_files
from provisioning.seed.network_files import cloud_init_network, network_manager_files
from tests.conftest import missing
from tests.support.patience import PATIENCE_S

KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIGBnUVkP9m0oIeN1wm0XoSwTnbb8+bm3bXvbVQVzK1Qx"
SECRET = b'{"secret": "7h3-cl41m"}'
NASTY = "'; rm -rf / #\"$(reboot)`reboot`\\\t|&*!%{}[]:- \n#cloud-config\nEND\nMOAMESH\n"


def contents(**changes: Any) -> SeedContents:
    given_: dict[str, Any] = {
        "device_id": "kitchen",
        "instance_id": "moamesh-0123456789abcdef",
        "agent_toml": '[device]\nid = "kitchen"\n',
        "membership": Membership(claim=SECRET),
    }
    return SeedContents(**given_ | changes)


def text_of(seed: SeedFiles, name: str) -> str:
    content = seed.files[name]
    assert isinstance(content, bytes)
    return content.decode("ascii")


def loaded(seed: SeedFiles, name: str) -> Any:
    return yaml.safe_load(text_of(seed, name))


ssids = st.text(st.characters(exclude_categories=["Cs", "Cc"]), min_size=1, max_size=32).filter(
    lambda text: len(text.encode()) <= 32 and text.strip(" ;0123456789")
)
passphrases = st.text(st.characters(min_codepoint=0x20, max_codepoint=0x7E), min_size=8, max_size=63)
hostnames = st.from_regex(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?", fullmatch=True)
comments = st.text(st.characters(min_codepoint=0x20, max_codepoint=0x7E), max_size=40)
texts = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0\r\x85\u2028\u2029"))


@settings(deadline=None)
@given(ssid=ssids, passphrase=passphrases, hostname=hostnames, comment=comments, toml=texts)
@example(ssid="yes", passphrase="'; reboot #", hostname="no", comment="$(id)", toml=NASTY)
@example(ssid="1:0", passphrase="12345678", hostname="0x1f", comment="!!python/object", toml="\x1b\x7f\ufeff")
def test_cloud_init_reads_what_was_meant(ssid: str, passphrase: str, hostname: str, comment: str, toml: str) -> None:
    seed = render_seed(
        contents(
            hostname=hostname,
            network=Network(wifi=Wifi(ssid, "GB", passphrase)),
            login=Login("ada", (f"{KEY} {comment}",)),
            agent_toml=toml,
        )
    )
    user = loaded(seed, "user-data")
    assert text_of(seed, "user-data").startswith("#cloud-config\n")
    assert user["hostname"] == hostname
    assert user["users"][1]["ssh_authorized_keys"] == [f"{KEY} {comment}"]
    files = {file["path"]: file for file in user["write_files"]}
    assert files["/etc/moamesh/agent.toml"] == {
        "path": "/etc/moamesh/agent.toml",
        "permissions": "0600",
        "content": toml,
    }
    network = loaded(seed, "network-config")
    (name, access_point), *others = network["wifis"]["wlan0"]["access-points"].items()
    assert (name, others) == (ssid, [])
    assert len(access_point["password"]) == 64


STUBS = ("systemctl", "useradd", "usermod", "chown", "raspi-config", "rfkill", "id", "sync")


def run_firstrun(seed: SeedFiles, folder: Path) -> Path:
    """Runs the script on a root of its own, with stand-ins for what would change this system."""
    root, programs = folder / "root", folder / "bin"
    for name in ("var/log", "etc", "boot/firmware", "home/ada"):
        (root / name).mkdir(parents=True)
    (root / "etc" / "hosts").write_text("127.0.0.1\tlocalhost\n127.0.1.1\traspberrypi\n")
    (root / "boot/firmware/cmdline.txt").write_text(
        "quiet systemd.run=/boot/firmware/firstrun.sh systemd.run_success_action=reboot "
        "systemd.unit=kernel-command-line.target\n"
    )
    script = root / "boot/firmware/firstrun.sh"
    content = seed.files["firstrun.sh"]
    assert isinstance(content, bytes)
    script.write_bytes(content)
    programs.mkdir()
    for name in STUBS:
        (programs / name).write_text(f'#!/bin/sh\necho "{name} $*" >>"{folder}/calls"\n')
        (programs / name).chmod(0o755)
    environment = {"PATH": f"{programs}:/usr/bin:/bin", "MOAMESH_ROOT": str(root)}
    subprocess.run(["bash", str(script)], env=environment, check=True, timeout=PATIENCE_S)
    assert (root / "var/log/moamesh-firstrun.log").read_text() == ""
    return root


@settings(max_examples=12, deadline=None)
@given(hostname=hostnames, comment=comments, toml=texts, ssid=ssids)
@example(hostname="a-b", comment="'$(reboot)`", toml=NASTY, ssid="'; reboot #")
def test_the_first_run_script_writes_what_was_meant(hostname: str, comment: str, toml: str, ssid: str) -> None:
    made = contents(
        hostname=hostname,
        agent_toml=toml,
        login=Login("ada", (f"{KEY} {comment}",)),
        network=Network(wifi=Wifi(ssid, "GB", "12345678")),
    )
    with tempfile.TemporaryDirectory() as folder:
        root = run_firstrun(render_seed(made), Path(folder))
        for file in device_files(made):
            path = root / str(file.path).lstrip("/")
            assert path.read_bytes() == file.content, file.path
            assert path.stat().st_mode & 0o777 == file.mode
        assert (root / "home/ada/.ssh/authorized_keys").read_text() == f"{KEY} {comment}\n"
        assert (root / "etc/hostname").read_text() == f"{hostname}\n"
        assert (root / "etc/hosts").read_text() == f"127.0.0.1\tlocalhost\n127.0.1.1\t{hostname}\n"
        assert (root / "boot/firmware/cmdline.txt").read_text() == "quiet\n"
        assert not (root / "boot/firmware/firstrun.sh").exists()
        calls = (Path(folder) / "calls").read_text()
        assert all(f"systemctl enable {unit}\n" in calls for unit in UNITS)
        assert "raspi-config nonint do_wifi_country GB\n" in calls
        keyfile = configparser.RawConfigParser()
        wifi = root / "etc/NetworkManager/system-connections/moamesh-wifi.nmconnection"
        keyfile.read_string(wifi.read_text())
        assert bytes(map(int, keyfile["wifi"]["ssid"].rstrip(";").split(";"))) == ssid.encode()
        assert wifi.stat().st_mode & 0o777 == 0o600


def test_what_is_secret_is_private_on_the_device() -> None:
    made = contents(agent_toml="api_key = 's3cr3t'")
    for file in device_files(made):
        if b"s3cr3t" in file.content or b"7h3-cl41m" in file.content:
            assert file.mode == 0o600, file.path
    identity = contents(membership=Membership(identity=(("identity.pem", b"KEY"), ("ca.pem", b"CA"))))
    modes = {file.path.name: file.mode for file in device_files(identity) if file.path.parent.name == "identity"}
    assert modes == {"identity.pem": 0o600, "ca.pem": 0o600}
    assert "s3cr3t" not in repr(made)
    assert "7h3-cl41m" not in repr(made)


def test_a_passphrase_is_in_no_file_only_its_key() -> None:
    wifi = Wifi("home", "GB", "correct horse battery")
    seed = render_seed(contents(network=Network(wifi=wifi)))
    texts_ = [text_of(seed, name) for name in ("user-data", "network-config", "firstrun.sh")]
    assert all("correct horse" not in text for text in texts_)
    assert str(wifi.key()) in texts_[1]
    assert "correct horse" not in repr(wifi)


def test_a_known_passphrase_makes_the_known_key() -> None:
    # the second of the test vectors of IEEE 802.11i, H.4.3
    key = Wifi("ThisIsASSID", "GB", "ThisIsAPassword").key()
    assert key == "0dc0d6eb90555ed6419756b9a15ec3e3209b63df707dd508d14581f8982721af"


def test_networks_are_told_to_both_kinds_of_system() -> None:
    static = StaticAddress("192.168.1.10/24", "192.168.1.1", ("192.168.1.1", "fd00::1"))
    wired = Network(static=static)
    assert cloud_init_network(wired)["ethernets"] == {
        "eth0": {
            "dhcp4": False,
            "dhcp6": True,
            "addresses": ["192.168.1.10/24"],
            "routes": [{"to": "0.0.0.0/0", "via": "192.168.1.1"}],
            "nameservers": {"addresses": ["192.168.1.1", "fd00::1"]},
        }
    }
    (text,) = network_manager_files(wired).values()
    assert "interface-name=eth0" in text
    assert "address1=192.168.1.10/24,192.168.1.1\ndns=192.168.1.1;" in text
    assert network_manager_files(Network()) == {}
    open_wifi = cloud_init_network(Network(wifi=Wifi("café", "FR"), static=static))
    assert open_wifi["wifis"]["wlan0"]["access-points"] == {"café": {}}
    assert open_wifi["wifis"]["wlan0"]["addresses"] == ["192.168.1.10/24"]
    assert open_wifi["ethernets"] == {"eth0": {"dhcp4": True, "optional": True}}


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda: Wifi("", "GB"), "1 to 32 bytes"),
        (lambda: Wifi("é" * 17, "GB"), "1 to 32 bytes"),
        (lambda: Wifi("home", "gb"), "two capital letters"),
        (lambda: Wifi("home", "GB", "short"), "8 to 63"),
        (lambda: Wifi("home", "GB", "pässwörter"), "ASCII"),
        (lambda: StaticAddress("192.168.1.10"), "needs the length of its network"),
        (lambda: StaticAddress("192.168.1.300/24"), "network address"),
        (lambda: StaticAddress("192.168.1.10/24", "10.0.0.1"), "is not in the network"),
        (lambda: Network("eth0; reboot"), "not the name of a network interface"),
        (lambda: Login("root", (KEY,)), "cannot be a login"),
        (lambda: Login("ada", ()), "needs an SSH public key"),
        (lambda: Login("ada", ("-----BEGIN OPENSSH PRIVATE KEY-----",)), "private key"),
        (lambda: Login("ada", (f"{KEY}\nssh-rsa AAAA",)), "not an SSH public key"),
        (lambda: Packages("moamesh; reboot"), "not a requirement"),
        (lambda: Packages(debian=("a b",)), "Debian package"),
        (lambda: Packages(wheels=(Path("x.tar.gz"),)), "not a wheel"),
        (lambda: Model(file=Path("a b.gguf")), "file name"),
        (lambda: Membership(), "either a claim or an identity"),
        (lambda: contents(device_id="-"), "can't be a host name"),
        (lambda: contents(hostname="Küche"), "can't be a host name"),
        (lambda: contents(device_id="Kitchen"), "not a device's name"),
        (lambda: render_seed(contents(model=Model(file=Path("/no/such.gguf")))), "no such file"),
    ],
)
def test_what_cannot_be_said_is_refused_in_one_line(make: Any, said: str) -> None:
    with pytest.raises(SeedError, match=said) as refused:
        make()
    assert "\n" not in str(refused.value)


def test_an_iso_holds_every_file_under_the_label_that_is_looked_for(tmp_path: Path) -> None:
    pycdlib = pytest.importorskip("pycdlib")
    wheel = tmp_path / "pydantic_core-2.50.4-cp311-cp311-manylinux2014_aarch64.manylinux_2_17_aarch64.whl"
    wheel.write_bytes(os.urandom(300_000))
    own = tmp_path / "moamesh-0.1-py3-none-any.whl"
    own.write_bytes(b"wheel")
    seed = render_seed(contents(packages=Packages(wheels=(own, wheel))))
    write_iso(seed, tmp_path / "seed.iso")
    assert (tmp_path / "seed.iso").stat().st_mode & 0o777 == 0o600
    iso = pycdlib.PyCdlib()
    iso.open(str(tmp_path / "seed.iso"))
    assert iso.pvd.volume_identifier.strip() == b"cidata"
    for name, content in seed.files.items():
        for kind in ("joliet_path", "rr_path"):
            if kind == "joliet_path" and name.endswith(".whl"):
                continue  # its name is too long for Windows
            read = io.BytesIO()
            iso.get_file_from_iso_fp(read, **{kind: f"/{name}"})
            assert read.getvalue() == (content if isinstance(content, bytes) else content.read_bytes())
    iso.close()


def test_a_seed_folder_of_another_device_is_replaced_and_strange_files_are_kept(tmp_path: Path) -> None:
    model = tmp_path / "tiny.gguf"
    model.write_bytes(b"GGUF")
    folder = tmp_path / "seed"
    write_folder(render_seed(contents(model=Model(file=model))), folder)
    assert (folder / "moamesh/model/tiny.gguf").read_bytes() == b"GGUF"
    write_folder(render_seed(contents()), folder)
    assert not (folder / "moamesh/model/tiny.gguf").exists()
    (folder / "thesis.txt").write_text("the only copy")
    with pytest.raises(SeedError, match=r"thesis\.txt, which does not belong to a seed"):
        write_folder(render_seed(contents()), folder)


def test_the_shell_understands_every_script(tmp_path: Path) -> None:
    seed = render_seed(contents(login=Login("ada", (KEY,)), network=Network(wifi=Wifi("home", "GB", "12345678"))))
    for name, shell, content in (
        ("firstrun", "bash", text_of(seed, "firstrun.sh")),
        ("setup", "sh", next(file.content.decode() for file in device_files(contents()) if "setup" in file.path.name)),
    ):
        (tmp_path / name).write_text(content)
        subprocess.run([shell, "-n", str(tmp_path / name)], check=True)
    assert base64.b64encode(SECRET).decode() in text_of(seed, "firstrun.sh").replace("\n", "")


def test_the_agent_s_threads_have_a_bound_and_packages_are_installed_by_root() -> None:
    units = {
        file.path.name: file.content.decode() for file in device_files(contents()) if file.path.suffix == ".service"
    }
    assert "\nTasksMax=512\n" in units["moamesh-agent.service"]
    assert "\nUser=moamesh\n" in units["moamesh-agent.service"]
    assert "\nUser=" not in units["moamesh-setup.service"]


def test_the_agent_s_unit_is_hardened(tmp_path: Path) -> None:
    """systemd's own judgement: 0 is shut in, 10 is open; it calls under 4 OK."""
    units = {file.path.name: file.content for file in device_files(contents()) if file.path.suffix == ".service"}
    for name in ("moamesh-agent.service", "moamesh-claim.service"):
        (tmp_path / name).write_bytes(units[name])
        try:
            judged = subprocess.run(
                ["systemd-analyze", "security", "--offline=true", "--threshold=30", str(tmp_path / name)],
                capture_output=True,
                text=True,
                check=False,
            )
        except FileNotFoundError:
            missing("systemd-analyze is not installed")
            raise
        assert judged.returncode == 0, judged.stdout[-1500:] + judged.stderr
