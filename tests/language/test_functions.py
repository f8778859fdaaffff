"""How functions are woven, combined, traced, inferred and printed."""

import pickle

import pytest

import nbkit as nk
from nbkit import (
    Diagram,
    Fn,
    add,
    block,
    concat,
    diagram,
    einsum,
    embed,
    gelu,
    index,
    linear,
    maximum,
    mean,
    merge,
    norm,
    positions,
    relu,
    rename,
    repeat,
    scale,
    skip,
    softmax,
    square,
    window,
)


@diagram("y k, x k, x k -> y k")
def attention(q, k, v):
    """Scaled dot-product attention."""
    weights = einsum("y k, x k -> y x")(q, k) >> scale("k**(-1/2)") >> softmax("x")
    return einsum("y x, x k -> y k")(weights, v)


def ids(d: Diagram) -> list[str]:
    return [path for path, _ in d.walk()]


@pytest.mark.parametrize(
    ("inputs", "output"),
    [
        ("y k, x k, x k", "R[y k]"),
        ("h y k, h x k, h x k", "R[h y k]"),
        ("y h k, x h k, x h k", "R[h y k]"),  # woven axes in front
        ("b h y k, b h x k, b h x k", "R[b h y k]"),
        ("b y k, h x k, h x k", "R[b h y k]"),  # woven over one of the arrays only: inner broadcasting
        ("y:2 k, x:2 k, x:2 k", "R[y:2 k]"),  # over an image
        ("y=3 k=4, x=5 k=4, x=5 k=4", "R[y=3 k=4]"),
        ("y k g, x k, x k", "R[g y k]"),  # grouped queries
    ],
)
def test_a_block_is_woven_over_what_its_signature_does_not_name(inputs: str, output: str) -> None:
    (found,) = attention.on(inputs).outputs
    assert str(found) == output


def test_the_woven_block_has_the_same_ops() -> None:
    plain, woven = attention.on("y k, x k, x k"), attention.on("b h y k, b h x k, b h x k")
    assert [n.op for n in plain.nodes] == [n.op for n in woven.nodes]


def test_a_traced_block_ends_in_the_order_of_its_signature() -> None:
    swap = diagram("x m -> m x", lambda_named("swap", lambda w: w))
    assert [n.op.kind for n in swap.on("x m").nodes] == ["transpose"]
    assert str(swap.on("a x b m").outputs[0]) == "R[a b m x]"
    assert not diagram("x m -> x m", lambda_named("same", lambda w: w)).on("b x m").nodes


def lambda_named(name, function):
    function.__name__ = name
    return function


def test_input_wires_carry_the_parameters_names() -> None:
    assert [attention.diagram().wires[w].name for w in attention.diagram().ins] == ["q", "k", "v"]

    @diagram("x, x, x -> x")
    def hidden(_private, *others):
        return _private + others[0] + others[1]

    assert [w.name for w in hidden.diagram().wires[:3]] == ["private", "others", ""]


def test_wires_support_arithmetic_indexing_and_renaming() -> None:
    @diagram("x m -> m")
    def f(w):
        late = w["x", 1:]
        both = w["x", -1] + w["x", 0] * mean("x")(late)
        return both.rename(m="q") >> rename(q="m")

    d = f.on("x=5 m")
    kinds = [n.op.kind for n in d.nodes]
    assert kinds == ["slice", "slice", "slice", "reduce", "multiply", "add", "rename", "rename"]
    assert [str(n.op) for n in d.nodes[:3]] == ["slice[x=1:]", "index[x=-1]", "index[x=0]"]


def test_functions_know_their_own_documentation() -> None:
    assert attention.__doc__ == "Scaled dot-product attention."
    assert (attention.name, attention.__name__, attention.__module__) == ("attention", "attention", __name__)  # type: ignore[attr-defined]
    assert repr(attention) == "attention"


# -- combinators -------------------------------------------------------------------------------------------


def test_a_sum_with_the_identity_is_a_residual() -> None:
    assert ids((skip + linear("m -> m")).on("m")) == ["linear", "residual"]
    assert ids((linear("m -> m") + skip).on("m")) == ["linear", "residual"]
    assert ids((relu + square).on("m")) == ["relu", "square", "add"]
    assert ids(((relu, square) >> add).on("m")) == ["relu", "square", "add"]


def test_fan_out_shares_its_input_and_side_by_side_does_not() -> None:
    shared, beside = (skip >> (relu, square)).on("x"), relu * square
    assert [n.ins for n in shared.nodes] == [(0,), (0,)]
    assert [n.ins for n in beside.on("x, y").nodes] == [(0,), (1,)]


def test_operators_bind_as_the_documentation_says() -> None:
    assert relu * gelu >> add == (relu * gelu) >> add
    assert skip + relu >> gelu == (skip + relu) >> gelu
    assert relu >> gelu**2 == relu >> (gelu**2)
    assert (relu >> gelu) >> square == relu >> (gelu >> square)
    assert (relu * gelu) * square == relu * (gelu * square)
    assert ((relu, gelu) >> add).on("x") == (skip >> (relu, gelu) >> add).on("x") == (relu + gelu).on("x")


def test_copies_have_weights_of_their_own_unless_tied() -> None:
    body = linear("m -> f") >> relu >> linear("f -> m")
    loose, tied = (body**3).on("x m"), repeat(body, 3, tied=True).on("x m")
    assert loose != tied
    assert loose["repeat"] == tied["repeat"]
    assert [n.op.tied for n in (*loose.nodes, *tied.nodes)] == [False, True]  # type: ignore[attr-defined]
    assert loose.operations == tied.operations == 9


def test_copies_of_a_block_are_named_after_it_and_are_not_nested() -> None:
    layer = block("layer", linear("m -> m") >> relu)
    assert ids((layer**2).on("m")) == ["layer", "layer.*.linear", "layer.*.relu"]

    @diagram("m -> m")
    def traced(w):
        return relu(w)

    assert ids((traced**2).on("m")) == ["traced", "traced.*.relu"]
    assert ids(((relu >> relu) ** 2).on("m")) == ["repeat", "repeat.*.relu", "repeat.*.relu_2"]


def test_blocks_nest_and_on_opens_the_outermost() -> None:
    inner = block("inner", linear("m -> m"))
    assert ids(block("outer", inner).on("m")) == ["inner", "inner.linear"]
    assert block("outer", inner).on("m").name == "outer"
    assert ids((relu >> block("outer", inner)).on("m")) == [
        "relu",
        "outer",
        "outer.inner",
        "outer.inner.linear",
    ]
    assert ids((skip >> attention).on("y k, x k, x k"))[0] == "attention"


def test_nodes_are_named_by_their_op_or_as_asked() -> None:
    fn = linear("m -> m", "Q") >> linear("m -> m") >> linear("m -> m") >> mean("m") >> relu
    assert ids(fn.on("m")) == ["Q", "linear", "linear_2", "mean", "relu"]
    assert ids((linear("m -> m", "linear_2") >> linear("m -> m") >> linear("m -> m")).on("m")) == [
        "linear_2",
        "linear",
        "linear_3",
    ]
    long = "x" * 40
    assert ids((linear("m -> m", long) >> linear("m -> m", long)).on("m"))[1] == "x" * 38 + "_2"


def test_the_transpose_swaps_the_axes_of_a_linear_map() -> None:
    assert linear("h k -> m", bias=False) == linear("m -> h k").T
    assert str(linear("m -> h k=4").T.on("x h k=4").outputs[0]) == "R[x m]"
    assert linear("f -> m", bias=False, key="E") == linear("m -> f", key="E").T


# -- sizes by name -----------------------------------------------------------------------------------------


def test_an_open_size_is_that_of_the_ops_input_first() -> None:
    assert linear("c -> c").on("c=3").outputs[0]["c"].size == 3


def test_then_what_the_name_has_meant_in_this_block() -> None:
    fn = linear("m -> f=7") >> linear("f -> g") >> linear("g -> m")
    assert str(fn.on("m=5").outputs[0]) == "R[m=5]"


def test_then_in_the_enclosing_ones() -> None:
    fn = linear("m -> f=7") >> block("end", linear("f -> m"))
    assert str(fn.on("m=5").outputs[0]) == "R[m=5]"
    repeated = linear("m -> f=7") >> (linear("f -> m") >> linear("m -> f")) ** 2
    assert str(repeated.on("m=5")["repeat"].wires[1].type) == "R[m=5]"


def test_else_it_is_free() -> None:
    assert linear("m -> f").on("m=5").free() == ("f",)
    inner_first = block("a", linear("m -> f=3") >> linear("f -> m")) >> linear("m -> f")
    assert str(inner_first.on("m").outputs[0]) == "R[f]", "what happens inside a block stays there"


def test_sizes_in_a_specification_are_expressions_in_names() -> None:
    fn = linear("m -> f=4*m") >> linear("f -> g=f/2+1")
    assert str(fn.on("m=8").outputs[0]) == "R[g=17]"
    assert str(fn.on("m").outputs[0]) == "R[g=2*m+1]"
    assert str(fn.on("m", m=8).outputs[0]) == "R[g=17]"


def test_factors_take_the_size_that_the_name_has_here() -> None:
    assert str(scale("k**(-1/2)").on("y k=16").nodes[0].op) == "scale[1/4]"
    assert str(scale("k**(-1/2)").on("y k").nodes[0].op) == "scale[1/sqrt(k)]"
    assert str((linear("m -> h k=9") >> scale("m/k")).on("m=3").nodes[1].op) == "scale[1/3]"


def test_a_vocabulary_is_known_by_name_also_outside_its_block() -> None:
    fn = block("start", embed("v -> m", key="E") + positions("x -> m")) >> linear("m -> v", key="E")
    assert str(fn.on("N(97)[x]").outputs[0]) == "R[x v=97]"


# -- unapplied functions -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("fn", "shown"),
    [
        (relu, "diagram: R[] -> R[]"),
        (softmax("x"), "diagram: R[x] -> R[x]"),
        (linear("m -> f") >> softmax("x"), "diagram: R[m x] -> R[f x]"),
        (relu >> linear("m -> f") >> norm("f"), "diagram: R[m] -> R[f]"),
        (attention, "attention: R[y k], R[x k], R[x k] -> R[y k]"),
        (skip + (norm("m") >> linear("m -> m")), "diagram: R[m] -> R[m]"),
        ((skip, relu) >> einsum("x k, x k -> x"), "diagram: R[x k] -> R[x]"),
        (linear("a -> c") * linear("b -> c"), "diagram: R[a], R[b] -> R[c], R[c]"),
        (linear("a -> c") * linear("b -> d") >> (einsum("c x, d -> x")), "diagram: R[a x], R[b] -> R[x]"),
        (embed("v -> m") + positions("x -> m"), "diagram: N(v)[x] -> R[x m]"),
        (embed("v=97 -> m") >> index("x", -1), "diagram: N(97)[x] -> R[m]"),
        (window("x", 2, 2) >> maximum("w"), "diagram: R[x] -> R[x=x/2]"),
        (block("part", softmax("x") >> block("end", mean("y"))), "part: R[x y] -> R[x]"),
        ((linear("m -> f") >> softmax("x") >> linear("f -> m")) ** 2, "diagram: R[m x] -> R[m x]"),
        (merge("x y -> f"), "diagram: R[x y] -> R[f=x*y]"),
        (concat("c"), "diagram: R[c], R[c] -> R[c=2*c]"),
    ],
)
def test_the_smallest_inputs_are_found(fn: Fn, shown: str) -> None:
    assert str(fn.diagram()) == shown


def test_a_real_type_error_is_not_hidden_by_the_search() -> None:
    with pytest.raises(nk.DiagramTypeError, match="the branches differ"):
        (skip + linear("m -> f")).diagram()


# -- text and equality -------------------------------------------------------------------------------------

PRINTED = [
    relu,
    nk.elementwise("abs"),
    nk.elementwise("relu", "act"),
    linear("m -> h k", "Q", bias=False),
    linear("m -> f", per="g", key="E"),
    linear("m -> f").T,
    einsum("y k, x k -> y x", "scores"),
    embed("v -> m", key="E"),
    positions("x -> m"),
    scale("k**(-1/2)"),
    nk.total("x"),
    mean("x", "average"),
    maximum("x y"),
    softmax("x"),
    norm("m", eps=1e-6, affine=False),
    nk.rms_norm("m", "last"),
    nk.batch_norm("c"),
    nk.batch_norm("c", over="b", eps=1e-3),
    nk.mask("x <= y", fill="0"),
    nk.dropout(0.25),
    merge("x y -> f"),
    merge("x", "w"),
    nk.split("f -> h k=4"),
    concat("c"),
    nk.slice("x", 1, -1),
    nk.slice("x"),
    index("x", -1, "last"),
    rename(x="y"),
    rename("x y -> y x", "swap"),
    nk.transpose("m x"),
    window(),
    window("x", 2, 2, dilation=3, padding=1, name="p", fill="-inf"),
    add,
    skip,
    relu >> gelu >> square,
    relu * gelu * (relu >> gelu),
    (relu, gelu) >> add,
    (relu,) >> square,
    skip + relu + gelu,
    (skip + relu) * gelu,
    relu**3,
    (relu >> gelu) ** 3,
    (relu * gelu) ** 2,
    (skip + relu) ** 2,
    (relu**2) ** 3,
    repeat(relu, 3, tied=True),
    repeat((relu, gelu), 2),
    block("part", relu >> (skip, gelu) >> add),
    block("part", relu) ** 2,
    attention >> linear("k -> m"),
    relu >> (block("p", skip + relu), gelu) >> add,
]  # fmt: skip


@pytest.mark.parametrize("fn", PRINTED, ids=map(repr, PRINTED))
def test_functions_print_as_the_python_that_makes_them(fn: Fn) -> None:
    names = {name: getattr(nk, name) for module in nk._LANGUAGE for name in nk._LANGUAGE[module]}
    again = eval(repr(fn), names | {"attention": attention, "slice": nk.slice})  # noqa: S307  (our own text)
    assert again == fn
    assert hash(again) == hash(fn)
    assert repr(again) == repr(fn)


def test_equality_ignores_the_line_and_nothing_else() -> None:
    assert linear("m -> f") == linear("m -> f")
    assert linear("m -> f") != linear("m -> f", "Q")
    assert linear("m -> f") != linear("m -> f", bias=False)
    assert len({relu, relu, nk.elementwise("relu"), gelu}) == 2


def test_the_same_function_gives_the_same_bytes() -> None:
    fn = block("layer", skip + (norm("m") >> linear("m -> f") >> gelu >> linear("f -> m"))) ** 3
    first, second = fn.on("b x m=64", f=256), fn.on("b x m=64", f=256)
    assert first == second
    assert hash(first) == hash(second)
    assert first.json() == second.json()
    assert first.listing() == second.listing()
    assert pickle.loads(pickle.dumps(first)) == first  # noqa: S301  (our own)
