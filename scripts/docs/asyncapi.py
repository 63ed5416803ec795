"""Writes docs/asyncapi.yaml, an AsyncAPI 3.0 document of everything that goes over MQTT, out of the code.

It is told from a device's side: what it sends and what it receives. Who else may do what stands in each channel's
description, from the same table that brokers' access rules are made of.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, TypeAlias

import yaml

from edge_agent.wire import codec, topics
from edge_agent.wire.checks import MESSAGE_ID_LENGTH_MAX
from edge_agent.wire.topics import TABLE, Channel, Role, TopicRow, type_name
from provisioning import messages as certificates
from provisioning import signed
from scripts.docs import asyncapi_home_assistant as home_assistant
from scripts.docs.examples import all_examples
from scripts.docs.schemas import all_schemas
from scripts.docs.servers import security_schemes, servers

PAGE = Path(__file__).resolve().parents[2] / "docs" / "asyncapi.yaml"
MQTT_BINDING = "0.2.0"  # the first that can say a message's response topic
_HEAD = "# Made by `python -m scripts.docs asyncapi` from the code: change the code, not this file.\n"
_SEND, _RECEIVE = "send", "receive"
_ID = f"[a-z0-9-]{{1,{topics.ID_LENGTH_MAX}}}"
_PRINCIPAL = f"(user\\.|claim\\.)?{_ID}"

Fields: TypeAlias = dict[str, Any]

_PARAMETERS = {
    "mesh": "The name of the mesh.",
    "device": "Whose topic it is: the device written to, or the one that writes.",
    "sender": "Who writes, by the name that the broker has for them: a device's id, `user.` and a user's, `operator`.",
    "reader": "Who reads: the name in which the prompt was sent. Nobody else does.",
    "client": "Which of that user's clients: the last level of the response topic, or the body's `client`; `0` else.",
}
_WHAT: dict[Channel, str] = {
    Channel.PRESENCE: "Birth, farewell and last will.",
    Channel.PROMPTS: "Users ask here.",
    Channel.ANSWERS: "What a device tells the user who asked.",
    Channel.PROPOSALS: "Devices ask each other to infer.",
    Channel.REPLIES: "What became of such a request.",
    Channel.GOSSIP: "Devices exchange samples of their peer views.",
    Channel.STATUS: "Live queue and load figures, for apps and dashboards.",
    Channel.CLAIMS: "A device asks for its first certificate.",
    Channel.CERTIFICATES: "The operator's service answers claims and renewals.",
    Channel.RENEWALS: "A member asks for its next certificate.",
    Channel.REVOCATIONS: "Who is shut out; devices pass it on.",
    Channel.JOBS: "What the operator asks of a device.",
    Channel.JOB_REPORTS: "How far such a job is.",
}
_REPLIES = {Channel.PROMPTS: Channel.ANSWERS, Channel.PROPOSALS: Channel.REPLIES}


def make_document() -> Fields:
    """Returns the whole document."""
    return {
        "asyncapi": "3.0.0",
        "info": _info(),
        "defaultContentType": "application/json",
        "servers": servers(),
        "channels": {channel.value: _channel(row) for channel, row in TABLE.items()} | home_assistant.channels(),
        "operations": dict(_operations()) | home_assistant.operations(MQTT_BINDING),
        "components": {
            "securitySchemes": security_schemes(),
            "parameters": {name: {"description": text} for name, text in _PARAMETERS.items()},
            "messages": {name: _message(name) for name in _message_names()} | home_assistant.messages(MQTT_BINDING),
            "schemas": all_schemas() | home_assistant.schemas(),
        },
    }


def render() -> str:
    """Returns the document as YAML."""
    return _HEAD + yaml.dump(make_document(), Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=120)


def types_of(channel: Channel) -> tuple[str, ...]:
    """Returns the `type` of every message that a channel carries."""
    row = TABLE[channel]
    if row.types:
        return tuple(codec.TYPE_NAMES[kind] for kind in row.types)
    if channel is Channel.JOBS:
        return (signed.TYPE,)
    if channel is Channel.JOB_REPORTS:
        return ("job-report",)
    return tuple(type_name(kind) for kind in certificates.CHANNEL_TYPES[channel])


def _info() -> Fields:
    return {
        "title": "moamesh",
        "version": f"{codec.SCHEMA_VERSION}.0.0",
        "description": (
            "Small devices answer prompts together: a distributed Mixture-of-Agents over MQTT 5, which MQTT 3.1.1 "
            "clients can use too. Bodies are JSON in UTF-8, read strictly: an unknown field, a number as text or "
            f"another `v` is refused. A body has at most {codec.BODY_BYTES_MAX // 1024} KiB. The topic says who "
            "speaks: a broker that knows its users lets nobody write in another's name. Durations are seconds; times "
            "are never sent, since device clocks differ."
        ),
        "license": {"name": "Apache-2.0", "url": "https://www.apache.org/licenses/LICENSE-2.0"},
        "tags": [{"name": "user"}, {"name": "peer"}, {"name": "operator"}],
    }


def _channel(row: TopicRow) -> Fields:
    levels = [level.name.lower() for level in row.levels]
    names = ["mesh", "device", *levels]
    address = topics.topic_filter("{mesh}", "{device}", row.channel, *(f"{{{name}}}" for name in levels))
    written, read = ", ".join(row.writers), ", ".join(row.readers)
    return {
        "address": address,
        "title": row.channel.value,
        "description": f"{_WHAT[row.channel]} Written by {written}; read by {read}.",
        "parameters": {name: {"$ref": f"#/components/parameters/{name}"} for name in names},
        "messages": {name: {"$ref": f"#/components/messages/{name}"} for name in types_of(row.channel)},
        "bindings": {"mqtt": {}},
    }


def _operations() -> list[tuple[str, Fields]]:
    made: list[tuple[str, Fields]] = []
    for row in TABLE.values():
        own = {Role.DEVICE, Role.PEERS, Role.CLAIMANT}
        if own & set(row.writers):
            made.append(_operation(_SEND, row))
        # a peer's inbox is written to by one device and read by another; what is a device's own is read by others
        if {Role.DEVICE, Role.CLAIMANT} & set(row.readers) or (
            Role.PEERS in row.readers and Role.DEVICE in row.writers
        ):
            made.append(_operation(_RECEIVE, row))
    return made


def _operation(action: str, row: TopicRow) -> tuple[str, Fields]:
    name = action + "".join(part.title() for part in row.channel.value.split("-"))
    fields: Fields = {
        "action": action,
        "channel": {"$ref": f"#/channels/{row.channel.value}"},
        "title": f"{action} {row.channel.value}",
        "description": f"A device {'publishes' if action == _SEND else 'subscribes to'} this. {_WHAT[row.channel]}",
        "tags": [{"name": _audience(row)}],
        "bindings": {"mqtt": _operation_binding(action, row)},
    }
    if row.channel in _REPLIES and action == _RECEIVE:
        fields["reply"] = _reply(_REPLIES[row.channel])
    return name, fields


def _audience(row: TopicRow) -> str:
    if not row.types:
        return "operator"
    return "user" if Role.USERS in (*row.writers, *row.readers) else "peer"


def _operation_binding(action: str, row: TopicRow) -> Fields:
    # `retain` is the publisher's; a subscriber says only what QoS it wants
    retain = {"retain": row.retain} if action == _SEND else {}
    return {"qos": row.qos, **retain, "bindingVersion": MQTT_BINDING}


def _reply(channel: Channel) -> Fields:
    return {
        "channel": {"$ref": f"#/channels/{channel.value}"},
        "messages": [{"$ref": f"#/channels/{channel.value}/messages/{name}"} for name in types_of(channel)],
    }


def _message_names() -> list[str]:
    return list(dict.fromkeys(name for channel in TABLE for name in types_of(channel)))


def _message(name: str) -> Fields:
    schema = all_schemas()[name]
    binding: Fields = {}
    fields: Fields = {
        "name": name,
        "title": name.replace("-", " ").capitalize(),
        "summary": schema["description"].replace("`", ""),
        "contentType": "application/json",
        "payload": {"$ref": f"#/components/schemas/{name}"},
    }
    if name in _FROM_USER:
        binding["responseTopic"] = {
            "type": "string",
            "pattern": f"^{topics.topic_filter(_ID, _ID, Channel.ANSWERS, _PRINCIPAL, _ID)}$",
            "description": "Under the sender's own answers at the very device that is asked; any other is refused.",
        }
    if name in _TO_USER or name in _FROM_USER:
        binding["correlationData"] = {
            "type": "string",
            "maxLength": MESSAGE_ID_LENGTH_MAX,
            "description": "Chosen by the user and given back with every answer; our own clients use the message's id.",
        }
        of_query = "query_id" in schema["properties"]
        fields["correlationId"] = {
            "description": f"Which {'query' if of_query else 'prompt'} it is about.",
            "location": f"$message.payload#/{'query_id' if of_query else 'prompt_id'}",
        }
    elif "request_id" in schema["properties"]:
        fields["correlationId"] = {
            "description": "Which request it is about; unguessable, so that only who was asked can respond.",
            "location": "$message.payload#/request_id",
        }
    fields["bindings"] = {"mqtt": {**binding, "bindingVersion": MQTT_BINDING}}
    fields["examples"] = all_examples()[name]
    return fields


_FROM_USER = types_of(Channel.PROMPTS)
_TO_USER = types_of(Channel.ANSWERS)


class _Dumper(yaml.SafeDumper):
    """Without anchors: the same part twice is written twice, for those who read along."""

    def ignore_aliases(self, data: Any) -> bool:
        return True
