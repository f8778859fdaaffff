"""The backward pass of a diagram as a diagram: reverse-mode differentiation, op by op, part by part."""

from nbkit.language.reverse.result import Reverse as Reverse
from nbkit.language.reverse.result import reverse as reverse
