"""JSON schemas of every message, from the very classes that the codecs read, with the bounds that types cannot say."""

from __future__ import annotations

import ast
import copy
import inspect
import itertools
from collections.abc import Iterable, Mapping
from functools import cache
from typing import Any, TypeAlias, get_args

from pydantic import TypeAdapter
from pydantic.json_schema import JsonSchemaMode

from edge_agent.core import messages as m
from edge_agent.core.incarnations import INCARNATION_MAX
from edge_agent.core.settings import PARAMETERS_MAX
from edge_agent.wire import checks, codec
from edge_agent.wire.topics import CLIENT_DEFAULT, ID_LENGTH_MAX, type_name
from provisioning import jobs, signed
from provisioning import messages as certificates

Schema: TypeAlias = dict[str, Any]

REF = "#/components/schemas/"
_ID: Schema = {"pattern": f"^[a-z0-9-]{{1,{ID_LENGTH_MAX}}}$"}
_MESSAGE_ID: Schema = {"minLength": 1, "maxLength": checks.MESSAGE_ID_LENGTH_MAX}
_SHORT: Schema = {"maxLength": checks.SHORT_TEXT_LENGTH_MAX}
_COUNT: Schema = {"minimum": 0, "maximum": checks.COUNT_MAX}
_SECONDS: Schema = {"minimum": 0}
_SAYS_SOMETHING: Schema = {"pattern": r"\S"}
_CERTIFICATE: Schema = {"maxLength": checks.CERTIFICATE_LENGTH_MAX, "pattern": "^[A-Za-z0-9+/]*={0,2}$"}
_DEADLINE: Schema = {"exclusiveMinimum": 0, "maximum": m.DEADLINE_MAX_S}

# What `wire.checks` and the classes' own `__post_init__` refuse beyond a wrong type. The parity test in
# tests/docs/test_asyncapi_schemas.py holds codec and schema side by side at every one of these edges.
_BOUNDS_OF_NAME: Mapping[str, Schema] = {
    "prompt_id": _MESSAGE_ID,
    "query_id": _MESSAGE_ID,
    "request_id": _MESSAGE_ID,
    "device_id": _ID,
    "origin": _ID,
    "origin_home": _SHORT,
}
_BOUNDS: Mapping[type, Mapping[str, Schema]] = {
    m.Prompt: {"messages": {"contains": {"properties": {"content": _SAYS_SOMETHING}}}},
    m.PromptRefusal: {"prompt_id": {"maxLength": checks.MESSAGE_ID_LENGTH_MAX}},
    m.PromptOptions: {
        "layers": {"minimum": 0, "maximum": m.LAYERS_MAX},
        "fanout": {"minimum": 0, "maximum": m.FANOUT_MAX},
        "deadline_s": _DEADLINE,
        "join": {"minimum": 1, "maximum": m.FANOUT_MAX + 1},
    },
    m.AnswersQuery: {
        "prompt_id": {"maxLength": checks.MESSAGE_ID_LENGTH_MAX},
        "of_client": {"pattern": f"^([a-z0-9-]{{1,{ID_LENGTH_MAX}}})?$"},
        "since_s": _SECONDS,
        "after": _SHORT,
        "count_max": {"minimum": 1, "maximum": m.ANSWERS_ON_A_PAGE_MAX},
    },
    m.AnswersPage: {
        "answers": {"maxItems": m.ANSWERS_ON_A_PAGE_MAX},
        "next": _SHORT,
        "whole_s": _SECONDS,
    },
    m.AnswerSummary: {"client": _ID, "age_s": _SECONDS, "text_bytes": _COUNT},
    m.Sampling: {
        "max_output_tokens": {"minimum": 1, "maximum": m.OUTPUT_TOKENS_MAX},
        "temperature": {"minimum": 0, "maximum": 5},
        "stop": {"maxItems": 8, "items": {"type": "string", "minLength": 1, "maxLength": 64}},
    },
    m.ProposalRequest: {
        "layer": {"minimum": 1, "maximum": m.LAYERS_MAX},
        "messages": {"minItems": 1},
        "references": {"maxItems": m.FANOUT_MAX + 1},
        "expires_in_s": _DEADLINE,
    },
    m.RequestReceipt: {"requests_waiting": _COUNT, "expected_wait_s": _SECONDS},
    m.Contribution: {
        "model": _SHORT,
        "waiting_time_s": _SECONDS,
        "service_time_s": _SECONDS,
        "input_tokens": _COUNT,
        "output_tokens": _COUNT,
        "input_tokens_cut": _COUNT,
    },
    m.ViewExchange: {"entries": {"minItems": 1, "maxItems": checks.ENTRIES_MAX}},
    m.PeerEntry: {
        "home_broker": _SHORT,
        "model": _SHORT,
        "model_family": _SHORT,
        "incarnation": {"minimum": 0, "maximum": INCARNATION_MAX},
        "heartbeat": _COUNT,
        "requests_waiting": _COUNT,
        "service_time_s_mean": _SECONDS,
        "parameter_count": {"minimum": 1, "maximum": PARAMETERS_MAX},
        "proof": {"pattern": rf"^([A-Za-z0-9_-]{{{checks.PROOF_LENGTH}}})?$"},
    },
    m.SignersWanted: {
        "home_broker": _SHORT,
        "fingerprints": {
            "minItems": 1,
            "maxItems": checks.FINGERPRINTS_MAX,
            "items": {"type": "string", "pattern": rf"^[A-Za-z0-9_-]{{{checks.FINGERPRINT_LENGTH}}}$"},
        },
    },
    m.SignersTold: {
        "certificates": {
            "minItems": 1,
            "maxItems": checks.FINGERPRINTS_MAX,
            "items": {"type": "string", **_CERTIFICATE},
        },
    },
    m.Presence: {
        "queue_capacity": _COUNT,
        "version": _SHORT,
        "install": _SHORT,
        "run": _SHORT,
        "certificate": _CERTIFICATE,
    },
    jobs.Job: {
        "job_id": _ID,
        "mesh": _ID,
        "sequence": {"minimum": 1, "maximum": 2**52},
        "arguments": {"maxProperties": jobs.ARGUMENTS_MAX},
    },
    jobs.JobReport: {
        "job_id": _ID,
        "detail": {"maxLength": jobs.DETAIL_CHARACTERS_MAX},
        "progress": {"minimum": 0, "maximum": 1},
    },
}
# A provenance is told, not checked: who reads an answer must not lose it over a number in its small print.
_UNCHECKED = (m.Provenance, m.Missing, m.Substitute, m.Decision)


@cache
def all_schemas() -> dict[str, Schema]:
    """Returns every schema by its name: messages by their `type`, what is used in them by the name of its class.

    They are made once: callers only read them.
    """
    core = _schemas_of(codec.TYPE_NAMES, {})
    kinds = {kind: None for one in certificates.CHANNEL_TYPES.values() for kind in one}
    # two enums of the same name, one of prompts and one of certificates
    own = _schemas_of(kinds, {"RefusalReason": "CertificateRefusalReason"})
    work = _schemas_of((jobs.Job, jobs.JobReport), {}, all_required=True)
    schemas = {**core, **own, **work, signed.TYPE: _signed()}
    for kind in get_args(m.UserMessage):
        _let_old_clients_in(schemas[type_name(kind)], "query_id" if kind is m.AnswersQuery else "prompt_id")
    for name in (codec.TYPE_NAMES[kind] for kind in _device_to_user()):
        schemas[name]["properties"]["id"] = {
            **_MESSAGE_ID,
            "type": "string",
            "description": "what a 3.1.1 client gave as `id`, repeated; absent for MQTT 5, which has correlation data",
        }
    return dict(sorted(schemas.items()))


def _device_to_user() -> tuple[type, ...]:
    return get_args(m.DeviceToUser)


def _schemas_of(kinds: Iterable[type], renamed: Mapping[str, str], *, all_required: bool = False) -> dict[str, Schema]:
    kinds = tuple(kinds)
    adapters: list[tuple[type, JsonSchemaMode, TypeAdapter[Any]]]
    adapters = [(kind, "validation", TypeAdapter(kind)) for kind in kinds]
    _, made = TypeAdapter.json_schemas(adapters, ref_template=REF + "{model}")
    by_class = {kind.__name__: kind for kind in _classes()}
    schemas: dict[str, Schema] = {}
    for name, schema in made["$defs"].items():
        kind = by_class.get(name)
        plain = _plain(schema, renamed, {one.__name__ for one in kinds})
        if kind is not None and "properties" in plain:
            _describe(plain, kind)
            _bound(plain, kind)
            plain["additionalProperties"] = False
        if kind in kinds:
            if f"'{REF}{name}'" in str(made):  # a page of answers has one in it, without an envelope of its own
                schemas[name] = copy.deepcopy(plain)
            _envelope(plain, type_name(kind), all_required)
            schemas[type_name(kind)] = plain
        else:
            schemas[renamed.get(name, name)] = plain
    return schemas


def _classes() -> list[type]:
    modules = (m, certificates, jobs)
    return [kind for module in modules for kind in vars(module).values() if isinstance(kind, type)]


def _plain(value: Any, renamed: Mapping[str, str], messages: set[str]) -> Any:
    """Draft 2020-12, which pydantic writes, as draft 07, which AsyncAPI reads; without titles that repeat the name."""
    if isinstance(value, list):
        return [_plain(one, renamed, messages) for one in value]
    if not isinstance(value, dict):
        return value
    fields = {key: _plain(one, renamed, messages) for key, one in value.items()}
    if isinstance(fields.get("title"), str):
        del fields["title"]
    if "prefixItems" in fields:
        fields["items"] = fields.pop("prefixItems")
    if isinstance(fields.get("$ref"), str):
        name = fields["$ref"].removeprefix(REF)
        fields = {"$ref": REF + renamed.get(name, name)}  # beside a reference nothing counts in draft 07
    return fields


def _describe(schema: Schema, kind: type) -> None:
    schema["description"] = " ".join((kind.__doc__ or "").split("\n\n")[0].split())
    for name, text in _field_texts(kind).items():
        if "$ref" not in schema["properties"][name]:
            schema["properties"][name]["description"] = text


def _field_texts(kind: type) -> dict[str, str]:
    """The docstrings under the fields of a class."""
    body = ast.parse(inspect.getsource(kind)).body[0]
    texts: dict[str, str] = {}
    statements = body.body if isinstance(body, ast.ClassDef) else []
    for field, text in itertools.pairwise(statements):
        if not (isinstance(field, ast.AnnAssign) and isinstance(field.target, ast.Name)):
            continue
        if isinstance(text, ast.Expr) and isinstance(text.value, ast.Constant):
            texts[field.target.id] = " ".join(str(text.value.value).split())
    return texts


def _bound(schema: Schema, kind: type) -> None:
    if kind in _UNCHECKED:
        return
    certificate = kind.__module__ == certificates.__name__  # says its bounds in its own types
    common = {} if certificate else _BOUNDS_OF_NAME
    bounds = {**{name: common[name] for name in schema["properties"] if name in common}, **_BOUNDS.get(kind, {})}
    for name, bound in bounds.items():
        target = schema["properties"][name]
        branches = [one for one in target.get("anyOf", ()) if one.get("type") != "null"]
        (branches[0] if branches else target).update(bound)


def _envelope(schema: Schema, name: str, all_required: bool) -> None:
    head: Schema = {
        "v": {"const": codec.SCHEMA_VERSION, "description": "schema version"},
        "type": {"const": name},
    }
    names = list(schema["properties"]) if all_required else schema.get("required", [])
    schema["properties"] = {**head, **schema["properties"]}
    schema["required"] = [*head, *names]


def _let_old_clients_in(schema: Schema, own_id: str) -> None:
    """What MQTT 3.1.1 has no properties for stands in the body; `id` may stand for the message's own id."""
    properties = schema["properties"]
    properties["id"] = {
        "type": "string",
        "maxLength": checks.MESSAGE_ID_LENGTH_MAX,
        "description": f"for 3.1.1 clients, in place of correlation data; also the {own_id} where there is none",
    }
    properties["client"] = {
        "type": "string",
        "pattern": f"^([a-z0-9-]{{1,{ID_LENGTH_MAX}}})?$",
        "default": CLIENT_DEFAULT,
        "description": "for 3.1.1 clients, in place of the response topic: which client of the sender is answered",
    }
    schema["required"].remove(own_id)
    named = {"required": ["id"], "properties": {"id": {"minLength": 1}}}
    schema["allOf"] = [{"anyOf": [{"required": [own_id]}, named]}]
    if "messages" in properties:
        properties["text"] = {"type": "string", **_SAYS_SOMETHING, "description": "stands for one user message"}
        schema["required"].remove("messages")
        schema["allOf"].append({"oneOf": [{"required": ["messages"]}, {"required": ["text"]}]})


def _signed() -> Schema:
    texts = {
        "payload": {
            "type": "string",
            "description": "JSON: a `job`",
            "contentMediaType": "application/json",
        },
        "certificate": {"type": "string", "description": "of the operator, by the mesh's authority (PEM)"},
        "signature": {"type": "string", "description": "ECDSA with SHA-256 over the payload (base64)"},
    }
    schema: Schema = {
        "type": "object",
        "description": "Words of the operator that a device believes whoever carries them.",
        "properties": texts,
        "required": list(texts),
        "additionalProperties": False,
    }
    _envelope(schema, signed.TYPE, False)
    return schema
