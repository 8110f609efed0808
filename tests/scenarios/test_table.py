"""The comparison: its cells are the protocol, its numbers are those of the runs, stopping loses nothing."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest

from core.config.part import Part
from core.config.scenario import Scenario
from core.metrics import Measures
from fl.strategies import chain
from scenarios import table
from scenarios.check import check
from scenarios.presets import SCENARIOS
from scenarios.studies.aggregate import grid, markdown, results, shares, summary
from scenarios.studies.split_mnist import Cell, cells
from server import record
from server.record import Continual, Megabytes, Report


def test_every_cell_is_possible_and_is_the_protocol_but_for_what_it_names() -> None:
    base = SCENARIOS["class_incremental"][0]
    for cell in cells(seeds=1):
        mine = cell.scenario()
        if (cell.alpha, cell.pace) == (1.0, "sync"):
            check(mine)
        same = {"name": base.name, "methods": base.methods, "partition": base.partition, "softmax": base.softmax}
        same |= {"order": base.order, "lag": base.lag, "probe": base.probe}
        assert replace(mine, **same) == base  # type: ignore[arg-type]
    assert len({cell.name for cell in cells()}) == len(cells()) == 5 * len(cells(seeds=1))


def test_a_budget_is_the_same_in_bytes_whatever_a_method_keeps_beside_each_image() -> None:
    for row in ("replay", "der", "derpp", "agem"):
        (part,) = Cell(row, 200, 1.0, "sync", 0).scenario().methods
        assert part.args == {"images": 0, "kilobytes": pytest.approx(157.8)}
        assert chain(replace(SCENARIOS["class_incremental"][0], methods=(part,)))


def report(cell: Cell, accuracy: float, lost: float) -> Report:
    """A report in so far as the table reads it."""
    matrix = ((accuracy + lost, 0.0), (accuracy, accuracy))
    measures = Measures(accuracy, accuracy, lost, -lost, 0.0)
    staged = Continual(
        ("0", "1"), (0, 1), (1, 2), matrix, measures, memory_bytes=157_000, megabytes=Megabytes(0.0, 10.0)
    )
    return Report(cell.scenario(), accuracy, continual=staged)


def test_a_line_is_mean_and_deviation_over_seeds_and_what_joint_training_has_more() -> None:
    found = {}
    for seed, accuracy in enumerate((0.90, 0.94)):
        for name, share, lost in (("replay", accuracy, 0.02), ("joint", 0.98, 0.0)):
            cell = Cell(name, 200 if name == "replay" else 0, 1.0, "sync", seed)
            found[cell] = report(cell, share, lost)
    line, joint = summary(found)
    assert line.seeds == (0, 1) and line.accuracy == pytest.approx((92, 100 * 0.04 / 2**0.5))
    assert line.forgetting == pytest.approx((2, 0)) and joint.intransigence is None
    assert line.intransigence and line.intransigence[0] == pytest.approx(100 * (0.98 - 0.92) - 1)


def test_the_grid_has_a_row_a_method_and_budget_and_a_column_a_setting() -> None:
    there = [
        Cell("replay", 50, 1.0, "sync", 0),
        Cell("replay", 200, 1.0, "sync", 0),
        Cell("finetune", 0, 0.1, "async", 0),
    ]
    head, rows = grid(summary({cell: report(cell, 0.9, 0.1) for cell in there}))
    assert head == ["method", "memory a client", "sync, Dirichlet 1", "async, Dirichlet 0.1"]
    assert [row[0] for row in rows] == ["finetune", "replay, 50 images", "replay, 200 images"]
    assert rows[0][2:] == ["–", "90.0 / 10.0 (1)"]
    assert markdown(head, rows).count("\n") == 5
    assert shares(summary({there[0]: report(there[0], 0.9, 0.1)})[0]) == (pytest.approx(0.9), None)  # one seed


def test_what_an_older_protocol_left_is_not_taken_for_a_result(tmp_path: Path) -> None:
    cell = Cell("replay", 200, 1.0, "sync", 0)
    (tmp_path / cell.name).mkdir()
    record.save(tmp_path / cell.name, report(cell, 0.9, 0.1))
    assert list(results([cell], tmp_path)) == [cell]
    settings = replace(cell.scenario(), local=replace(cell.scenario().local, rate=0.7))
    record.save(tmp_path / cell.name, replace(report(cell, 0.9, 0.1), settings=settings))
    assert not results([cell], tmp_path)


@pytest.mark.parametrize(
    "wrong, said",
    [("--only nope", "choose from acil"), ("--pace x", "choose from async, sync"), ("--alpha a", "floats")],
)
def test_a_wrong_flag_names_the_choices(wrong: str, said: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stop:
        table.main(["split-mnist", *wrong.split()])
    assert stop.value.code == 2 and said in capsys.readouterr().err


def test_show_means_what_it_means_for_a_run(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    wanted = ["split-mnist", "--only", "derpp", "--images", "50", "--alpha", "1.0", "--pace", "sync", "--seeds", "2"]
    assert table.main([*wanted, "--show", "--out", str(tmp_path / "new")]) == 0
    shown = json.loads(capsys.readouterr().out)
    found = [Cell("derpp", 50, 1.0, "sync", seed) for seed in range(2)]
    assert {name: Scenario.of(json.dumps(one)) for name, one in shown.items()} == {c.name: c.scenario() for c in found}
    assert not (tmp_path / "new").exists()  # nothing ran, nothing was made
    assert table.main([*wanted, "--finished", "--out", str(tmp_path / "new")]) == 1
    assert "nothing is finished" in capsys.readouterr().err
    help_ = " ".join(table.parser().format_help().split())
    assert "--show is that of scenarios.run" in help_ and "show the table of what is finished" in help_


@pytest.mark.parametrize("width", [80, 120])
def test_what_is_finished_is_a_table_in_which_no_word_is_broken(
    width: int, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", str(width))
    for seed, share in enumerate((0.90, 0.94)):
        for alpha in (1.0, 0.1):
            for pace in ("sync", "async"):
                cell = Cell("derpp-balanced", 200, alpha, pace, seed)
                (tmp_path / cell.name).mkdir()
                record.save(tmp_path / cell.name, report(cell, share, 0.02))
    assert table.main(["split-mnist", "--finished", "--out", str(tmp_path)]) == 0
    lines = capsys.readouterr().out.partition("written")[0].splitlines()
    assert max(map(len, lines)) <= width
    words = " ".join(" ".join(lines).replace("│", " ").replace("┃", " ").split())
    assert {"derpp-balanced,", "200", "images"} <= set(words.split()) and words.count("92.0 ± 2.8 / 2.0 (2)") == 4
    assert all((tmp_path / f"memory.{kind}").exists() for kind in ("png", "svg", "csv"))


def small() -> Scenario:
    return replace(
        SCENARIOS["class_incremental"][0], train=600, test=200, validation=50, clients=2, cohort=2, rounds=5,
        augment=(), minimum=4, stream=Part("classes", {"per_task": 2}),
    )  # fmt: skip


SMALL = """
import sys
from dataclasses import replace
from scenarios import table
from scenarios.presets import SCENARIOS
from tests.scenarios.test_table import small
if __name__ == "__main__":
    SCENARIOS["class_incremental"] = (small(), "")
    sys.exit(table.main(sys.argv[1:]))
"""


@pytest.mark.slow
def test_stopped_and_started_again_it_fills_the_same_table(tmp_path: Path) -> None:
    script = tmp_path / "small.py"
    script.write_text(SMALL)
    home = str(Path(__file__).parents[2])
    told = [
        "split-mnist",
        "--only",
        "finetune,derpp,joint",
        "--images",
        "50",
        "--alpha",
        "1.0",
        "--pace",
        "sync",
        "--seeds",
        "1",
    ]
    environment = {**os.environ, "PYTHONPATH": home}

    def start(out: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [sys.executable, str(script), *told, "--out", str(tmp_path / out)], env=environment, cwd=home,
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )  # fmt: skip

    first = start("a")
    while first.poll() is None and not list((tmp_path / "a").glob("*/checkpoints/round-*.npz")):
        time.sleep(0.05)
    first.send_signal(signal.SIGINT)
    said = first.communicate(timeout=120)[1]
    assert first.returncode == 130 and "goes on where it was" in said
    for out in ("a", "b"):
        done = start(out)
        said = done.communicate(timeout=300)[1]
        assert done.returncode == 0, said
    tables = [json.loads((tmp_path / out / "table.json").read_text()) for out in ("a", "b")]
    assert tables[0] == tables[1] and len(tables[0]) == 3
    assert (tmp_path / "a" / "memory.png").exists() and "joint" in (tmp_path / "a" / "table.md").read_text()
    assert not list((tmp_path / "a").glob("*/checkpoints"))
