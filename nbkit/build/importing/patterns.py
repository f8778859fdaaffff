"""Phrases of several calls that mean one thing: GELU written out in tanh, RMS norm written out in powers and
means.

They are found in the graph before it is read. Only calls that nothing else reads are taken into a phrase.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor, fx

from nbkit.build.importing.reader import Reader
from nbkit.build.importing.rules.norms import normed


@dataclass(frozen=True)
class Phrase:
    """The calls of one phrase, the last first, and what is done instead."""

    nodes: tuple[fx.Node, ...]
    read: Callable[[Reader], Any] = field(compare=False)


def recognise(graph: fx.Graph) -> dict[fx.Node, Phrase]:
    """The phrases of a graph, by their last call; longer ones come first."""
    found: dict[fx.Node, Phrase] = {}
    taken: set[fx.Node] = set()
    for node in reversed(graph.nodes):
        for look in (_scaled_rms, _plain_rms, _gelu):
            phrase = look(node) if node not in taken else None
            if phrase is not None and not taken & set(phrase.nodes) and _closed(phrase):
                found[node] = phrase
                taken |= set(phrase.nodes)
    return found


def _closed(phrase: Phrase) -> bool:
    """Nothing outside reads what the phrase computes on the way."""
    inside = set(phrase.nodes)
    return all(
        user in inside or _name(user) == "_assert_tensor_metadata"
        for node in phrase.nodes[1:]
        for user in node.users
    )


def _name(node: object) -> str:
    schema = getattr(getattr(node, "target", None), "_schema", None)
    return str(schema.name).removeprefix("aten::") if schema is not None else ""


def _call(x: object, *names: str) -> fx.Node | None:
    return x if isinstance(x, fx.Node) and _name(x) in names else None


def _either(node: fx.Node, first: Callable[[object], bool]) -> tuple[Any, Any] | None:
    """The two operands of a commutative call, the one that fits first; None if neither does."""
    a, b = node.args[:2]
    if first(a):
        return a, b
    return (b, a) if first(b) else None


def _number(x: object) -> float | None:
    return float(x) if isinstance(x, int | float) and not isinstance(x, bool) else None


def _through_casts(x: Any, nodes: list[fx.Node]) -> Any:
    """What a cast to the same type casts."""
    while (node := _call(x, "to", "type_as")) is not None:
        nodes.append(node)
        x = node.args[0]
    return x


# -- root mean square --------------------------------------------------------------------------------------


def _rms(node: object) -> tuple[list[fx.Node], fx.Node, float] | None:
    """X · rsqrt(mean(x², last) + eps): its calls, x and eps."""
    product = _call(node, "mul")
    if product is None:
        return None
    operands = _either(product, lambda x: _call(x, "rsqrt") is not None)
    if operands is None:
        return None
    root, x = operands
    total = _call(root.args[0], "add")
    if total is None or (eps := _number(total.args[1])) is None:
        return None
    mean = _call(total.args[0], "mean")
    if mean is None or tuple(_leaves(mean.args[1])) != (-1,) or mean.args[2:3] != (True,):
        return None
    power = _call(mean.args[0], "pow")
    if power is None or power.args != (x, 2):
        return None
    return [product, root, total, mean, power], x, eps


def _leaves(x: object) -> list[object]:
    return list(x) if isinstance(x, list | tuple) else [x]


def _plain_rms(node: fx.Node) -> Phrase | None:
    match = _rms(node)
    if match is None:
        return None
    nodes, x, eps = match

    def read(r: Reader) -> Any:
        value = r.value(r.env[x])
        return normed(r, value, value.dims[-1], "rms", eps, None, None)

    return Phrase(tuple(nodes), read)


def _scaled_rms(node: fx.Node) -> Phrase | None:
    """The same times a weight over the last dimension."""
    if _call(node, "mul") is None:
        return None
    for weight, other in (node.args[:2], node.args[1::-1]):
        if not (isinstance(weight, fx.Node) and weight.op == "placeholder" and _rank(weight) == 1):
            continue
        casts: list[fx.Node] = []
        match = _rms(_through_casts(other, casts))
        if match is None:
            continue
        nodes, x, eps = match

        def read(r: Reader, weight: fx.Node = weight, x: fx.Node = x, eps: float = eps) -> Any:
            value = r.value(r.env[x])
            return normed(r, value, value.dims[-1], "rms", eps, r.env[weight], None)

        return Phrase((node, *casts, *nodes), read)
    return None


def _rank(node: fx.Node) -> int:
    val = node.meta.get("val")
    return val.dim() if isinstance(val, Tensor) else -1


# -- GELU --------------------------------------------------------------------------------------------------


def _gelu(node: fx.Node) -> Phrase | None:
    """½ x (1 + tanh(√(2/π) (x + 0.044715 x³)))."""
    if _call(node, "mul") is None:
        return None
    sides = _either(node, lambda x: _half(x) is not None)
    if sides is None:
        return None
    half, one = sides
    x = _half(half)
    if x is None:
        return None
    plus = _call(one, "add")
    if plus is None or 1.0 not in [_number(a) for a in plus.args]:
        return None
    tanh = next((_call(a, "tanh") for a in plus.args if _call(a, "tanh")), None)
    scaled = _call(tanh.args[0], "mul") if tanh is not None else None
    if scaled is None or not _near(scaled.args[1], math.sqrt(2 / math.pi)):
        return None
    total = _call(scaled.args[0], "add")
    cubic = _call(total.args[1], "mul") if total is not None else None
    power = _call(cubic.args[0], "pow") if cubic is not None else None
    if total is None or cubic is None or power is None or tanh is None:
        return None
    if total.args[0] is not x or power.args != (x, 3.0) or not _near(cubic.args[1], 0.044715):
        return None

    inner: fx.Node = x

    def read(r: Reader) -> Any:
        return r.like("elementwise", r.value(r.env[inner]), function="gelu_tanh")

    return Phrase((node, half, plus, tanh, scaled, total, cubic, power), read)


def _half(x: object) -> fx.Node | None:
    node = _call(x, "mul")
    if node is None or not _near(node.args[1], 0.5):
        return None
    inner = node.args[0]
    return inner if isinstance(inner, fx.Node) else None


def _near(x: object, wanted: float) -> bool:
    number = _number(x)
    return number is not None and math.isclose(number, wanted, rel_tol=1e-6)
