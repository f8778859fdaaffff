"""The encoder-decoder transformer of 2017: post-norm layers, masks, sinusoidal positions, one shared table.

Axes: x source positions, y target positions, m features, h heads of k features, f hidden units, v vocabulary
(of both languages, or u of the target when the tables are not shared).
"""

from __future__ import annotations

import math
from typing import Any

from nbkit.components.basic import called, mlp, normalisation, residual
from nbkit.components.transformer import multi_head_attention, self_attention
from nbkit.language import Fn
from nbkit.language.decorator import diagram
from nbkit.language.functions import block, skip
from nbkit.language.palette import (
    cast,
    concat,
    constant,
    elementwise,
    embed,
    expand,
    indices,
    linear,
    merge,
    multiply,
    positions,
    scale,
)
from nbkit.language.palette import dropout as dropout_op
from nbkit.language.repetition import repeat
from nbkit.language.trace import Traced


def sinusoidal_positions(features: str = "m", *, axis: str = "x", base: float = 10_000.0) -> Fn:
    """Fixed position vectors of sines and cosines: P[x, 2j] = sin(x·ω_j), P[x, 2j+1] = cos(x·ω_j).

    ω_j = base^(-2j/m)

    Axes: x positions (`axis`), m features (`features`, an even number), j frequencies, m / 2 of them. The
    values of its input are not read, only its axis.
    Source: Vaswani et al. 2017, "Attention Is All You Need" (arXiv 1706.03762), section 3.5.

    >>> print(sinusoidal_positions("m=64").on("x=10"))
    sinusoidal_positions: R[x=10] -> R[x=10 m=64]
    """
    name = features.partition("=")[0]
    half = f"j=({features.partition('=')[2] or name})/2"

    @diagram(f"{axis} -> {axis} {name}")
    def sinusoidal_positions(x: Traced) -> Any:
        place = x >> indices(axis, "place") >> cast("R") >> expand(half)
        angle = place * frequencies("j", base)(place)
        waves = [angle >> elementwise(wave) >> expand("s=1") for wave in ("sin", "cos")]
        return concat("s")(*waves) >> merge(f"j s -> {name}")

    return sinusoidal_positions


def frequencies(axis: str = "j", base: float = 10_000.0) -> Fn:
    """Angular frequencies that fall geometrically along an axis: ω_j = base^(-j/|j|), j = 0 … |j|-1.

    Axes: j frequencies (`axis`). The values of its input are not read, only the size of that axis.
    Source: Vaswani et al. 2017 (arXiv 1706.03762), section 3.5.

    >>> print(frequencies("j").on("x j=32"))
    diagram: R[x j=32] -> R[j=32]
    """
    exponent = indices(axis) >> cast("R") >> scale(f"-1/{axis}")
    return exponent >> (skip, constant(math.log(base), name="log_base")) >> multiply >> elementwise("exp")


def token_embedding(
    vocabulary: str = "v",
    features: str = "m",
    *,
    axis: str = "x",
    sinusoidal: bool = True,
    key: str = "",
    dropout: float = 0.0,
) -> Fn:
    """Token vectors times √m, plus positions: y[x, m] = √m · E[token[x], m] + P[x, m].

    Axes: x positions (`axis`), v vocabulary, m features. P is fixed (`sinusoidal_positions`) or learned. With
    a `key`, other embeddings and linear maps share the table.
    Source: Vaswani et al. 2017 (arXiv 1706.03762), sections 3.4 and 3.5.

    >>> print(token_embedding("v", "m=512").on("N(37000)[x]"))
    token_embedding: N(37000)[x] -> R[x m=512]
    """
    name = features.partition("=")[0]
    place = sinusoidal_positions(features, axis=axis) if sinusoidal else positions(f"{axis} -> {name}")
    table = embed(f"{vocabulary} -> {features}", "tokens", key=key) >> scale(f"sqrt({name})")
    whole = table + place
    return block("token_embedding", whole >> dropout_op(dropout) if dropout else whole)


def post_norm(f: Fn | tuple[Fn, ...], norm: str = "layer", dropout: float = 0.0) -> Fn:
    """A residual with the norm behind the sum, "Add & Norm": y = norm(x + f(x)).

    Source: Vaswani et al. 2017 (arXiv 1706.03762), section 3.1.

    >>> print(post_norm(mlp(256)).on("x m=64"))
    diagram: R[x m=64] -> R[x m=64]
    """
    inside = residual(f) if not dropout else skip + (skip >> f >> dropout_op(dropout))
    return inside >> normalisation(norm)


def encoder_layer(
    heads: int | str | None = None,
    hidden: int | str = "4*m",
    *,
    activation: str = "relu",
    dropout: float = 0.0,
) -> Fn:
    """A post-norm encoder layer: z = norm(x + attention(x)), then norm(z + mlp(z)).

    Axes: x positions, m features; inside, h heads of k features and f hidden units.
    Source: Vaswani et al. 2017 (arXiv 1706.03762), figure 1, left. It is `torch.nn.TransformerEncoderLayer`.

    >>> print(encoder_layer(8).on("x m=512"))
    encoder_layer: R[x m=512] -> R[x m=512]
    """
    attend = self_attention(heads, dropout=dropout)
    think = mlp(hidden, activation=activation, dropout=dropout)
    return block("encoder_layer", post_norm(attend, dropout=dropout) >> post_norm(think, dropout=dropout))


def decoder_layer(
    heads: int | str | None = None,
    hidden: int | str = "4*m",
    *,
    activation: str = "relu",
    dropout: float = 0.0,
) -> Fn:
    """A post-norm decoder layer: masked attention to the target so far, attention to the memory, then an MLP.

    a = norm(y + attention_causal(y, y)); b = norm(a + attention(a, x)); out = norm(b + mlp(b))

    Axes: y target positions, x positions of the memory (what the encoder made), which runs on for the next
    layer.
    Source: Vaswani et al. 2017 (arXiv 1706.03762), figure 1, right. It is `torch.nn.TransformerDecoderLayer`
    with the causal mask.

    >>> print(decoder_layer(8).on("y m=512, x m=512"))
    decoder_layer: R[y m=512], R[x m=512] -> R[y m=512], R[x m=512]
    """

    def add_and_norm(y: Traced, update: Traced) -> Traced:
        summed: Traced = y + (update >> dropout_op(dropout) if dropout else update)
        normed: Traced = summed >> normalisation("layer")
        return normed

    own = called("masked_attention", multi_head_attention(heads, causal=True, dropout=dropout))
    other = called("memory_attention", multi_head_attention(heads, dropout=dropout))
    think = mlp(hidden, activation=activation, dropout=dropout)

    @diagram("y m, x m -> y m, x m")
    def decoder_layer(y: Traced, memory: Traced) -> Any:
        keys = y.rename(y="x")
        y = add_and_norm(y, own(keys.rename(x="y"), keys))
        y = add_and_norm(y, other(y, memory))
        return add_and_norm(y, think(y)), memory

    return decoder_layer


def encoder_decoder(
    layers: int = 6,
    heads: int | str | None = 8,
    features: int | str = "m",
    hidden: int | str = "4*m",
    *,
    tied: bool = True,
    sinusoidal: bool = True,
    activation: str = "relu",
    dropout: float = 0.0,
) -> Fn:
    """The transformer of "Attention Is All You Need": target tokens so far and source tokens in, logits of
    the next target tokens out.

    Axes: y target positions, x source positions, m features (`features`, a size or "m" to leave it open), v
    vocabulary. `tied`: both embeddings and the map to the logits share one table, as in the paper; otherwise
    the target has a vocabulary u of its own. `sinusoidal` positions, or learned ones.
    Source: Vaswani et al. 2017 (arXiv 1706.03762), figure 1 (base model: 6 layers, 8 heads, m=512, f=2048,
    dropout 0.1); drawn as in Abbott 2024, figure 22.

    >>> d = encoder_decoder(6, 8, 512).on("N(37000)[y], N(37000)[x]")
    >>> print(d)
    encoder_decoder: N(37000)[y], N(37000)[x] -> R[y v=37000]
    >>> d.cost().params
    63082496
    """
    model = "m" if features == "m" else f"m={features}"
    key = "table" if tied else ""
    words = "v" if tied else "u"

    def read(vocabulary: str, axis: str, name: str) -> Fn:
        table = token_embedding(vocabulary, model, axis=axis, sinusoidal=sinusoidal, key=key, dropout=dropout)
        return called(name, table)

    encode = encoder_layer(heads, hidden, activation=activation, dropout=dropout)
    decode = decoder_layer(heads, hidden, activation=activation, dropout=dropout)

    @diagram(f"y, x -> y {words}")
    def encoder_decoder(target: Traced, source: Traced) -> Any:
        memory = read("v", "x", "source_embedding")(source) >> repeat(encode, layers)
        y, _ = repeat(decode, layers)(read(words, "y", "target_embedding")(target), memory)
        return y >> linear(f"m -> {words}", "logits", bias=not tied, key=key)

    return encoder_decoder
