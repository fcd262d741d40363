"""Fingerprints of code: a hash of what a step does, and of nothing else.

Snakemake does not notice by itself that a function was changed which a step calls, so every rule carries the fingerprint
of its step as a param. The fingerprint is *content-addressed*, as in the language Unison: a definition is hashed with each
reference to another definition of this package replaced by the hash of that definition, so names and places are not part
of it. Refactoring is free, and only a change of what is computed runs jobs again.

What changes nothing
    Where a definition lives, what its module or itself is called, by which import it is reached, the names of its local
    variables, annotations, docstrings, comments, layout, the order of definitions and of methods, descriptions of
    settings, and words for people: those of log lines, progress, warnings, raised errors and assertions.

What changes the fingerprint
    Everything else: values, operators, order of statements, names of parameters, attributes, methods, fields and keywords
    (a caller or a table may know them), and the types of a settings class's fields (they decide what is accepted).

How it is done
    1. Every top-level definition becomes a list of tokens. A local variable is a number, in order of appearance; a name
       from outside the package is its full dotted name; a definition of the package is a reference.
    2. From the step's `run` function the references are followed. Definitions that do not refer to each other in a
       circle are hashed after those they refer to, whose hashes stand in their tokens.
    3. Definitions that do (a recursive function, two that call each other) are hashed together: first each with its
       partners left blank, then as many times as there are partners with the hashes of the round before.

What cannot be followed is a name that code puts together at run time, so this package looks nothing up by text in its own
modules, and a module consists of definitions and imports only. A settings object that a step is handed is reached through
the annotations of `run`, the only ones that count as references.
"""

from __future__ import annotations

import ast
import builtins
import hashlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

SOURCE = Path(__file__).parent
PACKAGE = "rim"
STEPS = "rim.steps"
REPORTING = ("rim.progress", "logging", "warnings", "print")  # what they are told is for people
DESCRIPTIONS = {"description", "title", "examples"}  # keywords of a settings field that are for people
IGNORED = {"ctx", "kind", "type_comment", "type_params", "type_ignores", "returns", "annotation"}
_Function = ast.FunctionDef | ast.AsyncFunctionDef
_Scoped = _Function | ast.ClassDef | ast.Lambda
_Comprehension = ast.ListComp | ast.SetComp | ast.DictComp | ast.GeneratorExp


@dataclass(frozen=True)
class Reference:
    """A definition of this package, or with no name a whole module."""

    module: str
    name: str | None


@dataclass
class _Scope:
    """The names that a function, class or comprehension binds: the full name of an import, or the number of a variable."""

    names: dict[str, str | int | None]
    is_class: bool = False
    outer: _Scope | None = None

    def owner(self, name: str) -> _Scope | None:
        """The innermost scope that binds a name; those of classes are seen from their own body only."""
        scope: _Scope | None = self
        while scope is not None and (name not in scope.names or (scope.is_class and scope is not self)):
            scope = scope.outer
        return scope


class _Module:
    """The top-level definitions of one module, and the full names of what it imports."""

    def __init__(self, name: str) -> None:
        path = _file(name)
        self.name = name
        self.package = name if path.name == "__init__.py" else name.rpartition(".")[0]
        self.definitions: dict[str, list[ast.stmt]] = {}
        self.imports: dict[str, str] = {}
        for statement in _statements(ast.parse(path.read_text())):
            if isinstance(statement, ast.Import | ast.ImportFrom):
                self.imports |= self.imported(statement)
            elif names := _defined(statement):
                for each in names:
                    self.definitions.setdefault(each, []).append(statement)
            else:
                raise ValueError(f"{path}:{statement.lineno}: a module has definitions and imports only")

    def imported(self, statement: ast.Import | ast.ImportFrom) -> dict[str, str]:
        """The names that an import binds, each with the full name of what it stands for."""
        if isinstance(statement, ast.Import):
            names = [(alias.asname or alias.name.partition(".")[0], alias) for alias in statement.names]
            return {name: alias.name if alias.asname else name for name, alias in names}
        parents = self.package.split(".")
        start = parents[: len(parents) - statement.level + 1] if statement.level else []
        base = ".".join([*start, *filter(None, [statement.module])])
        return {alias.asname or alias.name: f"{base}.{alias.name}" for alias in statement.names}


@cache
def _file(module: str) -> Path:
    path = SOURCE.joinpath(*module.split(".")[1:])
    return path / "__init__.py" if path.is_dir() else path.with_suffix(".py")


@cache
def _is_module(name: str) -> bool:
    return _file(name).is_file()


def _statements(tree: ast.Module) -> Iterator[ast.stmt]:
    """The top-level statements that count, those under `if TYPE_CHECKING` among them."""
    for statement in tree.body:
        if isinstance(statement, ast.If) and "TYPE_CHECKING" in ast.dump(statement.test):
            yield from statement.body
        elif not isinstance(statement, ast.If) and not _is_docstring(statement):
            yield statement


def _is_docstring(statement: ast.stmt) -> bool:
    return isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Constant)


def _defined(statement: ast.stmt) -> list[str]:
    if isinstance(statement, _Function | ast.ClassDef):
        return [statement.name]
    if isinstance(statement, ast.Assign):
        targets = statement.targets
    else:
        targets = [statement.target] if isinstance(statement, ast.AnnAssign) else []
    return [node.id for target in targets for node in ast.walk(target) if isinstance(node, ast.Name)]


def _find(dotted: str, attributes: list[str]) -> tuple[Reference | str, list[str]]:
    """What a full name and attributes of it stand for, and the attributes that are left behind a definition of ours."""
    if dotted.partition(".")[0] != PACKAGE:
        return ".".join([dotted, *attributes]), []
    module, rest = PACKAGE, [*dotted.split(".")[1:], *attributes]
    while rest and _is_module(f"{module}.{rest[0]}"):
        module = f"{module}.{rest.pop(0)}"
    if rest and rest[0] in _module(module).imports:  # handed on by the module that it is imported from
        return _find(_module(module).imports[rest[0]], rest[1:])
    return Reference(module, rest[0] if rest else None), rest[1:]


@cache
def _module(name: str) -> _Module:
    return _Module(name)


def _bound(body: Iterable[ast.AST], module: _Module) -> dict[str, str | int | None]:
    """The names that statements bind in the scope they stand in."""
    found: dict[str, str | int | None] = {}
    elsewhere: set[str] = set()
    waiting = list(body)
    while waiting:
        node = waiting.pop()
        if isinstance(node, ast.Import | ast.ImportFrom):
            found |= module.imported(node)
        elif isinstance(node, ast.Global | ast.Nonlocal):
            elsewhere |= set(node.names)
        elif isinstance(node, ast.Name) and not isinstance(node.ctx, ast.Load):
            found[node.id] = None
        elif isinstance(node, _Function | ast.ClassDef | ast.ExceptHandler | ast.MatchAs | ast.MatchStar) and node.name:
            found[node.name] = None
        elif isinstance(node, ast.MatchMapping) and node.rest:
            found[node.rest] = None
        if isinstance(node, _Comprehension):  # only what `:=` binds in them
            named = (each.target for each in ast.walk(node) if isinstance(each, ast.NamedExpr))
            found |= {target.id: None for target in named}
        elif not isinstance(node, _Scoped):
            waiting += ast.iter_child_nodes(node)
    return {name: value for name, value in found.items() if name not in elsewhere}


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
class _Tokens:
    """A definition as a list of tokens, in which definitions of this package are references."""

    module: _Module
    tokens: list[str | Reference] = field(default_factory=list)
    variables: int = 0

    def put(self, *tokens: str | Reference) -> None:
        self.tokens += tokens

    def resolve(self, node: ast.expr, scope: _Scope) -> tuple[Reference | str | None, list[str]]:
        """What a name or a chain of attributes stands for, and the attributes left over; None for a local variable."""
        attributes: list[str] = []
        while isinstance(node, ast.Attribute):
            attributes.insert(0, node.attr)
            node = node.value
        if not isinstance(node, ast.Name):
            return None, []
        if (owner := scope.owner(node.id)) is not None:
            found = owner.names[node.id]
            return _find(found, attributes) if isinstance(found, str) else (None, [])
        if node.id in self.module.definitions:
            return Reference(self.module.name, node.id), attributes
        return _find(self.module.imports.get(node.id, node.id), attributes)

    def variable(self, name: str, scope: _Scope) -> str:
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

    def add(self, node: object, scope: _Scope) -> None:
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
                inner = _Scope(_bound([each.target for each in node.generators], self.module), outer=scope)
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
            case ast.Expr(value=ast.Call() as call) if _is_for_people(self.resolve(call.func, scope)[0]):
                pass
            case ast.AST():
                self.add_fields(node, scope)
            case _:
                self.put(f"{type(node).__name__} {node!r}")

    def add_fields(self, node: ast.AST, scope: _Scope, first: str = "", without: Iterable[str] = ()) -> None:
        """Add a node by its fields, in a fixed order, empty ones left out."""
        values = dict(ast.iter_fields(node))
        self.put(f"({type(node).__name__}")
        for name in sorted(values, key=lambda each: each != first):
            if values[name] not in (None, []) and name not in IGNORED | set(without):
                self.put(name)
                self.add(values[name], scope)
        self.put(")")

    def add_name(self, node: ast.Name | ast.Attribute, scope: _Scope) -> None:
        found, attributes = self.resolve(node, scope)
        if found is None:
            if isinstance(node, ast.Name):
                self.put(self.variable(node.id, scope))
            else:
                self.add(node.value, scope)
                self.put(f".{node.attr}")
        elif _is_for_people(found):
            self.put("for people")
        else:
            self.put(
                found if isinstance(found, Reference) else f"outside {found}", *(f".{each}" for each in attributes)
            )

    def add_call(self, node: ast.Call, scope: _Scope, for_people: bool = False) -> None:
        """Add a call; words for people and descriptions are left out, and a cast is what it is given."""
        found, _ = self.resolve(node.func, scope)
        if found == "typing.cast":
            return self.add(node.args[1], scope)
        words = for_people or _is_for_people(found) or _is_exception(found)
        self.put("(Call")
        self.add(node.func, scope)
        self.add([each for each in node.args if not (words and _is_text(each))], scope)
        for each in node.keywords:
            if not (words and _is_text(each.value)) and not (found == "pydantic.Field" and each.arg in DESCRIPTIONS):
                self.put(f"{each.arg}=")
                self.add(each.value, scope)
        self.put(")")

    def add_function(self, node: _Function | ast.Lambda, scope: _Scope) -> None:
        """Add a function: its parameters by name and number, for callers may know them, and its body."""
        given = node.args
        parameters = [*given.posonlyargs, *given.args, *filter(None, [given.vararg]), *given.kwonlyargs]
        parameters += filter(None, [given.kwarg])
        body = node.body if isinstance(node.body, list) else [node.body]
        bound = _bound(body, self.module)
        bound |= dict.fromkeys(each.arg for each in parameters)
        inner = _Scope(bound, outer=scope)
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

    def add_class(self, node: ast.ClassDef, scope: _Scope) -> None:
        """Add a class: its fields in order, then its methods by name."""
        inner = _Scope(_bound(node.body, self.module), is_class=True, outer=scope)
        decorators = [each.func if isinstance(each, ast.Call) else each for each in node.decorator_list]
        typed = not any(self.resolve(each, scope)[0] == "dataclasses.dataclass" for each in decorators)
        self.put("(Class")
        self.add([*node.decorator_list, *node.bases, *node.keywords], scope)
        for statement in node.body:
            if isinstance(statement, ast.AnnAssign):
                self.put("field")
                self.add(statement.target, inner)
                self.add([each for each in (statement.value, typed and statement.annotation) if each], inner)
            elif not isinstance(statement, _Function):
                self.add(statement, inner)
        methods = [each for each in node.body if isinstance(each, _Function)]
        for method in sorted(methods, key=lambda each: each.name):
            self.put(f"method {method.name}")
            self.add(method, inner)
        self.put(")")


@cache
def _is_for_people(found: Reference | str | None) -> bool:
    """Whether what is told to a function is for people only."""
    name = f"{found.module}.{found.name}" if isinstance(found, Reference) else found or ""
    return any(name == each or name.startswith(f"{each}.") for each in REPORTING)


@cache
def _is_exception(found: Reference | str | None) -> bool:
    """Whether a name stands for a class of errors."""
    if isinstance(found, Reference):
        statements = _module(found.module).definitions.get(found.name or "", [])
        tokens = _Tokens(_module(found.module))
        return any(
            _is_exception(tokens.resolve(base, _Scope({}))[0])
            for statement in statements
            if isinstance(statement, ast.ClassDef)
            for base in statement.bases
        )
    known = getattr(builtins, found or "", None)
    return isinstance(known, type) and issubclass(known, BaseException)


@cache
def _tokens(reference: Reference) -> list[str | Reference]:
    """The tokens of a definition; of a module, those of all its definitions in any order."""
    module = _module(reference.module)
    if reference.name is None:
        return [Reference(reference.module, name) for name in module.definitions]
    if reference.name not in module.definitions:
        raise ValueError(f"{reference.module}: has no definition of '{reference.name}'")
    tokens, scope = _Tokens(module), _Scope({})
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


_hashes: dict[Reference, str] = {}


def _digest(*parts: str) -> str:
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()


def _hash(start: Reference) -> str:
    """The hash of a definition, by Tarjan's algorithm: circles of references come out together, innermost first."""
    order: dict[Reference, int] = {}
    lowest: dict[Reference, int] = {}
    stack: list[Reference] = []

    def visit(one: Reference) -> None:
        order[one] = lowest[one] = len(order)
        stack.append(one)
        for other in (each for each in _tokens(one) if isinstance(each, Reference)):
            if other not in _hashes:
                if other not in order:
                    visit(other)
                if other in stack:
                    lowest[one] = min(lowest[one], lowest[other])
        if lowest[one] == order[one]:
            circle = stack[stack.index(one) :]
            del stack[stack.index(one) :]
            _hashes.update(_hash_together(circle))

    if start not in _hashes:
        visit(start)
    return _hashes[start]


def _hash_together(circle: list[Reference]) -> dict[Reference, str]:
    """The hashes of definitions that refer to each other, whatever they are called and in whatever order they come."""
    found = dict.fromkeys(circle, "partner")
    for _ in range(len(circle) + 1):
        found = {each: _digest(*_spelled(each, found)) for each in circle}
    return found


def _spelled(reference: Reference, partners: dict[Reference, str]) -> list[str]:
    """The tokens of a definition with hashes for references; a module's definitions are put in the order of their hashes."""
    spelled = [
        token if isinstance(token, str) else partners.get(token) or _hashes[token] for token in _tokens(reference)
    ]
    return sorted(spelled) if reference.name is None else spelled


@cache
def fingerprint(step: str) -> str:
    """Hash of all code of this package that the step `rim.steps.{step}` needs."""
    module = _module(f"{STEPS}.{step}")
    tokens = _Tokens(module)
    for statement in module.definitions["run"]:
        parameters = [each for each in ast.walk(statement) if isinstance(each, ast.arg)]
        tokens.add([each.annotation for each in parameters if each.annotation], _Scope({}))
    handed = {each for each in tokens.tokens if isinstance(each, Reference)}
    return _digest(_hash(Reference(module.name, "run")), *sorted(map(_hash, handed)))[:16]


def forget() -> None:
    """Forget what was read, so that a changed file is read again."""
    for known in (_file, _is_module, _module, _is_for_people, _is_exception, _tokens, fingerprint):
        known.cache_clear()
    _hashes.clear()
