"""The glyphs: one function per kind of step, drawing between the lanes that enter and those that leave.

Shapes and sizes follow the grammar of Abbott's figures (dots r 3.35, softmax triangle 20 × 28, plates with a
bold letter, trapezoid for windows, circle for norms, thick bars for views). A glyph sees its own strip and
the heights of its lanes; everything that runs past the step is drawn by the row.
"""

from nbkit.draw.glyphs import backward, functions, learned, products, structure, values, views, windows
from nbkit.draw.glyphs.pen import Pen as Pen
from nbkit.draw.glyphs.pen import draw as draw
from nbkit.draw.glyphs.pen import width_of as width_of

__all__ = [
    "Pen",
    "backward",
    "draw",
    "functions",
    "learned",
    "products",
    "structure",
    "values",
    "views",
    "width_of",
    "windows",
]
