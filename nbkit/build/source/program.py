"""The whole program: what it imports, the helpers that it calls, and the classes of the diagram."""

from __future__ import annotations

import re

from nbkit.build.source.helpers import HELPERS, helpers_in
from nbkit.build.source.text import Line, Source, docstring
from nbkit.build.source.ties import ties
from nbkit.build.source.writer import Writer
from nbkit.build.weights import sizes_needed
from nbkit.language.diagram import Diagram
from nbkit.language.errors import BindingError


def source(diagram: Diagram, **sizes: int) -> str:
    """The diagram as the text of a stand-alone PyTorch program, which imports torch and nothing else.

    One class for each block that differs in more than sizes; the last one, made without arguments, is the
    diagram: its state dict has the keys and shapes of `diagram.torch()`, and with the same weights it gives
    the same outputs and gradients. `sizes` bind free sizes. `BindingError` if a weight needs a size that is
    not given.

    >>> from nbkit import linear, relu
    >>> text = source((linear("m -> f=32") >> relu >> linear("f -> n=10", "out")).on("x m=64"))
    >>> print(text[text.index("    def __init__") :], end="")
        def __init__(self, m=64, f=32, n=10):
            super().__init__()
            self.linear = nn.Linear(m, f)
            self.out = nn.Linear(f, n)
    <BLANKLINE>
        def forward(self, x):
            relu = torch.relu(self.linear(x))  # x f
            return self.out(relu)  # x n
    """
    return str(source_lines(diagram, **sizes))


def source_lines(diagram: Diagram, **sizes: int) -> Source:
    """The program line by line, each with the paths of what it stands for; see `source`."""
    bound = diagram.at(**sizes)
    needed = sorted(sizes_needed(bound))
    if needed:
        raise BindingError(
            f"{', '.join(needed)} {'is' if len(needed) == 1 else 'are'} unbound, and weights need "
            f"{'it' if len(needed) == 1 else 'them'}; give {'it' if len(needed) == 1 else 'them'}: "
            f"d.source({', '.join(f'{name}=…' for name in needed)})"
        )
    writer = Writer(ties(bound))
    made = writer.write(bound)
    body: list[Line] = []
    for text in writer.classes.values():
        body += [Line(), Line(), *text.lines()]
    code = "\n".join(line.text for line in body)
    helpers = [HELPERS[name].strip("\n").split("\n") for name in helpers_in(code)]
    for lines in reversed(helpers):
        body = [Line(), Line(), *map(Line, lines), *body]
    code = "\n".join(line.text for line in body)
    title = f"{diagram.name} in plain PyTorch, written by nbkit: `{made.name}()` is the module."
    head = [*docstring(title, (), 0), ""]
    head += ["import math", ""] * _reads("math", code)
    head += ["import torch"] * _reads("torch", code)
    head += ["from torch import nn"]
    head += ["from torch.nn import functional as F  # noqa: N812"] * _reads("F", code)
    head += sorted(writer.imports)
    for name in made.given:
        head += ["", f"# {made.name} takes {name}: what makes a module that this text does not know."]
    return Source(made.name, (*map(Line, head), *body))


def _reads(name: str, code: str) -> bool:
    return re.search(rf"(?<![\w.]){name}\.", code) is not None
