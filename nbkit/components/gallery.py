"""Components and models by name: a well-chosen example of each, for `nbkit show`, `nbkit train` and the
gallery.
"""

from __future__ import annotations

from collections.abc import Callable

from nbkit.components import (
    adaptation,
    basic,
    convolution,
    diffusion,
    experts,
    graphs,
    heads,
    ready,
    recurrent,
    seq2seq,
    state_space,
    transformer,
    unet,
    upsampling,
    vision,
)
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
        "encoder-layer": lambda: seq2seq.encoder_layer(hidden="f").on("x m"),
        "decoder-layer": lambda: seq2seq.decoder_layer(hidden="f").on("y m, x m"),
        "encoder-decoder": lambda: seq2seq.encoder_decoder(6, None, hidden="f").on("N(v)[y], N(v)[x]"),
        "sinusoidal-positions": lambda: seq2seq.sinusoidal_positions().on("x"),
        "token-embedding": lambda: seq2seq.token_embedding().on("N(v)[x]"),
        "patches": lambda: vision.patches(8).on("c=3 i=32 j=32"),
        "vision-transformer": lambda: vision.vision_transformer(8, 64, 6, 4, 10).on("c=3 i=32 j=32"),
        "transformer-block": lambda: transformer.transformer_block(hidden="f").on("x m"),
        "last-position-block": lambda: transformer.last_position_block(hidden="f").on("x m"),
        "gpt": lambda: transformer.gpt(12, hidden="f").on("N(v)[x]"),
        "embedding": lambda: basic.embedding().on("N(v)[x]"),
        "mlp": lambda: basic.mlp("f").on("x m"),
        "image-mlp": ready.image_mlp,
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
        "identity-resnet": lambda: convolution.identity_resnet(batch="b").on("b c=3 x:2=32"),
        "transposed-conv": lambda: upsampling.transposed_conv(32).on("c=64 x:2"),
        "upsample": lambda: upsampling.upsample().on("c x:2"),
        "unet": lambda: unet.unet(2, 16).on("c=1 x:2"),
        "unet-stages": lambda: unet.unet_stages(2, 16).on("c=1 x:2"),
        "rnn": lambda: recurrent.rnn("h").on("t m"),
        "gru": lambda: recurrent.gru("h").on("t m"),
        "lstm": lambda: recurrent.lstm("h").on("t m"),
        "selective-scan": lambda: state_space.selective_scan().on("t d"),
        "mamba-block": lambda: state_space.mamba_block().on("t m"),
        "mixture-of-experts": lambda: experts.mixture_of_experts(4, 2, "f").on("x m"),
        "mixture-of-chosen-experts": lambda: experts.mixture_of_experts(4, 2, "f", compute="chosen").on(
            "x m"
        ),
        "gcn": lambda: graphs.gcn(16, 7).on("n m, n s=n"),
        "message-passing": lambda: graphs.message_passing("f").on("n m, N(n)[e], N(n)[e]"),
        "graph-attention": lambda: graphs.graph_attention(2, 4).on("n m, N(n)[e], N(n)[e]"),
        "lora": lambda: adaptation.lora("m -> f", 4).on("x m"),
        "group-norm": lambda: diffusion.group_norm(8).on("c=64 x:2"),
        "time-embedding": lambda: diffusion.time_embedding(64).on("N(1000)[]"),
        "timed-block": lambda: diffusion.timed_block(16, 32).on("c=16 x:2, m=64"),
        "diffusion-unet": lambda: diffusion.diffusion_unet(1, 16).on("c=1 x:2, N(1000)[]"),
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
