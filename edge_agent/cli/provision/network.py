"""The options of the panel Network as what they mean together; a Wi-Fi's password is asked for."""

from __future__ import annotations

import getpass
import sys
from pathlib import Path

from edge_agent.cli.provision.options import NetworkOptions
from edge_agent.config.broker import read_password_file
from edge_agent.core.errors import SettingsError
from provisioning.seed import Network, StaticAddress, Wifi, check_ssid


def make_network(given: NetworkOptions) -> Network:
    """Returns the network of a device.

    Raises:
        SettingsError, SeedError: options do not fit together, or one is not fit.
    """
    address = given.address
    static = StaticAddress(address, given.gateway, tuple(given.dns or ())) if address is not None else None
    if static is None and (given.gateway is not None or given.dns):
        raise SettingsError("--gateway and --dns go with a fixed --address")
    if given.wifi_ssid is None:
        if given.wifi_country or given.wifi_password_file or given.wifi_open or given.wifi_hidden:
            raise SettingsError(
                "--wifi-country, --wifi-password-file, --wifi-open and --wifi-hidden go with --wifi-ssid"
            )
        return Network(given.ethernet, None, static)
    check_ssid(given.wifi_ssid)  # before a password is asked for
    if given.wifi_country is None:
        raise SettingsError("--wifi-ssid needs --wifi-country, such as GB: the radio stays off without it")
    password = None if given.wifi_open else _password(given.wifi_ssid, given.wifi_password_file)
    return Network(
        given.ethernet, Wifi(given.wifi_ssid, given.wifi_country, password, hidden=given.wifi_hidden), static
    )


def _password(ssid: str, file: Path | None) -> str:
    if file is not None:
        return read_password_file(file, "--wifi-password-file").get_secret_value()
    if not sys.stdin.isatty():
        raise SettingsError("give the Wi-Fi password as --wifi-password-file FILE, or say --wifi-open")
    return getpass.getpass(f"Password of the Wi-Fi {ssid}: ")
