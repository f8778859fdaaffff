"""Python text as HTML, its comments, strings and keywords marked; all text is escaped."""

from __future__ import annotations

import io
import keyword
import tokenize
from html import escape

_KINDS = {tokenize.COMMENT: "c", tokenize.STRING: "s", tokenize.NUMBER: "n"}


def marked(text: str) -> list[str]:
    """The lines of a program as HTML: c comments, s strings, k keywords, n numbers, d what is defined.

    >>> marked("x = 1  # one")
    ['x = <span class="n">1</span>  <span class="c"># one</span>']
    """
    lines = text.splitlines()
    spans: list[list[tuple[int, int, str]]] = [[] for _ in lines]
    named = False
    for token in tokenize.generate_tokens(io.StringIO(text).readline):
        kind = _KINDS.get(token.type, "")
        if token.type == tokenize.NAME:
            kind = "k" if keyword.iskeyword(token.string) else "d" if named else ""
            named = token.string in ("class", "def")
        if kind:
            for row in range(token.start[0], token.end[0] + 1):
                first = token.start[1] if row == token.start[0] else 0
                last = token.end[1] if row == token.end[0] else len(lines[row - 1])
                spans[row - 1] += [(first, last, kind)] * (last > first)
    return [_line(line, here) for line, here in zip(lines, spans, strict=True)]


def _line(line: str, spans: list[tuple[int, int, str]]) -> str:
    html, at = "", 0
    for first, last, kind in spans:
        html += escape(line[at:first]) + f'<span class="{kind}">{escape(line[first:last])}</span>'
        at = last
    return html + escape(line[at:])
