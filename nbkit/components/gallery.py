"""Components and models by name: a well-chosen example of each, for `nbkit show`, `nbkit train` and the
gallery.
"""

from __future__ import annotations

from collections.abc import Callable

from nbkit.components import basic, convolution, heads, ready, transformer, vision
from nbkit.language import Diagram


def catalogue() -> dict[str, Callable[[], Diagram]]:
    """An example diagram of each component and model, by name.

    >>> print(catalogue()["attention"]())
    attention: R[y k], R[x k], R[x k] -> R[y k]
    """
    return {
        "attention": lambda: transformer.attention.on("y k, x k, x k"),
        "causal-attention": lambda: transformer.causal_attention.on("y k, x k, x k"),
        "multi-head-attention": lambda: transformer.multi_head_attention().on("y m, x m"),
        "self-attention": lambda: transformer.self_attention(causal=True).named("self_attention").on("x m"),
        "grouped-query-attention": lambda: heads.grouped_query_attention(8, 2).on("y m, x m"),
        "multi-query-attention": lambda: heads.multi_query_attention(8).on("y m, x m"),
        "cross-attention": lambda: heads.cross_attention().on("y m, x n"),
        "visual-attention": lambda: vision.visual_attention(4).on("c=32 x:2"),
        "transformer-block": lambda: transformer.transformer_block(hidden="f").on("x m"),
        "last-position-block": lambda: transformer.last_position_block(hidden="f").on("x m"),
        "gpt": lambda: transformer.gpt(12, hidden="f").on("N(v)[x]"),
        "embedding": lambda: basic.embedding().on("N(v)[x]"),
        "mlp": lambda: basic.mlp("f").on("x m"),
        "perceptron": lambda: basic.perceptron("i j", [512, 512], "c=10").named("perceptron").on("i=28 j=28"),
        "residual": lambda: basic.residual(basic.mlp("f")).named("residual").on("x m"),
        "conv": lambda: convolution.conv(64, 3, 2).on("c=3 x:2"),
        "grouped-conv": lambda: convolution.conv(64, 3, groups=4).on("c=32 x:2"),
        "depthwise-conv": lambda: convolution.depthwise_conv(7).on("c=96 x:2"),
        "max-pool": lambda: convolution.max_pool(2).on("c x:2"),
        "avg-pool": lambda: convolution.avg_pool(2).on("c x:2"),
        "norm-activate": lambda: convolution.norm_activate(batch="b").on("b c x:2"),
        "basic-block": lambda: convolution.basic_block(64, 64).on("c=64 x:2"),
        "resnet-block": lambda: convolution.resnet_block(64, 256, 2).on("c=64 x:2"),
        "resnet": lambda: convolution.resnet().on("c=3 x:2=32"),
        **models(),
    }


def models() -> dict[str, Callable[..., Diagram]]:
    """The ready models by name; each takes its settings as keywords and has sensible ones.

    >>> print(models()["grokking-mlp"](p=113))
    grokking_mlp: N(113)[x=2] -> R[c=113]
    """
    return {
        "digits-mlp": ready.digits_mlp,
        "digits-convnet": ready.digits_convnet,
        "spirals-mlp": ready.spirals_mlp,
        "grokking-mlp": ready.grokking_mlp,
        "grokking-transformer": ready.grokking_transformer,
    }
