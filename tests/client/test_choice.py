"""Whom a user asks who names nobody: the least busy that can infer."""

from __future__ import annotations

import random
from dataclasses import replace

from edge_agent.client import DeviceView, least_busy
from tests.client.samples import presence, status


def view(name: str, waiting: int | None = None, *, service_s: float = 1.5, able: bool = True) -> DeviceView:
    told = presence(name)
    told = replace(told, entry=replace(told.entry, able=able))
    figures = None if waiting is None else replace(status(name, waiting=waiting), service_time_s_mean=service_s)
    return DeviceView(name, told, figures, 0.0)


def test_the_device_that_is_free_first_comes_first() -> None:
    views = [view("long", 5), view("short", 1), view("slow", 1, service_s=9.0), view("new")]
    assert least_busy(views, random.Random(1)) == ("new", "short", "long", "slow")


def test_what_this_client_has_open_itself_counts_before_the_device_tells_it() -> None:
    views = [view("a", 0), view("b", 1)]
    assert least_busy(views, random.Random(1)) == ("a", "b")
    assert least_busy(views, random.Random(1), {"a": 4}) == ("b", "a")


def test_a_device_that_cannot_infer_is_never_asked() -> None:
    assert least_busy([view("a", 0, able=False), view("b", 9)], random.Random(1)) == ("b",)
    assert least_busy([view("a", 0, able=False)], random.Random(1)) == ()
    unheard = DeviceView("c", None, replace(status("c"), able=False), 0.0)
    assert least_busy([unheard], random.Random(1)) == ()


def test_equals_are_spread() -> None:
    views = [view(name, 1) for name in "abc"]
    rng = random.Random(1)
    assert {least_busy(views, rng)[0] for _ in range(60)} == {"a", "b", "c"}
