"""What a name in this package's own code stands for: a definition of the package, a local variable, or something outside."""

from __future__ import annotations

import ast
import builtins
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

SOURCE = Path(__file__).parents[1]
PACKAGE = "rim"
Function = ast.FunctionDef | ast.AsyncFunctionDef
_Scoped = Function | ast.ClassDef | ast.Lambda
IMPLICIT = {*dir(builtins), "__file__", "__name__", "__doc__", "__class__"}
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
    shown: bool = False  # whether words in it are shown to a language model, as those of a form are

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
        self.definitions: dict[str, ast.stmt] = {}
        self.imports: dict[str, str] = {}
        for statement in _statements(ast.parse(path.read_text())):
            imported = self.imported(statement) if isinstance(statement, ast.Import | ast.ImportFrom) else {}
            names = list(imported) or defined_names(statement)
            if not names:
                raise ValueError(f"{path}:{statement.lineno}: a module has definitions and imports only")
            for name in names:
                if name in self.definitions or self.imports.get(name, imported.get(name)) != imported.get(name):
                    raise ValueError(f"{path}:{statement.lineno}: '{name}' stands for two things in this module")
            self.imports |= imported
            self.definitions |= {} if imported else dict.fromkeys(names, statement)

    def knows(self, name: str) -> bool:
        """Whether a name stands for something in the module as a whole."""
        return name in self.definitions or name in self.imports or name in IMPLICIT

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
        if isinstance(statement, ast.If) and ast.unparse(statement.test) == "TYPE_CHECKING" and not statement.orelse:
            yield from statement.body
        elif not _is_docstring(statement):
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
    while rest and not _binds(module, rest[0]) and is_module(f"{module}.{rest[0]}"):
        module = f"{module}.{rest.pop(0)}"
    if rest and rest[0] in read_module(module).imports:  # handed on by the module that it is imported from
        return find(read_module(module).imports[rest[0]], rest[1:])
    return Reference(module, rest[0] if rest else None), rest[1:]


def _binds(package: str, name: str) -> bool:
    """Whether a name is one of a package itself, which goes before a module of that name in it."""
    return is_module(package) and name in read_module(package).definitions | read_module(package).imports


@cache
def read_module(name: str) -> Module:
    return Module(name)


def bound_names(body: Iterable[ast.AST], inside: Module) -> dict[str, str | int | None]:
    """The names that statements bind in the scope they stand in; a global one is imported from its module, as it were.

    Raises:
        ValueError: a name stands for two things, of which it takes running the code to say which.
    """
    found: dict[str, str | int | None] = {}
    elsewhere: set[str] = set()
    imported: dict[str, str] = {}
    waiting = list(body)
    while waiting:
        node = waiting.pop()
        if isinstance(node, ast.Import | ast.ImportFrom):
            for name, full in inside.imported(node).items():
                if imported.setdefault(name, full) != full:
                    raise ValueError(f"{inside.name}:{node.lineno}: '{name}' is imported from two places")
        elif isinstance(node, ast.Global):
            imported |= {name: f"{inside.name}.{name}" for name in node.names}
            elsewhere |= set(node.names)
        elif isinstance(node, ast.Nonlocal):
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
    if twice := (set(found) & set(imported)) - elsewhere:
        raise ValueError(f"{inside.name}: '{min(twice)}' is imported in a function, and something else in it too")
    return {name: value for name, value in found.items() if name not in elsewhere} | imported


def resolve(node: ast.expr, scope: Scope, module: Module) -> tuple[Reference | str | None, list[str]]:
    """What a name or a chain of attributes stands for, and the attributes left over; None for a local variable.

    Raises:
        ValueError: a name of which the text does not say what it stands for.
    """
    attributes: list[str] = []
    while isinstance(node, ast.Attribute):
        attributes.insert(0, node.attr)
        node = node.value
    if not isinstance(node, ast.Name):
        return None, []
    if (owner := scope.owner(node.id)) is not None:
        found = owner.names[node.id]
        return find(found, attributes) if isinstance(found, str) else (None, [])
    if node.id in module.definitions:
        return Reference(module.name, node.id), attributes
    if not module.knows(node.id):
        raise ValueError(f"{module.name}:{node.lineno}: the text does not say what '{node.id}' stands for")
    return find(module.imports.get(node.id, node.id), attributes)
