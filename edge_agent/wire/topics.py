"""Every MQTT topic of the mesh: the only place where a topic string is made or read.

    moamesh/v2/<mesh>/devices/<device>/<channel>[/<principal>[/<client>]]

Ids are `[a-z0-9-]{1,64}`, so that no id can hold a level separator or a wildcard. A principal is whom the broker has
let in: a device by its certificate (`kitchen`), a user by a password (`user.alice`), `operator`, `claim.kitchen`. Where
more than one may write to a channel its topics end in the name of who does, and brokers let nobody write another's: the
topic, not the body, says who speaks. `TABLE` says for each channel who writes and reads it, how, and what it carries;
access rules for brokers are made from the same table.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import StrEnum
from typing import final, get_args

from edge_agent.core import messages as m
from edge_agent.core import shares

VERSION = 2
"""Of the protocol: topics begin with it, and every body says it as `v`."""
ROOT = "moamesh/v2"
ID_LENGTH_MAX = 64  # keeps the longest topic (mesh, device, principal, client) under 320 bytes
TOPIC_BYTES_MAX = 320
ANY = "+"
"""In place of an id in a filter: any one id."""

CLIENT_DEFAULT = "0"
"""Where a principal is answered who names no client."""
ANYBODY = shares.ANYBODY
"""Who somebody says to be whom the broker lets in without a name. It proves nothing, as no name does there."""

_ID = re.compile(r"[a-z0-9-]{1,64}")


def type_name(kind: type) -> str:
    """Returns the `type` that a body of this class of messages has: `view-exchange` for `ViewExchange`."""
    return re.sub(r"(?<!^)(?=[A-Z])", "-", kind.__name__).lower()


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
_PRINCIPAL = re.compile(rf"(?:{re.escape(USER_LOGIN)}|{re.escape(CLAIM_LOGIN)})?{_ID.pattern}")


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


class Level(StrEnum):
    """What a level behind the channel names."""

    SENDER = "who writes"
    READER = "who reads"
    CLIENT = "which of the reader's clients"


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
    levels: tuple[Level, ...] = ()
    """What stands behind the channel; the principal first."""


_DEVICE, _PEERS, _USERS, _OPERATOR, _CLAIMANT = Role
_SENDER, _ANSWERED = (Level.SENDER,), (Level.READER, Level.CLIENT)
_GOSSIP = (m.ViewExchange, m.SignersWanted, m.SignersTold)
# The operator writes presence and status to clear what a revoked device left retained, and nothing else there. So these
# two are the device's own and name no sender.
_ROWS = (
    TopicRow(Channel.PRESENCE, (_DEVICE, _OPERATOR), (_PEERS, _USERS, _OPERATOR), 1, True, (m.Presence,)),
    TopicRow(Channel.PROMPTS, (_USERS,), (_DEVICE,), 1, False, get_args(m.UserMessage), _SENDER),
    TopicRow(Channel.ANSWERS, (_DEVICE,), (_USERS,), 1, False, get_args(m.DeviceToUser), _ANSWERED),
    TopicRow(Channel.PROPOSALS, (_PEERS,), (_DEVICE,), 1, False, (m.ProposalRequest, m.RequestCancel), _SENDER),
    TopicRow(Channel.REPLIES, (_PEERS,), (_DEVICE,), 1, False, (m.RequestReceipt, m.ProposalResponse), _SENDER),
    TopicRow(Channel.GOSSIP, (_PEERS,), (_DEVICE,), 0, False, _GOSSIP, _SENDER),
    TopicRow(Channel.STATUS, (_DEVICE, _OPERATOR), (_USERS, _OPERATOR), 0, True, (m.DeviceStatus,)),
    TopicRow(Channel.CLAIMS, (_CLAIMANT,), (_OPERATOR,), 1, False),
    TopicRow(Channel.CERTIFICATES, (_OPERATOR,), (_DEVICE, _CLAIMANT), 1, False),
    TopicRow(Channel.RENEWALS, (_DEVICE,), (_OPERATOR,), 1, False),
    TopicRow(Channel.REVOCATIONS, (_OPERATOR, _PEERS), (_DEVICE,), 1, False, levels=_SENDER),
    TopicRow(Channel.JOBS, (_OPERATOR,), (_DEVICE,), 1, False),
    TopicRow(Channel.JOB_REPORTS, (_DEVICE,), (_OPERATOR,), 1, False),
)
TABLE: dict[Channel, TopicRow] = {row.channel: row for row in _ROWS}
INBOXES = (Channel.PROMPTS, Channel.PROPOSALS, Channel.REPLIES, Channel.GOSSIP)
"""Where others write to a device, for its core to read."""
_ROW_OF_TYPE: dict[type, TopicRow] = {kind: row for row in _ROWS for kind in row.types}


@final
@dataclass(frozen=True, slots=True)
class Address:
    """A topic taken apart. `principal` is who writes, or under `answers` who reads; "" where the channel names none."""

    mesh: str
    device: str
    channel: Channel
    principal: str = ""
    client: str = ""


def is_id(text: str) -> bool:
    """Whether `text` may name a mesh, a device or a client."""
    return _ID.fullmatch(text) is not None


def is_principal(text: str) -> bool:
    """Whether `text` may be the name of somebody whom a broker lets in: an id, or a login with a password."""
    return _PRINCIPAL.fullmatch(text) is not None


def check_id(text: str, what: str = "id") -> str:
    """Returns `text` if it is an id.

    Raises:
        ValueError: it is not; the message is one line that says what is allowed.
    """
    if not is_id(text):
        raise ValueError(f"{what} must be 1 to {ID_LENGTH_MAX} of a-z, 0-9 and -, not {text[:ID_LENGTH_MAX]!r}")
    return text


def check_principal(text: str, what: str = "principal") -> str:
    """Returns `text` if it may be the name of somebody whom a broker lets in.

    Raises:
        ValueError: it may not; the message is one line that says what is allowed.
    """
    if not is_principal(text):
        raise ValueError(
            f"{what} must be an id (1 to {ID_LENGTH_MAX} of a-z, 0-9 and -), {USER_LOGIN}<id> or {CLAIM_LOGIN}<id>, "
            f"not {text[:80]!r}"
        )
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


def build(mesh: str, device: str, channel: Channel, *levels: str) -> str:
    """Returns the topic to publish to; `levels` are what the table wants behind the channel.

    Raises:
        ValueError: an id or principal is malformed, or there are more or fewer levels than the channel has.
    """
    named = TABLE[channel].levels
    if len(levels) != len(named):
        raise ValueError(f"{channel} topics end in {len(named)} names, not {len(levels)}")
    for what, text in (("mesh", mesh), ("device", device)):
        check_id(text, what)
    for level, text in zip(named, levels, strict=True):
        if level is Level.CLIENT:
            check_id(text, "client")
        else:
            check_principal(text, level)
    return topic_filter(mesh, device, channel, *levels)


def written_by(sender: str, mesh: str, device: str, channel: Channel) -> str:
    """Returns the topic on which `sender` writes to a device: in its own name where topics name who does.

    Raises:
        ValueError: an id or principal is malformed, or the channel names a reader.
    """
    return build(mesh, device, channel, *((sender,) if Level.SENDER in TABLE[channel].levels else ()))


def topic_filter(mesh: str, device: str, channel: Channel, principal: str = ANY, client: str = ANY) -> str:
    """Returns a filter or access pattern. Each name may be `ANY` or a broker's own placeholder (`%u`); those that the
    channel has no level for are left out."""
    tail = (principal, client)[: len(TABLE[channel].levels)]
    return "/".join((ROOT, mesh, "devices", device, channel, *tail))


def parse(topic: str) -> Address | None:
    """Takes a topic apart; `None` if it is none of ours."""
    if not topic.startswith(f"{ROOT}/"):
        return None
    mesh, *rest = topic[len(ROOT) + 1 :].split("/")
    if len(rest) < 3 or rest[0] != "devices" or rest[2] not in TABLE:
        return None
    device, channel, levels = rest[1], Channel(rest[2]), rest[3:]
    named = TABLE[channel].levels
    if len(levels) != len(named) or not (is_id(mesh) and is_id(device)):
        return None
    if not all(
        (is_id if level is Level.CLIENT else is_principal)(text) for level, text in zip(named, levels, strict=True)
    ):
        return None
    return Address(mesh, device, channel, *levels)


def client_at(topic: str, mesh: str, device: str, principal: str) -> str | None:
    """Returns the client that a response topic names, `None` if it is not under this principal's answers of this very
    device: the only place where a user may have it publish."""
    address = parse(topic)
    if address is None or address != Address(mesh, device, Channel.ANSWERS, principal, address.client):
        return None
    return address.client


def device_inboxes(mesh: str, device: str) -> tuple[tuple[str, int], ...]:
    """Returns what a device must be able to read at its home broker, as (filter, QoS): what is written to it."""
    return tuple((topic_filter(mesh, device, channel), TABLE[channel].qos) for channel in INBOXES)


def others_presence(mesh: str) -> tuple[str, int]:
    """Returns what a device also reads there, as (filter, QoS); without it gossip tells who else is there, later."""
    return topic_filter(mesh, ANY, Channel.PRESENCE), TABLE[Channel.PRESENCE].qos


def user_subscriptions(mesh: str, principal: str, client: str, device: str = ANY) -> tuple[tuple[str, int], ...]:
    """Returns what a user reads, as (filter, QoS): answers to this client, and presence and status of the devices."""
    channels = (Channel.ANSWERS, Channel.PRESENCE, Channel.STATUS)
    return tuple((topic_filter(mesh, device, channel, principal, client), TABLE[channel].qos) for channel in channels)


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
