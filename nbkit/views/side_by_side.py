"""A diagram and its program side by side, in linked colours: a line has the colour of what it computes.

A page of HTML and CSS without any script. Colours are attributes, so that they survive where style sheets
are dropped; pointing at a part lights up its lines and pointing at a line (or walking to it with the Tab key)
lights up its part, where style sheets are kept and know `:has()`. No ids; all rules are bound to a class
whose name is made of the contents, so cells cannot disturb each other.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from html import escape
from typing import Any

from nbkit.build.source import Line, source_lines
from nbkit.draw import svg
from nbkit.draw.themes import THEMES
from nbkit.language.diagram import Diagram
from nbkit.views.links import Drawn, colour, drawn, shown
from nbkit.views.words import marked

WIDTH = 560.0  # of the picture's rows
_MOST = 60  # copies of one line that are linked


@dataclass(frozen=True, repr=False)
class Code:
    """A diagram beside its program; a notebook shows it, `str` gives the program's text."""

    diagram: Diagram
    lines: tuple[Line, ...]
    width: float = WIDTH

    def __str__(self) -> str:
        return "".join(f"{line.text}\n" for line in self.lines)

    def __repr__(self) -> str:
        return f"<Code of {self.diagram}>"

    def html(self) -> str:
        """The page: picture and program, with their own style sheet."""
        picture = svg(self.diagram, theme="auto", width=self.width)
        parts = drawn(picture)
        keys = {path: f"p{number}" for number, path in enumerate(parts)}
        rows = "".join(
            _row(line, html, parts, keys) for line, html in zip(self.lines, marked(str(self)), strict=True)
        )
        name = f"nbkit-code-{hashlib.sha256((picture + rows).encode()).hexdigest()[:10]}"
        rules = _SHEET.replace("§", f".{name}.{name}") + _dark(name, parts) + _links(name, parts, keys)
        return (
            f'<div class="nbkit-code {name}"><style>{rules}</style><div class="panes">'
            f'<div class="picture">{picture}</div>'
            f'<div class="program"><table cellspacing="0" cellpadding="0"><tbody>{rows}</tbody></table></div>'
            "</div></div>"
        )

    def _repr_mimebundle_(self, include: Any = None, exclude: Any = None) -> dict[str, str]:
        return {"text/plain": str(self), "text/html": self.html()}


def code(diagram: Diagram, *, width: float = WIDTH, **sizes: int) -> Code:
    """The diagram and its stand-alone PyTorch program side by side, in linked colours.

    `sizes` bind free sizes, as in `diagram.source()`; `width` is that of the picture's rows. `BindingError`
    if a weight needs a size that is not given.

    >>> from nbkit import linear, relu
    >>> view = code((linear("m -> f=32") >> relu).on("x m"), m=64)
    >>> print(str(view).splitlines()[-1].strip())
    return torch.relu(self.linear(x))  # x f
    """
    program = source_lines(diagram, **sizes)
    return Code(diagram.at(**sizes), program.lines, width)


def _row(line: Line, html: str, parts: dict[str, Drawn], keys: dict[str, str]) -> str:
    """A line of the program: `data-on` says what it lights up, `data-in` what it is lit up by."""
    paths = line.paths[:_MOST]
    own = list(dict.fromkeys(found for path in paths for found in shown(path, parts)))
    outer = [key for path, key in keys.items() if any(_inside(p, path) for p in paths)]
    links = f' data-on="{" ".join(keys[p] for p in own)}"' if own else ""
    links += (
        f' data-in="{" ".join(dict.fromkeys([*(keys[p] for p in own), *outer]))}"' if own or outer else ""
    )
    stripe, cell = _painted(colour(line.within, parts)), _painted(colour(paths, parts))
    links += ' tabindex="0"' if own else ""
    return f"<tr{links}><td{stripe}>&nbsp;</td><td{cell}><pre>{html or ' '}</pre></td></tr>"


def _painted(part: Drawn | None) -> str:
    """The attributes of a cell in the colour of a part."""
    return "" if part is None else f' bgcolor="{escape(part.fill)}" class="{escape(part.role)}"'


def _inside(path: str, outer: str) -> bool:
    return path == outer or path.startswith(f"{outer}.")


def _dark(name: str, parts: dict[str, Drawn]) -> str:
    """The colours of lines in a dark JupyterLab: those that the picture has there."""
    roles = sorted({part.role for part in parts.values() if part.role})
    dark = THEMES["dark"]
    return "".join(
        f'[data-jp-theme-light="false"] .{name} td.{role}{{background-color:{dark[role.removeprefix("f-")]}}}'
        for role in roles
        if role.removeprefix("f-") in dark.colours
    )


def _links(name: str, parts: dict[str, Drawn], keys: dict[str, str]) -> str:
    """For each part, what lights up its lines and what lights it up."""
    rules = []
    for path, key in keys.items():
        part = parts[path]
        rules.append(f'.{name}:has({part.selector}:hover) tr[data-in~="{key}"] td:last-child{{{_LIT_LINE}}}')
        told = f'.{name}:has(tr[data-on~="{key}"]:is(:hover,:focus))'
        rules.append(f"{told} {part.selector}{{{_LIT_BLOCK if part.attribute == 'block' else _LIT_NODE}}}")
    return "".join(rules)


_ACCENT = "var(--jp-brand-color1,#1976d2)"
_LIT_LINE = (
    f"box-shadow:inset 4px 0 0 {_ACCENT},inset 0 0 0 99px color-mix(in srgb,{_ACCENT} 14%,transparent)"
)
_LIT_BLOCK = f"stroke:{_ACCENT};stroke-width:3"
_LIT_NODE = f"filter:drop-shadow(0 0 1px {_ACCENT}) drop-shadow(0 0 3px {_ACCENT})"
_SHEET = """
§{container-type:inline-size;margin:4px 0}
§ .panes{display:grid;grid-template-columns:minmax(0,1fr);gap:12px;align-items:start}
§ .picture{overflow:auto}
§ .program{overflow:auto;max-height:42rem;border:1px solid var(--jp-border-color2,#ddd);border-radius:4px;
padding:6px 0;background:var(--jp-cell-editor-background,transparent)}
@container (min-width:56rem){
§ .panes{grid-template-columns:repeat(2,minmax(0,1fr))}
§ .picture{max-height:43rem}}
§ table{border-collapse:collapse;width:100%;min-width:max-content;margin:0;border:0;font-size:inherit}
§ tr,§ tbody tr:nth-child(odd),§ tbody tr:nth-child(even){background:none}
§ td{padding:0 10px;border:0;text-align:left;vertical-align:top;max-width:none;white-space:pre;
line-height:1.5}
§ td:first-child{width:5px;padding:0;font-size:1px}
§ tr[data-on]{cursor:default}
§ tr[data-on]:is(:hover,:focus) td:last-child{
box-shadow:inset 0 0 0 99px color-mix(in srgb,currentColor 9%,transparent)}
§ tr:focus{outline:none}
§ tr:focus-visible td{outline:1px solid var(--jp-brand-color1,#1976d2)}
§ pre{margin:0;padding:0;border:0;background:none;overflow:visible;white-space:pre;
font:11.5px/1.5 var(--jp-code-font-family,monospace);color:var(--jp-content-font-color1,#222)}
§ pre .c,§ pre .s{color:var(--jp-content-font-color2,#666)}
§ pre .c{font-style:italic}
§ pre .k{color:var(--jp-mirror-editor-keyword-color,#00701a);font-weight:600}
§ pre .d{font-weight:600}
§ pre .n{color:var(--jp-mirror-editor-number-color,#666)}
"""
