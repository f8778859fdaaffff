"""The few small functions and classes that a program may need, in their plainest form.

Each is a text of Python that stands by itself, under the name by which programs call it; only those that are
called are written.
"""

from __future__ import annotations

import re

from nbkit.build.source.pullbacks import PULLBACKS


def _group_norm(n: int) -> str:
    return f"GroupNorm{n}d" if n else "VectorGroupNorm"


HELPERS: dict[str, str] = {
    **PULLBACKS,
    "spatial": '''
def spatial(kernel, x, n, *settings):
    """A kernel for (batch, channel, *image) on x with any leading dimensions; the image has n."""
    batch, rest = x.shape[: -n - 1], x.shape[-n - 1 :]
    y = kernel(x.reshape(-1, *rest), *settings)
    return y.reshape(*batch, *y.shape[1:])
''',
    "grouped": '''
def grouped(x, weight, bias):
    """A linear map for each group, (..., g, i) -> (..., g, o), with the weight of a convolution."""
    groups = x.shape[-2]
    weight = weight.reshape(groups, -1, x.shape[-1])
    y = torch.einsum("...gi,goi->...go", x, weight)
    return y if bias is None else y + bias.view(groups, -1)
''',
    "join": '''
def join(parts, dim):
    """Concatenation where some parts lack the leading batch dimensions."""
    n = min(part.dim() for part in parts)
    batch = max((part.shape[: part.dim() - n] for part in parts), key=len)
    return torch.cat([part.expand(*batch, *part.shape[part.dim() - n :]) for part in parts], dim)
''',
    "VectorBatchNorm": '''
class VectorBatchNorm(nn.BatchNorm1d):
    """Batch norm of (..., c) with any number of batch dimensions, also none."""

    def forward(self, x):
        return super().forward(x.reshape(-1, x.shape[-1])).reshape(x.shape)
''',
    "BatchNorm1d": '''
class BatchNorm1d(nn.BatchNorm1d):
    """Batch norm of (..., c, x) with any number of batch dimensions, also none."""

    def forward(self, x):
        return super().forward(x.reshape(-1, *x.shape[-2:])).reshape(x.shape)
''',
    **{
        f"BatchNorm{n}d": f'''
class BatchNorm{n}d(nn.BatchNorm{n}d):
    """Batch norm of (..., c, {axes}) with any number of batch dimensions, also none."""

    def _check_input_dim(self, x):
        """Images whose pixels are one axis are welcome, too."""

    def forward(self, x):
        images = x.reshape(-1, *x.shape[-{n + 1}:])
        if len(images) == 1:  # torch 2.13 gives wrong gradients for one image that is not flat
            images = images.flatten(2)
        return super().forward(images).reshape(x.shape)
'''
        for n, axes in ((2, "y, x"), (3, "z, y, x"))
    },
    "BatchNormFlat": '''
class BatchNormFlat(nn.BatchNorm1d):
    """Batch norm of (..., c, *image), the image as one axis of `dims` dimensions taken together.

    Where an image is one pixel wide, torch 2.13 gives wrong gradients for images kept as they are.
    """

    def __init__(self, features, dims, **settings):
        super().__init__(features, **settings)
        self.dims = dims

    def forward(self, x):
        c, *image = x.shape[-self.dims - 1 :]
        return super().forward(x.reshape(-1, c, math.prod(image))).reshape(x.shape)
''',
    **{
        _group_norm(n): f"""
class {_group_norm(n)}(nn.GroupNorm):
    \"\"\"Group norm of (..., c{axes}) with any number of batch dimensions, also none.\"\"\"

    def forward(self, x):
        y = x.reshape(-1, *x.shape[-{n + 1}:])
        y = torch.group_norm(y, self.num_groups, self.weight, self.bias, self.eps)
        return y.reshape(x.shape)
"""
        for n, axes in ((0, ""), (1, ", x"), (2, ", y, x"), (3, ", z, y, x"))
    },
    "Affine": '''
class Affine(nn.Module):
    """A weight and a bias after a normalisation, over axes of their own."""

    def __init__(self, features):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(features))
        self.bias = nn.Parameter(torch.zeros(features))
''',
    "Buffer": """
class Buffer(nn.Module):
    \"\"\"An array that is kept and not learned.\"\"\"

    def __init__(self, weight):
        super().__init__()
        self.register_buffer("weight", weight)
""",
    "pile": """
def pile(parts, dim):
    \"\"\"The results of a scan; some may lack the leading batch dimensions of others.\"\"\"
    return torch.stack(torch.broadcast_tensors(*parts), dim)
""",
    "overlap": """
def overlap(x, stride, dilation, before, after):
    \"\"\"Windows added up, (..., i, j) -> (..., n), with so many elements cut off at the ends.\"\"\"
    *lead, places, size = x.shape
    full = (places - 1) * stride + dilation * (size - 1) + 1
    columns = x.reshape(-1, places, size).transpose(1, 2)
    y = F.fold(columns, (1, full), (1, size), dilation=(1, dilation), stride=(1, stride))
    return F.pad(y.reshape(*lead, full), (-before, -after))
""",
    "take": """
def take(x, index, fresh, rest):
    \"\"\"Elements by index: x (..., n, *rest) and index (..., *fresh) give (..., *fresh, *rest).\"\"\"
    new, tail = index.shape[index.dim() - fresh :], x.shape[x.dim() - rest :]
    table = x.reshape(*x.shape[: x.dim() - rest], math.prod(tail))
    index = index.reshape(*index.shape[: index.dim() - fresh], math.prod(new), 1)
    batch = torch.broadcast_shapes(index.shape[:-2], table.shape[:-2])
    table = table.expand(*batch, *table.shape[-2:])
    found = table.gather(-2, index.expand(*batch, index.shape[-2], table.shape[-1]))
    return found.reshape(*batch, *new, *tail)
""",
    "collect": """
def collect(x, index, n, how, rest):
    \"\"\"Elements brought to where an index points: x (..., e, *rest) gives (..., n, *rest).

    The index is (..., e). Sum, mean or max of those that meet; 0 where none comes.
    \"\"\"
    tail = x.shape[x.dim() - rest :]
    x = x.reshape(*x.shape[: x.dim() - rest], math.prod(tail))
    counts = index.new_zeros(*index.shape[:-1], n).scatter_add(-1, index, torch.ones_like(index))
    batch = torch.broadcast_shapes(index.shape[:-1], x.shape[:-2])
    x = x.expand(*batch, *x.shape[-2:])
    where = index.unsqueeze(-1).expand(x.shape)
    if how == "max":
        y = x.new_full((*batch, n, x.shape[-1]), -torch.inf).scatter_reduce(-2, where, x, "amax")
        y = y.masked_fill(counts.unsqueeze(-1) == 0, 0.0)
    else:
        y = x.new_zeros(*batch, n, x.shape[-1]).scatter_add(-2, where, x)
    if how == "mean":
        y = y / counts.clamp(min=1).unsqueeze(-1)
    return y.reshape(*batch, n, *tail)
""",
    "GroupedLinear": '''
class GroupedLinear(nn.Module):
    """A linear map of its own for each group: (..., g, i) -> (..., g, o)."""

    def __init__(self, g, i, o, bias=True):
        super().__init__()
        self.weight = nn.Parameter(torch.empty(g, o, i).uniform_(-(i**-0.5), i**-0.5))
        self.bias = nn.Parameter(torch.empty(g, o).uniform_(-(i**-0.5), i**-0.5)) if bias else None

    def forward(self, x):
        y = torch.einsum("...gi,goi->...go", x, self.weight)
        return y if self.bias is None else y + self.bias
''',
    "TransposedLinear": '''
class TransposedLinear(nn.Module):
    """A linear map whose weight (i, o) is another's: see where it is tied."""

    def __init__(self, i, o, bias=True):
        super().__init__()
        self.weight = nn.Parameter(torch.empty(i, o))
        self.bias = nn.Parameter(torch.empty(o).uniform_(-(i**-0.5), i**-0.5)) if bias else None

    def forward(self, x):
        return F.linear(x, self.weight.t(), self.bias)
''',
    "TurnedLinear": '''
class TurnedLinear(nn.Module):
    """The transpose of a grouped map or a convolution, whose own weight it holds."""

    def __init__(self, first, groups):
        super().__init__()
        self.first, self.groups = first, groups
        self.register_parameter("weight", None)  # tied later

    def forward(self, x):
        matrix = self.weight
        if self.first != "Grouped":
            matrix = matrix.reshape(self.groups or 1, -1, matrix.shape[1:].numel())
        if self.first != "ConvTranspose":
            matrix = matrix.transpose(1, 2)
        if not self.groups:
            return F.linear(x, matrix[0])
        return torch.einsum("...gi,goi->...go", x, matrix)
''',
}


def helpers_in(code: str) -> list[str]:
    """The names of the helpers that a program calls, helpers of helpers first."""
    found: list[str] = []
    for name in HELPERS:
        if calls(name, code):
            found += [n for n in helpers_in(HELPERS[name].partition("\n    ")[2]) if n not in found]
            found.append(name)
    return list(dict.fromkeys(found))


def calls(name: str, code: str) -> bool:
    """Whether a program calls a function."""
    return re.search(rf"(?<![\w.]){name}\(", code) is not None
