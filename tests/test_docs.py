"""The pages: links lead somewhere, files exist, and every command is one that its own parser takes.

Commands are parsed, not run; RUN_BY names the test that runs each of them, with other sizes.
"""

from __future__ import annotations

import argparse
import ast
import re
import runpy
import shlex
import sys
import tomllib
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from importlib import import_module
from importlib.util import find_spec
from itertools import groupby
from pathlib import Path
from types import ModuleType
from urllib.parse import unquote

import pytest

from core.config.scenario import Scenario
from scenarios.check import REGISTRIES
from scenarios.command import COMMANDS
from scenarios.deploy import parser as deploy_parser
from scenarios.overrides import changed
from scenarios.presets import SCENARIOS
from scenarios.run import parser as run_parser
from tests.fakes import kept_registries

HOME = Path(__file__).parents[1]
PAGES = sorted([*HOME.glob("*.md"), *(HOME / "docs").glob("**/*.md")])
ROOMS = ("core", "fl", "clients", "server", "scenarios", "tests", "docs")

RUN_BY = {  # module or program: the test that runs it as a process, or calls its main
    "scenarios.run": "tests/test_end_to_end.py",
    "scenarios.compare": "tests/scenarios/test_compare.py",
    "scenarios.study": "tests/scenarios/test_study.py",
    "scenarios.export": "tests/scenarios/test_run_folder.py",
    "scenarios.deploy": "tests/test_deploy.py",
    "scenarios.reference": "tests/scenarios/test_reference.py",
    "clients.pi": "tests/clients/test_pi.py",
    "clients.reader": "tests/clients/test_reader.py",
    "clients.bench": "tests/clients/test_bench.py",
    "server.serve": "tests/server/serve/test_rpc.py",
    "flwr": "tests/test_flwr_run.py",
}
OTHERS = {"pip", "ray", "docker", "curl", "jq", "nginx"}  # programs of others, with arguments of their own
LOOPED = {"seed": "0", "method": "replay"}  # variables of loops
PLUGGED = {"extending.md": ["docs/own_pieces.py"]}  # pages that name plugins by the environment
PLACEHOLDERS = {"N": "0", "HOST:PORT": "localhost:1", "A,A": "1.0"}


class Parsed(Exception):
    """Raised where a program would begin to work."""


def pages() -> pytest.MarkDecorator:
    return pytest.mark.parametrize("page", PAGES, ids=[str(page.relative_to(HOME)) for page in PAGES])


def fences(text: str) -> Iterator[tuple[str, str]]:
    """The language and content of each fenced block."""
    for found in re.finditer(r"^```(\w*)\n(.*?)^```", text, re.M | re.S):
        yield found[1], found[2]


def prose(text: str) -> str:
    """A page without its fenced blocks."""
    return re.sub(r"^```.*?^```", "", text, flags=re.M | re.S)


def anchors(text: str) -> set[str]:
    """What a link may name of a page: its headings, as GitHub makes anchors of them."""
    headings = re.findall(r"^#+ (.*)$", prose(text), re.M)
    slugs = sorted(re.sub(r"[^\w\- ]", "", heading.lower()).strip().replace(" ", "-") for heading in headings)
    return {f"{slug}-{i}" if i else slug for slug, same in groupby(slugs) for i, _ in enumerate(same)}


def commands(page: Path) -> list[list[str]]:
    """Each command of a page as words: those of its blocks, and those between backticks in its prose."""
    text = page.read_text()
    lines: list[str] = []
    for language, content in fences(text):
        joined = content.replace("\\\n", " ").splitlines()
        shown = [line[2:] for line in joined if line.startswith("$ ")]  # the rest is what was printed
        lines += {"bash": joined, "console": shown}.get(language, [])
    lines += re.findall(r"`((?:python -m|make|fedlearn|flwr) [^`]+)`", prose(text))
    lines = [re.sub(r"\$(\w+)", lambda found: LOOPED.get(found[1], found[0]), line) for line in lines]
    return [words for line in lines if not re.match(r"for \w+ in |done$", line) for words in _split(line)]


def _split(line: str) -> Iterator[list[str]]:
    """The commands of a line, each without what is set before it and where its output goes."""
    words = [PLACEHOLDERS.get(word, word) for word in shlex.split(line, comments=True) if word != "…"]
    for joint, group in groupby(words, lambda word: word in ("&&", "|", ";")):
        command = list(group)
        while command and re.match(r"[A-Z_]+=", command[0]):
            command.pop(0)
        if not joint and command:
            yield command[: command.index(">")] if ">" in command else command


def module(words: Sequence[str]) -> tuple[str, list[str]]:
    """The module that a command runs, and its arguments; the program's name, if it is none of ours."""
    program, *rest = words
    if Path(program).name == "python" and rest[:1] == ["-m"]:
        return rest[1], rest[2:]
    if program == "fedlearn":
        return COMMANDS[rest[0]][0], rest[1:]
    return Path(program).name, rest


@pages()
def test_links_lead_somewhere(page: Path) -> None:
    text = re.sub(r"`[^`\n]*`", "", prose(page.read_text()))
    for link in [*re.findall(r"\]\(([^)\s]+)\)", text), *re.findall(r'src="([^"]+)"', text)]:
        path, _, anchor = unquote(link).partition("#")
        if "://" in link or link.startswith("mailto:"):
            continue
        there = (page.parent / path).resolve() if path else page
        assert there.exists(), f"{link}: there is no such file"
        if anchor:
            assert anchor in anchors(there.read_text()), f"{link}: {sorted(anchors(there.read_text()))}"


@pages()
def test_files_that_are_named_exist(page: Path) -> None:
    named = re.findall(rf"`((?:{'|'.join(ROOMS)})/[\w./-]+)`", page.read_text())
    assert [path for path in named if not (HOME / path).exists()] == []


@pages()
def test_python_is_python(page: Path) -> None:
    for language, content in fences(page.read_text()):
        if language == "python":
            ast.parse(content)


@pages()
def test_commands_are_what_their_parsers_take(
    page: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for words in commands(page):
        name, rest = module(words)
        try:
            if name == "make":
                assert {word for word in rest if "=" not in word} <= make_targets(rest), words
            elif name == "flwr":
                flower(rest)
            elif name in ("python", *OTHERS):
                continue
            else:
                with pieces_of(PLUGGED.get(page.name, [])):
                    parse(name, rest, monkeypatch)
        except (SystemExit, ValueError) as error:
            pytest.fail(f"{shlex.join(words)}\n{error}\n{capsys.readouterr().err}")


@pages()
def test_blocks_of_commands_say_that_they_are(page: Path) -> None:
    """Else their commands are not parsed: what is printed may begin with a program's name, but not a whole block."""
    bare = [content for language, content in fences(page.read_text()) if language in ("", "text")]
    assert [content for content in bare if re.match(r"(\w+=\S+ )*(python -m|make|fedlearn|flwr|pip) ", content)] == []


def make_targets(words: Sequence[str]) -> set[str]:
    """What make can be asked for, given these variables."""
    given = {"VENV": ".venv"} | dict(word.split("=", 1) for word in words if "=" in word)
    text = (HOME / "Makefile").read_text().replace("$(VENV)", given["VENV"])
    return {word for line in re.findall(r"^([\w./ -]+):(?!=)", text, re.M) for word in line.split()}


def flower(words: Sequence[str]) -> None:
    """`flwr run .` with a configuration: its keys are those of pyproject.toml, its scenario is one of ours."""
    assert list(words[:1]) == ["run"], words
    known = tomllib.loads((HOME / "pyproject.toml").read_text())["tool"]["flwr"]["app"]["config"]
    for config in [words[i + 1] for i, word in enumerate(words) if word == "--run-config"]:
        given = dict(re.findall(r'([\w-]+)="([^"]*)"', config))
        assert given and set(given) <= set(known), (config, set(known))
        settings(given.get("scenario", "quick"), given.get("set", "").split())


def parse(name: str, words: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """Let a module's own parser read these words. Raises SystemExit where it does not take them."""
    spec = find_spec(name)
    if spec is not None and spec.submodule_search_locations is not None:
        name, spec = f"{name}.__main__", find_spec(f"{name}.__main__")
    assert spec is not None and spec.origin, f"there is no module {name}"
    if "parser" not in Path(spec.origin).read_text().lower():
        assert words == [], f"{name} takes no arguments"
    elif name == "scenarios.run":
        scenario(run_parser().parse_args(words))
    elif name == "scenarios.deploy":
        args, rest = deploy_parser().parse_known_args(words)
        assert args.command == "run" or not rest, rest
        if args.command == "run":
            scenario(run_parser().parse_args(rest))
    else:
        program = import_module(name)
        own = getattr(program, "parser", None)
        if own and own.__module__ == name:
            own().parse_args(words)
        else:
            begin(program, words, monkeypatch)


def begin(program: ModuleType, words: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """Call a program's main up to where it has read its command line."""
    real: Callable[..., argparse.Namespace] = argparse.ArgumentParser.parse_args

    def read(self: argparse.ArgumentParser, args: Sequence[str] | None = None) -> argparse.Namespace:
        real(self, args)
        raise Parsed

    with monkeypatch.context() as patch:
        patch.setattr(argparse.ArgumentParser, "parse_args", read)
        patch.setattr(sys, "argv", [program.__name__, *words])
        # A choice of tests.bench.speed, if it is there
        patch.setattr(program, "PEERS", Path(sys.executable), raising=False)
        with pytest.raises(Parsed):
            program.main()


def scenario(args: argparse.Namespace) -> None:
    """The scenario that a command asks for can be made."""
    with pieces_of(getattr(args, "plugins", [])):
        if args.name:
            settings(args.name, args.set)


@contextmanager
def pieces_of(names: Sequence[str]) -> Iterator[None]:
    """These plugins' pieces are registered, within."""
    with kept_registries():
        for name in names:
            runpy.run_path(str(HOME / name))
        yield


def settings(name: str, changes: Sequence[str]) -> None:
    """A preset with these changes. Raises ValueError if a key is unknown, or a value of a wrong type."""
    assert name in SCENARIOS, f"there is no preset {name}"
    pairs = [(key, value) for key, _, value in (change.partition("=") for change in changes)]
    made: Scenario = changed(SCENARIOS[name][0], pairs)
    for kind, registry in REGISTRIES.items():
        pieces = getattr(made, kind)
        for part in pieces if isinstance(pieces, tuple) else [pieces]:
            part.settings(kind, registry)


def test_every_command_is_run_by_a_test() -> None:
    used = {module(words)[0] for page in PAGES for words in commands(page)} - {"make", "python"} - OTHERS
    ours = {name for name in used if not name.startswith("tests.")}  # benches and drills are programs for a person
    assert ours <= set(RUN_BY), ours - set(RUN_BY)
    for name, test in RUN_BY.items():
        package, _, last = name.rpartition(".")
        named = rf"\b{re.escape(name)}\b" + (rf"|from {package} import .*\b{last}\b" if package else "")
        assert re.search(named, (HOME / test).read_text()), f"{test} does not run {name}"


def test_the_readme_is_short() -> None:
    assert len((HOME / "README.md").read_text().splitlines()) <= 120


def test_what_would_be_wrong_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, line in {
        "scenarios.run": "noniid --sett a=b", "scenarios.deploy": "run pi --nodes 4", "clients.pi": "doctor --server x",
        "scenarios.export": "runs/noniid-0 --to paper", "tests.bench.scale": "--repeat-it 2",
    }.items():  # fmt: skip
        with pytest.raises(SystemExit):
            parse(name, line.split(), monkeypatch)
    for key in ("colour=red", "partition=nothing", "partition.beta=1", "clients=ten"):
        with pytest.raises(ValueError):
            settings("noniid", [key])
    with pytest.raises(AssertionError):
        parse("scenarios.nothing", [], monkeypatch)
    assert "a-b--c-1" in anchors(
        "# A b / c!\n\n```\n# no heading\n```\n\n## `a b` – c\n"
    ) and "no-heading" not in anchors("```\n# no heading\n```\n")
