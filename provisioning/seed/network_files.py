"""A device's network as files: cloud-init's network-config, netplan's, and NetworkManager's keyfiles.

cloud-init gives its network-config to what the system has. Where that is netplan it passes it on as it is. Every other
way (ifupdown, systemd-networkd, sysconfig, NetworkManager) knows no Wi-Fi: cloud-init leaves it out with a warning, and
ends with a traceback, without any network at all, if that Wi-Fi has name servers. So they are never in its file:
`moamesh-network` gives them to netplan at the end of the first boot, or the whole Wi-Fi to NetworkManager.
"""

from __future__ import annotations

import uuid
from typing import Any

from provisioning.seed.network import Network, StaticAddress, Wifi

# cloud-init takes ::/0 for ::/64 where there is no netplan; the halves of the whole mean the same to everybody
_EVERYWHERE = {4: ("0.0.0.0/0",), 6: ("::/1", "8000::/1")}


def cloud_init_network(network: Network) -> dict[str, Any]:
    """Returns cloud-init's network-config, version 2."""
    ethernet: dict[str, Any] = {"dhcp4": True}
    config: dict[str, Any] = {"version": 2, "ethernets": {network.ethernet: ethernet}}
    if network.wifi is None:
        if network.static is not None:
            ethernet |= _static(network.static) | _name_servers(network.static)
        return config
    ethernet["optional"] = True  # a cable that is not plugged in must not hold up the boot
    wifi = {"dhcp4": True, "regulatory-domain": network.wifi.country, "access-points": _access_points(network.wifi)}
    config["wifis"] = {network.wifi.interface: wifi | (_static(network.static) if network.static is not None else {})}
    return config


def netplan_name_servers(network: Network) -> dict[str, Any] | None:
    """Returns netplan's file for what `cloud_init_network` must not tell; `None` if there is nothing."""
    if network.wifi is None or network.static is None or not network.static.nameservers:
        return None
    return {"network": {"version": 2, "wifis": {network.wifi.interface: _name_servers(network.static)}}}


def network_manager_files(network: Network) -> dict[str, str]:
    """Returns NetworkManager's keyfiles by name; none where its own defaults (ethernet with DHCP) do."""
    if network.wifi is not None:
        wifi = network.wifi
        # bytes, not text: then no character of the name can mean something else in the file
        ssid = "".join(f"{byte};" for byte in wifi.ssid.encode())
        lines = ["[wifi]", "mode=infrastructure", f"ssid={ssid}", *(["hidden=true"] if wifi.hidden else [])]
        if (key := wifi.key()) is not None:
            lines += ["", "[wifi-security]", "key-mgmt=wpa-psk", f"psk={key}"]
        return {"moamesh-wifi.nmconnection": _keyfile("moamesh-wifi", "wifi", wifi.interface, lines, network.static)}
    if network.static is not None:
        text = _keyfile("moamesh-ethernet", "ethernet", network.ethernet, [], network.static)
        return {"moamesh-ethernet.nmconnection": text}
    return {}


def _access_points(wifi: Wifi) -> dict[str, Any]:
    key = wifi.key()
    return {wifi.ssid: ({"password": key} if key is not None else {}) | ({"hidden": True} if wifi.hidden else {})}


def _static(static: StaticAddress) -> dict[str, Any]:
    # the other version's addresses come from the network as before
    fields: dict[str, Any] = {"dhcp4": static.version != 4, "addresses": [static.address]}
    if static.version == 4 and static.nameservers_of(6):
        # else netplan writes for NetworkManager that IPv6 is set by hand, without an address: it refuses the whole
        fields["dhcp6"] = True
    if static.gateway is not None:
        fields["routes"] = [{"to": part, "via": static.gateway} for part in _EVERYWHERE[static.version]]
    return fields


def _name_servers(static: StaticAddress) -> dict[str, Any]:
    return {"nameservers": {"addresses": list(static.nameservers)}} if static.nameservers else {}


def _keyfile(name: str, kind: str, interface: str, lines: list[str], static: StaticAddress | None) -> str:
    # the same name makes the same id: a seed that is made again does not differ
    number = uuid.uuid5(uuid.NAMESPACE_URL, f"moamesh:{name}")
    head = ["[connection]", f"id={name}", f"uuid={number}", f"type={kind}", f"interface-name={interface}", ""]
    return "\n".join([*head, *lines, "", *_addresses(4, static), "", *_addresses(6, static), ""])


def _addresses(version: int, static: StaticAddress | None) -> list[str]:
    lines = [f"[ipv{version}]"]
    if static is None:
        return [*lines, "method=auto"]
    if static.version == version:
        gateway = f",{static.gateway}" if static.gateway is not None else ""
        lines += ["method=manual", f"address1={static.address}{gateway}"]
    else:
        lines += ["method=auto"]
    servers = static.nameservers_of(version)
    return [*lines, *([f"dns={';'.join(servers)};"] if servers else [])]
