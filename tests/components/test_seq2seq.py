"""The encoder-decoder transformer against torch's own layers: outputs and gradients in float64."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from nbkit.components import (
    decoder_layer,
    encoder_decoder,
    encoder_layer,
    sinusoidal_positions,
    token_embedding,
)
from tests.build.oracles import assert_same, randn

SETTINGS = {"dim_feedforward": 12, "dropout": 0.0, "batch_first": True, "dtype": torch.float64}


def attention(ours: nn.Module, theirs: nn.MultiheadAttention) -> None:
    with torch.no_grad():
        for i, name in enumerate("QKV"):
            theirs.in_proj_weight.view(3, 8, 8)[i] = ours.get_parameter(f"{name}.weight")
            theirs.in_proj_bias.view(3, 8)[i] = ours.get_parameter(f"{name}.bias")
    theirs.out_proj.load_state_dict(ours.get_submodule("O").state_dict())


def rest(ours: nn.Module, theirs: nn.Module, norms: int) -> None:
    theirs.get_submodule("linear1").load_state_dict(ours.get_submodule("mlp.up").state_dict())
    theirs.get_submodule("linear2").load_state_dict(ours.get_submodule("mlp.down").state_dict())
    for i in range(1, norms + 1):
        mine = ours.get_submodule("norm" if i == 1 else f"norm_{i}")
        theirs.get_submodule(f"norm{i}").load_state_dict(mine.state_dict())


def perturbed(net: nn.Module) -> nn.Module:
    """Weights that start at 0 or 1 get values of their own, so that a mix-up would show."""
    with torch.no_grad():
        for parameter in net.parameters():
            parameter.add_(torch.linspace(-0.2, 0.2, parameter.numel()).view(parameter.shape))
    return net


def encoder(ours: nn.Module) -> nn.TransformerEncoderLayer:
    theirs = nn.TransformerEncoderLayer(8, 2, **SETTINGS)
    attention(ours.get_submodule("multi_head_attention"), theirs.self_attn)
    rest(ours, theirs, 2)
    return theirs.train()


def decoder(ours: nn.Module) -> nn.TransformerDecoderLayer:
    theirs = nn.TransformerDecoderLayer(8, 2, **SETTINGS)
    attention(ours.get_submodule("masked_attention"), theirs.self_attn)
    attention(ours.get_submodule("memory_attention"), theirs.multihead_attn)
    rest(ours, theirs, 3)
    return theirs.train()


def masked(size: int) -> Tensor:
    return nn.Transformer.generate_square_subsequent_mask(size, dtype=torch.float64)


def test_the_encoder_layer_is_torchs() -> None:
    net = perturbed(encoder_layer(2, 12).on("x=5 m=8").torch(seed=0).double())
    assert_same(net, encoder(net), (randn(3, 5, 8),))


def test_the_decoder_layer_is_torchs() -> None:
    net = perturbed(decoder_layer(2, 12).on("y=4 m=8, x=5 m=8").torch(seed=0).double())
    right = decoder(net)
    y, x = randn(3, 4, 8), randn(3, 5, 8, seed=1)
    assert_same(lambda y, x: net(y, x)[0], lambda y, x: right(y, x, tgt_mask=masked(4)), (y, x))
    assert net(y, x)[1] is x or torch.equal(net(y, x)[1], x)


def waves(size: int, features: int) -> Tensor:
    """The table as the paper writes it, one number at a time."""
    table = torch.zeros(size, features, dtype=torch.float64)
    for position in range(size):
        for j in range(features // 2):
            angle = torch.tensor(position / 10000 ** (2 * j / features), dtype=torch.float64)
            table[position, 2 * j], table[position, 2 * j + 1] = angle.sin(), angle.cos()
    return table


def test_sinusoidal_positions_are_those_of_the_paper() -> None:
    net = sinusoidal_positions("m=6").on("x=9").torch().double()
    torch.testing.assert_close(net(torch.zeros(9, dtype=torch.float64)), waves(9, 6), rtol=0, atol=1e-12)
    assert not list(net.parameters())


def test_the_token_embedding() -> None:
    net = token_embedding("v", "m=8").on("N(7)[x=5]").torch(seed=0).double()
    tokens = torch.randint(7, (3, 5))
    expected = net.get_parameter("tokens.weight")[tokens] * 8**0.5 + waves(5, 8)
    torch.testing.assert_close(net(tokens), expected, rtol=0, atol=1e-12)


def test_the_whole_transformer_is_made_of_torchs_layers() -> None:
    d = encoder_decoder(2, 2, 8, 12).on("N(7)[y=4], N(7)[x=5]")
    net = perturbed(d.torch(seed=0).double())
    encoders = [encoder(layer) for layer in net.get_submodule("encoder_layer").children()]
    decoders = [decoder(layer) for layer in net.get_submodule("decoder_layer").children()]
    table = net.get_parameter("source_embedding.tokens.weight")
    assert len([p for p in net.parameters() if p.shape == (7, 8)]) == 1, "one table for all three"

    target, source = torch.randint(7, (3, 4)), torch.randint(7, (3, 5))
    x, y = table[source] * 8**0.5 + waves(5, 8), table[target] * 8**0.5 + waves(4, 8)
    for layer in encoders:
        x = layer(x)
    for layer in decoders:
        y = layer(y, x, tgt_mask=masked(4))
    torch.testing.assert_close(net(target, source), F.linear(y, table), rtol=1e-9, atol=1e-10)


def test_a_target_position_sees_none_behind_it() -> None:
    net = encoder_decoder(1, 2, 8, 12, sinusoidal=False, tied=False).on("N(7)[y=4], N(9)[x=5]").torch(seed=0)
    target, source = torch.randint(7, (1, 4)), torch.randint(9, (1, 5))
    other = target.clone()
    other[0, 2] = (other[0, 2] + 1) % 7
    before, after = net(target, source)[0], net(other, source)[0]
    assert torch.equal(before[:2], after[:2])
    assert not torch.allclose(before[2:], after[2:])
