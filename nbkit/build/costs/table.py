"""The account as a table: text for terminals, HTML for notebooks."""

from __future__ import annotations

from html import escape

from sympy import Max

from nbkit.build.costs.model import Cost, Entry, Number
from nbkit.language.sizes import format_size

HEAD = ("path", "operation", "parameters", "FLOPs", "bytes moved", "bytes kept")
_RIGHT = 2  # columns from here on are numbers


def shown(number: Number) -> str:
    """A number with commas; an open size as its formula."""
    if isinstance(number, int):
        return f"{number:,}"
    if isinstance(number, Max):
        return f"max({', '.join(sorted(format_size(size) for size in number.args))})"
    return format_size(number)


def rows(cost: Cost) -> list[tuple[int, str, str, tuple[Number, ...]]]:
    """Depth, last part of the path, operation and numbers of every line; what costs nothing is left out."""
    lines = []
    for entry in cost.by_path().values():
        numbers = _numbers(entry)
        if any(numbers):
            lines.append((entry.path.count("."), entry.path.rpartition(".")[2], entry.op, numbers))
    return lines


def _numbers(entry: Entry) -> tuple[Number, ...]:
    return entry.params, entry.flops, entry.bytes, entry.memory


def _totals(cost: Cost) -> tuple[Number, ...]:
    return cost.params, cost.flops, cost.bytes, cost.memory


def _peak(cost: Cost) -> str:
    """Where the largest cut lies."""
    peak = cost.peak
    where = next((cut.path for cut in cost.cuts if cut.live == peak), None)
    place = "" if where is None else f", after {where}" if where else ", at the inputs"
    return f"at most {shown(peak)} bytes of arrays are alive together{place}"


def text(cost: Cost) -> str:
    """The table as text."""
    lines = [
        HEAD,
        *(("  " * depth + name, op, *map(shown, numbers)) for depth, name, op, numbers in rows(cost)),
        ("total", "", *map(shown, _totals(cost))),
    ]
    widths = [max(len(line[i]) for line in lines) for i in range(len(HEAD))]
    written = [
        "  ".join(
            f"{cell:<{width}}" if i < _RIGHT else f"{cell:>{width}}"
            for i, (cell, width) in enumerate(zip(line, widths, strict=True))
        ).rstrip()
        for line in lines
    ]
    rule = "─" * (sum(widths) + 2 * (len(widths) - 1))
    return "\n".join([written[0], rule, *written[1:-1], rule, written[-1], _peak(cost)])


def html(cost: Cost) -> str:
    """The table as HTML, without styles of its own but alignment, so that notebooks' themes apply."""
    right = ' style="text-align:right"'
    left = ' style="text-align:left"'
    head = "".join(f"<th{left if i < _RIGHT else right}>{name}</th>" for i, name in enumerate(HEAD))
    body = []
    for depth, name, op, numbers in rows(cost):
        cells = f'<td style="text-align:left;padding-left:{0.5 + 1.2 * depth:.1f}em">{escape(name)}</td>'
        cells += f"<td{left}>{escape(op)}</td>"
        body.append(f"<tr>{cells}{''.join(f'<td{right}>{escape(shown(n))}</td>' for n in numbers)}</tr>")
    totals = "".join(f"<th{right}>{escape(shown(n))}</th>" for n in _totals(cost))
    return (
        f"<table><thead><tr>{head}</tr></thead><tbody>{''.join(body)}</tbody>"
        f'<tfoot><tr><th{left} colspan="2">total</th>{totals}</tr></tfoot></table>'
        f"<p>{escape(_peak(cost))}</p>"
    )
