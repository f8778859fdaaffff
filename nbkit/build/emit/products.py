"""Einsums: by broadcasting, by matmul, or by torch.einsum."""

from __future__ import annotations

from collections.abc import Sequence

from nbkit.build.einsums import contractions
from nbkit.build.emit.base import emit
from nbkit.build.forward import Dim, Forward, Value, dims
from nbkit.build.plan import Step
from nbkit.language import ops


@emit.register
def _(_op: ops.Einsum, f: Forward, step: Step) -> None:
    operands = [f.value(wire) for wire in step.ins]
    wanted = dims(f.type(step.outs[0]))
    x, batched = operands[0], any(value.batched for value in operands)
    plan = contractions([value.dims for value in operands], wanted)
    code, order = x.text, x.dims
    for number, contraction in enumerate(plan, start=1):
        left, right = _summed(x, contraction.left_sum), _summed(operands[number], contraction.right_sum)
        code, order = _product(f, left, right, contraction.contracted)
        if number < len(plan):
            x = f.let(step.node.id, code, order, batched=left.batched or right.batched)
    if not plan:
        x = _summed(x, tuple(dim for dim in x.dims if dim not in wanted))
        code, order = x.text, x.dims
    f.assign(step, code, order, batched=batched)


def _summed(x: Value, gone: Sequence[Dim]) -> Value:
    if not gone:
        return x
    places = ", ".join(str(x.at(dim)) for dim in gone)
    kept = tuple(dim for dim in x.dims if dim not in gone)
    return Value(f"{x.text}.sum(({places},))", kept, x.batched)


def _product(f: Forward, left: Value, right: Value, contracted: Sequence[Dim]) -> tuple[str, tuple[Dim, ...]]:
    """Two operands multiplied and summed: by broadcasting, by matmul, or by einsum."""
    both = [dim for dim in left.dims if dim in right.dims and dim not in contracted]
    mine = [dim for dim in left.dims if dim not in right.dims]
    yours = [dim for dim in right.dims if dim not in left.dims]
    order = (*both, *mine, *yours)
    if not contracted:
        return f"{f.aligned(left, order)} * {f.aligned(right, order)}", order
    if len(contracted) == len(mine) == len(yours) == 1:
        a = f.arrange(left, [*both, *mine, *contracted])
        b = f.arrange(right, [*both, *contracted, *yours])
        return f"{a} @ {b}", order
    letters = f.letters(tuple(dict.fromkeys((*left.dims, *right.dims))))
    a, b, out = (
        ("..." if batched else "") + "".join(letters[dim] for dim in side)
        for batched, side in (
            (left.batched, left.dims), (right.batched, right.dims), (left.batched or right.batched, order)
        )
    )  # fmt: skip
    return f'torch.einsum("{a},{b}->{out}", {left.text}, {right.text})', order
