"""Line protocol: there and back, what is left out, and what every database gives back as it is."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st
from influxdb_client import Point as InfluxPoint

from edge_agent.wire.line_protocol import INTEGER_MAX, Point, decode, encode, is_sendable, tag_text

plain_text = st.text(min_size=1).map(tag_text)
numbers = st.integers(-INTEGER_MAX, INTEGER_MAX) | st.floats(allow_nan=False, allow_infinity=False)


@given(
    tags=st.dictionaries(plain_text, plain_text, max_size=4),
    fields=st.dictionaries(plain_text, numbers, min_size=1, max_size=4),
    time_ns=st.integers(0, 2**63 - 1),
)
def test_any_names_and_numbers_survive_the_way_there_and_back(tags, fields, time_ns):
    point = Point("agent_queue", tags, fields, time_ns)
    line = encode(point)
    assert is_sendable(line.encode())
    again = decode(line)
    assert again == point
    assert [type(value) for value in again.fields.values()] == [type(value) for value in fields.values()]


@given(tag=st.text(min_size=1), value=st.text())
def test_no_text_at_all_can_break_a_line(tag, value):
    line = encode(Point("m", {tag: value, "after": "x"}, {"f": 1}, 5))
    point = decode(line)
    assert is_sendable(line.encode())
    assert (point.fields, point.time_ns, point.tags["after"]) == ({"f": 1}, 5, "x")


@given(tags=st.dictionaries(plain_text, plain_text, max_size=4), value=st.floats(allow_nan=False, allow_infinity=False))
def test_lines_mean_the_same_as_those_of_the_databases_own_client(tags, value):
    theirs = InfluxPoint("m").field("count", 3).field("value", value).time(7)
    for name, text in tags.items():
        theirs = theirs.tag(name, text)
    assert decode(theirs.to_line_protocol()) == decode(encode(Point("m", tags, {"count": 3, "value": value}, 7)))


@pytest.mark.parametrize("number", [math.nan, math.inf, -math.inf, 2**53 + 1, -(2**53) - 1, 2**63, 10**400])
def test_a_number_that_a_database_cannot_give_back_is_left_out(number):
    assert encode(Point("m", {}, {"f": number}, 1)) == ""
    assert encode(Point("m", {}, {"f": number, "g": 1}, 1)) == "m g=1i 1"


def test_a_negative_zero_is_written_as_zero():
    assert encode(Point("m", {}, {"f": -0.0}, 1)) == "m f=0.0 1"


@pytest.mark.parametrize("text", ["m" * 1024, "ä" * 512, "😀" * 256])
def test_a_long_text_is_cut_at_a_bound_between_two_characters(text):
    assert tag_text(text) == text
    cut = tag_text(text + text[0])
    assert cut == text[: len(cut) - 1] + "…"
    assert 1020 <= len(cut.encode()) <= 1024
    assert tag_text(cut) == cut


@pytest.mark.parametrize(
    "point",
    [
        Point("m", {f"t{number}": "x" for number in range(25)}, {"f": 1}, 1),
        Point("", {}, {"f": 1}, 1),
        Point("m", {"": "x"}, {"f": 1}, 1),
        Point("m", {}, {"": 1}, 1),
    ],
)
def test_a_point_that_a_database_would_drop_is_our_own_misuse(point):
    with pytest.raises(ValueError, match="not a point"):
        encode(point)
