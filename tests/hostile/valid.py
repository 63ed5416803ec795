"""Valid messages of every kind out of a plain `random.Random`: as tests/wire/strategies.py says, and far faster.

Names and ids come from small pools, so that two messages often speak of the same thing.
"""

from __future__ import annotations

import dataclasses
import random
import types
from collections.abc import Callable
from enum import Enum
from typing import Any, Union, get_args, get_origin, get_type_hints

from edge_agent.core import messages as m
from edge_agent.core.settings import PARAMETERS_MAX
from edge_agent.wire.checks import COUNT_MAX

KINDS: tuple[type, ...] = get_args(m.Message)
DEVICES = ("d0", "d1", "d2", "d3", "evil", "a" * 64, "-", "0")
MESSAGE_IDS = ("p1", "p2", "r1", "#1", "d1/r1", "\N{SNOWMAN}", "x" * 128, "%u", "'\"", "\U0001f600" * 9)
CLIENTS = ("0", "phone", "a" * 64)
SHORT = ("", "m", "mqtts://kitchen.local:8883", "n" * 256, "\N{GREEK SMALL LETTER RHO}", "[red]%s{}\\")
PLANES = tuple(chr(plane * 0x10000 + 0x41) for plane in range(17))
"""A character of every Unicode plane, assigned or not."""
PIECES = (
    *(
        "hi",
        " ",
        "\n",
        "\t",
        '"',
        "\\",
        "\0",
        "\x1b[2J",
        "\x7f",
        "\x85",
        "\u2028",
        "\u202e",
        "\ufeff",
        "\uffff",
        "\r\n",
    ),
    *("[bold]", "<script>", "'; DROP TABLE", "{{7*7}}", "%n", "<|im_end|>", "</s>", "e\u0301" * 3, "\u0600"),
    *PLANES,
)
COUNTS = (0, 1, 2, 3, 7, 255, 2**31 - 1, 2**31, 2**52, COUNT_MAX - 1, COUNT_MAX)
SECONDS = (0.0, 5e-324, 1e-9, 0.25, 1.0, 3.5, 59.9, 1e6, 1e15, 1.7e308)


def text(rng: random.Random) -> str:
    """Any text that UTF-8 can carry."""
    draw = rng.random()
    if draw < 0.1:
        return ""
    if draw < 0.2:
        return "".join([chr(point) for _ in range(8) if not 0xD800 <= (point := rng.randrange(0x110000)) < 0xE000])
    return "".join(rng.choices(PIECES, k=rng.choice((1, 2, 5, 20))))


def _stops(rng: random.Random) -> tuple[str, ...]:
    return tuple(text(rng)[:64] or "." for _ in range(rng.choice((0, 0, 0, 1, 8))))


def _sampling(rng: random.Random) -> m.Sampling:
    seed = None if rng.random() < 0.5 else rng.choice(COUNTS)
    temperature = rng.choice((0.0, 0.7, 5.0))
    return m.Sampling(rng.choice((1, 8, 256, m.OUTPUT_TOKENS_MAX)), temperature, seed, _stops(rng))


def _options(rng: random.Random) -> m.PromptOptions:
    return m.PromptOptions(
        rng.choice((None, 0, 1, 2, m.LAYERS_MAX)),
        rng.choice((None, 0, 1, 2, m.FANOUT_MAX)),
        rng.choice((None, 5e-324, 0.5, 30.0, m.DEADLINE_MAX_S)),
        rng.choice((None, None, 1, 2, m.FANOUT_MAX + 1)),
        _sampling(rng),
    )


def _expiry(rng: random.Random) -> float | None:
    return rng.choice((None, 5e-324, 0.001, 1.0, 300.0, m.DEADLINE_MAX_S))


Draw = Callable[[random.Random], Any]
_BY_FIELD: dict[str, Draw] = {
    "parameter_count": lambda rng: rng.choice((None, 1, 135_000_000, PARAMETERS_MAX)),
    **dict.fromkeys(("device_id", "origin"), lambda rng: rng.choice(DEVICES)),
    **dict.fromkeys(("prompt_id", "request_id", "query_id"), lambda rng: rng.choice(MESSAGE_IDS)),
    **dict.fromkeys(
        ("origin_home", "home_broker", "model", "model_family", "version", "after", "next", "install", "run"),
        lambda rng: rng.choice(SHORT),
    ),
    "expires_in_s": _expiry,
    "proof": lambda rng: rng.choice(("", "A" * 102, "-_9" * 34)),
    "certificate": lambda rng: rng.choice(("", "QUJD")),
    "fingerprints": lambda rng: tuple(rng.choices(("A" * 16, "-_" * 8), k=rng.choice((1, 2, 32)))),
    "certificates": lambda rng: tuple(rng.choices(("QUJD", "QQ=="), k=rng.choice((1, 2, 32)))),
    "client": lambda rng: rng.choice(CLIENTS),
    "of_client": lambda rng: rng.choice(("", *CLIENTS)),
    "count_max": lambda rng: rng.choice((1, 2, m.ANSWERS_ON_A_PAGE_MAX)),
    "incarnation": lambda rng: rng.choice((0, 1, 2, 2**31, 2**52, 2**52 + 1, 2**53 - 2, 2**53 - 1)),
    "layer": lambda rng: rng.randint(1, m.LAYERS_MAX),
}
_BY_TYPE: dict[object, Draw] = {
    str: text,
    int: lambda rng: rng.choice(COUNTS),
    float: lambda rng: rng.choice(SECONDS) if rng.random() < 0.7 else rng.random() * 100,
    bool: lambda rng: rng.random() < 0.5,
    type(None): lambda rng: None,
    m.Sampling: _sampling,
    m.PromptOptions: _options,
}
_PLANS: dict[type, list[tuple[str, Draw]]] = {}


def message(rng: random.Random, kind: type) -> Any:
    """Returns a valid message, or part of one, of this class."""
    plan = _PLANS.get(kind)
    if plan is None:
        hints = get_type_hints(kind)
        plan = _PLANS[kind] = [
            (field.name, _draw_of(hints[field.name], field.name)) for field in dataclasses.fields(kind)
        ]
    made = kind(**{name: draw(rng) for name, draw in plan})
    return _whole(rng, made)


def _whole(rng: random.Random, made: Any) -> Any:
    """What types cannot say."""
    if isinstance(made, m.Prompt) and not any(turn.content.strip() for turn in made.messages):
        return dataclasses.replace(made, messages=(*made.messages, m.ChatMessage(m.Role.USER, "why?")))
    if isinstance(made, m.ProposalRequest) and not made.messages:
        return dataclasses.replace(made, messages=(m.ChatMessage(m.Role.USER, text(rng)),))
    if isinstance(made, m.AnswersQuery) and rng.random() < 0.5:
        return dataclasses.replace(made, prompt_id="")
    if isinstance(made, m.ViewExchange) and not made.entries:
        return dataclasses.replace(made, entries=(message(rng, m.PeerEntry),))
    return made


def _draw_of(hint: Any, name: str) -> Draw:
    origin, arguments = get_origin(hint), get_args(hint)
    if name in _BY_FIELD:
        return _BY_FIELD[name]
    if hint in _BY_TYPE:
        return _BY_TYPE[hint]
    if origin in (Union, types.UnionType):
        draws = [_draw_of(argument, "") for argument in arguments]
        return lambda rng: rng.choice(draws)(rng)
    if origin is tuple and arguments[-1] is Ellipsis:
        draw = _draw_of(arguments[0], "")
        return lambda rng: tuple([draw(rng) for _ in range(rng.choice((0, 1, 1, 2, 3)))])
    if origin is tuple:
        parts = [_draw_of(argument, "") for argument in arguments]
        return lambda rng: tuple([draw(rng) for draw in parts])
    if issubclass(hint, Enum):
        values = tuple(hint)
        return lambda rng: rng.choice(values)
    return lambda rng: message(rng, hint)
