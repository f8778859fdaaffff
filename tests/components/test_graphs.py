"""Graph networks against closed forms over dense matrices: outputs and gradients in float64."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from nbkit.build import build_torch
from nbkit.components import edge_softmax, gcn, graph_attention, message_passing, normalised_adjacency
from tests.build.oracles import assert_same, randn

both = pytest.mark.parametrize("peepholes", [True, False])
NODES, EDGES = 5, 11


def edges(batch: int = 2) -> tuple[Tensor, Tensor]:
    """Random edges without repetition, self-loops among them; every node but the last hears somebody."""
    generator = torch.Generator().manual_seed(3)
    found = []
    for _ in range(batch):
        loops = torch.arange(NODES - 1) * (NODES + 1)
        others = [
            p for p in torch.randperm(NODES**2, generator=generator).tolist() if p not in loops.tolist()
        ]
        others = [p for p in others if p // NODES != NODES - 1]
        found.append(torch.cat([loops, torch.tensor(others[: EDGES - NODES + 1])]))
    places = torch.stack(found)
    return places % NODES, places // NODES


def dense(values: Tensor, senders: Tensor, receivers: Tensor) -> Tensor:
    """Values of edges as matrices `receiver × sender`, 0 where there is no edge."""
    out = values.new_zeros(len(values), NODES, NODES, *values.shape[2:])
    batch = torch.arange(len(values))[:, None].expand_as(senders)
    return out.index_put((batch, receivers, senders), values)


@both
def test_the_normalised_adjacency_is_the_closed_form(peepholes: bool) -> None:
    net = build_torch(normalised_adjacency().on("n=5 s=5"), peepholes=peepholes)
    a = torch.rand(2, 5, 5, dtype=torch.float64).requires_grad_()

    def reference(a: Tensor) -> Tensor:
        loops = a + torch.eye(5, dtype=a.dtype)
        root = torch.diag_embed(loops.sum(-1) ** -0.5)
        return root @ loops @ root

    assert_same(net, reference, (a,))


@both
def test_gcn_is_equation_9(peepholes: bool) -> None:
    net = build_torch(gcn(6, 3).on("n=5 m=4, n=5 s=5"), seed=0, peepholes=peepholes).double()
    first, second = (net.get_submodule(f"{name}.W") for name in ("graph_conv", "graph_conv_2"))
    a = torch.randint(2, (2, 5, 5)).double()
    a = ((a + a.mT) > 0).double()

    def reference(x: Tensor) -> Tensor:
        loops = a + torch.eye(5, dtype=a.dtype)
        root = torch.diag_embed(loops.sum(-1) ** -0.5)
        hat = root @ loops @ root
        inside = torch.relu(hat @ F.linear(x, first.weight, first.bias))
        return hat @ F.linear(inside, second.weight, second.bias)

    weights = [(p, p) for p in net.parameters()]
    assert_same(lambda x: net(x, a), reference, (randn(2, 5, 4),), weights)


def test_edge_softmax_sums_to_one_at_every_node_that_hears_somebody() -> None:
    net = edge_softmax("h").on(f"e={EDGES} h=3, N({NODES})[e={EDGES}]").torch().double()
    senders, receivers = edges()
    weights = net(randn(2, EDGES, 3).detach() * 300, receivers)  # large: exp alone would overflow
    sums = dense(weights, senders, receivers).sum(2)
    assert torch.isfinite(weights).all()
    torch.testing.assert_close(sums[:, :-1], torch.ones_like(sums[:, :-1]), rtol=0, atol=1e-12)
    assert not sums[:, -1].any()


@both
def test_graph_attention_is_a_masked_dense_softmax(peepholes: bool) -> None:
    d = graph_attention(2, 3).on(f"n={NODES} m=4, N({NODES})[e={EDGES}], N({NODES})[e={EDGES}]")
    net = build_torch(d, seed=0, peepholes=peepholes).double()
    w, a, b = (net.get_parameter(f"{name}.weight") for name in ("W", "a", "b"))
    senders, receivers = edges()
    present = dense(torch.ones(2, EDGES, dtype=torch.float64), senders, receivers) > 0

    def reference(x: Tensor) -> Tensor:
        nodes = F.linear(x, w).unflatten(-1, (2, 3))  # b n h k
        sending, hearing = ((nodes * v.view(2, 3)).sum(-1) for v in (a, b))
        scores = F.leaky_relu(hearing[:, :, None] + sending[:, None], 0.2)  # b receiver sender h
        scores = scores.masked_fill(~present[..., None], -torch.inf)
        weights = torch.softmax(scores, 2).nan_to_num(0)
        return torch.einsum("bnsh,bshk->bnhk", weights, nodes).flatten(-2)

    x = randn(2, NODES, 4)
    torch.testing.assert_close(net(x, senders, receivers), reference(x), rtol=1e-9, atol=1e-10)
    weights = [(p, p) for p in (w, a, b)]

    def heard(out: Tensor) -> Tensor:
        return out[:, :-1]  # the node that nobody sends to has softmax of nothing in the dense form

    assert_same(lambda x: heard(net(x, senders, receivers)), lambda x: heard(reference(x)), (x,), weights)


def run(net: nn.Module, path: str, x: Tensor) -> Tensor:
    part = net.get_submodule(path)
    return F.linear(x, part.weight, getattr(part, "bias", None))


@both
@pytest.mark.parametrize("how", ["sum", "mean", "max"])
def test_message_passing_is_a_loop_over_edges(how: str, peepholes: bool) -> None:
    d = message_passing(6, how).on(f"n={NODES} m=4, N({NODES})[e={EDGES}], N({NODES})[e={EDGES}]")
    net = build_torch(d, seed=0, peepholes=peepholes).double()
    senders, receivers = edges()

    def reference(x: Tensor) -> Tensor:
        out = []
        for graph, froms, tos in zip(x, senders.tolist(), receivers.tolist(), strict=True):
            inbox: list[list[Tensor]] = [[] for _ in range(NODES)]
            for sender, receiver in zip(froms, tos, strict=True):
                pair = torch.cat([graph[sender], graph[receiver]])
                inbox[receiver].append(run(net, "message.W2", run(net, "message.W1", pair).relu()))
            for node, mail in zip(graph, inbox, strict=True):
                letters = torch.stack(mail) if mail else torch.zeros(1, 6, dtype=x.dtype)
                summed = letters.amax(0) if how == "max" else getattr(letters, how)(0)
                both = run(net, "update.W1", node) + run(net, "update.W2", summed)
                out.append(node + run(net, "update.W3", both.relu()))
        return torch.stack(out).view_as(x)

    weights = [(p, p) for p in net.parameters()]
    assert_same(lambda x: net(x, senders, receivers), reference, (randn(2, NODES, 4),), weights)
