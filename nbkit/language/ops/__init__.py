"""The operations of the language: what each means, and how it types itself.

An op is a small frozen dataclass of plain values (strings, numbers, booleans), so that it prints, compares
and serialises without help; settings that make no sense are refused when it is made. `infer(arrays)` gives
the arrays that come out, or raises `Mismatch`; `resolve(lookup)` fills in the sizes that its specification
left open. An op knows nothing of torch, of pictures or of files: each backend registers one small function
per op. Source of the operations and their pictures: V. Abbott, Neural Circuit Diagrams (TMLR 2024, arXiv
2402.05424).
"""

from nbkit.language.ops.algebra import Einsum as Einsum
from nbkit.language.ops.algebra import Embed as Embed
from nbkit.language.ops.algebra import Linear as Linear
from nbkit.language.ops.algebra import Positions as Positions
from nbkit.language.ops.base import KINDS as KINDS
from nbkit.language.ops.base import Composite as Composite
from nbkit.language.ops.base import Lookup as Lookup
from nbkit.language.ops.base import Op as Op
from nbkit.language.ops.base import check_tokens as check_tokens
from nbkit.language.ops.base import make_op as make_op
from nbkit.language.ops.base import tokens_domain as tokens_domain
from nbkit.language.ops.boxes import Torch as Torch
from nbkit.language.ops.indexing import Gather as Gather
from nbkit.language.ops.indexing import Indices as Indices
from nbkit.language.ops.indexing import OneHot as OneHot
from nbkit.language.ops.indexing import Scatter as Scatter
from nbkit.language.ops.indexing import TopK as TopK
from nbkit.language.ops.layout import Concat as Concat
from nbkit.language.ops.layout import Expand as Expand
from nbkit.language.ops.layout import Merge as Merge
from nbkit.language.ops.layout import Rename as Rename
from nbkit.language.ops.layout import Slice as Slice
from nbkit.language.ops.layout import Split as Split
from nbkit.language.ops.layout import Transpose as Transpose
from nbkit.language.ops.pointwise import FUNCTIONS as FUNCTIONS
from nbkit.language.ops.pointwise import Add as Add
from nbkit.language.ops.pointwise import Dropout as Dropout
from nbkit.language.ops.pointwise import Elementwise as Elementwise
from nbkit.language.ops.pointwise import Mask as Mask
from nbkit.language.ops.pointwise import Multiply as Multiply
from nbkit.language.ops.pointwise import Scale as Scale
from nbkit.language.ops.pullback import Pullback as Pullback
from nbkit.language.ops.reductions import Norm as Norm
from nbkit.language.ops.reductions import Reduce as Reduce
from nbkit.language.ops.reductions import Softmax as Softmax
from nbkit.language.ops.values import Cast as Cast
from nbkit.language.ops.values import Constant as Constant
from nbkit.language.ops.values import Parameter as Parameter
from nbkit.language.ops.values import StopGradient as StopGradient
from nbkit.language.ops.windows import Fold as Fold
from nbkit.language.ops.windows import Window as Window
