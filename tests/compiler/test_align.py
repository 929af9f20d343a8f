"""Alignment: token ranges, parts of cut texts, edges and counts, by hand and against a slow reference."""

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mcd.compiler.alignment.align import align
from mcd.compiler.batch import Spans
from mcd.dsl import checked as c
from mcd.dsl.diagnostics import Failure

from .alignment import PLACE, edges, recipe, spans, texts, token_spans

SPLIT = c.Overflow("split", 2)


def ranges(aligned, key):
    """The ranges of one set, as (part, start, end)."""
    found = aligned.spans
    mine = found.set == aligned.keys.index(key)
    return list(zip(found.row[mine].tolist(), found.start[mine].tolist(), found.end[mine].tolist(), strict=True))


def counts(aligned, key):
    """Cause -> count over all records of one set; zeros left out."""
    total = aligned.counts.by_split(np.zeros(aligned.counts.records, dtype=np.int64), ["train"])
    return total.get(key, {}).get("train", {})


def rows(aligned):
    bounds = aligned.token_offsets
    return [aligned.input_ids[a:b].tolist() for a, b in pairwise(bounds)]


def test_a_token_belongs_to_a_span_that_shares_a_character_with_it():
    batch = texts(["the", " quick", " fox"])
    aligned = align(batch, recipe(["a"]), {"a": spans(batch, (0, 0, 3), (0, 4, 5), (0, 10, 13))}, {})
    assert ranges(aligned, "a") == [(0, 0, 1), (0, 1, 2), (0, 2, 3)]
    assert counts(aligned, "a") == {"matched": 3, "rows": 3, "ragged": 1}


def test_white_space_inside_a_span_is_blank_and_no_row():
    batch = texts(["a", "  ", "b", " ", "c"])
    aligned = align(batch, recipe(["a"]), {"a": spans(batch, (0, 0, 4))}, {})
    assert ranges(aligned, "a") == [(0, 0, 3)]
    assert ranges(aligned, "blank") == [(0, 1, 2), (0, 3, 4)]
    assert counts(aligned, "a") == {"matched": 1, "rows": 2}


def test_a_span_that_is_a_blank_token_takes_it():
    batch = texts(["a", "  ", "b"])
    aligned = align(batch, recipe(["a"]), {"a": token_spans(batch, [0, 1, 2])}, {})
    assert ranges(aligned, "a") == [(0, 0, 1), (0, 1, 2), (0, 2, 3)]
    assert counts(aligned, "a") == {"matched": 3, "rows": 3}


def test_a_span_without_a_token_is_between():
    batch = texts(["ab", "c"])
    lost = texts(["ab", "xyz", "c"])
    gone = lost.tokens
    keep = np.array([0, 2])
    table = type(gone)(
        gone.ids[keep], gone.start[keep], gone.end[keep], gone.record[keep], batch.tokens.offsets, gone.added[keep]
    )
    batch = type(lost)(**{**{f: getattr(lost, f) for f in lost.__dataclass_fields__}, "tokens": table})
    aligned = align(batch, recipe(["a"]), {"a": spans(batch, (0, 2, 4))}, {})
    assert ranges(aligned, "a") == []
    assert counts(aligned, "a") == {"matched": 1, "between": 1}


def test_added_tokens_shift_positions_and_belong_to_no_span():
    batch = texts(["a", " b"], [" c"], prefix=1, suffix=1)
    aligned = align(batch, recipe(["a"]), {"a": spans(batch, (0, 0, 3), (1, 1, 2))}, {})
    assert rows(aligned) == [[900, 1, 2, 950], [900, 5, 950]]
    assert ranges(aligned, "a") == [(0, 1, 3), (1, 1, 2)]


def test_an_added_token_that_is_a_span_acts_once_and_one_before_the_text_is_shown_in_every_part():
    """4 tokens in parts of 2: [s a b e], [s c d e]. The first s acts, the last e does, and the other s is there as a key."""
    batch = texts(["a", " b", " c", " d"], prefix=1, suffix=1)
    both = token_spans(batch, [0, 5])
    words = token_spans(batch, [2, 3])
    pairs = edges(batch, (0, 0), (1, 0), (0, 1), (1, 1))
    made = recipe(["a"], ["e", "f"], context=4, overflow=c.Overflow("split", 0))
    aligned = align(batch, made, {"a": both}, {"e": (words, both, pairs), "f": (both, words, pairs)})
    assert rows(aligned) == [[900, 1, 2, 950], [900, 3, 4, 950]]
    assert ranges(aligned, "a") == [(0, 0, 1), (1, 3, 4)]
    assert ranges(aligned, "a/again") == [(1, 0, 1)]
    assert counts(aligned, "a") == {"matched": 2, "rows": 2}
    found = aligned.edges
    first = found.set == aligned.keys.index("e")
    columns = (found.row, found.query_start, found.key_start)
    assert list(zip(*(column[first] for column in columns), strict=True)) == [(0, 2, 0), (1, 1, 0), (1, 1, 3)]
    assert list(zip(*(column[~first] for column in columns), strict=True)) == [(0, 0, 2), (1, 3, 1)]
    assert (counts(aligned, "e")["cut"], counts(aligned, "f")["cut"]) == (1, 2)


def test_an_added_token_behind_a_text_that_is_cut_is_cut_too():
    batch = texts(["a", " b", " c"], prefix=1, suffix=1)
    aligned = align(batch, recipe(["a"], context=4), {"a": token_spans(batch, [0, 4])}, {})
    assert ranges(aligned, "a") == [(0, 0, 1)]
    assert (ranges(aligned, "a/again"), ranges(aligned, "a/cut")) == ([], [])
    assert counts(aligned, "a") == {"matched": 2, "rows": 1, "cut": 1}


def test_truncation_keeps_added_tokens_and_stores_what_is_left_of_a_cut_span():
    batch = texts(["a", " b", " c", " d"], prefix=1, suffix=1)
    stored = {"a": spans(batch, (0, 0, 1), (0, 2, 5), (0, 6, 7))}
    aligned = align(batch, recipe(["a"], context=4), stored, {})
    assert rows(aligned) == [[900, 1, 2, 950]]
    assert ranges(aligned, "a") == [(0, 1, 2)]
    assert ranges(aligned, "a/cut") == [(0, 2, 3)]
    assert ranges(aligned, "record/cut") == [(0, 1, 3)]
    assert ranges(aligned, "repeat") == [(0, 3, 4)]
    assert counts(aligned, "a") == {"matched": 3, "rows": 1, "cut": 2}


def test_split_repeats_a_stride_and_a_span_acts_in_the_first_part_that_holds_it_whole():
    """7 tokens, parts of 4 that repeat 2: [0, 4), [2, 6), [4, 7)."""
    batch = texts(["a", " b", " c", " d", " e", " f", " g"])
    stored = {"a": spans(batch, (0, 4, 7), (0, 6, 9), (0, 4, 13))}
    aligned = align(batch, recipe(["a"], context=4, overflow=SPLIT), stored, {})
    assert rows(aligned) == [[0, 1, 2, 3], [2, 3, 4, 5], [4, 5, 6]]
    assert aligned.parts.part.tolist() == [0, 1, 2]
    assert ranges(aligned, "a") == [(0, 2, 4), (1, 1, 3)]
    assert ranges(aligned, "a/again") == [(1, 0, 2)]
    assert ranges(aligned, "a/cut") == [(0, 3, 4), (0, 2, 4), (1, 2, 4), (2, 2, 3)]
    assert ranges(aligned, "repeat") == [(1, 0, 2), (2, 0, 2)]
    assert counts(aligned, "a") == {"matched": 3, "rows": 4, "cut": 1}


def test_an_edge_acts_in_the_first_part_that_holds_both_its_spans():
    batch = texts(["a", " b", " c", " d", " e", " f", " g"])
    ends = spans(batch, (0, 0, 1), (0, 4, 5), (0, 6, 7), (0, 10, 11))
    pairs = {"e": (ends, ends, edges(batch, (1, 0), (2, 1), (3, 0), (3, 2)))}
    aligned = align(batch, recipe(joins=["e"], context=4, overflow=SPLIT), {}, pairs)
    found = aligned.edges
    assert list(zip(found.row, found.query_start, found.key_start, strict=True)) == [(0, 2, 0), (0, 3, 2), (1, 3, 1)]
    assert counts(aligned, "e") == {"matched": 4, "rows": 3, "cut": 1}


def test_forward_edges_are_stored_and_counted_in_a_causal_model_alone():
    batch = texts(["a", " b", " c"], [" d"])
    ends = spans(batch, (0, 0, 1), (0, 2, 5))
    pairs = {"e": (ends, ends, edges(batch, (0, 1), (1, 0)))}
    aligned = align(batch, recipe(joins=["e"]), {}, pairs)
    assert len(aligned.edges.row) == 2
    assert counts(aligned, "e") == {"matched": 2, "rows": 2, "forward": 1, "unmatched": 1}
    aligned = align(batch, recipe(joins=["e"], causal=False), {}, pairs)
    assert counts(aligned, "e") == {"matched": 2, "rows": 3, "unmatched": 1}


def test_drop_removes_and_counts_long_records_and_records_without_a_token():
    batch = texts(["a", " b", " c"], ["d"], [])
    stored = {"a": spans(batch, (0, 0, 1), (1, 0, 1))}
    aligned = align(batch, recipe(["a"], context=2, overflow=c.Overflow("drop")), stored, {})
    assert rows(aligned) == [[3]]
    assert aligned.dropped.tolist() == [True, False, True]
    assert counts(aligned, "a") == {"matched": 1, "rows": 1}


def test_error_names_source_and_record():
    batch = texts(["a"], ["a", " b", " c"])
    with pytest.raises(Failure) as caught:
        align(batch, recipe([], context=2, overflow=c.Overflow("error")), {}, {})
    (found,) = caught.value.diagnostics
    assert (found.code.id, found.place.path, found.place.line) == ("MCD624", "s", 2)
    assert found.message == "record 2 of source `s` has 3 tokens, and the context of model `m` has 2"


def test_a_context_without_room_is_an_error_at_the_model():
    batch = texts(["a"], prefix=1, suffix=1)
    with pytest.raises(Failure) as caught:
        align(batch, recipe([], context=2), {}, {})
    (found,) = caught.value.diagnostics
    assert (found.code.id, found.place) == ("MCD625", PLACE)


def test_counts_are_per_record_and_split():
    batch = texts(["a"], ["b"], ["c"])
    aligned = align(batch, recipe(["a"]), {"a": spans(batch, (0, 0, 1), (2, 0, 1))}, {})
    assert aligned.counts.per_record("matched", "a").tolist() == [1, 0, 1]
    split = np.array([0, 0, 1])
    assert aligned.counts.by_split(split, ["train", "valid"])["a"] == {
        "train": {"matched": 1, "unmatched": 1, "rows": 1},
        "valid": {"matched": 1, "rows": 1},
    }


def test_rows_count_a_token_once_under_overlapping_spans():
    batch = texts(["a", " b", " c"])
    aligned = align(batch, recipe(["a"]), {"a": spans(batch, (0, 0, 3), (0, 0, 5), (0, 2, 3))}, {})
    assert counts(aligned, "a")["rows"] == 3


# --- against a slow reference

record = st.lists(st.sampled_from(["a", " b", "cd", " ", "  ", "e ", " f g"]), max_size=9)
overflow = st.sampled_from([c.Overflow(), c.Overflow("split", 0), c.Overflow("split", 1), SPLIT, c.Overflow("drop")])


@settings(max_examples=300, deadline=None)
@given(st.lists(record, min_size=1, max_size=3), overflow, st.integers(0, 2), st.integers(0, 2), st.data())
def test_agrees_with_a_loop_over_tokens(records, how, prefix, suffix, data):
    batch = texts(*records, prefix=prefix, suffix=suffix)
    stored, pairs = with_added(batch, draw_spans(batch, data), data), []
    for query in range(len(stored)):
        pairs += [(query, key) for key in range(len(stored)) if stored.record[key] == stored.record[query]]
    pairs = [pair for pair in pairs if data.draw(st.booleans())]
    made = recipe(["a"], ["e"], context=4 + prefix + suffix, overflow=how)
    aligned = align(batch, made, {"a": stored}, {"e": (stored, stored, edges(batch, *pairs))})
    expected = Reference(batch, stored, pairs, 4, how, prefix, suffix)
    assert rows(aligned) == expected.rows
    for key, found in expected.ranges.items():
        assert sorted(ranges(aligned, key)) == sorted(found), key
    found = aligned.edges
    assert sorted(
        zip(found.row, found.query_start, found.query_end, found.key_start, found.key_end, strict=True)
    ) == sorted(expected.edges)
    for key in ("a", "e"):
        assert counts(aligned, key) == {k: v for k, v in expected.counts[key].items() if v}, key


def draw_spans(batch, data):
    found = set()
    for number in range(batch.records):
        text = batch.text(number)
        for _ in range(data.draw(st.integers(0, 4)) if text.strip() else 0):
            start = data.draw(st.integers(0, len(text) - 1))
            end = data.draw(st.integers(start + 1, len(text)))
            piece = text[start:end]
            if piece.strip():
                start += len(piece) - len(piece.lstrip())
                found.add((number, start, start + len(piece.strip())))
    return spans(batch, *sorted(found))


def with_added(batch, found, data):
    """The spans, and some of the added tokens, in order."""
    table = batch.tokens
    drawn = [row for row in np.flatnonzero(table.added).tolist() if data.draw(st.booleans())]
    tokens = token_spans(batch, drawn)
    record, start, end, token = (
        np.concatenate([getattr(found, name), getattr(tokens, name)]) for name in ("record", "start", "end", "token")
    )
    order = np.lexsort((token, end, start, record))
    return Spans(record[order], start[order], end[order], np.arange(len(order)), token[order])


class Reference:
    """What alignment should give, token by token."""

    def __init__(self, batch, stored, pairs, capacity, how, prefix, suffix):
        self.rows, self.edges = [], []
        self.ranges = {key: [] for key in ("a", "a/cut", "a/again", "blank", "repeat", "record/cut")}
        self.counts = {
            key: dict.fromkeys(("matched", "rows", "unmatched", "cut", "ragged", "between", "forward"), 0)
            for key in "ae"
        }
        self.prefix, self.suffix = prefix, suffix
        for number in range(batch.records):
            self.record(batch, stored, pairs, capacity, how, number)

    def record(self, batch, stored, pairs, capacity, how, number):
        table = batch.tokens
        mine = list(range(table.offsets[number], table.offsets[number + 1]))
        own = [t for t in mine if not table.added[t]]
        before, after = mine[: self.prefix], mine[len(mine) - self.suffix :]
        if not mine or (how.how == "drop" and len(own) > capacity):
            return
        begins = [0]
        if how.how == "split":
            while begins[-1] + capacity < len(own):
                begins.append(begins[-1] + capacity - how.stride)
        parts = [(len(self.rows) + i, b, min(b + capacity, len(own))) for i, b in enumerate(begins)]
        for place, (_, b, e) in enumerate(parts):
            row = len(self.rows)
            self.rows.append([int(table.ids[t]) for t in [*before, *own[b:e], *after]])
            fresh = b + (how.stride if place else 0)
            if place and fresh - b + self.prefix:
                self.ranges["repeat"].append((row, 0, fresh - b + self.prefix))
            if e < len(own) and self.suffix:
                self.ranges["repeat"].append((row, e - b + self.prefix, e - b + self.prefix + self.suffix))
            self.runs(row, [table.start[t] == table.end[t] for t in own[b:e]])
            if len(parts) > 1 or e < len(own):
                self.remainder("record/cut", table, own, row, b, fresh, e)
        ours = [i for i in range(len(stored)) if stored.record[i] == number]
        held = {i: self.tokens(table, own, stored.start[i], stored.end[i]) for i in ours if stored.token[i] < 0}
        held |= {i: [int(stored.token[i]) - mine[0] - self.prefix] for i in ours if stored.token[i] >= 0}
        self.spans(table, own, parts, how, stored, ours, held)
        self.pairs(table, own, parts, stored, [p for p in pairs if p[0] in ours], held)

    def tokens(self, table, own, start, end):
        return [i for i, t in enumerate(own) if max(start, table.start[t]) < min(end, table.end[t])]

    def runs(self, row, blank):
        at = 0
        while at < len(blank):
            end = at
            while end < len(blank) and blank[end]:
                end += 1
            if end > at:
                self.ranges["blank"].append((row, at + self.prefix, end + self.prefix))
            at = end + 1

    def remainder(self, key, table, own, row, b, start, end):
        inked = [i for i in range(start, end) if table.start[own[i]] < table.end[own[i]]]
        if inked:
            self.ranges[key].append((row, inked[0] - b + self.prefix, inked[-1] + 1 - b + self.prefix))

    @staticmethod
    def extent(own, held):
        """Where the content of a part must reach: an added token stands at the content's beginning or end."""
        return min(max(held[0], 0), len(own)), min(max(held[-1] + 1, 0), len(own))

    def ragged(self, table, own, stored, i, held):
        if stored.token[i] >= 0:
            return 0
        first, last = own[held[i][0]], own[held[i][-1]]
        return int(table.start[first] < stored.start[i]) + int(table.end[last] > stored.end[i])

    def spans(self, table, own, parts, how, stored, ours, held):
        count, covered = self.counts["a"], set()
        count["matched"] += len(ours)
        count["unmatched"] += not ours
        for i in ours:
            if not held[i]:
                count["between"] += 1
                continue
            count["ragged"] += self.ragged(table, own, stored, i, held)
            start, end = held[i][0], held[i][-1] + 1
            low, high = self.extent(own, held[i])
            whole = [place for place, (_, b, e) in enumerate(parts) if (b <= low or start < 0) and high <= e]
            count["cut"] += not whole
            for place, (row, b, e) in enumerate(parts):
                base = 0 if start < 0 else b
                at = (row, start - base + self.prefix, end - base + self.prefix)
                if whole and place == whole[0]:
                    self.ranges["a"].append(at)
                    covered |= {(row, t) for t in held[i]}
                elif place in whole:
                    self.ranges["a/again"].append(at)
                fresh = b + (how.stride if place else 0)
                if stored.token[i] < 0 and (not whole or place != whole[0]):
                    self.remainder("a/cut", table, own, row, b, max(start, fresh), min(end, e))
        count["rows"] += len(covered)

    def pairs(self, table, own, parts, stored, pairs, held):
        count, covered = self.counts["e"], set()
        count["matched"] += len(pairs)
        count["unmatched"] += not pairs
        for side in (0, 1):
            for i in {pair[side] for pair in pairs}:
                if held[i]:
                    count["ragged"] += self.ragged(table, own, stored, i, held)
        for query, key in pairs:
            if not held[query] or not held[key]:
                count["between"] += 1
                continue
            ends = [held[query][0], held[query][-1] + 1, held[key][0], held[key][-1] + 1]
            needed = [*self.extent(own, held[query]), *(self.extent(own, held[key]) if ends[2] >= 0 else ())]
            whole = [(row, b) for row, b, e in parts if b <= min(needed) and max(needed) <= e]
            if not whole:
                count["cut"] += 1
                continue
            row, b = whole[0]
            bases = [0 if start < 0 else b for start in (ends[0], ends[0], ends[2], ends[2])]
            self.edges.append((row, *(end - base + self.prefix for end, base in zip(ends, bases, strict=True))))
            possible = [t for t in held[query] if held[key][0] <= t]
            count["forward"] += not possible and held[key][0] >= ends[1]
            covered |= {(row, t) for t in possible}
        count["rows"] += len(covered)
