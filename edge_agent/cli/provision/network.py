"""The options of the panel Network as what they mean together; a Wi-Fi's password is asked for."""

from __future__ import annotations

import getpass
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from edge_agent.config.broker import read_password_file
from edge_agent.core.errors import SettingsError
from provisioning.seed import Network, StaticAddress, Wifi, check_ssid


@dataclass(frozen=True, slots=True)
class WifiOptions:
    """What a command line says of a Wi-Fi."""

    ssid: str | None
    country: str | None
    password_file: Path | None
    without_password: bool
    hidden: bool


def make_network(
    ethernet: str, wifi: WifiOptions, address: str | None, gateway: str | None, dns: Sequence[str]
) -> Network:
    """Returns the network of a device.

    Raises:
        SettingsError, SeedError: options do not fit together, or one is not fit.
    """
    static = StaticAddress(address, gateway, tuple(dns)) if address is not None else None
    if static is None and (gateway is not None or dns):
        raise SettingsError("--gateway and --dns go with a fixed --address")
    if wifi.ssid is None:
        if wifi.country or wifi.password_file or wifi.without_password or wifi.hidden:
            raise SettingsError(
                "--wifi-country, --wifi-password-file, --wifi-open and --wifi-hidden go with --wifi-ssid"
            )
        return Network(ethernet, None, static)
    check_ssid(wifi.ssid)  # before a password is asked for
    if wifi.country is None:
        raise SettingsError("--wifi-ssid needs --wifi-country, such as GB: the radio stays off without it")
    password = None if wifi.without_password else _password(wifi.ssid, wifi.password_file)
    return Network(ethernet, Wifi(wifi.ssid, wifi.country, password, hidden=wifi.hidden), static)


def _password(ssid: str, file: Path | None) -> str:
    if file is not None:
        return read_password_file(file, "--wifi-password-file").get_secret_value()
    if not sys.stdin.isatty():
        raise SettingsError("give the Wi-Fi password as --wifi-password-file FILE, or say --wifi-open")
    return getpass.getpass(f"Password of the Wi-Fi {ssid}: ")
