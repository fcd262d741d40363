"""Words for people in this package's own code, which are no part of what a step does: what tells them, and what is words."""

from __future__ import annotations

import ast
import builtins
from functools import cache

from rim.workflow.names import Reference, Scope, read_module, resolve

REPORTING = ("rim.core.progress", "logging", "warnings.warn", "print")  # what they are told is for people
PURE = {abs, bool, float, int, len, list, map, max, min, range, repr, round, set, sorted, str, sum, tuple, type, zip}
SETTINGS = ("rim.settings.common.Settings", "rim.settings.jobs.JobPart")  # whose words are for people


def is_text(node: ast.expr) -> bool:
    """Whether an expression is words: a string, one with values in it, or several put together."""
    match node:
        case ast.Constant(value=str()) | ast.JoinedStr():
            return True
        case ast.BinOp(left=left, right=right, op=ast.Add() | ast.Mod()):
            return is_text(left) or is_text(right)
        case ast.IfExp(body=body, orelse=orelse):
            return is_text(body) and is_text(orelse)
        case ast.Call(func=ast.Attribute(value=value, attr="join" | "format")):
            return is_text(value)
    return False


@cache
def is_for_people(found: Reference | str | None) -> bool:
    """Whether what is told to a function is for people only."""
    name = f"{found.module}.{found.name}" if isinstance(found, Reference) else found or ""
    return any(name == each or name.startswith(f"{each}.") for each in REPORTING)


@cache
def ancestors(found: Reference | str | None) -> frozenset[Reference | str | None]:
    """A class and all that it is derived from, as far as it is of this package."""
    above = frozenset([found])
    if isinstance(found, Reference):
        module = read_module(found.module)
        statement = module.definitions.get(found.name or "")
        bases = statement.bases if isinstance(statement, ast.ClassDef) else []
        above = above.union(*(ancestors(resolve(base, Scope({}), module)[0]) for base in bases))
    return above


@cache
def is_exception(found: Reference | str | None) -> bool:
    """Whether a name stands for a class of errors; those from outside are called so."""
    outside = [each for each in ancestors(found) if isinstance(each, str)]
    known = [getattr(builtins, each, None) for each in outside]
    return any(isinstance(each, type) and issubclass(each, BaseException) for each in known) or any(
        each.endswith("Error") for each in outside
    )


def may_do_something(node: ast.AST) -> bool:
    """Whether something in the words for people may do more than to be told."""
    if isinstance(node, ast.Call):
        return not is_text(node) and not (
            isinstance(node.func, ast.Name) and getattr(builtins, node.func.id, None) in PURE
        )
    return isinstance(node, ast.NamedExpr | ast.Await | ast.Yield | ast.YieldFrom)
