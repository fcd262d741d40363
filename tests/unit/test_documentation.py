"""Every page of the documentation: links, commands, paths, settings and messages that it names are there."""

import argparse
import ast
import importlib
import pkgutil
import re
import shlex
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import yaml
from pydantic import TypeAdapter

from rim import steps, tools
from rim.cli import LISTS
from rim.config.load import load_study
from rim.config.study import Study
from rim.models.families import FAMILIES
from tests.conftest import ROOT

PAGES = sorted(
    path
    for pattern in ("*.md", "workflow/**/*.md", "results/**/*.md", "data/*.md", "tests/**/*.md")
    for path in ROOT.glob(pattern)
)
DOCS = ROOT / "workflow/docs"
README_WORDS = 1000
FENCE = re.compile(r"^```(\w*)\n(.*?)^```", re.M | re.S)
CODE = re.compile(r"(?<!`)(`+)(?!`)(.+?)(?<!`)\1(?!`)", re.S)
LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")
ANYTHING = "…"

MADE_BY_READERS = ("results/mine", "results/example", "src/rim/steps/count_tokens.py")  # the last in CONTRIBUTING.md

each_page = pytest.mark.parametrize("page", PAGES, ids=lambda path: str(path.relative_to(ROOT)))


def prose(page: Path) -> str:
    """Its text without blocks of code."""
    return FENCE.sub("", page.read_text())


def blocks(page: Path, *languages: str) -> list[str]:
    return [text for language, text in FENCE.findall(page.read_text()) if language in languages]


def spans(page: Path) -> list[str]:
    """Its inline code."""
    return [" ".join(match[2].split()) for match in CODE.finditer(prose(page))]


@cache
def anchors(page: Path) -> frozenset[str]:
    """The names of its headings, as GitHub makes them."""
    found: list[str] = []
    for heading in re.findall(r"^#{1,6} +(.+?) *$", prose(page), re.M):
        name = re.sub(r"[^\w\- ]", "", LINK.sub("", heading).lower()).replace(" ", "-")
        found.append(f"{name}-{found.count(name)}" if name in found else name)
    return frozenset(found)


@each_page
def test_links_lead_somewhere(page: Path) -> None:
    for link in LINK.findall(CODE.sub("", prose(page))):
        if re.match(r"[a-z]+:", link):
            continue
        path, _, anchor = link.partition("#")
        target = (page.parent / path).resolve() if path else page
        assert target.exists(), link
        assert target.is_relative_to(ROOT), link
        assert not anchor or anchor in anchors(target), link


def test_pages_that_messages_name_are_there() -> None:
    named: set[str] = set()
    for path in [*ROOT.glob("src/**/*.py"), *ROOT.glob("rules/*.smk"), *ROOT.glob("tests/**/*.py"), ROOT / "Makefile"]:
        named |= set(re.findall(r"workflow/docs/[\w-]+\.md", path.read_text()))
    assert named
    assert [name for name in named if not (ROOT / name).exists()] == []


def test_the_index_lists_every_page() -> None:
    listed = {link.partition("#")[0] for link in LINK.findall((DOCS / "index.md").read_text())}
    assert {page.name for page in DOCS.glob("*.md")} - {"index.md"} <= listed


def test_the_architecture_has_every_rule_and_package() -> None:
    page = (DOCS / "architecture.md").read_text()
    phases, packages = page.partition("| phase |")[2].partition("## Folders")[0], page.partition("## Packages")[2]
    rules = {name for line in phases.splitlines() if line.startswith("| ") for name in re.findall(r"`(\w+)`", line.split("|")[2])}  # fmt: skip
    in_files = {name for path in ROOT.glob("rules/*.smk") for name in re.findall(r"^(?:use rule \w+ as|rule) (\w+)", path.read_text(), re.M)}  # fmt: skip
    assert rules == in_files
    named = set(re.findall(r"`(\w+)`", " ".join(line.split("|")[1] for line in packages.splitlines() if line.startswith("| `"))))  # fmt: skip
    assert named == {path.stem for path in (ROOT / "src/rim").glob("[a-z]*") if path.is_dir() or path.suffix == ".py"}


def test_the_readme_is_short() -> None:
    words = [word for word in prose(ROOT / "README.md").split() if re.search(r"\w", word)]
    assert len(words) <= README_WORDS


# --- commands ---------------------------------------------------------------------------------------------------------


def commands(page: Path) -> Iterator[tuple[list[str], bool]]:
    """The commands in its blocks, whole, and in its inline code, where arguments may be left out."""
    for block in blocks(page, "console"):
        for line in block.replace("\\\n", " ").splitlines():
            yield from ((words, ANYTHING not in line) for words in split(line))
    for span in spans(page):
        if re.match(rf"([A-Z_]+=\S* )*({'|'.join(CHECKS)})( |$)", span):
            yield from ((words, False) for words in split(span))


def split(line: str) -> Iterator[list[str]]:
    """The commands of a line, each as words, without settings of the environment before them."""
    lexer = shlex.shlex(line, posix=True, punctuation_chars="&;|>")
    lexer.whitespace_split = True
    words: list[str] = []
    for word in [*lexer, ";"]:
        if set(word) <= set("&;|>"):
            while words and re.match(r"[A-Z_]+=", words[0]):
                words = words[1:]
            if words:
                yield words
            words = []
        else:
            words.append(word)


def parsed(parser: argparse.ArgumentParser, words: list[str], whole: bool) -> None:
    """Let a parser read the words, or at least know their options."""
    if whole:
        read = True
        try:
            parser.parse_args(words)
        except SystemExit:
            read = "--help" in words
        assert read, words
        return
    while words and (found := [each for each in parser._actions if isinstance(each, argparse._SubParsersAction)]):
        if words[0].startswith("-") or words[0] == ANYTHING:
            break
        assert words[0] in found[0].choices, words
        parser, words = found[0].choices[words[0]], words[1:]
    for word in words:
        option = word.partition("=")[0]
        assert not re.match(r"--?[a-z]", option) or option in parser._option_string_actions, word


def check_rim(words: list[str], whole: bool) -> None:
    name, *rest = words or ["--help"]
    if name in ("--help", "--version", "COMMAND", "NAME"):
        return
    known = {module.name.replace("_", "-") for module in pkgutil.iter_modules(tools.__path__)}
    if name in {module.name for module in pkgutil.iter_modules(steps.__path__)} | {"STEP", *LISTS}:
        return
    assert name in known, name
    parser = argparse.ArgumentParser(prog=f"rim {name}")
    importlib.import_module(f"rim.tools.{name.replace('-', '_')}").add_arguments(parser)
    parsed(parser, rest, whole)


def check_make(words: list[str], _: bool) -> None:
    makefile = (ROOT / "Makefile").read_text()
    for word in words:
        name, sets, _ = word.partition("=")
        rest = r" \?=" if sets else ":"
        assert re.search(f"^{re.escape(name)}{rest}", makefile, re.M), word


@cache
def parser_of_snakemake() -> argparse.ArgumentParser:
    from snakemake.cli import get_argument_parser

    return get_argument_parser()


def check_snakemake(words: list[str], whole: bool) -> None:
    parsed(parser_of_snakemake(), [word for word in words if word != ANYTHING], whole)


@cache
def parser_of_dvc() -> argparse.ArgumentParser:
    from dvc.cli.parser import get_main_parser

    return get_main_parser()


def check_dvc(words: list[str], _: bool) -> None:
    """Its subcommands and options only, since its parser does not end as others do."""
    parsed(parser_of_dvc(), words, False)


def check_python(words: list[str], whole: bool) -> None:
    """A module of ours or a file that is there, and what it is told to run."""
    if words[:1] == ["-m"] and words[1].startswith("tests."):
        assert (ROOT / f"{words[1].replace('.', '/')}.py").exists(), words
    elif words[0] == "-c":
        ast.parse(words[1])
    elif words[0].endswith(".py"):
        assert (ROOT / words[0]).exists(), words
        if words[1:2] == ["snakemake"]:
            check_snakemake(words[2:], whole)


def check_pytest(words: list[str], _: bool) -> None:
    markers = re.findall(r'^  "(\w+): ', (ROOT / "pyproject.toml").read_text(), re.M)
    if "-m" in words:
        assert set(re.findall(r"\w+", words[words.index("-m") + 1])) - {"or", "and", "not"} <= set(markers), words


def check_pip(words: list[str], _: bool) -> None:
    extras = re.findall(r"^(\w+) = \[", (ROOT / "pyproject.toml").read_text(), re.M)
    asked = [name for word in words for name in re.findall(r"\.\[([\w,]+)\]", word)]
    assert {name for names in asked for name in names.split(",")} <= set(extras), words


CHECKS = {
    "rim": check_rim,
    "make": check_make,
    "snakemake": check_snakemake,
    "dvc": check_dvc,
    "python": check_python,
    "pytest": check_pytest,
    "pip": check_pip,
}


@each_page
def test_commands_are_there(page: Path, capsys: pytest.CaptureFixture, monkeypatch: pytest.MonkeyPatch) -> None:
    """Their targets, subcommands and options; in blocks the whole of them can be parsed."""
    monkeypatch.chdir(ROOT)
    for (program, *words), whole in commands(page):
        name = Path(program).name
        if name in CHECKS:
            CHECKS[name](words, whole)


def test_a_command_that_is_not_there_is_found(tmp_path: Path) -> None:
    """So that the test above can fail."""
    for line in (
        "make nonsense",
        "make NONSENSE=1",
        "rim nonsense",
        "rim check",
        "rim new model --nonsense",
        "snakemake --nonsense",
        "dvc nonsense",
        "dvc push --nonsense",
        "python tests/nonsense.py",
        "pytest -m nonsense",
        "pip install -e '.[nonsense]'",
    ):
        [(program, *words)] = split(line)
        with pytest.raises(AssertionError):
            CHECKS[program](words, True)


@each_page
def test_paths_are_there(page: Path) -> None:
    """Files and folders of the repository that its code names, and test functions in them."""
    folders = "src|rules|tests|workflow|profiles|envs|results"
    pattern = re.compile(rf"(?<![\w/.{{}}…-])(?:\./)?((?:{folders})/[\w./-]*\w)(?:::(\w+))?")
    for text in [*spans(page), *blocks(page, "console")]:
        for match in pattern.finditer(text):
            path, function = match.groups()
            after = text[match.end() : match.end() + 2]
            if after.startswith((ANYTHING, "*", "{", "/{", "/…")) or path.startswith(MADE_BY_READERS):
                continue
            assert (ROOT / path).exists(), path
            assert not function or f"def {function}" in (ROOT / path).read_text(), function


# --- settings ---------------------------------------------------------------------------------------------------------


@each_page
def test_settings_are_valid(page: Path) -> None:
    """Every study that is shown, and every section of one."""
    for block in blocks(page, "yaml"):
        shown: dict[str, Any] = yaml.safe_load(block)
        if "study" in shown:
            load_study(shown)
            continue
        for name, section in shown.items():
            TypeAdapter(Study.model_fields[name].annotation).validate_python(section)


@pytest.mark.parametrize("page", ["README.md", "workflow/docs/mechanism.md"])
def test_pages_say_how_many_families_are_supported(page: str) -> None:
    assert f" {len(FAMILIES)} families" in (ROOT / page).read_text()


# --- messages ---------------------------------------------------------------------------------------------------------


@cache
def sayings() -> str:
    """Everything that our code can say, with … for what is filled in."""
    found: list[str] = []
    for path in [*ROOT.glob("src/rim/**/*.py"), *ROOT.glob("rules/*.smk")]:
        text = path.read_text()
        if path.suffix == ".smk":
            found.append(text)
            continue
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, ast.JoinedStr):
                found.append("".join(str(getattr(part, "value", ANYTHING)) if isinstance(part, ast.Constant) else ANYTHING for part in node.values))  # fmt: skip
            elif isinstance(node, ast.Constant) and isinstance(node.value, str):
                found.append(node.value)
    return "\n".join([*found, (ROOT / "Makefile").read_text()])


def test_messages_of_the_troubleshooting_page_are_those_of_the_code() -> None:
    page, _, others = (DOCS / "troubleshooting.md").read_text().partition("## Messages of Snakemake and DVC")
    assert others
    messages = [match[1] for match in re.findall(r"^\| (`+)(.+?)\1 \| ", page, re.M)]
    assert len(messages) > 30
    fragments = {
        fragment.strip(): message
        for message in messages
        for fragment in message.split(ANYTHING)
        if len(fragment.strip(" ;:,.'()")) > 2
    }
    assert {message for fragment, message in fragments.items() if fragment not in sayings()} == set()
