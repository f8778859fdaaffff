"""How an op looks in an overview graph: one small function per op, which gives text in Graphviz's HTML."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import singledispatch
from html import escape

from nbkit.draw import labels
from nbkit.draw.labels import Label
from nbkit.language import ops
from nbkit.language.axes import Token, parse_bundle, parse_spec
from nbkit.language.ops import Op
from nbkit.language.ops.base import Composite
from nbkit.language.parts import Block, Repeat, Scan, Stages


@dataclass(frozen=True)
class Face:
    """How an op looks: what stands in its node, the role of its colour, and whether it is a small circle.

    A learned op begins with a letter; its name and the key of its weight stand beside it.
    """

    text: str
    fill: str = "glyph"
    circle: bool = False
    letter: str = ""
    key: str = ""


def html(label: Label) -> str:
    """A mathematical label in Graphviz's HTML."""
    parts = []
    for run in label:
        text = escape(run.text)
        for tag, used in (("i", run.italic), ("b", run.bold), ("o", run.bar)):
            text = f"<{tag}>{text}</{tag}>" if used else text
        parts.append(script(text, "sup" if run.shift > 0 else "sub") if run.shift else text)
    return "".join(parts)


def script(text: str, tag: str) -> str:
    """A sub- or superscript; Graphviz moves it, but does not make it smaller."""
    return f'<{tag}><font point-size="10">{text}</font></{tag}>'


def names(text: str) -> str:
    """The names of axes."""
    return " ".join(html(labels.name(token.name)) for token in parse_bundle(text))


def tokens(bundle: Iterable[Token]) -> str:
    """The axes of one side of a specification."""
    return " ".join(html(labels.name(token.name)) for token in bundle) or "1"


def arrow(spec: str) -> str:
    """`m → h k`, small."""
    parsed = parse_spec(spec)
    left, right = (", ".join(tokens(bundle) for bundle in side) for side in (parsed.ins, parsed.outs))
    return f'<font point-size="11">{left}&#160;→&#160;{right}</font>'


def count(op: Composite) -> str:
    """What stands behind the title of a repeated part."""
    match op:
        case Repeat():
            return f" × {op.n}{', tied' if op.tied else ''}"
        case Stages():
            return f", λ = {op.first} … {op.last}"
        case Scan():
            return f", over {'reversed ' if op.reverse else ''}{names(op.over)}"
    return ""


@singledispatch
def face(op: Op) -> Face:
    """What stands in the node of an op; an op that is not known here shows its name and settings."""
    return Face(escape(str(op)))


@face.register(Block)
@face.register(Repeat)
@face.register(Stages)
@face.register(Scan)
def _(op: Composite) -> Face:
    return Face(f"{escape(op.insides()[0][1].name.replace('_', ' '))}{count(op)}", "block")


@face.register
def _(op: ops.Einsum) -> Face:
    spec = parse_spec(op.spec)
    kept = {token.name for token in spec.outs[0]}
    gone = dict.fromkeys(t.name for bundle in spec.ins for t in bundle if t.name not in kept)
    return Face(f"Σ{script(names(' '.join(gone)), 'sub')}" if gone else "⊗", "attention")


@face.register
def _(op: ops.Linear) -> Face:
    per = f'<br/><font point-size="11">per {names(op.per)}</font>' if op.per else ""
    text = f"{script('+', 'sub') * op.bias}<br/>{arrow(op.spec)}{per}"
    return Face(text, "linear", letter="L" if op.frozen else "<b>L</b>", key=op.key)


@face.register
def _(op: ops.Embed) -> Face:
    letter = "E" if op.frozen else "<b>E</b>"
    return Face(f"<br/>{arrow(op.spec)}", "embed", letter=letter, key=op.key)


@face.register
def _(op: ops.Positions) -> Face:
    return Face(f"<br/>{arrow(op.spec)}", "linear", letter="<b>P</b>", key=op.key)


@face.register
def _(op: ops.Parameter) -> Face:
    return Face("", "linear", letter="<b>W</b>" if op.trainable else "W", key=op.key)


@face.register
def _(op: ops.Constant) -> Face:
    return Face(f"{op.value:g}")


@face.register
def _(op: ops.Elementwise) -> Face:
    return Face(escape(op.function))


@face.register
def _(op: ops.Scale) -> Face:
    return Face(html(labels.factor(op.factor)), "residual")


@face.register
def _(op: ops.Add) -> Face:
    return Face("<b>⊙</b>" if isinstance(op, ops.Multiply) else "<b>+</b>", circle=True)


@face.register
def _(op: ops.Mask) -> Face:
    return Face(escape(op.relation.replace("<=", "≤").replace(">=", "≥").replace("==", "=")), "mask")


@face.register
def _(op: ops.Dropout) -> Face:
    return Face(f"↯{script(f'{op.p:g}', 'sub')}")


@face.register
def _(op: ops.Reduce) -> Face:
    sign = {"sum": "Σ", "mean": "𝔼", "prod": "Π"}.get(op.how, escape(op.how))
    return Face(f"{sign}{script(names(op.axes), 'sub')}", "pool")


@face.register
def _(op: ops.Softmax) -> Face:
    return Face(f"softmax{script(names(op.axes), 'sub')}", "softmax")


@face.register
def _(op: ops.Norm) -> Face:
    title = {"layer": "norm", "rms": "rms norm", "batch": "batch norm"}[op.how]
    return Face(f"{title}{script(names(op.per if op.how == 'batch' else op.axes), 'sub')}", "norm")


@face.register
def _(op: ops.Merge) -> Face:
    return Face(f"merge<br/>{arrow(op.spec)}")


@face.register
def _(op: ops.Split) -> Face:
    return Face(f"split<br/>{arrow(op.spec)}")


@face.register
def _(op: ops.Concat) -> Face:
    return Face(f"concat{script(names(op.axis), 'sub')}")


@face.register
def _(op: ops.Slice) -> Face:
    stop = "" if op.stop is None else op.stop
    return Face(f"{names(op.axis)}[{op.start if op.drop else f'{op.start}:{stop}'}]", "pool")


@face.register
def _(op: ops.Rename) -> Face:
    return Face(arrow(op.spec))


@face.register
def _(op: ops.Transpose) -> Face:
    return Face(f"order <i>{names(op.axes)}</i>")


@face.register
def _(op: ops.Expand) -> Face:
    return Face(f"expand{script(names(op.axes), 'sub')}")


def _sliding(sign: str, op: ops.Window | ops.Fold) -> str:
    parts = [f"{sign}{script(names(op.name), 'sub')}"]
    parts += [f"stride {op.stride}"] * (op.stride > 1) + [f"dilation {op.dilation}"] * (op.dilation > 1)
    parts += [f"padding {op.padding}"] * (op.padding not in ("same", "0"))
    small = [f'<font point-size="11">{part}</font>' for part in parts[1:]]
    return "<br/>".join([parts[0], *small])


@face.register
def _(op: ops.Window) -> Face:
    return Face(_sliding(f"window {op.size}", op), "window")


@face.register
def _(op: ops.Fold) -> Face:
    return Face(_sliding("fold", op), "window")


@face.register
def _(op: ops.Gather) -> Face:
    return Face(f"gather{script(names(op.axis), 'sub')}", "pool")


@face.register
def _(op: ops.Scatter) -> Face:
    return Face(f"scatter<br/>{arrow(f'{op.over} -> {op.axis}')}", "pool")


@face.register
def _(op: ops.TopK) -> Face:
    return Face(f"top {op.k}{script(names(op.axis), 'sub')}", "pool")


@face.register
def _(op: ops.OneHot) -> Face:
    return Face(f"one-hot{script(names(op.axis), 'sub')}", "pool")


@face.register
def _(op: ops.Indices) -> Face:
    return Face(f"indices{script(names(op.axis), 'sub')}", "pool")


face.register(ops.StopGradient, lambda _: Face("⊣"))


@face.register
def _(op: ops.Cast) -> Face:
    return Face(f"as {escape(op.to)}")


@face.register
def _(op: ops.Pullback) -> Face:
    return Face(f"{escape(op.how or op.of)}′{script(names(op.axes), 'sub') if op.axes else ''}", "inner")


@face.register
def _(op: ops.Torch) -> Face:
    return Face(escape(op.name.rpartition(".")[2]), "outer")
