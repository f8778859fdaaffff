"""Gather, scatter, top-k, one-hot, parameters, constants, casts, functions against torch, in float64."""

from __future__ import annotations

import copy as copy_module
import itertools
import math

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from nbkit import (
    DiagramError,
    Fn,
    add,
    block,
    cast,
    concat,
    constant,
    diagram,
    einsum,
    elementwise,
    embed,
    expand,
    gather,
    indices,
    linear,
    multiply,
    one_hot,
    parameter,
    positions,
    reduce,
    scatter,
    skip,
    softmax,
    stop_gradient,
    topk,
)
from nbkit.build import build_torch
from nbkit.language.ops import FUNCTIONS
from tests.build.oracles import assert_same, randn


def ints(bound: int, *shape: int, seed: int = 0) -> Tensor:
    return torch.randint(0, bound, shape, generator=torch.Generator().manual_seed(seed))


class TestGather:
    def test_one_table_of_indices_is_index_select(self) -> None:
        net = build_torch(gather("n").on("n=5 m=3, N(5)[e=7]"))
        index = ints(5, 7)
        assert_same(lambda x: net(x, index), lambda x: x.index_select(-2, index), (randn(2, 5, 3),))
        assert_same(lambda x: net(x, index), lambda x: x.index_select(-2, index), (randn(5, 3),))

    def test_one_array_and_batches_of_indices_is_an_embedding(self) -> None:
        net = build_torch(gather("n").on("n=5 m=3, N(5)[e=7]"))
        index = ints(5, 4, 2, 7)
        assert_same(lambda x: net(x, index), lambda x: F.embedding(index, x), (randn(5, 3),))

    def test_batches_of_both_are_torch_gather(self) -> None:
        net = build_torch(gather("n").on("n=5 m=3, N(5)[e=7]"))
        index = ints(5, 2, 7)
        reference = lambda x: x.gather(1, index[..., None].expand(2, 7, 3))  # noqa: E731
        assert_same(lambda x: net(x, index), reference, (randn(2, 5, 3),))

    def test_axes_that_both_have_are_taken_at_the_same_place(self) -> None:
        """x[t, n, m], i[a, t, b] -> y[t, a, b, m] = x[t, i[a, t, b], m], with batches on either side."""
        net = build_torch(gather("n").on("t=4 n=5 m=3, N(5)[a=2 t=4 b=6]"))
        assert net.diagram.outputs[0].names == ("t", "a", "b", "m")
        for lead_x, lead_i in itertools.product([(), (2,)], [(), (2,), (3, 1)]):
            index = ints(5, *lead_i, 2, 4, 6)
            lead = torch.broadcast_shapes(lead_x, lead_i)

            def reference(x: Tensor, index: Tensor = index, lead: tuple[int, ...] = tuple(lead)) -> Tensor:
                x, index = x.expand(*lead, 4, 5, 3), index.expand(*lead, 2, 4, 6)
                rows = [
                    torch.stack(
                        [x.reshape(-1, 4, 5, 3)[b, t][index.reshape(-1, 2, 4, 6)[b, :, t]] for t in range(4)]
                    )
                    for b in range(math.prod(lead))
                ]
                return torch.stack(rows).view(*lead, 4, 2, 6, 3)

            assert_same(lambda x, index=index: net(x, index), reference, (randn(*lead_x, 4, 5, 3),))

    def test_indices_into_indices(self) -> None:
        net = build_torch(gather("n").on("N(9)[n=5], N(5)[e=7]"))
        names, index = ints(9, 5), ints(5, 7)
        assert torch.equal(net(names, index), names[index])

    def test_an_axis_may_be_reordered(self) -> None:
        net = build_torch(gather("n").on("n=5 m=3, N(5)[n=5]"))
        order = torch.tensor([4, 2, 0, 1, 3])
        assert_same(lambda x: net(x, order), lambda x: x[:, order], (randn(2, 5, 3),))

    def test_an_index_of_no_axes_is_one_element(self) -> None:
        net = build_torch(gather("n").on("n=5 m=3, N(5)[]"))
        x = randn(2, 5, 3)
        torch.testing.assert_close(net(x, torch.tensor(3)), x[:, 3])
        torch.testing.assert_close(net(x, torch.tensor([3, 1])), torch.stack([x[0, 3], x[1, 1]]))

    def test_what_is_out_of_range_is_said(self) -> None:
        net = build_torch(gather("n").on("n=5 m=3, N(5)[e=2]"))
        with pytest.raises(DiagramError) as caught:
            net(torch.zeros(5, 3), torch.tensor([1, 5]))
        assert str(caught.value) == (
            "input 2 of diagram is N(5)[e=2]: indices are at least 0 and below 5, found 5 at position (1,)"
        )


class TestScatter:
    @pytest.mark.parametrize("how", ["sum", "mean", "max"])
    @pytest.mark.parametrize("lead", [(), (2,)])
    def test_a_graph_without_batches(self, how: str, lead: tuple[int, ...]) -> None:
        net = build_torch(scatter("n", "e", how).on("e=12 m=3, N(6)[e=12]"))
        index = ints(4, 12)  # nothing points to 4 and 5

        def reference(x: Tensor) -> Tensor:
            zeros = torch.zeros(*lead, 6, 3, dtype=x.dtype)
            if how == "sum":
                return zeros.index_add(-2, index, x)
            where = index[:, None].expand(x.shape)
            return zeros.scatter_reduce(-2, where, x, {"max": "amax"}.get(how, how), include_self=False)

        x = randn(*lead, 12, 3)
        assert_same(lambda x: net(x, index), reference, (x,))
        assert not net(x, index)[..., 4:, :].any()

    @pytest.mark.parametrize("how", ["sum", "mean", "max"])
    def test_indices_may_have_woven_axes_and_batches(self, how: str) -> None:
        net = build_torch(scatter("n", "e", how).on("a=2 e=9 m=3 t=4, N(5)[t=4 e=9]"))
        assert net.diagram.outputs[0].names == ("a", "n", "m", "t")
        for lead_x, lead_i in itertools.product([(), (3,)], [(), (3,)]):
            index = ints(5, *lead_i, 4, 9)
            lead = tuple(torch.broadcast_shapes(lead_x, lead_i))

            def reference(x: Tensor, index: Tensor = index, lead: tuple[int, ...] = lead) -> Tensor:
                x, index = x.expand(*lead, 2, 9, 3, 4), index.expand(*lead, 4, 9)
                where = index.movedim(-2, -1)[..., None, :, None, :].expand(x.shape)
                zeros = torch.zeros(*lead, 2, 5, 3, 4, dtype=x.dtype)
                if how == "sum":
                    return zeros.scatter_add(-3, where, x)
                return zeros.scatter_reduce(-3, where, x, {"max": "amax"}.get(how, how), include_self=False)

            assert_same(lambda x, index=index: net(x, index), reference, (randn(*lead_x, 2, 9, 3, 4),))

    def test_a_maximum_of_zero_has_its_whole_gradient(self) -> None:
        """torch's own formula halves it: it takes the empty start, 0 too, for one of the equal elements."""
        net = build_torch(scatter("n", "e", "max").on("e=3, N(3)[e=3]"))
        x = torch.tensor([0.0, -1.0, -2.0], dtype=torch.float64, requires_grad=True)
        y = net(x, torch.tensor([0, 0, 1]))
        assert y.tolist() == [0.0, -2.0, 0.0]
        y.sum().backward()
        assert x.grad is not None
        assert x.grad.tolist() == [1.0, 0.0, 1.0]

    def test_gradients_are_right(self) -> None:
        index = ints(4, 6)
        for how in ("sum", "mean", "max"):
            net = build_torch(scatter("n", "e", how).on("e=6 m=2, N(4)[e=6]"))
            assert torch.autograd.gradcheck(lambda x, net=net: net(x, index), (randn(6, 2),))

    def test_message_passing_is_a_product_with_the_adjacency(self) -> None:
        @diagram("n m, e, e -> n k")
        def messages(x, source, target):
            return scatter("n", "e")(linear("m -> k=2", "W", bias=False)(gather("n")(x, source)), target)

        net = build_torch(messages.on("n=5 m=3, N(5)[e=9], N(5)[e=9]"), seed=0).double()
        source, target = ints(5, 9, seed=1), ints(5, 9, seed=2)
        adjacency = torch.zeros(5, 5, dtype=torch.float64)
        adjacency.index_put_((target, source), torch.ones(9, dtype=torch.float64), accumulate=True)
        weight = net.W.weight
        assert_same(
            lambda x: net(x, source, target),
            lambda x: adjacency @ x @ weight.t(),
            (randn(2, 5, 3),),
            [(weight, weight)],
        )


class TestOrder:
    def test_topk(self) -> None:
        net = build_torch(topk("e", 2, "j").on("e=5 x=3"))
        x = randn(2, 5, 3)
        _, places = net(x)
        wanted = torch.topk(x, 2, 1)
        assert torch.equal(places, wanted.indices)
        assert_same(lambda x: net(x)[0], lambda x: torch.topk(x, 2, 1).values, (x,))

    def test_top_two_experts(self) -> None:
        """Weights of the two best, zero for the others: by one-hot, and by masking."""

        @diagram("e -> e")
        def gate(scores):
            best, which = topk("e", 2, "j")(scores)
            return einsum("j, j e -> e")(softmax("j")(best), one_hot("e")(which))

        net = build_torch(gate.on("x=4 e=5"))

        def reference(scores: Tensor) -> Tensor:
            least = torch.topk(scores, 2, -1).values[..., -1:]
            return torch.softmax(scores.masked_fill(scores < least, -math.inf), -1)

        assert_same(net, reference, (randn(3, 4, 5),))

    def test_one_hot(self) -> None:
        net = build_torch(one_hot("v").on("N(7)[x=4]"))
        tokens = ints(7, 2, 4)
        assert torch.equal(net(tokens), F.one_hot(tokens, 7).float())
        assert net.double()(tokens).dtype == torch.float64
        assert list(net.state_dict()) == []
        assert build_torch(one_hot("v").on("N(7)[x=4]")).to(torch.bfloat16)(tokens).dtype == torch.bfloat16

    def test_one_hot_and_a_linear_map_are_an_embedding(self) -> None:
        net = build_torch((one_hot("v") >> linear("v -> m=3", bias=False)).on("N(7)[x=4]"), seed=0).double()
        tokens = ints(7, 2, 4)
        torch.testing.assert_close(net(tokens), F.embedding(tokens, net.linear.weight.t()))

    def test_indices_count_whatever_is_given(self) -> None:
        net = build_torch(indices("x").on("b x=4 m=2"))
        assert torch.equal(net(torch.zeros(3, 5, 4, 2)), torch.arange(4))
        pairs = build_torch((indices("x") >> embed("x -> m=2", key="P")).on("x=4 k"), seed=0)
        torch.testing.assert_close(pairs(torch.zeros(4, 2)), pairs.embed.weight)

    def test_casts(self) -> None:
        there = build_torch(cast("R").on("N(7)[x=4]")).double()
        tokens = ints(7, 2, 4)
        assert torch.equal(there(tokens), tokens.double())
        back = build_torch(cast("N(9)").on("x=4"))
        assert torch.equal(back(torch.tensor([0.0, 1.9, 3.0, 8.99])), torch.tensor([0, 1, 3, 8]))


class TestArraysOfTheirOwn:
    def test_a_parameter_is_learned(self) -> None:
        fn: Fn = (skip, parameter("q=3 m", "queries")) >> einsum("x m, q m -> q x")
        net = build_torch(fn.on("x=5 m=4"), seed=0).double()
        assert {k: tuple(v.shape) for k, v in net.state_dict().items()} == {"queries.weight": (3, 4)}
        weight = net.queries.weight
        reference = lambda x: torch.einsum("bxm,qm->bqx", x, weight)  # noqa: E731
        assert_same(net, reference, (randn(2, 5, 4),), [(weight, weight)])

    def test_how_parameters_begin(self) -> None:
        net = build_torch((parameter("q=500 m=40", "p")).on("x"), seed=0)
        assert abs(float(net.p.weight.detach().std()) * 40**0.5 - 1) < 0.02
        for init, value in (("zeros", 0.0), ("ones", 1.0)):
            assert (build_torch(parameter("m=3", "p", init=init).on("x")).p.weight == value).all()

    def test_one_that_is_not_trained_is_a_buffer(self) -> None:
        net = build_torch(((skip, parameter("m", "p", trainable=False)) >> add).on("x m=3"), seed=0)
        assert list(net.parameters()) == []
        assert list(dict(net.named_buffers())) == list(net.state_dict()) == ["p.weight"]
        assert net.diagram.cost().params == 0
        x = torch.randn(2, 3)
        torch.testing.assert_close(net(x), x + net.p.weight)
        other = build_torch(net.diagram, seed=1)
        other.load_state_dict(net.state_dict())
        assert torch.equal(other(x), net(x))

    def test_a_key_shares_it_with_tables_and_maps(self) -> None:
        @diagram("x -> x v")
        def tied(tokens):
            vectors = embed("v -> m", "E", key="E")(tokens)
            table = parameter("v=7 m", "table", key="E")(tokens)
            again = linear("m -> v=7", "out", bias=False, key="E")(vectors)
            return again + einsum("x m, v m -> x v")(vectors, table)

        net = build_torch(tied.on("N(7)[x=4]", m=3), seed=0).double()
        assert net.table.weight is net.E.weight is net.out.weight
        assert [name for name, _ in net.named_parameters()] == ["E.weight"]
        assert list(net.state_dict()) == ["E.weight", "table.weight", "out.weight"]
        tokens = ints(7, 2, 4)
        torch.testing.assert_close(net(tokens), 2 * F.embedding(tokens, net.E.weight) @ net.E.weight.t())
        clone = copy_module.deepcopy(net)
        assert clone.table.weight is clone.E.weight is not net.E.weight

    def test_buffers_may_share_too(self) -> None:
        both: Fn = (
            parameter("m", "a", trainable=False, key="K"),
            parameter("m", "b", trainable=False, key="K"),
        ) >> add
        net = build_torch(both.on("m=4"), seed=0).double()
        torch.testing.assert_close(net(torch.zeros(4)), 2 * net.a.weight)

    def test_who_is_trained_must_agree(self) -> None:
        fn: Fn = (linear("m -> m", "a", key="K"), linear("m -> m", "b", key="K", frozen=True)) >> add
        with pytest.raises(DiagramError) as caught:
            build_torch(fn.on("x m=4"))
        assert str(caught.value) == (
            "key 'K' at b: the weight would be a frozen weight, but a shares it as a trained weight\n"
            "  train both or neither, or give them different keys"
        )

    def test_constants_follow_the_numbers_of_the_net(self) -> None:
        fn: Fn = (skip, constant(0.5, "m")) >> multiply
        net = build_torch(fn.on("x=2 m=3"))
        x = randn(4, 2, 3)
        assert_same(net, lambda x: x * 0.5, (x,))
        assert net(x.bfloat16()).dtype == torch.bfloat16
        tokens: Fn = (embed("v -> m"), constant(-2, "m")) >> add
        bound = build_torch(tokens.on("N(5)[x=2]", m=3), seed=0).double()
        index = ints(5, 4, 2)
        torch.testing.assert_close(bound(index), F.embedding(index, bound.embed.weight) - 2)
        assert list(bound.state_dict()) == ["embed.weight"]

    def test_constants_have_sizes_that_stay_open(self) -> None:
        net = build_torch(((skip, constant(2.0, "x")) >> multiply).on("x m"))
        for n in (2, 5):
            x = torch.randn(n, 3)
            torch.testing.assert_close(net(x), 2 * x)

    def test_no_gradient_flows_through_a_stop(self) -> None:
        net = build_torch(((linear("m -> m", "f"), linear("m -> m", "g") >> stop_gradient) >> add).on("m=3"))
        x = torch.randn(3, requires_grad=True)
        net(x).sum().backward()
        assert net.f.weight.grad is not None
        assert net.g.weight.grad is None
        assert x.grad is not None
        torch.testing.assert_close(x.grad, net.f.weight.sum(0))

    def test_frozen_weights_are_not_trained(self) -> None:
        fn = (
            embed("v -> m", "E", frozen=True) >> linear("m -> n=2", "a", frozen=True) >> linear("n -> n", "b")
        )
        net = build_torch(fn.on("N(5)[x=2]", m=3), seed=0)
        before = copy_module.deepcopy(net.state_dict())
        assert {n: p.requires_grad for n, p in net.named_parameters()} == {
            "E.weight": False, "a.weight": False, "a.bias": False, "b.weight": True, "b.bias": True,
        }  # fmt: skip
        net(ints(5, 3, 2)).square().sum().backward()
        torch.optim.AdamW((p for p in net.parameters() if p.requires_grad), lr=0.1).step()
        changed = {name for name, value in net.state_dict().items() if not torch.equal(value, before[name])}
        assert changed == {"b.weight", "b.bias"}

    def test_a_table_may_have_more_rows_than_indices(self) -> None:
        net = build_torch(embed("v=16 -> m=3").on("N(5)[x=2]"), seed=0)
        assert net.embed.weight.shape == (16, 3)
        assert net.diagram.cost().params == 48
        tokens = ints(5, 3, 2)
        torch.testing.assert_close(net(tokens), F.embedding(tokens, net.embed.weight))
        learned = build_torch((embed("p=8 -> m=3", "P") + embed("v -> m=3", "E")).on("N(5)[x=2]"), seed=0)
        assert (learned.P.weight.shape, learned.E.weight.shape) == ((8, 3), (5, 3))

    def test_arrays_without_batches_meet_arrays_with(self) -> None:
        """What reads nothing has no batch, also when it comes out of a block or goes through one."""
        pieces: Fn = (
            skip,
            block("own", parameter("x=2 m", "p")),
            positions("x -> m") >> block("r", elementwise("relu")),
        )
        net = build_torch((pieces >> concat("x")).on("x=2 m=3"), seed=0)
        x = torch.randn(4, 2, 3)
        p, q = net.own.p.weight, net.positions.weight.relu()
        torch.testing.assert_close(net(x), torch.cat([x, p.expand(4, 2, 3), q.expand(4, 2, 3)], 1))
        inside: Fn = (skip, parameter("x=2 m", "p")) >> block("both", concat("x"))
        net = build_torch(inside.on("x=2 m=3"), seed=0)
        torch.testing.assert_close(net(x), torch.cat([x, net.p.weight.expand(4, 2, 3)], 1))
        assert (
            "torch.cat"
            in build_torch(((skip, elementwise("neg")) >> block("both", concat("x"))).on("x=2")).code
        )


EXPECTED = {
    "gelu_tanh": lambda t: 0.5 * t * (1 + torch.tanh((2 / math.pi) ** 0.5 * (t + 0.044715 * t**3))),
    "sin": torch.sin, "cos": torch.cos, "log": torch.log, "log1p": torch.log1p, "sqrt": torch.sqrt,
    "rsqrt": lambda t: t**-0.5, "reciprocal": lambda t: 1 / t, "softplus": nn.Softplus(),
    "elu": nn.ELU(), "leaky_relu": nn.LeakyReLU(), "relu6": nn.ReLU6(), "hardswish": nn.Hardswish(),
    "mish": lambda t: t * torch.tanh(torch.log(1 + torch.exp(t))), "erf": torch.erf, "sign": torch.sign,
    "relu": nn.ReLU(), "gelu": nn.GELU(), "tanh": nn.Tanh(), "sigmoid": nn.Sigmoid(), "silu": nn.SiLU(),
    "square": lambda t: t * t, "exp": torch.exp, "abs": torch.abs, "neg": lambda t: -t,
}  # fmt: skip


@pytest.mark.parametrize("function", FUNCTIONS)
def test_functions_are_what_they_are_called(function: str) -> None:
    net = build_torch(elementwise(function).on("x=9"))
    x = randn(4, 9) * 4
    x = x.abs() + 0.1 if function in ("log", "log1p", "sqrt", "rsqrt") else x
    assert_same(net, EXPECTED[function], (x.detach().requires_grad_(),))


@pytest.mark.parametrize("axes", ["x", "x m", "m", "x:2", "m x:2"])
@pytest.mark.parametrize("how", ["sum", "mean", "max", "min", "prod", "logsumexp"])
def test_reductions(how: str, axes: str) -> None:
    rank = 2 if ":" in axes else 1
    names = axes.replace(":2", "")
    net = build_torch(reduce(how, names).on(f"a=2 x:{rank}=3 m=4"))
    places = [p for name in names.split() for p in {"x": list(range(2, 2 + rank)), "m": [2 + rank]}[name]]

    def reference(x: Tensor) -> Tensor:
        if how in ("sum", "mean", "logsumexp"):
            return getattr(torch, how)(x, places)
        if how == "prod":
            for place in sorted(places, reverse=True):
                x = x.prod(place)
            return x
        return torch.amax(x, places) if how == "max" else torch.amin(x, places)

    assert_same(net, reference, (randn(3, 2, *[3] * rank, 4),))


def test_expansion_makes_room_for_scatter() -> None:

    @diagram("e m, e h -> n m h")
    def spread(x, index):
        return scatter("n", "e")(expand("h=2")(x), index)

    net = build_torch(spread.on("e=6 m=3, N(4)[e=6 h=2]"))
    index = ints(4, 6, 2)

    def reference(x: Tensor) -> Tensor:
        columns = [torch.zeros(2, 4, 3, dtype=x.dtype).index_add(1, index[:, h], x) for h in range(2)]
        return torch.stack(columns, -1)

    assert_same(lambda x: net(x, index), reference, (randn(2, 6, 3),))
