"""Who comes to a mesh's broker with a password: the inventory's users and open claims, and guests of a check.

Guests are identities that `moamesh broker check` makes up for some minutes. They stand in a file of their own beside
the broker, so that a check that is killed leaves nothing behind in the inventory.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

from broker.access import ClaimLogin, People, UserLogin
from edge_agent.files import read_file, stamp
from provisioning.files import PRIVATE, make_folder, write_atomically
from provisioning.mesh import MeshFolder
from provisioning.records import DeviceState

GUESTS_FILE = "guests.json"
GUEST_LIFETIME_S = 300.0  # a check takes some ten seconds
GUEST_BYTES_MAX = 64 * 1024  # a handful of names and hashes
READ_AGAIN_S = 2.0  # without any change: claims expire


def broker_folder(mesh: MeshFolder) -> Path:
    """Where the mesh's broker keeps its files."""
    return mesh.folder / "broker"


class MeshPeople:
    """Call it for everybody who has a password now. It reads again only what has changed."""

    def __init__(self, mesh: MeshFolder, *, clock: Callable[[], float] = time.time) -> None:
        self._mesh = mesh
        self._clock = clock
        self._seen: tuple[object, ...] = ()
        self._people = People()
        self._revoked: tuple[str, ...] = ()

    def __call__(self) -> People:
        """Returns them.

        Raises:
            ProvisioningError: the inventory can't be read.
        """
        self._refresh()
        return self._people

    def revoked(self) -> tuple[str, ...]:
        """Returns the names of devices that are shut out, for brokers that read no revocation list.

        Raises:
            ProvisioningError: the inventory can't be read.
        """
        self._refresh()
        return self._revoked

    def _refresh(self) -> None:
        seen = (*map(stamp, self._files()), int(self._clock() / READ_AGAIN_S))
        if seen != self._seen:
            self._people = read_people(self._mesh, self._clock())
            with self._mesh.inventory() as inventory:
                gone = [row.device_id for row in inventory.devices() if row.state is DeviceState.REVOKED]
            self._revoked, self._seen = tuple(gone), seen

    def _files(self) -> list[Path]:
        inventory = self._mesh.folder / "inventory.sqlite3"
        return [inventory, inventory.with_name(f"{inventory.name}-wal"), broker_folder(self._mesh) / GUESTS_FILE]


def read_people(mesh: MeshFolder, now: float) -> People:
    """Returns users, open claims and guests."""
    with mesh.inventory() as inventory:
        users = tuple(UserLogin(user.name, user.password_hash, user.devices) for user in inventory.users())
        claims = tuple(ClaimLogin(claim.device_id, claim.password_hash) for claim in inventory.open_claims())
    guests = _read_guests(broker_folder(mesh) / GUESTS_FILE, now)
    return People((*users, *guests.users), (*claims, *guests.claims))


def admit_guests(mesh: MeshFolder, guests: People, now: float) -> None:
    """Lets guests in for `GUEST_LIFETIME_S`, in place of earlier ones; no guests end it at once.

    Raises:
        ProvisioningError: the mesh's folder can't be written.
    """
    folder = broker_folder(mesh)
    path = folder / GUESTS_FILE
    if not guests.logins:
        path.unlink(missing_ok=True)
        return
    make_folder(folder)
    content = {"expires_at": now + GUEST_LIFETIME_S} | asdict(guests)
    write_atomically(path, json.dumps(content).encode(), PRIVATE)


def _read_guests(path: Path, now: float) -> People:
    try:
        content: dict[str, Any] = json.loads(read_file(path, GUEST_BYTES_MAX))
        if not now < content["expires_at"] <= now + GUEST_LIFETIME_S:
            return People()
        users = [
            UserLogin(u["name"], u["password_hash"], u["devices"] and tuple(u["devices"])) for u in content["users"]
        ]
        return People(tuple(users), tuple(ClaimLogin(**claim) for claim in content["claims"]))
    except (OSError, ValueError, KeyError, TypeError):
        return People()  # ours alone, so whatever else stands there lets nobody in
