"""The error messages of the language: the whole text, and the wrong wires in red."""

import re
from collections.abc import Callable

import pytest

import nbkit as nk
from nbkit.components import attention, gpt, multi_head_attention
from nbkit.draw.themes import THEMES

F = nk.linear("m -> f")
HALF = nk.window("x", 2, 2) >> nk.linear("w -> ")
INSIDE = "transformer_block.*.multi_head_attention"
CASES: dict[str, tuple[Callable[[], object], str, str]] = {
    "missing axis": (
        lambda: nk.block("mlp", F >> nk.gelu >> nk.linear("g -> m")).on("x m"),
        "R[x f]",
        """DiagramTypeError: in mlp → linear[g -> m]   test_explained.py:LINE
  needs axis 'g' on its input, but the wire is  R[x f]
      x m ──▶ linear[m -> f] ──▶ gelu ──▶ R[x f] ──✗ linear[g -> m]
  did you mean 'f'?""",
    ),
    "residual": (
        lambda: (nk.skip + F).on("x m"),
        "R[x f]",
        """DiagramTypeError: in diagram → residual (+)
  the branches differ
      left   R[x m]      right  R[x f]        axes only on the left: m · only on the right: f
      input 1   R[x m]
      input 2   x m ──▶ linear[m -> f] ──▶ R[x f]
  a residual must return the axes it received; end the branch with linear("f -> m")""",
    ),
    "concat": (
        lambda: nk.block("unet", (HALF, nk.skip) >> nk.concat("c")).on("c=4 x"),
        "R[c=4 x]",
        """DiagramTypeError: in unet → concat[c]   test_explained.py:LINE
  axis 'x' has size x/2 on input 1 and x on input 2
      input 1   c=4 x ──▶ window[x] ──▶ linear[w ->] ──▶ R[c=4 x=x/2]
      input 2   R[c=4 x]
  missing an up-sampling, as in expand("w=2") >> merge("x w -> x"), or a stride of 2 on the other branch?""",
    ),
    "repeat": (
        lambda: (F**3).on("x m"),
        "R[x f]",
        """DiagramTypeError: in diagram → repeat(×3)
  must preserve its type: R[x m] became R[x f]
  end the repeated part with a map back to the axes it received""",
    ),
    "unbound": (
        lambda: multi_head_attention().on("y m, x m").torch(m=512),
        "R[y h k]",
        """BindingError: h, k are unbound; the diagram has free sizes h, k, x, y; given m=512.""",
    ),
    "not an integer": (
        lambda: nk.block("down", HALF >> HALF).on("x=30"),
        "R[x=15]",
        """DiagramTypeError: in down → window[x]   test_explained.py:LINE
  axis 'x' of size 15 does not divide into strides of 2
  choose a size divisible by 2, or padding=0 to drop the remainder""",
    ),
    "not an integer once bound": (
        lambda: nk.block("down", HALF >> HALF).on("x").at(x=30),
        "R[x=x/4 w=2]",
        """BindingError: x/4 is not an integer for x=30 (window at window_2)""",
    ),
    "heads": (
        lambda: gpt(2, 4).on("N(7)[x=4]", m=30),
        "R[y=4 h=4 k=m/4]",
        f"BindingError: m/4 is not an integer for m=30 (linear at {INSIDE}.Q)",
    ),
    "arity": (
        lambda: attention.on("y k, x k"),
        "R[y k]",
        "ArityError: attention takes 3 arrays (y k, x k, x k), got 2",
    ),
    "arity inside": (
        lambda: nk.block("heads", nk.relu >> attention).on("y k"),
        "R[y k]",
        "ArityError: attention takes 3 arrays (y k, x k, x k), got 1",
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_the_wrong_wire_is_red(case: str) -> None:
    make, wrong, text = CASES[case]
    with pytest.raises(nk.DiagramError) as caught:
        make()
    error = caught.value
    assert re.sub(r"\.py:\d+", ".py:LINE", f"{type(error).__name__}: {error}") == text
    assert error.partial is not None
    diagram, wires = error.partial
    assert wrong in [str(diagram.wires[w].type) for w in wires]
    html = error._repr_html_()
    red = THEMES["light"]["wrong"]
    assert html.count("<svg") == 1
    reds = re.findall(rf'data-wire="(\d+)"[^>]*stroke="{red}"|stroke="{red}"[^>]*data-wire="(\d+)"', html)
    assert {int(a or b) for a, b in reds} <= set(wires)
    assert reds
