"""Weights across a rewrite: from the state dict of the diagram before to that of the diagram after.

Parameters are looked up by the path of their node, whatever torch module holds them. Where an op is kept, its
tensors are passed on as they are; where the module that holds them is another (a linear map that has become a
convolution), they are reshaped; where a rule says how a parameter is made of old ones, that sum of products
is computed. What is computed keeps its gradients, if the old tensors have any.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from nbkit.build.names import attributes
from nbkit.build.weights import Weights, sizes_needed, weights
from nbkit.language import ops
from nbkit.language.axes import Axis, parse_spec
from nbkit.language.diagram import Diagram, Node
from nbkit.language.errors import BindingError, DiagramError
from nbkit.language.parts import Repeat, Scan, Stages
from nbkit.language.sizes import parse_size, substitute, symbol

if TYPE_CHECKING:
    from nbkit.language.rewrite import Rewriting
    from nbkit.language.rewrite.formulas import Formula

_LETTERS = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"


@dataclass(frozen=True)
class Leaf:
    """Something learned: where torch keeps it, how, and the axes of its weight as formulas list them."""

    path: str
    prefix: str
    held: Weights
    per: tuple[Axis, ...]
    outs: tuple[Axis, ...]
    ins: tuple[Axis, ...]

    def axes(self, parameter: str) -> tuple[Axis, ...]:
        """The axes of a parameter in the order of formulas."""
        return (*self.per, *self.outs, *(self.ins if parameter == "weight" else ()))

    def shape(self, parameter: str) -> list[int]:
        """The parameter's shape with one dimension for each image dimension of each axis."""
        return [int(axis.size) for axis in self.axes(parameter) for _ in range(axis.rank)]

    def read(self, state: Mapping[str, Tensor], parameter: str) -> Tensor:
        """The parameter with its axes in the order of formulas."""
        key = f"{self.prefix}.{parameter}"
        if key not in state:
            raise DiagramError(f"the state dict has no '{key}'; give that of the diagram before the rewrite")
        tensor = state[key]
        kept = [int(size) for size in self.held.shapes[parameter]]
        if list(tensor.shape) != kept:
            raise DiagramError(
                f"{self.prefix}.{parameter} has shape {tuple(tensor.shape)}, "
                f"but what {self.path} learns has {tuple(kept)}"
                "\n  give the state dict of the diagram before, and the sizes that its module was built for"
            )
        order = self._order(parameter)
        shape = self.shape(parameter)
        stored = tensor.reshape([shape[i] for i in order])
        return stored.permute([order.index(i) for i in range(len(order))])

    def write(self, tensor: Tensor, parameter: str) -> Tensor:
        """The tensor as torch's module keeps it; the inverse of `read`."""
        shape = [int(size) for size in self.held.shapes[parameter]]
        return tensor.permute(self._order(parameter)).reshape(shape).contiguous()

    def _order(self, parameter: str) -> list[int]:
        """The places, in the order of formulas, of the dimensions as torch keeps them."""
        sides = [[a.name for a in side for _ in range(a.rank)] for side in (self.per, self.outs, self.ins)]
        per, outs, ins = ([(side, i) for i in range(len(names))] for side, names in enumerate(sides))
        if parameter != "weight":
            ins = []
        if parameter == "weight" and self.held.module == "Conv":
            ins = _last(ins, sides[2], [window.name for window in self.held.windows])
        if parameter == "weight" and self.held.module == "ConvTranspose":
            outs, ins = ins, _last(outs, sides[1], [fold.name for fold in self.held.folds])
        first = [0, len(sides[0]), len(sides[0]) + len(sides[1])]
        return [first[side] + i for side, i in (*per, *outs, *ins)]


def _last(places: list[tuple[int, int]], names: list[str], slid: list[str]) -> list[tuple[int, int]]:
    """The places with those of windows at the end."""
    ends = [place for name in slid for place in places if names[place[1]] == name]
    return [*(place for place in places if place not in ends), *ends]


def carry(rewriting: Rewriting, state: Mapping[str, Tensor], **sizes: int) -> dict[str, Tensor]:
    """The state dict after a rewrite; see `Rewriting.weights`."""
    before = rewriting.before.at(**sizes)
    open_ = rewriting.after.free()  # some sizes are not needed any more
    after = rewriting.after.at(**{name: size for name, size in sizes.items() if name in open_})
    if needed := sizes_needed(before) | sizes_needed(after):
        missing = ", ".join(sorted(needed))
        raise BindingError(
            f"{missing} {'is' if len(needed) == 1 else 'are'} unbound; "
            f"say which sizes the module was built for: weights(state, {min(needed)}=…)"
        )
    old, new = dict(leaves(before)), dict(leaves(after))
    known = {f"{leaf.prefix}." for leaf in old.values()}
    result = {
        key: tensor for key, tensor in state.items() if not any(key.startswith(prefix) for prefix in known)
    }
    for path, leaf in new.items():
        formulas, source = _sources(rewriting, path)
        if formulas:
            for formula, inside in formulas:
                tensor = _made(formula, inside, old, leaf, state, sizes)
                result[f"{leaf.prefix}.{formula.parameter}"] = leaf.write(tensor, formula.parameter)
            continue
        if source not in old:
            raise DiagramError(f"{rewriting.rule} says not where the weights of {path} come from")
        result |= _kept(old[source], leaf, state)
    return result


def _kept(old: Leaf, new: Leaf, state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The tensors of an op that is kept, under their new names."""
    mine = {k[len(old.prefix) + 1 :]: t for k, t in state.items() if k.startswith(f"{old.prefix}.")}
    if old.held.module == new.held.module and old.held.shapes == new.held.shapes:
        return {f"{new.prefix}.{name}": tensor for name, tensor in mine.items()}
    return {f"{new.prefix}.{name}": new.write(old.read(state, name), name) for name in mine}


def _sources(rewriting: Rewriting, path: str) -> tuple[list[tuple[Formula, str]], str]:
    """How the weights at a path of the diagram after come to be: formulas (each with the scope that its paths
    lie in), or the path before.
    """
    for step in rewriting.steps:
        match = re.match(re.escape(step.path).replace(r"\*", r"(?:\d+|\*)"), path)
        if match is None:
            continue
        inside, rest = match[0], path[match.end() :]
        formulas = [formula for formula in step.formulas if formula.path == rest]
        if formulas:
            return [(formula, inside) for formula in formulas], ""
        heads = [head for head in step.moves if rest == head or rest.startswith(f"{head}.")]
        if heads:
            head = max(heads, key=len)
            return [], f"{inside}{step.moves[head]}{rest[len(head) :]}"
    return [], path


def _made(
    formula: Formula,
    inside: str,
    old: Mapping[str, Leaf],
    leaf: Leaf,
    state: Mapping[str, Tensor],
    sizes: Mapping[str, int],
) -> Tensor:
    """The sum of the formula's terms, with the axes of the new parameter."""
    ranks = [axis.rank for axis in leaf.axes(formula.parameter)]
    out = _dims(formula.indices, ranks)
    total: Tensor | None = None
    for term in formula.terms:
        operands, letters = [], dict[str, str]()
        texts = []
        for factor in term.factors:
            source = old[f"{inside}{factor.path}"]
            operands.append(source.read(state, factor.parameter))
            dims = _dims(factor.indices, [axis.rank for axis in source.axes(factor.parameter)])
            texts.append("".join(letters.setdefault(d, _LETTERS[len(letters)]) for d in dims))
        present = [d for d in out if d in letters]
        part = torch.einsum(f"{','.join(texts)}->{''.join(letters[d] for d in present)}", *operands)
        lacking = [i for i, d in enumerate(out) if d not in letters]
        for i in lacking:
            part = part.unsqueeze(i)
        part = part.expand(leaf.shape(formula.parameter)) * _number(term.scale, sizes)
        total = part if total is None else total + part
    if total is None:
        raise DiagramError(f"{formula} has no terms")
    return total


def _number(text: str, sizes: Mapping[str, int]) -> float:
    value = substitute(
        parse_size(text), lambda name: parse_size(str(sizes[name])) if name in sizes else symbol(name)
    )
    if not value.is_number:
        raise DiagramError(f"the weights depend on {text}; say which sizes the module was built for")
    return float(value)


def _dims(indices: tuple[str, ...], ranks: list[int]) -> list[str]:
    return [f"{index}#{i}" for index, rank in zip(indices, ranks, strict=True) for i in range(rank)]


# -- what is learned where ---------------------------------------------------------------------------------


def leaves(diagram: Diagram, path: str = "", prefix: str = "") -> Iterator[tuple[str, Leaf]]:
    """Everything learned, by path; copies with weights of their own each have a number in it, others `*`."""
    names = attributes(diagram)
    for node in diagram.nodes:
        here, module = f"{path}{node.id}", f"{prefix}{names[node.id]}"
        for number, body in _bodies(node.op):
            deeper = {"": (".", "."), "*": (".*.", ".")}.get(number, (f".{number}.", f".{number}."))
            yield from leaves(body, f"{here}{deeper[0]}", f"{module}{deeper[1]}")
        held = weights(diagram, node)
        if held is not None:
            yield here, _leaf(diagram, node, held, here, module)


def _leaf(diagram: Diagram, node: Node, held: Weights, path: str, prefix: str) -> Leaf:
    op = node.op
    if not isinstance(op, ops.Linear):
        return Leaf(path, prefix, held, (), (*held.rows, *held.cols), ())
    array, out = diagram.wires[node.ins[0]].type, diagram.wires[node.outs[0]].type
    spec = parse_spec(op.spec)
    return Leaf(
        path,
        prefix,
        held,
        tuple(array[name] for name in op.per.split()),
        tuple(out[token.name] for token in spec.outs[0]),
        tuple(array[token.name] for token in spec.ins[0]),
    )


def _bodies(op: ops.Op) -> list[tuple[str, Diagram]]:
    """The bodies of a part with what torch's path has between: nothing, a number for each copy, or `*`."""
    match op:
        case Repeat(body=body, n=n, tied=False):
            return [(str(i), body) for i in range(n)]
        case Repeat(body=body) | Scan(body=body):
            return [("*", body)]
        case Stages(bodies=bodies):
            return [(str(i), body) for i, body in enumerate(bodies)]
    return [("", body) for _, body in op.insides()]
