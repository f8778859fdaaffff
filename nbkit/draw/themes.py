"""Colours of the pictures: one role per kind of thing, one value per theme.

Every shape carries its colour as a presentation attribute, so that a picture survives sanitisers that drop
style sheets (GitHub, nbviewer); the `auto` theme adds a style sheet that re-colours by class inside a dark
JupyterLab. Plate colours follow the palette of Abbott's figures; the dark ones keep hue and swap lightness.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

_LIGHT = {
    "paper": "#ffffff", "ink": "#262626", "faint": "#5f6368", "letter": "#111111",
    "linear": "#e8eeeb", "region": "#dbdfef", "outer": "#f3f3f4", "inner": "#e6e9f5",
    "attention": "#cfc9e6", "mha": "#ffe8cb", "softmax": "#cce7cf", "norm": "#fce0e1",
    "residual": "#f4f6d2", "ffn": "#d3eefa", "conv": "#e0f0fa", "window": "#a9e3ff",
    "pool": "#e5e7f9", "embed": "#fce0e1", "mask": "#f9cbdf", "masked": "#8a8a8a",
    "block": "#b8e986", "big": "#e3cefa", "index": "#1346fe", "onindex": "#ffffff",
    "circle": "#f1fcfc", "glyph": "#ffffff", "wrong": "#c8102e", "note": "#fdfac8",
    "type": "#f0c4f8", "function": "#cfe3ff", "weave": "#9013fe", "onweave": "#ffffff",
    "woven": "#d9b8fb", "reuse": "#d93a3d", "reused": "#fbc4c4",
}  # fmt: skip
_DARK = {
    "paper": "#16181d", "ink": "#e4e6ea", "faint": "#9aa0a6", "letter": "#ffffff",
    "linear": "#3a4440", "region": "#272c47", "outer": "#24262c", "inner": "#3a4370",
    "attention": "#4b4180", "mha": "#5a4424", "softmax": "#2b4a30", "norm": "#54303a",
    "residual": "#3f411f", "ffn": "#1f4353", "conv": "#1f3a4d", "window": "#17618a",
    "pool": "#31345a", "embed": "#54303a", "mask": "#6b2f4c", "masked": "#b0b0b0",
    "block": "#3e6b1d", "big": "#51367a", "index": "#7c9bff", "onindex": "#10131a",
    "circle": "#20343a", "glyph": "#16181d", "wrong": "#ff6b81", "note": "#4d4a1c",
    "type": "#4f2a5c", "function": "#1f3557", "weave": "#c58bff", "onweave": "#16181d",
    "woven": "#5b2f8c", "reuse": "#ff8f91", "reused": "#7d3436",
}  # fmt: skip
# Hues that stay apart in every common form of colour blindness: Okabe & Ito's, lightened for plates.
_APART = _LIGHT | {
    "linear": "#e4e4e4", "region": "#dcebf5", "outer": "#f4f4f4", "inner": "#eef5fa",
    "attention": "#cfe6f6", "mha": "#fdebc8", "softmax": "#c5e8dc", "norm": "#f6d9e8",
    "residual": "#fbf8cf", "ffn": "#d8ecf9", "conv": "#d8ecf9", "window": "#8ccbf0",
    "pool": "#e4e4f4", "embed": "#f6d9e8", "mask": "#f3c7ad", "masked": "#7a7a7a",
    "block": "#f5cf85", "big": "#d3b6cb", "index": "#0072b2", "wrong": "#d55e00", "note": "#fdf7b0",
    "type": "#f1d3e5", "function": "#cbe5f7", "weave": "#0072b2", "onweave": "#ffffff",
    "woven": "#9fd0ee", "reuse": "#b84a00", "reused": "#f7cfae",
}  # fmt: skip
_KEPT = ("ink", "faint", "letter", "masked", "index", "onindex", "wrong", "paper", "onweave")
_PRINT = {role: (_LIGHT[role] if role in _KEPT else "#ffffff") for role in _LIGHT} | {
    "ink": "#000000", "letter": "#000000", "faint": "#000000", "index": "#000000", "masked": "#777777",
    "weave": "#000000", "reuse": "#555555",
}  # fmt: skip


@dataclass(frozen=True)
class Theme:
    """A palette; `outline` draws the borders of plates (print), `adaptive` adds the dark style sheet."""

    name: str
    colours: dict[str, str]
    outline: bool = False
    adaptive: bool = False
    transparent: bool = False
    night: Mapping[str, str] = field(default_factory=dict)  # further colours inside a dark notebook

    def __getitem__(self, role: str) -> str:
        return self.colours[role]

    def sheet(self) -> str:
        """The style sheet of an adaptive picture."""
        if not self.adaptive:
            return ""
        scope = '[data-jp-theme-light="false"] .nbkit-diagram'
        rules = [
            f"{scope} .f-{r}{{fill:{c}}}{scope} .s-{r}{{stroke:{c}}}"
            for r, c in _DARK.items()
            if c != _LIGHT[r]
        ]
        rules += [f"{scope} .f-{r}{{fill:{c}}}{scope} .s-{r}{{stroke:{c}}}" for r, c in self.night.items()]
        return f"<style>{''.join(rules)}</style>"


def dressed(theme: Theme, colours: Mapping[str, str], night: Mapping[str, str]) -> Theme:
    """The theme with roles of an overlay; `night` are their colours inside a dark notebook."""
    return replace(theme, colours={**theme.colours, **colours}, night={**theme.night, **night})


THEMES = {
    "light": Theme("light", _LIGHT),
    "dark": Theme("dark", _DARK),
    "colourblind": Theme("colourblind", _APART),
    "print": Theme("print", _PRINT, outline=True),
    "auto": Theme("auto", _LIGHT, adaptive=True, transparent=True),
}
