"""Who may read and write what, written by hand from the design and not from the table that access rules are made of: a
wrong table is found here as well as a wrong file."""

from __future__ import annotations

BASE = "moamesh/v2/home/devices"
DEVICES = ("kitchen", "garage")
LOGINS = {
    **{name: name for name in (*DEVICES, "operator")},
    **{"alice": "user.alice", "bob": "user.bob", "attic claiming": "claim.attic"},
}
"""How the broker knows each of them."""
NAMED = ("prompts", "proposals", "replies", "gossip", "revocations")
PLAIN = ("presence", "status", "claims", "certificates", "renewals", "jobs", "job-reports")

OWN_OUT = {"presence", "answers", "status", "renewals", "job-reports"}
OWN_IN = {"prompts", "proposals", "replies", "gossip", "certificates", "revocations", "jobs"}
PEERS_IN = {"proposals", "replies", "gossip", "revocations"}


def may_write(who: str, topic: str) -> bool:
    """The design's table, in the words of who acts."""
    if not topic.startswith(f"{BASE}/"):
        return False
    device, *levels = topic.removeprefix(f"{BASE}/").split("/")
    channel, names = (levels or [""])[0], levels[1:]
    expected = {"answers": 2} | dict.fromkeys(NAMED, 1) | dict.fromkeys(PLAIN, 0)
    if expected.get(channel) != len(names) or "" in names:
        return False
    in_own_name = names == [LOGINS[who]]
    if who in DEVICES:
        return (channel in OWN_OUT and device == who) or (channel in PEERS_IN and in_own_name and device != who)
    if who in ("alice", "bob"):
        return channel == "prompts" and in_own_name and (who == "alice" or device == "kitchen")
    if who == "attic claiming":
        return (device, channel) == ("attic", "claims")
    writes = {"certificates", "jobs", "presence", "status"}  # the last two to clear what is left there
    return device != "operator" and (channel in writes or (channel == "revocations" and in_own_name))


def may_read(who: str, topic: str) -> bool:
    """The same for who receives."""
    if not topic.startswith(f"{BASE}/"):
        return False
    device, *levels = topic.removeprefix(f"{BASE}/").split("/")
    channel, names = (levels or [""])[0], levels[1:]
    expected = {"answers": 2} | dict.fromkeys(NAMED, 1) | dict.fromkeys(PLAIN, 0)
    if expected.get(channel) != len(names):
        return False
    if who in DEVICES:
        return channel == "presence" or (device == who and channel in OWN_IN)
    if who in ("alice", "bob"):
        own = channel in {"presence", "status"} or (channel == "answers" and names[0] == LOGINS[who])
        return own and (who == "alice" or device == "kitchen")
    if who == "attic claiming":
        return (device, channel) == ("attic", "certificates")
    return device != "operator" and channel in {"presence", "status", "claims", "renewals", "job-reports"}


def is_own_inbox(who: str, topic: str) -> bool:
    """Whether a device writes to itself: rules know no "all but me", and nobody else reads there."""
    device, channel, name, *_ = [*topic.removeprefix(f"{BASE}/").split("/"), "", ""]
    return who in DEVICES and device == who == name and channel in PEERS_IN
