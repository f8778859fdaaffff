"""The formulas that a backward pass may need (`d.reverse()`), in their plainest form; see `helpers.py`."""

from __future__ import annotations

PULLBACKS: dict[str, str] = {
    "gelu_slope": '''
def gelu_slope(x):
    """The slope of GELU: Φ(x) + x φ(x)."""
    density = torch.exp(-0.5 * x * x) / math.sqrt(2 * math.pi)
    return 0.5 * (1 + torch.erf(x / math.sqrt(2))) + x * density
''',
    "gelu_tanh_slope": '''
def gelu_tanh_slope(x):
    """The slope of GELU's approximation by tanh."""
    c = math.sqrt(2 / math.pi)
    t = torch.tanh(c * (x + 0.044715 * x**3))
    return 0.5 * (1 + t) + 0.5 * x * (1 - t * t) * c * (1 + 3 * 0.044715 * x * x)
''',
    "silu_slope": '''
def silu_slope(x):
    """The slope of x σ(x)."""
    s = torch.sigmoid(x)
    return s * (1 + x * (1 - s))
''',
    "mish_slope": '''
def mish_slope(x):
    """The slope of x tanh(softplus(x))."""
    t = torch.tanh(F.softplus(x))
    return t + x * (1 - t * t) * torch.sigmoid(x)
''',
    "hardswish_slope": '''
def hardswish_slope(x):
    """The slope of x relu6(x + 3) / 6."""
    inner = torch.where(x <= 3, x / 3 + 0.5, 1.0)
    return torch.where(x < -3, 0.0, inner)
''',
    "softmax_pullback": '''
def softmax_pullback(p, dy, dims):
    """The gradient before a softmax that gave p: p * (dy - sum of p * dy)."""
    return p * (dy - (p * dy).sum(dims, keepdim=True))
''',
    "norm_pullback": '''
def norm_pullback(how, x, dy, dims, eps):
    """The gradient before a normalisation of x; dims are normalised over (batch: are not)."""
    if how == "batch":
        kept = {dim % x.dim() for dim in dims}
        dims = tuple(dim for dim in range(x.dim()) if dim not in kept)
    centred = x if how == "rms" else x - x.mean(dims, keepdim=True)
    r = torch.rsqrt((centred * centred).mean(dims, keepdim=True) + eps)
    normed = centred * r
    inner = dy - normed * (dy * normed).mean(dims, keepdim=True)
    return r * (inner if how == "rms" else inner - dy.mean(dims, keepdim=True))
''',
    "reduce_pullback": '''
def reduce_pullback(how, x, dy):
    """The gradient before a maximum, minimum or product over the last dimension of x."""
    dy = dy.unsqueeze(-1)
    if how == "prod":
        ones = torch.ones_like(x[..., :1])
        before = torch.cat((ones, x[..., :-1]), -1).cumprod(-1)
        after = torch.cat((x[..., 1:], ones), -1).flip(-1).cumprod(-1).flip(-1)
        return dy * before * after
    first = (x.max(-1) if how == "max" else x.min(-1)).indices.unsqueeze(-1)
    return torch.zeros_like(x).scatter(-1, first, dy.expand_as(first))
''',
    "where_pullback": '''
def where_pullback(x, y, dy):
    """The gradient dy where x = y, else 0."""
    return torch.where(x == y, dy, torch.zeros_like(dy))
''',
}
