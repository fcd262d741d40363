"""Fingerprints of code: a hash of what a step does.

Snakemake does not notice by itself that a function was changed which a step calls, so every rule carries the fingerprint
of its step as a param. It is taken over the syntax tree, without comments, docstrings and layout, of the step and of
every definition of this package that the step needs, directly or not. A definition it does not need changes nothing: a
new key in some other part of the configuration reruns no training.
"""

from __future__ import annotations

import ast
import hashlib
import json
from functools import cache
from pathlib import Path

SOURCE = Path(__file__).parent
_Code = tuple[str, list[tuple[str, str | None]]]


class _Module:
    """The top-level definitions of one module, and what its names import from this package."""

    def __init__(self, name: str) -> None:
        self.name = name
        self._codes: dict[str, _Code] = {}
        path = SOURCE.joinpath(*name.split(".")[1:])
        tree = ast.parse((path / "__init__.py" if path.is_dir() else path.with_suffix(".py")).read_text())
        self.definitions: dict[str, ast.stmt] = {}
        self.imports: dict[str, tuple[str, str | None]] = {}
        self.rest: list[ast.stmt] = []
        for node in ast.walk(tree):
            if isinstance(node, ast.ImportFrom) and node.module and node.module.split(".")[0] == "rim":
                for alias in node.names:
                    inner = f"{node.module}.{alias.name}"
                    self.imports[alias.asname or alias.name] = (
                        (inner, None) if _is_module(inner) else (node.module, alias.name)
                    )
            body = getattr(node, "body", None)
            if (
                isinstance(body, list)
                and body
                and isinstance(body[0], ast.Expr)
                and isinstance(body[0].value, ast.Constant)
            ):
                node.body = body[1:] or [ast.Pass()]  # type: ignore[attr-defined]
        for statement in tree.body:
            names = _defined(statement)
            self.definitions.update(dict.fromkeys(names, statement))
            if not names and not isinstance(statement, ast.Import | ast.ImportFrom | ast.If):
                self.rest.append(statement)

    def code(self, name: str) -> _Code:
        """The syntax of a definition, or with an empty name of the statements that run on import, and what it refers to."""
        if name not in self._codes:
            parts = [self.definitions[name]] if name else self.rest
            nodes = [node for part in parts for node in ast.walk(part)]
            bases = {
                id(n.value): n.attr for n in nodes if isinstance(n, ast.Attribute) and isinstance(n.value, ast.Name)
            }
            references: list[tuple[str, str | None]] = []
            for node in nodes:
                if isinstance(node, ast.Name):
                    imported = self.imports.get(node.id)
                    if imported and imported[1] is None:
                        references.append((imported[0], bases.get(id(node))))  # module.attribute, or the module itself
                    elif imported or node.id in self.definitions:
                        references.append((self.name, node.id))
            self._codes[name] = "".join(map(ast.dump, parts)), list(dict.fromkeys(references))
        return self._codes[name]


def _is_module(name: str) -> bool:
    path = SOURCE.joinpath(*name.split(".")[1:])
    return path.is_dir() or path.with_suffix(".py").is_file()


def _defined(statement: ast.stmt) -> list[str]:
    if isinstance(statement, ast.FunctionDef | ast.ClassDef):
        return [statement.name]
    targets = (
        statement.targets
        if isinstance(statement, ast.Assign)
        else [statement.target]
        if isinstance(statement, ast.AnnAssign)
        else []
    )
    return [node.id for target in targets for node in ast.walk(target) if isinstance(node, ast.Name)]


@cache
def _module(name: str) -> _Module:
    return _Module(name)


@cache
def fingerprint(step: str) -> str:
    """Hash of all code of this package that the step `rim.steps.{step}` needs."""
    needed: dict[tuple[str, str], str] = {}

    def need(module: str, name: str | None) -> None:
        """Take up a definition and all it refers to; the whole module when `name` is None or not defined there."""
        known = _module(module)
        if name in known.imports:
            need(*known.imports[name])
        elif name is None or name not in known.definitions:
            for each in known.definitions:
                need(module, each)
        else:
            for part in (name, ""):
                if (module, part) not in needed:
                    needed[module, part], references = known.code(part)
                    for reference in references:
                        need(*reference)

    need(f"rim.steps.{step}", None)
    text = json.dumps(sorted([*key, dump] for key, dump in needed.items()))
    return hashlib.sha256(text.encode()).hexdigest()[:16]
