"""Every MQTT topic of the mesh: the only place where a topic string is made or read.

    moamesh/v1/<mesh>/devices/<device>/<channel>[/<client>]

Ids are `[a-z0-9-]{1,64}`, so that no id can hold a level separator or a wildcard. `TABLE` says for each channel who
writes and reads it, how, and what it carries; access rules for brokers are made from the same table.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import StrEnum
from typing import final, get_args

from edge_agent.core import messages as m

ROOT = "moamesh/v1"
ID_LENGTH_MAX = 64  # keeps the longest topic (mesh, device, client) under 256 bytes
ANY = "+"
"""In place of an id in a filter: any one id."""

_ID = re.compile(r"[a-z0-9-]{1,64}")


class Role(StrEnum):
    """Who somebody is to a device, as far as a broker can tell."""

    DEVICE = "the device itself"
    PEERS = "other devices"
    USERS = "the device's users"
    OPERATOR = "the operator"
    CLAIMANT = "the device, before it has a certificate"


OPERATOR_ID = "operator"
"""The certificate name of who runs the mesh; no device or user may have it."""


USER_LOGIN = "user."
CLAIM_LOGIN = "claim."
"""What a broker user name with a password begins with. No id holds a dot, so nobody with a password can ever be taken
for a device. (Not a colon: password files end the name at it, and mosquitto refuses such names.)"""


HOME_ASSISTANT_PREFIX = "homeassistant"
"""Home Assistant's own discovery prefix; access rules are made for it alone."""
HOME_ASSISTANT_USER = "home-assistant"
"""The user that Home Assistant logs in as. Where a mesh has it, devices may announce themselves; elsewhere not."""


class Channel(StrEnum):
    """The last fixed level of a topic."""

    PRESENCE = "presence"
    PROMPTS = "prompts"
    ANSWERS = "answers"
    PROPOSALS = "proposals"
    REPLIES = "replies"
    GOSSIP = "gossip"
    STATUS = "status"
    CLAIMS = "claims"
    CERTIFICATES = "certificates"
    RENEWALS = "renewals"
    REVOCATIONS = "revocations"
    JOBS = "jobs"
    JOB_REPORTS = "job-reports"


@final
@dataclass(frozen=True, slots=True)
class TopicRow:
    """What holds for every topic of one channel."""

    channel: Channel
    writers: tuple[Role, ...]
    readers: tuple[Role, ...]
    qos: int
    retain: bool
    types: tuple[type, ...] = ()
    """The messages it carries, nothing else; none: what it carries is provisioning's own (`provisioning.messages`)."""
    per_client: bool = False
    """Whether one more level names the client, who alone of the users reads it."""


_DEVICE, _PEERS, _USERS, _OPERATOR, _CLAIMANT = Role
# The operator writes presence and status to clear what a revoked device left retained, and nothing else there.
_ROWS = (
    TopicRow(Channel.PRESENCE, (_DEVICE, _OPERATOR), (_PEERS, _USERS, _OPERATOR), 1, True, (m.Presence,)),
    TopicRow(Channel.PROMPTS, (_USERS,), (_DEVICE,), 1, False, get_args(m.UserMessage)),
    TopicRow(Channel.ANSWERS, (_DEVICE,), (_USERS,), 1, False, get_args(m.DeviceToUser), per_client=True),
    TopicRow(Channel.PROPOSALS, (_PEERS,), (_DEVICE,), 1, False, (m.ProposalRequest, m.RequestCancel)),
    TopicRow(Channel.REPLIES, (_PEERS,), (_DEVICE,), 1, False, (m.RequestReceipt, m.ProposalResponse)),
    TopicRow(Channel.GOSSIP, (_PEERS,), (_DEVICE,), 0, False, (m.ViewExchange,)),
    TopicRow(Channel.STATUS, (_DEVICE, _OPERATOR), (_USERS, _OPERATOR), 0, True, (m.DeviceStatus,)),
    TopicRow(Channel.CLAIMS, (_CLAIMANT,), (_OPERATOR,), 1, False),
    TopicRow(Channel.CERTIFICATES, (_OPERATOR,), (_DEVICE, _CLAIMANT), 1, False),
    TopicRow(Channel.RENEWALS, (_DEVICE,), (_OPERATOR,), 1, False),
    TopicRow(Channel.REVOCATIONS, (_OPERATOR, _PEERS), (_DEVICE,), 1, False),
    TopicRow(Channel.JOBS, (_OPERATOR,), (_DEVICE,), 1, False),
    TopicRow(Channel.JOB_REPORTS, (_DEVICE,), (_OPERATOR,), 1, False),
)
TABLE: dict[Channel, TopicRow] = {row.channel: row for row in _ROWS}
_ROW_OF_TYPE: dict[type, TopicRow] = {kind: row for row in _ROWS for kind in row.types}


@final
@dataclass(frozen=True, slots=True)
class Address:
    """A topic taken apart. `client` is "" except under `answers`."""

    mesh: str
    device: str
    channel: Channel
    client: str = ""


def is_id(text: str) -> bool:
    """Whether `text` may name a mesh, a device or a client."""
    return _ID.fullmatch(text) is not None


def check_id(text: str, what: str = "id") -> str:
    """Returns `text` if it is an id.

    Raises:
        ValueError: it is not; the message is one line that says what is allowed.
    """
    if not is_id(text):
        raise ValueError(f"{what} must be 1 to {ID_LENGTH_MAX} of a-z, 0-9 and -, not {text[:ID_LENGTH_MAX]!r}")
    return text


def user_login(name: str) -> str:
    """Returns the broker user name of a user.

    Raises:
        ValueError: `name` is no id.
    """
    return USER_LOGIN + check_id(name, "user")


def claim_login(device: str) -> str:
    """Returns the broker user name under which a device without a certificate may claim one, and nothing else.

    Raises:
        ValueError: `device` is no id.
    """
    return CLAIM_LOGIN + check_id(device, "device")


def row_for(message: object) -> TopicRow:
    """Returns the row of the channel that carries this message; each message type belongs to exactly one.

    Raises:
        KeyError: no channel carries this type.
    """
    return _ROW_OF_TYPE[type(message)]


def build(mesh: str, device: str, channel: Channel, client: str = "") -> str:
    """Returns the topic to publish to.

    Raises:
        ValueError: an id is malformed, or a client is given where none belongs, or missing where one does.
    """
    if TABLE[channel].per_client != bool(client):
        raise ValueError(f"{channel} topics {'need a' if TABLE[channel].per_client else 'have no'} client")
    for what, text in (("mesh", mesh), ("device", device), ("client", client or "none")):
        check_id(text, what)
    return topic_filter(mesh, device, channel, client)


def topic_filter(mesh: str, device: str, channel: Channel, client: str = ANY) -> str:
    """Returns a filter or access pattern. `device` and `client` may be `ANY` or a broker's own placeholder (`%u`)."""
    tail = f"/{client}" if TABLE[channel].per_client else ""
    return f"{ROOT}/{mesh}/devices/{device}/{channel}{tail}"


def parse(topic: str) -> Address | None:
    """Takes a topic apart; `None` if it is none of ours."""
    if not topic.startswith(f"{ROOT}/"):
        return None
    levels = topic[len(ROOT) + 1 :].split("/")
    if len(levels) not in (4, 5) or levels[1] != "devices" or levels[3] not in TABLE:
        return None
    channel = Channel(levels[3])
    ids = [levels[0], levels[2], *levels[4:]]
    if TABLE[channel].per_client != (len(ids) == 3) or not all(map(is_id, ids)):
        return None
    return Address(levels[0], levels[2], channel, *levels[4:])


def is_own_answer(topic: str, mesh: str, device: str) -> bool:
    """Whether `topic` is a user's inbox under this very device: the only place where users may have it publish."""
    address = parse(topic)
    return address is not None and (address.mesh, address.device, address.channel) == (mesh, device, Channel.ANSWERS)


def device_subscriptions(mesh: str, device: str) -> tuple[tuple[str, int], ...]:
    """Returns what a device reads at its home broker, as (filter, QoS): its own inboxes, and everyone's presence."""
    inboxes = (Channel.PROMPTS, Channel.PROPOSALS, Channel.REPLIES, Channel.GOSSIP)
    own = tuple((topic_filter(mesh, device, channel), TABLE[channel].qos) for channel in inboxes)
    return (*own, (topic_filter(mesh, ANY, Channel.PRESENCE), TABLE[Channel.PRESENCE].qos))


def user_subscriptions(mesh: str, client: str, device: str = ANY) -> tuple[tuple[str, int], ...]:
    """Returns what a user reads, as (filter, QoS): answers to this client, and presence and status of the devices."""
    channels = (Channel.ANSWERS, Channel.PRESENCE, Channel.STATUS)
    return tuple((topic_filter(mesh, device, channel, client), TABLE[channel].qos) for channel in channels)


def discovery_config(mesh: str, device: str, prefix: str = HOME_ASSISTANT_PREFIX) -> str:
    """Returns the topic on which a device announces itself to Home Assistant; `device` may be a broker's placeholder.

    The mesh stands in a level of its own: a placeholder must fill a whole level, and meshes may share a broker.
    """
    return f"{prefix}/device/moamesh-{mesh}/{device}/config"


def discovery_birth(prefix: str = HOME_ASSISTANT_PREFIX) -> str:
    """Returns the topic on which Home Assistant says that it has started."""
    return f"{prefix}/status"


def discovery_filter(prefix: str = HOME_ASSISTANT_PREFIX) -> str:
    """Returns the filter of everything that is Home Assistant's own."""
    return f"{prefix}/#"
