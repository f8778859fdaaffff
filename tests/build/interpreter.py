"""An independent reading of a diagram: one op after the other, every array in the order of its type.

Nothing is clever here, and no code is shared with the compiler but the module that holds the weights. Every
array has one batch dimension in front, called `B` here.
"""

from __future__ import annotations

from math import pi
from string import ascii_letters
from typing import Any

import torch
from torch import Tensor, nn

from nbkit.language import Diagram, Node, ops, relations
from nbkit.language.axes import Array, parse_spec
from nbkit.language.parts import Block, Repeat, Scan, Stages
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
    if isinstance(op, Stages):
        carried, further, kept = xs[: op.carry], xs[op.carry :], ()
        for body, part in zip(op.bodies, net.get_submodule(node.id), strict=True):
            more = len(body.ins) - op.carry
            made = interpret(body, part, *carried, *further[:more])
            carried, further, kept = made[: op.carry], further[more:], (*kept, *made[op.carry :])
        return (*carried, *kept)
    if isinstance(op, Scan):
        return _scan(op, net.get_submodule(node.id), xs, arrays)
    (x, *_), (array, *_), (out, *_) = xs, arrays, outs
    order = [BATCH, *dims(array)]
    target = [BATCH, *dims(out)]
    match op:
        case ops.Linear():
            return (_linear(diagram, node, net.get_submodule(node.id), x, array, out),)
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
                "relu": lambda t: torch.where(t > 0, t, 0.0),
                "gelu": lambda t: t * 0.5 * (1 + torch.erf(t / 2**0.5)),
                "tanh": torch.tanh, "sigmoid": lambda t: 1 / (1 + torch.exp(-t)),
                "silu": lambda t: t / (1 + torch.exp(-t)),
                "square": lambda t: t * t, "exp": torch.exp, "abs": torch.abs, "neg": lambda t: -t,
                "sin": torch.sin, "cos": torch.cos, "erf": torch.erf, "sign": torch.sign, "log": torch.log,
                "sqrt": lambda t: t**0.5, "rsqrt": lambda t: t**-0.5, "reciprocal": lambda t: 1 / t,
                "log1p": torch.log1p, "softplus": lambda t: torch.logaddexp(t, torch.zeros_like(t)),
                "elu": lambda t: torch.where(t > 0, t, torch.expm1(t.clamp(max=0))),
                "leaky_relu": lambda t: torch.where(t > 0, t, 0.01 * t),
                "relu6": lambda t: torch.where((t > 0) & (t < 6), t, t.detach().clamp(0, 6)),
                "hardswish": lambda t: t * (t + 3).clamp(0, 6) / 6,
                "mish": lambda t: t * torch.tanh(torch.logaddexp(t, torch.zeros_like(t))),
                "gelu_tanh": lambda t: 0.5 * t * (1 + torch.tanh((2 / pi) ** 0.5 * (t + 0.044715 * t**3))),
            }  # fmt: skip
            return (functions[op.function](x),)
        case ops.Dropout():
            assert not net.training or op.p == 0
            return (x,)
        case ops.Reduce():
            places = [order.index(d) for d in dims(array, op.axes.split())]
            if op.how == "logsumexp":
                top = x.amax(places, keepdim=True).detach()
                return ((torch.exp(x - top).sum(places, keepdim=True).log() + top).squeeze(places),)
            if op.how in ("sum", "mean"):
                return (getattr(x, op.how)(places),)
            for place in sorted(places, reverse=True):
                x = {"max": x.amax, "min": x.amin, "prod": x.prod}[op.how](place)
            return (x,)
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
        case ops.Fold():
            return (_fold(op, x, array, out),)
        case ops.Expand():
            return (align(x, order, target).expand(_sizes(x, out)),)
        case ops.Gather():
            looked = [("gathered" if d == (op.axis, 0) else d) for d in order]
            which = _one_hot(xs[1], int(array[op.axis].size)).to(
                x.dtype if x.is_floating_point() else torch.float64
            )
            y = contract([x.to(which.dtype), which], [looked, [BATCH, *dims(arrays[1]), "gathered"]], target)
            return (y if x.is_floating_point() else y.round().long(),)
        case ops.Scatter():
            return (_scatter(op, x, xs[1], order, [BATCH, *dims(arrays[1])], out),)
        case ops.TopK():
            place = order.index((op.axis, 0))
            which = torch.topk(x, op.k, place).indices  # which of several equal ones is torch's choice
            return torch.stack(
                [x.gather(place, which.narrow(place, j, 1)).squeeze(place) for j in range(op.k)], place
            ), which
        case ops.OneHot():
            return (_one_hot(x, int(out[op.axis].size)).double(),)
        case ops.Indices():
            return (torch.arange(int(array[op.axis].size)).expand(x.shape[0], -1),)
        case ops.Parameter():
            weight = net.get_submodule(node.id).weight
            return (weight.expand(x.shape[0], *weight.shape),)
        case ops.Constant():
            return (torch.full(_sizes(x, out), op.value, dtype=torch.float64),)
        case ops.StopGradient():
            return (x.detach(),)
        case ops.Cast():
            return (x.double() if op.to == "R" else x.trunc().to(torch.int64),)
        case ops.Torch():
            return _box(op, net.get_submodule(node.id), xs, arrays, outs)
    raise NotImplementedError(op)


def align(x: Tensor, order: list[Any], target: list[Any]) -> Tensor:
    """The array with its dimensions as in `target`, of size 1 where it lacks one."""
    x = x.permute([order.index(d) for d in target if d in order])
    for place, d in enumerate(target):
        if d not in order:
            x = x.unsqueeze(place)
    return x


def _one_hot(index: Tensor, n: int) -> Tensor:
    return index.unsqueeze(-1) == torch.arange(n)


def _scan(op: Scan, part: nn.Module, xs: tuple[Tensor, ...], arrays: list[Array]) -> tuple[Tensor, ...]:
    states, kept = xs[: op.states], []
    places = [1 + dims(array).index((op.over, 0)) for array in arrays[op.states :]]
    count = xs[op.states].shape[places[0]]
    for i in reversed(range(count)) if op.reverse else range(count):
        elements = [x.select(place, i) for x, place in zip(xs[op.states :], places, strict=True)]
        made = interpret(op.body, part, *states, *elements)
        states = made[: op.states]
        kept.append(made[op.states :])
    kept = kept[::-1] if op.reverse else kept
    return (*states, *(torch.stack(one, 1) for one in zip(*kept, strict=True)))


def _scatter(
    op: ops.Scatter, x: Tensor, index: Tensor, order: list[Any], places: list[Any], out: Array
) -> Tensor:
    n = int(out[op.axis].size)
    rest = [d for d in order if d != (op.over, 0)]
    wide = [*rest, (op.over, 0), "n"]
    which = align(_one_hot(index, n), [*places, "n"], wide)
    here = align(x, order, wide)
    counts = which.sum(-2)
    if op.how == "max":
        y = torch.where(which, here, float("-inf")).amax(-2)
        y = torch.where(counts > 0, y, 0.0)
    else:
        y = (which * here).sum(-2) / (counts.clamp(min=1) if op.how == "mean" else 1)
    made = [*rest, (op.axis, 0)]
    return y.permute([made.index(d) for d in [BATCH, *dims(out)]])


def _fold(op: ops.Fold, x: Tensor, array: Array, out: Array) -> Tensor:
    order: list[Any] = [BATCH, *dims(array)]
    before, _ = op.crops(array)
    size = int(out[op.axis].size)
    for d in dims(array, [op.axis]):
        place, window = order.index(d), order.index((op.name, d[1]))
        shape = [size if i == place else n for i, n in enumerate(x.shape) if i != window]
        y = torch.zeros(shape, dtype=x.dtype)
        place -= place > window
        for j in range(x.shape[window]):
            part = x.select(window, j)
            to = torch.arange(part.shape[place]) * op.stride + op.dilation * j - before
            inside = [i for i, t in enumerate(to.tolist()) if 0 <= t < size]
            y = y.index_add(
                place, to[inside], part.index_select(place, torch.tensor(inside, dtype=torch.long))
            )
        x = y
        order.remove((op.name, d[1]))
    return x.permute([order.index(d) for d in [BATCH, *dims(out)]])


def _box(
    op: ops.Torch, module: nn.Module, xs: tuple[Tensor, ...], arrays: list[Array], outs: list[Array]
) -> tuple[Tensor, ...]:
    takes, gives = op.sides()
    front = [BATCH, *dims(outs[0])][: 1 + len(dims(outs[0])) - len(dims(gives[0]))]
    sizes = {
        d: n for x, a in zip(xs, arrays, strict=True) for d, n in zip([BATCH, *dims(a)], x.shape, strict=True)
    }
    given = []
    for x, array, wanted in zip(xs, arrays, takes, strict=True):
        target = [*front, *dims(wanted)]
        given.append(align(x, [BATCH, *dims(array)], target).expand([sizes[d] for d in target]))
    found = module(*given)
    return found if isinstance(found, tuple) else (found,)


def _sizes(x: Tensor, array: Array) -> list[int]:
    return [x.shape[0], *(int(axis.size) for axis in array for _ in range(axis.rank))]


def _linear(diagram: Diagram, node: Node, held: nn.Module, x: Tensor, array: Array, out: Array) -> Tensor:
    op = node.op
    assert isinstance(op, ops.Linear)
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
        names = _windows(diagram, node, rank)
        window = [("in", *d) for d in dims(array, names)]
        assert len(window) == rank
        assert [sizes[d] for d in window] == kernel
        ins = [*(d for d in ins if d not in window), *window]
    order = [BATCH, *(("in", *d) if ("in", *d) in ins else d for d in dims(array))]
    if isinstance(held, nn.ConvTranspose1d | nn.ConvTranspose2d | nn.ConvTranspose3d):
        window = [("out", *d) for d in dims(out, _folds(diagram, node, held.weight.dim() - 2))]
        assert [sizes[d] for d in window] == list(held.weight.shape[2:])
        channels = [d for d in outs if d not in window]
        laid = [*per, *ins, *channels, *window]
        target = [BATCH, *(("out", *d) if ("out", *d) in outs else d for d in dims(out))]
        return contract([x, held.weight.reshape([sizes[d] for d in laid])], [order, laid], target)
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


def _windows(diagram: Diagram, node: Node, rank: int) -> list[str]:
    """The axes of the windows just before a convolution, which together have `rank` dimensions."""
    made = {w: n for n in diagram.nodes for w in n.outs}
    names: list[str] = []
    (wire,) = node.ins
    while rank > 0:
        before = made[wire]
        assert isinstance(before.op, ops.Window)
        names.insert(0, before.op.name)
        (wire,) = before.ins
        rank -= diagram.wires[wire].type[before.op.axis].rank
    return names


def _folds(diagram: Diagram, node: Node, rank: int) -> list[str]:
    """The axes that the folds just behind a transposed convolution end."""
    names: list[str] = []
    (wire,) = node.outs
    while rank > 0:
        (behind,) = (n for n in diagram.nodes if wire in n.ins)
        assert isinstance(behind.op, ops.Fold)
        names.append(behind.op.name)
        rank -= diagram.wires[wire].type[behind.op.axis].rank
        (wire,) = behind.outs
    return names


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
        weights = [order.index(d) for d in dims(array, op.per.split())] if op.per else over
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
