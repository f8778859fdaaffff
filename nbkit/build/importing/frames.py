"""Attention that is written out by hand gets a block of its own, as the fused call does."""

from __future__ import annotations

from collections.abc import Sequence

from nbkit.build.importing.cells import Cell, Scope, Stack, Wire
from nbkit.build.importing.tidy import Readers

_BETWEEN = ("scale", "mask", "add", "dropout")


def frame_attention(cells: Sequence[Cell], outputs: Sequence[Wire]) -> None:
    """Puts scores, softmax and mix of an attention into one scope, where they stand side by side."""
    readers = Readers(cells, outputs)
    place = {id(cell): i for i, cell in enumerate(cells)}
    for cell in cells:
        if cell.kind != "softmax" or any(scope.kind == "Attention" for scope in cell.stack):
            continue
        chain = _chain(cell, readers)
        if chain is None:
            continue
        first, last = place[id(chain[0])], place[id(chain[-1])]
        inside = {id(c) for c in chain}
        if any(id(c) not in inside and c.kind != "parameter" for c in cells[first : last + 1]):
            continue
        shared = _shared([c.stack for c in chain])
        scope = Scope(
            f"{shared[-1].key if shared else ''}/attention{chain[0].order}", "attention", "Attention"
        )
        for part in chain:
            rest = part.stack[len(shared) :]
            if rest and not part.name:
                part.name = rest[-1].name.rpartition(".")[2]
            part.stack = (*shared, scope)
        chain[0].name, chain[-1].name = "scores", "mix"


def _chain(softmax: Cell, readers: Readers) -> list[Cell] | None:
    """From the product of queries and keys to the product with the values, each read once."""
    found = [softmax]
    above = readers.maker.get(id(softmax.ins[0]))
    while above is not None:
        if readers.only(above.outs[0]) is not found[0]:
            return None
        found.insert(0, above)
        if above.kind == "einsum":
            break
        if above.kind not in _BETWEEN:
            return None
        above = readers.maker.get(id(above.ins[0]))
    below = readers.only(softmax.outs[0])
    while below is not None:
        found.append(below)
        if below.kind == "einsum":
            return found if found[0].kind == "einsum" and len(found[0].ins) == 2 == len(below.ins) else None
        if below.kind not in ("dropout", "mask"):
            return None
        below = readers.only(below.outs[0])
    return None


def _shared(stacks: Sequence[Stack]) -> Stack:
    found: list[Scope] = []
    for level in zip(*stacks, strict=False):
        if any(scope != level[0] for scope in level):
            break
        found.append(level[0])
    return tuple(found)
