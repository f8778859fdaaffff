"""The ways in: `svg(diagram)`, `save(diagram, path)` and what a diagram shows in a notebook."""

from __future__ import annotations

from pathlib import Path
from xml.sax.saxutils import escape

from nbkit.draw.picture import Picture, picture
from nbkit.draw.steps import Fold
from nbkit.draw.themes import THEMES
from nbkit.language.diagram import Diagram
from nbkit.language.errors import DiagramError, nearest

WIDTH = 940.0


def layout(
    diagram: Diagram,
    *,
    theme: str = "light",
    depth: int | None = None,
    unroll: bool = False,
    conv: str = "collapsed",
    width: float = WIDTH,
) -> Picture:
    """The picture as shapes with coordinates; `svg` is its text."""
    if theme not in THEMES:
        raise DiagramError(
            f"there is no theme {theme!r}; {nearest(theme, THEMES) or 'choose one of ' + ', '.join(THEMES)}"
        )
    if conv not in ("collapsed", "expanded"):
        raise DiagramError(
            f"conv is 'collapsed' (one box) or 'expanded' (window, then linear map), not {conv!r}"
        )
    if not width > 0:
        raise DiagramError(f"width is a positive number of pixels, not {width!r}")
    return picture(diagram, Fold(depth, unroll, conv, diagram.style), THEMES[theme], width)


def svg(
    diagram: Diagram,
    *,
    theme: str = "light",
    depth: int | None = None,
    unroll: bool = False,
    conv: str = "collapsed",
    width: float = WIDTH,
) -> str:
    """The neural circuit diagram as SVG text: deterministic, self-contained, without scripts.

    theme: "light", "dark", "print", or "auto" (follows JupyterLab's theme). depth: how many levels of blocks
    are drawn open (None: all). unroll: draw every copy of a repetition. conv: "collapsed" (one box) or
    "expanded" (window, then linear map). width: pixels per row.

    >>> from nbkit import linear, relu
    >>> svg((linear("m -> f") >> relu).on("x m"))[:55]
    '<svg xmlns="http://www.w3.org/2000/svg" class="nbkit-di'
    """
    return layout(diagram, theme=theme, depth=depth, unroll=unroll, conv=conv, width=width).svg()


def save(
    diagram: Diagram,
    path: str | Path,
    *,
    theme: str = "light",
    depth: int | None = None,
    unroll: bool = False,
    width: float = WIDTH,
) -> None:
    """Writes the picture to a file."""
    Path(path).write_text(
        svg(diagram, theme=theme, depth=depth, unroll=unroll, width=width), encoding="utf-8"
    )


def mimebundle(diagram: Diagram) -> dict[str, str]:
    """What a diagram shows of itself: HTML that follows JupyterLab's theme, SVG, text."""
    return {
        "text/plain": str(diagram),
        "text/html": f'<div style="overflow-x:auto">{svg(diagram, theme="auto")}</div>',
        "image/svg+xml": svg(diagram),
    }


def explain(partial: tuple[Diagram, int | None] | None, message: str = "") -> str:
    """A type error as HTML: the diagram up to the mistake, the wire that does not fit in red, the message."""
    shown = ""
    if partial is not None:
        diagram, wire = partial
        wrong = frozenset() if wire is None else frozenset({str(wire)})
        shown = picture(diagram, Fold(style=diagram.style), THEMES["auto"], WIDTH, wrong).svg()
    words = f'<pre style="margin:0.4em 0">{escape(message)}</pre>' if message else ""
    return f'<div style="overflow-x:auto">{shown}</div>{words}'
