"""The diagram language: axes, arrays, ops, functions, typing, errors, text and JSON forms (sympy only)."""

from nbkit.language.axes import Array as Array
from nbkit.language.axes import Axis as Axis
from nbkit.language.axes import parse_array as parse_array
from nbkit.language.diagram import Diagram as Diagram
from nbkit.language.diagram import Node as Node
from nbkit.language.diagram import Wire as Wire
from nbkit.language.errors import ArityError as ArityError
from nbkit.language.errors import BindingError as BindingError
from nbkit.language.errors import DiagramError as DiagramError
from nbkit.language.errors import DiagramTypeError as DiagramTypeError
from nbkit.language.errors import ParseError as ParseError
from nbkit.language.functions import Fn as Fn
from nbkit.language.listing import parse as parse
from nbkit.language.parts import Block as Block
from nbkit.language.parts import Repeat as Repeat
