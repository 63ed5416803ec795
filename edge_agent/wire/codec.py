"""Bytes to messages and back. The only place that knows how a message looks on the wire.

A body is one flat JSON object in UTF-8: `{"v": 2, "type": "prompt", ...the fields of the message class}`, the type in
kebab-case. Reading is strict: nothing unknown, nothing converted ("2" is no number, 1.5 no integer), no NaN. What is
around the object is no part of it: a byte order mark before it, blanks and the zeros of a C string behind it. Whatever
is wrong with the bytes ends as one `ProtocolError`; nothing else is ever raised by `decode` and `decode_prompt`. Who
speaks is said by the topic: a message of one device to another that gives another name is no message.
"""

from __future__ import annotations

import dataclasses
from codecs import BOM_UTF8
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, final, get_args

from pydantic import ConfigDict, TypeAdapter, ValidationError
from pydantic_core import PydanticSerializationError, SchemaValidator, from_json, to_json

from edge_agent.core import messages as m
from edge_agent.core.errors import ProtocolError
from edge_agent.wire.checks import MESSAGE_ID_LENGTH_MAX, check, speaker_of
from edge_agent.wire.refusing import WrongNameError, check_names, quick_to_refuse
from edge_agent.wire.salvage import Salvage, utf_16_of
from edge_agent.wire.topics import CLIENT_DEFAULT, ID_LENGTH_MAX, VERSION, check_id, type_name

SCHEMA_VERSION = VERSION
BODY_BYTES_MAX = 256 * 1024  # a prompt with its references, and what every broker here can be told to let through
DETAIL_LENGTH_MAX = 160  # one line in a log or an app; never a large echo of what somebody sent
_AROUND = b"\0 \t\r\n"  # what may follow a body and says nothing

_CONFIG = ConfigDict(extra="forbid", strict=True, allow_inf_nan=False)
_CONFIG_ATTRIBUTE = "__pydantic_config__"  # where pydantic looks for the settings of a plain dataclass


def _configure() -> None:
    # Set from here so that the core need not know pydantic. Nested classes count: each is read by its own settings.
    for kind in vars(m).values():
        if isinstance(kind, type) and dataclasses.is_dataclass(kind):
            setattr(kind, _CONFIG_ATTRIBUTE, _CONFIG)


_configure()
_KINDS: tuple[type, ...] = get_args(m.Message)
TYPE_NAMES: dict[type, str] = {kind: type_name(kind) for kind in _KINDS}
"""The `type` of every message class."""
_CLASS_OF: dict[str, type] = {name: kind for kind, name in TYPE_NAMES.items()}
_ADAPTERS: dict[type, TypeAdapter[Any]] = {kind: TypeAdapter(kind) for kind in _KINDS}
_VALIDATORS = {kind: SchemaValidator(quick_to_refuse(adapter.core_schema)) for kind, adapter in _ADAPTERS.items()}
_QUERY = TYPE_NAMES[m.AnswersQuery]
_HEADS = {kind: f'{{"v":{SCHEMA_VERSION},"type":"{name}",'.encode() for kind, name in TYPE_NAMES.items()}


@final
@dataclass(frozen=True, slots=True)
class UserInput:
    """A user's message with what a 3.1.1 client put beside it in the body: which of the user's clients is to be
    answered, and an `id` to repeat, "" where there is none."""

    message: m.UserMessage
    client: str
    body_id: str


class UserInputError(ProtocolError):
    """A user's bytes are no message. `client` and `body_id` are what could still be read, to tell the sender."""

    def __init__(self, cause: ProtocolError, client: str, body_id: str) -> None:
        super().__init__(cause.reason, cause.detail, cause.message_id)
        self.client = client
        self.body_id = body_id


def encode(message: m.Message, body_id: str = "") -> bytes:
    """Returns the body for `message`; `body_id` is repeated in it as `id` if it is not "".

    Raises:
        ValueError: a text holds what UTF-8 cannot (a lone surrogate); our own fault, never a peer's.
    """
    fields = _ADAPTERS[type(message)].dump_json(message)
    extra = b'"id":' + to_json(body_id) + b"," if body_id else b""
    return _HEADS[type(message)] + extra + fields[1:]


def decode(
    body: bytes,
    types: Iterable[type] = _KINDS,
    bytes_max: int = BODY_BYTES_MAX,
    sender: str | None = None,
    size: int | None = None,
) -> m.Message:
    """Returns the message in `body`, which must be one of `types`.

    sender: who wrote it, by its topic; whoever the message says it is from must be the same. `None` asks nothing.
    size: how long it came, where only its ends were kept (`salvage.ends_of`).

    The `id` that a device repeats to 3.1.1 clients is accepted in what devices tell users, and dropped.

    Raises:
        ProtocolError: it is not; the only error this raises.
    """
    fields = _read(body, bytes_max, size)
    try:
        kind = _kind(fields, types)
        if kind in get_args(m.DeviceToUser):
            fields.pop("id", None)
        message: m.Message = _validate(kind, fields)
        if sender is not None and (speaker := speaker_of(message)) is not None and speaker != sender:
            raise _invalid(f"sender: {speaker} speaks on the topic of {sender}")
    except ProtocolError as error:
        error.message_id = _message_id(fields)
        raise
    return message


def decode_prompt(body: bytes, bytes_max: int = BODY_BYTES_MAX, size: int | None = None) -> UserInput:
    """Returns what a user sent: a prompt, its cancel or a query, in the strict form or the short one.

    The short form is for people: `text` stands for `messages` with one user turn, and `id` for a missing `prompt_id`,
    or a query's missing `query_id`. size: as for `decode`.

    Raises:
        UserInputError: it is none of them; the only error this raises.
    """
    client, body_id = CLIENT_DEFAULT, ""
    try:
        fields = _read(body, bytes_max, size)
        body_id = _envelope_text(fields, "id", MESSAGE_ID_LENGTH_MAX)
        client = _client(fields)
        if body_id:
            fields.setdefault("query_id" if fields.get("type") == _QUERY else "prompt_id", body_id)
        message_id = _message_id(fields)
    except ProtocolError as error:
        raise _with_what_is_left(error, body, body_id) from None
    try:
        kind = _kind(fields, get_args(m.UserMessage))
        if kind is m.Prompt:
            _expand_text(fields)
        return UserInput(_validate(kind, fields), client, body_id)
    except ProtocolError as error:
        error.message_id = message_id
        raise UserInputError(error, client, body_id) from None


def _with_what_is_left(error: ProtocolError, body: bytes, body_id: str) -> UserInputError:
    """Adds of what to tell the sender, as far as that can still be read; where to, the topic has said."""
    left = Salvage(body)
    body_id = body_id or left.text("id", MESSAGE_ID_LENGTH_MAX)
    error.message_id = error.message_id or left.message_id(MESSAGE_ID_LENGTH_MAX) or _message_id({"id": body_id})
    return UserInputError(error, CLIENT_DEFAULT, body_id)


def _read(body: bytes, bytes_max: int, size: int | None) -> dict[str, Any]:
    size = len(body) if size is None else size
    if size > bytes_max:
        raise ProtocolError(m.RefusalReason.TOO_LARGE, f"body: {size} bytes, at most {bytes_max} are taken")
    bare = body.removeprefix(BOM_UTF8).rstrip(_AROUND)
    if not bare:
        raise _invalid("body: empty")
    try:
        value = from_json(bare.decode(), allow_inf_nan=False)
    except UnicodeDecodeError as error:
        if utf_16_of(body):
            raise _invalid("body: UTF-16, must be UTF-8") from None
        raise _invalid(f"body: not UTF-8: byte {error.object[error.start]:#04x} at {error.start}") from None
    except ValueError as error:
        if utf_16_of(body):
            raise _invalid("body: UTF-16, must be UTF-8") from None
        raise _invalid(f"body: not JSON: {error}{_hint(bare)}") from None
    if not isinstance(value, dict):
        raise _invalid("body: not a JSON object")
    return value


def _hint(body: bytes) -> str:
    """What was probably meant."""
    if body[:1] == b"{" and body[1:].lstrip()[:1] == b"'":
        return " (names and texts stand in \", not in ')"
    if b"NaN" in body or b"Infinity" in body:
        return " (JSON has no NaN and no Infinity)"
    if any(letter in body for letter in b"\n\r\t"):
        return " (a line break or tab within a text is written \\n or \\t)"
    return ""


def _kind(fields: dict[str, Any], types: Iterable[type]) -> type:
    version = fields.pop("v", None)
    if version is None:
        raise _invalid("v: the schema version is missing")
    if type(version) is not int or version != SCHEMA_VERSION:
        raise ProtocolError(m.RefusalReason.UNSUPPORTED_VERSION, f"v: only schema version {SCHEMA_VERSION} is known")
    name = fields.pop("type", None)
    kind = _CLASS_OF.get(name) if isinstance(name, str) else None
    if kind is None or kind not in types:
        raise _invalid(f"type: must be {' or '.join(TYPE_NAMES[kind] for kind in types)} here")
    return kind


def _validate(kind: type, fields: dict[str, Any]) -> Any:  # an instance of `kind`
    # Back to JSON, since only there is an array a tuple and a text an enum in strict mode. An overflow (1e999) is
    # written as Infinity and refused then; as null it would pass for an optional field.
    message: Any
    try:
        check_names(kind, fields)
        message = _VALIDATORS[kind].validate_json(to_json(fields, inf_nan_mode="constants"))
        check(message)
    except WrongNameError as error:
        raise _invalid(f"{_short(error.place)}: {error.what}") from None
    except ValidationError as error:
        raise _invalid(_first_error(error)) from None
    except (ValueError, PydanticSerializationError) as error:
        raise _invalid(str(error)) from None
    return message


def _first_error(error: ValidationError) -> str:
    first = error.errors(include_url=False, include_context=False, include_input=False)[0]
    place = ".".join(str(part) for part in first["loc"]) or "body"
    return f"{_short(place)}: {first['msg'].removeprefix('Value error, ')}"


def _expand_text(fields: dict[str, Any]) -> None:
    if "text" not in fields:
        return
    if "messages" in fields:
        raise _invalid("text: stands for messages, give one of them")
    text = fields.pop("text")
    if not isinstance(text, str):
        raise _invalid("text: must be a text")
    fields["messages"] = [{"role": m.Role.USER, "content": text}]


def _client(fields: dict[str, Any]) -> str:
    try:
        return check_id(_envelope_text(fields, "client", ID_LENGTH_MAX) or CLIENT_DEFAULT, "client")
    except ValueError as error:
        raise _invalid(f"client: {str(error).removeprefix('client ')}") from None


def _envelope_text(fields: dict[str, Any], name: str, length_max: int) -> str:
    text = fields.pop(name, "")
    if not isinstance(text, str) or len(text) > length_max:
        raise _invalid(f"{name}: must be a text of at most {length_max} characters")
    return text


def _message_id(fields: dict[str, Any]) -> str:
    for name in ("query_id", "prompt_id", "request_id", "id"):  # a query may name a prompt beside
        text = fields.get(name)
        if isinstance(text, str) and len(text) <= MESSAGE_ID_LENGTH_MAX and text.isprintable():
            return text  # else nobody could read a refusal that names it
    return ""


def _invalid(detail: str) -> ProtocolError:
    return ProtocolError(m.RefusalReason.INVALID, _short(detail, DETAIL_LENGTH_MAX))


def _short(text: str, length_max: int = 60) -> str:
    printable = text[: length_max + 1]
    if not printable.isprintable():
        printable = "".join(character if character.isprintable() else "?" for character in printable)
    return printable if len(printable) <= length_max else printable[: length_max - 3] + "..."
