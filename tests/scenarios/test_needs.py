"""What a command needs is looked for before it is loaded, and is installed from a clone."""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

import pytest

from scenarios import needs
from scenarios.command import COMMANDS, main

ROOMS = {"core", "fl", "clients", "server", "scenarios"}
EVERYWHERE = {"numpy", "cv2", "rich"}  # what every part needs
WITH_GRPC = {"google"}  # protobuf, without which grpc_health and flwr are not installed


def at_import(statements: list[ast.stmt]) -> Iterator[str]:
    """The modules, or names in modules, that a file imports when it is loaded: not inside a function, not for types only."""
    for node in statements:
        if isinstance(node, ast.Import):
            yield from (one.name for one in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield str(node.module)
            yield from (f"{node.module}.{one.name}" for one in node.names)


def packages(module: str, seen: set[str]) -> set[str]:
    """The packages that are imported when this module of ours is, by what it imports too."""
    if module in seen or (spec := find_spec(module)) is None or spec.origin is None:
        return set()
    seen.add(module)
    imported = set(at_import(ast.parse(Path(spec.origin).read_text()).body))
    others = {name.split(".")[0] for name in imported} - ROOMS - set(sys.stdlib_module_names)
    return others.union(*(packages(name, seen) for name in imported if name.split(".")[0] in ROOMS and exists(name)))


def exists(name: str) -> bool:
    try:
        return find_spec(name) is not None
    except ModuleNotFoundError:  # a name inside a module, not a module
        return False


@pytest.mark.parametrize("command", COMMANDS)
def test_all_that_a_command_imports_is_looked_for_first(command: str) -> None:
    module, _, extra = COMMANDS[command]
    spec = find_spec(module)
    start = f"{module}.__main__" if spec and spec.submodule_search_locations else module
    imported = packages(start, set())
    assert command != "serve" or "grpc_reflection" in imported  # which a module of its modules imports
    assert imported - EVERYWHERE - WITH_GRPC <= set(needs.EXTRAS[extra])


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (["--version"], 0, "federated-continual "),
        (
            ["comapre", "runs/a"],
            2,
            "fedlearn: error: unknown command 'comapre'; did you mean compare? choose from bench, compare",
        ),
        (["walk"], 2, "fedlearn: error: unknown command 'walk'; choose from bench, compare"),
        ([], 0, "commands (each has a --help of its own)"),
    ],
)
def test_the_command_says_its_version_and_what_was_meant(
    words: list[str], code: int, said: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["fedlearn", *words])
    with pytest.raises(SystemExit) as stop:
        main()
    out, error = capsys.readouterr()
    assert stop.value.code == code and said in (error if code else out)


def test_all_that_is_looked_for_is_here() -> None:
    for extra in needs.EXTRAS:
        needs.check(extra)


def test_what_is_missing_is_named_with_a_command_that_installs_it_from_the_clone(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(needs, "find_spec", lambda name: None if name == "grpc_reflection" else object())
    with pytest.raises(ValueError) as error:
        needs.check("serve")
    assert str(error.value).startswith("not installed: grpc_reflection; ")
    assert str(error.value).endswith(f" install '{needs.PROJECT.parent}[serve]'")


def test_a_package_that_is_installed_names_no_package_that_is_not_published(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(needs, "PROJECT", Path("/nowhere/pyproject.toml"))
    words = needs.install("serve")
    assert "federated-continual" not in words
    assert words.startswith("in the folder of a clone of the project: ") and words.endswith(" install '.[serve]'")
