"""Each word of the network and user settings reaches cloud-init, NetworkManager and firstrun.sh as it was typed, or is
refused in one line."""

from __future__ import annotations

import base64
import configparser
import os
import re
import subprocess
import tempfile
from pathlib import Path
from typing import Any

import pytest
import yaml

from provisioning.seed import Login, Network, SeedContents, SeedError, SeedFiles, StaticAddress, Wifi, render_seed
from provisioning.seed.network_files import cloud_init_network, netplan_name_servers, network_manager_files
from tests.provisioning.test_seed_contents import KEY, contents, loaded, run_firstrun, text_of

STRANGE_WORDS = [
    *("no", "yes", "y", "on", "null", "~", "0123", "1e3", "0x1f", "1_000", "12:30:45", "2026-11-27", "1.5", ".inf"),
    *(
        "=",
        "<<",
        " lead",
        "trail ",
        "two  blanks",
        "#",
        "a # b",
        "a#b",
        "a: b",
        "- a",
        "? a",
        "a,b",
        "[a]",
        "{a}",
        "*a",
    ),
    *("&a", "!a", "|", ">", "%", "@", "`", "'", '"', "it's", 'the "net"', "a\\", "\\", "\\n", "\\x41", "$HOME", "`id`"),
    *("a;b", "a|b", "café", "日本", "🏠", "a\u00a0b", "\ufeffa", "a" * 32, "é" * 16),
]


def keyfile(text: str) -> configparser.RawConfigParser:
    """As NetworkManager reads it."""
    read = configparser.RawConfigParser(delimiters="=", comment_prefixes="#", strict=True)
    read.read_string(text)
    return read


def ssid_of(text: str) -> bytes:
    return bytes(int(number) for number in keyfile(text)["wifi"]["ssid"].rstrip(";").split(";"))


@pytest.mark.parametrize("ssid", STRANGE_WORDS)
@pytest.mark.parametrize("hidden", [False, True])
def test_a_wifi_s_name_is_what_was_typed(ssid: str, hidden: bool) -> None:
    seed = render_seed(contents(network=Network(wifi=Wifi(ssid, "GB", "12345678", hidden=hidden))))
    points = loaded(seed, "network-config")["wifis"]["wlan0"]["access-points"]
    assert list(points) == [ssid]
    assert points[ssid].get("hidden", False) is hidden
    assert text_of(seed, "network-config").isascii()
    (text,) = network_manager_files(Network(wifi=Wifi(ssid, "GB", "12345678", hidden=hidden))).values()
    assert ssid_of(text) == ssid.encode()
    assert keyfile(text)["wifi"].getboolean("hidden", fallback=False) is hidden


@pytest.mark.parametrize("ssid", ["no", "the 'net'\\", " $(reboot) ", "🏠"])
def test_the_first_run_script_sets_a_hidden_wifi_up(ssid: str) -> None:
    seed = render_seed(contents(network=Network(wifi=Wifi(ssid, "GB", hidden=True))))
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "calls").touch()
        root = run_firstrun(seed, Path(folder))
        text = (root / "etc/NetworkManager/system-connections/moamesh-wifi.nmconnection").read_text()
    assert ssid_of(text) == ssid.encode()
    assert keyfile(text)["wifi"]["hidden"] == "true"
    assert not keyfile(text).has_section("wifi-security")


@pytest.mark.parametrize(
    "words", ["8 chars!", " blanks at both ends ", "'\"\\$`#;=[]{}", "~" * 63, "no      ", "00000000"]
)
def test_a_passphrase_makes_the_key_of_just_these_words(words: str) -> None:
    wifi = Wifi("home", "GB", words)
    seed = render_seed(contents(network=Network(wifi=wifi)))
    assert loaded(seed, "network-config")["wifis"]["wlan0"]["access-points"]["home"] == {"password": wifi.key()}
    (text,) = network_manager_files(Network(wifi=wifi)).values()
    assert keyfile(text)["wifi-security"]["psk"] == wifi.key()
    assert wifi.key() != Wifi("home", "GB", words[:-1] + "x").key()
    assert re.fullmatch("[0-9a-f]{64}", str(wifi.key()))


def test_a_key_of_64_digits_is_kept() -> None:
    assert Wifi("home", "GB", "0123456789abcdefABCDEF" + "0" * 42).key() == "0123456789abcdefABCDEF" + "0" * 42


V4 = StaticAddress("192.168.1.10/24", "192.168.1.1", ("192.168.1.1", "1.1.1.1"))
V6 = StaticAddress("fd00::10/64", "fe80::1", ("fd00::1", "1.1.1.1"))
MIXED = StaticAddress("192.168.1.10/24", "192.168.1.1", ("192.168.1.1", "fd00::1"))


@pytest.mark.parametrize("static", [V4, V6, MIXED])
def test_a_fixed_address_and_its_servers_are_all_told_to_networkmanager(static: StaticAddress) -> None:
    other = 10 - static.version
    for network in (Network(static=static), Network(wifi=Wifi("home", "GB"), static=static)):
        (text,) = network_manager_files(network).values()
        read = keyfile(text)
        own = read[f"ipv{static.version}"]
        assert (own["method"], own["address1"]) == ("manual", f"{static.address},{static.gateway}")
        assert read[f"ipv{other}"]["method"] == "auto"
        said = [read[f"ipv{version}"].get("dns", "") for version in (4, 6)]
        assert sorted("".join(said).rstrip(";").split(";")) == sorted(static.nameservers)


@pytest.mark.parametrize("static", [V4, V6, MIXED])
def test_name_servers_of_a_wifi_are_never_in_cloud_init_s_file(static: StaticAddress) -> None:
    """Where there is no netplan, cloud-init looks for the Wi-Fi among interfaces that it has left out: KeyError."""
    network = Network(wifi=Wifi("home", "GB"), static=static)
    config = cloud_init_network(network)
    assert "nameservers" not in config["wifis"]["wlan0"]
    assert config["wifis"]["wlan0"]["addresses"] == [static.address]
    for interface in config["ethernets"].values():
        assert interface == {"dhcp4": True, "optional": True}
    servers = netplan_name_servers(network)
    assert servers is not None
    assert servers["network"]["wifis"]["wlan0"] == {"nameservers": {"addresses": list(static.nameservers)}}
    seed = render_seed(contents(network=network))
    files = {file["path"]: file for file in loaded(seed, "user-data")["write_files"]}
    assert yaml.safe_load(files["/etc/moamesh/network/netplan.yaml"]["content"]) == servers
    assert files["/etc/moamesh/network/moamesh-wifi.nmconnection"]["permissions"] == "0600"
    assert loaded(seed, "user-data")["runcmd"][0] == ["/usr/local/sbin/moamesh-network"]


def test_without_wifi_nothing_is_left_to_do() -> None:
    network = Network(static=V4)
    assert cloud_init_network(network)["ethernets"]["eth0"]["nameservers"] == {"addresses": ["192.168.1.1", "1.1.1.1"]}
    assert netplan_name_servers(network) is None
    user = loaded(render_seed(contents(network=network)), "user-data")
    assert not any("network" in file["path"] for file in user["write_files"])
    assert user["runcmd"][0] == ["systemctl", "daemon-reload"]


def test_a_default_route_is_one_for_every_renderer() -> None:
    """cloud-init writes ::/0 as ::/64 for ifupdown, systemd-networkd and sysconfig."""
    assert cloud_init_network(Network(static=V4))["ethernets"]["eth0"]["routes"] == [
        {"to": "0.0.0.0/0", "via": "192.168.1.1"}
    ]
    assert cloud_init_network(Network(static=V6))["ethernets"]["eth0"]["routes"] == [
        {"to": "::/1", "via": "fe80::1"},
        {"to": "8000::/1", "via": "fe80::1"},
    ]


def run_network_setup(seed: SeedFiles, folder: Path, *programs: str) -> tuple[Path, subprocess.CompletedProcess[str]]:
    """Runs what cloud-init would run, on a root of its own where these programs are."""
    root, commands = folder / "root", folder / "bin"
    commands.mkdir()
    for name in programs:
        (commands / name).write_text(f'#!/bin/sh\necho "{name} $*" >>"{folder}/calls"\n')
        (commands / name).chmod(0o755)
    for name in ("mv", "rm"):
        (commands / name).symlink_to(f"/bin/{name}")
    (root / "etc/netplan").mkdir(parents=True)
    (root / "etc/NetworkManager/system-connections").mkdir(parents=True)
    for file in loaded(seed, "user-data")["write_files"]:
        path = root / str(file["path"]).lstrip("/")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(file["content"])
    environment = {"PATH": str(commands), "MOAMESH_ROOT": str(root)}
    script = root / "usr/local/sbin/moamesh-network"
    done = subprocess.run(["/bin/sh", str(script)], env=environment, capture_output=True, text=True, check=False)
    assert not (root / "etc/moamesh/network").exists()
    return root, done


@pytest.mark.parametrize(
    ("programs", "made", "calls"),
    [
        (("netplan", "nmcli"), "etc/netplan/60-moamesh.yaml", "netplan apply\n"),
        (("netplan",), "etc/netplan/60-moamesh.yaml", "netplan apply\n"),
        (("nmcli",), "etc/NetworkManager/system-connections/moamesh-wifi.nmconnection", "nmcli connection reload\n"),
    ],
)
def test_the_first_boot_gives_the_system_what_cloud_init_could_not(
    programs: tuple[str, ...], made: str, calls: str, tmp_path: Path
) -> None:
    seed = render_seed(contents(network=Network(wifi=Wifi("home", "GB", "12345678"), static=V4)))
    root, done = run_network_setup(seed, tmp_path, *programs)
    assert (done.returncode, done.stderr) == (0, "")
    assert (tmp_path / "calls").read_text() == calls
    there = [path for folder in ("netplan", "NetworkManager") for path in (root / "etc" / folder).rglob("*.*")]
    assert [path for path in there if path.is_file()] == [root / made]


def test_the_first_boot_says_where_nothing_knows_wifi(tmp_path: Path) -> None:
    seed = render_seed(contents(network=Network(wifi=Wifi("home", "GB", "12345678"))))
    _, done = run_network_setup(seed, tmp_path)
    assert "neither netplan nor NetworkManager" in done.stderr


def test_a_wifi_with_dhcp_needs_nothing_more_from_netplan(tmp_path: Path) -> None:
    seed = render_seed(contents(network=Network(wifi=Wifi("home", "GB", "12345678"))))
    root, done = run_network_setup(seed, tmp_path, "netplan")
    assert (done.returncode, done.stderr) == (0, "")
    assert not (tmp_path / "calls").exists()
    assert not os.listdir(root / "etc/netplan")


@pytest.mark.parametrize(
    ("typed", "kept"),
    [
        (("192.168.1.10/255.255.255.0", "192.168.1.1"), ("192.168.1.10/24", "192.168.1.1")),
        (("10.0.0.1/31", "10.0.0.0"), ("10.0.0.1/31", "10.0.0.0")),
        (("FD00:0:0::10/64", "FE80:0::1"), ("fd00::10/64", "fe80::1")),
    ],
)
def test_an_address_is_written_as_every_system_reads_it(typed: tuple[str, str], kept: tuple[str, str]) -> None:
    static = StaticAddress(*typed)
    assert (static.address, static.gateway) == kept


def key_of(*fields: bytes) -> str:
    return base64.b64encode(b"".join(len(field).to_bytes(4, "big") + field for field in fields)).decode()


RSA = f"ssh-rsa {key_of(b'ssh-rsa', b'e', b'n' * 257)} ada@home"
NAME = "Wi-Fi name"


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda: Wifi("", "GB"), "1 to 32 bytes, and this one has 0"),
        (lambda: Wifi("a" * 33, "GB"), "this one has 33"),
        (lambda: Wifi("é" * 17, "GB"), "this one has 34"),
        (lambda: Wifi("caf\udce9", "GB"), "UTF-8"),
        *((lambda c=c: Wifi(f"a{c}b", "GB"), "control character") for c in "\0\t\n\r\x1b\x7f\x85"),
        (lambda: Wifi("65;66;", "GB"), "a list of bytes"),
        (lambda: Wifi("1;2", "GB"), "a list of bytes"),
        (lambda: Wifi("home", "GB\n"), "two capital letters"),
        (lambda: Wifi("home", ""), "two capital letters"),
        (lambda: Wifi("home", "ÄÖ"), "two capital letters"),
        (lambda: Wifi("home", "GB", ""), "8 to 63"),
        (lambda: Wifi("home", "GB", "1234567"), "8 to 63"),
        (lambda: Wifi("home", "GB", "x" * 64), "8 to 63 ASCII characters, a key 64 hex"),
        (lambda: Wifi("home", "GB", "0" * 65), "8 to 63"),
        (lambda: Wifi("home", "GB", "12345678\n"), "8 to 63"),
        (lambda: Wifi("home", "GB", "tab\tinside"), "8 to 63"),
        (lambda: StaticAddress("192.168.1.0/24"), "is the whole network"),
        (lambda: StaticAddress("192.168.1.255/24"), "is the whole network"),
        (lambda: StaticAddress("fd00::/64"), "is the whole network"),
        (lambda: StaticAddress("0.0.0.0/8"), "cannot be a device's address"),
        (lambda: StaticAddress("127.0.0.1/8"), "cannot be a device's address"),
        (lambda: StaticAddress("224.0.0.5/8"), "cannot be a device's address"),
        (lambda: StaticAddress("fe80::5%eth0/64"), "cannot be a device's address"),
        (lambda: StaticAddress("192.168.1.10/33"), "network address"),
        (lambda: StaticAddress(""), "network address"),
        (lambda: StaticAddress("caf\udce9/24"), "network address"),
        (lambda: StaticAddress("192.168.1.10/24", ""), "network address: .* (gateway)"),
        (lambda: StaticAddress("192.168.1.10/24", "192.168.1.10"), "or is the address of the device"),
        (lambda: StaticAddress("192.168.1.10/24", "fe80::1"), "is not in the network"),
        (lambda: StaticAddress("fd00::10/64", "fd01::1"), "is not in the network"),
        (lambda: StaticAddress("192.168.1.10/24", None, ("",)), "name server"),
        (lambda: StaticAddress("192.168.1.10/24", None, ("router.lan",)), "name server"),
        (lambda: StaticAddress("192.168.1.10/24", None, ("1.1.1.1;8.8.8.8",)), "name server"),
        (lambda: StaticAddress("192.168.1.10/24", None, ("fe80::1%eth0",)), "name server"),
        (lambda: Network("wlan0", Wifi("home", "GB")), "is the Wi-Fi's interface"),
        (lambda: Network(""), "not the name of a network interface"),
        (lambda: Network("eth0\n"), "not the name of a network interface"),
        (lambda: Login("daemon", (KEY,)), "cannot be a login"),
        (lambda: Login("1e3", (KEY,)), "cannot be a login"),
        (lambda: Login("", (KEY,)), "cannot be a login"),
        (lambda: Login("ada\n", (KEY,)), "cannot be a login"),
        (lambda: Login("ada", (KEY[:-4],)), "is incomplete"),
        (lambda: Login("ada", (KEY.replace("ed25519", "rsa"),)), "is incomplete"),
        (lambda: Login("ada", (f"{KEY} ada@café",)), "comment in ASCII"),
        (lambda: Login("ada", (f"{RSA}\n",)), "not an SSH public key"),
        (lambda: contents(hostname="localhost"), "means the device itself"),
        (lambda: contents(hostname="a.b"), "can't be a host name"),
        (lambda: contents(hostname="kitchen\n"), "can't be a host name"),
    ],
)
def test_what_cannot_be_passed_on_is_refused_in_one_line(make: Any, said: str) -> None:
    with pytest.raises(SeedError) as refused:
        make()
    assert re.search(said.replace("(", r"\(").replace(")", r"\)"), str(refused.value)), refused.value
    assert "\n" not in str(refused.value)
    assert str(refused.value).isprintable()


@pytest.mark.parametrize("name", ["no", "null", "y", "on", "e3", "_0", "a" * 32])
def test_a_login_and_its_keys_are_what_was_given(name: str, tmp_path: Path) -> None:
    keys = (f"{KEY} # no: comment 'at' \"all\"", RSA)
    made: SeedContents = contents(login=Login(name, keys), hostname="no")
    user = loaded(render_seed(made), "user-data")
    assert (user["users"][1]["name"], user["hostname"]) == (name, "no")
    assert user["users"][1]["ssh_authorized_keys"] == list(keys)
    assert loaded(render_seed(made), "meta-data")["local-hostname"] == "no"
    root = run_firstrun(render_seed(made), tmp_path)
    assert (root / f"home/{name}/.ssh/authorized_keys").read_text() == "".join(f"{key}\n" for key in keys)
    assert (root / f"etc/sudoers.d/90-{name}").read_text() == f"{name} ALL=(ALL) NOPASSWD:ALL\n"
