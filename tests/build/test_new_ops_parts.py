"""Scans and stages against torch's recurrent nets and nets written out by hand, in float64."""

from __future__ import annotations

import copy as copy_module
from collections.abc import Callable
from textwrap import dedent

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from nbkit import (
    DiagramError,
    Fn,
    block,
    concat,
    diagram,
    einsum,
    expand,
    gather,
    linear,
    maximum,
    merge,
    one_hot,
    parameter,
    relu,
    repeat,
    scale,
    scan,
    sigmoid,
    stages,
    tanh,
    window,
)
from nbkit.build import build_torch
from tests.build.oracles import assert_same, randn

T, M, H = 6, 3, 4
both = pytest.mark.parametrize("peepholes", [True, False])
backwards = pytest.mark.parametrize("reverse", [False, True])
batches = pytest.mark.parametrize("batch", [None, 2])


@diagram("h, m -> h, h")
def rnn(state, x):
    new = tanh(linear("h -> h", "W")(state) + linear("m -> h", "U")(x))
    return new, new


@diagram("h, h, m -> h, h, h")
def lstm(h, c, x):
    def gate(name):
        return linear("h -> h", f"W{name}")(h) + linear("m -> h", f"U{name}")(x)

    c = sigmoid(gate("f")) * c + sigmoid(gate("i")) * tanh(gate("g"))
    out = sigmoid(gate("o")) * tanh(c)
    return out, c, out


@diagram("h, m -> h, h")
def gru(h, x):
    r = sigmoid(linear("h -> h", "Wr")(h) + linear("m -> h", "Ur")(x))
    z = sigmoid(linear("h -> h", "Wz")(h) + linear("m -> h", "Uz")(x))
    n = tanh(linear("m -> h", "Un")(x) + r * linear("h -> h", "Wn")(h))
    new = n + z * (h + scale(-1)(n))
    return new, new


GATES = {"RNN": ("",), "LSTM": ("i", "f", "g", "o"), "GRU": ("r", "z", "n")}


def carried(net: nn.Module, reference: nn.Module, gates: tuple[str, ...]) -> list[tuple[Tensor, Tensor]]:
    """Weights of torch's net copied into the cell; pairs of parameters whose gradients are to be compared."""
    named, pairs = dict(net.named_parameters()), []
    for mine, theirs in (("W", "hh"), ("U", "ih")):
        for what in ("weight", "bias"):
            whole = getattr(reference, f"{what}_{theirs}_l0")
            for number, gate in enumerate(gates):
                part = whole.detach().chunk(len(gates))[number]
                (name,) = (n for n in named if n.endswith(f".{mine}{gate}.{what}"))
                with torch.no_grad():
                    named[name].copy_(part)
                pairs.append((named.pop(name), whole, number))
    assert not named
    return pairs


def compare(
    net: nn.Module, wanted: Callable[..., tuple[Tensor, ...]], inputs: tuple[Tensor, ...], pairs
) -> None:
    found, right = net(*inputs), wanted(*inputs)
    assert len(found) == len(right)
    for mine, theirs in zip(found, right, strict=True):
        torch.testing.assert_close(mine, theirs, rtol=1e-9, atol=1e-10)
    weights = [torch.linspace(-1, 1, y.numel(), dtype=y.dtype).view(y.shape) for y in found]
    sums = [sum((y * w).sum() for y, w in zip(side, weights, strict=True)) for side in (found, right)]
    ours = torch.autograd.grad(sums[0], [*inputs, *(mine for mine, _, _ in pairs)])
    theirs = torch.autograd.grad(sums[1], [*inputs, *(whole for _, whole, _ in pairs)])
    each = [whole for _, whole, _ in pairs]
    for place, (mine, other) in enumerate(zip(ours, theirs, strict=True)):
        if place >= len(inputs):
            _, whole, number = pairs[place - len(inputs)]
            gates = sum(w is whole for w in each)
            torch.testing.assert_close(mine, other.chunk(gates)[number], rtol=1e-9, atol=1e-10)
        else:
            torch.testing.assert_close(mine, other, rtol=1e-9, atol=1e-10)


@both
@backwards
@batches
@pytest.mark.parametrize("kind", GATES)
def test_recurrent_nets_are_torch_ones(kind: str, batch: int | None, reverse: bool, peepholes: bool) -> None:
    cell = {"RNN": rnn, "LSTM": lstm, "GRU": gru}[kind]
    states = 2 if kind == "LSTM" else 1
    front = f"h={H}, h={H}, " if states == 2 else f"h={H}, "
    model = scan(cell, "t", states=states, reverse=reverse)
    net = build_torch(model.on(f"{front}t={T} m={M}"), seed=0, peepholes=peepholes).double()
    torch.manual_seed(1)
    reference = getattr(nn, kind)(M, H, batch_first=True).double()
    pairs = carried(net, reference, GATES[kind])
    lead = () if batch is None else (batch,)

    def wanted(*given: Tensor) -> tuple[Tensor, ...]:
        *first, x = given
        x = x.flip(-2) if reverse else x
        start = [s.unsqueeze(0) for s in first]
        outs, last = reference(x, tuple(start) if states == 2 else start[0])
        ends = [s.squeeze(0) for s in (last if states == 2 else (last,))]
        return (*ends, outs.flip(-2) if reverse else outs)

    inputs = (*(randn(*lead, H, seed=i) for i in range(states)), randn(*lead, T, M, seed=9))
    compare(net, wanted, inputs, pairs)


def test_states_may_lack_the_batches_of_the_sequence() -> None:
    model = scan(rnn, "t")
    net = build_torch(model.on(f"h={H}, t={T} m={M}"), seed=0).double()
    h, x = randn(H), randn(2, 3, T, M, seed=1)
    whole = net(h.expand(2, 3, H), x)
    for mine, right in zip(net(h, x), whole, strict=True):
        torch.testing.assert_close(mine, right)

    @diagram("h, m -> h, h")
    def before(state, x):
        """What comes out first has not seen the sequence, so it has no batch yet."""
        return tanh(linear("h -> h", "W")(state) + linear("m -> h", "U")(x)), state

    net = build_torch(scan(before, "t").on(f"h={H}, t={T} m={M}"), seed=0).double()
    last, outs = net(h, x)
    assert outs.shape == (2, 3, T, H)
    torch.testing.assert_close(outs[1, 2, 0], h)
    torch.testing.assert_close(outs[..., 1:, :], net(h.expand(2, 3, H), x)[1][..., 1:, :])
    assert last.shape == (2, 3, H)


def test_a_learned_state_starts_a_scan() -> None:
    @diagram("t m -> t n")
    def model(x):
        _, outs = scan(rnn, "t")(parameter(f"h={H}", "start", init="zeros")(x), x)
        return linear("h -> n=2", "head")(outs)

    net = build_torch(model.on("t m=3"), seed=0).double()
    assert next(iter(net.state_dict())) == "start.weight"
    for n in (1, 5):  # the length may stay open
        x = randn(2, n, M)
        _, outs = build_reference(net)(x)
        torch.testing.assert_close(net(x), net.head(outs))


def build_reference(net: nn.Module) -> Callable[[Tensor], tuple[Tensor, Tensor]]:
    cell = net.rnn

    def run(x: Tensor) -> tuple[Tensor, Tensor]:
        h, outs = net.start.weight.expand(x.shape[0], -1), []
        for i in range(x.shape[1]):
            h = torch.tanh(h @ cell.W.weight.t() + cell.W.bias + x[:, i] @ cell.U.weight.t() + cell.U.bias)
            outs.append(h)
        return h, torch.stack(outs, 1)

    return run


def test_woven_axes_and_several_sequences_and_outputs() -> None:
    """A selective state space: h_t = a_t h_{t-1} + b_t x_t, y_t = c_t · h_t, for every channel."""

    @diagram("d s, d, s, s -> d s, d, d s")
    def step(h, x, b, c):
        h = h + einsum("d, s -> d s")(x, b)
        return h, einsum("d s, s -> d")(h, c), h

    net = build_torch(scan(step, "t").on("d=3 s=2, t=5 d=3, t=5 s=2, t=5 s=2")).double()
    h, x, b, c = randn(3, 2), randn(4, 5, 3, seed=1), randn(4, 5, 2, seed=2), randn(4, 5, 2, seed=3)
    last, y, states = net(h, x, b, c)
    running = h + torch.cumsum(torch.einsum("btd,bts->btds", x, b), 1)
    torch.testing.assert_close(states, running)
    torch.testing.assert_close(last, running[:, -1])
    torch.testing.assert_close(y, torch.einsum("btds,bts->btd", running, c))
    # the axis of the scan may stand anywhere
    turned = build_torch(scan(step, "t").on("d=3 s=2, d=3 t=5, s=2 t=5, t=5 s=2")).double()
    again = turned(h, x.transpose(1, 2), b.transpose(1, 2), c)
    torch.testing.assert_close(again[1], y)


def test_the_text_of_a_scan_is_a_loop() -> None:
    net = build_torch(scan(rnn, "t", reverse=True).on("h=4, t=6 m=3"))
    assert net.code.partition("class Diagram")[2] == dedent('''\
        (DiagramModule):
            def forward(self, x_1, x_2):
                # R[h=4], R[t=6 m=3] -> R[h=4], R[t=6 h=4]
                rnn = x_1                            # h
                rnn_s = []
                for x_2_t in reversed(x_2.unbind(-2)):
                    rnn, out = self.rnn(rnn, x_2_t)  # h, h
                    rnn_s.append(out)
                rnn_ = pile(rnn_s[::-1], -2)         # t h
                return rnn, rnn_
        ''')  # fmt: skip
    assert list(net.state_dict()) == ["rnn.W.weight", "rnn.W.bias", "rnn.U.weight", "rnn.U.bias"]


def down() -> Fn:
    @diagram("c x -> c x, c x")
    def way_down(x):
        kept = relu((window("x", 3) >> linear("w c -> c"))(x))
        return (window("x", 2, 2) >> maximum("w") >> linear("c -> c=2*c", "wider"))(kept), kept

    return way_down


def up() -> Fn:
    @diagram("c x, c x -> c x")
    def way_up(x, kept):
        x = (linear("c -> c=c/2", "thinner") >> expand("u:2=2") >> merge("x u -> x"))(x)
        return relu((concat("c") >> window("x", 3) >> linear("w c -> c=c/2"))(x, kept))

    return way_up


class Unrolled(nn.Module):
    """The same U-Net by hand."""

    def __init__(self, n: int, c: int) -> None:
        super().__init__()
        wide = [c * 2**i for i in range(n)]
        self.convs = nn.ModuleList(nn.Conv2d(i, i, 3, padding=1) for i in wide)
        self.wider = nn.ModuleList(nn.Conv2d(i, 2 * i, 1) for i in wide)
        self.thinner = nn.ModuleList(nn.Conv2d(2 * i, i, 1) for i in reversed(wide))
        self.joins = nn.ModuleList(nn.Conv2d(2 * i, i, 3, padding=1) for i in reversed(wide))

    def forward(self, x: Tensor) -> Tensor:
        kept = []
        for conv, wider in zip(self.convs, self.wider, strict=True):
            kept.append(conv(x).relu())
            x = wider(F.max_pool2d(kept[-1], 2))
        for thinner, join in zip(self.thinner, self.joins, strict=True):
            x = F.interpolate(thinner(x), scale_factor=2)
            x = join(torch.cat((x, kept.pop()), 1)).relu()
        return x


@both
def test_stages_are_a_net_written_out(peepholes: bool) -> None:
    @diagram("c x -> c x")
    def unet(x):
        x, *kept = stages(down(), 3)(x)
        return stages(up(), 3, first=3, down=True)(x, *reversed(kept))

    net = build_torch(unet.on("c=2 x:2"), seed=0, peepholes=peepholes).double()
    reference = Unrolled(3, 2).double()
    with torch.no_grad():
        for mine, theirs in zip(
            [p for i in range(3) for p in net.way_down[i].parameters()],
            [
                p
                for i in range(3)
                for p in (*reference.convs[i].parameters(), *reference.wider[i].parameters())
            ],
            strict=True,
        ):
            theirs.copy_(mine.view(theirs.shape))
        for mine, theirs in zip(
            [p for i in range(3) for p in net.way_up[i].parameters()],
            [
                p
                for i in range(3)
                for p in (*reference.thinner[i].parameters(), *reference.joins[i].parameters())
            ],
            strict=True,
        ):
            theirs.copy_(mine.view(theirs.shape))
    assert_same(net, reference, (randn(2, 2, 16, 8),))
    keys = list(net.state_dict())
    assert keys[:4] == [
        "way_down.0.linear.weight",
        "way_down.0.linear.bias",
        "way_down.0.wider.weight",
        "way_down.0.wider.bias",
    ]
    assert [net.state_dict()[f"way_down.{i}.wider.weight"].shape[0] for i in range(3)] == [4, 8, 16]
    assert net.diagram.cost().params == sum(p.numel() for p in reference.parameters())


def test_stages_carry_several_arrays() -> None:
    @diagram("m, n -> m, n, k")
    def part(a, b):
        return linear("n -> m", "A")(b) + a, linear("m -> n=2*n", "B")(a), linear("m -> k=1", "C")(a)

    net = build_torch(stages(part, 3, carry=2).on("m=3, n=2"), seed=0).double()
    assert [str(a) for a in net.diagram.outputs] == ["R[m=3]", "R[n=16]", "R[k=1]", "R[k=1]", "R[k=1]"]
    a, b = randn(5, 3), randn(5, 2, seed=1)
    found, x, y, kept = net(a, b), a, b, []
    for copy in net.part:
        x, y, k = copy.A(y) + x, copy.B(x), copy.C(x)
        kept.append(k)
    for mine, right in zip(found, (x, y, *kept), strict=True):
        torch.testing.assert_close(mine, right)


class TestInEachOther:
    def test_scan_in_stages_in_a_block_in_a_repetition(self) -> None:
        @diagram("t m -> t m")
        def layer(x):
            start = parameter("h=m", "start")(x)
            return scan(rnn, "t")(start, x)[1].rename(h="m")

        part = block("tower", stages(layer >> linear("m -> m=2*m"), 2) >> linear("m -> m=3"))
        net = build_torch(repeat(part, 2).on("t m=3"), seed=0)
        named = list(net.state_dict())
        assert len(named) == len(set(named)) == 2 * (2 * (1 + 4 + 2) + 2)
        assert named[:2] == ["tower.0.stages.0.layer.start.weight", "tower.0.stages.0.layer.rnn.W.weight"]
        assert "tower.1.stages.1.layer.rnn.U.bias" in named
        x = torch.randn(2, 5, 3)
        assert net(x).shape == (2, 5, 3)
        plain = build_torch(net.diagram, seed=0, peepholes=False)
        torch.testing.assert_close(plain(x), net(x))
        tied = build_torch(repeat(part, 2, tied=True).on("t m=3"), seed=0)
        assert len(list(tied.parameters())) * 2 == len(list(net.parameters()))

    def test_a_scan_inside_a_scan(self) -> None:
        @diagram("h, s m -> h, h")
        def outer(state, x):
            last, _ = scan(rnn, "s")(state, x)
            return last, last

        net = build_torch(scan(outer, "t").on("h=4, t=3 s=2 m=3"), seed=0).double()
        x = randn(2, 3, 2, 3)
        flat = build_torch(scan(rnn, "t").on("h=4, t=6 m=3"), seed=0).double()
        flat.load_state_dict({k.partition(".")[2]: v for k, v in net.state_dict().items()})
        last, outs = net(torch.zeros(4).double(), x)
        other, wanted = flat(torch.zeros(4).double(), x.flatten(1, 2))
        torch.testing.assert_close(last, other)
        torch.testing.assert_close(outs, wanted[:, 1::2])


def test_a_scan_trains_and_is_copied() -> None:
    @diagram("t m -> t m")
    def model(x):
        _, outs = scan(rnn, "t")(parameter("h=8", "start")(x), x)
        return linear("h -> m", "head")(outs)

    net = build_torch(model.on("t m=2"), seed=0)
    clone = copy_module.deepcopy(net)
    torch.manual_seed(0)
    x = torch.randn(16, 7, 2).cumsum(1) / 3
    optimiser = torch.optim.Adam(net.parameters(), lr=0.01)
    losses = []
    for _ in range(30):
        loss = F.mse_loss(net(x[:, :-1]), x[:, 1:])
        optimiser.zero_grad()
        loss.backward()
        assert all(p.grad is not None and bool(p.grad.any()) for p in net.parameters())
        optimiser.step()
        losses.append(float(loss.detach()))
    assert losses[-1] < 0.7 * losses[0]
    torch.testing.assert_close(clone(x), build_torch(model.on("t m=2"), seed=0)(x))
    clone.load_state_dict(net.state_dict())
    torch.testing.assert_close(clone(x), net(x))


@diagram("t m -> t n")
def sequence_model(x):
    _, outs = scan(rnn, "t")(parameter("h=4", "start")(x), x)
    return linear("h -> n=2", "head")(outs)


@both
def test_compile_and_export_without_a_graph_break(peepholes: bool) -> None:
    @diagram("c x -> c x")
    def unet(x):
        x, *kept = stages(down(), 2)(x)
        return stages(up(), 2, first=3, down=True)(x, *reversed(kept))

    for model, x in (
        (sequence_model.on("t=5 m=3"), torch.randn(2, 5, 3)),
        (unet.on("c=2 x:2=8"), torch.randn(2, 2, 8, 8)),
    ):
        torch.compiler.reset()
        net = build_torch(model, seed=0, peepholes=peepholes)
        compiled = torch.compile(net, backend="eager", fullgraph=True)
        torch.testing.assert_close(compiled(x), net(x))
        torch.testing.assert_close(torch.export.export(net, (x,)).module()(x), net(x))
    torch.compiler.reset()  # torch takes sizes that have changed for dynamic, also in other models


class TestErrors:
    def said(self, call: Callable[..., object], *inputs: object) -> str:
        with pytest.raises(DiagramError) as caught:
            call(*inputs)
        return str(caught.value)

    def test_inputs_of_a_scan(self) -> None:
        net = build_torch(scan(rnn, "t").on("h=4, t m=3"))
        assert self.said(net, torch.zeros(4)) == "diagram takes 2 arrays (R[h=4], R[t m=3]), got 1"
        assert self.said(net, torch.zeros(5), torch.zeros(6, 3)) == (
            "input 1 of diagram is R[h=4]: axis 'h' has size 4, found 5 in shape (5,) (dimension -1)"
        )
        assert self.said(net, torch.zeros(4), torch.zeros(6, 2)) == (
            "input 2 of diagram is R[t m=3]: axis 'm' has size 3, found 2 in shape (6, 2) (dimension -1)"
        )

    def test_indices_beyond_an_open_size(self) -> None:
        net = build_torch(gather("n").on("n m, N(n)[e]"))
        assert self.said(net, torch.zeros(4, 2), torch.tensor([0, 4])) == (
            "input 2 of diagram is N(n)[e]: indices are at least 0 and below 4, found 4 at position (1,)"
        )

    def test_a_size_that_nothing_shows(self) -> None:
        assert self.said(build_torch, one_hot("v").on("N(v)[x]")) == (
            "v is unbound, and no wire in diagram shows it at run time; give it: d.torch(v=…)"
        )


def test_what_a_loop_changes_is_joined_with_care() -> None:
    """In the first round the state has no batch yet, in the second it has one."""

    @diagram("h, m -> h, h")
    def cell(state, x):
        both = concat("h")(state, (linear("m -> h=2", "U"))(x))
        new = linear("h -> h=4", "W")(both)
        return new, new

    net = build_torch(scan(cell, "t").on("h=4, t m=3"), seed=0)
    h, x = torch.randn(4), torch.randn(5, 6, 3)
    torch.testing.assert_close(net(h, x), net(h.expand(5, 4), x))
    assert "join(" in net.code
