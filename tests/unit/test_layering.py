"""The packages and the direction of their imports: a package imports only those that stand before it."""

import ast
from pathlib import Path

import networkx as nx
import pytest

from rim.workflow.names import SOURCE, Module, Reference, find

# Packages side by side do not import each other.
FLOORS = (
    ("core",),
    ("settings",),
    ("data", "models"),
    ("instruments",),
    ("training", "analysis"),
    ("config",),
    ("results", "workflow"),
    ("report", "preflight", "explorer", "device"),
    ("steps", "tools"),
    ("cli",),
)


def modules() -> list[str]:
    paths = sorted(path.relative_to(SOURCE).with_suffix("") for path in SOURCE.rglob("*.py"))
    return [".".join(["rim", *path.parts]).removesuffix(".__init__") for path in paths]


def imports() -> nx.DiGraph:
    """Module -> module, for every import: those inside functions and those for type checkers too."""
    graph = nx.DiGraph()
    graph.add_nodes_from(modules())
    for name in modules():
        path = SOURCE.joinpath(*name.split(".")[1:])
        tree = ast.parse((path / "__init__.py" if path.is_dir() else path.with_suffix(".py")).read_text())
        module = Module(name)
        for statement in (node for node in ast.walk(tree) if isinstance(node, ast.Import | ast.ImportFrom)):
            for dotted in module.imported(statement).values():
                found = find(dotted, [])[0]
                if isinstance(found, Reference) and found.module not in (name, "rim"):
                    graph.add_edge(name, found.module)
    return graph


def package(module: str) -> str:
    return module.split(".")[1]


def test_packages_import_only_those_on_floors_below() -> None:
    floor = {name: number for number, names in enumerate(FLOORS) for name in names}
    wrong = [
        f"{first} imports {second}"
        for first, second in imports().edges
        if package(first) != package(second) and floor[package(second)] >= floor[package(first)]
    ]
    assert wrong == []
    assert len(FLOORS) - 1 <= 9  # `cli` is a module


def test_every_module_lies_in_a_package_of_the_plan() -> None:
    found = {package(name) for name in modules() if name != "rim"}
    assert found == {name for names in FLOORS for name in names}
    assert {path.name for path in SOURCE.glob("*.py")} == {"__init__.py", "cli.py"}


def test_modules_import_each_other_in_no_circle() -> None:
    assert list(nx.simple_cycles(imports())) == []


@pytest.mark.parametrize("name", [each for each in modules() if (SOURCE.joinpath(*each.split(".")[1:])).is_dir()])
def test_every_package_says_in_a_line_what_it_holds(name: str) -> None:
    tree = ast.parse(SOURCE.joinpath(*name.split(".")[1:], "__init__.py").read_text())
    lines = (ast.get_docstring(tree) or "").splitlines()
    assert len(lines) == 1
    assert Path(SOURCE, "__init__.py").exists()
