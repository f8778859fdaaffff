"""What each component makes of its inputs, what it is made of, and how many parameters it has."""

import subprocess
import sys

import pytest

from nbkit import Diagram, Fn, parse
from nbkit.components import (
    attention,
    avg_pool,
    basic_block,
    catalogue,
    causal_attention,
    conv,
    depthwise_conv,
    digits_convnet,
    digits_mlp,
    embedding,
    global_average_pool,
    gpt,
    grokking_mlp,
    grokking_transformer,
    last_position_block,
    max_pool,
    mlp,
    models,
    multi_head_attention,
    norm_activate,
    perceptron,
    residual,
    resnet,
    resnet_block,
    self_attention,
    spirals_mlp,
    transformer_block,
)

TABLE = [
    (attention, "y k, x k, x k", "R[y k]"),
    (attention, "b h y k, b h x k, b h x k", "R[b h y k]"),
    (causal_attention, "h y k, h x k, h x k", "R[h y k]"),
    (multi_head_attention(), "y m, x m", "R[y m]"),
    (multi_head_attention(8), "b y m=512, b x m=512", "R[b y m=512]"),
    (multi_head_attention(4, 32), "y m=100, x m=100", "R[y m=100]"),
    (multi_head_attention("2*g", "m/g"), "y m, x m", "R[y m]"),
    (self_attention(4, causal=True, dropout=0.1), "x m=64", "R[x m=64]"),
    (self_attention(4), "x:2=8 m=64", "R[x:2=8 m=64]"),  # visual attention
    (transformer_block(4), "x m=64", "R[x m=64]"),
    (transformer_block(hidden="f", norm="rms", bias=False), "b x m", "R[b x m]"),
    (transformer_block(8, dropout=0.1) ** 6, "x m", "R[x m]"),
    (last_position_block(4), "b x=3 m=64", "R[b m=64]"),
    (gpt(2, 4), "N(97)[x=12]", "R[x=12 v=97]"),
    (gpt(2, 4, dropout=0.1), "N(v)[x]", "R[x v]"),
    (embedding(), "N(v)[x]", "R[x m]"),
    (embedding("v", "m=64"), "N(97)[b x=3]", "R[b x=3 m=64]"),
    (embedding("v", "m=64", axis="y"), "N(97)[y=3]", "R[y=3 m=64]"),
    (mlp(), "x m", "R[x m]"),
    (mlp(128, activation="relu", dropout=0.5), "b x m=32", "R[b x m=32]"),
    (perceptron("i j", [32], "c=10"), "i=8 j=8", "R[c=10]"),
    (perceptron("d", [], "c=2"), "b d=2", "R[b c=2]"),
    (residual(mlp()), "x m", "R[x m]"),
    (conv(64), "c=3 x:2=32", "R[c=64 x:2=32]"),
    (conv(64, 7, 2), "b c=3 x:2=32", "R[b c=64 x:2=16]"),
    (conv(8, 3, padding=0), "c=3 x=32", "R[c=8 x=30]"),
    (conv(8, 3, dilation=2, padding=0), "c=3 x:3=32", "R[c=8 x:3=28]"),
    (conv(8, 4, groups=4), "c=12 x=32", "R[c=8 x=32]"),
    (conv(8, axis="t", channels="m"), "t m=4", "R[t m=8]"),
    (depthwise_conv(5), "c x:2", "R[c x:2]"),
    (max_pool(), "c x:2=32", "R[c x:2=16]"),
    (max_pool(3, 2, padding=1), "c x=15", "R[c x=8]"),
    (avg_pool(4), "c x=16", "R[c x=4]"),
    (global_average_pool(), "c x:2", "R[c]"),
    (norm_activate(), "c x:2", "R[c x:2]"),
    (norm_activate("layer", "gelu", channels="m"), "x m", "R[x m]"),
    (norm_activate("rms"), "x c", "R[x c]"),
    (norm_activate(batch="b"), "b c x", "R[b c x]"),
    (resnet_block(64, 256, 2), "c=64 x:2=32", "R[c=256 x:2=16]"),
    (resnet_block(256, 256), "c=256 x:2", "R[c=256 x:2]"),
    (basic_block(16, 32, 2), "c=16 x=8", "R[c=32 x=4]"),
    (resnet((1, 1, 2), width=8, classes=5), "c=3 x:2=16", "R[o=5]"),
    (resnet((1, 2), width=8, bottleneck=True), "c=1 x:2=8", "R[o=10]"),
]


@pytest.mark.parametrize(
    ("fn", "inputs", "output"), TABLE, ids=[f"{fn} on {ins}"[:80] for fn, ins, _ in TABLE]
)
def test_types(fn: Fn, inputs: str, output: str) -> None:
    diagram = fn.on(inputs)
    assert str(*diagram.outputs) == output
    assert parse(diagram.listing()) == diagram == Diagram.from_json(diagram.json())


@pytest.mark.parametrize(
    ("diagram", "parameters"),
    [
        (lambda: gpt(12, 12).on("N(50257)[x=1024]", m=768), 124_439_808),  # GPT-2 small
        (lambda: multi_head_attention(8).on("y m=512, x m=512"), 4 * 512 * 513),
        (lambda: multi_head_attention(8, bias=False).on("y m=512, x m=512"), 4 * 512 * 512),
        (lambda: transformer_block(8).on("x m=512"), 3_152_384),  # TransformerEncoderLayer(512, 8, 2048)
        (lambda: mlp(256).on("x m=64"), 64 * 256 + 256 + 256 * 64 + 64),
        (lambda: conv(64, 3).on("c=3 x:2"), 64 * 3 * 9 + 64),
        (lambda: conv(64, 3, groups=4, bias=False).on("c=32 x:2"), 64 * 8 * 9),
        (lambda: depthwise_conv(7).on("c=96 x:2"), 96 * 49 + 96),
        (lambda: perceptron("i j", [512, 512], "c=10").on("i=28 j=28"), 669_706),
        (digits_mlp, 64 * 64 + 64 + 640 + 10),
        (grokking_mlp, 97 * 64 + 128 * 256 + 256 + 256 * 97 + 97),
        (grokking_transformer, 98 * 64 + 3 * 64 + 12 * 64**2 + 13 * 64 + 64 * 97 + 97 + 2 * 64),
        (spirals_mlp, 2 * 32 + 32 + 32 * 33 + 32 * 2 + 2),
    ],
)  # fmt: skip
def test_parameters(diagram, parameters: int) -> None:
    assert diagram().cost().params == parameters


def test_the_parts_of_a_transformer_block_have_the_promised_paths() -> None:
    d = transformer_block(4).on("x m=64")
    for path in (
        *(f"multi_head_attention.{name}" for name in "QKVO"),
        *(f"multi_head_attention.attention.{name}" for name in ("scores", "scale", "softmax", "mix")),
        "mlp.up",
        "mlp.down",
        "norm",
        "norm_2",
        "residual",
        "residual_2",
    ):
        assert d[path]
    assert [n.id for n in d.nodes] == [
        "norm", "rename", "multi_head_attention", "rename_2", "residual", "norm_2", "mlp", "residual_2"
    ]  # fmt: skip


def test_the_attention_inside_does_not_mention_heads() -> None:
    inside = multi_head_attention(4).on("y m=64, x m=64")["attention"]
    assert [n.op for n in inside.nodes] == [n.op for n in attention.on("y k=16, x k=16, x k=16").nodes]


def test_a_causal_model_is_masked_in_every_layer() -> None:
    masks = [n for n in gpt(3, 4).on("N(v)[x]").expanded().nodes if n.op.kind == "mask"]
    assert [str(n.op) for n in masks] == ["mask[x <= y]"] * 3


def test_the_skip_is_a_convolution_only_where_something_changes() -> None:
    same, wider = resnet_block(64, 64).on("c=64 x:2"), resnet_block(64, 128).on("c=64 x:2")
    assert sum(n.id.startswith("conv") for n in same.nodes) == 3
    assert sum(n.id.startswith("conv") for n in wider.nodes) == 4
    assert [n.id for n in same.nodes][-1] == "residual"


def test_the_tied_table_is_one() -> None:
    d = gpt(1, 4).on("N(11)[x]", m=8)
    keys = [n.op.key for n in d.expanded().nodes if getattr(n.op, "key", "")]  # type: ignore[attr-defined]
    assert keys == ["table", "table"]


def test_dropout_is_where_torch_puts_it() -> None:
    d = transformer_block(4, dropout=0.1).on("x m=64").expanded()
    assert [n.id for n in d.nodes if n.op.kind == "dropout"] == [
        "multi_head_attention.attention.dropout",
        "dropout",
        "mlp.dropout",
        "dropout_2",
    ]


@pytest.mark.parametrize("name", sorted(catalogue()))
def test_the_catalogue(name: str) -> None:
    diagram = catalogue()[name]()
    assert diagram == catalogue()[name]()
    assert diagram.name != "diagram", "what is drawn has a name"
    assert Diagram.from_json(diagram.json()) == diagram


def test_models_fit_their_tasks() -> None:
    from nbkit.tasks import digits, modular_arithmetic, spirals

    plus, two = modular_arithmetic(p=23), modular_arithmetic(p=23, equals=False)
    pairs = [(digits_mlp(), digits()), (digits_convnet(), digits()), (spirals_mlp(), spirals())]
    pairs += [
        (grokking_mlp(23), two),
        (grokking_mlp(23, equals=True), plus),
        (grokking_transformer(23), plus),
    ]
    for model, task in pairs:
        assert model.outputs[0].numel == task.classes
        assert model.inputs[0].numel == task.train[0][0].numel()
        assert model.free() == ()
    assert set(models()) <= set(catalogue())


def test_components_need_neither_torch_nor_pictures() -> None:
    unwanted = {"torch", "nbkit.draw", "nbkit.build", "anywidget"}
    make = "import sys, nbkit.components as c; [f() for f in c.catalogue().values()]"
    code = f"{make}; print(sorted({unwanted}.intersection(sys.modules)))"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert found == "[]\n"
