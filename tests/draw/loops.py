"""An interpreter of index notation: every element of every array by itself, with loops, in float64.

It reads the lines of `equations(d).lines` and knows nothing of ops: a formula is computed as it is written.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from itertools import product
from typing import TYPE_CHECKING, Any

import numpy as np

from nbkit import Diagram
from nbkit.draw.notation.lines import Equation, Group, Line, Loop
from nbkit.draw.notation.terms import (
    Affine,
    Below,
    Bracket,
    Call,
    Cases,
    Condition,
    Deviation,
    Equal,
    Fixed,
    Index,
    Lookup,
    Normal,
    Number,
    Over,
    Pair,
    Place,
    Plus,
    Position,
    Ref,
    Relation,
    Softmax,
    Step,
    Term,
    Times,
    Top,
    Weight,
    Wire,
)
from nbkit.language import ops
from nbkit.language.axes import Axis

if TYPE_CHECKING:
    import torch

Environment = dict[Index, tuple[int, ...]]


def exp(x: float) -> float:
    return math.exp(x) if x < 700 else math.inf


def sigmoid(x: float) -> float:
    return (1 + math.tanh(x / 2)) / 2


def softplus(x: float) -> float:
    return max(x, 0.0) + math.log1p(math.exp(-abs(x)))


def logsumexp(values: list[float]) -> float:
    return max(values) + math.log(sum(math.exp(v - max(values)) for v in values))


FUNCTIONS = {
    "relu": lambda x: max(x, 0.0),
    "gelu": lambda x: x * (1 + math.erf(x / math.sqrt(2))) / 2,
    "gelu_tanh": lambda x: x * (1 + math.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x * x * x))) / 2,
    "tanh": math.tanh,
    "sigmoid": sigmoid,
    "silu": lambda x: x * sigmoid(x),
    "square": lambda x: x * x,
    "exp": exp,
    "abs": abs,
    "neg": lambda x: -x,
    "sin": math.sin,
    "cos": math.cos,
    "log": math.log,
    "log1p": math.log1p,
    "sqrt": math.sqrt,
    "rsqrt": lambda x: 1 / math.sqrt(x) if x else math.inf,
    "reciprocal": lambda x: 1 / x if x else math.inf,
    "softplus": softplus,
    "elu": lambda x: x if x > 0 else math.exp(x) - 1,
    "leaky_relu": lambda x: x if x > 0 else 0.01 * x,
    "relu6": lambda x: min(max(x, 0.0), 6.0),
    "hardswish": lambda x: x * min(max(x + 3, 0.0), 6.0) / 6,
    "mish": lambda x: x * math.tanh(softplus(x)),
    "erf": math.erf,
    "sign": lambda x: (x > 0) - (x < 0),
    "sg": lambda x: x,
    "dropout": lambda x: x,  # in evaluation
    "trunc": math.trunc,
    "sigmoid'": lambda y: y * (1 - y),
    "gelu'": lambda x: (1 + math.erf(x / math.sqrt(2))) / 2 + x * exp(-x * x / 2) / math.sqrt(2 * math.pi),
    "relu'": lambda y: float(y > 0),  # of relu, tanh and sigmoid in terms of the result
    "tanh'": lambda y: 1 - y * y,
    "square'": lambda x: 2 * x,
}


def sizes(axis: Axis) -> tuple[int, ...]:
    return (int(axis.size),) * axis.rank


def positions(*indices: Index) -> Iterator[Environment]:
    """All values of some indices."""
    ranges = [product(*map(range, sizes(i.axis))) for i in indices]
    for values in product(*map(list, ranges)):
        yield dict(zip(indices, values, strict=True))


class Interpreter:
    def __init__(self, diagram: Diagram, net: torch.nn.Module, inputs: list[np.ndarray]) -> None:
        self.net = net
        self.arrays: dict[tuple[Any, int | None], np.ndarray] = {
            (Wire("", w), None): array for w, array in zip(diagram.ins, inputs, strict=True)
        }
        self.windows = [node.op.name for _, node in diagram.walk() if isinstance(node.op, ops.Window)]
        self.folds = [node.op.name for _, node in diagram.walk() if isinstance(node.op, ops.Fold)]
        self.weights: dict[tuple[str, str], np.ndarray] = {}

    def run(self, lines: tuple[Line, ...], env: Environment, copies: tuple[int, ...] = ()) -> None:
        for line in lines:
            match line:
                case Group():
                    self.run(line.lines, env, copies)
                case Loop():
                    values = range(line.first, line.first + int(line.count.axis.size))
                    for value in reversed(values) if line.backwards else values:
                        own = (*copies, value - 1) if line.own else copies
                        self.run(line.lines, {**env, line.count: (value,)}, own)
                case Equation():
                    self.define(line, env, copies)

    def define(self, line: Equation, env: Environment, copies: tuple[int, ...]) -> None:
        """Computes all elements of the array on the left."""
        left = line.left
        fixed = set(env)
        free = [i for place in left.places for i in indices(place) if i not in fixed]
        shape: list[int] = []
        for place in left.places:
            parts = [sizes(i.axis) for i in indices(place)]
            shape += [math.prod(numbers) for numbers in zip(*parts, strict=True)]
        key = (left.symbol.source, self.step(left.step, env))
        array = self.arrays.get(key)
        if array is None or not any(i in fixed for p in left.places for i in indices(p)):
            array = self.arrays[key] = np.full(shape, np.nan)
        assert list(array.shape) == shape
        for values in positions(*dict.fromkeys(free)):
            inside = {**env, **values}
            at = tuple(n for place in left.places for n in self.place(place, inside, copies))
            array[at] = self.value(line.right, inside, copies)

    def step(self, step: Step | None, env: Environment) -> int | None:
        if step is None:
            return None
        return int(step.offset) + (env[step.count][0] if step.count else 0)

    # -- places ----------------------------------------------------------------------------------------------

    def place(self, place: Place, env: Environment, copies: tuple[int, ...]) -> tuple[int, ...]:
        match place:
            case Index():
                return env[place]
            case Affine(terms, offset):
                return tuple(
                    sum(f * n for (f, _), n in zip(terms, numbers, strict=True)) + int(offset)
                    for numbers in zip(*(env[i] for _, i in terms), strict=True)
                )
            case Pair(parts):
                result = [0] * parts[0].axis.rank
                for i in parts:
                    result = [r * n + v for r, n, v in zip(result, sizes(i.axis), env[i], strict=True)]
                return tuple(result)
            case Fixed(position, rank):
                return (int(position),) * rank
            case Lookup(ref):
                return (int(self.value(ref, env, copies)),)
        raise AssertionError(place)

    def holds(self, condition: Condition, env: Environment, copies: tuple[int, ...]) -> bool:
        match condition:
            case Equal(left, right):
                return self.place(left, env, copies) == self.place(right, env, copies)
            case Below(left, bound):
                return self.place(left, env, copies) < (int(bound),)
            case Relation(text, named):
                names = {i.axis.name: env[i][0] for i in named}
                return bool(eval(text, {"abs": abs}, names))  # noqa: S307  # a text of this test's own
        raise AssertionError(condition)

    # -- terms -----------------------------------------------------------------------------------------------

    def value(self, term: Term, env: Environment, copies: tuple[int, ...]) -> float:
        def of(part: Term, more: Mapping[Index, tuple[int, ...]] | None = None) -> float:
            return self.value(part, {**env, **(more or {})}, copies)

        match term:
            case Ref():
                return self.element(term, env, copies)
            case Number(value):
                return float(value)
            case Plus(parts):
                return sum(of(part) for part in parts)
            case Times(parts):
                return math.prod(of(part) for part in parts)
            case Over(how, over, body, where):
                values = [
                    of(body, at)
                    for at in positions(*over)
                    if where is None or self.holds(where, {**env, **at}, copies)
                ]
                return REDUCTIONS[how](values) if values else 0.0
            case Softmax(over, body):
                return math.exp(of(body) - logsumexp([of(body, at) for at in positions(*over)]))
            case Normal(how, over, body, eps) | Deviation(how, over, body, eps):
                values = [of(body, at) for at in positions(*over)]
                mean = sum(values) / len(values) if how == "layer" else 0.0
                spread = math.sqrt(sum((v - mean) ** 2 for v in values) / len(values) + eps)
                return spread if isinstance(term, Deviation) else (of(body) - mean) / spread
            case Call(function, body):
                return FUNCTIONS[function](of(body))
            case Cases(cases, otherwise):
                found = [part for part, when in cases if self.holds(when, env, copies)]
                return of([*found, otherwise][0])
            case Bracket(condition):
                return float(self.holds(condition, env, copies))
            case Position(place):
                return float(env[place][0])
            case Top(index, rank, body, where):
                values = [(-of(body, at), at[index][0]) for at in positions(index)]
                negative, found = sorted(values)[env[rank][0]]
                return float(found) if where else -negative
        raise AssertionError(term)

    def element(self, ref: Ref, env: Environment, copies: tuple[int, ...]) -> float:
        at = tuple(n for place in ref.places for n in self.place(place, env, copies))
        source = ref.symbol.source
        if isinstance(source, Weight):
            array = self.weight(source, copies)
        else:
            array = self.arrays[source, self.step(ref.step, env)]
        if ref.outside and not all(0 <= n < size for n, size in zip(at, array.shape, strict=True)):
            return float(ref.outside)
        assert all(n >= 0 for n in at), (ref, at)
        value = float(array[at])
        assert not math.isnan(value), ref
        return value

    def weight(self, weight: Weight, copies: tuple[int, ...]) -> np.ndarray:
        """A parameter of the module, with the dimensions of its rows and columns in order."""
        path = weight.path
        for copy in copies:
            path = path.replace("*", "0" if weight.key else str(copy), 1)
        path = path.replace("*", "0")
        if (path, weight.name) not in self.weights:
            node = self.net.get_submodule(path)
            array = getattr(node, weight.name).detach().numpy()
            rows, cols = list(enumerate(weight.rows)), list(enumerate(weight.cols, len(weight.rows)))
            kernel = [axis for axis in cols if axis[1].name in self.windows]
            kernel.sort(key=lambda axis: self.windows.index(axis[1].name))
            stored = [*rows, *(axis for axis in cols if axis not in kernel), *kernel]
            folded = [axis for axis in rows if axis[1].name in self.folds]
            if folded and array.ndim > 2:  # a transposed convolution
                stored = [*cols, *(axis for axis in rows if axis not in folded), *folded]
            array = array.reshape([n for _, axis in stored for n in sizes(axis)])
            first, spots = 0, {}
            for number, axis in stored:
                spots[number] = list(range(first, first + axis.rank))
                first += axis.rank
            order = [d for number, _ in (*rows, *cols) for d in spots[number]]
            self.weights[path, weight.name] = array.transpose(order)
        return self.weights[path, weight.name]


def indices(place: Place) -> tuple[Index, ...]:
    return (place,) if isinstance(place, Index) else place.parts if isinstance(place, Pair) else ()


REDUCTIONS = {
    "sum": sum,
    "mean": lambda values: sum(values) / len(values),
    "max": max,
    "min": min,
    "prod": math.prod,
    "logsumexp": logsumexp,
}
