"""The topic table in mosquitto's words: access files for each listener, and the password file."""

from __future__ import annotations

from collections.abc import Iterable

from broker.access import (
    Action,
    Grant,
    People,
    device_grants,
    grants_of,
    login_grants,
    operator_exclusions,
    operator_grants,
)
from broker.passwords import check_hash
from edge_agent.wire.topics import ANY, ANYBODY, OPERATOR_ID, Role

NAME = "%u"
"""mosquitto's placeholder for the user name, which is the certificate's name on the devices' listener."""

_HEAD = "# Made by moamesh from its topic table; changes here are lost.\n"


def certificate_acl(mesh: str, home: str = ANY, *, home_assistant: bool = False) -> str:
    """Returns the access file for who comes with a certificate: the devices, and the operator.

    `home` is the device whose own broker it is, or `ANY` for a broker that all share. A pattern holds for every name,
    so the operator is denied what only devices may do; mosquitto looks at denials first. `home_assistant` lets devices
    announce themselves where all share a broker: Home Assistant knows one broker and no more.
    """
    lines = [f"user {OPERATOR_ID}"]
    lines += [f"topic deny {topic}" for topic in operator_exclusions(mesh, home, home_assistant=home_assistant)]
    lines += _lines("topic", operator_grants(mesh, home, home_assistant=home_assistant))
    if home != ANY:
        lines += ["", f"user {home}", *_lines("topic", grants_of(Role.DEVICE, mesh, home, home))]
        lines += ["", *_lines("pattern", grants_of(Role.PEERS, mesh, home, NAME))]
    else:
        lines += ["", *_lines("pattern", device_grants(mesh, NAME, home_assistant=home_assistant))]
    return _HEAD + "\n".join(lines) + "\n"


def password_acl(mesh: str, people: People, home: str = ANY) -> str:
    """Returns the access file for who comes with a password. Without a single pattern: each has their own rights."""
    blocks = [
        "\n".join([f"user {who.login}", *_lines("topic", login_grants(mesh, who, home))]) for who in people.logins
    ]
    return _HEAD + "\n\n".join(blocks) + "\n"


def loopback_acl(mesh: str, people: People, home: str) -> str:
    """Returns the access file for who is on this very device: users as anywhere, and `ANYBODY`, who can read one file
    there: a user's rights in that name alone."""
    here = "\n".join([f"user {ANYBODY}", *_lines("topic", grants_of(Role.USERS, mesh, home, ANYBODY))])
    return f"{password_acl(mesh, people, home)}\n{here}\n"


def password_file(people: People) -> str:
    """Returns mosquitto's password file.

    Raises:
        ValueError: a hash is none.
    """
    return "".join(f"{who.login}:{check_hash(who.password_hash)}\n" for who in people.logins)


def _lines(keyword: str, grants: Iterable[Grant]) -> list[str]:
    words = {Action.READ: "read", Action.WRITE: "write"}
    return [f"{keyword} {words[grant.action]} {grant.topic}" for grant in grants]
