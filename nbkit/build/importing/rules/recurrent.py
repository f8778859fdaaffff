"""Recurrent layers (LSTM, GRU, RNN): scans, whose part is the cell written out in linear maps and gates.

LSTM (Hochreiter & Schmidhuber 1997; gates as in torch)     GRU (Cho et al. 2014, arXiv 1406.1078)
i, f, o = σ(W x + U h), g = tanh(W x + U h)                  r, z = σ(W x + U h)
c' = f c + i g,  h' = o tanh c'                              n = tanh(W x + r (U h)),  h' = n + z (h − n)
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

from sympy import Integer

from nbkit.build.importing.atoms import Atom
from nbkit.build.importing.cells import Carry, Cell, Const, Unsuitable, Value, Weight, Wire, is_tensor
from nbkit.build.importing.lowering import Letters
from nbkit.build.importing.reader import Reader, rule
from nbkit.build.importing.rules.pieces import joined_along, selected, stacked
from nbkit.language.axes import Array
from nbkit.language.functions import Fn
from nbkit.language.ops import Op
from nbkit.language.palette import elementwise, linear, sigmoid, tanh, transpose
from nbkit.language.parts import Scan
from nbkit.language.trace import Builder, Traced

Gate = Callable[[str], Any]


def _lstm_step(wx: Gate, uh: Gate, _h: Traced, c: Traced) -> tuple[Traced, ...]:
    i, f, o = (wx(gate) + uh(gate) >> sigmoid for gate in "ifo")
    g = wx("g") + uh("g") >> tanh
    c = f * c + i * g
    return o * (c >> tanh), c


def _gru_step(wx: Gate, uh: Gate, h: Traced) -> tuple[Traced, ...]:
    r, z = (wx(gate) + uh(gate) >> sigmoid for gate in "rz")
    n = wx("n") + r * uh("n") >> tanh
    return (n + z * (h + (n >> elementwise("neg"))),)


def _rnn_step(function: str) -> Callable[..., tuple[Traced, ...]]:
    def step(wx: Gate, uh: Gate, _h: Traced) -> tuple[Traced, ...]:
        return (wx("h") + uh("h") >> elementwise(function),)

    return step


_KINDS: dict[str, tuple[str, int, Callable[..., tuple[Traced, ...]]]] = {
    "lstm": ("ifgo", 2, _lstm_step),
    "gru": ("rzn", 1, _gru_step),
    "rnn_tanh": ("h", 1, _rnn_step("tanh")),
    "rnn_relu": ("h", 1, _rnn_step("relu")),
}


@rule("lstm", "gru", "rnn_tanh", "rnn_relu")
def _recurrent(
    r: Reader, x: Any, hx: Any, params: Sequence[Any], has_biases: bool, num_layers: int, dropout: float,
    train: bool, bidirectional: bool, batch_first: bool,
) -> list[Value]:  # fmt: skip
    kind = str(r.node.target).split(".")[1] if r.node is not None else ""
    gates, count, _ = _KINDS[kind]
    states = list(hx) if isinstance(hx, tuple | list) else [hx]
    each = 4 if has_biases else 2
    ways = 2 if bidirectional else 1
    if len(params) != each * ways * num_layers or not all(isinstance(p, Weight) for p in params):
        raise Unsuitable("a recurrent layer with a projection, or with computed weights")
    value = r.value(x)
    last = value
    finals: list[list[Value]] = [[] for _ in range(count)]
    for layer in range(num_layers):
        outs = []
        for way in range(ways):
            number = layer * ways + way
            held = params[number * each : (number + 1) * each]
            begin = [_state(r, state, number) for state in states]
            out, ends = _scan(r, kind, last, begin, held, len(gates), way == 1, batch_first)
            outs.append(out)
            for kept, end in zip(finals, ends, strict=True):
                kept.append(end)
        last = outs[0] if ways == 1 else joined_along(r, outs, -1)
        if dropout and train and layer < num_layers - 1:
            last = r.like("dropout", last, p=float(dropout))
    return [last, *(stacked(r, kept, 0) for kept in finals)]


def _state(r: Reader, state: Any, number: int) -> Any:
    if isinstance(state, Const):
        return replace(state, tensor=state.tensor[number], sizes=state.sizes[1:])
    if not is_tensor(state):
        raise Unsuitable("a recurrent layer without a state")
    return selected(r, state, 0, number)


def _scan(
    r: Reader, kind: str, value: Value, begin: Sequence[Any], held: Sequence[Weight], parts: int,
    reverse: bool, batch_first: bool,
) -> tuple[Value, list[Value]]:  # fmt: skip
    """One layer in one direction: the outputs over time, and the last states."""
    rank = len(value.dims)
    time = 1 if batch_first and rank == 3 else 0
    value, t = r.whole(value, time)
    value, m = r.whole(value, rank - 1)
    value = r.solid(value)
    t.hint("t", 4)
    m.hint("m")
    batch = [d for d in range(rank - 1) if d != time]
    slots: list[list[Any]] = [[("b", d) if d in batch else ("own", d) for d in range(rank)]]
    states = [r.value(state, value.wire) for state in begin]
    slots += [[*(("b", d) for d in batch), "n"] for _ in states]
    order = [*(("b", d) for d in batch), ("own", time), "n"]  # features and state may share a name
    (value, *states), found = r.align([value, *states], slots, order)
    n = found["n"][0] if len(found["n"]) == 1 else None
    t, m = value.dims[time][0], value.dims[-1][0]
    if n is None:
        raise Unsuitable("a recurrent state of one unit")
    n.hint("n", 4)
    woven = [a for d in batch for a in found[("b", d)]]
    states = [_made(r, state, [*woven, n]) for state in states]
    size = Integer(int(held[0].shape[0]) // parts)
    weights = _weights(kind, held, int(size))
    outs = [Wire((*woven, n)) for _ in states]
    sequence = Wire((t, *woven, n))
    r.cells.append(
        Cell(
            "scan", [s.wire for s in states] + [value.wire], [*outs, sequence],
            {"over": [t], "m": [m], "n": [n]},
            {"make": _maker(kind, len(held) > 2, reverse, (t, m, n)), "reverse": reverse, "what": kind},
            weights, r.stack, r.order, kind,
        )
    )  # fmt: skip
    dims = [(t,) if d == time else found[("b", d)] if d in batch else (n,) for d in range(rank)]
    ends = [Value(w, (*(found[("b", d)] for d in batch), (n,))) for w in outs]
    return Value(sequence, tuple(dims)), ends


def _made(r: Reader, state: Value, atoms: Sequence[Atom]) -> Value:
    """A state with all its axes real, in this order where it is a number."""
    lacking = [a for a in atoms if not state.wire.has(a)]
    return replace(state, wire=r.spread(state.wire, lacking)) if lacking else state


def _weights(kind: str, held: Sequence[Weight], size: int) -> dict[str, Carry]:
    found: dict[str, Carry] = {}
    for side, weight, bias in (("x", 0, 2), ("h", 1, 3)):
        for number, gate in enumerate(_KINDS[kind][0]):
            rows = ("rows", number * size, size)

            def take(tensor: Any, start: int = number * size) -> Any:
                return tensor.narrow(0, start, size)

            found[f"{gate}_{side}.weight"] = held[weight].carry.then(rows, take)
            if len(held) > 2:
                found[f"{gate}_{side}.bias"] = held[bias].carry.then(rows, take)
    return found


def _maker(kind: str, bias: bool, reverse: bool, atoms: tuple[Atom, Atom, Atom]) -> Any:
    def make(letters: Letters, arrays: Sequence[Array]) -> Op:
        t, m, n = (letters.of(a) for a in atoms)
        size = atoms[2].size
        _, count, step = _KINDS[kind]
        order = " ".join(arrays[0].names)

        def cell(*wires: Traced) -> tuple[Traced, ...]:
            *states, x = wires
            new = step(
                lambda gate: linear(f"{m} -> {n}={size}", f"{gate}_x", bias=bias)(x),
                lambda gate: linear(f"{n} -> {n}={size}", f"{gate}_h", bias=bias)(states[0]),
                *states,
            )
            ready = tuple(w if " ".join(w.type.names) == order else transpose(order)(w) for w in new)
            return (*ready, ready[0])

        elements = [Array(a.without((t,)), a.bound) for a in arrays]
        body = _Body(f"{kind}_cell", count + 1, cell).build(tuple(elements))
        return Scan(body, t, count, reverse)

    return make


class _Body(Fn):
    """A function of wires as the inside of a scan."""

    def __init__(self, name: str, count: int, cell: Callable[..., tuple[Traced, ...]]) -> None:
        self.name, self.count, self.cell = name, count, cell

    def apply(self, builder: Builder, wires: tuple[Traced, ...]) -> tuple[Traced, ...]:
        return self.cell(*wires)

    def takes(self) -> int:
        return self.count
