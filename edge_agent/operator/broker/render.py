"""Writes a broker's configuration into a folder, for those who run one themselves."""

from __future__ import annotations

import json
import shlex
import sys
from dataclasses import dataclass
from pathlib import Path

from broker.access import device_grants, login_grants, operator_grants
from broker.emqx import acl_conf, emqx_conf
from broker.mosquitto_acl import password_file
from broker.mosquitto_config import Limits, Program, installed_program
from broker.mosquitto_files import ServerFiles, write_folder
from broker.units import mosquitto_unit, supervised_unit
from edge_agent.operator.broker.people import MeshPeople
from edge_agent.operator.broker.setup import BrokerOptions, listeners_of, mosquitto_files, one_line_errors
from edge_agent.wire.topics import OPERATOR_ID
from provisioning.mesh import MeshFolder

UNIT = "moamesh-broker.service"
SUPERVISED_UNIT = "moamesh-broker-supervised.service"


@dataclass(frozen=True, slots=True)
class Rendered:
    """What was written, and what is to be done with it, a line each."""

    folder: Path
    files: tuple[str, ...]
    steps: tuple[str, ...]


@one_line_errors()
def render_files(
    mesh: MeshFolder, engine: str, options: BrokerOptions, server: ServerFiles, into: Path, at: Path, user: str
) -> Rendered:
    """Writes into `into` what belongs to `at` on the broker's machine, where `user` runs the broker.

    `engine` is "mosquitto", "emqx" or "table".

    Raises:
        SettingsError: a file is missing or broken, or the folder can't be written.
        ProvisioningError: the mesh's files can't be used.
    """
    steps = {"mosquitto": _mosquitto, "emqx": _emqx, "table": _table}[engine](mesh, options, server, into, at, user)
    return Rendered(into, tuple(sorted(path.name for path in into.iterdir() if path.is_file())), tuple(steps))


def _mosquitto(
    mesh: MeshFolder, options: BrokerOptions, server: ServerFiles, into: Path, at: Path, user: str
) -> list[str]:
    try:
        program = installed_program()
    except RuntimeError:  # it may be installed where the broker is to run; 2.0's words are known up to 3.0
        program = Program("/usr/sbin/mosquitto", (2, 0, 11))
    files = mosquitto_files(mesh, options, server, folder=at, program=program, stays_root=False)
    files.write(MeshPeople(mesh)(), into)
    command = [sys.executable, "-m", "edge_agent.cli.main", "broker", "run", "--mode", "mosquitto", "--mesh", mesh.name]
    units = {
        UNIT: mosquitto_unit(program.path, at, user),
        SUPERVISED_UNIT: supervised_unit(command, mesh.folder, user),
    }
    write_folder(into, {name: text.encode() for name, text in units.items()}, lambda _: True)
    there = shlex.quote(str(at))
    return [
        f"copy the folder to {at}, then: chown -R {user}: {there} && chmod 700 {there}",
        f"cp {there}/{UNIT} /etc/systemd/system/ && systemctl enable --now {UNIT.removesuffix('.service')}",
        "new users and claims: render again, copy, systemctl reload; a revocation or a removed user: systemctl restart",
        f"or run {SUPERVISED_UNIT} where the mesh's folder is: it picks all that up by itself",
        f"ports to open: {_ports(mesh, options)}; then: moamesh broker check {mesh.settings.brokers[0]}",
    ]


def _emqx(mesh: MeshFolder, options: BrokerOptions, server: ServerFiles, into: Path, at: Path, user: str) -> list[str]:
    people = MeshPeople(mesh)()
    contents = server.read() | {
        "acl.conf": acl_conf(mesh.name, people).encode(),
        "emqx.conf": emqx_conf(at, listeners_of(mesh, options), Limits()).encode(),
        "passwords": password_file(people).encode(),
    }
    write_folder(into, contents, lambda _: True)
    return [
        "untested: EMQX was not available when this was written; run moamesh broker check before you trust it",
        f"copy the folder to {at}, readable by {user} alone, and include emqx.conf in etc/emqx.conf",
        "users: import `passwords` (PBKDF2, SHA-512, salt and key in base64) into EMQX's built-in database",
        "revocation: EMQX reads lists from a URL in certificates, ours have none: deny the user name, end its session",
        f"ports to open: {_ports(mesh, options)}; then: moamesh broker check {mesh.settings.brokers[0]}",
    ]


def _table(mesh: MeshFolder, options: BrokerOptions, server: ServerFiles, into: Path, at: Path, user: str) -> list[str]:
    grants = {
        "device": device_grants(mesh.name, "{name}"),
        OPERATOR_ID: operator_grants(mesh.name),
        **{who.login: login_grants(mesh.name, who) for who in MeshPeople(mesh)().logins},
    }
    shown = {
        who: [{"action": one.action.value, "topic": one.topic} for one in rights] for who, rights in grants.items()
    }
    write_folder(into, {"access.json": json.dumps(shown, indent=1).encode() + b"\n"}, lambda _: True)
    return [
        "access.json holds every right by who has it; {name} is the name in a device's certificate",
        "everything else is to be refused; then: moamesh broker check URL",
    ]


def _ports(mesh: MeshFolder, options: BrokerOptions) -> str:
    listeners = listeners_of(mesh, options)
    ports = [listeners.devices, listeners.passwords, listeners.web]
    return ", ".join(str(port) for port in ports if port is not None)
