"""What cannot hold together: rules that are right one by one and contradict each other, or themselves.

Last pass. Rules are compared by canonical subject, layer and explicit head alone, and only where one stage lets both act; what
needs the data to be decided is counted while compiling.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from graphlib import CycleError, TopologicalSorter
from itertools import pairwise

from .. import checked as c
from ..canonical import Memo, digest
from ..codes import values as codes
from ..diagnostics import Code
from .cosines import Acting, clash_of, clashing_cosines
from .env import State


def check_contradictions(state: State, rules: Iterable[c.Rule], stages: tuple[c.Stage, ...]) -> None:
    """Report contradictions among `rules`."""
    found = list(rules)
    acting = {rule.id: acting_stages(rule, stages) for rule in found}
    attends = [rule for rule in found if isinstance(rule, c.Attend)]
    relates = [rule for rule in found if isinstance(rule, c.Relate)]
    memo: Memo = {}
    state.findings.items.extend(clashing_cosines(found, acting, memo))
    _trains(state, found, stages, acting)
    _bounds(state, attends, acting, memo)
    _floors(state, attends, acting, memo)
    _forward(state, attends)
    _circles(state, relates)
    _opposites(state, relates)


def acting_stages(rule: c.Rule, stages: tuple[c.Stage, ...]) -> frozenset[int]:
    """The places of the stages in which a rule acts; without stages, 0 stands for all of training."""
    if not isinstance(rule, c.Weigh | c.Keep) and rule.weight == 0:
        return frozenset()
    if not stages:
        return frozenset([0])
    return frozenset(at for at, stage in enumerate(stages) if acts(rule, stage))


def acts(rule: c.Rule, stage: c.Stage) -> bool:
    """Whether a stage lets a rule act."""
    if not isinstance(rule, c.Weigh | c.Keep) and rule.weight == 0:
        return False
    ramp = dict(stage.factors).get(rule.id)
    if ramp is not None:
        return ramp.start > 0 or ramp.end > 0
    return stage.only is None or rule.id in stage.only


def _report(state: State, code: Code, rule: c.Rule, message: str, *others: c.Rule, help: str | None = None) -> None:
    state.findings.add(clash_of(code, rule, message, *others, help=help))


# --- what is left to train ---------------------------------------------------------------------------------------------


def _trains(state: State, rules: list[c.Rule], stages: tuple[c.Stage, ...], acting: Acting) -> None:
    """Parts of training without a loss: `token_loss = 0`, or weight 0 on every token, and no other rule that acts.

    What is wrong with a rule or a stage is told where it stands; until then nobody knows what is left.
    """
    if state.findings.failed:
        return
    for at, stage in enumerate(stages or (None,)):
        if any(at in acting[rule.id] for rule in rules if not isinstance(rule, c.Weigh | c.Keep)):
            continue
        null = next((rule for rule in rules if _empties(rule, stage) and at in acting[rule.id]), None)
        silent = stage is not None and stage.token_loss.start == 0 == stage.token_loss.end
        when = "training" if stage is None else f"stage `{stage.name}`"
        if stage is not None and silent:
            message = f"{when} has no loss: `token_loss` is 0, and no rule acts"
            state.findings.add(codes.NOTHING_TRAINS.at(stage.place, message))
        elif null is not None:
            message = f"{when} has no loss: `{null.id}` gives every token weight 0, and no other rule acts"
            _report(state, codes.NOTHING_TRAINS, null, message)


def _empties(rule: c.Rule, stage: c.Stage | None) -> bool:
    """Whether a rule gives every token weight 0, throughout the stage."""
    if not isinstance(rule, c.Weigh) or rule.factor != 0:
        return False
    subject = rule.subject
    while isinstance(subject, c.Named):
        subject = subject.base
    ramp = None if stage is None else dict(stage.factors).get(rule.id)
    return isinstance(subject, c.Tokens | c.Record) and (ramp is None or ramp.start == 1 == ramp.end)


# --- attention -------------------------------------------------------------------------------------------------------


def _bounds(state: State, rules: list[c.Attend], acting: Acting, memo: Memo) -> None:
    """Masses that queries owe to key sets on one head, where no set is part of another: together at most 1."""
    owed: dict[tuple[str, int, int, int], list[c.Attend]] = defaultdict(list)
    for rule in rules:
        if rule.mass is None or rule.avoid:
            continue
        for layer, head in rule.explicit():
            for stage in acting[rule.id]:
                owed[digest(rule.join.query, memo), layer, head, stage].append(rule)
    seen: set[tuple[str, ...]] = set()
    for (_, layer, head, _), sharing in owed.items():
        ids = tuple(rule.id for rule in sharing)
        if ids in seen or sum(_mass(rule) for rule in sharing) <= 1:
            continue
        seen.add(ids)
        largest = _apart(sharing, memo)
        total = sum(_mass(rule) for rule in largest)
        if total > 1 + 1e-9:
            message = f"bounds on head {head} of layer {layer} add up to {total:g}, and a query has 1 to give"
            last, *others = sorted(largest, key=lambda rule: rule.place.start, reverse=True)
            _report(state, codes.BOUNDS_CLASH, last, message, *others)


def _apart(rules: Sequence[c.Attend], memo: Memo) -> list[c.Attend]:
    """The rule with the largest mass of each group whose key sets come from the same selectors, and so may overlap."""
    groups: dict[str, list[c.Attend]] = {}
    for rule in rules:
        roots = set(_roots(rule.join.key, memo))
        if "" in roots:  # tokens and the record overlap with every set
            return [max(rules, key=_mass)]
        together = [rule]
        for group in {id(groups[root]): groups[root] for root in roots if root in groups}.values():
            together += group
        for root in roots.union(*(_roots(other.join.key, memo) for other in together)):
            groups[root] = together
    return [max(group, key=_mass) for group in {id(group): group for group in groups.values()}.values()]


def _mass(rule: c.Attend) -> float:
    return rule.mass or 0


def _roots(spans: c.SpanSet, memo: Memo) -> Iterator[str]:
    """Digests of the selectors that the spans of a set come from; the empty string for tokens and neighbours."""
    pending: list[c.SpanSet] = [spans]
    while pending:
        match pending.pop():
            case c.Union(left, right):
                pending += [left, right]
            case c.Intersection(left, _) | c.Difference(left, _) | c.Within(left, _):
                pending.append(left)
            case c.Filter(base) | c.Take(base) | c.Edge(base) | c.OfSource(base) | c.Named(base):
                pending.append(base)
            case c.Tokens() | c.Record() | c.Neighbour() | c.Predicting():
                yield ""
            case selector:
                yield digest(selector, memo)


def _floors(state: State, rules: list[c.Attend], acting: Acting, memo: Memo) -> None:
    """Masses that queries owe to a set of keys of which another rule allows them less, on one head."""
    ceilings: dict[tuple[str, int, int], list[c.Attend]] = defaultdict(list)
    for rule in rules:
        if rule.avoid and not rule.each:
            for layer, head in rule.explicit():
                ceilings[digest(rule.join, memo), layer, head].append(rule)
    for rule in rules if ceilings else ():
        if rule.avoid or rule.each or rule.mass is None:
            continue
        for layer, head in rule.explicit():
            lower = (other for other in ceilings[digest(rule.join, memo), layer, head] if _mass(other) < _mass(rule))
            other = next((other for other in lower if acting[rule.id] & acting[other.id]), None)
            if other is not None:
                message = (
                    f"on head {head} of layer {layer} a query cannot give these keys at least {_mass(rule):g}"
                    f" and at most {_mass(other):g}"
                )
                _report(state, codes.BOUNDS_CLASH, rule, message, other)
                break


def _forward(state: State, rules: list[c.Attend]) -> None:
    """Joins whose condition asks for the query before the key, in a causal model."""
    if state.contract is None or not state.contract.causal:
        return
    for rule in rules:
        if rule.join.condition is not None and _only_forward(rule.join.condition):
            message = f"`{rule.id}` joins only keys after the query, which the causal model `{state.model_name}` cannot attend to"
            _report(state, codes.FORWARD_JOIN, rule, message, help="write `key before query`")


def _only_forward(condition: c.Scalar) -> bool:
    """Whether a condition holds for no key before the end of its query."""
    match condition:
        case c.Before(c.SpanRef("query", ()), c.SpanRef("key", ())):
            return True
        case c.Compare("==", c.SpanRef() as left, c.SpanRef() as right):
            return _follows(left, right) or _follows(right, left)
        case c.Compare("<=" | "<", c.Attr(c.SpanRef("query", ()), "end"), c.Attr(c.SpanRef("key", ()), "start")):
            return True
        case c.Compare(">=" | ">", c.Attr(c.SpanRef("key", ()), "start"), c.Attr(c.SpanRef("query", ()), "end")):
            return True
        case c.And(operands):
            return any(map(_only_forward, operands))
        case c.Or(operands):
            return all(map(_only_forward, operands))
    return False


def _follows(key: c.SpanRef, query: c.SpanRef) -> bool:
    """`key == query.next.next`, `key.previous == query`: the key is what comes after the query."""
    ahead, behind = set(query.steps), set(key.steps)
    return (
        (key.role, query.role) == ("key", "query")
        and bool(ahead | behind)
        and ahead <= {"next"}
        and behind <= {"previous"}
    )


# --- relations -------------------------------------------------------------------------------------------------------


def _circles(state: State, rules: list[c.Relate]) -> None:
    """`is_a` is acyclic; each circle is reported at one of its lines."""
    lines = {(rule.subject.name, rule.object.name): rule for rule in rules if rule.relation == "is_a"}
    graph: dict[str, set[str]] = defaultdict(set)
    for low, high in lines:
        graph[low].add(high)
    while True:
        try:
            TopologicalSorter(graph).prepare()
        except CycleError as error:
            circle: list[str] = error.args[1][::-1]
            last = max(
                (lines[pair] for pair in pairwise(circle)), key=lambda rule: (rule.place.source.path, rule.place.start)
            )
            start = circle.index(last.subject.name)
            chain = [*circle[start:-1], *circle[: start + 1]]
            message = "`is_a` leads back to where it started: " + " -> ".join(f"`{name}`" for name in chain)
            _report(state, codes.IS_A_CYCLE, last, message)
            graph[last.subject.name].discard(last.object.name)
        else:
            return


def _opposites(state: State, rules: list[c.Relate]) -> None:
    """`is_a` and `opposes` between the same two concepts."""
    for rule in rules:
        if rule.subject.name == rule.object.name and rule.relation != "is_a":
            message = f"`{rule.subject.name}` {rule.relation} itself"
            _report(state, codes.RELATIONS_CLASH, rule, message)
    alike = {frozenset((rule.subject.name, rule.object.name)): rule for rule in rules if rule.relation == "is_a"}
    for rule in rules:
        pair = frozenset((rule.subject.name, rule.object.name))
        if rule.relation == "opposes" and len(pair) == 2 and pair in alike:
            message = f"`{rule.subject.name}` and `{rule.object.name}` cannot both oppose and be each other"
            _report(state, codes.RELATIONS_CLASH, rule, message, alike[pair])
