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


class _Module:
    """The top-level definitions of one module, and what its names import from this package."""

    def __init__(self, name: str) -> None:
        path = SOURCE.joinpath(*name.split(".")[1:])
        tree = ast.parse((path / "__init__.py" if path.is_dir() else path.with_suffix(".py")).read_text())
        for node in ast.walk(tree):
            body = getattr(node, "body", None)
            if (
                isinstance(body, list)
                and body
                and isinstance(body[0], ast.Expr)
                and isinstance(body[0].value, ast.Constant)
            ):
                node.body = body[1:] or [ast.Pass()]  # type: ignore[attr-defined]
        self.definitions: dict[str, ast.stmt] = {}
        self.imports: dict[str, tuple[str, str | None]] = {}
        self.rest: list[ast.stmt] = []
        for statement in tree.body:
            names = _defined(statement)
            self.definitions.update(dict.fromkeys(names, statement))
            if not names and not isinstance(statement, ast.Import | ast.ImportFrom | ast.If):
                self.rest.append(statement)
        for node in ast.walk(tree):
            if isinstance(node, ast.ImportFrom) and node.module and node.module.split(".")[0] == "rim":
                for alias in node.names:
                    inner = f"{node.module}.{alias.name}"
                    self.imports[alias.asname or alias.name] = (
                        (inner, None) if _is_module(inner) else (node.module, alias.name)
                    )


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
        if name is None or (name not in known.definitions and name not in known.imports):
            for each in known.definitions:
                need(module, each)
        elif name in known.imports:
            need(*known.imports[name])
        elif (module, name) not in needed:
            needed[module, name] = ast.dump(known.definitions[name])
            refer(module, known.definitions[name])
            if (module, "") not in needed:  # statements that run on import
                needed[module, ""] = "".join(map(ast.dump, known.rest))
                for statement in known.rest:
                    refer(module, statement)

    def refer(module: str, node: ast.AST) -> None:
        known = _module(module)
        bases = {
            id(n.value): n.attr
            for n in ast.walk(node)
            if isinstance(n, ast.Attribute) and isinstance(n.value, ast.Name)
        }
        for name in (n for n in ast.walk(node) if isinstance(n, ast.Name)):
            imported = known.imports.get(name.id)
            if imported and imported[1] is None:
                need(imported[0], bases.get(id(name)))  # module.attribute, or the module itself handed around
            elif imported or name.id in known.definitions:
                need(module, name.id)

    need(f"rim.steps.{step}", None)
    text = json.dumps(sorted([*key, dump] for key, dump in needed.items()))
    return hashlib.sha256(text.encode()).hexdigest()[:16]
