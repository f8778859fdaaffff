"""From torch modules to diagrams: `from_torch`."""

from nbkit.build.importing.imported import Imported as Imported
from nbkit.build.importing.imported import from_torch as from_torch
