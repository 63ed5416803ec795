"""Pairing a user's phone with a mesh: what is wished for, and what came of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from edge_agent.cli.pair.link import PairingLink
from edge_agent.cli.results import JsonObject
from edge_agent.core.errors import SettingsError
from edge_agent.wire.topics import OPERATOR_ID, is_id

CHECK_S = 3.0  # how long the broker of a real mesh is asked whether it lets the user in


@dataclass(frozen=True, slots=True)
class PairWish:
    """What a command line says. `devices` are the only ones the user may ask; none named: as before, else all.

    Raises:
        SettingsError: the name may not be a user's, or a device's name is none.
    """

    user: str
    devices: tuple[str, ...] = ()
    app_url: str | None = None
    web_brokers: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        for what, text in (("user", self.user), *(("device", device) for device in self.devices)):
            if not is_id(text):
                raise SettingsError(f"{what} must be 1 to 64 of a-z, 0-9 and -, not {text[:64]!r}")
        if self.user == OPERATOR_ID:
            raise SettingsError(f"a user may not be called {self.user!r}: that name means somebody else")


@dataclass(frozen=True, slots=True)
class Paired:
    """A user's new secret and the link with it.

    replaced: an earlier secret of theirs holds no more. as_before: they keep their devices, since none was named.
    problem: why the link may not work yet; "" if it was tried.
    """

    link: PairingLink
    replaced: bool
    as_before: bool = False
    problem: str = ""
    lasting: bool = True
    """Whether it outlives the mesh's processes; a local mesh forgets its users when it ends."""


def chosen_devices(wish: PairWish, before: Sequence[str] | None, known: bool) -> tuple[str, ...] | None:
    """Returns the devices a user gets: those named, else those they had (`known`), else all (`None`)."""
    if wish.devices:
        return tuple(dict.fromkeys(wish.devices))
    return tuple(before) if known and before is not None else None


def as_before(wish: PairWish, devices: Sequence[str] | None) -> bool:
    """Whether somebody keeps limits that the command line does not name."""
    return devices is not None and not wish.devices


def paired_object(paired: Paired) -> JsonObject:
    """Everything about a pairing, **the secret included**, for JSON."""
    link = paired.link
    return {
        "user": link.user,
        "login": link.login,
        "mesh": link.mesh,
        "secret": link.secret,
        "devices": None if link.devices is None else list(link.devices),
        "replaced": paired.replaced,
        "link": link.text(),
        "app_url": link.addresses.app,
        "web_brokers": list(link.addresses.brokers),
        "this_computer_only": link.addresses.here_only,
        "tls": link.addresses.secure,
        "needs_ca": link.addresses.needs_ca,
        "reach": link.addresses.reach(),
        "security": link.addresses.security(),
        "lasting": paired.lasting,
        "problem": paired.problem,
    }
