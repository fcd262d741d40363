"""A definition of this package as a list of tokens, in which names, places and words for people do not count.

See `rim.workflow.fingerprint` for what counts and what does not.
"""

from __future__ import annotations

import ast
import builtins
from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import cache

from rim.workflow.names import (
    Function,
    Module,
    Reference,
    Scope,
    bound_names,
    find,
    read_module,
)

REPORTING = ("rim.core.progress", "logging", "warnings", "print")  # what they are told is for people
DESCRIPTIONS = {"description", "title", "examples"}  # keywords of a settings field that are for people
IGNORED = {"ctx", "kind", "type_comment", "type_params", "type_ignores", "returns", "annotation"}


def _is_text(node: ast.expr) -> bool:
    """Whether an expression is words: a string, one with values in it, or several put together."""
    match node:
        case ast.Constant(value=str()) | ast.JoinedStr():
            return True
        case ast.BinOp(left=left, right=right, op=ast.Add() | ast.Mod()):
            return _is_text(left) or _is_text(right)
        case ast.IfExp(body=body, orelse=orelse):
            return _is_text(body) and _is_text(orelse)
        case ast.Call(func=ast.Attribute(value=value, attr="join" | "format")):
            return _is_text(value)
    return False


@dataclass
class Tokens:
    """A definition as a list of tokens, in which definitions of this package are references."""

    module: Module
    tokens: list[str | Reference] = field(default_factory=list)
    variables: int = 0

    def put(self, *tokens: str | Reference) -> None:
        self.tokens += tokens

    def resolve(self, node: ast.expr, scope: Scope) -> tuple[Reference | str | None, list[str]]:
        """What a name or a chain of attributes stands for, and the attributes left over; None for a local variable."""
        attributes: list[str] = []
        while isinstance(node, ast.Attribute):
            attributes.insert(0, node.attr)
            node = node.value
        if not isinstance(node, ast.Name):
            return None, []
        if (owner := scope.owner(node.id)) is not None:
            found = owner.names[node.id]
            return find(found, attributes) if isinstance(found, str) else (None, [])
        if node.id in self.module.definitions:
            return Reference(self.module.name, node.id), attributes
        return find(self.module.imports.get(node.id, node.id), attributes)

    def variable(self, name: str, scope: Scope) -> str:
        """The token of a name that a scope binds."""
        owner = scope.owner(name)
        if owner is None:
            return name
        if owner.is_class:
            return f"member {name}"
        if owner.names[name] is None:
            owner.names[name] = self.variables
            self.variables += 1
        return f"variable {owner.names[name]}"

    def add(self, node: object, scope: Scope) -> None:
        """Add the tokens of a node of the syntax tree."""
        match node:
            case list():
                self.put("[")
                for each in node:
                    self.add(each, scope)
                self.put("]")
            case ast.Name() | ast.Attribute():
                self.add_name(node, scope)
            case ast.FunctionDef() | ast.AsyncFunctionDef() | ast.Lambda():
                self.add_function(node, scope)
            case ast.ClassDef():
                self.add_class(node, scope)
            case ast.ListComp() | ast.SetComp() | ast.DictComp() | ast.GeneratorExp():
                inner = Scope(bound_names([each.target for each in node.generators], self.module), outer=scope)
                self.add_fields(node, inner, first="generators")
            case ast.Call():
                self.add_call(node, scope)
            case ast.Raise():
                self.put("Raise")
                if isinstance(node.exc, ast.Call):
                    self.add_call(node.exc, scope, for_people=True)
                elif node.exc:
                    self.add(node.exc, scope)
            case ast.Assert():
                self.put("Assert")
                self.add(node.test, scope)
            case ast.AnnAssign():
                if node.value is not None:
                    self.add(ast.Assign(targets=[node.target], value=node.value), scope)
            case ast.ExceptHandler(name=str(name)) | ast.MatchAs(name=str(name)) | ast.MatchStar(name=str(name)):
                self.put(self.variable(name, scope))
                self.add_fields(node, scope, without={"name"})
            case ast.MatchMapping(rest=str(rest)):
                self.put(self.variable(rest, scope))
                self.add_fields(node, scope, without={"rest"})
            case ast.Expr(value=ast.Constant()) | ast.Pass() | ast.Import() | ast.ImportFrom() | ast.Global():
                pass
            case ast.Nonlocal():
                pass
            case ast.Expr(value=ast.Call() as call) if is_for_people(self.resolve(call.func, scope)[0]):
                pass
            case ast.AST():
                self.add_fields(node, scope)
            case _:
                self.put(f"{type(node).__name__} {node!r}")

    def add_fields(self, node: ast.AST, scope: Scope, first: str = "", without: Iterable[str] = ()) -> None:
        """Add a node by its fields, in a fixed order, empty ones left out."""
        values = dict(ast.iter_fields(node))
        self.put(f"({type(node).__name__}")
        for name in sorted(values, key=lambda each: each != first):
            if values[name] not in (None, []) and name not in IGNORED | set(without):
                self.put(name)
                self.add(values[name], scope)
        self.put(")")

    def add_name(self, node: ast.Name | ast.Attribute, scope: Scope) -> None:
        found, attributes = self.resolve(node, scope)
        if found is None:
            if isinstance(node, ast.Name):
                self.put(self.variable(node.id, scope))
            else:
                self.add(node.value, scope)
                self.put(f".{node.attr}")
        elif is_for_people(found):
            self.put("for people")
        else:
            self.put(
                found if isinstance(found, Reference) else f"outside {found}", *(f".{each}" for each in attributes)
            )

    def add_call(self, node: ast.Call, scope: Scope, for_people: bool = False) -> None:
        """Add a call; words for people and descriptions are left out, and a cast is what it is given."""
        found, _ = self.resolve(node.func, scope)
        if found == "typing.cast":
            return self.add(node.args[1], scope)
        words = for_people or is_for_people(found) or is_exception(found)
        self.put("(Call")
        self.add(node.func, scope)
        self.add([each for each in node.args if not (words and _is_text(each))], scope)
        for each in node.keywords:
            if not (words and _is_text(each.value)) and not (found == "pydantic.Field" and each.arg in DESCRIPTIONS):
                self.put(f"{each.arg}=")
                self.add(each.value, scope)
        self.put(")")

    def add_function(self, node: Function | ast.Lambda, scope: Scope) -> None:
        """Add a function: its parameters by name and number, for callers may know them, and its body."""
        given = node.args
        parameters = [*given.posonlyargs, *given.args, *filter(None, [given.vararg]), *given.kwonlyargs]
        parameters += filter(None, [given.kwarg])
        body = node.body if isinstance(node.body, list) else [node.body]
        bound = bound_names(body, self.module)
        bound |= dict.fromkeys(each.arg for each in parameters)
        inner = Scope(bound, outer=scope)
        self.put(f"({type(node).__name__}")
        for kind in ("posonlyargs", "args", "vararg", "kwonlyargs", "kwarg"):
            each = getattr(given, kind)
            names = [] if each is None else [one.arg for one in (each if isinstance(each, list) else [each])]
            known = names if not isinstance(node, ast.Lambda) else []
            self.put(kind, *known, *(self.variable(name, inner) for name in names))
        self.add([*given.defaults, *(each or ast.Constant(value=...) for each in given.kw_defaults)], scope)
        self.add(getattr(node, "decorator_list", []), scope)
        self.add(body, inner)
        self.put(")")

    def add_class(self, node: ast.ClassDef, scope: Scope) -> None:
        """Add a class: its fields in order, then its methods by name."""
        inner = Scope(bound_names(node.body, self.module), is_class=True, outer=scope)
        decorators = [each.func if isinstance(each, ast.Call) else each for each in node.decorator_list]
        typed = not any(self.resolve(each, scope)[0] == "dataclasses.dataclass" for each in decorators)
        self.put("(Class")
        self.add([*node.decorator_list, *node.bases, *node.keywords], scope)
        for statement in node.body:
            if isinstance(statement, ast.AnnAssign):
                self.put("field")
                self.add(statement.target, inner)
                self.add([each for each in (statement.value, typed and statement.annotation) if each], inner)
            elif not isinstance(statement, Function):
                self.add(statement, inner)
        methods = [each for each in node.body if isinstance(each, Function)]
        for method in sorted(methods, key=lambda each: each.name):
            self.put(f"method {method.name}")
            self.add(method, inner)
        self.put(")")


@cache
def is_for_people(found: Reference | str | None) -> bool:
    """Whether what is told to a function is for people only."""
    name = f"{found.module}.{found.name}" if isinstance(found, Reference) else found or ""
    return any(name == each or name.startswith(f"{each}.") for each in REPORTING)


@cache
def is_exception(found: Reference | str | None) -> bool:
    """Whether a name stands for a class of errors."""
    if isinstance(found, Reference):
        statements = read_module(found.module).definitions.get(found.name or "", [])
        tokens = Tokens(read_module(found.module))
        return any(
            is_exception(tokens.resolve(base, Scope({}))[0])
            for statement in statements
            if isinstance(statement, ast.ClassDef)
            for base in statement.bases
        )
    known = getattr(builtins, found or "", None)
    return isinstance(known, type) and issubclass(known, BaseException)


@cache
def tokens_of(reference: Reference) -> list[str | Reference]:
    """The tokens of a definition; of a module, those of all its definitions in any order."""
    module = read_module(reference.module)
    if reference.name is None:
        return [Reference(reference.module, name) for name in module.definitions]
    if reference.name not in module.definitions:
        raise ValueError(f"{reference.module}: has no definition of '{reference.name}'")
    tokens, scope = Tokens(module), Scope({})
    for statement in module.definitions[reference.name]:
        if isinstance(statement, ast.Assign | ast.AnnAssign):
            targets = statement.targets if isinstance(statement, ast.Assign) else [statement.target]
            names = [node.id for target in targets for node in ast.walk(target) if isinstance(node, ast.Name)]
            tokens.put(f"value {names.index(reference.name)} of {[_shape(target) for target in targets]}")
            tokens.add(statement.value, scope)
        else:
            tokens.add(statement, scope)
    return tokens.tokens


def _shape(target: ast.expr) -> str:
    """How the target of an assignment takes its value apart, without its names."""
    return f"({' '.join(map(_shape, target.elts))})" if isinstance(target, ast.Tuple | ast.List) else "_"
