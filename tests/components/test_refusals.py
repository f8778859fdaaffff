"""Settings of components that make no sense are refused at once, in words."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from nbkit import DiagramTypeError, ParseError
from nbkit import components as c

REFUSED: list[tuple[Callable[[], object], str]] = [
    (lambda: c.unet(-1), "unet: depth must be an integer of at least 0, found -1"),
    (lambda: c.unet_stages(0), "unet_stages: depth must be a positive integer, found 0"),
    (lambda: c.diffusion_unet(True), "diffusion_unet: depth must be an integer of at least 0, found True"),
    (lambda: c.time_embedding(7), "time_embedding: features must be an even number, found 7"),
    (
        lambda: c.grouped_query_attention(8, 0),
        "grouped_query_attention: groups must be a positive integer, found 0",
    ),
    (lambda: c.patches(0), "patches: patch must be a positive integer, found 0"),
    (lambda: c.mixture_of_experts(2, 3), "mixture_of_experts: cannot choose 3 of 2 experts; k is ≤ 2"),
    (lambda: c.lora(rank=0), "lora: rank must be a positive integer, found 0"),
    (
        lambda: c.lora("m, n -> k"),
        "lora: 'm, n -> k' is no map from one array to one; write it as in 'm -> h k'",
    ),
    (lambda: c.rnn(0), 'hidden must be a positive integer, or a size such as "4*m"; found 0'),
    (lambda: c.mamba(states=0), "mamba: states must be a positive integer, found 0"),
    (lambda: c.transposed_conv(3, rank=0), "transposed_conv: rank must be a positive integer, found 0"),
    (lambda: c.upsample(0), "upsample: factor must be a positive integer, found 0"),
    (lambda: c.identity_resnet(0), "identity_resnet: n must be a positive integer, found 0"),
    (lambda: c.graph_attention(0), "graph_attention: heads must be a positive integer, found 0"),
]


@pytest.mark.parametrize(("make", "message"), REFUSED, ids=[message for _, message in REFUSED])
def test_settings_that_make_no_sense(make: Callable[[], object], message: str) -> None:
    with pytest.raises(ParseError) as caught:
        make()
    assert str(caught.value) == message


def test_an_image_that_cannot_be_cut() -> None:
    with pytest.raises(DiagramTypeError) as caught:
        c.patches(16).on("c i=30 j=32")
    assert str(caught.value).partition("\n")[2] == (
        "  axis 'i' of size 30 does not divide into strides of 16\n"
        "  choose a size divisible by 16, or padding=0 to drop the remainder"
    )


def test_heads_that_do_not_share_the_features() -> None:
    with pytest.raises(DiagramTypeError) as caught:
        c.multi_query_attention(3).on("y m=8, x m=8")
    assert str(caught.value) == (
        "in multi_query_attention\n"
        "  3 heads cannot share m=8 features equally\n"
        "  choose a number of heads that divides 8, or give head_size=…"
    )
