"""Names in generated code: those of the diagram where Python and torch allow it, else `name_` or `name_2`.

Nothing of a diagram reaches generated code but names that pass the language's own regular expression (checked
again here), numbers, and our own words; so a diagram from a stranger cannot bring code along.
"""

from __future__ import annotations

import builtins
import keyword
import unicodedata

from nbkit.language.diagram import Diagram
from nbkit.language.sizes import check_name

# What torch.nn.Module and our own modules already call something: a submodule may not take these names.
TAKEN_BY_MODULES = frozenset(
    [
        "T_destination",
        "add_module",
        "apply",
        "bfloat16",
        "buffers",
        "call_super_init",
        "children",
        "code",
        "compile",
        "cpu",
        "cuda",
        "diagram",
        "double",
        "dump_patches",
        "eval",
        "extra_repr",
        "float",
        "forward",
        "get_buffer",
        "get_extra_state",
        "get_parameter",
        "get_submodule",
        "half",
        "ipu",
        "like",
        "load_state_dict",
        "modules",
        "mtia",
        "named_buffers",
        "named_children",
        "named_modules",
        "named_parameters",
        "parameters",
        "plan",
        "program",
        "register_backward_hook",
        "register_buffer",
        "register_forward_hook",
        "register_forward_pre_hook",
        "register_full_backward_hook",
        "register_full_backward_pre_hook",
        "register_load_state_dict_post_hook",
        "register_load_state_dict_pre_hook",
        "register_module",
        "register_parameter",
        "register_state_dict_post_hook",
        "register_state_dict_pre_hook",
        "requires_grad_",
        "set_extra_state",
        "set_submodule",
        "share_memory",
        "state_dict",
        "to",
        "to_empty",
        "train",
        "training",
        "type",
        "xpu",
        "zero_grad",
    ]
)
# The words of generated code; `runtime.WORDS` says what they mean, and nothing else is in its scope.
WORDS = frozenset(
    [
        "F",
        "allowed",
        "boxed",
        "check_stride",
        "collect",
        "forbidden",
        "gelu_slope",
        "gelu_tanh_slope",
        "grouped",
        "hardswish_slope",
        "inf",
        "join",
        "mish_slope",
        "norm_pullback",
        "overlap",
        "pile",
        "reduce_pullback",
        "rows",
        "silu_slope",
        "softmax_pullback",
        "spatial",
        "take",
        "torch",
        "where_pullback",
    ]
)
# A wire may not take these names.
TAKEN_BY_CODE = frozenset([*keyword.kwlist, *keyword.softkwlist, *dir(builtins), *WORDS, "self", "layer"])


def identifier(name: str, taken: frozenset[str] | set[str]) -> str:
    """The name itself where it is a free Python identifier, else the nearest one that is."""
    text = "".join(
        c if ("a" + c).isidentifier() and unicodedata.normalize("NFKC", c) == c else "_" for c in name
    )
    text = text if text.isidentifier() else f"v{text}"
    if text not in taken and not keyword.iskeyword(text):
        return text
    if f"{text}_" not in taken:
        return f"{text}_"
    number = 2
    while f"{text}_{number}" in taken:
        number += 1
    return f"{text}_{number}"


def class_name(name: str) -> str:
    """`multi_head` → `MultiHead`."""
    return identifier(
        "".join(part[:1].upper() + part[1:] for part in name.split("_") if part) or "Diagram", TAKEN_BY_CODE
    )


def attributes(diagram: Diagram) -> dict[str, str]:
    """The submodule name of each node, by id: the id itself unless torch.nn.Module has such a thing."""
    found: dict[str, str] = {}
    ids = {node.id for node in diagram.nodes}
    for node in diagram.nodes:
        others = TAKEN_BY_MODULES | set(found.values()) | (ids - {node.id})
        found[node.id] = identifier(check_name(node.id, "node"), others)
    return found


def check_names(diagram: Diagram) -> None:
    """`ParseError` unless every name that may appear in generated code is a name."""
    check_name(diagram.name, "diagram")
    for wire in diagram.wires:
        if wire.name:
            check_name(wire.name, "wire")
        for axis in wire.type:
            check_name(axis.name)
    for node in diagram.nodes:
        check_name(node.id, "node")
