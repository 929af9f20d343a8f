"""Conversions between bytes, code points and white space, against Python's own strings."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mcd.compiler.tokens.text import CodePoints, Trimmer, slices, spaces, string_bytes, strings

WHITE_SPACE = {
    *range(0x9, 0xE),
    0x20,
    0x85,
    0xA0,
    0x1680,
    *range(0x2000, 0x200B),
    0x2028,
    0x2029,
    0x202F,
    0x205F,
    0x3000,
}
SAMPLES = [
    "plain ascii",
    "naïve e\u0301 café",
    "😀👩‍👩‍👧 ok",
    "مرحبا بالعالم",
    "日本語　です",
    "",
    " \u00a0\u2003 ",
    "\u1680\u205fz",
]


def buffer_of(text):
    return np.frombuffer(text.encode(), np.uint8)


def bounds_of(text):
    return np.concatenate([[0], np.cumsum([len(c.encode()) for c in text], dtype=np.int64)]).astype(np.int64)


def test_every_code_point_is_white_space_or_not_as_unicode_says():
    points = [p for p in range(0x11000) if not 0xD800 <= p < 0xE000]
    text = "".join(map(chr, points))
    lengths = np.diff(bounds_of(text))
    expected = np.repeat([p in WHITE_SPACE for p in points], lengths)
    assert (spaces(buffer_of(text)) == expected).all()


@pytest.mark.parametrize("text", SAMPLES)
def test_bytes_and_code_points_convert_both_ways(text):
    points, bounds = CodePoints(buffer_of(text)), bounds_of(text)
    chars = np.arange(len(text) + 1)
    zero = np.zeros_like(chars)
    assert (points.byte_of_char(zero, chars) == bounds).all()
    assert (points.char_of_byte(zero, bounds) == chars).all()


def test_code_points_count_from_an_origin():
    points, bounds = CodePoints(buffer_of("é😀x日")), bounds_of("é😀x日")
    origin = np.array([bounds[1], bounds[2]])
    assert points.byte_of_char(origin, np.array([2, 1])).tolist() == [bounds[3], bounds[3]]
    assert points.char_of_byte(origin, np.array([bounds[4], bounds[4]])).tolist() == [3, 2]
    assert points.byte_of_char(origin, np.array([99, 99])).tolist() == [bounds[4]] * 2


def test_a_position_inside_a_code_point_counts_as_its_end():
    assert CodePoints(buffer_of("😀x")).char_of_byte(np.array([0]), np.array([2])).tolist() == [1]


def test_widen_gives_whole_code_points():
    start, end = CodePoints(buffer_of("a😀b")).widen(np.array([0, 2, 1, 3, 6]), np.array([2, 4, 5, 3, 6]))
    assert list(zip(start.tolist(), end.tolist(), strict=True)) == [(0, 5), (1, 5), (1, 5), (3, 3), (6, 6)]


@given(st.lists(st.text("a \u00a0\u3000é\n", max_size=6), max_size=6))
def test_trim_is_strip(pieces):
    text = "".join(pieces)
    bounds = np.concatenate([[0], np.cumsum([len(p.encode()) for p in pieces], dtype=np.int64)]).astype(np.int64)
    start, end = Trimmer(buffer_of(text)).trim(bounds[:-1], bounds[1:])
    whole = text.encode()
    assert [whole[a:b].decode() for a, b in zip(start, end, strict=True)] == [p.strip() for p in pieces]
    assert (np.diff(start) >= 0).all() and (np.diff(end) >= 0).all()


def test_slices_are_texts_and_show_the_bytes_of_half_a_code_point():
    buffer = buffer_of("né😀")
    assert slices(buffer, np.array([0, 1, 3]), np.array([3, 1, 7])).to_pylist() == ["né", "", "😀"]
    assert slices(buffer, np.array([0, 3, 6]), np.array([1, 6, 7])).to_pylist() == ["n", r"\xf0\x9f\x98", r"\x80"]


def test_strings_and_their_bytes():
    buffer, offsets = string_bytes(strings(buffer_of("abcdé"), np.array([0, 1, 1, 6]))[1:])
    assert bytes(buffer).decode() == "bcdé"
    assert offsets.tolist() == [0, 0, 5]
