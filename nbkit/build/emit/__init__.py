"""How each op becomes lines of Python; importing the package registers them all with `emit`."""

from nbkit.build.emit import attention as attention
from nbkit.build.emit import boxes as boxes
from nbkit.build.emit import indexing as indexing
from nbkit.build.emit import layout as layout
from nbkit.build.emit import learned as learned
from nbkit.build.emit import masks as masks
from nbkit.build.emit import norms as norms
from nbkit.build.emit import parts as parts
from nbkit.build.emit import pointwise as pointwise
from nbkit.build.emit import products as products
from nbkit.build.emit import pullbacks as pullbacks
from nbkit.build.emit import values as values
from nbkit.build.emit import windows as windows
from nbkit.build.emit.base import emit as emit
