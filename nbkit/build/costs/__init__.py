"""What a diagram costs: parameters, FLOPs, bytes moved, memory; symbolic in the sizes, without torch."""

from nbkit.build.costs.count import cost as cost
from nbkit.build.costs.model import Cost as Cost
from nbkit.build.costs.model import Cut as Cut
from nbkit.build.costs.model import Entry as Entry
from nbkit.build.costs.tints import MEASURES as MEASURES
from nbkit.build.costs.tints import tints as tints
