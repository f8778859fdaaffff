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
    causal_conv,
    conv,
    cross_attention,
    depthwise_conv,
    diffusion_unet,
    digits_convnet,
    digits_mlp,
    embedding,
    encoder_decoder,
    encoder_layer,
    gcn,
    global_average_pool,
    gpt,
    graph_attention,
    grokking_mlp,
    grokking_transformer,
    group_norm,
    grouped_query_attention,
    gru,
    identity_resnet,
    image_mlp,
    last_position_block,
    lora,
    lstm,
    mamba,
    mamba_block,
    max_pool,
    message_passing,
    mixture_of_experts,
    mlp,
    models,
    multi_head_attention,
    multi_query_attention,
    norm_activate,
    patches,
    perceptron,
    residual,
    resnet,
    resnet_block,
    rnn,
    self_attention,
    sinusoidal_positions,
    spirals_mlp,
    time_embedding,
    timed_block,
    transformer_block,
    transposed_conv,
    unet,
    unet_stages,
    upsample,
    vision_transformer,
    visual_attention,
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
    (identity_resnet(2, (4, 8, 16), batch="b"), "b c=1 x:2=8", "R[b o=10]"),
    (grouped_query_attention(8, 2), "b y m=16, b x m=16", "R[b y m=16]"),
    (multi_query_attention(4, 5), "y m, x m", "R[y m]"),
    (cross_attention(), "b y m, b x n", "R[b y m]"),
    (visual_attention(2, 5, 1), "b c=4 x:2", "R[b c=4 x:2]"),
    (patches(4, "m=8"), "b c=3 i=8 j=16", "R[b x=8 m=8]"),
    (vision_transformer(5, 8, 1, 2, 3), "c=1 i=10 j=15", "R[o=3]"),
    (encoder_layer(4), "b x m=16", "R[b x m=16]"),
    (encoder_decoder(2, 4, 16), "N(v)[y], N(v)[x]", "R[y v]"),
    (encoder_decoder(2, 4, tied=False, dropout=0.1), "N(u)[b y], N(v)[b x]", "R[b y u]"),
    (encoder_decoder(2, 4, 16, sinusoidal=False), "N(9)[y=3], N(9)[x=4]", "R[y=3 v=9]"),
    (sinusoidal_positions("m=6"), "x", "R[x m=6]"),
    (transposed_conv(8), "b c x:2", "R[b c=8 x:2=2*x]"),
    (transposed_conv("c/2", 3, 2, padding=1, extra=1, rank=1), "t c=4 x=5", "R[t c=2 x=10]"),
    (upsample(3, rank=3), "c x:3=2", "R[c x:3=6]"),
    (unet(3, 4, 5), "b c=1 x:2=16", "R[b c=5 x:2=16]"),
    (unet_stages(3, 4, 5), "b c=1 x:2=16", "R[b c=5 x:2=16]"),
    (rnn("4*m"), "t m=3", "R[t h=12]"),
    (gru(7), "t m=3", "R[t h=7]"),
    (lstm(7), "t m=3", "R[t h=7]"),
    (mamba(), "t m=24", "R[t m=24]"),
    (mamba_block() ** 2, "t m", "R[t m]"),
    (causal_conv(4, channels="m"), "b t m", "R[b t m]"),
    (mixture_of_experts(8, 3, "f"), "b x m", "R[b x m]"),
    (mixture_of_experts(8, 3, compute="chosen"), "b x m=4", "R[b x m=4]"),
    (gcn(5, 3), "n m, n s=n", "R[n o=3]"),
    (graph_attention(3, 4), "n m, N(n)[e], N(n)[e]", "R[n f=12]"),
    (message_passing(), "n=6 m=4, N(6)[e=9], N(6)[e=9]", "R[n=6 m=4]"),
    (lora("m -> h=2 k=3", 4), "b x m", "R[b x h=2 k=3]"),
    (group_norm(4), "b c=8 x", "R[b c=8 x]"),
    (timed_block(8, 16, 4), "b c=8 x:2, b m", "R[b c=16 x:2]"),
    (time_embedding(10), "N(50)[b]", "R[b m=10]"),
    (diffusion_unet(2, 8, groups=4), "b c=1 x:2=8, N(1000)[b]", "R[b c=1 x:2=8]"),
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
        (lambda: vision_transformer().on("c=3 i=224 j=224"), 86_567_656),  # ViT-B/16
        (lambda: encoder_decoder(6, 8, 512).on("N(37000)[y], N(37000)[x]"), 63_082_496),  # base, 2017
        (lambda: unet().on("c=1 x:2"), 31_030_658),
        (lambda: unet_stages().on("c=1 x:2"), 31_030_658),
        (lambda: lstm(4).on("t m=3"), 4 * (4 * 3 + 4 * 4 + 8)),  # torch.nn.LSTM(3, 4)
        (lambda: gru(4).on("t m=3"), 3 * (4 * 3 + 4 * 4 + 8)),
        (lambda: mixture_of_experts(8, 2, 14336).on("x m=4096"), 8 * 3 * 14336 * 4096 + 8 * 4096),  # Mixtral
        (lambda: lora("m -> n=512", 8).on("x m=512"), 512 * 513 + 2 * 8 * 512),
        (image_mlp, 669_706),
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
