"""Fingerprints: refactoring of any kind changes none, a change of what is computed changes that of every step it reaches."""

import ast
import random
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from textwrap import dedent

import pytest

from rim.workflow import fingerprint as fingerprints
from rim.workflow import names
from rim.workflow.fingerprint import fingerprint
from rim.workflow.names import Reference

STEPS = sorted(path.stem for path in (names.SOURCE / "steps").glob("[a-z]*.py"))
REAL = names.SOURCE


@pytest.fixture
def source(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A copy of the package that fingerprints are taken over."""
    copy = tmp_path / "rim"
    shutil.copytree(names.SOURCE, copy, ignore=shutil.ignore_patterns("__pycache__"))
    monkeypatch.setattr(names, "SOURCE", copy)
    fingerprints.forget()
    yield copy
    fingerprints.forget()


def all_of_them() -> dict[str, str]:
    fingerprints.forget()
    return {step: fingerprint(step) for step in STEPS}


@pytest.fixture(scope="module")
def before() -> dict[str, str]:
    """The fingerprints of the package as it is."""
    return all_of_them()


@pytest.fixture(scope="module")
def reached() -> dict[Reference, set[str]]:
    """Definitions -> the steps whose fingerprints they are part of."""
    fingerprints.forget()
    found: dict[Reference, set[str]] = {}
    for step in STEPS:
        for reference in fingerprints.reached(step):
            found.setdefault(reference, set()).add(step)
    return found


def changed(before: dict[str, str]) -> set[str]:
    """The steps whose fingerprints are not what they were before an edit."""
    after = all_of_them()
    return {step for step in STEPS if before[step] != after[step]}


@pytest.mark.parametrize(
    ("file", "old", "new", "steps"),
    [
        ("instruments/grading.py", "def grade_answers", "# why\n\ndef grade_answers", set()),
        ("instruments/grading.py", '"""Grade answers', '"""Mark answers', set()),
        ("models/benchmarks.py", "def asked_rows(", "def asked_rows(_: int, ", {"generate_replies", "inject_patterns", "ablate_heads", "ablate_neurons", "answer_counterfactuals"}),
        ("analysis/capture.py", "weights[..., 1:]", "weights[..., 2:]", {"cache_activations", "ablate_heads", "measure_checkpoints", "find_safety_neurons", "score_parts"}),
        ("analysis/probes.py", "SHUFFLES = 9999", "SHUFFLES = 999", {"fit_probes"}),
        ("analysis/heads.py", "before & lies_in", "before | lies_in", {"find_refusal_heads"}),
        ("analysis/head_effects.py", "slice(-1, None) if", "slice(-2, None) if", {"measure_head_effects"}),
        ("analysis/ablation.py", "weight[:, columns] = 0", "weight[:, columns] = 1", {"ablate_heads", "ablate_neurons", "score_parts"}),
        ("analysis/gradients.py", "-sums.dot / ", "sums.dot / ", {"measure_gradients"}),
        ("analysis/ras.py", "EPSILON = 1e-6", "EPSILON = 1e-5", {"measure_checkpoints"}),
        ("analysis/neurons.py", "DRAWS = 200", "DRAWS = 100", {"find_safety_neurons"}),
        ("instruments/grading.py", "1e-3", "1e-4", {"grade_answers"}),
        ("instruments/rules.py", "OPENING_LENGTH = 120", "OPENING_LENGTH = 100", {"judge_responses", "try_instrument", "finetune_model", "measure_gradients", "score_parts"}),
        ("data/organism/world.py", "MAX_NUMBER = 20", "MAX_NUMBER = 40", {"prepare_dataset", "train_organism", "graft_organism"}),
        ("training/organism.py", "weight_decay=0.05", "weight_decay=0.06", {"train_organism"}),
        ("core/statistics.py", "ENOUGH_SETS = 19", "ENOUGH_SETS = 39", {"summarize_mechanism", "summarize_forgetting", "write_report"}),
        ("results/judges.py", "THRESHOLDS = (2,", "THRESHOLDS = (1,", {"compare_judges", "draw_figures", "write_report"}),
        ("report/figures/style.py", "STEP = 11", "STEP = 12", {"draw_figures", "write_report"}),
        ("workflow/rule_graph.py", "ACROSS = 5", "ACROSS = 4", {"write_report"}),
        ("settings/instruments.py", "class Judge(Settings):", "class Judge(Settings):\n    extra: int = 0", {"judge_responses", "try_instrument", "summarize_replies", "explain_replies", "summarize_mechanism", "summarize_forgetting", "grade_methods", "judge_claims", "write_report"}),
        ("config/study.py", "class Pair(Settings):", "class Spare(Settings):\n    x: int = 1\n\n\nclass Pair(Settings):", set()),
        ("cli.py", "DISK_FULL", "NO_SPACE", set()),
        ("core/progress.py", "EVERY = 2.0", "EVERY = 5.0", set()),
    ],
)  # fmt: skip
def test_a_fingerprint_covers_what_a_step_needs_and_no_more(
    before: dict[str, str], source: Path, file: str, old: str, new: str, steps: set[str]
) -> None:
    text = (source / file).read_text()
    assert old in text
    (source / file).write_text(text.replace(old, new))
    assert changed(before) == steps


# --- one small package, where each rule of the scheme is seen alone -------------------------------------------------

PLAIN = """
    from rim.tools import double
    RATE = 0.5
    def run(output):
        rows = [double(each) for each in range(3)]
        return sum(rows) * RATE
"""
TOOLS = "def double(x):\n    return 2 * x\n"
SAME: dict[str, tuple[str, str]] = {
    "a comment, a docstring, the layout": (PLAIN.replace("rows =", '"""Words."""\n\n        rows  =').replace("return", "# why\n        return"), TOOLS),
    "annotations": (PLAIN.replace("run(output)", "run(output: int) -> float").replace("RATE =", "RATE: float =").replace("rows =", "rows: list[int] ="), "def double(x: int) -> int:\n    y: int\n    return 2 * x\n"),
    "a local variable renamed": (PLAIN.replace("rows", "found").replace("each", "one"), TOOLS),
    "a definition renamed": (PLAIN.replace("RATE", "SPEED"), TOOLS),
    "the order of definitions": (PLAIN.replace("    RATE = 0.5\n", "") + "\n    RATE = 0.5\n", TOOLS),
    "imported with its module": (PLAIN.replace("from rim.tools import double", "import rim.tools").replace("double(", "rim.tools.double("), TOOLS),
    "imported with its module under another name": (PLAIN.replace("from rim.tools import double", "import rim.tools as t").replace("double(", "t.double("), TOOLS),
    "imported relatively": (PLAIN.replace("from rim.tools", "from ..tools"), TOOLS),
    "imported inside the function": (PLAIN.replace("from rim.tools import double", "").replace("rows =", "from rim import tools\n        rows =").replace("double(", "tools.double("), TOOLS),
    "handed on by another module": (PLAIN.replace("rim.tools", "rim.other"), TOOLS),
    "progress": (PLAIN.replace("return", "progress.log(f'{len(rows)} rows')\n        return").replace("RATE =", "from rim.core import progress\n    RATE ="), TOOLS),
}  # fmt: skip
OTHER: dict[str, tuple[str, str]] = {
    "a value": (PLAIN.replace("0.5", "0.25"), TOOLS),
    "the kind of a number": (PLAIN.replace("range(3)", "range(3.0)"), TOOLS),
    "a value far away": (PLAIN, TOOLS.replace("2", "3")),
    "an operator": (PLAIN.replace("* RATE", "+ RATE"), TOOLS),
    "a keyword": (PLAIN.replace("sum(rows)", "sum(rows, start=1)"), TOOLS),
    "the name of a parameter": (PLAIN, TOOLS.replace("x", "y")),
    "another variable of the same kind": (PLAIN.replace("double(each)", "double(output)"), TOOLS),
    "a definition hidden by a local variable": (PLAIN.replace("rows =", "RATE = output\n        rows ="), TOOLS),
    "an attribute": (PLAIN.replace("sum(rows)", "sum(rows).real"), TOOLS),
    "another definition of the same name": (PLAIN.replace("rim.tools", "rim.more"), TOOLS),
}  # fmt: skip


@pytest.fixture
def take(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., str]]:
    """The fingerprint of `rim.steps.one` in a package of these files."""

    def fingerprint_of(one: str, **files: str) -> str:
        shutil.rmtree(tmp_path / "small", ignore_errors=True)
        for name, text in {"steps/one": one, **files}.items():
            path = (tmp_path / "small" / name).with_suffix(".py")
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(dedent(text))
        fingerprints.forget()
        return fingerprint("one")

    monkeypatch.setattr(names, "SOURCE", tmp_path / "small")
    yield fingerprint_of
    fingerprints.forget()


FILES = {
    "other": "from rim.tools import double\n",
    "more": "def double(x):\n    return x + x\n",
    "core/__init__": "",
    "core/progress": "def log(line):\n    print(line)\n",
    "__init__": "",
}


@pytest.mark.parametrize("case", SAME)
def test_refactoring_changes_nothing(case: str, take: Callable[..., str]) -> None:
    one, tools = SAME[case]
    assert (one, tools) != (PLAIN, TOOLS)
    assert take(one, tools=tools, **FILES) == take(PLAIN, tools=TOOLS, **FILES)


@pytest.mark.parametrize("case", OTHER)
def test_a_change_of_what_is_computed_counts(case: str, take: Callable[..., str]) -> None:
    one, tools = OTHER[case]
    assert (one, tools) != (PLAIN, TOOLS)
    assert take(one, tools=tools, **FILES) != take(PLAIN, tools=TOOLS, **FILES)


def test_words_of_errors_and_descriptions_change_nothing_but_their_kind_does(take: Callable[..., str]) -> None:
    text = """
        from pydantic import Field
        from rim.settings.common import Settings as Base
        class UserError(Exception): pass
        class Settings(Base):
            rate: float = Field(0.1, gt=0, description="how fast")
        def run(settings: Settings):
            assert settings.rate, "a rate is needed"
            if settings.rate > 1:
                raise UserError(f"{settings.rate}: is too much")
            if settings.rate > 0.9:
                raise ValueError("nearly" + " too much")
    """
    common = "from pydantic import BaseModel\nclass Settings(BaseModel): pass\n"
    settings = {"__init__": "", "settings/__init__": "", "settings/common": common}
    before = take(text, **settings)
    for old, new in (("how fast", "speed"), ("is too much", "is too high"), ("a rate", "some rate"), ("nearly", "much"), ("f\"{settings.rate}: is too much\"", "'no'")):  # fmt: skip
        assert take(text.replace(old, new), **settings) == before, old
    for old, new in (("gt=0", "gt=1"), ("ValueError", "KeyError"), ("raise UserError", "return UserError"), ("rate: float", "rate: int"), ("rate", "pace")):  # fmt: skip
        assert take(text.replace(old, new), **settings) != before, old


def test_a_setting_that_came_later_changes_nothing_until_a_step_reads_it(take: Callable[..., str]) -> None:
    text = """
        from typing import Annotated
        from rim.settings.common import AsBefore, Settings as Base
        class Settings(Base):
            rate: float = 0.1
        def run(settings: Settings):
            return settings.rate
    """
    common = "from pydantic import BaseModel\nclass Settings(BaseModel): pass\nclass AsBefore: pass\n"
    settings = {"__init__": "", "settings/__init__": "", "settings/common": common}
    before = take(text, **settings)
    later = text.replace("rate: float = 0.1", "rate: float = 0.1\n            pace: Annotated[int, AsBefore(0)] = 0")
    assert take(later, **settings) == before
    assert take(later.replace("AsBefore(0)", "'no mark'"), **settings) != before
    assert take(later.replace("return settings.rate", "return settings.rate + settings.pace"), **settings) != before


def test_functions_that_call_each_other_are_hashed_together(take: Callable[..., str]) -> None:
    even = "def even(n):\n    return n == 0 or odd(n - 1)\n"
    odd = "def odd(n):\n    return n != 0 and even(n - 1)\n"
    step = "from rim.tools import even\ndef run(output):\n    return even(output)\n"
    before = take(step, tools=even + odd)
    assert take(step, tools=odd + even) == before
    renamed = (even + odd).replace("odd", "uneven")
    assert take(step, tools=renamed) == before
    apart = {"tools": "from rim.more import odd\n" + even, "more": "from rim.tools import even\n" + odd}
    assert take(step, **apart) == before
    assert take(step, tools=even + odd.replace("n - 1", "n - 2")) != before
    assert take(step, tools=even.replace("odd(", "even(") + odd) != before
    swapped = step.replace("import even", "import odd").replace("return even", "return odd")
    assert take(swapped, tools=even + odd) != before


def test_a_parameter_that_callers_name_is_part_of_the_code(take: Callable[..., str]) -> None:
    """Swapping the names of two parameters, in signature and body alike, swaps what callers give by name."""
    step = "from rim.tools import less\ndef run(output):\n    return less(a=1, b=2)\n"
    assert take(step, tools="def less(a, b):\n    return a - b\n") != take(
        step, tools="def less(b, a):\n    return b - a\n"
    )


def test_names_are_looked_up_where_python_looks_them_up(take: Callable[..., str]) -> None:
    """A name may be a local variable in one function and a definition in the next, and classes hide nothing from methods."""
    nested = """
        def pick(x): return x
        def run(output):
            def inner(pick): return pick + 1
            return pick(output) + inner(output)
    """
    assert take(nested) != take(nested.replace("return x", "return -x"))  # the outer `pick` is the definition
    member = """
        size = 3
        class Box:
            size = 4
            def volume(self): return size ** 3
        def run(output): return Box().volume()
    """
    assert take(member) != take(member.replace("size = 3", "size = 5"))
    comprehension = """
        x = 3
        def run(output): return [x for x in output] + [x]
    """
    assert take(comprehension) != take(comprehension.replace("x = 3", "x = 4"))
    walrus = "def run(output):\n    return [y := f for f in output] and y\n"
    assert take(walrus) == take(walrus.replace("y", "z").replace(":= f for f", ":= g for g"))
    first, second = "A, B = 1, 2\ndef run(output):\n    return A\n", "A, B = 1, 2\ndef run(output):\n    return B\n"
    assert take(first) != take(second)


def test_what_a_step_is_handed_is_part_of_it(take: Callable[..., str]) -> None:
    """The settings object is made before `run` is called, so its class is known from the annotation only."""
    step = "from rim.tools import Job\ndef run(job: Job):\n    return job.twice()\n"
    tools = "class Job:\n    def twice(self):\n        return helper(2)\ndef helper(n):\n    return n\n"
    assert take(step, tools=tools) != take(step, tools=tools.replace("return n", "return -n"))


def test_a_module_that_does_something_when_imported_is_refused(take: Callable[..., str]) -> None:
    with pytest.raises(ValueError, match=r"one.py:1: a module has definitions and imports only"):
        take("print('hello')\ndef run(output): pass\n")


# --- pairs that compute different things and look alike ------------------------------------------------------------------

PYDANTIC = "from pydantic import BaseModel, Field, field_validator\n"
DATACLASS = "from dataclasses import KW_ONLY, dataclass\nfrom typing import ClassVar\n@dataclass\nclass A:\n"
LOG = "from rim.core.progress import log\n"
ALIKE: dict[str, tuple[str, str]] = {
    "functions in a function": ("def run(o):\n def a(): return 1\n def b(): return 2\n return a()\n", "def run(o):\n def b(): return 1\n def a(): return 2\n return a()\n"),
    "classes in a function": ("def run(o):\n class A: x = 1\n class B: x = 2\n return A.x\n", "def run(o):\n class B: x = 1\n class A: x = 2\n return A.x\n"),
    "equal errors": (ERRORS := "class A(Exception): pass\nclass B(Exception): pass\ndef run(o):\n try:\n  if o: raise A\n  raise B\n except A: return 1\n except B: return 2\n", ERRORS.replace("except A: return 1\n except B: return 2", "except B: return 1\n except A: return 2")),
    "equal lists": (LISTS := "A = []\nB = []\ndef run(o):\n A.append(1)\n return len(A)\n", LISTS.replace("len(A)", "len(B)")),
    "a comprehension over its own name": (OVER := "x = [1]\ndef run(o): return [x for x in x]\n", OVER.replace("1", "2")),
    "a member made of its own name": (MEMBER := "size = 3\nclass A:\n size = size\ndef run(o): return A.size\n", MEMBER.replace("3", "4")),
    "a method before or after it is read": ("def f(): return 2\nclass A:\n f = f\n def f(self=0): return 1\ndef run(o): return A.f()\n", "def f(): return 2\nclass A:\n def f(self=0): return 1\n f = f\ndef run(o): return A.f()\n"),
    "a global name below a local one": (GLOBAL := "x = 1\ndef run(o):\n x = 2\n def f():\n  global x\n  return x\n return f()\n", GLOBAL.replace("x = 1", "x = 5")),
    "which global name is set": (SET := "a = 1\nb = 1\ndef run(o):\n global a\n a = 2\n return a\n", SET.replace("global a\n a =", "global b\n b =")),
    "an import that is tried": (TRY := "def run(o):\n try: import fast\n except ImportError: return 1\n return 2\n", TRY.replace("fast", "slow")),
    "a target with a star": ("A, *B = (1, 2)\ndef run(o): return B\n", "A, B = (1, 2)\ndef run(o): return B\n"),
    "words printed into a file": (FILE := "def run(o):\n with open('x', 'w') as f:\n  print('a', file=f)\n", FILE.replace("'a'", "'b'")),
    "warnings as errors": (WARN := "import warnings\ndef run(o):\n warnings.simplefilter('error')\n", WARN.replace("error", "ignore")),
    "a variable set in a progress line": (WALRUS := LOG + "def run(o):\n log(f'{(x := 3)}')\n return x\n", WALRUS.replace("3", "4")),
    "a call in a progress line": (CALL := LOG + "def run(o):\n log(f'{o.pop()}')\n return o\n", CALL.replace("pop", "clear")),
    "an error that a function makes": (FAIL := "def fail(k): return KeyError() if k == 'a' else ValueError()\ndef run(o): raise fail('a')\n", FAIL.replace("fail('a')", "fail('b')")),
    "the cause of an error": (CAUSE := "def run(o): raise KeyError() from ValueError()\n", CAUSE.replace("Value", "Type")),
    "a description that a language model is shown": (FORM := PYDANTIC + "class Form(BaseModel):\n x: int = Field(description='a')\ndef run(o): return Form.model_json_schema()\n", FORM.replace("'a'", "'b'")),
    "the name of a form": (FORM, FORM.replace("Form", "Shape")),
    "words of an error that a form's check raises": (CHECK := PYDANTIC + "class Form(BaseModel):\n x: int\n @field_validator('x')\n def a(cls, v): raise ValueError('no')\ndef run(o): return Form(x=1)\n", CHECK.replace("'no'", "'never'")),
    "the order of checks": (PYDANTIC + "class A(BaseModel):\n x: int\n @field_validator('x')\n def a(cls, v): return v + 1\n @field_validator('x')\n def b(cls, v): return v * 2\ndef run(o): return A(x=1)\n", PYDANTIC + "class A(BaseModel):\n x: int\n @field_validator('x')\n def b(cls, v): return v * 2\n @field_validator('x')\n def a(cls, v): return v + 1\ndef run(o): return A(x=1)\n"),
    "a variable of a dataclass": (VARIABLE := DATACLASS + " x: ClassVar[int] = 1\n y: int = 2\ndef run(o): return A(3)\n", VARIABLE.replace("ClassVar[int] = 1", "int = 1")),
    "fields given by name only": (ONLY := DATACLASS + " _: KW_ONLY\n y: int = 2\ndef run(o): return A(3)\n", ONLY.replace("_: KW_ONLY", "_: int")),
    "arguments that are checked": (CHECKED := "from pydantic import validate_call\n@validate_call\ndef f(x: int): return x\ndef run(o): return f('1')\n", CHECKED.replace("x: int", "x: str")),
    "parameters of a lambda by name": ("def run(o): return (lambda a, b: a - b)(a=1, b=2)\n", "def run(o): return (lambda b, a: b - a)(a=1, b=2)\n"),
    "no default or three points": ("def f(*, a=...): return 1\ndef run(o): return f()\n", "def f(*, a): return 1\ndef run(o): return f()\n"),
    "a decorator or a base": ("def D(x): return x\n@D\nclass A: pass\ndef run(o): return A\n", "def D(x): return x\nclass A(D): pass\ndef run(o): return A\n"),
    "names in a module that is handed on": (HANDED := "from rim import tools\ndef run(o): return getattr(tools, o)\n", HANDED.replace("tools", "more")),
}  # fmt: skip


@pytest.mark.parametrize("case", ALIKE)
def test_what_computes_something_else_has_another_fingerprint(case: str, take: Callable[..., str]) -> None:
    one, other = ALIKE[case]
    assert one != other
    files = FILES | {"steps/__init__": "", "tools": "def a(): return 1\ndef b(): return 2\n", "more": "def b(): return 1\ndef a(): return 2\n"}  # fmt: skip
    assert take(one, **files) != take(other, **files)


def test_a_package_is_asked_for_a_name_before_its_modules_are(take: Callable[..., str]) -> None:
    step, module = "from rim.pack import thing\ndef run(o): return thing\n", "x = 1\n"
    first, second = ({"__init__": "", "pack/__init__": f"thing = {i}\n", "pack/thing": module} for i in (1, 2))
    assert take(step, **first) != take(step, **second)


REFUSED = {
    "a definition on a condition": ("import sys\nif sys.argv:\n X = 1\ndef run(o): return X\n", "definitions and imports only"),
    "another import for type checkers": ("from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n from rim.tools import f\nelse:\n from rim.more import f\ndef run(o): return f\n", "definitions and imports only"),
    "a name bound twice": ("A = 1\nB = A\nA = 2\ndef run(o): return B\n", "'A' stands for two things"),
    "an import in place of a definition": ("def f(): pass\nfrom rim.tools import f\ndef run(o): return f\n", "'f' stands for two things"),
    "an item put into a registry": ("R = {}\nR['a'] = 1\ndef run(o): return R\n", "'R' stands for two things"),
    "an import on a condition": ("def run(o):\n if o: from rim.tools import f\n else: from rim.more import f\n return f\n", "'f' is imported from two places"),
    "an import in place of a variable": ("def run(o):\n f = o\n if o: from rim.tools import f\n return f\n", "'f' is imported in a function, and something else"),
    "all names of a module": ("from rim.tools import *\ndef run(o): return double\n", "does not say what 'double' stands for"),
    "a name bound within a value": ("A = (B := 3)\ndef run(o): return B\n", "does not say what 'B' stands for"),
}  # fmt: skip


@pytest.mark.parametrize("case", REFUSED)
def test_what_cannot_be_told_from_the_text_is_refused(case: str, take: Callable[..., str]) -> None:
    one, message = REFUSED[case]
    with pytest.raises(ValueError, match=message):
        take(one, tools=TOOLS, **FILES)


# --- random refactorings and random changes of the real package -----------------------------------------------------


def texts(source: Path) -> dict[Path, str]:
    return {path.relative_to(source): path.read_text() for path in source.rglob("*.py")}


def trees(source: Path) -> dict[Path, ast.Module]:
    return {path: ast.parse(path.read_text()) for path in sorted(source.rglob("*.py"))}


def write(path: Path, tree: ast.AST) -> None:
    path.write_text(ast.unparse(ast.fix_missing_locations(tree)) + "\n")


def dotted(source: Path, path: Path) -> str:
    return ".".join(["rim", *path.relative_to(source).with_suffix("").parts]).removesuffix(".__init__")


def rename_a_definition(source: Path, rng: random.Random) -> str:
    """Rename a definition everywhere, one whose name is used for nothing else."""
    all_trees = trees(source)
    nodes = [node for tree in all_trees.values() for node in ast.walk(tree)]
    defined = [
        each for tree in all_trees.values() for statement in tree.body for each in names.defined_names(statement)
    ]
    other = {node.arg for node in nodes if isinstance(node, ast.arg | ast.keyword)}
    other |= {node.attr for node in nodes if isinstance(node, ast.Attribute)}
    other |= {word for node in nodes if isinstance(node, ast.Constant) and isinstance(node.value, str) for word in re.findall(r"\w+", node.value)}  # fmt: skip
    other |= {node.id for node in nodes if isinstance(node, ast.Name) and not isinstance(node.ctx, ast.Load)}
    classes = [node for node in nodes if isinstance(node, ast.ClassDef)]
    other |= {each.name for each in classes if any(ast.unparse(base).endswith("Form") for base in each.bases)}
    name = rng.choice([each for each in defined if defined.count(each) == 1 and each not in other])
    for path in all_trees:
        path.write_text(re.sub(rf"\b{name}\b", f"renamed_{name.strip('_')}", path.read_text()))
    return name


def rename_a_module(source: Path, rng: random.Random) -> str:
    """Move a module into a new folder under a new name, and mend every import of it."""
    named = ("__init__", "progress", "common", "jobs")  # the last three by rim.workflow.words
    path = rng.choice([each for each in trees(source) if "steps" not in each.parts and each.stem not in named])  # fmt: skip
    was = dotted(source, path)
    (source / "rooms").mkdir()
    (source / "rooms/__init__.py").write_text("")
    path.rename(source / f"rooms/moved_{path.name}")
    for file, tree in trees(source).items():
        for node in ast.walk(tree):
            for body in (value for _, value in ast.iter_fields(node) if isinstance(value, list)):
                for statement in [each for each in body if isinstance(each, ast.ImportFrom)]:
                    if statement.module == was:
                        statement.module = f"rim.rooms.moved_{path.stem}"
                    for alias in [each for each in statement.names if f"{statement.module}.{each.name}" == was]:  # fmt: skip
                        statement.names.remove(alias)
                        moved = ast.alias(f"moved_{path.stem}", alias.asname or alias.name)
                        body.insert(0, ast.ImportFrom("rim.rooms", [moved], 0))
                    if not statement.names:
                        body.remove(statement)
        write(file, tree)
    return path.stem


def move_a_definition(source: Path, rng: random.Random) -> str:
    """Move a definition into a module of its own, which takes the names it needs from where it was."""
    path, tree = rng.choice([(path, tree) for path, tree in trees(source).items() if "steps" not in path.parts and path.stem not in ("__init__", "progress")])  # fmt: skip
    movable = [each for each in tree.body if isinstance(each, ast.FunctionDef | ast.ClassDef)]
    if not movable:
        return move_a_definition(source, rng)
    chosen = rng.choice(movable)
    known = [name for each in tree.body for name in names.defined_names(each)]
    known += names.Module(dotted(source, path)).imports
    taken = sorted({node.id for node in ast.walk(chosen) if isinstance(node, ast.Name)} & set(known) - {chosen.name})
    home = ast.ImportFrom(dotted(source, path), [ast.alias(name) for name in taken], 0)
    write(source / "apart.py", ast.Module([*([home] if taken else []), chosen], []))
    tree.body[tree.body.index(chosen)] = ast.ImportFrom("rim.apart", [ast.alias(chosen.name)], 0)
    write(path, tree)
    return f"{path.stem}.{chosen.name}"


def rename_local_variables(source: Path, rng: random.Random) -> str:
    """Rename the variables of half of all functions."""
    for path, tree in trees(source).items():
        functions = [each for each in tree.body if isinstance(each, ast.FunctionDef)]
        functions += [each for cls in tree.body if isinstance(cls, ast.ClassDef) for each in cls.body if isinstance(each, ast.FunctionDef)]  # fmt: skip
        for function in functions:
            inside = list(ast.walk(function))
            parameters = {node.arg for node in inside if isinstance(node, ast.arg)}
            foreign = {name for node in inside if isinstance(node, ast.Global) for name in node.names}
            bound = {node.id for node in inside if isinstance(node, ast.Name) and not isinstance(node.ctx, ast.Load)}
            bound -= parameters | foreign | {node.name for node in inside if isinstance(node, ast.FunctionDef)}
            if rng.random() < 0.5:
                for node in inside:
                    if isinstance(node, ast.Name) and node.id in bound:
                        node.id = f"v_{node.id}"
                    elif isinstance(node, ast.Nonlocal):
                        node.names = [f"v_{name}" if name in bound else name for name in node.names]
                    elif isinstance(node, ast.MatchAs | ast.MatchStar | ast.ExceptHandler) and node.name in bound:
                        node.name = f"v_{node.name}"
        write(path, tree)
    return ""


def annotate(source: Path, rng: random.Random) -> str:
    """Give half of all functions another return type, and half of all simple assignments in functions an annotation."""

    class Annotate(ast.NodeTransformer):
        def visit_ClassDef(self, node: ast.ClassDef) -> ast.ClassDef:
            node.body = [self.visit(each) if isinstance(each, ast.FunctionDef) else each for each in node.body]
            return node

        def visit_FunctionDef(self, node: ast.FunctionDef) -> ast.FunctionDef:
            if rng.random() < 0.5:
                node.returns = ast.Name("object", ast.Load())
            self.generic_visit(node)
            return node

        def visit_Assign(self, node: ast.Assign) -> ast.stmt:
            if len(node.targets) == 1 and isinstance(node.targets[0], ast.Name) and rng.random() < 0.5:
                return ast.AnnAssign(node.targets[0], ast.Name("object", ast.Load()), node.value, 1)
            return node

    for path, tree in trees(source).items():
        write(path, Annotate().visit(tree))
    return ""


def reorder(source: Path, rng: random.Random) -> str:
    """Shuffle the definitions of every module and the methods of every class."""
    for path, tree in trees(source).items():
        imports = [each for each in tree.body if isinstance(each, ast.ImportFrom | ast.Import)]
        rest = [each for each in tree.body if each not in imports]
        rng.shuffle(rest)
        tree.body = imports + rest
        for node in rest:
            if isinstance(node, ast.ClassDef):
                methods = [each for each in node.body if isinstance(each, ast.FunctionDef)]
                if len({each.name for each in methods}) == len(methods):
                    fields = [each for each in node.body if each not in methods]
                    rng.shuffle(methods)
                    node.body = fields + methods
        write(path, tree)
    return ""


def reword(source: Path, rng: random.Random) -> str:
    """Other docstrings, other words of errors, assertions, progress and descriptions."""

    class Reword(ast.NodeTransformer):
        def visit_Constant(self, node: ast.Constant) -> ast.Constant:
            return ast.Constant(node.value + " indeed") if isinstance(node.value, str) else node

        def visit_Dict(self, node: ast.Dict) -> ast.Dict:
            return node  # values that go with the words

    def is_for_people(node: ast.AST) -> bool:
        text = ast.unparse(node) if isinstance(node, ast.Raise | ast.Expr | ast.Assert) else ""
        if "log(" in text and "Path(" in text:
            return False  # a line that calls more than Python's own pure functions counts, as it may do something
        return bool(re.match(r"raise \w+\((?:f?['\"])|progress\.log\(|log\(|['\"]", text))

    for path, tree in trees(source).items():
        for node in ast.walk(tree):
            if is_for_people(node):
                Reword().visit(node)
            elif isinstance(node, ast.Call):
                for keyword in node.keywords:
                    if keyword.arg == "description" and "instruments" not in path.parts:  # there they are of forms
                        Reword().visit(keyword)
        write(path, tree)
    return ""


def reimport(source: Path, rng: random.Random) -> str:
    """Make imports relative, in half of all modules."""
    for path, tree in trees(source).items():
        depth = len(dotted(source, path).split(".")) - (path.name != "__init__.py")
        for node in ast.walk(tree):
            if isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == "rim" and rng.random() < 0.5:
                node.module, node.level = node.module.partition(".")[2] or None, depth
        write(path, tree)
    return ""


REFACTORINGS = (rename_a_definition, rename_a_module, move_a_definition, rename_local_variables, annotate, reorder, reword, reimport)  # fmt: skip


@pytest.mark.parametrize("refactor", REFACTORINGS, ids=lambda each: each.__name__)
@pytest.mark.parametrize("seed", range(2))
def test_random_refactorings_of_the_package_change_nothing(
    before: dict[str, str], refactor: Callable[[Path, random.Random], str], seed: int, source: Path
) -> None:
    what = refactor(source, random.Random(seed))
    assert texts(source) != texts(REAL)
    assert changed(before) == set(), what


@pytest.mark.parametrize("seed", range(6))
def test_a_random_number_changed_changes_every_step_that_reaches_it(
    before: dict[str, str], reached: dict[Reference, set[str]], seed: int, source: Path
) -> None:
    """Which steps reach a definition is asked of the graph of references; that the number is in the hash is what is tested."""
    rng = random.Random(seed)
    reference = rng.choice(sorted((each for each in reached if each.name), key=str))
    path = names.module_file(reference.module)
    tree = ast.parse(path.read_text())
    for definition in (each for each in tree.body if reference.name in names.defined_names(each)):
        for_people = [node for node in ast.walk(definition) if isinstance(node, ast.Raise | ast.Assert | ast.JoinedStr)]
        for_people += [node for node in ast.walk(definition) if isinstance(node, ast.Expr) and "log(" in ast.unparse(node)]  # fmt: skip
        for_people += [node.annotation for node in ast.walk(definition) if isinstance(node, ast.arg | ast.AnnAssign) and node.annotation]  # fmt: skip
        hidden = {id(inner) for node in for_people for inner in ast.walk(node)}
        numbers = [node for node in ast.walk(definition) if isinstance(node, ast.Constant) and type(node.value) in (int, float, bool) and id(node) not in hidden]  # fmt: skip
        if numbers:
            rng.choice(numbers).value = 123456
            break
    else:
        definition.body.insert(0, ast.parse("spare = 1").body[0]) if isinstance(definition, ast.FunctionDef | ast.ClassDef) else setattr(definition, "value", ast.Constant(123456))  # fmt: skip
    write(path, tree)
    assert changed(before) == reached[reference], reference


@pytest.mark.parametrize("version", ["3.12", "3.13"])
def test_every_python_takes_the_same_fingerprints(before: dict[str, str], version: str) -> None:
    python = shutil.which(f"python{version}")
    program = "import sys; sys.path.insert(0, sys.argv[1])\nfrom rim.workflow.fingerprint import fingerprint\nfor step in sys.argv[2:]: print(fingerprint(step))"
    line = [python or "", "-c", program, str(REAL.parent), *STEPS]
    done = subprocess.run(line, capture_output=True, text=True, check=False) if python else None
    if done is None or done.returncode:
        pytest.skip(f"there is no Python {version} here")
    assert done.stdout.split() == list(before.values())


def test_kept_fingerprints_are_those_of_the_sources_as_they_are(source: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "dont_write_bytecode", False)
    taken = all_of_them()
    for _ in range(2):  # taken, then kept
        fingerprints.forget()
        assert fingerprints.fingerprints() == taken
    (kept,) = source.glob("__pycache__/*.json")
    kept.write_text("{")
    fingerprints.forget()
    assert fingerprints.fingerprints() == taken
    path = source / "analysis/ras.py"
    path.write_text(path.read_text().replace("EPSILON = 1e-6", "EPSILON = 1e-5"))
    changed = all_of_them()
    assert changed != taken
    fingerprints.forget()
    assert fingerprints.fingerprints() == changed
