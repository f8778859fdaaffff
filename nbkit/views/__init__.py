"""Several ways out of a diagram beside each other: above the rooms that draw and build, which do not know
each other, and apart from those of training and widgets, since a view is HTML that needs no kernel.
"""

from nbkit.views.side_by_side import Code as Code
from nbkit.views.side_by_side import code as code
