"""A body is refused at its first reason, whatever else is wrong with it: 256 KiB of wrong items cost no more to refuse
than 256 KiB of right ones cost to read. Counted in bytes of memory, since a time is the machine's."""

from __future__ import annotations

import json
import random
from collections.abc import Iterator
from typing import Any

import pytest

from edge_agent.core.messages import Prompt
from edge_agent.wire.codec import BODY_BYTES_MAX, TYPE_NAMES, encode
from tests.hostile import valid
from tests.hostile.check_codec import check_cost

ITEMS: tuple[Any, ...] = ({}, 1)  # each wrong in all its fields, or many of them


def lists_in(value: Any, place: str = "") -> Iterator[tuple[str, list[Any]]]:
    """Every list in a body, with the names that lead there."""
    for name, inner in value.items() if isinstance(value, dict) else (("", one) for one in value):
        if isinstance(inner, list):
            yield f"{place}.{name}", inner
        if isinstance(inner, dict | list):
            yield from lists_in(inner, f"{place}.{name}")


def largest(kind: type) -> int:
    """Bytes to fill. What costs too much for its bytes does so in a part of a body; a prompt is filled to the last."""
    return BODY_BYTES_MAX if kind is Prompt else BODY_BYTES_MAX // 4


def filled_bodies(kind: type, item: Any) -> Iterator[bytes]:
    """A body for each place of this kind that holds a list, which fills it."""
    rng, seen = random.Random(7), set[str]()
    for _ in range(8):
        text = encode(valid.message(rng, kind))
        for number, (place, _) in enumerate(lists_in(json.loads(text))):
            if place not in seen:
                seen.add(place)
                fields = json.loads(text)
                filled = list(lists_in(fields))[number][1]
                filled += [item] * ((largest(kind) - 2 * len(text)) // (len(json.dumps(item)) + 2))
                yield json.dumps(fields, ensure_ascii=False).encode()


WITH_LISTS = [kind for kind in valid.KINDS if any(filled_bodies(kind, 1))]


@pytest.mark.parametrize("item", ITEMS, ids=json.dumps)
@pytest.mark.parametrize("kind", WITH_LISTS, ids=lambda kind: TYPE_NAMES[kind])
def test_a_list_that_fills_a_body_costs_what_its_bytes_cost(kind: type, item: Any) -> None:
    for body in filled_bodies(kind, item):
        assert 0.9 * largest(kind) < len(body) <= largest(kind)
        check_cost(body)


def objects_in(value: Any, place: str = "") -> Iterator[tuple[str, dict[str, Any]]]:
    """Every object in a body, with the names that lead there."""
    if isinstance(value, dict):
        yield place, value
    if isinstance(value, dict | list):
        for name, inner in value.items() if isinstance(value, dict) else (("", one) for one in value):
            yield from objects_in(inner, f"{place}.{name}")


def unlike_objects(text: str) -> list[int]:
    """The numbers of the objects in a body that differ in their place or in their fields' names: one of each kind."""
    first: dict[tuple[str, frozenset[str]], int] = {}
    for number, (place, found) in enumerate(objects_in(json.loads(text))):
        first.setdefault((place, frozenset(found)), number)
    return list(first.values())


@pytest.mark.parametrize("kind", valid.KINDS, ids=lambda kind: TYPE_NAMES[kind])
def test_an_object_of_members_that_fill_a_body_costs_what_its_bytes_cost(kind: type) -> None:
    text = encode(valid.message(random.Random(7), kind))
    for number in unlike_objects(text):
        fields = json.loads(text)
        place, filled = list(objects_in(fields))[number]
        filled |= {f"{name:x}": 0 for name in range((BODY_BYTES_MAX - 2 * len(text)) // 12)}
        body = json.dumps(fields, ensure_ascii=False).encode()
        assert 0.7 * BODY_BYTES_MAX < len(body) <= BODY_BYTES_MAX, place
        check_cost(body)


@pytest.mark.parametrize("kind", valid.KINDS, ids=lambda kind: TYPE_NAMES[kind])
def test_what_is_missing_beside_a_large_value_costs_no_copy_of_it_each(kind: type) -> None:
    text = encode(valid.message(random.Random(7), kind))
    large = [[]] * 10_000  # 40 KB: what each copy adds grows with it
    for number in unlike_objects(text):
        for name in ("nobody knows it", *list(objects_in(json.loads(text)))[number][1]):
            fields = json.loads(text)
            _, alone = list(objects_in(fields))[number]
            kept = {key: alone[key] for key in ("v", "type") if key in alone}
            alone.clear()
            alone |= {name: large} | kept
            check_cost(json.dumps(fields, ensure_ascii=False).encode())


def test_objects_that_are_right_hide_none_that_is_not() -> None:
    turn = {"role": "user", "content": ""}
    fields = {"v": 2, "type": "prompt", "prompt_id": "p", "messages": [turn] * 8_000}
    fields["messages"] += [{f"{number:x}": 0 for number in range(1_000)}]  # type: ignore[operator]  # a list
    check_cost(json.dumps(fields).encode())


def test_names_that_no_message_has_cost_what_their_bytes_cost() -> None:
    fields = {"v": 2, "type": "prompt", **{f"{number:x}": 0 for number in range(20_000)}}
    check_cost(json.dumps(fields).encode())
    check_cost(json.dumps({"v": 2, "type": "prompt", "options": fields}).encode())
