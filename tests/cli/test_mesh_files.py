"""`moamesh mesh ca` and `server-cert`: what they print and write."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from cryptography import x509
from typer.testing import CliRunner

from edge_agent.cli.main import app


@pytest.fixture(autouse=True)
def mesh(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MOAMESH_HOME", str(tmp_path))
    run("mesh", "create", "home", "--broker", "mqtts://hub.lan:8883")


def run(*arguments: str) -> str:
    result = CliRunner().invoke(app, arguments)
    assert result.exit_code == 0, result.stderr
    return result.stdout


def test_the_authority_is_printed_or_written_and_holds_no_key(tmp_path: Path) -> None:
    printed = run("mesh", "ca")
    assert x509.load_pem_x509_certificate(printed.encode())
    assert "PRIVATE" not in printed
    said = run("mesh", "ca", "home", "--output", str(tmp_path / "ca.crt"))
    assert (tmp_path / "ca.crt").read_text() == printed
    assert "Android" in said


def test_a_server_certificate_is_written_and_the_gateway_s_command_for_it_shown(tmp_path: Path) -> None:
    folder = tmp_path / "tls"
    made = json.loads(run("mesh", "server-cert", "--name", "app.lan", "-o", str(folder), "--json"))
    assert (made["mesh"], made["certificate"], made["key"]) == (
        "home",
        str(folder / "server.pem"),
        str(folder / "server.key"),
    )
    assert {"app.lan", "hub.lan"} <= set(made["hosts"])
    said = run("mesh", "server-cert", "--name", "app.lan", "-o", str(folder))
    assert f"moamesh gateway --tls-cert {folder}/server.pem --tls-key {folder}/server.key" in said
