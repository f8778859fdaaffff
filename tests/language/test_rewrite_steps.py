"""Rewrites as steps: inverses undo each other, places are found, looks and weights stay where they can."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

import nbkit as nk
from nbkit import Diagram, Fn
from nbkit.components import attention, catalogue, multi_head_attention
from nbkit.language.rewrite.rule import RULES
from tests.components.test_training import SIZES
from tests.language.rewriting import check
from tests.language.test_rewrite import PATTERNS
from tests.strategies import diagrams

# Rules whose inverse gives back the very same diagram, names and all, on the patterns of test_rewrite.
EXACT = [
    "einsum-linear", "linear-einsum",
    "bend", "fuse-conv", "pointwise-conv", "repeat-peel", "repeat-unroll",
    "scale-slide", "scale-slide-back", "shift-outer", "slide-index-out", "softmax-expand", "split-einsum",
    "transpose", "unfuse-conv", "unshift-outer",
]  # fmt: skip


def shape_of(diagram: Diagram) -> tuple[object, ...]:
    """A diagram without the names of its nodes and without their order."""
    terms: dict[int, object] = {w: (i, diagram.wires[w].type) for i, w in enumerate(diagram.ins)}
    for n in diagram.nodes:
        inside = tuple(shape_of(body) for _, body in n.op.insides())
        for i, w in enumerate(n.outs):
            terms[w] = (n.op.kind, inside or n.op, tuple(terms[v] for v in n.ins), i)
    return len(diagram.nodes), tuple(terms[w] for w in diagram.outs)


def test_inverses_point_at_each_other() -> None:
    for name, rule in RULES.items():
        if rule.inverse:
            assert RULES[rule.inverse].inverse == name


@pytest.mark.parametrize("name", [n for n, rule in RULES.items() if rule.inverse])
def test_a_rule_and_its_inverse_are_nothing(name: str) -> None:
    options = {"fold-block": {"to": "linear_2"}}.get(name, {})
    again = {"unfold-block": {"to": "f_relu", "name": "f"}}.get(name, {})
    undone = 0
    for fn, start in PATTERNS[name]:
        before = fn.on(start)
        path = before.rewrites(name)[0][1]
        after = before.rewrite(name, path, **options)
        places = [at for _, at in after.rewrites(RULES[name].inverse) if not again or at == "linear"]
        undone += any(
            shape_of(after.rewrite(RULES[name].inverse, at, **again)) == shape_of(before) for at in places
        )
        for at in places:
            check(after.rewriting(RULES[name].inverse, at, **again))
    assert undone, f"{name} is undone on no pattern"


@pytest.mark.parametrize("name", EXACT)
def test_a_rule_and_its_inverse_give_the_same_diagram(name: str) -> None:
    fn, start = PATTERNS[name][0]
    before = fn.on(start)
    after = before.rewrite(name, before.rewrites(name)[0][1])
    assert before in [after.rewrite(RULES[name].inverse, at) for _, at in after.rewrites(RULES[name].inverse)]


# -- the definitions of broadcasting: figures 8 to 11 ------------------------------------------------------


def test_the_order_of_indexing_is_irrelevant() -> None:
    """Figures 8 and 9: A[2, :][1] = A[:, 1][2]."""
    before = (nk.index("a", 2) >> nk.index("b", 1)).on("a=4 b=2")
    step = before.rewriting("slide-indices", at="slice_2")
    assert [str(n.op) for n in step.after.nodes] == ["index[b=1]", "index[a=2]"]
    check(step)
    table = torch.arange(8.0).view(4, 2)
    assert step.after.torch()(table) == table[2, 1]


@pytest.mark.parametrize(
    ("lifted", "start"),
    [
        (nk.linear("a -> b=3"), "a=2 c=4"),
        (nk.softmax("a") >> nk.tanh, "c=4 a=2"),
        (nk.norm("a") >> nk.linear("a -> b=3", bias=False), "c=4 a=2"),
        (nk.window("a", 3) >> nk.maximum("w"), "c=4 a=5"),
    ],
)
def test_an_index_slides_along_the_lifted_wire(lifted: Fn, start: str) -> None:
    """Figure 10: F lifted over c, then [i], is [i], then F; against torch's vmap."""
    plain = lifted.on(" ".join(axis for axis in start.split() if axis[0] != "c"))
    whole = lifted.on(start)
    net, many = plain.torch(seed=0).double(), whole.torch(seed=0).double()
    place, out = whole.inputs[0].names.index("c"), whole.outputs[0].names.index("c")
    x = torch.randn([int(axis.size) for axis in whole.inputs[0]], dtype=torch.float64)
    torch.testing.assert_close(many(x), torch.vmap(net, in_dims=place, out_dims=out)(x))
    for i in range(-4, 4):
        torch.testing.assert_close(many(x).select(out, i), net(x.select(place, i)))
        d = (lifted >> nk.index("c", i)).on(start)
        while d.nodes[0].op != nk.index("c", i).op:
            step = d.rewriting("slide-index")
            check(step)
            d = step.after
        assert [n.op for n in d.nodes[1:]] == [n.op for n in plain.nodes]


def test_an_index_slides_onto_those_inputs_that_have_the_axis() -> None:
    """Figure 11, inner broadcasting: H: a, d -> b lifted to c a, d -> c b: the first array is indexed."""
    before = (nk.einsum("a, d -> a d") >> nk.index("c", 1)).on("c=3 a=2, d=4")
    step = before.rewriting("slide-index")
    assert [(str(n.op), n.ins) for n in step.after.nodes] == [
        ("index[c=1]", (0,)),
        ("einsum[a, d -> a d]", (2, 1)),
    ]
    check(step)


@settings(max_examples=40, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow])
@given(diagrams(concrete=True, steps=3, depth=1), st.data())
def test_an_index_slides_in_random_diagrams(d: Diagram, data: st.DataObject) -> None:
    (array,) = d.outputs
    assume(array.axes)
    axis = data.draw(st.sampled_from(array.axes))
    before = _then(d, nk.index(axis.name, data.draw(st.integers(0, int(axis.size) - 1))).build((array,)))
    for _, path in before.rewrites("slide-index"):
        check(before.rewriting("slide-index", path))


def _then(first: Diagram, second: Diagram) -> Diagram:
    """One diagram after another, which takes its first output."""
    shift = len(first.wires) - 1
    number = {second.ins[0]: first.outs[0]} | {
        w: w + shift for w in range(len(second.wires)) if w not in second.ins
    }
    nodes = tuple(
        replace(
            n, id=f"{n.id}_last", ins=tuple(number[w] for w in n.ins), outs=tuple(number[w] for w in n.outs)
        )
        for n in second.nodes
    )
    return replace(
        first,
        wires=(*first.wires, *(second.wires[w] for w in number if w not in second.ins)),
        outs=(number[second.outs[0]],),
        nodes=(*first.nodes, *nodes),
    )


# -- whole models ------------------------------------------------------------------------------------------


def test_multi_head_attention_with_queries_and_keys_absorbed() -> None:
    d = multi_head_attention(2, bias=False).on("y=3 m=4, x=5 m=4")
    opened = d.rewriting("unfold-block", at="attention")
    check(opened)
    step = opened.after.rewriting("qk-absorb")
    check(step)
    assert step.at == "scores"
    assert str(step.formulas[0]) == "QK.weight[h m‴ m′] = Σ_(k″) Q.weight[h k″ m′] · K.weight[h k″ m‴]"


def test_the_fused_scores_are_one_einsum() -> None:
    """Figure 17: maps, products and sums, broadcast together, are one einsum."""

    @nk.diagram("y m, x m -> y x")
    def scores(y, x):
        q = nk.linear("m -> h=2 k=3", "Q", bias=False)(y)
        k = nk.linear("m -> h=2 k=3", "K", bias=False)(x)
        return nk.einsum("y k, x k -> y x")(q, k)

    before = scores.on("y=3 m=4, x=5 m=4")
    d = before
    for name in ("Q", "K"):
        step = d.rewriting("linear-einsum", at=name)
        check(step)
        d = step.after
    step = d.rewriting("merge-einsums")
    check(step)
    assert [n.id for n in step.after.nodes] == ["Q", "K", "rename", "einsum"]
    assert str(step.after.nodes[-1].op) == "einsum[h k m, y m, h k m_2, x m_2 -> h y x]"


def test_places_are_those_of_the_listing_and_weights_keep_their_tensors() -> None:
    block = nk.norm("m") >> nk.linear("m -> f=8") >> nk.relu >> nk.linear("f -> m=4")
    d = (nk.block("layer", block) ** 2 >> nk.linear("m -> n=3") >> nk.linear("n -> o=2")).on("x=2 m=4")
    assert d.rewrites("merge-linears") == [("merge-linears", "linear")]
    step = d.rewriting("merge-linears", at="")
    state = d.torch(seed=0).state_dict()
    after = step.weights(state)
    kept = [name for name in state if name.startswith("layer")]
    assert kept
    assert all(after[name] is state[name] for name in kept)
    assert [str(f) for f in step.formulas] == [
        "linear.weight[o m′] = Σ_(n″) linear_2.weight[o n″] · linear.weight[n″ m′]",
        "linear.bias[o] = Σ_(n″) linear_2.weight[o n″] · linear.bias[n″] + linear_2.bias[o]",
    ]
    torch.testing.assert_close(after["linear.weight"], state["linear_2.weight"] @ state["linear.weight"])
    assert d.rewrites("fuse-conv") == []
    assert ("repeat-unroll", "layer") in d.rewrites()


def test_sizes_may_stay_open_until_the_weights_are_carried() -> None:
    d = (nk.linear("m -> f") >> nk.linear("f -> n")).on("x m")
    step = d.rewriting("merge-linears")
    net = d.torch(seed=0, m=4, f=3, n=2).double()
    other = step.after.torch(m=4, n=2).double()
    other.load_state_dict(step.weights(net.state_dict(), m=4, f=3, n=2))
    x = torch.randn(5, 4, dtype=torch.float64)
    torch.testing.assert_close(net(x), other(x))


def test_a_rewrite_inside_a_repetition_happens_in_every_copy() -> None:
    d = ((nk.linear("m -> f=3") >> nk.linear("f -> m") >> nk.relu) ** 3).on("x=2 m=4")
    step = d.rewriting("merge-linears", at="repeat.*.linear")
    check(step)
    assert sorted(step.after.torch().state_dict()) == sorted(
        f"repeat.{i}.linear.{part}" for i in range(3) for part in ("weight", "bias")
    )
    tied = nk.repeat(nk.linear("m -> f=3") >> nk.linear("f -> m") >> nk.relu, 3, tied=True).on("x=2 m=4")
    check(tied.rewriting("merge-linears"))


def test_a_rewrite_inside_stages_happens_in_every_copy() -> None:
    part = nk.linear("c -> e=2*c") >> nk.linear("e -> n=2*c") >> nk.relu >> nk.rename(n="c")
    d = nk.stages(part, 3).on("x=2 c=2")
    (_, place), *_ = d.rewrites("merge-linears")
    check(d.rewriting("merge-linears", place))


def test_looks_of_parts_that_stay_are_kept() -> None:
    d = (nk.skip >> nk.block("a", nk.relu) >> nk.block("b", nk.tanh)).on("x m")
    d = d.styled("a", fold=True).styled("b", fold=True)
    assert d.rewrite("unfold-block", at="b").style == {"a": {"fold": True}}
    assert Diagram.from_json(d.rewrite("unfold-block", at="b").json()).style == {"a": {"fold": True}}


def test_rewrites_of_an_expanded_diagram_keep_its_paths() -> None:
    d = (nk.block("mlp", nk.linear("m -> f") >> nk.linear("f -> m")) ** 2).on("x m").expanded()
    assert [path for _, path in d.rewrites("merge-linears")] == [
        "mlp.0.linear", "mlp.0.linear_2", "mlp.1.linear",
    ]  # fmt: skip
    assert [n.id for n in d.rewrite("merge-linears", at="mlp.1.linear").nodes] == [
        "mlp.0.linear", "mlp.0.linear_2", "mlp.1.linear",
    ]  # fmt: skip


def test_attention_stays_attention_under_all_that_applies() -> None:
    d = attention.on("y=3 k=4, x=5 k=4, x=5 k=4")
    assert ("softmax-expand", "softmax") in d.rewrites()
    for rule, path in d.rewrites():
        check(d.rewriting(rule, path))


def test_rules_tell_of_themselves() -> None:
    known = nk.rewrites()
    assert list(known) == sorted(RULES)
    assert known["softmax-expand"] == "A softmax is exp, divided by its sum: exp(x) · 1/Σ exp(x)."


def test_the_page_on_rewrites_has_every_rule_and_its_inverse() -> None:
    text = (Path(__file__).parents[2] / "docs" / "rewrites.md").read_text(encoding="utf-8")
    rows = [
        [cell.strip() for cell in line.split("|")[1:-1]] for line in text.splitlines() if line[:3] == "| `"
    ]
    assert {row[0].strip("`"): row[2].strip("`") for row in rows} == {n: r.inverse for n, r in RULES.items()}


@pytest.mark.parametrize(
    "name",
    [
        "attention", "grouped-query-attention", "cross-attention", "decoder-layer", "visual-attention",
        "digits-convnet", "transposed-conv", "unet-stages", "diffusion-unet", "lstm", "mamba-block",
        "mixture-of-experts", "graph-attention", "lora", "group-norm",
    ],
)  # fmt: skip
def test_every_rule_keeps_a_model_what_it_is(name: str) -> None:
    d = catalogue()[name]()
    d = d.at(**{size: SIZES[size] for size in d.free()})
    first = dict(d.rewrites()[::-1])  # of each rule, its first place
    for rule, path in first.items():
        check(d.rewriting(rule, path), tolerance=1e-8)
