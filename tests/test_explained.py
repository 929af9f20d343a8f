"""Every page of a code is well formed; its failing example gives the code and no other error, its fixed example neither.

dsl/explained/README.md tells the form.
"""

from __future__ import annotations

import pytest

from mcd.dsl.codes import CODES
from mcd.dsl.explain import FOLDER, PageError, complete, page, parse

from .explained import found, run

PAGES = [page(path.stem) for path in sorted(FOLDER.glob("MCD*.md"))]


LARGE = {"MCD110", "MCD614"}
"""Codes that a megabyte of input alone gives."""


def is_slow(told) -> bool:
    steps = (*told.failing.steps, *told.fixed.steps)
    return told.id in LARGE or any("mcd train" in step.text for step in steps)


CASES = [pytest.param(told, id=told.id, marks=[pytest.mark.slow] * is_slow(told)) for told in PAGES]


@pytest.mark.parametrize("told", CASES)
def test_the_examples_do_what_the_page_says(told, tmp_path):
    (tmp_path / "failing").mkdir()
    (tmp_path / "fixed").mkdir()
    said = run(told.failing, tmp_path / "failing")
    errors, warnings = found(said)
    assert told.id in errors | warnings and errors <= {told.id}, said
    assert told.failing.printed is None or told.failing.printed in said, said
    said = run(told.fixed, tmp_path / "fixed")
    errors, warnings = found(said)
    assert not errors and told.id not in warnings, said


def test_every_code_has_its_page():
    assert {told.id: told.name for told in PAGES} == {code.id: code.name for code in CODES.values()}


def test_pages_are_short():
    """15 lines of 120 columns of prose at most."""
    lengths = {told.id: sum(map(len, (*told.meaning, *told.why))) for told in PAGES}
    assert {id for id, length in lengths.items() if length > 15 * 120} == set()


GOOD = """# MCD407 no-such-layer

## What it means

A fact
in two lines.

Another.

## Why it is so

A reason.

## Failing

```mcd
weigh cat { factor = 9 }
```

## Fixed

In words.

```json config.json
{}
```
"""


def test_a_page_is_read():
    told = parse(GOOD)
    assert (told.id, told.name) == ("MCD407", "no-such-layer")
    assert (told.meaning, told.why) == (("A fact in two lines.", "Another."), ("A reason.",))
    assert told.failing.is_check and told.fixed.is_check
    assert told.fixed.files["config.json"] == "{}\n" != told.failing.files["config.json"]
    assert told.fixed.files["spec.mcd"] == told.failing.files["spec.mcd"]


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("# MCD407", "# MCD40"),
        ("# MCD407", "Hello\n# MCD407"),
        ("layer\n", "layer\n\nHello.\n"),
        ("## Why it is so", "## Why"),
        ("## Fixed", "## Failing"),
        ("A reason.", ""),
        ("A reason.", "```text\na block\n```"),
        ("```mcd\nweigh cat { factor = 9 }\n```", "Only words."),
        ("```json config.json\n{}\n```", "```json config.json\n{}"),
        ("json config.json", "json"),
        ("json config.json", "json config.json wrong"),
        ("```mcd", "```"),
        ("```json config.json", "```sh"),
        ("```json config.json", "```mcd\nmcd 1\n```\n\n```mcd spec.mcd"),
        ("```json config.json", "```text\n```\n\n```text"),
    ],
)
def test_a_malformed_page_is_refused(old, new):
    assert old in GOOD
    with pytest.raises(PageError):
        parse(GOOD.replace(old, new))


def declared(spec: str) -> list[str]:
    return [line.split(" ", 2)[1].rstrip(":") for line in spec.splitlines()[1:] if line[:1].isalpha()]


@pytest.mark.parametrize(
    ("fragment", "names"),
    [
        ("weigh w: tokens { factor = 2 }\n", ["w", "m", "pets"]),
        ("weigh w: cat { factor = 2 }\n", ["w", "m", "pets", "cat"]),
        ("weigh w: canine { factor = 2 }\n", ["w", "m", "pets", "dog", "canine"]),
        ('weigh w: tokens where text == "cat" { factor = .dog }\n', ["w", "m", "pets"]),
        ('model n { context = 8 }\nspan cat = phrases("x") | dog\n', ["n", "cat", "pets", "dog"]),
    ],
)
def test_a_fragment_is_completed_with_what_it_names(fragment, names):
    assert declared(complete(fragment)) == names


def test_a_whole_spec_stays():
    assert complete("mcd 1\nweigh cat { factor = 2 }\n") == "mcd 1\nweigh cat { factor = 2 }\n"
