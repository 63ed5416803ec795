"""A device's network: as cloud-init's network-config, and as NetworkManager's keyfiles for older Raspberry Pi OS."""

from __future__ import annotations

import hashlib
import ipaddress
import re
import uuid
from dataclasses import dataclass, field
from typing import Any, final

from provisioning.seed.errors import SeedError

SSID_BYTES_MAX = 32  # IEEE 802.11
_PASSPHRASE = re.compile(r"[\x20-\x7e]{8,63}")
_KEY = re.compile(r"[0-9a-fA-F]{64}")
_COUNTRY = re.compile(r"[A-Z]{2}")
_INTERFACE = re.compile(r"[a-z][a-z0-9]{0,14}")


@final
@dataclass(frozen=True, slots=True)
class Wifi:
    """A wireless network. `passphrase` is `None` for an open one; it never leaves this object, only the key made of it
    does, which opens this network and no other place where somebody uses the same words.

    Raises:
        SeedError: no access point could have this name, passphrase or country.
    """

    ssid: str
    country: str
    passphrase: str | None = field(default=None, repr=False)
    interface: str = "wlan0"

    def __post_init__(self) -> None:
        if not 1 <= len(self.ssid.encode()) <= SSID_BYTES_MAX or "\0" in self.ssid:
            raise SeedError(f"a Wi-Fi name has 1 to {SSID_BYTES_MAX} bytes")
        if not _COUNTRY.fullmatch(self.country):
            raise SeedError("the Wi-Fi country is two capital letters, such as GB: the radio stays off without it")
        words = self.passphrase
        if words is not None and not (_PASSPHRASE.fullmatch(words) or _KEY.fullmatch(words)):
            raise SeedError("a Wi-Fi passphrase has 8 to 63 ASCII characters")
        _check_interface(self.interface)

    def key(self) -> str | None:
        """Returns the pre-shared key as 64 hex digits (IEEE 802.11, annex J.4), `None` for an open network."""
        if self.passphrase is None or _KEY.fullmatch(self.passphrase):
            return self.passphrase
        return hashlib.pbkdf2_hmac("sha1", self.passphrase.encode(), self.ssid.encode(), 4096, 32).hex()


@final
@dataclass(frozen=True, slots=True)
class StaticAddress:
    """An address with its prefix ("192.168.1.10/24"), the gateway and name servers.

    Raises:
        SeedError: one of them is none.
    """

    address: str
    gateway: str | None = None
    nameservers: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        try:
            interface = ipaddress.ip_interface(self.address)
            others = [ipaddress.ip_address(text) for text in (*self.nameservers, self.gateway) if text]
        except ValueError as error:
            raise SeedError(f"network address: {error}") from None
        if "/" not in self.address:
            raise SeedError(f"{self.address} needs the length of its network, such as {self.address}/24")
        if self.gateway and others[-1] not in interface.network:
            raise SeedError(f"the gateway {self.gateway} is not in the network {interface.network}")

    @property
    def version(self) -> int:
        """4 or 6."""
        return ipaddress.ip_interface(self.address).version


@final
@dataclass(frozen=True, slots=True)
class Network:
    """Ethernet, and Wi-Fi if given, each with DHCP. A static address is Wi-Fi's if there is one, else ethernet's.

    ethernet: the interface's name. It has to be named: matched by a pattern it may stay down.
    """

    ethernet: str = "eth0"
    wifi: Wifi | None = None
    static: StaticAddress | None = None

    def __post_init__(self) -> None:
        _check_interface(self.ethernet)


def cloud_init_network(network: Network) -> dict[str, Any]:
    """Returns cloud-init's network-config, version 2."""
    ethernet: dict[str, Any] = {"dhcp4": True}
    config: dict[str, Any] = {"version": 2, "ethernets": {network.ethernet: ethernet}}
    addressed = ethernet
    if network.wifi is not None:
        ethernet["optional"] = True  # a cable that is not plugged in must not hold up the boot
        key = network.wifi.key()
        access_point = {"password": key} if key is not None else {}
        addressed = {"dhcp4": True, "regulatory-domain": network.wifi.country}
        addressed["access-points"] = {network.wifi.ssid: access_point}
        config["wifis"] = {network.wifi.interface: addressed}
    if network.static is not None:
        addressed["dhcp4"] = False
        addressed["addresses"] = [network.static.address]
        if network.static.gateway:
            default = "0.0.0.0/0" if network.static.version == 4 else "::/0"
            addressed["routes"] = [{"to": default, "via": network.static.gateway}]
        if network.static.nameservers:
            addressed["nameservers"] = {"addresses": list(network.static.nameservers)}
    return config


def network_manager_files(network: Network) -> dict[str, str]:
    """Returns NetworkManager's keyfiles by name; none where its own defaults (ethernet with DHCP) do."""
    files = {}
    if network.wifi is not None:
        wifi = network.wifi
        # bytes, not text: then no character of the name can mean something else in the file
        ssid = "".join(f"{byte};" for byte in wifi.ssid.encode())
        lines = ["[wifi]", "mode=infrastructure", f"ssid={ssid}"]
        if (key := wifi.key()) is not None:
            lines += ["", "[wifi-security]", "key-mgmt=wpa-psk", f"psk={key}"]
        files["moamesh-wifi.nmconnection"] = _keyfile("moamesh-wifi", "wifi", wifi.interface, lines, network.static)
    elif network.static is not None:
        files["moamesh-ethernet.nmconnection"] = _keyfile(
            "moamesh-ethernet", "ethernet", network.ethernet, [], network.static
        )
    return files


def _keyfile(name: str, kind: str, interface: str, lines: list[str], static: StaticAddress | None) -> str:
    # the same name makes the same id: a seed that is made again does not differ
    number = uuid.uuid5(uuid.NAMESPACE_URL, f"moamesh:{name}")
    head = ["[connection]", f"id={name}", f"uuid={number}", f"type={kind}", f"interface-name={interface}", ""]
    return "\n".join([*head, *lines, "", *_addresses(4, static), "", *_addresses(6, static), ""])


def _addresses(version: int, static: StaticAddress | None) -> list[str]:
    lines = [f"[ipv{version}]"]
    if static is None or static.version != version:
        return [*lines, "method=auto"]
    gateway = f",{static.gateway}" if static.gateway else ""
    lines += ["method=manual", f"address1={static.address}{gateway}"]
    servers = [text for text in static.nameservers if ipaddress.ip_address(text).version == version]
    return [*lines, *([f"dns={';'.join(servers)};"] if servers else [])]


def _check_interface(name: str) -> None:
    if not _INTERFACE.fullmatch(name):
        raise SeedError(f"{name!r} is no network interface's name; Raspberry Pi OS has eth0 and wlan0")
