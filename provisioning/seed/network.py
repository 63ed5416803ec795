"""What a device's network is: Ethernet, Wi-Fi, addresses. Whatever no system could be told exactly is refused here."""

from __future__ import annotations

import hashlib
import ipaddress
import re
import unicodedata
from dataclasses import dataclass, field
from typing import TypeAlias, final

from provisioning.seed.errors import SeedError

SSID_BYTES_MAX = 32  # IEEE 802.11
_PASSPHRASE = re.compile(r"[\x20-\x7e]{8,63}")
_KEY = re.compile(r"[0-9a-fA-F]{64}")
_COUNTRY = re.compile(r"[A-Z]{2}")
_INTERFACE = re.compile(r"[a-z][a-z0-9]{0,14}")
_NUMBERS = re.compile(r"[0-9 ]*;[0-9; ]*")
_Address: TypeAlias = ipaddress.IPv4Address | ipaddress.IPv6Address
_Interface: TypeAlias = ipaddress.IPv4Interface | ipaddress.IPv6Interface


def check_ssid(ssid: str) -> bytes:
    """Returns a Wi-Fi's name as its bytes.

    Raises:
        SeedError: no access point could be called so, or no system could be told so.
    """
    try:
        data = ssid.encode()
    except UnicodeEncodeError:  # an argument's bytes that are no UTF-8
        raise SeedError("a Wi-Fi name has to be UTF-8: cloud-init knows no other text") from None
    if not 1 <= len(data) <= SSID_BYTES_MAX:
        raise SeedError(f"a Wi-Fi name has 1 to {SSID_BYTES_MAX} bytes, and this one has {len(data)}")
    if any(unicodedata.category(letter) == "Cc" for letter in ssid):
        # netplan writes them as they are into wpa_supplicant's file, where a new line begins another setting
        raise SeedError(f"the Wi-Fi name {ssid!r} has a control character, which is not allowed")
    if _NUMBERS.fullmatch(ssid):
        raise SeedError(f"the Wi-Fi name {ssid!r} cannot be used: NetworkManager would read it as a list of bytes")
    return data


@final
@dataclass(frozen=True, slots=True)
class Wifi:
    """A wireless network. `passphrase` is `None` for an open one; it never leaves this object, only the key made of it
    does, which opens this network and no other place where somebody uses the same words.

    hidden: its access points do not announce it; the device has to ask for it by name.

    Raises:
        SeedError: no access point could have this name, passphrase or country.
    """

    ssid: str
    country: str
    passphrase: str | None = field(default=None, repr=False)
    interface: str = "wlan0"
    hidden: bool = False

    def __post_init__(self) -> None:
        check_ssid(self.ssid)
        if not _COUNTRY.fullmatch(self.country):
            raise SeedError("the Wi-Fi country is two capital letters, such as GB: the radio stays off without it")
        words = self.passphrase
        if words is not None and not (_PASSPHRASE.fullmatch(words) or _KEY.fullmatch(words)):
            raise SeedError("a Wi-Fi passphrase has 8 to 63 ASCII characters, a key 64 hexadecimal digits")
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

    They are kept as they are written shortest, which every system reads.

    Raises:
        SeedError: one of them is none, or no device could use it.
    """

    address: str
    gateway: str | None = None
    nameservers: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        interface = _interface(self.address)
        object.__setattr__(self, "address", interface.with_prefixlen)
        object.__setattr__(self, "nameservers", tuple(str(_address(text, "name server")) for text in self.nameservers))
        if self.gateway is not None:
            gateway = _address(self.gateway, "gateway")
            # a router's own IPv6 address is link-local in most homes
            beside = gateway in interface.network or (interface.version == 6 and gateway.is_link_local)
            if not beside or gateway == interface.ip:
                raise SeedError(
                    f"the gateway {gateway} is not in the network {interface.network}, or is the address of the device"
                )
            object.__setattr__(self, "gateway", str(gateway))

    @property
    def version(self) -> int:
        """4 or 6."""
        return ipaddress.ip_interface(self.address).version

    def nameservers_of(self, version: int) -> list[str]:
        """The name servers with an address of this version."""
        return [text for text in self.nameservers if ipaddress.ip_address(text).version == version]


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
        if self.wifi is not None and self.wifi.interface == self.ethernet:
            raise SeedError(f"{self.ethernet} is the Wi-Fi's interface here: give another --ethernet")


def _interface(text: str) -> _Interface:
    try:
        interface = ipaddress.ip_interface(text)
    except ValueError as error:
        raise SeedError(f"network address: {error}") from None
    if "/" not in text:
        raise SeedError(f"{text} needs the length of its network, such as {text}/24")
    _check_usable(ipaddress.ip_address(text.partition("/")[0]), "address")
    network = interface.network
    wide = network.prefixlen < network.max_prefixlen - 1  # RFC 3021: networks of two have no such addresses
    if wide and (interface.ip == network.network_address or (network.version == 4 and interface.ip == network[-1])):
        raise SeedError(f"{interface.ip} is the whole network {network}: give one device's address")
    return interface


def _address(text: str, what: str) -> _Address:
    try:
        address = ipaddress.ip_address(text)
    except ValueError as error:
        raise SeedError(f"network address: {error} ({what})") from None
    _check_usable(address, what)
    return address


def _check_usable(address: _Address, what: str) -> None:
    # a loopback address is a name server's where the device runs one
    strange = address.is_unspecified or address.is_multicast or (address.is_loopback and what != "name server")
    if strange or "%" in str(address):  # one interface's own, by a name that only this machine knows
        raise SeedError(f"network address: {address} cannot be a device's {what}")


def _check_interface(name: str) -> None:
    if not _INTERFACE.fullmatch(name):
        raise SeedError(f"{name!r} is not the name of a network interface; Raspberry Pi OS has eth0 and wlan0")
