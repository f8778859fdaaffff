"""Linear maps, embeddings, positions, norms and shared weights against torch."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from nbkit import (
    DiagramError,
    add,
    block,
    einsum,
    embed,
    linear,
    norm,
    positions,
    relu,
    repeat,
    rms_norm,
    scale,
    skip,
)
from nbkit.build import build_torch
from tests.build.oracles import assert_same, randn


def test_a_linear_map_is_torch_linear() -> None:
    net = build_torch(linear("m -> n", "out").on("x m=6", n=4), seed=0).double()
    assert isinstance(net.out, nn.Linear)
    assert_same(net, net.out, (randn(2, 5, 6),), [(p, p) for p in net.parameters()])


def test_a_linear_map_over_several_axes_holds_the_flat_weight() -> None:
    net = build_torch(linear("b a -> h k=3", "out").on("a=2 x=5 b=4", h=6), seed=0).double()
    assert net.out.weight.shape == (18, 8)  # (h k), (b a)
    weight = net.out.weight.view(6, 3, 4, 2)
    reference = lambda t: torch.einsum("zaxb,hkba->zxhk", t, weight) + net.out.bias.view(6, 3)  # noqa: E731
    assert_same(net, reference, (randn(2, 2, 5, 4),), [(p, p) for p in net.parameters()])


def test_a_linear_map_to_a_number_and_from_a_number() -> None:
    net = build_torch((linear("m ->") >> linear("-> n=3")).on("x=5 m=4"), seed=0).double()
    assert net.linear.weight.shape == (1, 4)
    assert net.linear_2.weight.shape == (3, 1)
    assert_same(net, lambda t: net.linear_2(net.linear(t)), (randn(2, 5, 4),))


def test_weights_per_axis() -> None:
    net = build_torch(linear("m -> n=3", "experts", per="e").on("x=5 e=4 m=2"), seed=0).double()
    assert net.experts.weight.shape == (4, 3, 2)
    assert net.experts.bias.shape == (4, 3)
    bound = 2**-0.5
    assert net.experts.weight.abs().max() <= bound
    reference = lambda t: torch.einsum("zxem,enm->zxen", t, net.experts.weight) + net.experts.bias  # noqa: E731
    assert_same(net, reference, (randn(2, 5, 4, 2),), [(p, p) for p in net.parameters()])


@pytest.mark.parametrize("affine", [True, False])
def test_norms_are_torch_norms(affine: bool) -> None:
    x = randn(2, 5, 4)
    net = build_torch(norm("m", eps=1e-3, affine=affine).on("x m=4")).double()
    theirs: nn.Module = nn.LayerNorm(4, eps=1e-3, elementwise_affine=affine).double()
    assert_same(net, theirs, (x,), list(zip(net.parameters(), theirs.parameters(), strict=True)))
    net = build_torch(rms_norm("m", eps=1e-3, affine=affine).on("x m=4")).double()
    theirs = nn.RMSNorm(4, eps=1e-3, elementwise_affine=affine).double()
    assert_same(net, theirs, (x,), list(zip(net.parameters(), theirs.parameters(), strict=True)))
    net = build_torch(norm("x m", affine=affine).on("m=4 x=5")).double()
    assert_same(net, lambda t: F.layer_norm(t.transpose(1, 2), (5, 4)).transpose(1, 2), (randn(2, 4, 5),))


def test_embedding_and_positions() -> None:
    net = build_torch((embed("v -> m=4") + positions("x -> m=4")).on("N(7)[x=3]"), seed=0)
    assert isinstance(net.embed, nn.Embedding)
    assert net.positions.weight.shape == (3, 4)
    tokens = torch.randint(0, 7, (5, 3))
    torch.testing.assert_close(net(tokens), F.embedding(tokens, net.embed.weight) + net.positions.weight)


def test_rows_of_tables_have_length_about_one() -> None:
    net = build_torch((embed("v -> m") + positions("x -> m")).on("N(500)[x=400]", m=64), seed=0)
    for table in (net.embed.weight, net.positions.weight):
        assert abs(table.norm(dim=1).square().mean().item() - 1) < 0.05


class TestKeys:
    def test_embedding_and_unembedding_share_one_parameter(self) -> None:
        net = build_torch(
            (embed("v -> m=4", key="E") >> linear("m -> v", "out", key="E")).on("N(7)[x]"), seed=0
        )
        assert net.out.weight is net.embed.weight
        assert [n for n, _ in net.named_parameters()] == ["embed.weight", "out.bias"]
        assert set(net.state_dict()) == {"embed.weight", "out.weight", "out.bias"}
        tokens = torch.randint(0, 7, (2, 3))
        out = net(tokens)
        torch.testing.assert_close(out, net.embed.weight[tokens] @ net.embed.weight.T + net.out.bias)
        out.sum().backward()
        other = build_torch((embed("v -> m=4") >> linear("m -> v", "out")).on("N(7)[x]"))
        other.load_state_dict(net.state_dict())
        other(tokens).sum().backward()
        torch.testing.assert_close(net.embed.weight.grad, other.embed.weight.grad + other.out.weight.grad)

    def test_a_map_back_is_the_transpose(self) -> None:
        for n in (3, 4):  # also where the weight is square and only the names tell
            tied = linear("m -> n", "down", key="W") >> linear("n -> m", "up", key="W")
            net = build_torch(tied.on("x m=4", n=n), seed=0).double()
            assert net.up.weight is net.down.weight
            reference = lambda x: net.up.bias + (x @ net.down.weight.T + net.down.bias) @ net.down.weight  # noqa: B023, E731
            assert_same(net, reference, (randn(2, 5, 4),), [(p, p) for p in net.parameters()])
            assert net.diagram.cost().params == 4 * n + n + 4

    def test_copies_share_what_has_a_key(self) -> None:
        d = (block("part", linear("m -> m", key="W")) ** 3).on("m=4")
        net = build_torch(d)
        assert net.part[0].linear.weight is net.part[2].linear.weight
        assert net.part[0].linear.bias is not net.part[2].linear.bias
        assert d.cost().params == 16 + 3 * 4 == sum(p.numel() for p in net.parameters())

    def test_shapes_that_do_not_fit_are_refused(self) -> None:
        d = (linear("m -> n", key="W") >> relu >> linear("n -> o", "last", key="W")).on("m=4", n=3, o=5)
        for ask in (lambda: build_torch(d), d.cost):
            with pytest.raises(DiagramError) as caught:
                ask()
            assert str(caught.value) == (
                "key 'W' at last: the weight would be (5, 3) [o × n], "
                "but linear shares it as (3, 4) [n × m]\n"
                "  give both maps the same axis sizes, or different keys"
            )


def test_repetition_is_a_list_of_modules() -> None:
    part = block("part", linear("m -> m") >> relu)
    net = build_torch((part**3).on("x m=4"), seed=0).double()
    assert isinstance(net.part, nn.ModuleList)
    assert [n for n, _ in net.named_parameters()] == [
        f"part.{i}.linear.{p}" for i in range(3) for p in ("weight", "bias")
    ]
    assert not torch.equal(net.part[0].linear.weight, net.part[1].linear.weight)
    assert_same(net, lambda x: net.part[2](net.part[1](net.part[0](x))), (randn(2, 5, 4),))


def test_a_tied_repetition_is_one_module() -> None:
    d = repeat(block("part", linear("m -> m") >> relu), 3, tied=True).on("x m=4")
    net = build_torch(d, seed=0).double()
    assert [n for n, _ in net.named_parameters()] == ["part.linear.weight", "part.linear.bias"]
    assert_same(net, lambda x: net.part(net.part(net.part(x))), (randn(2, 5, 4),))
    assert d.cost().params == 20


def test_several_inputs_of_different_batches_are_aligned_by_name() -> None:
    net = build_torch((skip * skip >> add).on("a=2 b=3, b=3")).double()
    assert_same(net, lambda s, t: s + t[:, None], (randn(5, 2, 3), randn(5, 3, seed=1)))
    net = build_torch((skip * skip >> add).on("b=3, a=2 b=3")).double()
    assert_same(net, lambda s, t: s[:, None] + t, (randn(5, 3), randn(5, 2, 3, seed=1)))


def test_free_sizes_are_read_where_they_are_needed() -> None:
    net = build_torch((scale("x**(-1)") >> scale("k**(1/2)")).on("x k")).double()
    assert_same(net, lambda t: t / t.shape[1] * t.shape[2] ** 0.5, (randn(2, 5, 4),))


@pytest.mark.parametrize(
    ("spec", "inputs", "text"),
    [
        ("y k, x k -> y x", "h=2 y=3 k=4, h=2 x=5 k=4", " @ "),
        ("y k, x k -> y x", "y=3 k=4, h=2 x=5 k=4", "torch.einsum("),
        ("y, x -> y x", "y=3, x=5", " * "),
        ("a b, b c, c d -> a d", "a=2 b=3, b=3 c=4, c=4 d=5", " @ "),
        ("a b -> a", "a=2 b=3", ".sum("),
        ("a b, c -> a", "a=2 b=3, c=4", ".sum("),
        ("a b, a b ->", "a=2 b=3, a=2 b=3", "torch.einsum("),
        ("x a, x b -> a b", "x:2=3 a=2, x:2=3 b=4", "torch.einsum("),
    ],
)
def test_einsum_is_torch_einsum(spec: str, inputs: str, text: str) -> None:
    d = einsum(spec, "product").on(inputs)
    net = build_torch(d)
    assert text in net.code
    letters = {axis.name: axis for array in d.inputs for axis in array}
    index = {name: chr(97 + i) for i, name in enumerate(letters)}

    def dims(names: tuple[str, ...]) -> str:
        return "".join(index[n] * 1 if letters[n].rank == 1 else index[n] + index[n].upper() for n in names)

    formula = f"{','.join('Z' + dims(a.names) for a in d.inputs)}->Z{dims(d.outputs[0].names)}"
    tensors = tuple(
        randn(3, *(int(a.size) for a in array for _ in range(a.rank)), seed=i)
        for i, array in enumerate(d.inputs)
    )

    def reference(*xs: Tensor) -> Tensor:
        return torch.einsum(formula, *xs)

    assert_same(net, reference, tensors)
