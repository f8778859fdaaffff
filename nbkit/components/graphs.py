"""Networks on graphs: by an adjacency matrix (GCN), and by lists of edges (message passing, GAT).

Axes: n nodes, s nodes once more (those that send), m features that go in, f that come out, e edges, h heads
of k features. A list of edges is two arrays of indices below n: where each edge comes from, where it goes.
"""

from __future__ import annotations

from typing import Any

from nbkit.components.basic import check_counts, size
from nbkit.language import Fn
from nbkit.language.decorator import diagram
from nbkit.language.palette import (
    concat,
    einsum,
    elementwise,
    exp,
    gather,
    indices,
    linear,
    merge,
    one_hot,
    relu,
    rename,
    scale,
    scatter,
    stop_gradient,
    total,
)
from nbkit.language.trace import Traced

# ---------------------------------------------------------------------------------------- by adjacency


def normalised_adjacency() -> Fn:
    """The adjacency matrix with self-loops, divided by the roots of the degrees: D^{-1/2} (A + I) D^{-1/2}.

    D[n] = Σ_s (A + I)[n, s]

    Axes: n nodes that receive, s nodes that send (as many).
    Source: Kipf & Welling 2017, "Semi-Supervised Classification with Graph Convolutional Networks" (arXiv
    1609.02907), section 2.2.

    >>> print(normalised_adjacency().on("n s=n"))
    normalised_adjacency: R[n s=n] -> R[n s=n]
    """

    @diagram("n s -> n s")
    def normalised_adjacency(a: Traced) -> Any:
        loops = a + (a >> indices("n", "itself") >> one_hot("s"))
        root = loops >> total("s", "degree") >> elementwise("rsqrt")
        return einsum("n, n s, s -> n s", "normalise")(root, loops, root >> rename(n="s"))

    return normalised_adjacency


def graph_conv(features: int | str = "f") -> Fn:
    """A graph convolution: Y = Â X W + b, Â the normalised adjacency matrix.

    Axes: n nodes, m features, which become f (`features`), s nodes that send.
    Source: Kipf & Welling 2017 (arXiv 1609.02907), equation 2.

    >>> print(graph_conv(16).on("n m=8, n s=n"))
    graph_conv: R[n m=8], R[n s=n] -> R[n f=16]
    """
    out = "f" if features == "f" else f"f={size(features, 'features')}"

    @diagram("n m, n s -> n f")
    def graph_conv(x: Traced, adjacency: Traced) -> Any:
        mapped = x >> linear(f"m -> {out}", "W")
        return einsum("n s, s f -> n f", "receive")(adjacency, mapped >> rename(n="s"))

    return graph_conv


def gcn(hidden: int = 16, classes: int = 7) -> Fn:
    """A graph convolutional network of two layers: logits = Â relu(Â X W₀) W₁.

    Axes: n nodes, m features, s nodes that send, f hidden units, o classes of nodes. Takes the features and
    the plain adjacency matrix.
    Source: Kipf & Welling 2017 (arXiv 1609.02907), equation 9, with the bias inside the map.

    >>> print(gcn(16, 7).on("n m=1433, n s=n"))
    gcn: R[n m=1433], R[n s=n] -> R[n o=7]
    """

    @diagram("n m, n s -> n o")
    def gcn(x: Traced, adjacency: Traced) -> Any:
        paths = normalised_adjacency()(adjacency)
        inside = relu(graph_conv(hidden)(x, paths))
        return graph_conv(classes)(inside.rename(f="m"), paths).rename(f="o")

    return gcn


# ---------------------------------------------------------------------------------------- by edges


def message_passing(hidden: int | str = 32, how: str = "sum") -> Fn:
    """Message passing: every edge computes a message from its two ends, every node adds up what reaches it.

    message[e] = M(x[from e], x[to e]), y[n] = x[n] + U(x[n], Σ_{e to n} message[e])

    Axes: n nodes, m features, e edges, f `hidden` units; M and U have one hidden layer. `how`:
    messages are collected by "sum", "mean" or "max". Edges are two arrays of indices: where they come from,
    where they go.
    Source: Gilmer et al. 2017, "Neural Message Passing for Quantum Chemistry" (arXiv 1704.01212), equations 1
    and 2.

    >>> print(message_passing(32).on("n m=16, N(n)[e], N(n)[e]"))
    message_passing: R[n m=16], N(n)[e], N(n)[e] -> R[n m=16]
    """
    units = f"f={size(hidden, 'hidden')}"

    @diagram("m, m -> f")
    def message(sender: Traced, receiver: Traced) -> Any:
        return (
            concat("m")(sender, receiver) >> linear(f"m -> {units}", "W1") >> relu >> linear("f -> f", "W2")
        )

    @diagram("m, f -> m")
    def update(node: Traced, received: Traced) -> Any:
        both = linear(f"m -> {units}", "W1")(node) + linear("f -> f", "W2", bias=False)(received)
        return node + (both >> relu >> linear("f -> m", "W3"))

    @diagram("n m, e, e -> n m")
    def message_passing(x: Traced, senders: Traced, receivers: Traced) -> Any:
        sent = message(gather("n", "senders")(x, senders), gather("n", "receivers")(x, receivers))
        return update(x, scatter("n", "e", how, "collect")(sent, receivers))

    return message_passing


def edge_softmax(woven: str = "") -> Fn:
    """Softmax over the edges that reach one node: w[e] = exp(s[e]) / Σ_{e' to n} exp(s[e']), n = to e.

    The largest score of each node is taken away first, so that nothing overflows.
    Axes: e edges, n nodes, and those that `woven` names (heads). Takes the scores and where the edges go.
    Source: Veličković et al. 2018, "Graph Attention Networks" (arXiv 1710.10903), equation 2.

    >>> print(edge_softmax("h").on("e h=4, N(n)[e]"))
    edge_softmax: R[e h=4], N(n)[e] -> R[e h=4]
    """

    @diagram(f"e {woven}, e -> e {woven}")
    def edge_softmax(scores: Traced, receivers: Traced) -> Any:
        largest = scatter("n", "e", "max", "largest")(scores, receivers) >> stop_gradient
        away = gather("n")(largest, receivers) >> elementwise("neg")
        weight = exp(scores + away)
        sums = scatter("n", "e", "sum", "sums")(weight, receivers) >> elementwise("reciprocal")
        return weight * gather("n")(sums, receivers)

    return edge_softmax


def graph_attention(heads: int = 8, head_size: int = 8) -> Fn:
    """Graph attention: every node takes the mean of those that send to it, weighted by a learned score.

    s[e, h] = leaky(a_h · W_h x[from e] + b_h · W_h x[to e]), w = softmax of s over the edges to each node
    y[n] = [Σ_{e to n} w[e, h] · W_h x[from e]]_h

    Axes: n nodes, m features in, e edges, h heads of k features, f = h·k features out. The slope of leaky is
    0.2. Edges are two arrays of indices: where they come from, where they go; nodes that are to hear
    themselves need a self-loop among them.
    Source: Veličković et al. 2018, "Graph Attention Networks" (arXiv 1710.10903), equations 1 to 5.

    >>> print(graph_attention(8, 8).on("n m=1433, N(n)[e], N(n)[e]"))
    graph_attention: R[n m=1433], N(n)[e], N(n)[e] -> R[n f=64]
    """
    check_counts("graph_attention", heads=heads, head_size=head_size)
    leaky = scale("1/5") + (relu >> scale("4/5"))

    @diagram("n m, e, e -> n f")
    def graph_attention(x: Traced, senders: Traced, receivers: Traced) -> Any:
        nodes = x >> linear(f"m -> h={heads} k={head_size}", "W", bias=False)
        sending = gather("n", "sending")(nodes >> linear("k ->", "a", bias=False, per="h"), senders)
        hearing = gather("n", "hearing")(nodes >> linear("k ->", "b", bias=False, per="h"), receivers)
        weights = edge_softmax("h")(sending + hearing >> leaky, receivers)
        values = gather("n", "values")(nodes, senders)
        weighed = einsum("e h, e h k -> e h k", "weigh")(weights, values)
        return scatter("n", "e", "sum", "collect")(weighed, receivers) >> merge("h k -> f")

    return graph_attention
