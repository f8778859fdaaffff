"""Floating-point operations of one application of an op: 2 per multiply–add, as torch's counter does.

Linear maps, convolutions and contractions count. Elementwise functions, sums, norms, softmaxes and look-ups
do not (nor does torch count a contraction over a single element, which we do).
"""

from __future__ import annotations

from functools import singledispatch

from sympy import Expr, Integer

from nbkit.build.einsums import contractions
from nbkit.build.weights import numel, product
from nbkit.language import ops
from nbkit.language.axes import Axis, parse_spec
from nbkit.language.diagram import Diagram, Node


@singledispatch
def flops(_op: ops.Op, _diagram: Diagram, _node: Node) -> Expr:
    """FLOPs of one application of an op; 0 for all but linear maps and contractions."""
    return Integer(0)


@flops.register
def _(op: ops.Linear, diagram: Diagram, node: Node) -> Expr:
    array, out = diagram.wires[node.ins[0]].type, diagram.wires[node.outs[0]].type
    return 2 * out.numel * numel(array[t.name] for t in parse_spec(op.spec).ins[0])


@flops.register
def _(_op: ops.Einsum, diagram: Diagram, node: Node) -> Expr:
    axes: dict[str, Axis] = {a.name: a for w in node.ins for a in diagram.wires[w].type}
    operands = [diagram.wires[w].type.names for w in node.ins]
    steps = contractions(operands, diagram.wires[node.outs[0]].type.names)
    return sum(
        (2 * product(axes[name].numel for name in step.axes) for step in steps if step.contracted), Integer(0)
    )
