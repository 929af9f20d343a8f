"""The collator, by hand and against a slow reference on random shards."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from mcd.compiler.alignment.align import align
from mcd.compiler.alignment.fields import field_columns
from mcd.compiler.alignment.rows import count_rows
from mcd.compiler.plan import ContrastPlan
from mcd.compiler.recipe import AheadCheck, ContrastCheck
from mcd.compiler.windowed import windowed_counts
from mcd.dsl import checked as c
from mcd.runtime.collate import Collator
from mcd.runtime.dataset import load
from mcd.runtime.groups import LikeGroup, group_rules
from mcd.runtime.masking import Masking

from ..compiler.alignment import edges, spans, texts
from .datasets import (
    COLUMNS,
    LABELS,
    SPLIT,
    attend,
    classify,
    contrast,
    like,
    plan,
    predict,
    random_batch,
    random_recipe,
    relate,
    toward,
    weigh,
    write,
)
from .slow_collate import SlowRow, read_rows


def collated(
    tmp_path, rules, batch, stored=None, pairs=None, prefix=0, suffix=0, context=512, overflow=None, pad_id=0, **options
):
    """The batch of all rows of one shard."""
    empty = spans(batch, kind=np.array([], dtype=object))
    stored = {**dict.fromkeys("abc", empty), **(stored or {})}
    pairs = {**dict.fromkeys("ef", (empty, empty, edges(batch))), **(pairs or {})}
    made = plan(rules, COLUMNS, prefix, suffix, context=context)
    write(tmp_path / "out", random_recipe(context, overflow), made, {"train": [(batch, stored, pairs)]})
    dataset = load(tmp_path / "out", split="train")
    return Collator(dataset.plan, pad_id, **options)(list(dataset))


def attend_rows(rows):
    """(rule, record, query) -> key -> weight."""
    found = {}
    for b, q in zip(*torch.nonzero(rows.valid, as_tuple=True), strict=True):
        found[int(rows.rule[b, q]), int(b), int(rows.position[b, q])] = {}
    weight = torch.ones(len(rows.pair_key)) if rows.pair_weight is None else rows.pair_weight
    columns = (rows.pair_record, rows.pair_row, rows.pair_key, weight)
    for b, q, key, w in zip(*(column.tolist() for column in columns), strict=True):
        assert rows.valid[b, q]
        found[int(rows.rule[b, q]), b, int(rows.position[b, q])][key] = w
    return found


def hidden_rows(rows):
    """(rule, record, tokens, label or vector) of each row, in order."""
    tokens = {}
    for b, t, r in zip(rows.record.tolist(), rows.position.tolist(), rows.row.tolist(), strict=True):
        tokens.setdefault(r, (b, []))[1].append(t)
    assert sorted(tokens) == list(range(len(rows.rule)))
    assert (rows.row.diff() >= 0).all()
    found = []
    for r, (b, positions) in sorted(tokens.items()):
        load = None if rows.label is None else int(rows.label[r])
        load = load if rows.vector is None else tuple(rows.vector[r].tolist())
        found.append((int(rows.rule[r]), b, tuple(positions), load))
    return found


def like_rows(rows):
    """(rule, record) -> token -> weight."""
    assert (rows.row.diff() >= 0).all() and rows.share.tolist() == [1] * len(rows.rule)
    found = {}
    columns = (rows.record, rows.position, rows.row, rows.weight)
    for b, t, r, w in zip(*(column.tolist() for column in columns), strict=True):
        weights = found.setdefault((int(rows.rule[r]), b), {})
        assert t not in weights
        weights[t] = w
    assert len(found) == len(rows.rule)
    return found


def weigh_rows(rows):
    """(rule, record, token) -> factor."""
    columns = (rows.rule, rows.record, rows.position, rows.factor)
    entries = [((r, b, t), f) for r, b, t, f in zip(*(column.tolist() for column in columns), strict=True)]
    assert len(dict(entries)) == len(entries)
    return dict(entries)


# --- by hand


def test_ids_are_padded_on_the_right_and_the_first_token_has_no_loss(tmp_path):
    batch = collated(tmp_path, [], texts(["a", " b"], ["c"]), pad_id=7, multiple=4)
    assert batch.input_ids.tolist() == [[0, 1, 7, 7], [2, 7, 7, 7]]
    assert batch.attention_mask.tolist() == [[1, 1, 0, 0], [1, 0, 0, 0]]
    assert batch.scored.tolist() == [[False, True, False, False], [False] * 4]
    assert batch.ids == ("r0", "r1")


def test_edges_that_share_a_query_token_are_one_row(tmp_path):
    """b -> a and (b c) -> a b: token b has keys {a, b}, token c the same."""
    batch = texts(["a", " b", " c"])
    ends = spans(batch, (0, 0, 1), (0, 0, 3), (0, 2, 3), (0, 2, 5))
    pairs = {"e": (ends, ends, edges(batch, (2, 0), (3, 1)))}
    (rows,) = collated(tmp_path, [attend("r", "e")], batch, pairs=pairs).attend
    assert attend_rows(rows) == {(0, 0, 1): {0: 1, 1: 1}, (0, 0, 2): {0: 1, 1: 1}}
    assert rows.share.tolist() == [[1, 1]]


def test_overlapping_edges_give_a_pair_of_tokens_the_largest_weight(tmp_path):
    """c -> a with 0.5, c -> a b with 0.25, b c -> a with 2: c gives a 2 and b 0.25, b gives a 2. `nll` reads no weight."""
    batch = texts(["a", " b", " c"])
    ends = spans(batch, (0, 0, 1), (0, 0, 3), (0, 2, 5), (0, 4, 5))
    pairs = {"f": (ends, ends, edges(batch, (2, 0), (3, 0), (3, 1), weight=[2, 0.5, 0.25]))}
    weighed, plain = collated(tmp_path, [attend("r", "f", loss="kl"), attend("q", "f")], batch, pairs=pairs).attend
    assert attend_rows(weighed) == {(0, 0, 1): {0: 2}, (0, 0, 2): {0: 2, 1: 0.25}}
    assert plain.pair_weight is None


def test_with_each_every_pair_is_a_row(tmp_path):
    batch = texts(["a", " b", " c"])
    ends = spans(batch, (0, 0, 3), (0, 4, 5))
    pairs = {"e": (ends, ends, edges(batch, (1, 0)))}
    (rows,) = collated(tmp_path, [attend("r", "e", each=True, per="record")], batch, pairs=pairs).attend
    assert rows.position.tolist() == [[2, 2]]
    assert (rows.pair_row.tolist(), rows.pair_key.tolist()) == ([0, 1], [0, 1])
    assert rows.share.tolist() == [[0.5, 0.5]]


def test_a_row_without_a_key_that_a_causal_model_sees_is_none(tmp_path):
    batch = texts(["a", " b", " c"], ["d", " e"])
    ends = spans(batch, (0, 0, 1), (0, 2, 5), (1, 0, 1), (1, 2, 3))
    pairs = {"e": (ends, ends, edges(batch, (0, 1), (3, 2)))}
    (rows,) = collated(tmp_path, [attend("r", "e")], batch, pairs=pairs).attend
    assert rows.valid.tolist() == [[False], [True]]
    assert attend_rows(rows) == {(0, 1, 1): {0: 1}}


def test_every_pair_of_two_sets(tmp_path):
    batch = texts(["a", " b", " c", " d"])
    stored = {
        "a": spans(batch, (0, 2, 3), (0, 6, 7), kind=["x", "x"]),
        "b": spans(batch, (0, 0, 1), (0, 4, 5), kind=["x", "x"]),
    }
    (rows,) = collated(tmp_path, [attend("r", "ab")], batch, stored).attend
    assert attend_rows(rows) == {(0, 0, 1): {0: 1}, (0, 0, 3): {0: 1, 2: 1}}


def test_a_plan_without_rows_gives_empty_tensors(tmp_path):
    rules = [attend("r", "e"), toward("t", "a"), weigh("w", "a", 2.0)]
    batch = collated(tmp_path, rules, texts(["a", " b"]))
    assert batch.attend[0].position.shape == (1, 0)
    assert len(batch.hidden[0].row) == len(batch.weigh.record) == 0


def test_pools(tmp_path):
    batch = texts(["a", "  ", "b", " c"])
    stored = {"a": spans(batch, (0, 0, 4), kind=["x"])}
    rules = [toward(pool, "a", pool=pool) for pool in ("each", "first", "last", "mean")]
    found = [hidden_rows(rows) for rows in collated(tmp_path, rules, batch, stored).hidden]
    assert found == [
        [(0, 0, (0,), None), (0, 0, (2,), None)],
        [(0, 0, (0,), None)],
        [(0, 0, (2,), None)],
        [(0, 0, (0, 2), None)],
    ]


def test_an_offset_goes_from_the_mean_of_one_side_to_that_of_the_other(tmp_path):
    """From a b and d to c, in the first record; the second has no c. Under `each` the three tokens of a b and d count alike."""
    batch = texts(["a", " b", " c", " d"], ["a", " b"])
    stored = {
        "a": spans(batch, (0, 0, 3), (0, 6, 7), (1, 0, 1), kind=["x"] * 3),
        "b": spans(batch, (0, 4, 5), kind=["x"]),
    }
    rules = [like(pool, "a", "b", pool=pool) for pool in ("mean", "each", "first", "last")]
    (rows,) = collated(tmp_path, rules, batch, stored).hidden
    found = like_rows(rows)
    assert found == {
        (0, 0): {0: -0.25, 1: -0.25, 3: -0.5, 2: 1},
        (1, 0): pytest.approx({0: -1 / 3, 1: -1 / 3, 3: -1 / 3, 2: 1}),
        (2, 0): {0: -0.5, 3: -0.5, 2: 1},
        (3, 0): {1: -0.5, 3: -0.5, 2: 1},
    }


def test_what_both_sides_share_cancels_out(tmp_path):
    """From a b to b: half of b is left. From c to c there is no offset, and no row."""
    batch = texts(["a", " b"], ["c"])
    stored = {
        "a": spans(batch, (0, 0, 3), (1, 0, 1), kind=["x", "x"]),
        "b": spans(batch, (0, 2, 3), (1, 0, 1), kind=["x", "x"]),
    }
    (rows,) = collated(tmp_path, [like("l", "a", "b")], batch, stored).hidden
    assert like_rows(rows) == {(0, 0): {0: -0.5, 1: 0.5}}


def test_labels_by_index_survive_lost_spans_and_null_ones_are_no_row(tmp_path):
    """Context 3 cuts the span of index 2 off; entry 3 of the list is null; entries 0 and 1 stay with their spans."""
    batch = texts(["a", " b", " c", " d"], fields={("n",): [[2, 1, 0, None]]})
    stored = {"a": spans(batch, (0, 0, 1), (0, 2, 3), (0, 4, 7), (0, 4, 5), kind=["x", "q", "x", None])}
    stored["a"] = stored["a"].take(np.array([0, 1, 3, 2]))
    rules = [
        classify("n", "a", field="n", pool="last"),
        classify("k", "a", attribute="kind", labels=LABELS, pool="last"),
    ]
    batch = collated(tmp_path, rules, batch, stored, context=3)
    assert [hidden_rows(rows) for rows in batch.hidden] == [[(0, 0, (0,), 2), (0, 0, (1,), 1)], [(0, 0, (0,), 0)]]


def test_share_with_per_record_is_one_over_the_rows_of_the_rule_in_the_record(tmp_path):
    batch = texts(["a", " b"], ["c"])
    stored = {"a": spans(batch, (0, 0, 1), (0, 2, 3), (1, 0, 1), kind=["x"] * 3)}
    rules = [relate("r", "a", per="record"), relate("q", "a")]
    (rows,) = collated(tmp_path, rules, batch, stored).hidden
    assert rows.rule.tolist() == [0, 0, 0, 1, 1, 1]
    assert rows.share.tolist() == [0.5, 0.5, 1, 1, 1, 1]


def test_a_number_holds_once_for_a_token_and_a_list_per_span(tmp_path):
    """Spans (a b) and (b c), factors 2 and 3: token b gets 2 from the number 2.0, and 2 x 3 from the list."""
    batch = texts(["z", " a", " b", " c"], fields={("w",): [[2.0, 3.0]]})
    stored = {"b": spans(batch, (0, 2, 5), (0, 4, 7), kind=["x", "x"])}
    rules = [weigh("number", "b", 2.0), weigh("list", "b", field="w"), weigh("only", "b", 1.0, only=True)]
    found = weigh_rows(collated(tmp_path, rules, batch, stored).weigh)
    assert {t: f for (r, _, t), f in found.items() if r == 0} == {1: 2, 2: 2, 3: 2}
    assert {t: f for (r, _, t), f in found.items() if r == 1} == {1: 2, 2: 6, 3: 3}
    assert {t: f for (r, _, t), f in found.items() if r == 2} == {1: 1, 2: 1, 3: 1}


def test_only_gives_0_to_every_other_token_with_a_loss(tmp_path):
    batch = texts(["a", " b", " c"], ["d", " e"], suffix=1)
    stored = {"b": spans(batch, (0, 2, 3), kind=["x"])}
    found = weigh_rows(collated(tmp_path, [weigh("only", "b", 3.0, only=True)], batch, stored, suffix=1).weigh)
    assert found == {(0, 0, 1): 3, (0, 0, 2): 0, (0, 0, 3): 0, (0, 1, 1): 0, (0, 1, 2): 0}


def test_repeated_tokens_are_context_alone(tmp_path):
    """Parts [0, 4) and [2, 5) of 5 tokens: tokens 2 and 3 come twice, and count once."""
    batch = texts(["a", " b", " c", " d", " e"])
    rules = [weigh("w", "tokens", 2.0), toward("t", "tokens"), toward("r", "record", pool="mean")]
    batch = collated(tmp_path, rules, batch, context=4, overflow=SPLIT)
    assert batch.input_ids.tolist() == [[0, 1, 2, 3], [2, 3, 4, 0]]
    assert batch.scored.tolist() == [[False, True, True, True], [False, False, True, False]]
    assert weigh_rows(batch.weigh) == {(0, 0, 1): 2, (0, 0, 2): 2, (0, 0, 3): 2, (0, 1, 2): 2}
    assert [row[1:3] for row in hidden_rows(batch.hidden[0])] == [(0, (0,)), (0, (1,)), (0, (2,)), (0, (3,)), (1, (2,))]
    assert hidden_rows(batch.hidden[1]) == []


def test_added_tokens_are_no_tokens_of_the_text(tmp_path):
    batch = texts(["a", " b"], prefix=1, suffix=1)
    rules = [toward("t", "tokens"), toward("r", "record", pool="mean")]
    batch = collated(tmp_path, rules, batch, prefix=1, suffix=1)
    assert [row[2] for row in hidden_rows(batch.hidden[0])] == [(1,), (2,)]
    assert [row[2] for row in hidden_rows(batch.hidden[1])] == [(1, 2)]
    assert batch.scored.tolist() == [[False, True, True, True]]


# --- against the reference


def many_rules():
    """Every kind of rule over every kind of subject, in groups of one and of several."""
    rules = [
        attend(f"s{key}{each}", key, each=each, per=per)
        for key in "ef"
        for each, per in ((False, "record"), (True, "row"))
    ]
    rules += [attend(f"k{key}{per}", key, loss="kl", per=per) for key in "ef" for per in ("row", "record")]
    rules += [attend(f"x{pair}", pair) for pair in ("ab", "ba", "cc")]
    rules += [attend("xt", ("tokens", "a"), loss="kl"), attend("xk", ("b", "tokens")), attend("xr", ("c", "record"))]
    for pool in ("each", "first", "last", "mean"):
        rules += [relate(f"i{key}{pool}", key, pool=pool, per="record") for key in ("a", "b", "tokens", "record")]
        rules += [toward(f"v{pool}", "a", field="v", pool=pool), toward(f"t{pool}", "c", pool=pool)]
        rules += [
            classify(f"n{pool}", "a", field="n", pool=pool),
            classify(f"k{pool}", "c", attribute="kind", labels=LABELS, pool=pool),
        ]
        rules += [
            classify(f"d{pool}", "record", field="s", classes=4, pool=pool),
            classify(f"p{pool}", "tokens", field="s", pool=pool),
        ]
        rules += [*contrasts(pool), *predictions(pool), predict(f"q{pool}", "a", field="n", pool=pool)]
    sides = ("ab", "ba", "ac", "cc", ("tokens", "a"), ("b", "record"))
    rules += [
        like(f"l{a}{b}{pool}{len(layers)}", a, b, pool=pool, layers=layers)
        for a, b in sides
        for pool in ("each", "first", "last", "mean")
        for layers in ((1,), (1, 2))
    ]
    rules += [
        weigh("wa", "a", 3.0),
        weigh("wb", "b", field="w"),
        weigh("wo", "c", 2.0, only=True),
        weigh("wt", "tokens", 1.5),
    ]
    return [*rules, weigh("wr", "record", 0.5), weigh("wf", "b", field="w", only=True)]


def contrasts(pool):
    return [
        contrast(f"g{pool}", "a", attribute="kind", pool=pool),
        contrast(f"h{pool}", "c", attribute="kind", pool=pool, per="record"),
        contrast(f"j{pool}", "a", field="n", pool=pool),
        contrast(f"l{pool}", "record", field="s", pool=pool, scope="batch"),
        contrast(f"o{pool}", "b", attribute="kind", pool=pool, scope="batch", per="record"),
    ]


def predictions(pool):
    return [
        predict(f"{key}+{n}{pool}", key, n, pool=pool) for key, n in (("a", 1), ("b", 3), ("tokens", 2), ("record", 1))
    ]


OVERFLOWS = {
    "whole": (512, None),
    "truncate": (5, None),
    "split": (5, SPLIT),
    "split without stride": (4, c.Overflow("split", 0)),
}


@pytest.mark.parametrize("overflow", OVERFLOWS)
@pytest.mark.parametrize("added", [0, 1])
@pytest.mark.parametrize("causal", [True, False])
@pytest.mark.parametrize("seed", range(4))
def test_agrees_with_one_rule_span_and_token_at_a_time(tmp_path, overflow, added, causal, seed):
    random = np.random.default_rng([seed, added, causal])
    context, how = OVERFLOWS[overflow]
    context += 2 * added
    windows = (seed, None) if seed > 1 else ()
    made = plan(many_rules(), COLUMNS, added, added, causal, context, windows=windows)
    batches = [random_batch(random, 5, added, added) for _ in range(3)]
    write(tmp_path / "out", random_recipe(context, how, causal), made, {"train": batches})
    dataset = load(tmp_path / "out", split="train")
    slow = [SlowRow(made, row) for row in read_rows(tmp_path / "out", "train")]
    # Every token of a text is predicted, and stays what it is.
    masking = None if causal else Masking(share=1.0, random=0.0, keep=1.0, mask_id=999)
    collator = Collator(made, masking=masking)
    order = random.permutation(len(dataset))
    for start in range(0, len(order), 6):
        chosen = order[start : start + 6]
        agree(made, collator(dataset.rows(chosen)), [slow[i] for i in chosen])


def agree(made, batch, slow):
    groups = group_rules(made)
    assert batch.scored.nonzero().tolist() == [[b, t] for b, row in enumerate(slow) for t in row.scored]
    for group, rows in zip(groups.attend, batch.attend, strict=True):
        expected = {}
        for r, rule in enumerate(group.rules):
            found = {(r, b, q): keys for b, row in enumerate(slow) for q, keys in row.attend(rule).items()}
            expected |= found
            shares(rule, rows.share[rows.valid], rows.rule[rows.valid], rows.valid.nonzero()[:, 0], r)
            if rule.each:
                assert int((rows.rule[rows.valid] == r).sum()) == sum(map(len, found.values()))
        assert attend_rows(rows) == expected
        assert (rows.share[~rows.valid] == 0).all()
    for group, rows in zip(groups.hidden, batch.hidden, strict=True):
        if isinstance(group, LikeGroup):
            assert like_rows(rows) == {
                (r, b): pytest.approx(weights, abs=1e-6)
                for r, rule in enumerate(group.rules)
                for b, row in enumerate(slow)
                if (weights := row.like(rule)) is not None
            }
            continue
        expected = []
        for r, rule in enumerate(group.rules):
            expected += [(r, b, tokens, load) for b, row in enumerate(slow) for tokens, load in row.hidden(rule)]
            first = torch.cat([torch.ones(1, dtype=torch.bool), rows.row.diff() > 0])[: len(rows.row)]
            shares(rule, rows.share, rows.rule, rows.record[first], r, alike(rule, rows, rows.record[first]))
        if isinstance(group.rules[0], ContrastPlan):
            check_members(group.rules, rows, rows.record[first])
        assert sorted(hidden_rows(rows)) == sorted(expected), group.rules[0].id
    expected = {
        (r, b, t): f
        for r, rule in enumerate(groups.weigh)
        for b, row in enumerate(slow)
        for t, f in row.weigh(rule).items()
    }
    found = weigh_rows(batch.weigh)
    assert found == {key: pytest.approx(factor) for key, factor in expected.items()}


def shares(rule, share, rules, record, r, counted=None):
    counted = torch.ones(len(rules), dtype=torch.bool) if counted is None else counted
    mine, counted = record[rules == r].tolist(), counted[rules == r].tolist()
    rows = [sum(c for other, c in zip(mine, counted, strict=True) if other == b) for b in mine]
    each = [c / n if rule.per == "record" and c else float(c) for c, n in zip(counted, rows, strict=True)]
    assert torch.equal(share[rules == r], torch.tensor(each))


def alike(rule, rows, record):
    """Which rows have another of the same rule, label and record, or batch."""
    if not isinstance(rule, ContrastPlan):
        return torch.ones(len(rows.rule), dtype=torch.bool)
    cells = [cell(rule, *row) for row in zip(rows.rule.tolist(), record.tolist(), strict=True)]
    keys = list(zip(cells, rows.label.tolist(), strict=True))
    return torch.tensor([keys.count(key) > 1 for key in keys], dtype=torch.bool)


def cell(rule, number, record):
    return (number, record if rule.scope == "record" else 0)


def check_members(rules, rows, record):
    """The members of each group are the rows of one rule in one record, or in the batch, each once."""
    cells = [cell(rules[r], r, b) for r, b in zip(rows.rule.tolist(), record.tolist(), strict=True)]
    found = [[n for n in group if n >= 0] for group in rows.members.tolist()]
    expected = [[n for n, other in enumerate(cells) if other == each] for each in sorted(set(cells))]
    assert sorted(map(sorted, found)) == sorted(expected)


@pytest.mark.parametrize("overflow", OVERFLOWS)
@pytest.mark.parametrize("added", [0, 1])
@pytest.mark.parametrize("seed", range(4))
def test_the_compiler_counts_the_rows_that_come(tmp_path, overflow, added, seed):
    random = np.random.default_rng([seed, added])
    context, how = OVERFLOWS[overflow]
    context += 2 * added
    pools = ("each", "first", "last", "mean")
    rules = [rule for pool in pools for rule in (*contrasts(pool), *predictions(pool))]
    made, batches = plan(rules, COLUMNS, added, added, True, context), [random_batch(random, 6, added, added)]
    base = random_recipe(context, how)
    fields = tuple(replace(field, type="key") if field.name in "ns" else field for field in base.fields)
    counting = replace(base, fields=fields, rows=tuple(map(check_of, rules)))
    write(tmp_path / "out", counting, made, {"train": batches})
    batch = Collator(made)(list(load(tmp_path / "out", split="train")))
    came = {}
    for group, rows in zip(group_rules(made).hidden, batch.hidden, strict=True):
        for r, rule in enumerate(group.rules):
            came[rule.id] = int((rows.share[rows.rule == r] > 0).sum())
    texts, stored, pairs = batches[0]
    aligned = align(texts, counting, stored, pairs)
    counts = count_rows(texts, counting, stored, field_columns(texts, counting, stored), aligned)
    found = counts.by_split(np.zeros(texts.records, dtype=np.int64), ["train"])
    counted = {rule.id: found.get(rule.id, {}).get("train", {}).get("rows", 0) for rule in rules}
    for rule in rules:
        if getattr(rule, "scope", "") == "batch":
            assert counted[rule.id] <= came[rule.id]
        else:
            assert counted[rule.id] == came[rule.id], rule.id


@pytest.mark.parametrize("layers", [(1,), (1, 2), (1, 2, 3)])
@pytest.mark.parametrize("overflow", OVERFLOWS)
@pytest.mark.parametrize("causal", [True, False])
@pytest.mark.parametrize("window", [1, 2, 3])
def test_rows_within_windows_are_counted_as_they_come(tmp_path, monkeypatch, window, causal, overflow, layers):
    """Layers 1 and 2 slide, layer 3 sees everything. `window` is what no layer sees of what could be seen, `narrow` what some
    does and another does not."""
    monkeypatch.setattr("mcd.compiler.windowed.CHUNK", 3)
    random = np.random.default_rng([window, causal])
    context, how = OVERFLOWS[overflow]
    windows = (window, 3, None)
    rules = [attend(key, key, layers=layers) for key in "ef"]
    made = plan(rules, COLUMNS, causal=causal, context=context)
    far = made.model.model_copy(update={"layers": 3, "windows": windows})
    made = made.model_copy(update={"model": far})
    written = write(tmp_path / "out", random_recipe(context, how, causal), made, {"train": [random_batch(random, 6)]})
    counts = windowed_counts(made, tmp_path / "out", written.shards)
    batch = Collator(made)(list(load(tmp_path / "out", split="train")))
    slow = [SlowRow(made, row) for row in read_rows(tmp_path / "out", "train")]
    chosen = [windows[layer - 1] or np.inf for layer in layers]
    for rule in rules:
        (came,) = (
            int((rows.rule[rows.valid] == group.rules.index(rule)).sum())
            for group, rows in zip(group_rules(made).attend, batch.attend, strict=True)
            if rule in group.rules
        )
        assert counts.get(rule.id).total("rows") == came
        gaps = [gap for row in slow for gap in row.gaps(rule)]
        assert counts[rule.id].total("window") == sum(max(chosen) <= gap < np.inf for gap in gaps)
        assert counts[rule.id].total("narrow") == sum(min(chosen) <= gap < max(chosen) for gap in gaps)


def check_of(rule):
    if isinstance(rule, ContrastPlan):
        each = rule.pool == "each"
        return ContrastCheck(rule.id, rule.subject.set, rule.field, rule.attribute, each, rule.scope)
    return AheadCheck(rule.id, rule.subject.set, rule.pool, rule.ahead)
