"""What a well-typed message from outside must also be: bounds that types cannot say.

Peers and users are not trusted. Ids end up in topics, short texts in logs and tables, so both are bounded here.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from edge_agent.core import messages as m
from edge_agent.core.incarnations import INCARNATION_MAX
from edge_agent.core.settings import PARAMETERS_MAX
from edge_agent.wire.topics import is_id

MESSAGE_ID_LENGTH_MAX = 128  # prompt and request ids: room for two UUIDs and a prefix
SHORT_TEXT_LENGTH_MAX = 256  # names, URLs, versions: what is shown on one line
ENTRIES_MAX = 256  # entries of one view exchange: twice the default view
COUNT_MAX = 2**53  # above it JavaScript clients and JSON readers lose digits
FINGERPRINT_LENGTH = 16  # 96 bits of SHA-256: nobody makes a second certificate with the same ones
PROOF_LENGTH = FINGERPRINT_LENGTH + 86  # a certificate's fingerprint, and 64 bytes of ECDSA P-256, in base64url
CERTIFICATE_LENGTH_MAX = 2_048  # of base64; one of ours has about 750
FINGERPRINTS_MAX = 32  # asked for at a time, and told: together no more than a few entries' worth of a message

_BASE64_URL = re.compile(r"[A-Za-z0-9_-]*")
_BASE64 = re.compile(r"[A-Za-z0-9+/]*={0,2}")


def check(message: m.Message) -> None:
    """Returns if `message` is acceptable from outside.

    Raises:
        ValueError: it is not; the message names the field.
    """
    match message:
        case m.Prompt():
            _message_id("prompt_id", message.prompt_id)
            _prompt(message)
        case m.PromptCancel() | m.TokenChunk() | m.LayerProgress():
            _message_id("prompt_id", message.prompt_id)
        case m.PromptRefusal():
            if message.prompt_id:  # "" refuses what had no readable id
                _message_id("prompt_id", message.prompt_id)
            _device_id("device_id", message.device_id)
        case m.AnswersQuery():
            _query(message)
        case m.AnswersPage():
            _page(message)
        case m.PromptReceipt() | m.Answer():
            _message_id("prompt_id", message.prompt_id)
            _device_id("device_id", message.device_id)
        case m.ProposalRequest():
            _request(message)
        case m.RequestCancel():
            _message_id("request_id", message.request_id)
            _device_id("origin", message.origin)
        case m.RequestReceipt():
            _message_id("request_id", message.request_id)
            _device_id("device_id", message.device_id)
            _counts(requests_waiting=message.requests_waiting)
            _not_negative("expected_wait_s", message.expected_wait_s)
        case m.ProposalResponse():
            _message_id("request_id", message.request_id)
            _contribution(message.contribution)
        case m.ViewExchange():
            if not 1 <= len(message.entries) <= ENTRIES_MAX:
                raise ValueError(f"entries: must be 1 to {ENTRIES_MAX}")
            for index, entry in enumerate(message.entries):
                _entry(f"entries.{index}", entry)
        case m.SignersWanted():
            _device_id("device_id", message.device_id)
            _short("home_broker", message.home_broker)
            if not 1 <= len(message.fingerprints) <= FINGERPRINTS_MAX:
                raise ValueError(f"fingerprints: must be 1 to {FINGERPRINTS_MAX}")
            for text in message.fingerprints:
                _base64_url("fingerprints", text, FINGERPRINT_LENGTH)
        case m.SignersTold():
            _device_id("device_id", message.device_id)
            if not 1 <= len(message.certificates) <= FINGERPRINTS_MAX:
                raise ValueError(f"certificates: must be 1 to {FINGERPRINTS_MAX}")
            for text in message.certificates:
                _certificate("certificates", text)
        case m.Presence():
            _entry("entry", message.entry)
            _counts(queue_capacity=message.queue_capacity)
            _short("version", message.version)
            _certificate("certificate", message.certificate)
            _short("install", message.install)
            _short("run", message.run)
        case m.DeviceStatus():
            _device_id("device_id", message.device_id)


def speaker_of(message: m.Message) -> str | None:
    """Returns the device that a message says it is from; `None` where it does not say."""
    match message:
        case m.ProposalRequest() | m.RequestCancel():
            return message.origin
        case m.ProposalResponse():
            return message.contribution.device_id
        case m.ViewExchange():
            return message.entries[0].device_id if message.entries else None  # the sender's own stands first
        case m.Presence():
            return message.entry.device_id
        case m.RequestReceipt() | m.DeviceStatus() | m.PromptReceipt() | m.PromptRefusal():
            return message.device_id
        case m.AnswersPage() if message.answer is not None and message.answer.device_id != message.device_id:
            return message.answer.device_id  # of two names one is another's
        case m.Answer() | m.AnswersPage():
            return message.device_id
        case m.SignersWanted() | m.SignersTold():
            return message.device_id
    return None


def _prompt(prompt: m.Prompt) -> None:
    if not any(turn.content.strip() for turn in prompt.messages):
        raise ValueError("messages: the prompt is empty")


def _query(query: m.AnswersQuery) -> None:
    _message_id("query_id", query.query_id)
    if query.prompt_id:
        _message_id("prompt_id", query.prompt_id)
    if query.of_client:
        _device_id("of_client", query.of_client)
    _not_negative("since_s", query.since_s)
    _short("after", query.after)
    if not 1 <= query.count_max <= m.ANSWERS_ON_A_PAGE_MAX:
        raise ValueError(f"count_max: must be 1 to {m.ANSWERS_ON_A_PAGE_MAX}")


def _page(page: m.AnswersPage) -> None:
    _message_id("query_id", page.query_id)
    _device_id("device_id", page.device_id)
    _short("next", page.next)
    _not_negative("whole_s", page.whole_s)
    if len(page.answers) > m.ANSWERS_ON_A_PAGE_MAX:
        raise ValueError(f"answers: must be at most {m.ANSWERS_ON_A_PAGE_MAX}")
    for line in page.answers:
        _message_id("answers.prompt_id", line.prompt_id)
        _device_id("answers.client", line.client)
        _not_negative("answers.age_s", line.age_s)
        _counts(text_bytes=line.text_bytes)
    if page.answer is not None:
        check(page.answer)


def _request(request: m.ProposalRequest) -> None:
    _message_id("request_id", request.request_id)
    _device_id("origin", request.origin)
    _short("origin_home", request.origin_home)
    if not 1 <= request.layer <= m.LAYERS_MAX:
        raise ValueError(f"layer: must be 1 to {m.LAYERS_MAX}")
    if not request.messages:
        raise ValueError("messages: must not be empty")
    if len(request.references) > m.FANOUT_MAX + 1:
        raise ValueError(f"references: must be at most {m.FANOUT_MAX + 1}")
    if request.expires_in_s is not None and not 0.0 < request.expires_in_s <= m.DEADLINE_MAX_S:
        raise ValueError(f"expires_in_s: must be above 0 and at most {m.DEADLINE_MAX_S:g}")


def _contribution(contribution: m.Contribution) -> None:
    _device_id("contribution.device_id", contribution.device_id)
    _short("contribution.model", contribution.model)
    _not_negative("contribution.waiting_time_s", contribution.waiting_time_s)
    _not_negative("contribution.service_time_s", contribution.service_time_s)
    _counts(
        input_tokens=contribution.input_tokens,
        output_tokens=contribution.output_tokens,
        input_tokens_cut=contribution.input_tokens_cut,
    )


def _entry(where: str, entry: m.PeerEntry) -> None:
    _device_id(f"{where}.device_id", entry.device_id)
    for name, text in _short_texts(entry):
        _short(f"{where}.{name}", text)
    if not 0 <= entry.incarnation <= INCARNATION_MAX:
        raise ValueError(f"{where}.incarnation: must be 0 to 2^53 - 1")
    _counts(heartbeat=entry.heartbeat, requests_waiting=entry.requests_waiting)
    _not_negative(f"{where}.service_time_s_mean", entry.service_time_s_mean)
    if entry.parameter_count is not None and not 1 <= entry.parameter_count <= PARAMETERS_MAX:
        raise ValueError(f"{where}.parameter_count: must be 1 to {PARAMETERS_MAX}, or nothing")
    if entry.proof:
        _base64_url(f"{where}.proof", entry.proof, PROOF_LENGTH)


def _short_texts(entry: m.PeerEntry) -> Iterator[tuple[str, str]]:
    yield "home_broker", entry.home_broker
    yield "model", entry.model
    yield "model_family", entry.model_family


def _message_id(field: str, text: str) -> None:
    if not 1 <= len(text) <= MESSAGE_ID_LENGTH_MAX or not text.isprintable():
        raise ValueError(f"{field}: must be 1 to {MESSAGE_ID_LENGTH_MAX} printable characters")


def _device_id(field: str, text: str) -> None:
    if not is_id(text):
        raise ValueError(f"{field}: must be 1 to 64 of a-z, 0-9 and -")


def _short(field: str, text: str) -> None:
    if len(text) > SHORT_TEXT_LENGTH_MAX or not text.isprintable():
        raise ValueError(f"{field}: must be at most {SHORT_TEXT_LENGTH_MAX} printable characters")


def _base64_url(field: str, text: str, length: int) -> None:
    if len(text) != length or not _BASE64_URL.fullmatch(text):
        raise ValueError(f"{field}: must be {length} characters of base64url")


def _certificate(field: str, text: str) -> None:
    if len(text) > CERTIFICATE_LENGTH_MAX or not _BASE64.fullmatch(text):
        raise ValueError(f"{field}: must be at most {CERTIFICATE_LENGTH_MAX} characters of base64")


def _counts(**values: int) -> None:
    for field, value in values.items():
        if not 0 <= value <= COUNT_MAX:
            raise ValueError(f"{field}: must be 0 to 2^53")


def _not_negative(field: str, value: float | None) -> None:
    if value is not None and value < 0.0:
        raise ValueError(f"{field}: must not be negative")
