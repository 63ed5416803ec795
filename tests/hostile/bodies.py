"""Bodies that are nearly messages: valid ones of every kind, changed at their bytes, their JSON tokens or their fields.

Whatever could still be read becomes a beginning itself, so that changes add up. One seed decides everything.
"""

from __future__ import annotations

import copy
import json
import random
import re
from codecs import BOM_UTF8, BOM_UTF16_BE, BOM_UTF16_LE, BOM_UTF32_LE
from collections.abc import Callable
from typing import Any

from edge_agent.wire.codec import BODY_BYTES_MAX, TYPE_NAMES, encode
from tests.hostile import valid

EACH_KIND = 24  # beginnings of every kind
GROWN_MAX = 400  # bodies that were read, kept as beginnings
BIG_EVERY = 4_096  # a body near the bound costs as much as thousands of small ones
_TOKENS = re.compile(rb'"(?:[^"\\]|\\.)*"|[\[\]{}:,]|[^\s\[\]{}:,"]+|\s+', re.DOTALL)
_NAMES = tuple(TYPE_NAMES.values())

NUMBERS: tuple[Any, ...] = (
    *(0, -1, 1, 8, 9, 16, 17, 18, 256, 257, 8192, 8193, 86_400, 86_401, 2**31, 2**52, 2**53, 2**53 + 1, 2**63, 2**64),
    *(-(2**53), -(2**63) - 1, 10**30, 10**400, -0.0, 0.5, 1.0, 1e-320, 5e-324, 1e308, -1e308, 86_400.000001, 5.0001),
    *(float("nan"), float("inf"), float("-inf")),
)
STRINGS = (
    *("", " ", "0", "2", "true", "null", "p1", "d0", "d1", "D1", "evil", "operator", "user.alice", "claim.d1", "me"),
    *("+", "#", "a/b", "../..", "$SYS/x", "%u", "\0", "a\0b", "a\nb", "\x1b[31m", "\x85", "\u202e", "\ufeff", "\uffff"),
    *("x" * length for length in (64, 65, 128, 129, 256, 257, 5000)),
    *("\ud800", "a\udfff", "\udc00\ud800", *valid.PLANES),
)
RAW_TOKENS = (
    *(b"1e999", b"-1e999", b"-0", b"01", b"+1", b".5", b"1.", b"0x10", b"1e5", b"2.0", b"NaN", b"-Infinity", b"nul"),
    *(b"9" * 400, b"9" * 5000, b"1." + b"3" * 3000, b"1e" + b"9" * 30, b"true", b"null", b"[]", b"{}", b'""', b"''"),
    *(b'"\\ud800"', b'"\\udc00\\ud800"', b'"\\u0000"', b'"\\x"', b'"\xff"', b'"\xed\xa0\x80"', b'"\xf4\x90\x80\x80"'),
    *(b'"\xc0\x80"', b'"\n"', b'"type"', b'"v"', b'"prompt_id"', b'"id"', b'"client"', b"[" * 200, b'{"a":' * 130),
    *(b",", b":", b"{", b"}", b"[", b"]", b'"', b"\0", b" ", b"//", b"/**/"),
)
VALUES: tuple[Any, ...] = (*NUMBERS, *STRINGS, None, True, False, [], {}, [[]], [None], [1], {"a": 1}, [{}], ["x"])


class Bodies:
    """An endless, repeatable row of bodies: `next()` makes one, `was_read()` says that the last one could be read."""

    def __init__(self, seed: str) -> None:
        self._rng = rng = random.Random(seed)
        self._made = 0
        made = [valid.message(rng, kind) for kind in valid.KINDS for _ in range(EACH_KIND)]
        self._valid = [encode(message) for message in made] + [self._short_form() for _ in range(EACH_KIND)]
        self._grown: list[bytes] = []
        self._last = b""
        self._ways: tuple[Callable[[], bytes], ...] = (self._fields, self._tokens, self._bytes, self._around)

    def next(self) -> bytes:
        """Returns the next body."""
        self._made += 1
        if self._made % BIG_EVERY == 0:
            self._last = self._big()
        else:
            self._last = self._rng.choices(self._ways, (45, 30, 20, 5))[0]()
        return self._last

    def was_read(self) -> None:
        """The last body could be read: from now on it is a beginning as well."""
        if len(self._last) > 4096:  # or all would grow, and the row slow down
            return
        if len(self._grown) < GROWN_MAX:
            self._grown.append(self._last)
        elif self._rng.random() < 0.1:
            self._grown[self._rng.randrange(GROWN_MAX)] = self._last

    def _begin(self) -> bytes:
        return self._rng.choice(self._grown if self._grown and self._rng.random() < 0.4 else self._valid)

    def _parsed(self) -> Any:
        while True:
            try:
                return json.loads(self._begin().removeprefix(BOM_UTF8).rstrip(b"\0 \t\r\n"))
            except ValueError:  # Python's reader is stricter in places
                continue

    def _short_form(self) -> bytes:
        rng = self._rng
        fields: dict[str, Any] = {"v": 2, "type": "prompt", "text": valid.text(rng) or "?"}
        for name, values in (("id", valid.MESSAGE_IDS), ("prompt_id", valid.MESSAGE_IDS), ("client", ("0", "phone"))):
            if rng.random() < 0.6:
                fields[name] = rng.choice(values)
        return json.dumps(fields).encode()

    # --- fields ---------------------------------------------------------------------------------------------------

    def _fields(self) -> bytes:
        value = self._parsed()
        for _ in range(self._rng.choice((0, 1, 1, 1, 2, 3))):
            self._change_field(value)
        return self._dumped(value)

    def _change_field(self, value: Any) -> None:
        rng = self._rng
        holder = self._somewhere(value)
        if isinstance(holder, list):
            at = rng.randrange(len(holder) + 1)
            if at < len(holder) and rng.random() < 0.5:
                holder[at] = self._any_value(holder[at])
            else:
                holder.insert(at, rng.choice(holder) if holder and rng.random() < 0.5 else self._any_value(None))
            return
        names = list(holder) or ["v"]
        name, way = rng.choice(names), rng.random()
        if way < 0.6:
            holder[name] = self._any_value(holder.get(name))
        elif way < 0.7:
            holder.pop(name, None)
        elif way < 0.8:  # what another kind says in this place, or beside it
            other = self._parsed()
            if isinstance(other, dict) and other:
                taken = rng.choice(list(other))
                holder[taken if rng.random() < 0.5 else name] = other[taken]
        elif way < 0.9:
            holder["type"] = rng.choice(_NAMES)
        else:
            holder[rng.choice((*STRINGS[:20], "text", "id", "client", "v", "reply_to", name.upper()))] = holder.get(
                name
            )

    def _somewhere(self, value: Any) -> Any:
        rng = self._rng
        while isinstance(value, dict | list) and value:
            inner = [
                one for one in (value.values() if isinstance(value, dict) else value) if isinstance(one, dict | list)
            ]
            if not inner or rng.random() < 0.4:
                break
            value = rng.choice(inner)
        return value if isinstance(value, dict | list) else {}

    def _any_value(self, old: Any) -> Any:
        rng, way = self._rng, self._rng.random()
        if way < 0.4:
            chosen = rng.choice(VALUES)
            return copy.deepcopy(chosen) if isinstance(chosen, dict | list) else chosen
        if way < 0.55:
            return valid.text(rng)
        if way < 0.65 and isinstance(old, str):
            return old + rng.choice(STRINGS)
        if way < 0.75 and isinstance(old, int | float):
            return old + rng.choice((-1, 1, 0.5)) if abs(old) < 1e300 else -old
        if way < 0.8:
            return [old]
        if way < 0.85:
            return {"a": old}
        if way < 0.9 and isinstance(old, list) and len(old) < 300:
            return old * rng.choice((2, 17, 60))
        if way < 0.95:
            return str(old)
        deep: Any = old
        for _ in range(rng.choice((3, 60, 140))):
            deep = [deep]
        return deep

    def _dumped(self, value: Any) -> bytes:
        if self._rng.random() < 0.5:  # the longest way to write it: a lone surrogate is an escape
            return json.dumps(value).encode()
        return json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode("utf-8", "surrogatepass")

    # --- tokens and bytes -----------------------------------------------------------------------------------------

    def _tokens(self) -> bytes:
        rng = self._rng
        tokens = _TOKENS.findall(self._begin())
        for _ in range(rng.choice((1, 1, 2, 4))):
            at, way = rng.randrange(len(tokens) + 1), rng.random()
            if way < 0.4 and at < len(tokens):
                tokens[at] = rng.choice(RAW_TOKENS)
            elif way < 0.5:
                tokens.insert(at, rng.choice(RAW_TOKENS))
            elif way < 0.65 and at < len(tokens):
                del tokens[at]
            elif way < 0.8 and tokens:  # a slice once more: keys come twice
                end = at + rng.randint(1, 9)
                tokens[at:at] = tokens[at:end]
            elif tokens:
                other = rng.randrange(len(tokens))
                at = min(at, len(tokens) - 1)
                tokens[at], tokens[other] = tokens[other], tokens[at]
        return b"".join(tokens)

    def _bytes(self) -> bytes:
        rng = self._rng
        raw = bytearray(self._begin())
        for _ in range(rng.choice((1, 1, 2, 3, 8))):
            at, way = rng.randrange(len(raw) + 1), rng.random()
            if way < 0.3 and at < len(raw):
                raw[at] ^= 1 << rng.randrange(8)
            elif way < 0.5:
                raw[at:at] = rng.randbytes(rng.randint(1, 4))
            elif way < 0.7:
                del raw[at : at + rng.randint(1, 6)]
            elif way < 0.8:
                del raw[at:]
            elif way < 0.9:
                raw[at:] = self._begin()[at:]
            else:
                raw[at:at] = rng.choice(RAW_TOKENS)
        return bytes(raw)

    def _around(self) -> bytes:
        rng = self._rng
        body = self._begin()
        text = body.decode("utf-8", "replace")
        return rng.choice(
            (
                lambda: BOM_UTF8 + body,
                lambda: BOM_UTF8 * 2 + body,
                lambda: body + rng.choice((b"\0", b"\0" * 99, b" \r\n\t\0", b"\0{", body)),
                lambda: rng.choice((b" ", b"\n", b"\0", b",")) + body,
                lambda: text.encode(rng.choice(("utf-16", "utf-16-le", "utf-16-be", "utf-32", "utf-7"))),
                lambda: text.encode(rng.choice(("latin-1", "ascii", "cp037", "shift_jis")), "replace"),
                lambda: rng.choice((BOM_UTF16_LE, BOM_UTF16_BE, BOM_UTF32_LE)) + body,
                lambda: body.replace(b'"', b"'"),
                lambda: body.replace(b",", rng.choice((b",\n", b",,", b";")), 3),
                lambda: b"[" + body + b"]",
                lambda: json.dumps(text).encode(),
                lambda: rng.randbytes(rng.choice((0, 1, 2, 3, 40, 300))),
                lambda: body[: rng.randrange(len(body) + 1)],
                lambda: rng.choice(RAW_TOKENS),
            )
        )()

    # --- large ones -----------------------------------------------------------------------------------------------

    def _big(self) -> bytes:
        """About as large as is let through: one text, one list or one object that fills it, or a byte too many."""
        rng = self._rng
        room = BODY_BYTES_MAX - 2_000 + rng.choice((0, 1_000, 1_990, 2_500))
        fields = json.loads(rng.choice(self._valid))
        holder = self._somewhere(fields)
        filling = rng.choice(
            (
                *(plane * (room // 4) for plane in valid.PLANES),
                *(piece * (room // 8) for piece in ("\0", '"', "\\", "\u2028", "a b", "\ud800")),
                *([one] * (room // (len(json.dumps(one)) + 2)) for one in ({}, [], 1, "", None, {"role": "user"}, 1.5)),
                {f"{number:x}": 0 for number in range(room // 10)},
            )
        )
        if isinstance(holder, list):
            holder.append(filling)
        else:
            holder[rng.choice([*holder, "text", "messages", "prompt_id", "entries", "references", "layers"])] = filling
        return self._dumped(fields)
