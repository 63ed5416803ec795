"""Hypothesis strategies: every message that may validly come from outside, and one of each for other tests."""

from __future__ import annotations

import dataclasses
import types
from base64 import b64encode, urlsafe_b64encode
from collections.abc import Callable
from enum import Enum
from typing import Any, Union, get_args, get_origin, get_type_hints

from hypothesis import strategies as st

from edge_agent.core import messages as m
from edge_agent.core.incarnations import INCARNATION_MAX
from edge_agent.core.settings import PARAMETERS_MAX
from edge_agent.wire.checks import CERTIFICATE_LENGTH_MAX, COUNT_MAX, PROOF_LENGTH

device_ids = st.from_regex(r"[a-z0-9-]{1,64}", fullmatch=True)
texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)  # surrogates alone are not Unicode text
names = st.text(st.characters(categories=["L", "N", "P"]), max_size=20)
message_ids = st.text(st.characters(categories=["L", "N", "P"]), min_size=1, max_size=40)
fingerprints = st.binary(min_size=12, max_size=12).map(lambda raw: urlsafe_b64encode(raw).decode())
proofs = st.binary(min_size=77, max_size=77).map(lambda raw: urlsafe_b64encode(raw).decode()[:PROOF_LENGTH])
certificates = st.binary(max_size=30).map(lambda raw: b64encode(raw).decode()) | st.just("A" * CERTIFICATE_LENGTH_MAX)
seconds = st.floats(0, 1e6, allow_nan=False)

_BY_FIELD: dict[str, st.SearchStrategy[Any]] = {
    "parameter_count": st.none() | st.integers(1, PARAMETERS_MAX),
    "device_id": device_ids,
    "origin": device_ids,
    "prompt_id": message_ids,
    "query_id": message_ids,
    "client": device_ids,
    "of_client": st.just("") | device_ids,
    "after": names,
    "next": names,
    "count_max": st.integers(1, m.ANSWERS_ON_A_PAGE_MAX),
    "request_id": message_ids,
    "origin_home": names,
    "home_broker": names,
    "model": names,
    "model_family": names,
    "version": names,
    "install": names,
    "run": names,
    "expires_in_s": st.none() | st.floats(0.001, m.DEADLINE_MAX_S),
    "layer": st.integers(1, m.LAYERS_MAX),
    "layers": st.integers(0, m.LAYERS_MAX),
    "incarnation": st.integers(0, INCARNATION_MAX),
    "proof": st.just("") | proofs,
    "certificate": certificates,
    "certificates": st.lists(certificates, min_size=1, max_size=3).map(tuple),
    "fingerprints": st.lists(fingerprints, min_size=1, max_size=3).map(tuple),
    "entries": st.deferred(lambda: st.lists(of(m.PeerEntry), min_size=1, max_size=4).map(tuple)),
}
_BY_TYPE: dict[object, Callable[[], st.SearchStrategy[Any]]] = {
    str: lambda: texts,
    int: lambda: st.integers(0, COUNT_MAX),
    float: lambda: seconds,
    bool: st.booleans,
    type(None): st.none,
    m.Sampling: lambda: st.builds(
        m.Sampling,
        st.integers(1, m.OUTPUT_TOKENS_MAX),
        st.floats(0, 5),
        st.none() | st.integers(0, COUNT_MAX),
        st.lists(st.text(st.characters(categories=["L"]), min_size=1, max_size=64), max_size=8).map(tuple),
    ),
    m.PromptOptions: lambda: st.builds(
        m.PromptOptions,
        st.none() | st.integers(0, m.LAYERS_MAX),
        st.none() | st.integers(0, m.FANOUT_MAX),
        st.none() | st.floats(0.001, m.DEADLINE_MAX_S),
        st.none() | st.integers(1, m.FANOUT_MAX + 1),
        of(m.Sampling),
    ),
}


def of(hint: Any, name: str = "") -> st.SearchStrategy[Any]:
    """Returns a strategy for a field of this type, or for a message class."""
    if name in _BY_FIELD and not (name == "layers" and get_origin(hint) is tuple):
        return _BY_FIELD[name]
    if hint in _BY_TYPE:
        return _BY_TYPE[hint]()
    arguments = get_args(hint)
    if get_origin(hint) in (Union, types.UnionType):
        return st.one_of([of(argument) for argument in arguments])
    if get_origin(hint) is tuple and arguments[-1] is Ellipsis:
        return st.lists(of(arguments[0]), max_size=3).map(tuple)
    if get_origin(hint) is tuple:
        return st.tuples(*map(of, arguments))
    if issubclass(hint, Enum):
        return st.sampled_from(hint)
    hints = get_type_hints(hint)
    return st.builds(hint, **{field.name: of(hints[field.name], field.name) for field in dataclasses.fields(hint)})


def _of_one_device(page: m.AnswersPage) -> m.AnswersPage:
    if page.answer is None:
        return page
    return dataclasses.replace(page, answer=dataclasses.replace(page.answer, device_id=page.device_id))


def _says_something(message: m.Message) -> bool:
    match message:
        case m.Prompt():
            return any(turn.content.strip() for turn in message.messages)
        case m.ProposalRequest():
            return bool(message.messages)
    return True


def messages(*kinds: type) -> st.SearchStrategy[Any]:
    """Returns a strategy for valid messages of these classes (all, if none is named)."""
    every = st.one_of([of(kind) for kind in kinds or get_args(m.Message)]).filter(_says_something)
    return every.map(lambda message: _of_one_device(message) if isinstance(message, m.AnswersPage) else message)
