"""Scaled dot-product attention, the fused kernel."""

from __future__ import annotations

from nbkit.build.emit.base import emit, of
from nbkit.build.emit.masks import canonical, mask_call
from nbkit.build.forward import Forward
from nbkit.build.plan import Attention, Step
from nbkit.language import relations
from nbkit.language.sizes import parse_size


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
    same = f.causal(f.type(query)[op.query].size, f.type(key)[op.keys[0]].size)
    plain = {canonical(r, {op.query: "y", op.keys[0]: "x"}) for r in op.relations}
    if plain and plain <= causal and same:
        arguments.append("is_causal=True")
    elif op.relations:
        spoken = {name for relation in op.relations for name in relations.names(relation)}
        mask = mask_call(
            "allowed", f, op.relations, [d for d in (*woven, *y, *x) if d[0] in spoken], (q, k, v), op.keys
        )
        aligned = f.aligned(mask, [*woven, *y, *x])
        arguments.append(f"attn_mask={aligned}{'.unsqueeze(-2)' if mask.dims == (*x,) else ''}")
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
