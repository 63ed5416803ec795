"""Who may read and write what at a broker: the topic table, one role at a time, for no engine in particular."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from typing import final

from edge_agent.wire.topics import (
    ANY,
    HOME_ASSISTANT_USER,
    OPERATOR_ID,
    TABLE,
    Level,
    Role,
    TopicRow,
    check_id,
    claim_login,
    discovery_birth,
    discovery_config,
    discovery_filter,
    topic_filter,
    user_login,
)


class Action(StrEnum):
    """What a broker is asked for. Reading is receiving: a subscription alone shows nothing."""

    READ = "read"
    WRITE = "write"


@final
@dataclass(frozen=True, slots=True)
class Grant:
    """A right. `topic` is a filter, with `+` or an engine's placeholder where any id or the own one stands."""

    action: Action
    topic: str


@final
@dataclass(frozen=True, slots=True)
class UserLogin:
    """A user as a broker knows them. `password_hash` is as `broker.passwords` makes it, `devices` None is all."""

    name: str
    password_hash: str
    devices: tuple[str, ...] | None = None

    def __post_init__(self) -> None:
        for what, text in (("user", self.name), *(("device", device) for device in self.devices or ())):
            check_id(text, what)

    @property
    def login(self) -> str:
        """The broker user name."""
        return user_login(self.name)


@final
@dataclass(frozen=True, slots=True)
class ClaimLogin:
    """A device that may claim its certificate, until its invitation ends."""

    device: str
    password_hash: str

    def __post_init__(self) -> None:
        check_id(self.device, "device")

    @property
    def login(self) -> str:
        """The broker user name."""
        return claim_login(self.device)


@final
@dataclass(frozen=True, slots=True)
class People:
    """Everybody who comes with a password instead of a certificate."""

    users: tuple[UserLogin, ...] = ()
    claims: tuple[ClaimLogin, ...] = ()

    @property
    def logins(self) -> tuple[UserLogin | ClaimLogin, ...]:
        """All of them, in a steady order."""
        return (*self.users, *self.claims)

    @property
    def home_assistant(self) -> bool:
        """Whether Home Assistant has a login, and devices may announce themselves to it."""
        return any(user.name == HOME_ASSISTANT_USER for user in self.users)


def grants_of(role: Role, mesh: str, device: str = ANY, own: str = ANY) -> Iterator[Grant]:
    """Yields what `role` may do towards `device` (an id, `ANY` or a placeholder).

    own: the name by which the broker knows whoever has that role. A level that names who writes is filled with it for
    who writes, one that names who reads for who reads; all others are anybody's.
    """
    for row in TABLE.values():
        if role in row.writers:
            yield Grant(Action.WRITE, _own_filter(mesh, device, row, Level.SENDER, own))
        if role in row.readers:
            yield Grant(Action.READ, _own_filter(mesh, device, row, Level.READER, own))


def _own_filter(mesh: str, device: str, row: TopicRow, mine: Level, own: str) -> str:
    return topic_filter(mesh, device, row.channel, *(own if level is mine else ANY for level in row.levels))


def device_grants(mesh: str, own: str, home: str = ANY, *, home_assistant: bool = False) -> tuple[Grant, ...]:
    """Returns the rights of a device named `own` at the broker that is home to `home`, or to all devices.

    With `home_assistant` also to announce itself there, and to hear that Home Assistant has started.
    """
    announcing = (Grant(Action.WRITE, discovery_config(mesh, own)), Grant(Action.READ, discovery_birth()))
    table = (*grants_of(Role.DEVICE, mesh, own, own), *grants_of(Role.PEERS, mesh, home, own))
    return (*table, *announcing) if home_assistant else table


def operator_grants(mesh: str, home: str = ANY, *, home_assistant: bool = False) -> tuple[Grant, ...]:
    """Returns the rights of who runs the mesh. With `home_assistant` also to take back what devices announced there."""
    table = tuple(grants_of(Role.OPERATOR, mesh, home, OPERATOR_ID))
    return (*table, Grant(Action.WRITE, discovery_config(mesh, ANY))) if home_assistant and home == ANY else table


def login_grants(mesh: str, who: UserLogin | ClaimLogin, home: str = ANY) -> tuple[Grant, ...]:
    """Returns the rights of somebody with a password at the broker of `home`, or of all devices."""
    if isinstance(who, ClaimLogin):
        devices: tuple[str, ...] = (who.device,)
        role = Role.CLAIMANT
    else:
        devices = (ANY,) if who.devices is None else who.devices
        role = Role.USERS
    if home != ANY:
        devices = (home,) if devices == (ANY,) or home in devices else ()
    table = tuple(grant for device in devices for grant in grants_of(role, mesh, device, who.login))
    if isinstance(who, UserLogin) and who.name == HOME_ASSISTANT_USER and home == ANY:
        # it also writes there: that it has started, and an empty announcement where its user removes a device
        return (*table, *(Grant(action, discovery_filter()) for action in Action))
    return table


def operator_exclusions(mesh: str, home: str = ANY, *, home_assistant: bool = False) -> tuple[str, ...]:
    """Returns the filters that the operator must not reach by the rules for every certificate."""
    announcing = (discovery_config(mesh, OPERATOR_ID), discovery_birth()) if home_assistant else ()
    strange = [row.channel for row in TABLE.values() if Role.OPERATOR not in (*row.writers, *row.readers)]
    foreign = tuple(topic_filter(mesh, home, channel) for channel in strange)
    return (*foreign, *(topic_filter(mesh, OPERATOR_ID, channel) for channel in TABLE), *announcing)
