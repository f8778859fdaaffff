"""How each op is written down: one small function an op, from a step of the plan to lines of Python.

Each takes the values that come in, in whatever order their dimensions are, writes what the torch kernel wants, and
says in which order the result's dimensions are. `WORDS` are the names that the lines may use (`runtime.py` has them).
"""

from __future__ import annotations

import ast
import copy
from collections.abc import Sequence
from functools import singledispatch
from string import ascii_letters

from nbkit.build.einsums import contractions
from nbkit.build.plan import Attention, Convolution, Pool, Step
from nbkit.build.program import Dim, Forward, Value, dims, shape
from nbkit.language import ops, relations
from nbkit.language.axes import Token, parse_spec
from nbkit.language.diagram import Block, Repeat
from nbkit.language.errors import DiagramError
from nbkit.language.sizes import parse_size

FUNCTIONS = {
    "relu": "torch.relu", "gelu": "F.gelu", "tanh": "torch.tanh", "sigmoid": "torch.sigmoid", "silu": "F.silu",
    "square": "torch.square", "exp": "torch.exp", "abs": "torch.abs", "neg": "torch.neg",
}  # fmt: skip
WORDS = frozenset(
    ["F", "allowed", "check_stride", "forbidden", "grouped", "inf", "join", "rows", "spatial", "torch"]
)


@singledispatch
def emit(op: object, f: Forward, step: Step) -> None:
    """Writes the lines of one step."""
    raise DiagramError(f"nbkit.build cannot compile {op} at {f.prefix}{step.node.id}")


def only(f: Forward, step: Step) -> Value:
    (wire,) = step.ins
    return f.value(wire)


def of(f: Forward, wire: int, tokens: Sequence[Token] | Sequence[str]) -> list[Dim]:
    """The dimensions of some axes of a wire, in the order given."""
    array = f.type(wire)
    return list(dims(array[t if isinstance(t, str) else t.name] for t in tokens))


def sizes(f: Forward, wire: int, order: Sequence[Dim]) -> list[str]:
    return [f.size(f.type(wire)[name].size) for name, _ in order]


# -- learned maps -------------------------------------------------------------------------------------------------


@emit.register
def _(op: ops.Linear, f: Forward, step: Step) -> None:
    x, held, module = only(f, step), f.weights[step.node.id], f.module(step)
    spec = parse_spec(op.spec)
    (source,), (target,) = step.ins, step.outs
    consumed, produced = of(f, source, spec.ins[0]), of(f, target, spec.outs[0])
    if held.module == "Conv":  # the channels first, then the window, as the weight has them
        window = of(f, source, [w.name for w in held.windows])
        consumed = [*(d for d in consumed if d not in window), *window]
    per = of(f, source, op.per.split())
    text, rest = f.trailing(x, [*per, *consumed])
    rest = [dim for dim in rest if dim not in per]
    text = f.flatten(text, len(consumed))
    bias = f"{module}.bias" if op.bias else "None"
    if per:
        text = f.flatten(text, len(per), behind=1)
        code = f"grouped({text}, {module}.weight, {bias})" if held.module == "Conv" else f"{module}({text})"
    elif held.module == "Conv":
        code = f"F.linear({text}, {module}.weight.flatten(1), {bias})"
    else:
        code = f"{module}({text})"
    code = f.unflatten(code, -1, sizes(f, target, produced))
    if len(per) > 1:
        code = f.unflatten(code, -1 - len(produced), sizes(f, source, per))
    f.assign(step, code, [*rest, *per, *produced], batched=x.batched)


@emit.register
def _(op: Convolution, f: Forward, step: Step) -> None:
    held, spec = f.weights[step.node.id], parse_spec(op.linear.spec)
    (target,) = step.outs
    x, places = _padded(f, step, op.windows, [w.pads()[0] == w.pads()[1] for w in op.windows], "0")
    window = {w.name for w in op.windows}
    channels = [*op.linear.per.split(), *(t.name for t in spec.ins[0] if t.name not in window)]
    channel_dims = of(f, step.ins[0], channels)
    text, rest = f.trailing(x, [*channel_dims, *places])
    text = f.flatten(text, len(channel_dims), behind=len(places))
    code = f"spatial({f.module(step)}, {text}, {len(places)})"
    produced = list(dims(held.rows))
    code = f.unflatten(code, -1 - len(places), sizes(f, target, produced))
    f.assign(step, code, [*rest, *produced, *places], batched=x.batched)


@emit.register
def _(op: ops.Embed, f: Forward, step: Step) -> None:
    x, (target,) = only(f, step), step.outs
    produced = of(f, target, parse_spec(op.spec).outs[0])
    code = f.unflatten(f"{f.module(step)}({x.text})", -1, sizes(f, target, produced))
    f.assign(step, code, [*x.dims, *produced], batched=x.batched)


@emit.register
def _(op: ops.Positions, f: Forward, step: Step) -> None:
    (target,) = step.outs
    order = dims(f.type(target))
    code = f"{f.module(step)}()"
    if len(order) != 2 or len(f.weights[step.node.id].rows) != 1:
        code += f".view({', '.join(sizes(f, target, order)) or '()'})"
    f.assign(step, code, order, batched=False)


@emit.register
def _(op: ops.Norm, f: Forward, step: Step) -> None:
    x, (source,) = only(f, step), step.ins
    if op.how == "batch":
        _batch_norm(op, f, step)
        return
    axes = of(f, source, op.axes.split())
    text, rest = f.trailing(x, axes)
    order = [*rest, *axes]
    if op.affine:
        code = f"{f.module(step)}({text})"
    else:
        if text != x.text:
            x = f.let(step.node.id, text, order, batched=x.batched)
        function = "F.layer_norm" if op.how == "layer" else "F.rms_norm"
        code = f"{function}({x.text}, {x.text}.shape[{-len(axes)}:], eps={float(op.eps)!r})"
    f.assign(step, code, order, batched=x.batched)


def _batch_norm(op: ops.Norm, f: Forward, step: Step) -> None:
    x, (source,) = only(f, step), step.ins
    channels, batch = of(f, source, op.per.split()), of(f, source, op.axes.split())
    rest = [dim for dim in x.dims if dim not in channels and dim not in batch]
    last = x.dims[len(x.dims) - len(channels) :] == tuple(channels)
    if len(rest) <= 1 and last:  # vectors: the channel may stay last
        text = f.flatten(x.text, len(channels))
        code, order = f"rows({f.module(step)}, {text})", list(x.dims)
        behind = 0
    else:
        order = [*batch, *channels, *rest]
        behind = len(rest) if len(rest) <= 3 else 1
        text = f.flatten(f.arrange(x, order), len(channels), behind=len(rest))
        if len(rest) > 3:
            text = f.flatten(text, len(rest))
        code = f"spatial({f.module(step)}, {text}, {behind})"
        if len(rest) > 3:
            code = f.unflatten(code, -1, [f.extent(dim, x) for dim in rest])
            behind = len(rest)
    code = f.unflatten(code, -1 - behind, sizes(f, source, channels))
    f.assign(step, code, order, batched=x.batched)


# -- products and sums --------------------------------------------------------------------------------------------


@emit.register
def _(op: ops.Einsum, f: Forward, step: Step) -> None:
    operands = [f.value(wire) for wire in step.ins]
    wanted = dims(f.type(step.outs[0]))
    x, batched = operands[0], any(value.batched for value in operands)
    plan = contractions([value.dims for value in operands], wanted)
    code, order = x.text, x.dims
    for number, contraction in enumerate(plan, start=1):
        left, right = _summed(f, x, contraction.left_sum), _summed(f, operands[number], contraction.right_sum)
        code, order = _product(f, left, right, contraction.contracted)
        if number < len(plan):
            x = f.let(step.node.id, code, order, batched=left.batched or right.batched)
    if not plan:
        x = _summed(f, x, tuple(dim for dim in x.dims if dim not in wanted))
        code, order = x.text, x.dims
    f.assign(step, code, order, batched=batched)


def _summed(f: Forward, x: Value, gone: Sequence[Dim]) -> Value:
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
    letters = dict(zip(dict.fromkeys((*left.dims, *right.dims)), ascii_letters, strict=False))
    if len(letters) < len({*left.dims, *right.dims}):
        raise DiagramError(f"an einsum over more than {len(ascii_letters)} dimensions cannot be compiled")
    a, b, out = (
        ("..." if batched else "") + "".join(letters[dim] for dim in side)
        for batched, side in (
            (left.batched, left.dims), (right.batched, right.dims), (left.batched or right.batched, order)
        )
    )  # fmt: skip
    return f'torch.einsum("{a},{b}->{out}", {left.text}, {right.text})', order


@emit.register
def _(op: ops.Add, f: Forward, step: Step) -> None:
    _pointwise(f, step, " + ")


@emit.register
def _(op: ops.Multiply, f: Forward, step: Step) -> None:
    _pointwise(f, step, " * ")


def _pointwise(f: Forward, step: Step, symbol: str) -> None:
    values = [f.value(wire) for wire in step.ins]
    order = max((value.dims for value in values), key=len)  # the first of those that have all axes
    code = symbol.join(f.aligned(value, order) for value in values)
    f.assign(step, code, order, batched=any(value.batched for value in values))


@emit.register
def _(op: ops.Scale, f: Forward, step: Step) -> None:
    x = only(f, step)
    f.assign(step, f"{x.text} * {f.number(parse_size(op.factor))}", x.dims, batched=x.batched)


@emit.register
def _(op: ops.Elementwise, f: Forward, step: Step) -> None:
    x = only(f, step)
    f.assign(step, f"{FUNCTIONS[op.function]}({x.text})", x.dims, batched=x.batched)


@emit.register
def _(op: ops.Dropout, f: Forward, step: Step) -> None:
    x = only(f, step)
    f.assign(step, f"torch.dropout({x.text}, {float(op.p)!r}, self.training)", x.dims, batched=x.batched)


@emit.register
def _(op: ops.Reduce, f: Forward, step: Step) -> None:
    x = only(f, step)
    gone = of(f, step.ins[0], op.axes.split())
    kept = [dim for dim in x.dims if dim not in gone]
    if op.how == "max":  # of equal elements the first has the gradient, as in a max pool
        text, kept = f.trailing(x, gone)
        code = f"{f.flatten(text, len(gone))}.max(-1).values"
    else:
        places = [str(x.at(dim)) for dim in gone]
        code = f"{x.text}.{op.how}({places[0] if len(places) == 1 else '(' + ', '.join(places) + ')'})"
    f.assign(step, code, kept, batched=x.batched)


@emit.register
def _(op: ops.Softmax, f: Forward, step: Step) -> None:
    x = only(f, step)
    axes = of(f, step.ins[0], op.axes.split())
    if len(axes) == 1:
        f.assign(step, f"torch.softmax({x.text}, {x.at(axes[0])})", x.dims, batched=x.batched)
        return
    text, rest = f.trailing(x, axes)
    code = f"torch.softmax({f.flatten(text, len(axes))}, -1)"
    code = f.unflatten(code, -1, [f.extent(dim, x) for dim in axes])
    f.assign(step, code, [*rest, *axes], batched=x.batched)


# -- attention ----------------------------------------------------------------------------------------------------


@emit.register
def _(op: Attention, f: Forward, step: Step) -> None:
    q, k, v = (f.value(wire) for wire in step.ins)
    query, key, value = step.ins
    y, x = of(f, query, [op.query]), of(f, key, op.keys)
    contracted, values = of(f, query, op.contracted), of(f, value, op.values)
    woven = [dim for dim in q.dims if dim not in y and dim not in contracted]
    woven += [dim for dim in k.dims if dim not in x and dim not in contracted and dim not in woven]
    texts = []
    for operand, tail in ((q, (y, contracted)), (k, (x, contracted)), (v, (x, values))):
        text = f.aligned(operand, [*woven, *tail[0], *tail[1]])
        text = f.flatten(text, len(tail[1]))
        texts.append(f.flatten(text, len(tail[0]), behind=1))
    arguments = [*texts]
    causal = {"x <= y", "y >= x"}
    same = f.type(query)[op.query].size == f.type(key)[op.keys[0]].size
    plain = {_canonical(r, {op.query: "y", op.keys[0]: "x"}) for r in op.relations}
    if plain and plain <= causal and same:
        arguments.append("is_causal=True")
    elif op.relations:
        spoken = {name for relation in op.relations for name in relations.names(relation)}
        mask = _mask(
            "allowed", f, op.relations, [d for d in (*woven, *y, *x) if d[0] in spoken], (q, k, v), op.keys
        )
        arguments.append(f"attn_mask={f.aligned(mask, [*woven, *y, *x])}")
    if op.dropout:
        arguments.append(f"dropout_p={float(op.dropout)!r} if self.training else 0.0")
    factor = parse_size("1")
    for text in op.factors:
        factor = factor * parse_size(text)
    code = f"F.scaled_dot_product_attention({', '.join(arguments)}, scale={f.number(factor)})"
    code = f.unflatten(code, -1, [f.extent(dim, v) for dim in values])
    if len(y) > 1:
        code = f.unflatten(code, -1 - len(values), [f.extent(dim, q) for dim in y])
    f.assign(step, code, [*woven, *y, *values], batched=q.batched or k.batched or v.batched)


def _canonical(relation: str, names: dict[str, str] | None = None) -> str:
    """The relation printed from its checked syntax tree, so that nothing else of its text is left; axes renamed."""
    parts = [copy.deepcopy(part) for part in relations.parse_relation(relation)]
    for part in parts:
        for node in ast.walk(part):
            if isinstance(node, ast.Name):
                node.id = (names or {}).get(node.id, node.id)
    return " and ".join(ast.unparse(part) for part in parts)


def _mask(
    which: str,
    f: Forward,
    texts: Sequence[str],
    order: Sequence[Dim],
    shapes: Sequence[Value],
    over: Sequence[str],
) -> Value:
    """A call for the (cached) mask: `allowed` or `forbidden` elements, over the axes that the relations speak of."""
    listed, names, extents, axes = (
        f"({', '.join(items)}{',' * (len(items) == 1)})"
        for items in (
            [repr(_canonical(text)) for text in texts],
            [repr(name) for name, _ in order],
            [f.extent(dim, *shapes) for dim in order],
            [repr(name) for name in over],
        )
    )
    code = f"{which}({listed}, {names}, {extents}, {shapes[0].text}.device, {axes})"
    return Value(code, tuple(order), batched=False)


@emit.register
def _(op: ops.Mask, f: Forward, step: Step) -> None:
    x, spoken = only(f, step), relations.names(op.relation)
    over: tuple[str, ...] = ()
    for node in f.diagram.nodes:  # a softmax needs something to attend to
        if isinstance(node.op, ops.Softmax) and node.ins == step.outs and op.fill == "-inf":
            over = tuple(node.op.axes.split())
    mask = _mask("forbidden", f, (op.relation,), [dim for dim in x.dims if dim[0] in spoken], (x,), over)
    hidden = f.aligned(mask, x.dims)
    f.assign(
        step,
        f"{x.text}.masked_fill({hidden}, {'-inf' if op.fill == '-inf' else '0.0'})",
        x.dims,
        batched=x.batched,
    )


# -- windows ------------------------------------------------------------------------------------------------------


def _padded(
    f: Forward, step: Step, windows: Sequence[ops.Window], by_kernel: Sequence[bool], fill: str
) -> tuple[Value, list[Dim]]:
    """The input with the padding that the kernel does not do itself, and the dimensions that the windows slide over."""
    x, (source,) = f.value(step.ins[0]), step.ins
    places: list[Dim] = []
    amounts: dict[Dim, tuple[int, int]] = {}
    for window, kernel_pads in zip(windows, by_kernel, strict=True):
        mine = of(f, source, [window.axis])
        places += mine
        amounts |= {dim: (0, 0) if kernel_pads else window.pads() for dim in mine}
        size = f.type(source)[window.axis].size
        if window.padding == "same" and window.stride > 1 and not size.is_Integer:
            for dim in mine:
                f.line(f"check_stride({f.extent(dim, x)}, {window.stride}, {window.axis!r})")
    if any(amount != (0, 0) for amount in amounts.values()):
        listed = [amounts.get(dim, (0, 0)) for dim in reversed(x.dims)]
        while listed[-1] == (0, 0):
            listed.pop()
        numbers = ", ".join(f"{before}, {after}" for before, after in listed)
        value = "" if fill == "0" else ", value=-inf"
        x = f.let("padded", f"F.pad({x.text}, ({numbers}){value})", x.dims, batched=x.batched)
    return x, places


@emit.register
def _(op: ops.Window, f: Forward, step: Step) -> None:
    x, places = _padded(f, step, (op,), (False,), op.fill)
    order, code = list(x.dims), x.text
    for dim in places:
        code += f".unfold({order.index(dim) - len(order)}, {op.dilation * (op.size - 1) + 1}, {op.stride})"
        code += f"[..., ::{op.dilation}]" if op.dilation > 1 else ""
        order.append((op.name, dim[1]))
    f.assign(step, code, order, batched=x.batched)


@emit.register
def _(op: Pool, f: Forward, step: Step) -> None:
    fill = op.windows[0].fill
    symmetric = all(
        w.pads()[0] == w.pads()[1] <= w.size // 2
        and (w.fill == ("-inf" if op.how == "max" else "0") or not any(w.pads()))
        for w in op.windows
    )
    x, places = _padded(f, step, op.windows, [symmetric] * len(op.windows), fill)
    text, rest = f.trailing(x, places)
    each = [w for w in op.windows for _ in of(f, step.ins[0], [w.axis])]
    arguments = [
        [w.size for w in each],
        [w.stride for w in each],
        [w.pads()[0] if symmetric else 0 for w in each],
    ]
    if op.how == "max":
        arguments.append([w.dilation for w in each])
    listed = ", ".join(str(a[0]) if len(set(a)) == 1 else str(tuple(a)) for a in arguments)
    kernel = f"{'torch' if op.how == 'max' else 'F'}.{op}"
    code = f"spatial({kernel}, {text}, {len(places)}, {listed})"
    f.assign(step, code, [*rest, *places], batched=x.batched)


# -- the shape of things ------------------------------------------------------------------------------------------


@emit.register
def _(op: ops.Merge, f: Forward, step: Step) -> None:
    x, (source,), (target,) = only(f, step), step.ins, step.outs
    spec = parse_spec(op.spec)
    (new,) = of(f, target, spec.outs[0])[:1]
    rank = f.type(target)[new[0]].rank
    groups = [[(t.name, i) for t in spec.ins[0]] for i in range(rank)]
    members = {dim for group in groups for dim in group}
    order: list[Dim] = []
    for dim in x.dims:
        if dim not in members:
            order.append(dim)
        elif dim not in order:
            order += next(group for group in groups if dim in group)
    code = f.arrange(x, order)
    for i, group in enumerate(groups):
        first = order.index(group[0])
        code = f.flatten(code, len(group), behind=len(order) - first - len(group))
        order[first : first + len(group)] = [(new[0], i)]
    f.assign(step, code, order, batched=x.batched)


@emit.register
def _(op: ops.Split, f: Forward, step: Step) -> None:
    x, (target,) = only(f, step), step.outs
    spec = parse_spec(op.spec)
    ((old,),), (new,) = spec.ins, spec.outs
    array = f.type(target)
    order, code = list(x.dims), x.text
    open_sizes = [t.name for t in new if not array[t.name].size.is_Integer]
    for dim in [d for d in x.dims if d[0] == old.name]:
        parts = [(token.name, dim[1]) for token in new]
        place = order.index(dim)
        numbers = ["-1" if [name] == open_sizes else f.size(array[name].size) for name, _ in parts]
        code = f.unflatten(code, place - len(order), numbers)
        order[place : place + 1] = parts
    f.assign(step, code, order, batched=x.batched)


@emit.register
def _(op: ops.Concat, f: Forward, step: Step) -> None:
    values = [f.value(wire) for wire in step.ins]
    order = values[0].dims
    texts = ", ".join(f.arrange(value, order) for value in values)
    places = [i - len(order) for i, dim in enumerate(order) if dim[0] == op.axis]
    if len(places) > 1:
        raise DiagramError(
            f"{op} at {f.prefix}{step.node.id}: arrays are joined along an axis of rank 1 only"
        )
    function = "torch.cat" if len({value.batched for value in values}) == 1 else "join"
    code = f"{function}(({texts},), {places[0]})"
    f.assign(step, code, order, batched=any(value.batched for value in values))


@emit.register
def _(op: ops.Slice, f: Forward, step: Step) -> None:
    x, code = only(f, step), ""
    order = list(x.dims)
    code = x.text
    for dim in [d for d in x.dims if d[0] == op.axis]:
        place = order.index(dim) - len(order)
        if op.drop:
            code += f".select({place}, {op.start})"
            order.remove(dim)
            continue
        whole = f.extent(dim, x)
        start = str(op.start) if op.start >= 0 else f"{whole} - {-op.start}"
        stop = whole if op.stop is None else str(op.stop) if op.stop >= 0 else f"{whole} - {-op.stop}"
        length = str(op.stop - op.start) if op.stop is not None and (op.start >= 0) == (op.stop >= 0) else ""
        if op.start < 0 and op.stop is None:
            length = str(-op.start)
        code += f".narrow({place}, {start}, {length or (stop if op.start == 0 else f'{stop} - ({start})')})"
    f.assign(step, code, order, batched=x.batched)


@emit.register
def _(op: ops.Rename, f: Forward, step: Step) -> None:
    x, spec = only(f, step), parse_spec(op.spec)
    table = {old.name: new.name for old, new in zip(spec.ins[0], spec.outs[0], strict=True)}
    f.values[step.outs[0]] = Value(x.text, tuple((table.get(name, name), i) for name, i in x.dims), x.batched)


@emit.register
def _(op: ops.Transpose, f: Forward, step: Step) -> None:
    f.values[step.outs[0]] = only(f, step)  # the order of a type is no concern of the tensor


# -- parts --------------------------------------------------------------------------------------------------------


@emit.register
def _(op: Block, f: Forward, step: Step) -> None:
    arguments = ", ".join(f.conformed(wire) for wire in step.ins)
    names = [f.variable(step, number) for number in range(len(step.outs))]
    code = f"{', '.join(names)} = {f.module(step)}({arguments})"
    f.line(code, ", ".join(shape_of(f, wire) for wire in step.outs))
    _keep(f, step, names)


@emit.register
def _(op: Repeat, f: Forward, step: Step) -> None:
    names = [f.variable(step, number) for number in range(len(step.outs))]
    both = ", ".join(names)
    f.line(
        f"{both} = {', '.join(f.conformed(wire) for wire in step.ins)}",
        ", ".join(shape_of(f, wire) for wire in step.outs),
    )
    if op.tied:
        f.line(f"for _ in range({int(op.n)}):")
        f.line(f"    {both} = {f.module(step)}({both})")
    else:
        f.line(f"for layer in {f.module(step)}:")
        f.line(f"    {both} = layer({both})")
    _keep(f, step, names)


def shape_of(f: Forward, wire: int) -> str:
    return shape(dims(f.type(wire)))


def _keep(f: Forward, step: Step, names: Sequence[str]) -> None:
    for wire, name in zip(step.outs, names, strict=True):
        f.values[wire] = Value(name, dims(f.type(wire)))
