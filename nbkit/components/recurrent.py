"""Recurrent networks: cells, and scans of a cell along a sequence.

Axes: t positions of the sequence, m features that go in, h hidden units, g gates. A cell takes its state and
one element and gives the new state; a scan applies the same cell at every position.
"""

from __future__ import annotations

from typing import Any

from nbkit.components.basic import called, size
from nbkit.language import Fn
from nbkit.language.decorator import diagram
from nbkit.language.palette import constant, elementwise, linear, sigmoid, tanh
from nbkit.language.repetition import scan
from nbkit.language.trace import Traced


def rnn_cell() -> Fn:
    """The simple recurrent cell: h' = tanh(W x + U h).

    Axes: m features of the input x, h hidden units. The state comes out twice: carried on, and to be read.
    Source: Elman 1990, "Finding structure in time". It is `torch.nn.RNNCell`.

    >>> print(rnn_cell().on("h=32, m=8"))
    rnn_cell: R[h=32], R[m=8] -> R[h=32], R[h=32]
    """

    @diagram("h, m -> h, h")
    def rnn_cell(state: Traced, x: Traced) -> Any:
        new = tanh(linear("m -> h", "W")(x) + linear("h -> h", "U")(state))
        return new, new

    return rnn_cell


def gru_cell() -> Fn:
    """The gated recurrent unit: h' = n + z ⊙ (h - n), n = tanh(W x + r ⊙ U h), r and z = σ(W_g x + U_g h).

    Axes: m features of the input, h hidden units, g=2 gates: reset r and update z. It is the usual (1 - z) ⊙
    n + z ⊙ h.
    Source: Cho et al. 2014, "Learning Phrase Representations" (arXiv 1406.1078), equations 5 to 8, with r
    behind U as in torch. It is `torch.nn.GRUCell`, whose rows are those of W_g, then W (U_g, then U).

    >>> print(gru_cell().on("h=32, m=8"))
    gru_cell: R[h=32], R[m=8] -> R[h=32], R[h=32]
    """
    minus = elementwise("neg")

    @diagram("h, m -> h, h")
    def gru_cell(state: Traced, x: Traced) -> Any:
        gates = sigmoid(linear("h -> g=2 h", "U_g")(state) + linear("m -> g=2 h", "W_g")(x))
        reset, update = gates["g", 0], gates["g", 1]
        proposed = tanh(reset * linear("h -> h", "U")(state) + linear("m -> h", "W")(x))
        new = proposed + update * (state + minus(proposed))
        return new, new

    return gru_cell


def lstm_cell() -> Fn:
    """Long short-term memory: c' = f ⊙ c + i ⊙ tanh(a), h' = o ⊙ tanh(c'), with i, f, a, o from W x + U h.

    i, f, o = σ(W x + U h) of their rows; a is the row of the proposal.

    Axes: m features of the input, h hidden units, g=4 rows of W and U: input, forget, proposal, output. The
    first state is the memory c, the second h, which is read.
    Source: Hochreiter & Schmidhuber 1997, with the forget gate of Gers et al. 2000. It is
    `torch.nn.LSTMCell`, with rows in the same order.

    >>> print(lstm_cell().on("h=32, h=32, m=8"))
    lstm_cell: R[h=32], R[h=32], R[m=8] -> R[h=32], R[h=32], R[h=32]
    """

    @diagram("h, h, m -> h, h, h")
    def lstm_cell(memory: Traced, state: Traced, x: Traced) -> Any:
        gates = linear("h -> g=4 h", "U")(state) + linear("m -> g=4 h", "W")(x)
        keep, take, proposed, give = (gates["g", row] for row in (1, 0, 2, 3))
        memory = memory * sigmoid(keep) + sigmoid(take) * tanh(proposed)
        state = sigmoid(give) * tanh(memory)
        return memory, state, state

    return lstm_cell


def recurrent(cell: Fn, hidden: int | str, *, states: int = 1, reverse: bool = False, axis: str = "t") -> Fn:
    """A cell along a sequence, its states zero at first: all states that are read come out.

    Axes: t positions (`axis`), m features; `hidden` units h. `reverse` runs from the end to the beginning.

    >>> print(recurrent(lstm_cell(), 32, states=2).on("t=10 m=8"))
    recurrent: R[t=10 m=8] -> R[t=10 h=32]
    """
    first = constant(0, f"h={size(hidden, 'hidden')}", "zero")

    @diagram(f"{axis} m -> {axis} h")
    def recurrent(x: Traced) -> Any:
        starts = [first(x) for _ in range(states)]
        return scan(cell, axis, states=states, reverse=reverse)(*starts, x)[-1]

    return recurrent


def rnn(hidden: int | str = 32) -> Fn:
    """A simple recurrent network: h_t = tanh(W x_t + U h_{t-1}).

    Axes: t positions, m features, h hidden units.
    Source: Elman 1990. It is `torch.nn.RNN` of one layer.

    >>> print(rnn(32).on("t m=8"))
    rnn: R[t m=8] -> R[t h=32]
    """
    return called("rnn", recurrent(rnn_cell(), hidden))


def gru(hidden: int | str = 32) -> Fn:
    """Gated recurrent units along a sequence (see `gru_cell`).

    Axes: t positions, m features, h hidden units.
    Source: Cho et al. 2014 (arXiv 1406.1078). It is `torch.nn.GRU` of one layer.

    >>> print(gru(32).on("t m=8"))
    gru: R[t m=8] -> R[t h=32]
    """
    return called("gru", recurrent(gru_cell(), hidden))


def lstm(hidden: int | str = 32) -> Fn:
    """Long short-term memory along a sequence (see `lstm_cell`).

    Axes: t positions, m features, h hidden units.
    Source: Hochreiter & Schmidhuber 1997. It is `torch.nn.LSTM` of one layer.

    >>> print(lstm(32).on("t m=8"))
    lstm: R[t m=8] -> R[t h=32]
    """
    return called("lstm", recurrent(lstm_cell(), hidden, states=2))
