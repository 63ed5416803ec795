"""What must hold of any body at all, whoever sent it: one check of `decode` and `decode_prompt`."""

from __future__ import annotations

import sys
import tracemalloc
from collections.abc import Callable
from itertools import cycle
from typing import get_args

from edge_agent.core import messages as m
from edge_agent.core.errors import ProtocolError
from edge_agent.wire.checks import ENTRIES_MAX, MESSAGE_ID_LENGTH_MAX, speaker_of
from edge_agent.wire.codec import (
    DETAIL_LENGTH_MAX,
    TYPE_NAMES,
    UserInput,
    UserInputError,
    decode,
    decode_prompt,
    encode,
)
from edge_agent.wire.topics import is_id

CALLS_MAX = 32 * ENTRIES_MAX  # of functions for one body, however large: each entry of a view is looked at, no byte is
PEAK_PER_BYTE = 80  # bytes of memory while one is read: an empty list of two bytes takes 64, read twice
PEAK_BASE = 128 * 1024
WHOLE = 2**22  # room to write anew what was read: what was left out is written with its default
_USER_MESSAGES = get_args(m.UserMessage)
_strangers = cycle(("user.mallory", "operator", "d7", "d1", "me"))
_every_16th = cycle((True, *[False] * 15))  # a refusal that goes back is the same work again


class ViolationError(AssertionError):
    """A promise of the codec does not hold; the body is kept by who asked."""


def check(body: bytes) -> str:
    """Returns what a body was read as, "" if it was refused, after checking everything that must hold either way.

    Raises:
        ViolationError: something else was raised than may be, or what was read is not what was said.
    """
    try:
        read = _checked_message(body)
        taken = _checked_input(body)
        return read or taken
    except ViolationError:
        raise
    except Exception as error:
        raise ViolationError(f"{type(error).__name__} is raised: {error}"[:300]) from error


def check_cost(body: bytes) -> None:
    """Checks by what is counted, not timed, that reading a body takes work and memory in proportion to its size.

    Raises:
        ViolationError: it takes more.
    """
    for read in (decode, decode_prompt):
        calls, peak = _work_of(read, body)
        if calls > CALLS_MAX:
            raise ViolationError(f"{read.__name__} of {len(body)} bytes calls {calls} functions")
        if peak > PEAK_BASE + PEAK_PER_BYTE * len(body):
            raise ViolationError(f"{read.__name__} of {len(body)} bytes takes {peak} bytes of memory")


def _checked_message(body: bytes) -> str:
    try:
        message = decode(body)
    except ProtocolError as error:
        _check_error(error)
        return ""
    _check_again(message)
    speaker = speaker_of(message)
    if speaker is not None:
        if decode(body, sender=speaker) != message:
            raise ViolationError("its own sender changes a message")
        _refuse_of_another(body, next(sender for sender in _strangers if sender != speaker))
    return TYPE_NAMES[type(message)]


def _refuse_of_another(body: bytes, sender: str) -> None:
    try:
        decode(body, sender=sender)
    except ProtocolError:
        return
    raise ViolationError(f"a message is taken from {sender}, who did not send it")


def _checked_input(body: bytes) -> str:
    try:
        taken = decode_prompt(body)
    except UserInputError as error:
        _check_error(error)
        _check_envelope(error.client, error.body_id)
        if next(_every_16th):
            refusal = m.PromptRefusal(error.message_id, "d0", m.RefusalReason(error.reason), error.detail)
            _check_again(refusal, error.body_id)
        return ""
    if type(taken) is not UserInput or not isinstance(taken.message, _USER_MESSAGES):
        raise ViolationError("what was read is nothing that users say")
    _check_envelope(taken.client, taken.body_id)
    _check_again(taken.message)
    message_id = getattr(taken.message, "query_id", "") or taken.message.prompt_id
    _check_again(m.PromptReceipt(message_id, "d0", None), taken.body_id)
    return f"a user's {TYPE_NAMES[type(taken.message)]}"


def _check_again(message: m.Message, body_id: str = "") -> None:
    again = encode(message, body_id)
    if decode(again, bytes_max=WHOLE) != message:
        raise ViolationError(f"another message comes back: {again[:300]!r}")


def _check_error(error: ProtocolError) -> None:
    m.RefusalReason(error.reason)
    if not 0 < len(error.detail) <= DETAIL_LENGTH_MAX or not error.detail.isprintable():
        raise ViolationError(f"a detail is no short line: {error.detail!r}")
    if len(error.message_id) > MESSAGE_ID_LENGTH_MAX or not error.message_id.isprintable():
        raise ViolationError(f"nobody can read a refusal of {error.message_id!r}")


def _check_envelope(client: str, body_id: str) -> None:
    if not is_id(client) or len(body_id) > MESSAGE_ID_LENGTH_MAX:
        raise ViolationError(f"an envelope names {client!r}, {body_id!r}")


def _work_of(read: Callable[[bytes], object], body: bytes) -> tuple[int, int]:
    """(functions called, bytes of memory at most) while a body is read."""
    calls, before = 0, sys.getprofile()

    def count(_frame: object, event: str, _argument: object) -> None:
        nonlocal calls
        calls += event in ("call", "c_call")

    tracemalloc.start()
    sys.setprofile(count)
    try:
        read(body)
    except ProtocolError:
        pass
    finally:
        sys.setprofile(before)
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
    return calls, peak
