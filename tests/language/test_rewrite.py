"""Rewrites keep the meaning: every rule, wherever it applies, on random diagrams, in float64."""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, assume, event, given, settings
from hypothesis import strategies as st

import nbkit as nk
from nbkit import Diagram, Fn
from nbkit.language.axes import parse_array
from tests.language.rewriting import check
from tests.strategies import diagrams

EXAMPLES = settings(
    max_examples=60,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.filter_too_much],
)

L, plain = nk.linear, {"bias": False}
delta = nk.indices("k") >> nk.one_hot("j")

# One pattern for each rule: a function, what it starts from, and where the rule applies in it.
PATTERNS: dict[str, list[tuple[Fn, str]]] = {
    "merge-linears": [
        (L("m -> f=3") >> L("f -> n=2"), "x=4 m=5"),
        (L("m -> f=3 g=2", **plain) >> L("f -> n=2", per="g"), "x=4 m=5"),
        (L("m -> f=3 g=2") >> L("f x -> n=2"), "x=4 m=5"),
        (L("m -> m=3", per="x") >> L("m x -> m=2"), "x=4 m=5 z=2"),
        (L("m -> f=3") >> L("f -> ", **plain), "x=4 m=5"),
        (nk.window("x", 3) >> L("w c -> n=3") >> L("n -> o=2"), "c=2 x:2=4"),
        (L("c -> f:2=2", per="x") >> L("f -> n=3", per="x"), "x=3 c=2"),
    ],
    "qk-absorb": [
        (
            (L("m -> h=2 k=3", "Q", **plain) * L("m -> h=2 k=3", "K", **plain))
            >> nk.einsum("y k, x k -> y x"),
            "y=3 m=4, x=5 m=4",
        ),
        (
            (L("m -> k=3", "Q", **plain) * L("n -> k=3 j=2", "K", **plain)) >> nk.einsum("k, k ->"),
            "b=2 m=4, b=2 x=3 n=5",
        ),
    ],
    "merge-einsums": [
        ((nk.einsum("x k, x k -> x k") * nk.skip) >> nk.einsum("x k, z -> x z"), "x=2 k=3, x=2 k=3, z=2"),
        ((nk.skip, nk.tanh) >> nk.multiply >> nk.total("x"), "x=2 k=3"),
        (
            (nk.einsum("a i, i b -> a b") * nk.skip) >> nk.einsum("a b, b c -> a c"),
            "a=2 i=3, i=3 b=2, b=2 c=3",
        ),
        (
            (nk.einsum("a k, k -> a") * nk.skip) >> nk.einsum("a, k a -> k"),
            "a=2 k=3, k=3, k=3 a=2",
        ),
        (nk.einsum("y k, x k -> y x") >> nk.total("x"), "h=2 y=2 k=3, h=2 x=4 k=3"),
        (nk.multiply >> nk.total("k") >> nk.tanh, "h=2 k=3, h=2 k=3"),
    ],
    "split-einsum": [
        (nk.einsum("a i, i b, b c -> c a"), "a=2 i=3, i=3 b=2, b=2 c=3"),
        (nk.einsum("y k, x k -> y x"), "h=2 y=3 k=3, h=2 x=4 k=3"),
        (nk.einsum("y k -> y"), "y=3 k=3 z=2"),
    ],
    "snake": [
        ((nk.skip, delta) >> nk.einsum("k, k j -> j"), "x=3 k=4"),
        ((delta, nk.skip) >> nk.einsum("k j, k -> j"), "k=4 x=3"),
    ],
    "bend": [(nk.rename(m="n"), "x=2 m=3 z=2")],
    "cancel": [
        (nk.split("f -> h=2 k=3") >> nk.merge("h k -> f"), "x=2 f=6"),
        (nk.merge("h k -> f") >> nk.split("f -> h=2 k=3"), "h=2 k=3 x=2"),
        (nk.transpose("m x") >> nk.transpose("x m"), "x=2 m=3"),
        (nk.rename(x="y") >> nk.rename(y="x"), "x=2 m=3"),
        (nk.elementwise("neg") >> nk.elementwise("neg"), "x=2 m=3"),
        (nk.scale("2") >> nk.scale("1/2"), "x=2 m=3"),
    ],
    "merge-views": [
        (nk.transpose("m x") >> nk.transpose("z m"), "x=2 m=3 z=2"),
        (nk.rename(x="y") >> nk.rename(y="q", m="n"), "x=2 m=3"),
        (nk.merge("a b -> f") >> nk.merge("f c -> g"), "a=2 b=3 c=2"),
        (nk.split("f -> a b=3") >> nk.split("b -> c d=3"), "x=2 f=6"),
    ],
    "transpose": [
        ((L("a -> b=2 c=3", **plain) * nk.skip) >> nk.einsum("c, c d -> d"), "x=2 a=4, c=3 d=2"),
        ((nk.skip * L("m -> k=3", **plain)) >> nk.einsum("k, k ->"), "y=2 k=3, x=2 m=4"),
    ],
    "shift-outer": [
        ((L("m -> n=3", **plain) * nk.skip) >> nk.einsum("n, z -> n z"), "x=2 m=4, z=2"),
        ((L("m -> n=3", per="x", **plain) * nk.skip) >> nk.multiply, "x=2 m=4, x=2"),
    ],
    "unshift-outer": [(nk.einsum("m, z -> m z") >> L("m -> n=3", **plain), "x=2 m=4, z=2")],
    "linear-einsum": [(L("m -> h=2 k=3", **plain), "x=2 m=4"), (L("m -> m=2", per="x", **plain), "x=2 m=4")],
    "einsum-linear": [
        ((nk.parameter("h=2 k=3 m=4"), nk.skip) >> nk.einsum("h k m, m -> k h"), "x=2 m=4"),
        ((nk.skip, nk.parameter("m=4 x=2 n=3")) >> nk.einsum("x m, m x n -> x n"), "x=2 m=4"),
    ],
    "fuse-conv": [(nk.window("x", 3, 2) >> L("w c -> n=3"), "c=2 x:2=6")],
    "unfuse-conv": [(nk.skip >> nk.block("conv", nk.window("x", 3) >> L("w c -> n=3")), "c=2 x=4")],
    "pointwise-conv": [(L("c -> n=3"), "c=2 x:2=4")],
    "pointwise-linear": [(nk.window("x", 1) >> L("w c -> n=3"), "c=2 x:2=4")],
    "repeat-unroll": [
        ((L("m -> m") >> nk.norm("m") >> nk.tanh) ** 3, "x=2 m=3"),
        (nk.repeat(L("m -> m", **plain) >> nk.tanh, 3, tied=True), "x=2 m=3"),
        (nk.stages(L("c -> n=2*c") >> nk.relu >> nk.rename(n="c"), 3), "x=2 c=2"),
    ],
    "repeat-roll": [
        (nk.block("f", L("m -> m") >> nk.tanh) >> nk.block("f", L("m -> m") >> nk.tanh), "x=2 m=3")
    ],
    "repeat-peel": [((L("m -> m") >> nk.tanh) ** 3, "x=2 m=3")],
    "repeat-absorb": [
        (nk.block("f", L("m -> m") >> nk.tanh) >> nk.block("f", L("m -> m") >> nk.tanh) ** 2, "x=2 m=3")
    ],
    "fold-block": [(L("m -> f=3") >> nk.relu >> L("f -> m=2"), "x=2 m=2")],
    "unfold-block": [(nk.relu >> nk.block("f", L("m -> m") >> nk.relu) >> nk.relu, "x=2 m=3")],
    "softmax-expand": [(nk.softmax("x m"), "b=2 x=2 m=3")],
    "softmax-collapse": [
        (nk.exp >> (nk.skip, nk.total("x") >> nk.elementwise("reciprocal")) >> nk.multiply, "x=2 m=3")
    ],
    "copy-slide": [
        (L("m -> n=3", **plain) >> (nk.tanh, nk.relu, nk.skip), "x=2 m=3"),
        (nk.softmax("m") >> (nk.skip, nk.skip), "x=2 m=3"),
    ],
    "copy-join": [
        ((L("m -> n=3", key="K", **plain), L("m -> n=3", key="K", **plain)) >> nk.multiply, "x=2 m=3"),
        ((nk.tanh, nk.tanh >> nk.relu) >> nk.add, "x=2"),
    ],
    "scale-slide": [
        (nk.scale("m**(-1/2)") >> L("m -> n=3", **plain), "x=2 m=3"),
        (nk.scale("3") >> nk.window("x", 3) >> nk.mean("w"), "x=4 m=3"),
        ((nk.scale("3") * nk.skip) >> nk.einsum("k, k ->"), "y=2 k=3, x=2 k=3"),
    ],
    "scale-slide-back": [
        (nk.einsum("k, k ->") >> nk.scale("1/3"), "y=2 k=3, x=2 k=3"),
        (L("m -> n=3", **plain) >> nk.scale("2"), "x=2 m=3"),
    ],
    "merge-scales": [(nk.scale("x") >> nk.scale("x**(-1/2)"), "x=4")],
    "scale-absorb": [
        (nk.scale("1/3") >> L("m -> n=2", **plain), "x=2 m=3"),
        (L("m -> n=2") >> nk.scale("1/3"), "x=2 m=3"),
    ],
    "slide-index": [
        (L("m -> n=3") >> nk.softmax("n") >> nk.index("x", 1), "x=3 m=2"),
        (nk.einsum("y k, x k -> y x") >> nk.slice("y", 1, 3), "b=2 y=4 k=2, x=3 k=2"),
        (nk.add >> nk.index("x", -1), "x=3 m=2, m=2"),
        (nk.rename(x="y", m="n") >> nk.index("y", 0), "x=3 m=2"),
        (nk.window("x", 3) >> L("w c -> n=3") >> nk.index("b", 0), "b=2 c=2 x:2=4"),
        (nk.transpose("m x") >> nk.index("x", 1), "x=3 m=2"),
    ],
    "slide-index-out": [
        (nk.index("x", 1) >> L("m -> n=3"), "x=3 m=2"),
        (nk.slice("x", 1, 3) >> nk.norm("m"), "x=3 m=2"),
    ],
    "slide-shift": [
        (nk.slice("x", 2, 7) >> nk.window("x", 3, padding=0) >> L("w c -> n=2"), "c=2 x=9"),
        (nk.slice("x", 4) >> nk.window("x", 2, 2, dilation=2, padding=0), "c=2 x=11"),
        (nk.slice("x", 2, 9) >> nk.window("x", 3, 2, padding=0) >> L("w -> n=2"), "x:2=10"),
    ],
    "slide-shift-back": [
        (nk.window("x", 3, 2, padding=0) >> nk.slice("x", 1, 3) >> L("w c -> n=2"), "c=2 x=10"),
        (nk.window("x", 3, 2, padding=0) >> nk.slice("x", 2), "c=2 x=10"),
    ],
    "slide-indices": [(nk.index("x", 1) >> nk.slice("y", 0, 2), "x=3 y=4 m=2")],
    "flip-linear": [(L("m n -> f=2 g=3"), "x=2 m=3 n=2")],
}


def cases() -> list[tuple[str, Fn, str]]:
    return [(name, fn, start) for name, patterns in PATTERNS.items() for fn, start in patterns]


def test_every_rule_has_a_pattern_and_a_sentence() -> None:
    assert set(PATTERNS) == set(nk.rewrites())
    assert all(sentence.endswith((".", "name'.")) for sentence in nk.rewrites().values())


@pytest.mark.parametrize(("rule", "fn", "start"), cases(), ids=lambda v: str(v)[:60])
def test_a_rule_keeps_the_meaning(rule: str, fn: Fn, start: str) -> None:
    options = {"flip-linear": {"ins": "n m", "outs": "g f"}, "fold-block": {"to": "linear_2"}}.get(rule, {})
    for before in (
        fn.on(start),
        (nk.block("outer", fn) >> nk.skip).on(start),
        fn.on(", ".join(f"β=2 {array}" for array in start.split(", "))),
    ):
        paths = [path for _, path in before.rewrites(rule)]
        assert paths, before.listing()
        for path in paths[:1] if options else paths:
            path = "outer.linear" if options and path == "outer" else path  # noqa: PLW2901
            step = before.rewriting(rule, path, **options)
            assert step.after != before
            check(step)


@EXAMPLES
@given(diagrams(concrete=True, steps=4))
def test_wherever_a_rule_applies_in_a_random_diagram_the_meaning_is_kept(before: Diagram) -> None:
    _check_all(before)


@settings(EXAMPLES, max_examples=40)
@given(diagrams(concrete=True, steps=4, new=True))
def test_and_in_random_diagrams_of_all_ops(before: Diagram) -> None:
    _check_all(before)


def _check_all(before: Diagram) -> None:
    for rule, path in before.rewrites()[:12]:
        check(before.rewriting(rule, path))


@st.composite
def planted(draw: st.DrawFn) -> tuple[str, Diagram]:
    """A pattern of a rule on more axes, after and before something else, in a block or repetition."""
    rule = draw(st.sampled_from(sorted(PATTERNS)))
    fn, start = draw(st.sampled_from(PATTERNS[rule]))
    arrays = start.split(", ")
    if len(arrays) == 1:
        fn = draw(st.sampled_from([nk.skip >> fn, nk.tanh >> fn, nk.scale("2") >> fn, nk.dropout(0.0) >> fn]))
    if draw(st.booleans()):
        fn = nk.block(draw(st.sampled_from(["part", "layer"])), fn)
    more = draw(st.sampled_from(["", "p=2 ", "p=2 q:2=2 "]))
    return rule, fn.on(", ".join(f"{more}{array}" for array in arrays))


@EXAMPLES
@given(planted())
def test_planted_patterns(case: tuple[str, Diagram]) -> None:
    rule, before = case
    for _, path in before.rewrites(rule):
        if rule not in ("flip-linear", "fold-block"):
            check(before.rewriting(rule, path))


@st.composite
def products(draw: st.DrawFn) -> Diagram:
    """Products of two or three arrays, before and behind linear maps, with names that meet by chance."""
    names = st.sampled_from("abcde")
    sizes = {"a": 2, "b": 3, "c": 2, "d": 2, "e": 3}

    def text(found: list[str]) -> str:
        return " ".join(f"{name}={sizes[name]}" for name in found)

    def some(pool: st.SearchStrategy[str], least: int, most: int) -> list[str]:
        return draw(st.lists(pool, min_size=least, max_size=most, unique=True))

    def mapped(array: nk.Array) -> Fn:
        kind = draw(st.sampled_from([*["linear"] * 6, "skip", "scale", "total", "index"]))
        if kind == "linear" and array.axes:
            consumed = some(st.sampled_from(array.names), 1, 2)
            rest = [n for n in array.names if n not in consumed]
            per = some(st.sampled_from(rest), 0, 1) if rest and draw(st.booleans()) else []
            spec = f"{' '.join(consumed)} -> {text(some(names, 0, 2))}"
            return L(spec, bias=draw(st.sampled_from([False, False, False, True])), per=" ".join(per))
        if kind == "total" and array.axes:
            return nk.total(draw(st.sampled_from(array.names)))
        if kind == "index" and array.axes:
            return nk.index(draw(st.sampled_from(array.names)), 1)
        return nk.scale("2") if kind == "scale" else nk.skip

    arrays = [parse_array(text(some(names, 1, 3))) for _ in range(draw(st.sampled_from([2, 2, 3])))]
    try:
        branches = [mapped(array) for array in arrays]
        whole = branches[0]
        for branch in branches[1:]:
            whole = whole * branch
        outs = whole.build(tuple(arrays)).outputs
        known = list(dict.fromkeys(n for out in outs for n in out.names))
        assume(known)
        named = some(st.sampled_from(known), 1, 3)
        bundles = ", ".join(" ".join(n for n in out.names if n in named) for out in outs)
        whole = whole >> nk.einsum(f"{bundles} -> {' '.join(n for n in named if draw(st.booleans()))}")
        for _ in range(draw(st.integers(0, 2))):
            whole = whole >> mapped(whole.build(tuple(arrays)).outputs[0])
        return whole.build(tuple(arrays))
    except nk.DiagramError:  # two axes of one name, or of one name and two sizes
        assume(False)
        raise


@settings(EXAMPLES, max_examples=250)
@given(products())
def test_products_and_maps_whose_names_meet(before: Diagram) -> None:
    for rule, path in before.rewrites():
        step = before.rewriting(rule, path)
        check(step)
        event(rule)
