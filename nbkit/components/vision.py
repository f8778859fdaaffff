"""Transformers over images: visual attention, whose maps are convolutions, and the vision transformer.

Axes: x and y places of an image (rank 2: one double wire for rows and columns), i rows and j columns where an
image is cut into patches, c channels, h heads of k features, m features, o classes.
"""

from __future__ import annotations

from typing import Any

from nbkit.components.basic import check_counts, normalisation, size
from nbkit.components.transformer import dot_product_attention, transformer_block
from nbkit.language import Fn
from nbkit.language.decorator import diagram
from nbkit.language.functions import block
from nbkit.language.palette import concat, index, linear, merge, parameter, positions, window
from nbkit.language.trace import Traced


def visual_attention(
    heads: int | str = 1, head_size: int | str = "c/h", kernel: int = 3, *, bias: bool = True
) -> Fn:
    """Multi-head attention of an image to itself in which Q, K, V and O are convolutions.

    out[y] = O ★ [softmax_x((Q_h ★ in)[y] · (K_h ★ in)[x] / √k) · (V_h ★ in)[x]]_h

    Axes: x places of the image, all of them keys for each place y; c channels; h heads of k features. The
    attention is `dot_product_attention`, unchanged: it does not mind that its axes are images. With `kernel`
    1 it is multi-head attention over pixels.
    Source: Abbott 2024, "Neural Circuit Diagrams" (arXiv 2402.05424), figure 28; pixels that attend to pixels
    as in Zhang et al. 2019, "Self-Attention GANs" (arXiv 1805.08318), equations 1 to 3.

    >>> print(visual_attention(4).on("c=32 x:2=8"))
    visual_attention: R[c=32 x:2=8] -> R[c=32 x:2=8]
    """
    shared = f"h={size(heads, 'heads')}"
    each = f"k=c/({heads})" if head_size == "c/h" else f"k={size(head_size, 'head_size')}"
    core = dot_product_attention()

    @diagram("c x -> c x")
    def visual_attention(image: Traced) -> Any:
        asking = image.rename(x="y")
        q = asking >> window("y", kernel) >> linear(f"w c -> {shared} {each}", "Q", bias=bias)
        keys, values = (
            image >> window("x", kernel) >> linear(f"w c -> {shared} k", name, bias=bias) for name in "KV"
        )
        found = core(q, keys, values) >> window("y", kernel) >> linear("w h k -> c", "O", bias=bias)
        return found.rename(y="x")

    return visual_attention


def patches(patch: int = 16, features: str = "m") -> Fn:
    """An image cut into patches, each mapped to a vector.

    out[(i j), m] = Σ_{u, v, c} W[m, u, v, c] · in[c, p·i + u, p·j + v] + bias[m]

    Axes: i rows and j columns (multiples of the patch size p), c channels, x patches, m features
    (`features`).
    Source: Dosovitskiy et al. 2021, "An Image is Worth 16x16 Words" (arXiv 2010.11929), equation 1. It is a
    convolution whose stride is its window.

    >>> print(patches(16, "m=768").on("c=3 i=224 j=224"))
    patches: R[c=3 i=224 j=224] -> R[x=196 m=768]
    """
    check_counts("patches", patch=patch)
    padding = "same" if patch % 2 == 0 else 0
    rows = window("i", patch, patch, padding=padding, name="u")
    columns = window("j", patch, patch, padding=padding, name="v")
    project = linear(f"u v c -> {features}", "project")
    return block("patches", rows >> columns >> project >> merge("i j -> x"))


def vision_transformer(
    patch: int = 16,
    features: int = 768,
    layers: int = 12,
    heads: int = 12,
    classes: int = 1000,
    hidden: int | str = "4*m",
    *,
    dropout: float = 0.0,
) -> Fn:
    """Patches of an image as a sequence, a class token in front, pre-norm transformer blocks; the class token
    is read.

    z = [class; patches(in)] + P; blocks; logits = W · norm(z[0]) + b

    Axes: c channels, i rows, j columns, x patches (and the class token), m features (`features`), o classes.
    Source: Dosovitskiy et al. 2021 (arXiv 2010.11929), equations 1 to 4; base size: ViT-B/16.

    >>> d = vision_transformer().on("c=3 i=224 j=224")
    >>> print(d)
    vision_transformer: R[c=3 i=224 j=224] -> R[o=1000]
    >>> d.cost().params
    86567656
    """
    check_counts("vision_transformer", patch=patch, features=features, layers=layers, classes=classes)
    layer = transformer_block(heads, hidden=hidden, dropout=dropout)
    head = normalisation("layer") >> index("x", 0, "class_only") >> linear(f"m -> o={classes}", "classify")

    @diagram("c i j -> o")
    def vision_transformer(image: Traced) -> Any:
        tokens = patches(patch, f"m={features}")(image)
        first = parameter("x=1 m", "cls")(tokens)
        sequence = concat("x", "prepend")(first, tokens)
        return sequence + positions("x -> m")(sequence) >> layer**layers >> head

    return vision_transformer
