"""A short run of the fuzz over files; and that it would find what it looks for."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.fuzz import files
from tests.fuzz.__main__ import main
from tests.fuzz.kinds import KINDS


def test_three_hundred_spoiled_files_are_refused_replaced_or_read(capfd: pytest.CaptureFixture[str]) -> None:
    outcomes = files.run(seed=10, count=300)
    assert [key for key in outcomes if key[1] == "finding"] == [], capfd.readouterr().out
    assert {kind for kind, _ in outcomes} == set(KINDS) and sum(outcomes.values()) == 300
    assert sum(number for (_, outcome), number in outcomes.items() if outcome == "read") < 100


@pytest.mark.parametrize("name", KINDS)
def test_a_sound_file_of_each_kind_is_read(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CLIENTS_HOME", str(tmp_path / "memory"))
    file = KINDS[name].make(tmp_path / "new")
    assert files.judged(KINDS[name], file, files._megabytes()) == "read"
    for number in range(20):  # it is spoiled the same way again
        one, other = (KINDS[name].change(file.read_bytes(), np.random.default_rng((3, number))) for _ in "ab")
        assert one == other


def raising(error: BaseException) -> Any:
    def read(file: Path) -> bool:
        raise error

    return read


EATEN: list[int] = []  # megabytes


def greedy(file: Path) -> bool:
    EATEN.append(1_100)
    return False


@pytest.mark.parametrize(
    "read, words",
    [(raising(KeyError("x")), "KeyError"), (raising(RecursionError()), "RecursionError"), (raising(SystemExit(1)), "SystemExit"),
     (raising(AssertionError("no model")), "no model"), (raising(ValueError("bad")), "names no file"),
     (raising(ValueError("")), "names no file"), (raising(ValueError("node.json " + "x" * 9_999)), "too long"),
     (lambda file: open(file.with_name("pipe")).close() or False, "TimeoutError"), (greedy, "reading took 1100 MB")],
)  # fmt: skip
def test_what_is_against_the_law_is_found(
    read: Any, words: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    files.os.mkfifo(tmp_path / "pipe")
    monkeypatch.setattr(files, "SECONDS", 1)
    monkeypatch.setattr(files, "_megabytes", lambda: 1_400 + sum(EATEN))
    outcome = files.judged(replace(KINDS["node.json"], read=read), tmp_path / "node.json", files._megabytes())
    assert outcome.startswith("finding: ") and (words in outcome or "more than 1 s" in outcome)


def test_the_command_counts_and_fails_if_there_is_a_finding(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    assert main(["files", "--count", "24", "--seed", "3"]) == 0
    output = capfd.readouterr().out
    assert "tried" in output and "all" in output and "24" in output
    monkeypatch.setitem(KINDS, "node.json", replace(KINDS["node.json"], read=raising(TypeError("odd"))))
    assert main(["files", "--count", str(len(KINDS))]) == 1
    last = list(KINDS).index("node.json")
    assert f"seed 0, number {last}, node.json: finding: TypeError: odd" in capfd.readouterr().out
    with pytest.raises(SystemExit):
        main(["pictures"])
    assert "unknown kind 'pictures'; choose from files" in capfd.readouterr().err
