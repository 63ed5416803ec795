"""What a device is put together of, where something hangs on it that no other test would notice."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from edge_agent.adapters.mqtt import MqttSettings, MqttTransport
from edge_agent.config import AgentConfig, BrokerSection, DeviceSection, EngineSection
from edge_agent.runtime.assemble import make_host, make_notary
from edge_agent.runtime.home import Home
from provisioning.authority import MeshAuthority
from tests.support.foreign_ca import foreign_identity

URL = "mqtt://127.0.0.1:1"


def config_of(folder: Path, **broker: Path) -> AgentConfig:
    return AgentConfig(
        device=DeviceSection(id="kitchen", data_dir=folder / "data"),
        broker=BrokerSection(urls=(URL,), **broker),  # type: ignore[arg-type]  # by name
        engine=EngineSection(kind="synthetic", service="deterministic:0.1"),
    )


def test_ids_of_requests_come_from_a_source_that_nobody_can_guess(tmp_path: Path) -> None:
    host = make_host(config_of(tmp_path), Home(URL, ""), MqttTransport(MqttSettings("kitchen", "home", URL)))
    context = host._agent._context
    assert type(context.streams.ids) is random.SystemRandom
    ids = {context.new_id() for _ in range(100)}
    assert len(ids) == 100
    assert {len(one) for one in ids} == {32}, "128 bits"


@pytest.mark.parametrize("ours", [True, False])
def test_entries_are_signed_in_a_mesh_of_an_authority_that_moamesh_made_and_in_no_other(
    ours: bool, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    ca, pem, crl = (tmp_path / name for name in ("ca.pem", "kitchen.pem", "crl.pem"))
    if ours:
        authority = MeshAuthority.create(tmp_path / "ca", "home")
        identity, trusted = authority.issue_device("kitchen"), authority.bundle_pem
        crl.write_bytes(authority.crl_pem)
    else:
        identity = foreign_identity(["kitchen"], unit="device", name="kitchen")
        trusted = identity.certificate_pem
    ca.write_bytes(trusted)
    pem.write_bytes(identity.combined_pem)
    notary = make_notary(config_of(tmp_path, ca_file=ca, cert_file=pem, key_file=pem, crl_file=crl))
    assert (notary is not None) is ours
    assert ("entries of this mesh are not signed" in caplog.text) is not ours
