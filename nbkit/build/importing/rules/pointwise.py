"""Sums, products and scalar functions of every element; reductions over whole axes; masks and dropout."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from fractions import Fraction
from typing import Any

import torch
from sympy import Expr

from nbkit.build.importing.cells import Const, Unsuitable, Value, is_tensor
from nbkit.build.importing.reader import Reader, rule
from nbkit.language import ops

Number = int | float


def numeric(x: object) -> bool:
    """True for a Python number."""
    return isinstance(x, int | float) and not isinstance(x, bool)


def number_of(x: object) -> Number | None:
    """The number that an argument is: a Python number, or a constant that is the same everywhere."""
    if numeric(x):
        return x  # type: ignore[return-value]  # just checked
    if isinstance(x, Expr) and x.is_Integer:
        return int(x)
    if isinstance(x, Const) and x.tensor.numel() and x.tensor.dtype is not torch.bool and not x.depends:
        first = x.tensor.reshape(-1)[0]
        if bool((x.tensor == first).all()) and all(size == 1 for size in x.sizes):
            return float(first)
    return None


def exact(x: Number) -> str | None:
    """A factor as a size expression: `1/8`, `20**(-1/2)`; None if none within the grammar is this number."""
    if not math.isfinite(x):
        return None
    simple = Fraction(x).limit_denominator(10**6)
    if float(simple) == float(x):
        return str(simple) if simple.denominator == 1 else f"{simple.numerator}/{simple.denominator}"
    square = Fraction(x * x).limit_denominator(10**4)
    if square > 0 and math.isclose(math.sqrt(square), abs(x), rel_tol=1e-15):
        sign = "-" if x < 0 else ""
        if square.numerator == 1:
            return f"{sign}{square.denominator}**(-1/2)"
        return f"{sign}{square.numerator}**(1/2)*{square.denominator}**(-1/2)"
    whole = Fraction(x)
    return f"{whole.numerator}/{whole.denominator}" if whole.denominator < 2**200 else None


def joined(r: Reader, kind: str, tensors: Sequence[Any], **settings: Any) -> Value:
    """An n-ary pointwise operation, broadcast as torch does, matched by name."""
    near = next((t.wire for t in tensors if isinstance(t, Value)), None)
    values = [r.value(t, near) for t in tensors]
    if any(v.wire.bound is not None for v in values):
        raise Unsuitable("arithmetic on indices")
    rank = max(len(v.dims) for v in values)
    slots = [list(range(rank - len(v.dims), rank)) for v in values]
    values, found = r.align(values, slots, list(range(rank)))
    atoms = [a for d in range(rank) for a in found[d]]
    real = [a for a in atoms if any(v.wire.has(a) for v in values)]
    if not any(all(v.wire.has(a) for a in real) for v in values):
        largest = max(range(len(values)), key=lambda i: len(values[i].wire.atoms))
        lacking = [a for a in real if not values[largest].wire.has(a)]
        wire = r.spread(values[largest].wire, lacking)
        values[largest] = replace(values[largest], wire=wire)
    wire = r.cell(kind, [v.wire for v in values], real, **settings)
    return Value(wire, tuple(found[d] for d in range(rank)))


@rule("add", "sub", "rsub")
def added(r: Reader, x: Any, other: Any, alpha: Any = 1) -> Value:
    """A sum or difference; a constant of 0 and −∞ that is added is a mask."""
    name = r.called
    left, right = (other, x) if "rsub" in name else (x, other)
    sign = -1 if "sub" in name else 1
    if number_of(left) == 0 and sign == 1:
        return r.value(right)
    if number_of(right) == 0:
        return r.value(left)
    factor = sign * alpha
    if isinstance(right, Const) and factor == 1:
        from nbkit.build.importing.rules.masking import masked

        if (mask := masked(r, left, right)) is not None:
            return mask
    if number_of(right) is not None:
        right, factor = _literal(r, left, number_of(right) * factor), 1
    if number_of(left) is not None:
        left = _literal(r, right, number_of(left))  # type: ignore[arg-type]
    if factor == -1:
        right = r.like("elementwise", r.value(right, _near(left)), function="neg")
    elif factor != 1:
        right = scaled(r, r.value(right, _near(left)), factor)
    return joined(r, "add", [left, right])


def _near(x: Any) -> Any:
    return x.wire if isinstance(x, Value) else None


def _literal(r: Reader, beside: Any, x: Number) -> Value:
    return Value(r.cell("constant", [r.anchor(_near(beside))], [], value=float(x)), ())


def scaled(r: Reader, value: Value, factor: Number | str) -> Value:
    """A value times a number."""
    text = factor if isinstance(factor, str) else exact(factor)
    if text is None:
        raise Unsuitable(f"the factor {factor}")
    if text == "1":
        return value
    if value.wire.bound is not None:
        raise Unsuitable("arithmetic on indices")
    return (
        r.like("elementwise", value, function="neg") if text == "-1" else r.like("scale", value, factor=text)
    )


@rule("mul", "multiply")
def _mul(r: Reader, x: Any, other: Any) -> Value:
    for left, right in ((x, other), (other, x)):
        if (factor := number_of(right)) is not None:
            return scaled(r, r.value(left), factor)
    if x is other:
        return _function(r, x, "square")
    return joined(r, "multiply", [x, other])


@rule("div", "true_divide", "divide")
def _div(r: Reader, x: Any, other: Any, rounding_mode: str | None = None) -> Value:
    if rounding_mode is not None:
        raise Unsuitable("division with rounding")
    if (factor := number_of(other)) is not None and factor != 0:
        simple = exact(factor)
        return scaled(r, r.value(x), f"1/({simple})" if simple is not None else 1 / factor)
    if (top := number_of(x)) is not None:
        return scaled(r, _function(r, other, "reciprocal"), top)
    return joined(r, "multiply", [x, _function(r, r.value(other, _near(x)), "reciprocal")])


FUNCTIONS = {
    name: name
    for name in ("relu", "tanh", "sigmoid", "silu", "exp", "abs", "neg", "sin", "cos", "log", "sqrt",
                 "reciprocal", "softplus", "elu", "leaky_relu", "sign", "log1p", "relu6", "hardswish", "erf",
                 "mish", "rsqrt", "square")
}  # fmt: skip
_DEFAULTS: dict[str, dict[str, Any]] = {
    "softplus": {"beta": 1, "threshold": 20},
    "elu": {"alpha": 1, "scale": 1, "input_scale": 1},
    "leaky_relu": {"negative_slope": 0.01},
}


def _function(r: Reader, x: Any, function: str) -> Value:
    if function not in ops.FUNCTIONS:
        raise Unsuitable(f"the function {function}")
    value = r.value(x)
    if value.wire.bound is not None:
        raise Unsuitable("a function of indices")
    return r.like("elementwise", value, function=function)


def _elementwise(name: str, function: str) -> None:
    @rule(name)
    def _apply(r: Reader, x: Any, **settings: Any) -> Value:
        usual = _DEFAULTS.get(name, {})
        if any(settings[key] != value for key, value in usual.items() if key in settings):
            raise Unsuitable(f"{name} with settings of its own")
        return _function(r, x, function)


for _name, _known in FUNCTIONS.items():
    _elementwise(_name, _known)


@rule("hardsigmoid")
def _hardsigmoid(r: Reader, x: Any) -> Value:
    return scaled(r, _function(r, added(r, x, 3), "relu6"), "1/6")


@rule("clamp_min")
def _clamp_min(r: Reader, x: Any, min: Any) -> Value:  # noqa: A002  # aten's name
    return added(r, _function(r, added(r, x, -min), "relu"), min)


@rule("clamp")
def _clamp(r: Reader, x: Any, min: Any = None, max: Any = None) -> Value:  # noqa: A002  # aten's names
    if max is not None or number_of(min) is None:
        raise Unsuitable("a clamp from above")
    return _clamp_min(r, x, min)


@rule("zeros_like", "ones_like", "full_like", "new_zeros", "new_ones", "new_full")
def _filled(r: Reader, x: Any, fill_value: Any = None, **_: Any) -> Const:
    """An array of one number, whose size alone is that of another."""
    name = str(r.node.target) if r.node is not None else ""
    fake = r.node.meta["val"] if r.node is not None else None
    number = fill_value if fill_value is not None else 1 if "ones" in name else 0
    if fake is None or number_of(number) is None or not is_tensor(x):
        raise Unsuitable("an array filled with what is computed")
    sizes = tuple(r.size(n) for n in fake.shape)
    shape = [int(r.hint(n)) for n in sizes]
    return Const(torch.full(shape, number, dtype=fake.dtype), int(r.order[0]), r.stack, sizes)


@rule("gelu")
def _gelu(r: Reader, x: Any, approximate: str = "none") -> Value:
    return _function(r, x, "gelu" if approximate == "none" else "gelu_tanh")


@rule("pow")
def _pow(r: Reader, x: Any, exponent: Any) -> Value:
    number = number_of(exponent)
    known = {2: "square", 0.5: "sqrt", -0.5: "rsqrt", -1: "reciprocal"}
    if number in known:
        return _function(r, x, known[number])
    if number == 3:
        return joined(r, "multiply", [_function(r, x, "square"), x])
    raise Unsuitable(f"the power {number}")


@rule("dropout", "feature_dropout", "native_dropout")
def _dropout(r: Reader, x: Any, p: float, train: bool) -> Value:
    name = r.called
    value = r.value(x)
    if p == 0 or not train:
        return value
    if "feature" in name or p >= 1:
        raise Unsuitable("a dropout of whole channels")
    return r.like("dropout", value, p=float(p))
