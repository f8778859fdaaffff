"""Applying rules: at a path, or at the one place inside a part where a rule fits; and where rules fit.

`d.rewrite(rule, at=path)` gives the diagram afterwards, `d.rewriting(rule, at=path)` the whole step: both
sides, how weights carry over, and the equation as a picture. A path may name a node, or a part (`"mlp"`, `""`
for the whole) in which the rule fits at one place only. The copies of a repetition share one body, so inside
of one the path goes through `*` and the rewrite happens in every copy.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import Any
from xml.sax.saxutils import escape

from nbkit.language.diagram import Diagram, Node
from nbkit.language.errors import nearest
from nbkit.language.ops.base import Composite
from nbkit.language.rewrite.edit import Edit, Scope
from nbkit.language.rewrite.formulas import Formula
from nbkit.language.rewrite.paths import NumberedCopy, node_of, scopes, split, whole, within
from nbkit.language.rewrite.rule import RULES, Inapplicable, RewriteError, Rule
from nbkit.language.rooms import room

_MOST_PLACES = 8


@dataclass(frozen=True)
class Step:
    """The change to one scope: its path, what its nodes keep (new path: old path), and what is made anew."""

    path: str
    before: Diagram
    after: Diagram
    moves: Mapping[str, str]
    formulas: tuple[Formula, ...]


@dataclass(frozen=True)
class Rewriting:
    """One rewrite: the diagrams before and after, the two sides of the equation, and what becomes of weights.

    Shown in a notebook it is the equation `left = right`, and below it how the new weights are made.
    """

    rule: str
    at: str
    before: Diagram
    after: Diagram
    left: Diagram
    right: Diagram
    steps: tuple[Step, ...] = field(repr=False)

    @property
    def formulas(self) -> tuple[Formula, ...]:
        """How the parameters that are not simply kept are made of the old ones; read them with `print`."""
        return tuple(formula for step in self.steps for formula in step.formulas)

    def weights(self, state: Mapping[str, Any], **sizes: int) -> dict[str, Any]:
        """The state dict of `after.torch(…)` that computes the same as `before.torch(…)` with `state`.

        `sizes` bind the free sizes, as they did for the module. Kept weights are the same tensors.
        """
        new: dict[str, Any] = room("nbkit.build.carry", "carry")(self, state, **sizes)
        return new

    def equation(self, **options: Any) -> Any:
        """The equation `left = right` as a picture (`nbkit.Equation`)."""
        looks = tuple(RULES[self.rule].figure)
        return room("nbkit.draw", "equation")(self.left, self.right, looks=looks, **options)

    def _repr_mimebundle_(self, include: Any = None, exclude: Any = None) -> dict[str, str]:
        shown: dict[str, str] = self.equation()._repr_mimebundle_()
        lines = escape("\n".join(map(str, self.formulas)))
        words = f'<pre style="margin:0.4em 0">{lines}</pre>' if lines else ""
        return {**shown, "text/html": f"{shown['text/html']}{words}", "text/plain": repr(self)}

    def __repr__(self) -> str:
        return f"<Rewriting {self.rule} at {self.at}: {len(self.left.nodes)} → {len(self.right.nodes)} ops>"


def rules() -> dict[str, str]:
    """Every rewrite rule, by name, with one sentence on what it says.

    >>> from nbkit import rewrites
    >>> rewrites()["cancel"]
    'An operation and its inverse, one after the other, are nothing.'
    """
    return {name: rule.sentence for name, rule in sorted(RULES.items())}


def rewrite(diagram: Diagram, rule: str, at: str = "", /, **options: Any) -> Diagram:
    """The diagram after a rewrite; see `rewriting`."""
    return rewriting(diagram, rule, at, **options).after


def rewriting(diagram: Diagram, name: str, at: str = "", /, **options: Any) -> Rewriting:
    """One rewrite of a diagram. `RewriteError` where the rule does not apply, saying where it would."""
    rule = find_rule(name)
    path = _place(diagram, rule, at, options)
    prefix, dot, node = split(diagram, path)
    steps: list[Step] = []
    edits: list[Edit] = []

    def change(scope: Scope) -> Diagram:
        edit = Edit(scope)
        rule.run(edit, node_of(scope.diagram, node), options)
        after = edit.finish()
        edits.append(edit)
        steps.append(Step(scope.path, scope.diagram, after, edit.moves, tuple(edit.formulas)))
        return after

    after = within(whole(diagram), f"{prefix}{dot}", change)
    after = replace(after, style=_looks(diagram, after))
    left, right = edits[0].sides()
    return Rewriting(rule.name, path, diagram, after, left, right, tuple(steps))


def places(diagram: Diagram, rule: str = "") -> list[tuple[str, str]]:
    """All rules that apply somewhere in the diagram, as (rule, path), in the order of the listing.

    Rules that apply nearly everywhere (fold-block …) are listed only when asked for by name.
    """
    chosen = [find_rule(rule)] if rule else [r for r in RULES.values() if r.listed]
    return _sites(diagram, chosen, {})


def _sites(diagram: Diagram, chosen: list[Rule], options: Mapping[str, Any]) -> list[tuple[str, str]]:
    return [
        (rule.name, f"{scope.path}{node.id}")
        for scope in scopes(whole(diagram))
        for node in scope.diagram.nodes
        for rule in chosen
        if _fits(rule, scope, node, options)
    ]


def find_rule(name: str) -> Rule:
    """The rule of that name."""
    if name not in RULES:
        hint = nearest(str(name), RULES) or f"known: {', '.join(sorted(RULES))}"
        raise RewriteError(f"there is no rewrite rule {str(name)[:60]!r}; {hint}", rule=str(name))
    return RULES[name]


# -- places ------------------------------------------------------------------------------------------------


def _place(diagram: Diagram, rule: Rule, at: str, options: Mapping[str, Any]) -> str:
    """The path that is meant: `at` itself, or the only place inside it where the rule applies."""
    refusal: Inapplicable | None = None
    if at:
        diagram[at]  # names the part that there is, where there is no such part
        scope, node = _find(diagram, rule, at)
        try:
            rule.run(Edit(scope), node, options)
        except Inapplicable as error:
            refusal = error
        else:
            return at
        if not isinstance(node.op, Composite):
            raise _refusal(diagram, rule, at, refusal)
    everywhere = _sites(diagram, [rule], options)
    inside = [path for _, path in everywhere if not at or path.startswith(f"{at}.")]
    if len(inside) == 1:
        return inside[0]
    if inside:
        where = f"in {at}" if at else "in this diagram"
        raise RewriteError(
            f"{rule.name} applies at several places {where}: {_some(inside)}\n"
            f'  say which one: at="{inside[0]}"',
            rule=rule.name,
            at=at,
        )
    if refusal is None:
        raise RewriteError(
            f"{rule.name} applies nowhere in {diagram.name}\n  it says: {rule.sentence}", rule=rule.name
        )
    raise _refusal(diagram, rule, at, refusal)


def _refusal(diagram: Diagram, rule: Rule, at: str, error: Inapplicable) -> RewriteError:
    known = [path for _, path in places(diagram, rule.name)]
    shown = _some(known)
    return RewriteError(
        f"{rule.name} does not apply at {at}\n"
        f"  needs    {error.needs}\n"
        f"  found    {error.found}\n"
        f"  applies  {f'at {shown}' if known else 'nowhere in this diagram'}",
        rule=rule.name,
        at=at,
    )


def _some(paths: list[str]) -> str:
    more = f" and {len(paths) - _MOST_PLACES} more" if len(paths) > _MOST_PLACES else ""
    return ", ".join(paths[:_MOST_PLACES]) + more


def _find(diagram: Diagram, rule: Rule, at: str) -> tuple[Scope, Node]:
    """The scope and the node of a path; inside repetitions it goes through `*`."""
    prefix, dot, node = split(diagram, at)
    found: list[Scope] = []

    def look(scope: Scope) -> Diagram:
        found.append(scope)
        return scope.diagram

    try:
        within(whole(diagram), f"{prefix}{dot}", look)
    except NumberedCopy as copy:
        base, numbered = copy.args
        raise RewriteError(
            f"{rule.name} at {at}: the copies of {base} share one body, and are rewritten together\n"
            f'  write at="{base}.*{at[len(numbered) :]}", or take the copies apart first: '
            f'd.rewrite("repeat-unroll", at="{base}")',
            rule=rule.name,
            at=at,
        ) from None
    return found[0], node_of(found[0].diagram, node)


def _fits(rule: Rule, scope: Scope, node: Node, options: Mapping[str, Any]) -> bool:
    if not isinstance(node.op, rule.kinds):
        return False
    try:
        rule.run(Edit(scope), node, options)
    except Inapplicable:
        return False
    return True


def _looks(before: Diagram, after: Diagram) -> Mapping[str, Mapping[str, Any]]:
    """The looks of the parts that are still there."""
    known = {"", *(path for path, _ in after.walk())}
    return MappingProxyType({path: looks for path, looks in before.style.items() if path in known})
