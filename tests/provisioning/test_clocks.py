"""A device has no clock at first boot: it lives in 1970, or in the year its image was made."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from asyncio import create_subprocess_exec
from asyncio.subprocess import PIPE
from pathlib import Path

import pytest

from edge_agent.operator.devices import claim_object
from edge_agent.tasks import within
from tests.conftest import missing
from tests.provisioning.home import Home
from tests.support.patience import PATIENCE_S

_LIBRARIES = sorted(Path("/usr/lib").glob("*/faketime/libfaketime.so.1"))


@pytest.mark.broker
@pytest.mark.parametrize("start", ["1970-01-01 00:00:20", "2024-02-29 12:00:00", "2026-11-25 00:00:00"])
async def test_a_device_claims_and_joins_whatever_its_clock_says(home: Home, start: str) -> None:
    if not _LIBRARIES:
        missing("libfaketime is not installed: apt-get install libfaketime")
    invitation = home.folder / "claim.json"
    invitation.write_text(json.dumps(claim_object(home.invite("kitchen"))))
    clock = {
        "LD_PRELOAD": str(_LIBRARIES[0]),
        "FAKETIME": f"@{start}",
        "DONT_FAKE_MONOTONIC": "1",
        "TZ": "UTC",
    }
    command = ["-m", "tests.provisioning.device_process", str(invitation), str(home.folder / "device")]
    async with home.broker(), home.serving():
        device = await create_subprocess_exec(
            sys.executable, *command, env=os.environ | clock, stdout=PIPE, stderr=PIPE
        )
        output, errors = await within(device.communicate(), PATIENCE_S)
    assert output.decode().strip() == f"a member in {start[:4]}", errors.decode()[-2000:]


@pytest.mark.parametrize("seconds", [0, 20, 1_709_208_000])
def test_openssl_accepts_every_certificate_and_the_revocation_list_from_1970_on(home: Home, seconds: int) -> None:
    authority = home.authority
    identities = {
        "sslclient": authority.issue_device("kitchen", ["10.0.0.7"]),
        "sslserver": authority.issue_broker(["localhost", "::1"]),
    }
    for purpose, identity in identities.items():
        path = home.folder / f"{purpose}.pem"
        path.write_bytes(identity.certificate_pem)
        command = ["openssl", "verify", "-x509_strict", "-crl_check", "-CRLfile", home.mesh.crl_file]
        command += ["-CAfile", home.mesh.ca_file, "-attime", str(seconds), "-purpose", purpose, path]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
