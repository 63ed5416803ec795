"""A device claims its first certificate by command, over the product's own broker."""

from __future__ import annotations

import asyncio
import json
import sys
from asyncio.subprocess import PIPE
from pathlib import Path

import pytest

from broker.passwords import hash_password
from edge_agent.config import load_config
from edge_agent.core.errors import SettingsError
from edge_agent.management.claim import claim_identity
from tests.provisioning.home import Home
from tests.support.patience import PATIENCE_S

CLAIM = [sys.executable, "-m", "edge_agent.cli.main", "device", "claim"]


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return Home(tmp_path)


def settings_file(home: Home, device: str = "kitchen") -> Path:
    identity, config = home.folder / "identity", home.folder / "agent.toml"
    config.write_text(
        f'[device]\nid = "{device}"\nmesh = "{home.mesh.name}"\ndata_dir = "{home.folder}/device"\n'
        f'[broker]\nurls = ["{home.url(home.device_port)}"]\nca_file = "{identity}/ca.pem"\n'
        f'cert_file = "{identity}/identity.pem"\nkey_file = "{identity}/identity.pem"\n'
    )
    return config


def invitation_file(home: Home, **changes: str) -> Path:
    invitation = home.mesh.invite("kitchen", hash_password=hash_password)
    shown = {
        "mesh": invitation.mesh,
        "device_id": invitation.device_id,
        "secret": invitation.secret,
        "claim_broker": invitation.claim_broker,
        "bundle": invitation.bundle_pem.decode(),
    }
    path = home.folder / "claim.json"
    path.write_text(json.dumps(shown | changes))
    return path


async def run_claim(home: Home, invitation: Path, give_up_s: float = PATIENCE_S) -> tuple[int, str, str]:
    command = [*CLAIM, str(invitation), "--config", str(settings_file(home)), "--timeout", f"{give_up_s:g}", "--json"]
    process = await asyncio.create_subprocess_exec(*command, stdout=PIPE, stderr=PIPE)
    out, err = await process.communicate()
    return process.returncode or 0, out.decode(), err.decode()


@pytest.mark.broker
async def test_a_device_claims_once_and_the_invitation_is_gone(home: Home) -> None:
    invitation = invitation_file(home)
    used = invitation.read_text()
    broker = home.broker()
    await broker.start()
    try:
        async with home.serving():
            status, out, err = await run_claim(home, invitation)
            assert (status, json.loads(out)["claimed"]) == (0, True), err
            assert not invitation.exists()
            identity = home.folder / "identity" / "identity.pem"
            assert identity.stat().st_mode & 0o777 == 0o600
            status, out, err = await run_claim(home, invitation)
            assert (status, json.loads(out)["claimed"]) == (0, False), err
            identity.unlink()  # a card that was copied: the secret is burnt
            invitation.write_text(used)
            status, _, err = await run_claim(home, invitation, 3.0)
            assert status == 2
            assert err.strip().splitlines()[-1].startswith("moamesh: ")
            assert json.loads(used)["secret"] not in err
    finally:
        await broker.stop()


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"device_id": "pantry"}, "is for device_id pantry, the settings are for kitchen"),
        ({"mesh": "office"}, "is for mesh office, the settings are for home"),
    ],
)
def test_an_invitation_for_somebody_else_is_refused(home: Home, changes: dict[str, str], said: str) -> None:
    invitation = invitation_file(home, **changes)
    with pytest.raises(SettingsError, match=said):
        claim_identity(load_config(settings_file(home)), invitation)
    assert invitation.exists()


@pytest.mark.parametrize("content", ["", "{}", "[1]", '{"mesh": 1}', "\x00"])
def test_what_is_no_invitation_is_named(home: Home, content: str) -> None:
    path = home.folder / "claim.json"
    path.write_text(content)
    with pytest.raises(SettingsError, match="is not an invitation: make one with"):
        claim_identity(load_config(settings_file(home)), path)


def test_settings_without_an_identity_folder_are_named(home: Home) -> None:
    config = home.folder / "agent.toml"
    config.write_text('[device]\nid = "kitchen"\n')
    with pytest.raises(SettingsError, match="needs cert_file and key_file"):
        claim_identity(load_config(config), invitation_file(home))
