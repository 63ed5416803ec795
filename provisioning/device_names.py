"""Whether a new device may have a name: not a broker's, whose place it could take, and not one that was stolen.

A device's certificate is a server's as well and names `NAME`, `NAME.local` and its addresses. A broker whose host is
one of these could not be told from it. And a broker that reads no revocation list (ejabberd's) knows devices by name
alone: while an old certificate of that name is good, its holder would come back with the new device.
"""

from __future__ import annotations

import datetime
from collections.abc import Iterable, Iterator
from urllib.parse import urlsplit

from edge_agent.hosts import address_of, is_loopback
from provisioning import certificates as certs
from provisioning.errors import ProvisioningError
from provisioning.inventory import Inventory
from provisioning.mesh_settings import MeshSettings
from provisioning.records import CertificateKind, CertificateRow, DeviceState
from provisioning.trust import TrustBundle


def check_new_device(
    device_id: str, addresses: Iterable[str], settings: MeshSettings, inventory: Inventory, bundle: TrustBundle
) -> None:
    """Makes sure that a device may be invited by this name and with these addresses.

    Raises:
        ProvisioningError: it may not; one line that says why and what to do.
    """
    subject = certs.device_subject(device_id, addresses)
    brokers = set(_broker_hosts(device_id, settings, inventory, bundle))
    for host in map(normal_host, subject.hosts):
        if host in brokers and not is_loopback(host):
            raise ProvisioningError(
                f"{host} is a broker of this mesh, and the certificate of a device called {device_id} would pass for "
                "it: give another name or address"
            )
    _check_not_revoked(device_id, inventory, bundle)


def check_no_device_host(hosts: Iterable[str], inventory: Inventory, bundle: TrustBundle) -> None:
    """Makes sure that a broker or page is not certified by a device's name or address.

    Raises:
        ProvisioningError: it would be.
    """
    for host in map(normal_host, hosts):
        if (device := device_hosts(inventory, bundle).get(host)) is not None:
            raise ProvisioningError(
                f"{host} belongs to the device {device}, whose certificate would pass for this server's: give another "
                "name or address"
            )


def device_hosts(inventory: Inventory, bundle: TrustBundle) -> dict[str, str]:
    """Returns the host names and addresses that belong to devices, each with its device."""
    rows = inventory.ledger(CertificateKind.DEVICE)
    found = [(row.name, row.hosts) for row in rows if is_good(row, bundle, inventory.now())]
    found += [
        (device.device_id, certs.device_subject(device.device_id, device.ip_addresses).hosts)
        for device in inventory.devices()
        if device.state is not DeviceState.REVOKED
    ]
    return {host: name for name, hosts in found for host in map(normal_host, hosts) if not is_loopback(host)}


def is_good(row: CertificateRow, bundle: TrustBundle, now: float) -> bool:
    """Whether a certificate is taken by members unless they know that it is revoked."""
    return row.expires_at > now and bundle.issuer_of(row.certificate) is not None


def normal_host(host: str) -> str:
    """Returns a host name or address as it is written shortest, so that equal ones are equal."""
    host = host.strip("[]").rstrip(".").lower()
    address = address_of(host)
    return host if address is None else str(address)


def _broker_hosts(device_id: str, settings: MeshSettings, inventory: Inventory, bundle: TrustBundle) -> Iterator[str]:
    others = (url for name, url in settings.own_brokers.items() if name != device_id)
    for url in (*settings.brokers, settings.claim_broker, *settings.web_brokers, settings.app_url, *others):
        try:
            host = urlsplit(url).hostname
        except ValueError:
            continue  # whoever uses it says so
        if host:
            yield normal_host(host)
    for row in inventory.ledger(CertificateKind.BROKER):
        if not row.revoked and is_good(row, bundle, inventory.now()):
            yield from map(normal_host, row.hosts)
    for row in inventory.ledger(CertificateKind.WEB):
        if not row.revoked and row.expires_at > inventory.now():
            yield from map(normal_host, row.hosts)


def _check_not_revoked(device_id: str, inventory: Inventory, bundle: TrustBundle) -> None:
    states = {row.device_id: row.state for row in inventory.devices()}
    if states.get(device_id) is not DeviceState.REVOKED:
        return
    ends = [row.expires_at for row in inventory.certificates(device_id) if is_good(row, bundle, inventory.now())]
    if ends:
        day = datetime.datetime.fromtimestamp(max(ends), datetime.UTC).date().isoformat()
        raise ProvisioningError(
            f"{device_id} was revoked, and its certificates are valid until {day}: give the new device another "
            "name; this one is free after that day, or after a rotation (moamesh mesh rotate, and --finish)"
        )
