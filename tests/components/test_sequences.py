"""Recurrent networks against torch's own, selective state spaces against the paper's loop, in float64."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from nbkit import Diagram, Fn
from nbkit.build import build_torch
from nbkit.components import (
    causal_conv,
    gru,
    gru_cell,
    lstm,
    lstm_cell,
    mamba,
    recurrent,
    rnn,
    rnn_cell,
    selective_scan,
)
from tests.build.oracles import assert_same, randn

both = pytest.mark.parametrize("peepholes", [True, False])
MADE: dict[str, tuple[Fn, Fn, type[nn.RNNBase], type[nn.RNNCellBase]]] = {
    "rnn": (rnn(4), rnn_cell(), nn.RNN, nn.RNNCell),
    "gru": (gru(4), gru_cell(), nn.GRU, nn.GRUCell),
    "lstm": (lstm(4), lstm_cell(), nn.LSTM, nn.LSTMCell),
}


def built(diagram: Diagram, peepholes: bool = True) -> nn.Module:
    return build_torch(diagram, seed=0, peepholes=peepholes).double()


def rows(cell: nn.Module, letter: str) -> tuple[Tensor, Tensor]:
    """Weight and bias of W or U with torch's rows: those of the gates first."""
    parts = [f"{letter}_g", letter] if hasattr(cell, f"{letter}_g") else [letter]
    found = [cell.get_submodule(part) for part in parts]
    return torch.cat([p.weight for p in found]), torch.cat([p.bias for p in found])


def fill(cell: nn.Module, right: nn.Module, suffix: str = "") -> None:
    with torch.no_grad():
        for letter, name in (("W", "ih"), ("U", "hh")):
            weight, bias = rows(cell, letter)
            right.get_parameter(f"weight_{name}{suffix}").copy_(weight)
            right.get_parameter(f"bias_{name}{suffix}").copy_(bias)


@both
@pytest.mark.parametrize("name", MADE)
def test_recurrent_networks_are_torchs(name: str, peepholes: bool) -> None:
    make, _, theirs, _ = MADE[name]
    net = built(make.on("t=5 m=3"), peepholes)
    right = theirs(3, 4, batch_first=True, dtype=torch.float64)
    fill(net.get_submodule(f"{name}_cell"), right, "_l0")
    x = randn(2, 5, 3)
    assert_same(net, lambda x: right(x)[0], (x,))

    (net(x) ** 2).sum().backward()
    (right(x)[0] ** 2).sum().backward()
    cell = net.get_submodule(f"{name}_cell")
    for letter, torchs in (("W", "ih"), ("U", "hh")):
        parts = [f"{letter}_g", letter] if hasattr(cell, f"{letter}_g") else [letter]
        gradient = torch.cat([cell.get_submodule(part).weight.grad for part in parts])
        torch.testing.assert_close(
            gradient, right.get_parameter(f"weight_{torchs}_l0").grad, rtol=1e-9, atol=1e-10
        )


@pytest.mark.parametrize("name", MADE)
def test_cells_are_torchs(name: str) -> None:
    _, make, _, theirs = MADE[name]
    states = 2 if name == "lstm" else 1
    net = built(make.on(", ".join(["h=4"] * states + ["m=3"])))
    right = theirs(3, 4, dtype=torch.float64)
    fill(net, right)
    start = [randn(2, 4, seed=i) for i in range(states)]
    x = randn(2, 3, seed=7)
    expected = right(
        x, (start[1], start[0]) if states == 2 else start[0]
    )  # torch's order: what is read, memory
    expected = expected[::-1] if states == 2 else (expected,)
    *found, read = net(*start, x)
    for mine, other in zip(found, expected, strict=True):
        torch.testing.assert_close(mine, other, rtol=1e-9, atol=1e-10)
    assert torch.equal(read, found[-1])


def test_a_network_may_run_backwards() -> None:
    net = built(recurrent(rnn_cell(), 4, reverse=True).on("t=5 m=3"))
    forwards = built(rnn(4).on("t=5 m=3"))
    forwards.load_state_dict(net.state_dict())
    x = randn(2, 5, 3)
    torch.testing.assert_close(net(x), forwards(x.flip(1)).flip(1), rtol=0, atol=1e-12)


# -- state spaces ------------------------------------------------------------------------------------------


def scanned(net: nn.Module, x: Tensor) -> Tensor:
    """Algorithm 2 of Gu & Dao 2023 as a loop over t, one equation a line."""
    p = dict(net.named_parameters())
    a = -torch.exp(p["state_space_cell.a.weight"])  # d n
    step = F.softplus(F.linear(F.linear(x, p["compress.weight"]), p["step.weight"], p["step.bias"]))
    b, c = F.linear(x, p["B.weight"]), F.linear(x, p["C.weight"])
    h = torch.zeros(len(x), *a.shape, dtype=x.dtype)
    out = []
    for t in range(x.shape[1]):
        a_bar = torch.exp(step[:, t, :, None] * a)
        b_bar = step[:, t, :, None] * b[:, t, None, :]
        h = a_bar * h + b_bar * x[:, t, :, None]
        out.append((h * c[:, t, None, :]).sum(-1) + p["state_space_cell.D.weight"] * x[:, t])
    return torch.stack(out, 1)


@both
def test_the_selective_scan_is_the_loop_of_the_paper(peepholes: bool) -> None:
    net = built(selective_scan(3, 2).on("t=6 d=4"), peepholes)
    with torch.no_grad():
        net.get_parameter("state_space_cell.a.weight").normal_()
        net.get_parameter("state_space_cell.D.weight").normal_()
    weights = [(p, p) for p in net.parameters()]
    assert_same(net, lambda x: scanned(net, x), (randn(2, 6, 4),), weights)


def test_a_selective_scan_with_equal_steps_is_a_convolution() -> None:
    """With Δ, B, C constant the recurrence is linear and time-invariant: y = x ★ K, K[j] = Σ_n C Ā^j B̄."""
    net = built(selective_scan(3, 2).on("t=6 d=4"))
    p = dict(net.named_parameters())
    step = F.softplus(p["step.bias"])
    a_bar = torch.exp(step[:, None] * -torch.exp(p["state_space_cell.a.weight"]))
    b, c = torch.randn(3, dtype=torch.float64), torch.randn(3, dtype=torch.float64)
    kernel = torch.stack([(c * a_bar**j * step[:, None] * b).sum(-1) for j in range(6)])  # j d
    x = torch.randn(1, 6, 4, dtype=torch.float64)
    expected = torch.stack([sum(kernel[j] * x[:, t - j] for j in range(t + 1)) for t in range(6)], 1)

    cell = net.get_submodule("state_space_cell")
    state = torch.zeros(1, 4, 3, dtype=torch.float64)
    found = []
    for t in range(6):
        state, y = cell(state, step.expand(1, 4), b.expand(1, 3), x[:, t], c.expand(1, 3))
        found.append(y - cell.get_parameter("D.weight") * x[:, t])
    torch.testing.assert_close(torch.stack(found, 1), expected, rtol=1e-9, atol=1e-10)


@both
def test_the_causal_convolution_sees_the_past_alone(peepholes: bool) -> None:
    net = built(causal_conv(3).on("t=6 c=4"), peepholes)
    kernel, bias = net.get_parameter("linear.weight"), net.get_parameter("linear.bias")

    def reference(x: Tensor) -> Tensor:
        weight = kernel.reshape(4, 1, 3)
        return F.conv1d(F.pad(x.mT, (2, 0)), weight, bias.flatten(), groups=4).mT

    assert_same(net, reference, (randn(2, 6, 4),), [(kernel, kernel), (bias, bias)])


def test_mamba_is_a_gated_scan_behind_a_convolution() -> None:
    net = built(mamba(2, 3, 4, 2).on("t=6 m=4"))
    p = dict(net.named_parameters())
    scan_, conv = net.get_submodule("selective_scan"), net.get_submodule("causal_conv")

    def reference(x: Tensor) -> Tensor:
        u, z = F.linear(x, p["W_in.weight"]), F.linear(x, p["W_z.weight"])
        y = scanned(scan_, F.silu(conv(u))) * F.silu(z)
        return F.linear(y, p["W_out.weight"])

    assert_same(net, reference, (randn(2, 6, 4),), [(w, w) for w in p.values()])
