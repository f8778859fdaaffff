"""Linear maps, embeddings and positions."""

from __future__ import annotations

from nbkit.build.emit.base import emit, of, only, sizes
from nbkit.build.forward import Forward, dims
from nbkit.build.plan import Step
from nbkit.language import ops
from nbkit.language.axes import parse_spec


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
    if held.module == "ConvTranspose":  # the window behind the channels, as the weight has them
        window = of(f, target, [fold.name for fold in held.folds])
        produced = [*(d for d in produced if d not in window), *window]
    bias = f"{module}.bias" if op.bias else "None"
    if per:
        text = f.flatten(text, len(per), behind=1)
        if held.module == "ConvTranspose":
            groups = f.size(held.groups)
            weight = f"torch.unflatten({module}.weight, 0, ({groups}, -1)).flatten(2).transpose(1, 2)"
            code = f"grouped({text}, {weight}, None)"
        elif held.module == "Conv":
            code = f"grouped({text}, {module}.weight, {bias})"
        else:
            code = f"{module}({text})"
    elif held.module == "ConvTranspose":
        code = f"{text} @ {module}.weight.flatten(1)"
    elif held.module == "Conv":
        code = f"F.linear({text}, {module}.weight.flatten(1), {bias})"
    else:
        code = f"{module}({text})"
    code = f.unflatten(code, -1, sizes(f, target, produced))
    if len(per) > 1:
        code = f.unflatten(code, -1 - len(produced), sizes(f, source, per))
    f.assign(step, code, [*rest, *per, *produced], batched=x.batched)


@emit.register
def _(op: ops.Embed, f: Forward, step: Step) -> None:
    x, (target,) = only(f, step), step.outs
    produced = of(f, target, parse_spec(op.spec).outs[0])
    code = f.unflatten(f"{f.module(step)}({x.text})", -1, sizes(f, target, produced))
    f.assign(step, code, [*x.dims, *produced], batched=x.batched)


@emit.register
def _(_op: ops.Positions, f: Forward, step: Step) -> None:
    (target,) = step.outs
    order = dims(f.type(target))
    code = f"{f.module(step)}()"
    if len(order) != 2 or len(f.weights[step.node.id].rows) != 1:
        code += f".view({', '.join(sizes(f, target, order)) or '()'})"
    f.assign(step, code, order, batched=False)
