"""How a class makes what it learns: `nn.Linear(m, h * k)`, initialised as the built module is."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from nbkit.build.source.parameters import Names, Size, product, sizes_of
from nbkit.build.weights import Weights, kernel_crop
from nbkit.language.axes import Axis
from nbkit.language.errors import DiagramError

KERNEL, STRIDE = SETTINGS = ("kernel ", "stride ")  # sizes that no axis has


def needed(held: Weights) -> list[Size]:
    """The sizes that its constructor speaks of."""
    return sizes_of((*held.cols, *held.rows))


def constructor(
    name: str,
    held: Weights,
    names: Names,
    *,
    made: Names | None = None,
    transposed: bool = False,
    turned: str = "",
    norm: str = "",
) -> list[str]:
    """The statements that make the attribute `name`.

    `made` names the sizes that come out where they have names of their own. `transposed` if its weight is
    another's, turned round; `turned` is the kind of that one if it is a convolution or a grouped map; `norm`
    says which batch norm its forward calls.
    """
    if held.module == "BatchNorm":
        return [f"self.{name} = {_batch_norm(held, names, norm)}"]
    if turned:
        groups = _split(held, names)[0] if held.module == "Grouped" else "0"
        return [f"self.{name} = TurnedLinear({turned!r}, {groups})"]
    kind = "Transposed" if transposed else held.module
    if kind not in (*_WRITERS, "Conv", "GroupNorm"):
        raise DiagramError(f"source() cannot write what {name} learns ({held.module}); torch() can build it")
    if kind == "Conv":
        frozen = ".requires_grad_(False)" * held.frozen
        return [f"self.{name} = {_conv(held, names, names if made is None else made)}{frozen}"]
    if kind == "GroupNorm":
        return [f"self.{name} = {_group_norm(held, names, norm)}"]
    first, *more = _WRITERS[kind](held, names)
    first += ".requires_grad_(False)" * held.frozen
    return [f"self.{name} = {first}", *(line.replace("@", f"self.{name}") for line in more)]


def _call(function: str, *arguments: str, **settings: object) -> str:
    """A call; settings that are None are left out."""
    given = [f"{key}={value!r}".replace("e-0", "e-") for key, value in settings.items() if value is not None]
    return f"{function}({', '.join([*arguments, *given])})"


def _bias(held: Weights) -> bool | None:
    return None if "bias" in held.shapes else False


def _linear(held: Weights, names: Names) -> list[str]:
    sides = product(held.cols, names), product(held.rows, names)
    return [_call("nn.Linear", *sides, bias=_bias(held))]


def _transposed(held: Weights, names: Names) -> list[str]:
    sides = product(held.cols, names), product(held.rows, names)
    return [_call("TransposedLinear", *sides, bias=_bias(held))]


def _grouped(held: Weights, names: Names) -> list[str]:
    groups, rows, cols = _split(held, names)
    return [_call("GroupedLinear", groups, cols, rows, bias=_bias(held))]


def _split(held: Weights, names: Names) -> tuple[str, str, str]:
    """Groups, what each makes and what each takes; `rows` has the axes of the groups first."""
    groups, count = [], 1
    for axis in held.rows:
        if count == int(held.groups):
            break
        groups.append(axis)
        count *= int(axis.numel)
    return product(groups, names), product(held.rows[len(groups) :], names), product(held.cols, names)


def _conv(held: Weights, names: Names, made: Names) -> str:
    groups, _, _ = _split(held, names)
    one = int(held.groups) == 1
    cols: tuple[Axis, ...] = held.cols if one else (*_group_axes(held), *held.cols)
    each = [w for w, rank in zip(held.windows, held.ranks, strict=True) for _ in range(rank)]
    padding = [w.pads()[0] if w.pads()[0] == w.pads()[1] else 0 for w in each]
    text = _call(
        f"nn.Conv{held.spatial}d",
        product(cols, names),
        product(held.rows, made),
        made.get((KERNEL, each[0].size), _one([w.size for w in each])),
    )[:-1]
    if (STRIDE, each[0].stride) in made:
        text += f", {made[STRIDE, each[0].stride]}"
    elif {w.stride for w in each} != {1}:
        text += f", stride={_one([w.stride for w in each])}"
    if (KERNEL, each[0].size) in made and padding[0] == each[0].size // 2:
        text += f", padding={made[KERNEL, each[0].size]} // 2"
    elif any(padding):
        text += f", padding={_one(padding)}"
    if {w.dilation for w in each} != {1}:
        text += f", dilation={_one([w.dilation for w in each])}"
    text += "" if one else f", groups={groups}"
    return f"{text}{'' if 'bias' in held.shapes else ', bias=False'})"


def conv_sizes(held: Weights) -> tuple[Names, Names]:
    """The names of the sizes of a class that is one convolution: of what comes in, and of what it makes."""
    both = {axis.name for axis in held.cols} & {axis.name for axis in held.rows}
    if not both or int(held.groups) > 1 or len({(w.size, w.stride) for w in held.windows}) > 1:
        return {}, {}
    ins, outs = (
        {size: f"{size[0].lower()}{suffix * (size[0] in both)}" for size in sizes_of(axes)}
        for axes, suffix in ((held.cols, "_in"), (held.rows, "_out"))
    )
    kernel, stride = (KERNEL, held.windows[0].size), (STRIDE, held.windows[0].stride)
    return ins, {**outs, kernel: "kernel", stride: "stride"}


def _group_axes(held: Weights) -> tuple[Axis, ...]:
    axes, count = [], 1
    for axis in held.rows:
        if count == int(held.groups):
            break
        axes.append(axis)
        count *= int(axis.numel)
    return tuple(axes)


def _conv_transpose(held: Weights, names: Names) -> list[str]:
    groups, rows, cols = _split(held, names)
    one = int(held.groups) == 1
    kernel = [int(size) for size in held.shapes["weight"][2:]]
    each = [f for f, rank in zip(held.folds, held.ranks, strict=True) for _ in range(rank)]
    crops = [kernel_crop(fold, size) for fold, size in zip(each, kernel, strict=True)]
    sides = (cols, rows) if one else (f"{groups} * {cols}", f"{groups} * {rows}")
    text = _call(f"nn.ConvTranspose{held.spatial}d", *sides, _one(kernel))[:-1]
    for setting, values, default in (
        ("stride", [fold.stride for fold in each], 1),
        ("padding", [crop or 0 for crop, _ in crops], 0),
        ("output_padding", [more for _, more in crops], 0),
        ("dilation", [fold.dilation for fold in each], 1),
    ):
        text += "" if set(values) == {default} else f", {setting}={_one(values)}"
    return [f"{text}{'' if one else f', groups={groups}'}, bias=False)"]


def _parameter(held: Weights, names: Names) -> list[str]:
    sizes = _sizes((*held.rows, *held.cols), names)
    made = {
        "normal": f"torch.empty({', '.join(sizes) or '()'}).normal_(std={_root(product(held.cols, names))})",
        "zeros": f"torch.zeros({', '.join(sizes) or '()'})",
        "ones": f"torch.ones({', '.join(sizes) or '()'})",
    }[held.init]
    return [f"Buffer({made})" if held.buffer else f'nn.ParameterDict({{"weight": {made}}})']


def _affine(held: Weights, names: Names) -> list[str]:
    return [f"Affine({product(held.rows, names)})"]


def _group_norm(held: Weights, names: Names, norm: str) -> str:
    groups = product(_group_axes(held), names)
    eps = None if held.eps == 1e-5 else float(held.eps)
    return _call(norm or "nn.GroupNorm", groups, product(held.rows, names), eps=eps)


def _root(features: str) -> str:
    """The text of features^(-1/2)."""
    simple = features.isidentifier() or features.isdecimal()
    return f"{features}**-0.5" if simple else f"({features}) ** -0.5"


def _sizes(axes: Iterable[Axis], names: Names) -> list[str]:
    """The text of each dimension's size."""
    return [
        names.get((axis.name, int(axis.size)), str(int(axis.size))) for axis in axes for _ in range(axis.rank)
    ]


def _one(values: list[int]) -> str:
    return str(values[0]) if len(set(values)) == 1 else str(tuple(values))


def _table(held: Weights, names: Names) -> list[str]:
    features = product(held.cols, names)
    return [
        _call("nn.Embedding", product(held.rows, names), features),
        f"nn.init.normal_(@.weight, std={_root(features)})",
    ]


def _norm(function: str, default: float | None) -> Callable[[Weights, Names], list[str]]:
    def write(held: Weights, names: Names) -> list[str]:
        sizes = _sizes(held.rows, names)
        shape = sizes[0] if len(sizes) == 1 else f"({', '.join(sizes)})"
        return [_call(function, shape, eps=None if held.eps == default else float(held.eps))]

    return write


def _batch_norm(held: Weights, names: Names, norm: str) -> str:
    return _call(
        norm.partition(" ")[0],
        product(held.rows, names),
        *norm.split()[1:],
        eps=None if held.eps == 1e-5 else float(held.eps),
        affine=None if "weight" in held.shapes else False,
    )


_WRITERS: dict[str, Callable[[Weights, Names], list[str]]] = {
    "Linear": _linear,
    "Transposed": _transposed,
    "Grouped": _grouped,
    "ConvTranspose": _conv_transpose,
    "Parameter": _parameter,
    "Affine": _affine,
    "Embedding": _table,
    "Positions": _table,
    "LayerNorm": _norm("nn.LayerNorm", 1e-5),
    "RMSNorm": _norm("nn.RMSNorm", None),
}
