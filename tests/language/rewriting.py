"""How rewrites are judged: the diagram afterwards computes the same, with the weights that carry over."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from nbkit import Diagram, Rewriting, parse
from nbkit.language.ops import Composite


def inputs_of(diagram: Diagram, batch: int = 2, seed: int = 0) -> list[Tensor]:
    """Random inputs of a bound diagram, with one unnamed batch dimension."""
    generator = torch.Generator().manual_seed(seed)
    found = []
    for array in diagram.inputs:
        shape = [batch, *(int(a.size) for a in array for _ in range(a.rank))]
        if array.bound is None:
            found.append(torch.randn(shape, generator=generator, dtype=torch.float64).requires_grad_())
        else:
            found.append(torch.randint(int(array.bound), shape, generator=generator))
    return found


def check_whole(diagram: Diagram) -> None:
    """Every node types itself, wires are in order, texts read back."""
    made = set(diagram.ins)
    for node in diagram.nodes:
        assert made.issuperset(node.ins)
        assert not made.intersection(node.outs)
        made.update(node.outs)
        types = tuple(diagram.wires[w].type for w in node.ins)
        assert node.op.infer(types) == tuple(diagram.wires[w].type for w in node.outs)
        if isinstance(node.op, Composite):
            for _, body in node.op.insides():
                check_whole(body)
    assert made == set(range(len(diagram.wires)))
    assert len({n.id for n in diagram.nodes}) == len(diagram.nodes)


def check(step: Rewriting, *, tolerance: float = 1e-9) -> None:
    """Before and after agree: types, values, gradients of inputs and of all weights that are simply kept."""
    before, after = step.before, step.after
    assert (before.inputs, before.outputs) == (after.inputs, after.outputs)
    assert (step.left.inputs, step.left.outputs) == (step.right.inputs, step.right.outputs)
    for diagram in (after, step.left, step.right):
        check_whole(diagram)
    assert Diagram.from_json(after.json()) == after
    assert parse(after.listing()) == after
    old = before.torch(seed=1).double().eval()
    new = after.torch(seed=2).double().eval()
    held = old.state_dict()
    state = step.weights(held)
    assert set(state) == set(new.state_dict())
    new.load_state_dict(state)
    inputs = inputs_of(before)
    values, slopes, gradients = results(old, inputs)
    new_values, new_slopes, new_gradients = results(new, inputs)
    for mine, other in zip((*values, *slopes), (*new_values, *new_slopes), strict=True):
        torch.testing.assert_close(other, mine, rtol=tolerance, atol=tolerance)
    names = {id(tensor): name for name, tensor in held.items()}
    for name, gradient in new_gradients.items():
        if (kept := names.get(id(state[name]))) is not None:
            torch.testing.assert_close(gradient, gradients[kept], rtol=tolerance, atol=tolerance)


def results(net: nn.Module, inputs: list[Tensor]) -> tuple[list[Tensor], list[Tensor], dict[str, Tensor]]:
    """Outputs, and the gradients of a number made of them: by the inputs, and by each parameter."""
    outs = net(*inputs)
    outs = list(outs) if isinstance(outs, tuple) else [outs]
    scalar = sum((out * torch.linspace(0.5, 1.5, out.numel()).double().view(out.shape)).sum() for out in outs)
    named = {n: p for n, p in net.named_parameters(remove_duplicate=False) if p.requires_grad}
    leaves = [*(x for x in inputs if x.is_floating_point()), *named.values()]
    if isinstance(scalar, Tensor) and scalar.requires_grad:
        found = torch.autograd.grad(scalar, leaves, allow_unused=True, materialize_grads=True)
    else:
        found = tuple(map(torch.zeros_like, leaves))
    count = len(leaves) - len(named)
    return outs, list(found[:count]), dict(zip(named, found[count:], strict=True))
