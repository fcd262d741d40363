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
import hashlib
from functools import cache

from rim.workflow import names, tokens
from rim.workflow.names import Reference, Scope, read_module
from rim.workflow.tokens import Tokens, tokens_of

STEPS = "rim.steps"
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
        for other in (each for each in tokens_of(one) if isinstance(each, Reference)):
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
        token if isinstance(token, str) else partners.get(token) or _hashes[token] for token in tokens_of(reference)
    ]
    return sorted(spelled) if reference.name is None else spelled


@cache
def fingerprint(step: str) -> str:
    """Hash of all code of this package that the step `rim.steps.{step}` needs."""
    module = read_module(f"{STEPS}.{step}")
    annotations = Tokens(module)
    for statement in module.definitions["run"]:
        parameters = [each for each in ast.walk(statement) if isinstance(each, ast.arg)]
        annotations.add([each.annotation for each in parameters if each.annotation], Scope({}))
    handed = {each for each in annotations.tokens if isinstance(each, Reference)}
    return _digest(_hash(Reference(module.name, "run")), *sorted(map(_hash, handed)))[:16]


def forget() -> None:
    """Forget what was read, so that a changed file is read again."""
    for known in (
        names.module_file,
        names.is_module,
        names.read_module,
        tokens.is_for_people,
        tokens.is_exception,
        tokens_of,
        fingerprint,
    ):
        known.cache_clear()
    _hashes.clear()
