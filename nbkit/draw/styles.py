"""Styles: how much a picture tells, whatever its colours.

`paper` is drawn as in the papers. `tutorial` shows what others leave to the reader: a plate behind every type
and every operation, and tags on the axes over which an operation is broadcast (Abbott 2024, figures 7, 10 and
11). `compact` is for thumbnails and slides: smaller, with labels at the ends only. `print` is black on white.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Style:
    """What is drawn beside the diagram itself; `zoom` is pixels a user unit, `theme` one that it needs."""

    name: str
    zoom: float = 1.0
    labels: str = "changes"  # "every" cut, where something "changes", at the "ends" of rows only
    plates: bool = False  # behind types and operations, and tags of broadcasting
    theme: str = ""


STYLES = {
    style.name: style
    for style in (
        Style("paper"),
        Style("tutorial", labels="every", plates=True),
        Style("compact", zoom=0.7, labels="ends"),
        Style("print", theme="print"),
    )
}
PAPER = STYLES["paper"]
