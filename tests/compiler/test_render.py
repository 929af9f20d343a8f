"""Templates: what stands in a text, and where."""

import pyarrow as pa
import pytest

from mcd.compiler.sources.render import render, slots_of
from mcd.dsl.checked import Template

A, B = ("a",), ("b", "c")


def strings(*values):
    return pa.array(values, pa.string())


def slot_texts(rendered, path):
    start, end = rendered.slots[path]
    return [bytes(rendered.buffer[s:e]).decode() for s, e in zip(start, end, strict=True)]


@pytest.mark.parametrize("skip", [0, 1])
def test_slots_stand_between_the_literal_pieces(skip):
    values = {A: strings("x", "né😀", "")[skip:], B: strings(" {y} ", "日本", "z\n")[skip:]}
    rendered = render(Template(("Q: ", A, " → ", B, ".")), values, 3 - skip)
    expected = ["Q: x →  {y} .", "Q: né😀 → 日本.", "Q:  → z\n."][skip:]
    assert rendered.texts.to_pylist() == expected
    assert [
        bytes(rendered.buffer[s:e]).decode() for s, e in zip(rendered.bounds, rendered.bounds[1:], strict=False)
    ] == expected
    assert slot_texts(rendered, A) == values[A].to_pylist()
    assert slot_texts(rendered, B) == values[B].to_pylist()


def test_a_slot_alone_is_the_text():
    rendered = render(Template((A,)), {A: strings("one", "two")[1:]}, 1)
    assert rendered.texts.to_pylist() == ["two"]
    assert (rendered.slots[A][0].tolist(), rendered.slots[A][1].tolist()) == ([0], [3])


def test_a_template_without_slots_is_a_constant():
    rendered = render(Template(("same",)), {}, 2)
    assert rendered.texts.to_pylist() == ["same", "same"]
    assert rendered.slots == {}


def test_no_records():
    rendered = render(Template(("x", A)), {A: strings()}, 0)
    assert rendered.bounds.tolist() == [0]
    assert len(rendered.buffer) == 0


def test_a_slot_that_stands_twice_is_where_it_stands_first():
    template = Template((A, "-", A))
    assert slots_of(template) == (A,)
    rendered = render(template, {A: strings("ab")}, 1)
    assert (rendered.slots[A][0].tolist(), rendered.slots[A][1].tolist()) == ([0], [2])
