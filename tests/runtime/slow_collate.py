"""What the collator should give, in plain Python over the rows as pyarrow reads them: one rule, span and token at a time."""

import json
import math

import pyarrow as pa

from mcd.compiler.files.shard_reader import key_number
from mcd.compiler.plan import AttendPlan, ClassifyPlan, ContrastPlan, CrossRef, PredictPlan, TowardPlan

from .datasets import HIDDEN


def read_rows(directory, split):
    """The rows of a split as dicts, with set keys for numbers."""
    found = []
    for path in sorted((directory / "shards" / split).glob("*.arrow")):
        table = pa.ipc.open_file(str(path)).read_all()
        keys = json.loads(table.schema.metadata[b"mcd.sets"])
        for row in table.to_pylist():
            for name in ("span.set", "edge.set"):
                row[name] = [keys[number] for number in row[name]]
            found.append(row)
    return found


class SlowRow:
    """One row of a shard, under a plan."""

    def __init__(self, plan, row):
        self.plan, self.row = plan, row
        self.length = len(row["input_ids"])
        columns = ("span.set", "span.start", "span.end", "span.at.index", "span.at.kind")
        self.stored = list(zip(*(row[name] for name in columns), strict=True))
        self.blank = self._covered("blank")
        self.repeat = self._covered("repeat")
        self.content = range(plan.tokenizer.prefix, self.length - plan.tokenizer.suffix)
        able = (
            range(1, self.length) if plan.model.causal else self.content
        )  # all of them masked, where a model is not causal
        self.scored = [t for t in able if t not in self.repeat]

    def _covered(self, key):
        return {t for name, start, end, *_ in self.stored if name == key for t in range(start, end)}

    def spans(self, key):
        """(start, end, index, kind) of the spans under a key."""
        if key == "tokens":
            return [(t, t + 1, t - self.content.start, None) for t in self.content if t not in self.repeat]
        if key == "tokens/again":
            return [(t, t + 1, t - self.content.start, None) for t in self.content if t in self.repeat]
        if key == "record":
            inked = [t for t in self.content if t not in self.blank]
            whole = not any(name == "record/cut" for name, *_ in self.stored)
            return [(inked[0], inked[-1] + 1, 0, None)] if whole and inked else []
        return [tuple(rest) for name, *rest in self.stored if name == key]

    def tokens(self, start, end):
        return [t for t in range(start, end) if t not in self.blank or end - start == 1]

    def value(self, field, index):
        """The entry of a field's list for the span of an index, None where there is none."""
        found = self.row[f"field.{field}"]
        if found is None:
            return None
        width = HIDDEN if field == "v" else 1
        entries = [found[i : i + width] for i in range(0, len(found), width)]
        if len(entries) == 1:
            index = 0
        return entries[index] if 0 <= index < len(entries) else None

    # --- rules

    def attend(self, rule: AttendPlan):
        """{query: {key: weight}}, all weights 1 where the loss reads none."""
        pairs = []
        if isinstance(rule.edges, CrossRef):
            query, key = rule.edges.query.set, rule.edges.key.set
            kinds = [(query, key), (query, f"{key}/again"), (f"{query}/again", key)]
            pairs = [(q[:2], k[:2], 1) for a, b in kinds for q in self.spans(a) for k in self.spans(b)]
        else:
            columns = ("query_start", "query_end", "key_start", "key_end", "weight")
            rows = zip(self.row["edge.set"], *(self.row[f"edge.{name}"] for name in columns), strict=True)
            read = rule.loss == "kl" and rule.edges.weighted
            pairs = [((a, b), (c, d), w if read else 1) for key, a, b, c, d, w in rows if key == rule.edges.edges]
        found = {}
        windows = [self.plan.model.windows[layer - 1] for layer in rule.layers] if self.plan.model.windows else [None]
        far = math.inf if None in windows else max(windows)
        for query, key, weight in pairs:
            for q in self.tokens(*query):
                for k in self.tokens(*key):
                    if abs(q - k) < far and (k <= q or not self.plan.model.causal):
                        keys = found.setdefault(q, {})
                        keys[k] = max(weight, keys.get(k, 0))
        return found

    def gaps(self, rule: AttendPlan):
        """For each stored edge, how far a key token that a query token may see is from it at least; infinite where none is."""
        columns = ("query_start", "query_end", "key_start", "key_end")
        rows = zip(self.row["edge.set"], *(self.row[f"edge.{name}"] for name in columns), strict=True)
        for key, a, b, c, d in rows:
            if key == rule.edges.edges:
                pairs = ((q, k) for q in self.tokens(a, b) for k in self.tokens(c, d))
                seen = (abs(q - k) for q, k in pairs if k <= q or not self.plan.model.causal)
                yield min(seen, default=math.inf)

    def hidden(self, rule):
        """Sorted rows (tokens, label or vector); of a contrast those without a positive as well."""
        rows = []
        for start, end, index, kind in self.spans(rule.subject.set):
            load = None
            if isinstance(rule, ClassifyPlan):
                load = self.label(rule, index, kind)
                if load is None:
                    continue
            if isinstance(rule, ContrastPlan):
                found = self.value(rule.field, index) if rule.attribute is None else [kind]
                if found is None or found[0] is None:
                    continue
                load = key_number(found[0])
            if isinstance(rule, PredictPlan) and rule.field is not None:
                found = self.value(rule.field, index)
                if found is None or found[0] is None or found[0] < 0:
                    continue
                load = found[0]
            if isinstance(rule, TowardPlan) and rule.field is not None:
                load = self.value(rule.field, index)
                if load is None:
                    continue
                load = tuple(load)
            chosen = {
                "each": lambda a, b: [(t,) for t in self.tokens(a, b)],
                "first": lambda a, b: [(a,)],
                "last": lambda a, b: [(b - 1,)],
                "mean": lambda a, b: [tuple(self.tokens(a, b))],
            }[rule.pool](start, end)
            one_vector = isinstance(rule, TowardPlan) and rule.field and len(self.row[f"field.{rule.field}"]) == HIDDEN
            if isinstance(rule, PredictPlan) and rule.ahead is not None:
                rows += [(tokens, ahead, index) for tokens in chosen for ahead in self.ahead(tokens, rule.ahead)]
                continue
            rows += [(tokens, load, None if one_vector else index) for tokens in chosen]
        if rule.pool == "each":
            by_index = isinstance(rule, TowardPlan) and rule.field
            rows = {(tokens, load, index if by_index else None) for tokens, load, index in rows}
        return sorted((tokens, load) for tokens, load, *_ in rows)

    def ahead(self, tokens, distance):
        """The token that far behind the last one, if the text goes that far; what the tokenizer adds where it ends is of it."""
        place = tokens[-1] + distance
        added = range(self.length - self.plan.tokenizer.suffix, self.length)
        there = place < self.length and not (place in added and place in self.repeat)
        return [self.row["input_ids"][place]] if there else []

    def like(self, rule):
        """{token: weight} of the row of a part that holds spans of both sides, None of any other."""
        weights = {}
        for sign, key in ((-1, rule.subject.set), (1, rule.to.set)):
            spans = [self.pooled(rule.pool, start, end) for start, end, *_ in self.spans(key)]
            if not spans:
                return None
            if rule.pool == "each":
                spans = [sorted({t for tokens in spans for t in tokens})]
            for tokens in spans:
                for t in tokens:
                    weights[t] = weights.get(t, 0) + sign / (len(spans) * len(tokens))
        return {t: weight for t, weight in weights.items() if abs(weight) > 1e-12} or None

    def pooled(self, pool, start, end):
        return {"first": [start], "last": [end - 1]}.get(pool, self.tokens(start, end))

    def label(self, rule, index, kind):
        if rule.attribute is not None:
            return rule.labels.index(kind) if kind in rule.labels else None
        found = self.value(rule.field, index)
        return found[0] if found and found[0] is not None and 0 <= found[0] < rule.classes else None

    def weigh(self, rule):
        """{token: factor}"""
        factors = {}
        for key in (rule.subject.set, f"{rule.subject.set}/cut"):
            for start, end, index, _ in self.spans(key):
                for t in self.tokens(start, end):
                    factors.setdefault(t, []).append(self.factor(rule, index))
        found = {}
        for t in self.scored:
            given = [f for f in factors.get(t, ()) if f is not None]
            if rule.only and t not in factors:
                found[t] = 0.0
            elif given:
                once = rule.field is None or len(self.row[f"field.{rule.field}"]) == 1
                found[t] = given[0] if once else float(math.prod(given))
        return found

    def factor(self, rule, index):
        if rule.field is None:
            return rule.factor
        found = self.value(rule.field, index)
        return found[0] if found else None
