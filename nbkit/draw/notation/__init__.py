"""Index notation: equations as data, what each op says in it, and how it is written in LaTeX."""

from nbkit.draw.notation.writer import Writer as Writer
