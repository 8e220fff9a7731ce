"""The part of Jinja2 that a notification template may use: printing, if, for, set, and expressions over plain values.

What a template may not do is decided here, before it runs; what it may cost is decided while it runs (`budget`).
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from typing import Any, NamedTuple

from jinja2 import Environment, nodes
from jinja2.meta import find_undeclared_variables
from jinja2.visitor import NodeTransformer

from notifyd.model import Event
from notifyd.render.variables import NAMES, NOTIFICATION_FIELDS

LONGEST = 10_000
"""Characters of a template."""

DEEPEST = 10
"""Loops and ifs within each other."""

_ALLOWED = (
    *(nodes.Template, nodes.Output, nodes.TemplateData, nodes.For, nodes.If, nodes.Assign),
    *(nodes.Name, nodes.Const, nodes.Tuple, nodes.List, nodes.Dict, nodes.Pair, nodes.Keyword),
    *(nodes.Getattr, nodes.Getitem, nodes.Slice, nodes.Call, nodes.Filter, nodes.Test),
    *(nodes.CondExpr, nodes.Compare, nodes.Operand, nodes.And, nodes.Or, nodes.Not, nodes.Neg, nodes.Pos),
    *(nodes.Concat, nodes.Add, nodes.Sub, nodes.Mul, nodes.Div, nodes.FloorDiv, nodes.Mod),
)
FIELDS = {
    "event": tuple(field.name for field in dataclasses.fields(Event)),
    "notification": NOTIFICATION_FIELDS,
}


class Refused(Exception):
    """A template uses what it may not use, or what is not there."""

    def __init__(self, text: str, line: int | None = None) -> None:
        super().__init__(text)
        self.lineno = line


class Parsed(NamedTuple):
    """A template that may be compiled, and the variables that it names."""

    tree: nodes.Template
    names: frozenset[str]


def parse(environment: Environment, source: str) -> Parsed:
    """The template, checked. Raises Refused, or TemplateSyntaxError."""
    if len(source) > LONGEST:
        raise Refused(f"it is longer than {LONGEST} characters")
    tree = environment.parse(source)
    _check_depth(tree)
    for node in _all(tree):
        _check(node)
    names = frozenset(find_undeclared_variables(tree))
    if unknown := sorted(names - NAMES):
        raise Refused(f'there is no variable "{unknown[0]}"; there are {", ".join(sorted(NAMES - {"range"}))}')
    _Counting(environment).visit(tree)
    return Parsed(tree, names)


def _check_depth(node: nodes.Node, depth: int = 0) -> None:
    """Jinja2 takes long to compile what is deep."""
    depth += isinstance(node, nodes.For | nodes.If)
    if depth > DEEPEST:
        raise Refused(f"more than {DEEPEST} loops and ifs stand within each other", node.lineno)
    for child in node.iter_child_nodes(exclude=("elif_",)):
        _check_depth(child, depth)
    for branch in getattr(node, "elif_", ()):
        _check_depth(branch, depth - 1)


def _all(tree: nodes.Node) -> Iterator[nodes.Node]:
    yield tree
    for child in tree.iter_child_nodes():
        yield from _all(child)


def _check(node: nodes.Node) -> None:
    if not isinstance(node, _ALLOWED) or (isinstance(node, nodes.For) and node.recursive):
        raise Refused(f"{_said(node)} cannot be used in a notification", node.lineno)
    if isinstance(node, nodes.List | nodes.Tuple | nodes.Dict) and getattr(node, "ctx", "load") == "load":
        _check_literal(node)
    if isinstance(node, nodes.Getattr) and isinstance(node.node, nodes.Name):
        _check_field(node.node.name, node)
    if isinstance(node, nodes.Getitem) and isinstance(node.arg, nodes.Slice) and isinstance(node.node, nodes.Literal):
        raise Refused("what is written out cannot be sliced", node.lineno)  # Python's compiler would warn of it


def _check_literal(literal: nodes.Node) -> None:
    """Lists within lists can be made to take for ever, although each of them is short."""
    leaves = (child for child in _all(literal) if child is not literal and not isinstance(child, nodes.Pair))
    if not all(isinstance(leaf, nodes.Const) for leaf in leaves):
        raise Refused("a list or table may hold only texts and numbers that are written out", literal.lineno)


def _check_field(variable: str, node: nodes.Getattr) -> None:
    fields = FIELDS.get(variable, (node.attr,))
    if node.attr not in fields:
        raise Refused(f'{variable} has no field "{node.attr}"; it has {", ".join(fields)}', node.lineno)


def _said(node: nodes.Node) -> str:
    """What a person wrote to get this node."""
    written = {
        "Pow": "**",
        "AssignBlock": "{% set %} … {% endset %}",
        "FilterBlock": "{% filter %}",
        "CallBlock": "{% call %}",
        "FromImport": "{% from %}",
        "NSRef": "namespace",
        "For": "{% for … recursive %}",
        "ScopedEvalContextModifier": "{% autoescape %}",
    }
    name = type(node).__name__
    return written.get(name, f"{{% {name.lower()} %}}")


class _Counting(NodeTransformer):
    """Puts the budget where Jinja2 has no seam for it: into loops, and into `~`."""

    def __init__(self, environment: Environment) -> None:
        self._environment = environment

    def visit_For(self, node: nodes.For) -> nodes.Node:  # noqa: N802
        self.generic_visit(node)
        node.iter = self._filter(node.iter, "counted")
        return node

    def visit_Concat(self, node: nodes.Concat) -> nodes.Node:  # noqa: N802
        self.generic_visit(node)
        parts = nodes.List(node.nodes, lineno=node.lineno, environment=self._environment)
        return self._filter(parts, "join")

    def _filter(self, node: Any, name: str) -> nodes.Filter:
        return nodes.Filter(node, name, [], [], None, None, lineno=node.lineno, environment=self._environment)
