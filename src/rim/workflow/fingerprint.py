"""Fingerprints of code: a hash of what a step does, and of nothing else.

Snakemake does not notice by itself that a function was changed which a step calls, so every rule carries the fingerprint
of its step as a param. The fingerprint is *content-addressed*, as in the language Unison: all that a step reaches is hashed
with each reference to a definition of this package replaced by what it refers to, so names and places are not part of it.
Refactoring is free, and only a change of what is computed runs jobs again.

What changes nothing
    Where a definition lives, what its module or itself is called, by which import it is reached, the names of its local
    variables, annotations of functions, docstrings, comments, layout, the order of definitions and of plain methods,
    descriptions of settings, and words for people: those of log lines, progress, warnings, raised errors and assertions
    (of log lines, progress and warnings only those that call no more than Python's own pure functions); a new setting that is
    marked `AsBefore`.

What changes the fingerprint
    Everything else: values, operators, order of statements, names of parameters, attributes, methods, fields and keywords
    (a caller or a table may know them), the types of a settings class's fields (they decide what is accepted), names and
    words of forms (a language model is shown them), and which of two equal definitions is meant: two classes of errors
    with nothing in them are caught apart, and two empty lists are filled apart.

How it is done
    1. Every top-level definition becomes a list of tokens. A local variable is a number, in order of appearance; a name
       from outside the package is its full dotted name; a definition of the package is a reference.
    2. From the step's `run` function the references are followed, and definitions numbered as they are met.
    3. The tokens of all of them, with these numbers for references, are hashed.

What cannot be told from the text is refused: a module that does something when it is imported, a name that stands for two
things, or for none. What cannot be followed is a name that code puts together at run time, so this package looks nothing up
by text in its own modules, a decorator registers nothing, and no result depends on a docstring, on the name of a definition,
or on the words of an error. A settings object that a step is handed is reached through the annotations of `run`, which
count as references as those of settings classes and forms do; they stand there without quotes (ruff's UP037).
"""

from __future__ import annotations

import ast
import hashlib
import json
import sys
from collections.abc import Iterable
from contextlib import suppress
from functools import cache
from importlib.util import cache_from_source
from pathlib import Path

from rim.core.files import write_json
from rim.workflow import names, words
from rim.workflow.names import Reference, Scope, read_module
from rim.workflow.tokens import Tokens, tokens_of

STEPS = "rim.steps"


@cache
def reached(step: str, package: str = STEPS) -> list[Reference]:
    """The definitions that a step needs, `run` first, in the order in which they refer to each other."""
    module = read_module(f"{package}.{step}")
    annotations = Tokens(module)
    parameters = [each for each in ast.walk(module.definitions["run"]) if isinstance(each, ast.arg)]
    annotations.add([each.annotation for each in parameters], Scope({}))
    found = dict.fromkeys([Reference(module.name, "run"), *_references(annotations.tokens)])
    waiting = list(found)
    for each in waiting:
        new = [other for other in dict.fromkeys(_references(tokens_of(each))) if other not in found]
        found |= dict.fromkeys(new)
        waiting += new
    return waiting


def _references(tokens: Iterable[str | Reference]) -> list[Reference]:
    return [each for each in tokens if isinstance(each, Reference)]


@cache
def fingerprint(step: str, package: str = STEPS) -> str:
    """Hash of all code of this package that a step needs, or another module with a function `run`."""
    number = {reference: f"definition {i}" for i, reference in enumerate(reached(step, package))}
    spelled = [
        token if isinstance(token, str) else number[token]
        for reference in number
        for token in (number[reference], "is", *tokens_of(reference))
    ]
    return hashlib.sha256("\n".join(spelled).encode()).hexdigest()[:16]


@cache
def fingerprints() -> dict[str, str]:
    """Those of all steps, kept beside Python's own bytecode until a source file changes.

    To take them costs a second, which every start of Snakemake would pay.
    """
    place = Path(cache_from_source(str(names.SOURCE / "fingerprints.py"))).with_suffix(".json")
    sources = _hash_of_sources()
    with suppress(OSError, ValueError):
        kept = json.loads(place.read_text())
        if kept["sources"] == sources:
            return dict(kept["fingerprints"])
    steps = names.SOURCE.joinpath("steps").glob("[!_]*.py")
    taken = {step.stem: fingerprint(step.stem) for step in sorted(steps)}
    with suppress(OSError):  # an installation that cannot be written to
        if not sys.dont_write_bytecode and _hash_of_sources() == sources:
            write_json(place, {"sources": sources, "fingerprints": taken})
    return taken


def _hash_of_sources() -> str:
    files = sorted(names.SOURCE.rglob("*.py"))
    told = [f"{file.relative_to(names.SOURCE)} {hashlib.sha256(file.read_bytes()).hexdigest()}" for file in files]
    return hashlib.sha256("\n".join(told).encode()).hexdigest()


def forget() -> None:
    """Forget what was read, so that a changed file is read again."""
    for known in (
        names.module_file,
        names.is_module,
        names.read_module,
        words.is_for_people,
        words.ancestors,
        words.is_exception,
        tokens_of,
        reached,
        fingerprint,
        fingerprints,
    ):
        known.cache_clear()
