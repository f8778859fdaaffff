"""Diagrams as pictures (SVG, TikZ), overview graphs (DOT) and equations; without a browser, without torch."""

from nbkit.draw.equation import Equation as Equation
from nbkit.draw.equation import equation as equation
from nbkit.draw.page import Beside as Beside
from nbkit.draw.page import beside as beside
from nbkit.draw.reverse import reverse_mimebundle as reverse_mimebundle
from nbkit.draw.reverse import reverse_svg as reverse_svg
from nbkit.draw.show import explain as explain
from nbkit.draw.show import mimebundle as mimebundle
from nbkit.draw.show import save as save
from nbkit.draw.show import svg as svg
from nbkit.draw.tint import Tint as Tint
from nbkit.draw.to_dot import dot as dot
from nbkit.draw.to_equations import equations as equations
from nbkit.draw.to_tikz import reverse_tikz as reverse_tikz
from nbkit.draw.to_tikz import tikz as tikz
