"""What a name in this package's own code stands for: a definition of the package, a local variable, or something outside."""

from __future__ import annotations

import ast
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

SOURCE = Path(__file__).parents[1]
PACKAGE = "rim"
Function = ast.FunctionDef | ast.AsyncFunctionDef
_Scoped = Function | ast.ClassDef | ast.Lambda
Comprehension = ast.ListComp | ast.SetComp | ast.DictComp | ast.GeneratorExp


@dataclass(frozen=True)
class Reference:
    """A definition of this package, or with no name a whole module."""

    module: str
    name: str | None


@dataclass
class Scope:
    """The names that a function, class or comprehension binds: the full name of an import, or the number of a variable."""

    names: dict[str, str | int | None]
    is_class: bool = False
    outer: Scope | None = None

    def owner(self, name: str) -> Scope | None:
        """The innermost scope that binds a name; those of classes are seen from their own body only."""
        scope: Scope | None = self
        while scope is not None and (name not in scope.names or (scope.is_class and scope is not self)):
            scope = scope.outer
        return scope


class Module:
    """The top-level definitions of one module, and the full names of what it imports."""

    def __init__(self, name: str) -> None:
        path = module_file(name)
        self.name = name
        self.package = name if path.name == "__init__.py" else name.rpartition(".")[0]
        self.definitions: dict[str, list[ast.stmt]] = {}
        self.imports: dict[str, str] = {}
        for statement in _statements(ast.parse(path.read_text())):
            if isinstance(statement, ast.Import | ast.ImportFrom):
                self.imports |= self.imported(statement)
            elif names := defined_names(statement):
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
def module_file(name: str) -> Path:
    path = SOURCE.joinpath(*name.split(".")[1:])
    return path / "__init__.py" if path.is_dir() else path.with_suffix(".py")


@cache
def is_module(name: str) -> bool:
    return module_file(name).is_file()


def _statements(tree: ast.Module) -> Iterator[ast.stmt]:
    """The top-level statements that count, those under `if TYPE_CHECKING` among them."""
    for statement in tree.body:
        if isinstance(statement, ast.If) and "TYPE_CHECKING" in ast.dump(statement.test):
            yield from statement.body
        elif not isinstance(statement, ast.If) and not _is_docstring(statement):
            yield statement


def _is_docstring(statement: ast.stmt) -> bool:
    return isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Constant)


def defined_names(statement: ast.stmt) -> list[str]:
    if isinstance(statement, Function | ast.ClassDef):
        return [statement.name]
    if isinstance(statement, ast.Assign):
        targets = statement.targets
    else:
        targets = [statement.target] if isinstance(statement, ast.AnnAssign) else []
    return [node.id for target in targets for node in ast.walk(target) if isinstance(node, ast.Name)]


def find(dotted: str, attributes: list[str]) -> tuple[Reference | str, list[str]]:
    """What a full name and attributes of it stand for, and the attributes that are left behind a definition of ours."""
    if dotted.partition(".")[0] != PACKAGE:
        return ".".join([dotted, *attributes]), []
    module, rest = PACKAGE, [*dotted.split(".")[1:], *attributes]
    while rest and is_module(f"{module}.{rest[0]}"):
        module = f"{module}.{rest.pop(0)}"
    if rest and rest[0] in read_module(module).imports:  # handed on by the module that it is imported from
        return find(read_module(module).imports[rest[0]], rest[1:])
    return Reference(module, rest[0] if rest else None), rest[1:]


@cache
def read_module(name: str) -> Module:
    return Module(name)


def bound_names(body: Iterable[ast.AST], inside: Module) -> dict[str, str | int | None]:
    """The names that statements bind in the scope they stand in."""
    found: dict[str, str | int | None] = {}
    elsewhere: set[str] = set()
    waiting = list(body)
    while waiting:
        node = waiting.pop()
        if isinstance(node, ast.Import | ast.ImportFrom):
            found |= inside.imported(node)
        elif isinstance(node, ast.Global | ast.Nonlocal):
            elsewhere |= set(node.names)
        elif isinstance(node, ast.Name) and not isinstance(node.ctx, ast.Load):
            found[node.id] = None
        elif isinstance(node, Function | ast.ClassDef | ast.ExceptHandler | ast.MatchAs | ast.MatchStar) and node.name:
            found[node.name] = None
        elif isinstance(node, ast.MatchMapping) and node.rest:
            found[node.rest] = None
        if isinstance(node, Comprehension):  # only what `:=` binds in them
            named = (each.target for each in ast.walk(node) if isinstance(each, ast.NamedExpr))
            found |= {target.id: None for target in named}
        elif not isinstance(node, _Scoped):
            waiting += ast.iter_child_nodes(node)
    return {name: value for name, value in found.items() if name not in elsewhere}
