"""systemd units for those who run a broker as a service: mosquitto by itself, or supervised by `moamesh broker run`."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from pathlib import Path

OPEN_FILES_MAX = 65_536  # one for each connection of every listener, and some
RESTART_S = 1.0

_HARDENING = """\
NoNewPrivileges=yes
ProtectSystem=strict
ProtectHome={home}
PrivateTmp=yes
PrivateDevices=yes
ProtectKernelTunables=yes
ProtectKernelModules=yes
ProtectKernelLogs=yes
ProtectControlGroups=yes
ProtectClock=yes
ProtectHostname=yes
RestrictAddressFamilies=AF_INET AF_INET6 AF_UNIX
RestrictNamespaces=yes
RestrictSUIDSGID=yes
RestrictRealtime=yes
LockPersonality=yes
SystemCallArchitectures=native
SystemCallFilter=@system-service
CapabilityBoundingSet=
UMask=0077
"""


def mosquitto_unit(program: str, folder: Path, user: str = "mosquitto") -> str:
    """Returns a unit for plain mosquitto with the rendered folder. `systemctl reload` reads access files again."""
    return _unit(
        "MQTT broker of a moamesh mesh",
        [program, "-c", str(folder / "mosquitto.conf")],
        user,
        folder,
        home="yes",
        reload="ExecReload=/bin/kill -HUP $MAINPID\n",
    )


def supervised_unit(command: Sequence[str], mesh_folder: Path, user: str) -> str:
    """Returns a unit for `moamesh broker run`, which follows users, claims and revocations by itself."""
    return _unit("MQTT broker of a moamesh mesh, supervised", command, user, mesh_folder, home="read-only")


def _unit(what: str, command: Sequence[str], user: str, folder: Path, *, home: str, reload: str = "") -> str:
    return (
        f"# Made by moamesh.\n[Unit]\nDescription={what}\nWants=network-online.target\nAfter=network-online.target\n\n"
        f"[Service]\nExecStart={shlex.join(command)}\n{reload}User={user}\nRestart=always\nRestartSec={RESTART_S:g}\n"
        f"LimitNOFILE={OPEN_FILES_MAX}\nReadWritePaths={folder}\n{_HARDENING.format(home=home)}\n"
        "[Install]\nWantedBy=multi-user.target\n"
    )
