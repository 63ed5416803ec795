"""Which names a device may not have: those of brokers and pages, and of the revoked while their certificates hold."""

from __future__ import annotations

import dataclasses

import pytest

from edge_agent.wire.topics import Channel
from provisioning.errors import ProvisioningError
from provisioning.mesh import MeshFolder
from provisioning.messages import CertificateIssued
from provisioning.records import DeviceState
from tests.provisioning.home import Home, in_days

TAKEN = {
    "the broker's host": ({"brokers": ("mqtts://pi.local:8883",)}, "pi", ()),
    "its short name": ({"brokers": ("mqtts://pi:8883",)}, "pi", ()),
    "in capitals": ({"brokers": ("mqtts://PI.Local.:8883",)}, "pi", ()),
    "the second of a cluster": ({"brokers": ("mqtts://a.lan:1", "mqtts://two.local:1")}, "two", ()),
    "where claims go": ({"claim_broker": "mqtts://door.local:8884"}, "door", ()),
    "where the app reaches the broker": ({"web_brokers": ("wss://wide.local:8885",)}, "wide", ()),
    "the page": ({"app_url": "https://page.local:8443/"}, "page", ()),
    "another device's own broker": ({"own_brokers": {"attic": "mqtts://roof.local:8883"}}, "roof", ()),
    "the broker's address": ({"brokers": ("mqtts://192.168.1.10:8883",)}, "shed", ("192.168.1.10",)),
    "its address of version 6": ({"brokers": ("mqtts://[fd00::7]:8883",)}, "shed", ("fd00:0:0::7",)),
}
FREE = {
    "a name that only begins alike": ({"brokers": ("mqtts://pi.local:8883",)}, "pi-2", ()),
    "its own broker": ({"own_brokers": {"attic": "mqtts://attic.local:8883"}}, "attic", ()),
    "another address": ({"brokers": ("mqtts://192.168.1.10:8883",)}, "shed", ("192.168.1.11",)),
    "a domain that is longer": ({"brokers": ("mqtts://pi.local.example:8883",)}, "pi", ()),
}


def with_settings(home: Home, changes: dict[str, object]) -> MeshFolder:
    home.mesh.settings = dataclasses.replace(home.mesh.settings, **changes)
    return home.mesh


@pytest.mark.parametrize("what", TAKEN)
def test_a_device_is_not_called_like_a_broker(home: Home, what: str) -> None:
    changes, name, addresses = TAKEN[what]
    mesh = with_settings(home, changes)
    with pytest.raises(ProvisioningError, match=f"the certificate of a device called {name} would pass for it") as one:
        home.mesh.invite(name, hash_password=lambda _: "x", ip_addresses=addresses)
    assert "\n" not in str(one.value)
    with pytest.raises(ProvisioningError, match="would pass for it"):
        mesh.enrol(name, home.authority, addresses)
    with mesh.inventory() as inventory:
        assert inventory.devices() == []


@pytest.mark.parametrize("what", FREE)
def test_other_names_are_free(home: Home, what: str) -> None:
    changes, name, addresses = FREE[what]
    with_settings(home, changes).enrol(name, home.authority, addresses)


def test_a_device_is_not_called_like_a_broker_or_page_that_has_a_certificate(home: Home) -> None:
    home.mesh.renew_broker(home.authority, ["hub.local"])
    home.mesh.web_authority(home.authority, ["face.local"]).issue(["face.local"])
    for name in ("hub", "face"):
        with pytest.raises(ProvisioningError, match=f"{name}.local is a broker of this mesh"):
            home.invite(name)


def test_no_broker_or_page_is_certified_by_a_devices_name_or_address(home: Home) -> None:
    home.joined("kitchen")
    home.mesh.invite("attic", hash_password=lambda _: "x", ip_addresses=["10.0.0.7", "fd00::7", "127.0.0.1"])
    for host in ("kitchen", "kitchen.local", "KITCHEN.local.", "attic.local", "10.0.0.7", "[FD00:0::7]"):
        with pytest.raises(ProvisioningError, match=r"belongs to the device (kitchen|attic)"):
            home.mesh.renew_broker(home.authority, ["hub.lan", host])
        with pytest.raises(ProvisioningError, match=r"belongs to the device (kitchen|attic)"):
            home.mesh.web_authority(home.authority, [host])
    home.mesh.revoke("kitchen", home.authority)
    with pytest.raises(ProvisioningError, match="belongs to the device kitchen"):
        home.mesh.renew_broker(home.authority, ["kitchen.local"])  # its card may still be somewhere


def test_a_member_is_not_invited_again_nor_a_revoked_one_while_its_certificates_hold(home: Home) -> None:
    home.joined("kitchen")
    with pytest.raises(ProvisioningError, match="kitchen is a member already: give the new device another name"):
        home.invite("kitchen")
    home.mesh.revoke("kitchen", home.authority)
    until = in_days(90.0).date().isoformat()
    with pytest.raises(ProvisioningError, match=f"kitchen was revoked, and its certificates are valid until {until}"):
        home.invite("kitchen")
    with pytest.raises(ProvisioningError, match="kitchen was revoked"):
        home.mesh.enrol("kitchen", home.authority)
    with home.mesh.inventory() as inventory:
        assert inventory.device("kitchen").state is DeviceState.REVOKED


def test_a_revoked_name_is_free_when_its_certificates_have_ended_or_their_authority_has(home: Home) -> None:
    home.joined("kitchen")
    home.mesh.revoke("kitchen", home.authority)
    home.authority.rotate()
    with pytest.raises(ProvisioningError, match="kitchen was revoked"):
        home.invite("kitchen")  # the old authority is still trusted
    home.authority.finish_rotation()
    invitation = home.invite("kitchen")
    store = home.store("kitchen", invitation)
    assert isinstance(home.answer("kitchen", Channel.CLAIMS, store.claim_request(invitation.secret)), CertificateIssued)


def test_a_name_that_never_had_a_certificate_is_free_at_once(home: Home) -> None:
    home.invite("kitchen")
    home.mesh.revoke("kitchen", home.authority)
    home.invite("kitchen")
