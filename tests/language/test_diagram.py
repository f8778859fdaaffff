"""Paths, binding sizes, looks, expanding, copying."""

import copy
import pickle

import pytest

import nbkit as nk
from nbkit import (
    BindingError,
    Diagram,
    DiagramError,
    batch_norm,
    block,
    linear,
    maximum,
    norm,
    relu,
    repeat,
    skip,
    window,
)
from nbkit.components import conv, gpt, multi_head_attention, resnet_block, transformer_block


@pytest.fixture
def model() -> Diagram:
    return (linear("m -> m", "start") >> transformer_block() ** 3 >> repeat(relu, 2, tied=True)).on("x m")


@pytest.mark.parametrize(
    ("path", "shown"),
    [
        ("start", "start: R[x m] -> R[x m]"),
        ("transformer_block", "transformer_block: R[x m] -> R[x m]"),
        ("transformer_block.*", "transformer_block: R[x m] -> R[x m]"),
        ("transformer_block.2.mlp", "mlp: R[x m] -> R[x m]"),
        ("transformer_block.*.multi_head_attention.Q", "Q: R[y=x m] -> R[y=x h k]"),
        ("transformer_block.0.multi_head_attention.attention.softmax", "softmax: R[h y=x x] -> R[h y=x x]"),
        ("transformer_block.1.multi_head_attention.attention.mix", "mix: R[h y=x x], R[x h k] -> R[h y=x k]"),
        ("transformer_block.*.residual", "residual: R[x m], R[x m] -> R[x m]"),
        ("repeat.0.relu", "relu: R[x m] -> R[x m]"),
    ],
)
def test_every_part_has_a_path(model: Diagram, path: str, shown: str) -> None:
    part = model[path]
    assert str(part) == shown
    assert Diagram.from_json(part.json()) == part


def test_walking_gives_the_paths_that_lead_there(model: Diagram) -> None:
    paths = [path for path, _ in model.walk()]
    assert len(paths) == len(set(paths)) == 24
    for path, node in model.walk():
        part = model[path]
        assert part.nodes[-1].op == node.op or part == node.op.body  # type: ignore[attr-defined]


def test_paths_stay_when_something_is_put_beside() -> None:
    longer = (linear("m -> m", "start") >> norm("m") >> transformer_block() ** 3).on("x m")
    shorter = (linear("m -> m", "start") >> transformer_block() ** 3).on("x m")
    assert {p for p, _ in shorter.walk()} <= {p for p, _ in longer.walk()}


@pytest.mark.parametrize(
    ("path", "message"),
    [
        ("strat", "diagram has no part 'strat'; did you mean 'start'?"),
        ("", "diagram has no part ''; its parts are start, transformer_block, repeat"),
        ("start.weight", "diagram.start is one linear and has no part 'weight'"),
        (
            "transformer_block.3",
            (
                "diagram.transformer_block is repeated 3 times, so '3' is no copy; "
                "they are called 0 to 2, or * for any"
            ),
        ),
        (
            "transformer_block.mlp",
            (
                "diagram.transformer_block is repeated 3 times, so 'mlp' is no copy; "
                "they are called 0 to 2, or * for any"
            ),
        ),
        ("transformer_block.*.mpl", "transformer_block has no part 'mpl'; did you mean 'mlp'?"),
    ],
)
def test_paths_that_lead_nowhere(model: Diagram, path: str, message: str) -> None:
    with pytest.raises(DiagramError) as caught:
        model[path]
    assert str(caught.value) == message


# -- sizes -------------------------------------------------------------------------------------------------


def test_sizes_are_bound_everywhere() -> None:
    d = multi_head_attention().on("y m, x m")
    assert d.free() == ("h", "k", "m", "x", "y")
    bound = d.at(m=64, h=4, k=16)
    assert bound.free() == ("x", "y")
    assert bound["Q"].nodes[0].op == nk.linear("m -> h=4 k=16", "Q").op  # type: ignore[attr-defined]
    assert str(bound["attention.scale"].nodes[0].op) == "scale[1/4]"
    assert bound == multi_head_attention().on("y m=64, x m=64", h=4, k=16)
    assert Diagram.from_json(bound.json()) == bound
    assert d.at() is d


def test_one_size_after_the_other_is_all_at_once() -> None:
    d = resnet_block(64, 256, 2).on("c=64 x:2")
    assert d.at(x=32) == resnet_block(64, 256, 2).on("c=64 x:2=32")
    d = (conv(8) >> nk.merge("x c -> f") >> linear("f -> g=f+1")).on("c x")
    assert d.at(c=3).at(x=5) == d.at(x=5).at(c=3) == d.at(c=3, x=5)


def test_binding_errors_name_the_place() -> None:
    halve = window("x", 2, 2) >> maximum("w")
    deep = (conv(4) >> block("down", halve >> halve)).on("c x")
    assert str(deep.at(x=8).outputs[0]) == "R[c=4 x=2]"
    with pytest.raises(BindingError) as caught:
        deep.at(x=6)
    assert str(caught.value) == "x/4 is not an integer for x=6 (window at down.window_2)"
    with pytest.raises(BindingError) as caught:
        transformer_block(8).on("x m", m=60)
    assert str(caught.value) == "m/8 is not an integer for m=60 (linear at multi_head_attention.Q)"
    with pytest.raises(BindingError) as caught:
        (transformer_block(8) ** 2).on("x m", m=60)
    assert (
        str(caught.value)
        == "m/8 is not an integer for m=60 (linear at transformer_block.*.multi_head_attention.Q)"
    )
    with pytest.raises(BindingError) as caught:
        nk.mask("x <= y").on("x y").at(z=3)
    assert str(caught.value) == "there is no size z to set; the diagram has free sizes x, y"
    with pytest.raises(BindingError) as caught:
        relu.on("width=3").at(widht=3)
    assert str(caught.value) == "there is no size widht to set; the diagram has no free sizes"
    with pytest.raises(BindingError) as caught:
        relu.on("width").at(widht=3)
    assert (
        str(caught.value)
        == "there is no size widht to set; the diagram has free sizes width; did you mean 'width'?"
    )


# -- expanding ---------------------------------------------------------------------------------------------


def test_expanding_dissolves_blocks_and_unrolls_repetitions(model: Diagram) -> None:
    flat = model.expanded()
    assert len(flat.nodes) == flat.operations == model.operations == 1 + 3 * 17 + 2
    assert flat.inputs == model.inputs
    assert flat.outputs == model.outputs
    assert [n.id for n in flat.nodes][:4] == [
        "start",
        "transformer_block.0.norm",
        "transformer_block.0.rename",
        "transformer_block.0.multi_head_attention.Q",
    ]
    made = {w for n in flat.nodes for w in n.outs} | set(flat.ins)
    assert made == set(range(len(flat.wires))), "no wire is left over"
    assert flat.expanded() == flat
    for path, _ in flat.walk():
        assert flat[path].nodes[0].op == model[path].nodes[0].op


def test_expanding_one_of_the_two(model: Diagram) -> None:
    unrolled = model.expanded(blocks=False)
    assert "transformer_block.1.multi_head_attention" in [n.id for n in unrolled.nodes]
    assert unrolled.operations == model.operations
    dissolved = model.expanded(repeats=False)
    assert [n.id for n in dissolved.nodes] == ["start", "transformer_block", "repeat"]
    assert "transformer_block.*.multi_head_attention.attention.softmax" in [p for p, _ in dissolved.walk()]
    for d in (unrolled, dissolved):
        assert Diagram.from_json(d.json()) == d
        assert nk.parse(d.listing()) == d
        assert d.expanded() == model.expanded()


def test_a_gpt_counts_its_operations() -> None:
    small, large = (gpt(n, heads=12).on("N(50257)[x=1024]", m=768) for n in (12, 48))
    assert large.operations - small.operations == 36 * small["transformer_block"].operations
    assert len(large.json()) < len(small.json()) + 10, "folded, its text does not grow"


# -- looks -------------------------------------------------------------------------------------------------


def test_looks_are_no_meaning(model: Diagram) -> None:
    styled = model.styled("transformer_block.*.mlp", fold=True, title="MLP <script>").styled("", theme="dark")
    assert styled == model
    assert hash(styled) == hash(model)
    assert styled.style["transformer_block.*.mlp"] == {"fold": True, "title": "MLP <script>"}
    again = Diagram.from_json(styled.json())
    assert again.style == styled.style
    assert again == model
    assert again.json() == styled.json()
    assert styled.styled("start", fill="#fff").style["start"] == {"fill": "#fff"}
    assert not model.style


def test_looks_stay_with_what_is_expanded(model: Diagram) -> None:
    flat = model.styled("start", fill="#fff").styled("transformer_block", fold=True).expanded()
    assert dict(flat.style) == {"start": {"fill": "#fff"}}
    assert Diagram.from_json(flat.json()).style == flat.style


# -- copies ------------------------------------------------------------------------------------------------


def test_diagrams_are_immutable_and_copy_as_themselves(model: Diagram) -> None:
    with pytest.raises(AttributeError):
        model.name = "other"  # type: ignore[misc]
    with pytest.raises(TypeError):
        model.style["start"] = {}  # type: ignore[index]
    assert copy.copy(model) == model
    assert copy.deepcopy(model) is model
    styled = model.styled("start", fold=True)
    again = pickle.loads(pickle.dumps(styled))  # noqa: S301  (our own)
    assert again == styled
    assert again.style == styled.style


def test_diagrams_say_what_they_are(model: Diagram) -> None:
    assert str(model) == "diagram: R[x m] -> R[x m]"
    assert repr(model) == "<Diagram diagram: R[x m] -> R[x m]>"
    assert repr(skip + batch_norm("c")) == "(skip + batch_norm('c'))"
