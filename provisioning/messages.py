"""What devices and the operator's service say to each other about certificates, and its bytes.

A body is one flat JSON object, `{"v": 2, "type": "claim-request", ...the fields of the class}`, read strictly: nothing
unknown, nothing converted, everything bounded. Whatever is wrong with the bytes ends as one `MessageError`.

| on the channel | the device says | the operator says |
|---|---|---|
| `claims` (still without certificate) | `ClaimRequest`, `CertificateConfirmed` | |
| `renewals` | `RenewalRequest`, `CertificateConfirmed` | |
| `certificates` | | `CertificateIssued`, `CertificateRefused`, `RenewalDue`, `TrustUpdate` |
| `revocations` (devices pass it on to each other) | `RevocationList` | `RevocationList` |
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import StrEnum
from typing import Annotated, Any, final

from pydantic import ConfigDict, Field, TypeAdapter, ValidationError
from pydantic_core import PydanticSerializationError, SchemaValidator, from_json, to_json

from edge_agent.wire.refusing import check_names, quick_to_refuse
from edge_agent.wire.topics import VERSION, Channel, type_name

BODY_BYTES_MAX = 256 * 1024  # what brokers of a mesh let through; a revocation list may nearly fill it
DETAIL_LENGTH_MAX = 200  # one line for people

_PEM_LENGTH_MAX = 8 * 1024  # one of our certificates or requests is under 1 KiB
_BUNDLE_LENGTH_MAX = 16 * 1024
_CRL_LENGTH_MAX = 200 * 1024

RequestId = Annotated[str, Field(pattern=r"^[A-Za-z0-9_-]{1,64}$")]
Serial = Annotated[str, Field(pattern=r"^[0-9a-f]{1,40}$")]
Proof = Annotated[str, Field(pattern=r"^[A-Za-z0-9+/=]{1,200}$")]
Pem = Annotated[str, Field(max_length=_PEM_LENGTH_MAX)]
Bundle = Annotated[str, Field(max_length=_BUNDLE_LENGTH_MAX)]
CrlText = Annotated[str, Field(max_length=_CRL_LENGTH_MAX)]
Signatures = Annotated[tuple[Proof, ...], Field(min_length=1, max_length=2)]

_STRICT = ConfigDict(extra="forbid", strict=True, allow_inf_nan=False)


class MessageError(Exception):
    """A body is none of these messages. One line."""


class RefusalReason(StrEnum):
    """Why there is no certificate."""

    NOT_INVITED = "not-invited"
    USED = "used"
    EXPIRED = "expired"
    WRONG_PROOF = "wrong-proof"
    BAD_REQUEST = "bad-request"
    REVOKED = "revoked"
    TROUBLE = "trouble"
    """The operator's service can't just now (a full disk, say); asking again later helps."""

    @property
    def final(self) -> bool:
        """Whether asking again with the same claim is useless."""
        return self is not RefusalReason.TROUBLE


@final
@dataclass(frozen=True, slots=True)
class ClaimRequest:
    """A device asks for its first certificate. `proof` shows that it knows the claim's secret."""

    __pydantic_config__ = _STRICT
    request_id: RequestId
    csr: Pem
    proof: Proof


@final
@dataclass(frozen=True, slots=True)
class RenewalRequest:
    """A member asks for its next certificate. `signature` is over the new request, by the key of the live certificate
    with this serial number (hexadecimal)."""

    __pydantic_config__ = _STRICT
    request_id: RequestId
    csr: Pem
    serial: Serial
    signature: Proof


@final
@dataclass(frozen=True, slots=True)
class CertificateConfirmed:
    """The device has its certificate safe on disk: a claim's secret can be burnt."""

    __pydantic_config__ = _STRICT
    serial: Serial


@final
@dataclass(frozen=True, slots=True)
class CertificateIssued:
    """The certificate, whom to trust (signed, since it may be newer than what the device has), and who is revoked."""

    __pydantic_config__ = _STRICT
    request_id: RequestId
    certificate: Pem
    bundle: Bundle
    bundle_signatures: Signatures
    crl: CrlText


@final
@dataclass(frozen=True, slots=True)
class CertificateRefused:
    """There is no certificate; `detail` is one line for people. "" as request id: the request could not be read."""

    __pydantic_config__ = _STRICT
    request_id: Annotated[str, Field(pattern=r"^[A-Za-z0-9_-]{0,64}$")]
    reason: RefusalReason
    detail: Annotated[str, Field(max_length=DETAIL_LENGTH_MAX)]


@final
@dataclass(frozen=True, slots=True)
class RenewalDue:
    """The operator's clock says that the certificate with this serial number should be renewed now; the device's own
    clock may not know."""

    __pydantic_config__ = _STRICT
    serial: Serial


@final
@dataclass(frozen=True, slots=True)
class TrustUpdate:
    """Whom to trust from now on: a CA rotation has begun or ended."""

    __pydantic_config__ = _STRICT
    bundle: Bundle
    bundle_signatures: Signatures


@final
@dataclass(frozen=True, slots=True)
class RevocationList:
    """Who is revoked; signed by the CA in itself, so that it may come from anybody."""

    __pydantic_config__ = _STRICT
    crl: CrlText


Message = (
    ClaimRequest
    | RenewalRequest
    | CertificateConfirmed
    | CertificateIssued
    | CertificateRefused
    | RenewalDue
    | TrustUpdate
    | RevocationList
)
CHANNEL_TYPES: dict[Channel, tuple[type[Message], ...]] = {
    Channel.CLAIMS: (ClaimRequest, CertificateConfirmed),
    Channel.RENEWALS: (RenewalRequest, CertificateConfirmed),
    Channel.CERTIFICATES: (CertificateIssued, CertificateRefused, RenewalDue, TrustUpdate),
    Channel.REVOCATIONS: (RevocationList,),
}
"""What each channel carries; nothing else is read from it."""

_KINDS: tuple[type[Message], ...] = tuple({kind: None for kinds in CHANNEL_TYPES.values() for kind in kinds})
_TYPE_NAMES = {kind: type_name(kind) for kind in _KINDS}
_CLASS_OF = {name: kind for kind, name in _TYPE_NAMES.items()}
_ADAPTERS: dict[type[Message], TypeAdapter[Any]] = {kind: TypeAdapter(kind) for kind in _KINDS}
_VALIDATORS = {kind: SchemaValidator(quick_to_refuse(adapter.core_schema)) for kind, adapter in _ADAPTERS.items()}


def encode(message: Message) -> bytes:
    """Returns the body for `message`."""
    head = f'{{"v":{VERSION},"type":"{_TYPE_NAMES[type(message)]}",'.encode()
    fields: bytes = _ADAPTERS[type(message)].dump_json(message)
    return head + fields[1:]


def decode(body: bytes, channel: Channel) -> Message:
    """Returns the message in `body`, which must be one that `channel` carries.

    Raises:
        MessageError: it is not; the only error this raises.
    """
    fields = _read(body)
    if type(fields.get("v")) is not int or fields.pop("v") != VERSION:
        raise MessageError(f"v: only version {VERSION} is known")
    name = fields.pop("type", None)
    allowed = CHANNEL_TYPES.get(channel, ())
    kind = _CLASS_OF.get(name) if isinstance(name, str) else None
    if kind is None or kind not in allowed:
        raise MessageError(f"type: must be {' or '.join(_TYPE_NAMES[one] for one in allowed)} here")
    try:
        check_names(kind, fields)
        message: Message = _VALIDATORS[kind].validate_json(to_json(fields, inf_nan_mode="constants"))
    except ValidationError as error:
        first = error.errors(include_url=False, include_context=False, include_input=False)[0]
        place = ".".join(str(part) for part in first["loc"]) or "body"
        raise MessageError(_one_line(f"{place}: {first['msg']}")) from None
    except (ValueError, PydanticSerializationError) as error:
        raise MessageError(_one_line(str(error))) from None
    return message


def request_id_in(body: bytes) -> str:
    """Returns the request id of a body that is no message, so that its sender can be told; "" if it has none."""
    try:
        text = _read(body).get("request_id")
    except MessageError:
        return ""
    return text if isinstance(text, str) and re.fullmatch(r"[A-Za-z0-9_-]{1,64}", text) else ""


def refused(request_id: str, reason: RefusalReason, detail: str) -> CertificateRefused:
    """Returns a refusal whose detail is one bounded line."""
    return CertificateRefused(request_id, reason, _one_line(detail))


def _read(body: bytes) -> dict[str, Any]:
    if len(body) > BODY_BYTES_MAX:
        raise MessageError(f"body: {len(body)} bytes, at most {BODY_BYTES_MAX} are taken")
    try:
        value = from_json(body.decode(), allow_inf_nan=False)
    except ValueError:
        raise MessageError("body: not JSON in UTF-8") from None
    if not isinstance(value, dict):
        raise MessageError("body: not a JSON object")
    return value


def _one_line(text: str) -> str:
    printable = "".join(character if character.isprintable() else "?" for character in text[: DETAIL_LENGTH_MAX + 1])
    return printable if len(printable) <= DETAIL_LENGTH_MAX else printable[: DETAIL_LENGTH_MAX - 3] + "..."
