from hypothesis import given
from hypothesis import strategies as st

from edge_agent.adapters.llama.text_stream import TextStream


def in_pieces(data: bytes, size: int) -> list[bytes]:
    return [data[start : start + size] for start in range(0, len(data), size)]


@given(st.text(max_size=40), st.integers(1, 5))
def test_text_comes_out_as_it_went_in_however_its_bytes_are_split(text: str, size: int) -> None:
    stream = TextStream([])
    shown = [stream.push(piece) for piece in in_pieces(text.encode(), size)]
    assert "".join(shown) + stream.finish() == text.lstrip()


def test_white_space_before_the_first_word_is_left_out() -> None:
    stream = TextStream([])
    assert [stream.push(piece) for piece in (b" ", b"\n ", b" Yes", b", ", b"\n", b"no")] == [
        "",
        "",
        "Yes",
        ", ",
        "\n",
        "no",
    ]


def test_a_character_is_shown_only_when_it_is_whole() -> None:
    stream = TextStream([])
    assert [stream.push(bytes([byte])) for byte in "é🎉".encode()] == ["", "é", "", "", "", "🎉"]


def test_an_unfinished_character_at_the_end_is_left_out() -> None:
    stream = TextStream([])
    assert stream.push("ok🎉".encode()[:-1]) + stream.finish() == "ok"


def test_bytes_that_are_no_text_become_replacement_characters() -> None:
    stream = TextStream([])
    assert stream.push(b"a\xffb") == "a\ufffdb"


def test_a_stop_text_ends_the_text_and_is_not_part_of_it() -> None:
    stream = TextStream(["\nUser:", "END"])
    shown = [stream.push(piece.encode()) for piece in ["Hi", " there\nUs", "er", ": what", " more"]]
    assert "".join(shown) + stream.finish() == "Hi there"
    assert stream.stopped


def test_what_only_looked_like_a_stop_text_is_shown_after_all() -> None:
    stream = TextStream(["END"])
    assert stream.push(b"the EN") == "the "
    assert stream.push(b"GLISH") == "ENGLISH"
    assert stream.push(b"!E") + stream.finish() == "!E"
    assert not stream.stopped


@given(st.text("abX", max_size=30), st.lists(st.text("abX", min_size=1, max_size=3), max_size=3), st.integers(1, 4))
def test_the_text_ends_before_the_first_stop_text_however_it_is_split(text: str, stops: list[str], size: int) -> None:
    stream = TextStream(stops)
    shown = "".join(stream.push(piece) for piece in in_pieces(text.encode(), size)) + stream.finish()
    assert text.startswith(shown)
    assert not any(stop in shown for stop in stops)
    if not any(stop in text for stop in stops):
        assert shown == text
