"""Ready models for the tasks that ship with nbkit, as diagrams with all sizes given.

The grokking models are those of `nbkit.train.recipes`, which says how to train them and what they did.
"""

from __future__ import annotations

from nbkit.components.basic import embedding, normalisation, perceptron
from nbkit.components.convolution import conv, global_average_pool, max_pool, norm_activate
from nbkit.components.transformer import last_position_block, transformer_block
from nbkit.language import Diagram, Fn
from nbkit.language.functions import block
from nbkit.language.palette import elementwise, embed, index, linear, merge, slice_, softmax, window


def digits_mlp(hidden: int = 64, activation: str = "relu") -> Diagram:
    """One hidden layer on 8 × 8 images: `nbkit.tasks.digits`.

    Axes: i rows, j columns, h hidden units, c classes.

    >>> print(digits_mlp())
    digits_mlp: R[i=8 j=8] -> R[c=10]
    """
    return perceptron("i j", [hidden], "c=10", activation=activation).named("digits_mlp").on("i=8 j=8")


def image_mlp(hidden: tuple[int, ...] = (512, 512), side: int = 28, classes: int = 10) -> Diagram:
    """The textbook's perceptron: an image is viewed as a vector, linear maps and ReLUs, softmax.

    Axes: i rows, j columns, p = i·j pixels, h1, h2 … hidden units, c classes: probabilities come out.
    Source: LeCun et al. 1998 (section 3, fully connected networks); drawn as in Abbott 2024, figure 19.

    >>> print(image_mlp())
    image_mlp: R[i=28 j=28] -> R[c=10]
    """
    network = merge("i j -> p", name="view") >> perceptron("p", hidden, f"c={classes}") >> softmax("c")
    return network.named("image_mlp").on(f"i={side} j={side}")


def digits_convnet(width: int = 16) -> Diagram:
    """Two convolutions with batch norm, ReLU and pooling on 8 × 8 images: `nbkit.tasks.digits`.

    Axes: x:2 the image (one double wire for rows and columns), c channels, o classes.

    >>> print(digits_convnet())
    digits_convnet: R[x:2=8] -> R[o=10]
    """
    first: Fn = block("conv", window("x", 3) >> linear(f"w -> c={width}"))
    network = first >> norm_activate() >> max_pool() >> conv(2 * width, 3) >> norm_activate()
    return (network >> global_average_pool() >> linear("c -> o=10")).named("digits_convnet").on("x:2=8")


def spirals_mlp(hidden: int = 32, layers: int = 2, activation: str = "tanh") -> Diagram:
    """A perceptron that tells two spirals apart: `nbkit.tasks.spirals`.

    Axes: d coordinates of a point, h1, h2 … hidden units, c classes.

    >>> print(spirals_mlp())
    spirals_mlp: R[d=2] -> R[c=2]
    """
    return perceptron("d", [hidden] * layers, "c=2", activation=activation).named("spirals_mlp").on("d=2")


def grokking_mlp(
    p: int = 97, width: int = 64, hidden: int = 256, activation: str = "relu", *, equals: bool = False
) -> Diagram:
    """Learns the table of an operation mod p: `nbkit.tasks.modular_arithmetic(p, equals=False)`.

    One table embeds both operands; merged, they pass one hidden layer.
    Axes: x operands, m features, f hidden units, c classes. `equals`: the input has the third token `=`,
    which is not read.
    Source: Gromov 2023, "Grokking modular arithmetic" (arXiv 2301.02679), section 2, with an embedding and
    biases.

    >>> print(grokking_mlp())
    grokking_mlp: N(97)[x=2] -> R[c=97]
    """
    read: Fn = embed(f"v -> m={width}", "embedding")
    if equals:
        read = slice_("x", 0, 2) >> read
    network = (
        read
        >> linear(f"x m -> f={hidden}", "hidden")
        >> elementwise(activation)
        >> linear(f"f -> c={p}", "out")
    )
    return network.named("grokking_mlp").on(f"N({p + 1})[x=3]" if equals else f"N({p})[x=2]")


def grokking_transformer(
    p: int = 97,
    width: int = 64,
    heads: int = 4,
    layers: int = 1,
    activation: str = "relu",
    *,
    every_position: bool = False,
) -> Diagram:
    """Learns the table of an operation mod p: `nbkit.tasks.modular_arithmetic(p)`.

    Tokens a, b and = pass pre-norm transformer blocks without a mask; the last position is read. The last
    block computes that position alone unless `every_position`: the same numbers, at twice the speed.
    Axes: x tokens, m features, h heads of k features, f = 4·m hidden units, c classes.
    Source: Power et al. 2022, "Grokking" (arXiv 2201.02177), appendix A.1.2, with one layer as in Nanda et
    al. 2023 (arXiv 2301.05217), section 3.

    >>> print(grokking_transformer())
    grokking_transformer: N(98)[x=3] -> R[c=97]
    """
    layer = transformer_block(heads, activation=activation)
    last: Fn = last_position_block(heads, activation=activation)
    whole = layers - 1
    if every_position:
        last, whole = index("x", -1, "last"), layers
    network = embedding("v", f"m={width}")
    if whole:
        network >>= layer if whole == 1 else layer**whole
    network >>= last >> normalisation("layer") >> linear(f"m -> c={p}", "out")
    return network.named("grokking_transformer").on(f"N({p + 1})[x=3]")
