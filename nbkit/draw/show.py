"""The ways in: `svg(diagram)`, `save(diagram, path)` and what a diagram shows in a notebook."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal
from xml.sax.saxutils import escape

from nbkit.draw.budget import LIMIT, check_open
from nbkit.draw.picture import Picture, picture, within
from nbkit.draw.steps import Fold
from nbkit.draw.styles import STYLES
from nbkit.draw.themes import THEMES
from nbkit.draw.tint import Tint, tinted
from nbkit.language.diagram import Diagram
from nbkit.language.errors import DiagramError, nearest
from nbkit.language.sizes import is_count

WIDTH = 940.0


Limit = int | Literal["auto"] | None


def layout(
    diagram: Diagram,
    *,
    theme: str = "light",
    style: str = "paper",
    depth: int | None = None,
    open: str | tuple[str, ...] = (),  # noqa: A002 (the counterpart of `fold`)
    limit: Limit = "auto",
    unroll: bool = False,
    conv: str = "collapsed",
    width: float = WIDTH,
    tint: Tint | Mapping[str, float] | None = None,
) -> Picture:
    """The picture as shapes with coordinates; `svg` is its text and tells of the options."""
    _check(theme, "theme", THEMES)
    _check(style, "style", STYLES)
    if conv not in ("collapsed", "expanded"):
        raise DiagramError(
            f"conv is 'collapsed' (one box) or 'expanded' (window, then linear map), not {conv!r}"
        )
    if not width > 0:
        raise DiagramError(f"width is a positive number of pixels, not {width!r}")
    if limit not in ("auto", None) and not (is_count(limit) and int(limit) > 0):
        raise DiagramError(f"limit is a positive number of elements, 'auto' or None, not {limit!r}")
    patterns = (open,) if isinstance(open, str) else tuple(open)
    check_open(diagram, patterns)
    look = STYLES[style]
    palette = THEMES[look.theme or theme]
    fold = Fold(depth, unroll, conv, diagram.style, patterns)
    most = (None if depth is not None or unroll else LIMIT) if limit == "auto" else limit
    shown = within(diagram, fold, most, lambda d, f: picture(d, f, palette, width, style=look))
    if tint is None:
        return shown
    return tinted(shown, tint if isinstance(tint, Tint) else Tint(tint))


def _check(value: str, what: str, known: Mapping[str, object]) -> None:
    if value not in known:
        hint = nearest(value, known) or f"choose one of {', '.join(known)}"
        raise DiagramError(f"there is no {what} {value!r}; {hint}")


def svg(
    diagram: Diagram,
    *,
    theme: str = "light",
    style: str = "paper",
    depth: int | None = None,
    open: str | tuple[str, ...] = (),  # noqa: A002 (the counterpart of `fold`)
    limit: Limit = "auto",
    unroll: bool = False,
    conv: str = "collapsed",
    width: float = WIDTH,
    tint: Tint | Mapping[str, float] | None = None,
) -> str:
    """The neural circuit diagram as SVG text: deterministic, self-contained, without scripts.

    theme: "light", "dark", "colourblind", "print", or "auto" (follows JupyterLab's theme). style: "paper" (as
    in the papers), "tutorial" (types and broadcasting spelt out), "compact" (thumbnails and slides), "print"
    (black on white). depth: how many levels of blocks are drawn open. open: paths of parts that are open in
    any case, `*` standing for any one name ("block.*.mlp"). limit: the largest number of elements; parts are
    folded, those of the deepest level first, until the picture keeps to it. "auto" is 1,000 unless depth or
    unroll is given; None sets no limit. unroll: draw every copy of a repetition. conv: "collapsed" (one box)
    or "expanded" (window, then linear map). width: pixels per row. tint: numbers ≥ 0 by path, laid
    over the picture as colours. `DiagramError` for other options.

    >>> from nbkit import linear, relu
    >>> svg((linear("m -> f") >> relu).on("x m"))[:55]
    '<svg xmlns="http://www.w3.org/2000/svg" class="nbkit-di'
    """
    return layout(
        diagram,
        theme=theme,
        style=style,
        depth=depth,
        open=open,
        limit=limit,
        unroll=unroll,
        conv=conv,
        width=width,
        tint=tint,
    ).svg()


def save(diagram: Diagram, path: str | Path, **options: Any) -> None:
    """Writes the picture to a file; options are those of `svg`."""
    Path(path).write_text(svg(diagram, **options), encoding="utf-8")


def mimebundle(diagram: Diagram) -> dict[str, str]:
    """What a diagram shows of itself: HTML that follows JupyterLab's theme, SVG, text."""
    fold = Fold(style=diagram.style)
    shown = within(diagram, fold, LIMIT, lambda d, f: picture(d, f, THEMES["auto"], WIDTH))
    return {
        "text/plain": str(diagram),
        "text/html": f'<div style="overflow-x:auto">{shown.svg()}</div>',
        "image/svg+xml": replace(shown, theme=THEMES["light"]).svg(),  # the same colours
    }


def explain(partial: tuple[Diagram, tuple[int, ...]] | None, message: str = "") -> str:
    """An error as HTML: the diagram up to the mistake, the wires that do not fit in red, the message."""
    shown = ""
    if partial is not None:
        diagram, wires = partial
        wrong = frozenset(map(str, wires))
        fold = Fold(style=diagram.style)
        shown = within(diagram, fold, LIMIT, lambda d, f: picture(d, f, THEMES["auto"], WIDTH, wrong)).svg()
    words = f'<pre style="margin:0.4em 0">{escape(message)}</pre>' if message else ""
    return f'<div style="overflow-x:auto">{shown}</div>{words}'
