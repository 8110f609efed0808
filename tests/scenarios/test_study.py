"""Studies: what they compare is what they say, every row is tried alike, stopping loses nothing, other code is never mixed in."""

from __future__ import annotations

import csv
import io
import json
import math
import multiprocessing
import os
import shlex
import signal
import subprocess
import sys
import threading
import time
from concurrent.futures.process import BrokenProcessPool
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy import stats

from core import code_digest
from core.config.part import Part
from core.config.scenario import Scenario
from core.curves import Point
from core.data import fashion, files_digest
from core.metrics import Measures
from core.plan import budget
from core.safe_json import read_object
from core.stream import course
from fl.strategies import STRATEGIES
from scenarios import study as command
from scenarios.check import check
from scenarios.overrides import changed, parsed
from scenarios.presets import SCENARIOS
from scenarios.run import parser as run_parser
from scenarios.studies import STUDIES, ad_hoc, carry_out, estimate, one_run, outcome, output, pairs, results, tables
from scenarios.studies.carry_out import Work
from scenarios.studies.measures import MEASURES, rounds_to, rounds_to_smoothed
from scenarios.studies.outcome import Outcome, in_turn
from scenarios.studies.pool import Pool, _next_retry
from scenarios.studies.results import Mark, Result
from scenarios.studies.study import ALL, Cell, Published, Study, Trial, Tuning, product
from server import record, run_folder
from server.record import RoundRecord
from server.report.figures.formatting import SPACE
from tests.reports import stream
from tests.tools import needed

HOME = Path(__file__).parents[2]
BASE = replace(SCENARIOS["mild"][0], train=600, test=200, validation=100, clients=4, cohort=2, rounds=3)
ROWS = {"fedavg": (("strategy", "fedavg"),), "fedprox": (("strategy", "fedprox"),)}
COLUMNS = {"alpha 0.1": (("partition.alpha", "0.1"),), "alpha 1": (("partition.alpha", "1"),)}
TUNING = Tuning({ALL: product({"local.rate": ("0.01", "0.1")})}, seeds=(11, 12))


def small(**changes: Any) -> Study:
    return replace(Study("small", "a small one", BASE, ROWS, COLUMNS, (0, 1, 2)), **changes)


def result(accuracy: float, validation: float = 0.9, **more: Any) -> Result:
    curve = tuple(Point(accuracy * k / 3, k, 1.0 / k, 0.5, 100.0 * k) for k in (1, 2, 3))
    marks = (Mark(1, 9.0, 1.0, 1000, True), Mark(2, 3.0, 1.0, 1000), Mark(3, 3.0, 1.0, 1000))
    return replace(Result(accuracy, validation, 0.5, curve, processor=20.0, seconds=21.0, marks=marks), **more)


def keep(folder: Path, found: Result) -> None:
    """As a finished run leaves it."""
    record.write(folder / results.RESULT, json.dumps(record.plain(found)))


# ── what a study is ──


@pytest.mark.parametrize("name", list(STUDIES))
def test_every_study_is_possible_and_tries_every_row_alike(name: str) -> None:
    study = STUDIES[name]()
    assert study.name == name and study.meaning
    if study.base.data == "fashion":
        needed(str(fashion.HOME))
    first, seed = next(iter(study.columns)), study.seeds[0]
    for row in study.rows:
        scenario = study.scenario(Cell(row, first, seed), study.tuning.grid(row)[0] if study.tuning else ())
        assert check(scenario) is not None and scenario.seed == seed
        if study.tuning:
            assert (
                len({study.scenario(Trial(row, first, i, 11)).json() for i in range(len(study.tuning.grid(row)))}) == 3
            )
    for column in study.columns:
        assert study.scenario(Cell(next(iter(study.rows)), column, seed))
    counts = [sum(trial.row == row for trial in study.trials()) for row in study.rows]
    assert len(set(counts)) == 1 and counts[0] >= 3 * bool(study.tuning)
    assert not set(study.seeds) & set(study.tuning.seeds if study.tuning else ())
    assert len(set(study.cells())) == len(study.rows) * len(study.columns) * len(study.seeds)


def test_rows_over_strategies_are_those_that_are_registered(monkeypatch: pytest.MonkeyPatch) -> None:
    study = STUDIES["strategies"]()
    assert set(study.rows) | set(study.left_out) == set(STRATEGIES) and "personal" in study.left_out["ditto"]
    monkeypatch.setitem(STRATEGIES, "mine", STRATEGIES["fedavg"])  # type: ignore[index]
    assert "mine" in STUDIES["strategies"]().rows and "mine" in STUDIES["niid-bench"]().rows


def test_niid_bench_is_its_protocol_with_one_epoch_and_with_ten() -> None:
    studies = [STUDIES[name]() for name in ("niid-bench", "niid-bench-rest", "niid-bench-fashion", "niid-bench-e10")]
    for study, epochs in zip(studies, (1, 1, 1, 10), strict=True):
        row = next(iter(study.rows))
        scenario = study.scenario(Cell(row, "2 labels", 0))
        assert (scenario.clients, scenario.cohort, scenario.rounds, scenario.local.batch) == (10, 10, 50, 64)
        assert (scenario.model.kind, scenario.local.epochs, scenario.partition.args) == ("lenet", epochs, {"k": 2})
        assert list(study.published) == list(study.columns)
        assert {trial.column for trial in study.trials()} == {"2 labels", "1 label"}
    bench, others, clothes, _ = studies
    plain = {row for row, changes in (bench.rows | others.rows).items() if changes == (("strategy", row),)}
    assert plain == set(STRATEGIES) - {"fedper", "fedbn", "ditto"} and set(others.rows) < plain
    for row in set(bench.rows) - plain - set(bench.apart):
        scenario, words = bench.scenario(Cell(row, "1 label", 0)), row.split()
        assert scenario.strategy.name == words[0] and scenario.schedule.name == (
            "cosine" if "cosine" in words else "constant"
        )
        assert scenario.model.norm == next((norm for norm in ("group", "batch") if norm in words), "none")
        assert scenario.local.momentum == (0 if "momentum" in words else 0.9)
    assert not set(bench.rows) & set(others.rows) and set(clothes.rows) == set(bench.rows)
    assert clothes.base.data == "fashion" and clothes.published["IID"].value == 0.895
    for row in bench.apart:  # a trial has a head, too
        scenario, short = (bench.scenario(Trial(row, column, 0, 101)) for column in ("1 label", "2 labels"))
        assert scenario.methods[0].args.get("warm", 0) < short.rounds < scenario.rounds == 15


def test_pathological_and_stragglers_are_their_papers() -> None:
    study = STUDIES["pathological"]()
    paper = study.scenario(Cell("fedavg", "E = 5", 0))
    assert (paper.clients, paper.cohort, paper.local.batch, paper.local.epochs, paper.rounds) == (100, 10, 10, 5.0, 100)
    assert paper.partition.name == "shards" and study.published["E = 5"].value == 229
    assert study.scenario(Trial("fedavg", "E = 5", 0, 101)).rounds == 10  # a trial's, though the column has its own
    slow = STUDIES["stragglers"]()
    kept, dropped = (slow.scenario(Cell(row, "logistic", 0)) for row in [*slow.rows][1::-1])
    assert (kept.clients, kept.cohort, kept.stragglers, kept.local.epochs, kept.rounds) == (1000, 10, 0.9, 20.0, 200)
    assert dropped == replace(kept, drop_stragglers=True) and kept.model.kind == "logistic"
    near = slow.scenario(Cell([*slow.rows][2], "cnn", 0))
    assert near.strategy.args == {"mu": 1.0} and not near.drop_stragglers and near.model.kind == "cnn"
    assert estimate.share(dropped) / estimate.share(kept) == pytest.approx(0.1 * 20 / (0.1 * 20 + 0.9 * 10.5))


def test_columns_are_tuned_on_by_themselves_or_on_the_first_that_is() -> None:
    columns = {alpha: (("partition.alpha", alpha),) for alpha in ("0.1", "1", "10")}
    study = small(columns=columns, tuning=replace(TUNING, where={one: columns[one] for one in ("1", "10")}))
    assert {one: study.tuned_on(Cell("fedavg", one, 0))[1] for one in columns} == {"0.1": "1", "1": "1", "10": "10"}
    for narrow, tuned_on in (("0.1", {"1"}), ("10", {"10"})):  # none that chooses nothing
        assert {trial.column for trial in study.narrowed(columns=[narrow]).trials()} == tuned_on
    assert study.narrowed(columns=["0.1"]).scenario(Trial("fedavg", "1", 0, 11)).partition.args == {"alpha": 1.0}


def test_split_mnist_is_its_protocol_within_equal_bytes() -> None:
    study = STUDIES["split-mnist-all"]()
    base = SCENARIOS["class_incremental"][0]
    for row in ("replay 200", "der 200", "derpp 200", "agem 200"):
        (part,) = study.scenario(Cell(row, "sync Dirichlet 1", 0)).methods
        assert part.args == {"images": 0, "kilobytes": pytest.approx(157.8)}
    scenario = study.scenario(Cell("derpp 200", "sync Dirichlet 1", 0))
    assert replace(scenario, probe=base.probe).json() == base.json()
    late = study.scenario(Cell("finetune", "async Dirichlet 0.1", 3))
    assert (late.order, late.lag, late.partition.args["alpha"], late.seed) == (1.0, 0.5, 0.1, 3)


def test_split_fashion_is_split_mnist_on_other_images() -> None:
    digits, clothes = STUDIES["split-mnist"](), STUDIES["split-fashion"]()
    assert set(digits.rows) < set(STUDIES["split-mnist-all"]().rows) and len(digits.columns) == 4
    assert list(clothes.rows) == list(digits.rows) and clothes.tuning == digits.tuning and "joint" in clothes.rows
    cell = Cell("replay 50", "async Dirichlet 0.1", 2)
    on_clothes, on_digits = clothes.scenario(cell), digits.scenario(cell)
    assert on_clothes.data == "fashion" and replace(on_clothes, data=on_digits.data) == on_digits


def test_split_mnist_has_its_control_row_and_heads_on_trained_features() -> None:
    study = STUDIES["split-mnist"]()
    first = next(iter(study.columns))
    control = study.scenario(Cell("finetune-masked", first, 0))
    plain = study.scenario(Cell("finetune", first, 0))
    assert control.softmax.name == "masked" and replace(control, softmax=plain.softmax) == plain
    for name in ("acil", "slda"):
        (part,) = study.scenario(Cell(f"{name}-trained", first, 0)).methods
        assert part.name == name and part.args["warm"] == -1


def test_sanity_takes_as_many_own_images_a_step_as_mammoth() -> None:
    study = STUDIES["sanity"]()
    for row in study.rows:
        scenario = study.scenario(Cell(row, "class-incremental", 0))
        assert budget(scenario, 6000) == 600, row  # a pass, ten own images a step
        (part,) = scenario.methods
        if row.startswith(("replay", "derpp")):
            assert part.args["images"] == int(row.split()[1]) and scenario.local.batch == 20
    joint = study.scenario(Cell("joint", "class-incremental", 0))
    assert len(course(joint).tasks) == 1 and joint.rounds == 1


def test_permuted_deals_anew_for_every_task_as_often_as_there_are_rounds() -> None:
    short, long = STUDIES["permuted"](), STUDIES["permuted-200"]()
    for study, rounds in ((short, 20), (long, 200)):
        scenario = study.scenario(Cell("finetune", "two shards", 0))
        assert scenario.rounds == 10 * rounds and scenario.partition.args["times"] == len(course(scenario).tasks) == 10
    trial = short.scenario(short.trials()[0])
    assert trial.rounds == 30 and trial.partition.args["times"] == len(course(trial).tasks) == 3 and check(trial) == ()


@pytest.mark.parametrize("stream, read", [("permuted", 0.75), ("classes", 0.2)])
def test_what_tuning_reads_is_seen_as_tasks_show_it(stream: str, read: float, tmp_path: Path) -> None:
    """Of permuted pixels no task shows plain validation images, so how these are read says nothing."""
    scenario = replace(BASE, rounds=10, stream=Part(stream))
    last = record.RoundRecord(10, validation_accuracy=0.2, tasks_validation=(0.5, 1.0, None))
    assert results.validation(record.Report(scenario, history=(last,))) == pytest.approx(read)


def test_seeds_are_outermost() -> None:
    cells = small().cells()
    assert [cell.seed for cell in cells] == [0] * 4 + [1] * 4 + [2] * 4


def test_a_piece_comes_before_its_settings_whoever_brings_them() -> None:
    study = small(rows={"prox": (("strategy.mu", "0.5"),)}, columns={"all": (("strategy", "fedprox"),)})
    assert study.scenario(Cell("prox", "all", 0)).strategy.args == {"mu": 0.5}


@pytest.mark.parametrize(
    "changes, message",
    [
        ({"seeds": ()}, "has no seed"),
        ({"rows": {"a,b": ()}}, "cannot be the name"),
        ({"rows": {"a": (("partition.alpha", "1"),)}}, "both set partition.alpha"),
        ({"rows": {"a": (("seed", "1"),)}}, "may set seed"),
        ({"tuning": replace(TUNING, seeds=(2, 11))}, r"seeds \[2\] would be tuned on and reported"),
        ({"tuning": TUNING, "base": replace(BASE, validation=0)}, "never looks at test images"),
        ({"tuning": Tuning({"fedavg": ((),)}, (11,))}, "rows without a grid: fedprox"),
        *[
            ({"tuning": Tuning({ALL: product({path: ("1", "2")})}, (11,))}, f"{path} cannot be tuned for row")
            for path in ("strategy", "partition.alpha", "seed", "validation")
        ],
        ({"published": {"alpha 7": Published(0.9, "nobody")}}, "has no alpha 7 to publish"),
        ({"apart": ("fednova",)}, "has no fednova to publish or to set apart"),
    ],
)
def test_a_study_that_makes_no_sense_is_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        small(**changes)


def test_rows_with_more_trials_than_others_are_refused() -> None:
    grids = {ALL: product({"local.rate": ("0.01", "0.1")}), "fedprox": product({"strategy.mu": ("0.1", "1", "10")})}
    with pytest.raises(ValueError, match="same number of trials, 1 or more; not every other row: 2, fedprox: 3"):
        Tuning(grids, (11,))


def test_a_question_of_ones_own() -> None:
    study = ad_hoc.study(BASE, ["strategy=fedavg,scaffold", "partition.alpha=0.1,1", "digits=[1,2],[3]"])
    assert ad_hoc.values("join=[[6,8],[7,8]],[[6,9]]") == ("join", ["[[6,8],[7,8]]", "[[6,9]]"])
    assert list(study.rows) == ["strategy=fedavg", "strategy=scaffold"]
    assert list(study.columns) == [f"partition.alpha={a} digits={d}" for a in ("0.1", "1") for d in ("[1 2]", "[3]")]
    made = study.scenario(Cell("strategy=scaffold", "partition.alpha=0.1 digits=[1 2]", 4))
    assert (made.strategy.name, made.partition.args["alpha"], made.digits, made.seed) == ("scaffold", 0.1, (1, 2), 4)
    tuned = ad_hoc.tuned(study, ["local.rate=0.1,1"])
    assert len(tuned.trials()) == 2 * 4 * 2 * len(ad_hoc.SEEDS) and ad_hoc.tuned(tuned, ["none"]).tuning is None
    for wrong in (["strategy"], ["strategy=a,,b"], ["strategy=a,a"], ["strategy=a", "strategy=b"]):
        with pytest.raises(ValueError):
            ad_hoc.study(BASE, wrong)


# ── results, and what they come to ──


def test_a_result_is_of_its_settings_and_its_code(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    study = small()
    work = Work(study, tmp_path)
    cell = study.cells()[0]
    keep(work.folder(study.scenario(cell)), result(0.9))
    assert set(work.outcome().results) == {cell}
    assert not Work(study, tmp_path, "other code").outcome().results
    assert not Work(replace(study, base=replace(BASE, noise=0.1)), tmp_path).outcome().results
    with pytest.raises(RuntimeError, match="the code changed while the study ran"):
        one_run._check_code("other code")


def test_a_result_is_of_the_files_that_it_was_made_of(tmp_path: Path) -> None:
    """Images that are added between two starts of a study are in none of the cells that are finished."""
    (tmp_path / "own" / "3").mkdir(parents=True)
    folders = set[Path]()
    for _ in range(3):
        (tmp_path / "own" / "3" / f"{len(folders)}.png").write_bytes(b"a picture")
        files_digest.cache_clear()  # another process
        one, other = (results.folder(tmp_path, replace(BASE, data=str(tmp_path / "own")), "code") for _ in range(2))
        assert one == other
        folders.add(one)
    assert len(folders) == 3


def test_a_row_and_a_column_that_are_impossible_together_fail(tmp_path: Path) -> None:
    """Only the first of both are looked at before a study begins."""
    nobody = replace(BASE, drop_stragglers=True, stragglers=1.0)
    with pytest.raises(ValueError, match="stragglers"):
        one_run._run(nobody, tmp_path, results.code(), 0)


def test_what_failed_in_a_run_is_said_with_its_result(tmp_path: Path) -> None:
    study = small()
    work, cell = Work(study, tmp_path), study.cells()[0]
    rows = (
        RoundRecord(1, 0.1, accuracy=0.8, failed={3: "OSError: no space left"}),
        RoundRecord(2, 0.1, accuracy=0.9, server_error="it could not"),
    )  # fmt: skip
    folder = work.folder(study.scenario(cell))
    results.save(folder, record.Report(BASE, history=rows, accuracy=0.9), [], 1.0)
    kept = results.load(folder)
    assert kept and (kept.failures, kept.failure) == (2, "round 1: client 3: OSError: no space left")
    found = work.outcome()
    assert f"- {cell}: 2, the first: round 1: client 3: OSError: no space left" in tables.markdown(found, "again")
    assert json.loads(tables.table_json(found, [], "again", "code"))["cells"][0]["failures"] == 2


@pytest.mark.parametrize(
    "file, counts",
    [
        ("core/seeds.py", True), ("fl/strategies/scaffold.py", True), ("clients/learner.py", True), ("server/rounds.py", True),
        ("scenarios/backends/local.py", True), ("server/report/figures/style.py", False), ("scenarios/study.py", False),
    ],
)  # fmt: skip
def test_code_that_can_change_a_result_counts_and_code_that_draws_does_not(
    file: str, counts: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for one in (
        one for room in ("core", "fl", "clients", "server", "scenarios") for one in (HOME / room).rglob("*.py")
    ):
        copy = tmp_path / one.relative_to(HOME)
        copy.parent.mkdir(parents=True, exist_ok=True)
        copy.write_bytes(one.read_bytes())
    before = results.code()
    monkeypatch.setattr(code_digest, "HOME", tmp_path)
    assert results.code() == before
    (tmp_path / file).write_text((tmp_path / file).read_text() + "# changed\n")
    assert (results.code() != before) == counts


def finished(study: Study, tmp_path: Path, accuracies: dict[str, list[float]]) -> Work:
    """A study whose rows read so much, in every column, seed by seed."""
    work = Work(study, tmp_path)
    for cell in study.cells():
        if cell.seed < len(accuracies.get(cell.row, [])):
            keep(work.folder(study.scenario(cell)), result(accuracies[cell.row][cell.seed]))
    return work


def test_tuning_reads_validation_only_and_takes_what_all_trials_say(tmp_path: Path) -> None:
    study = small(tuning=TUNING, rows={"fedavg": ROWS["fedavg"]}, columns={"alpha 1": COLUMNS["alpha 1"]})
    work = Work(study, tmp_path)
    # The second point reads more validation images, and less test images.
    for trial in study.trials():
        keep(work.folder(study.scenario(trial)), result(0.9 - 0.1 * trial.point, 0.5 + 0.1 * trial.point))
        assert bool(work.outcome().chosen) == (trial == study.trials()[-1])
    found = work.outcome()
    assert found.chosen == {("fedavg", "alpha 1"): 1}
    cell = study.cells()[0]
    assert found.scenarios[cell].local.rate == 0.1 and found.scenarios[cell].seed == 0
    assert "| fedavg | alpha 1 | local.rate=0.1 | 2 of 2 | 60.00 | 0 | taken |" in tables.chosen_page(found)
    diverged = next(trial for trial in study.trials() if trial.point == 1)
    keep(work.folder(study.scenario(diverged)), result(0.9, 0.99, validation_loss=None))
    assert work.outcome().chosen == {("fedavg", "alpha 1"): 0}


def test_pairs_are_scipy_s_paired_test_with_holm_s_adjustment() -> None:
    rng = np.random.default_rng(0)
    one, other = rng.normal(size=8), rng.normal(size=8) + 1
    pair = pairs.compared("row", "column", tuple(range(8)), list(other - one))
    theirs = stats.ttest_rel(other, one)
    assert pair.p == pytest.approx(theirs.pvalue)
    assert pair.interval == pytest.approx(tuple(theirs.confidence_interval()))
    assert pair.p_ranks == pytest.approx(stats.wilcoxon(other - one).pvalue)
    assert pairs.compared("row", "column", (0, 1, 2), [0.1, 0.2, 0.3]).p_ranks is None
    assert pairs.compared("row", "column", (0, 1), [0.1, 0.2]).verdict == "n too small (2)"
    for difference in (0.0, 2.0):
        same = pairs.compared("row", "column", (0, 1, 2), [difference] * 3)
        assert (same.p, same.interval, same.verdict) == (None, None, "the same in every seed: no test")
    tested = [replace(pair, row=name, p=p) for name, p in (("a", 0.04), ("b", 0.01), ("c", 0.03))]
    assert [one.p_holm for one in pairs.adjusted(tested)] == pytest.approx([0.06, 0.03, 0.06])


def test_rounds_to_a_target_are_those_of_the_monotone_curve_between_rounds() -> None:
    curve = tuple(Point(share, k) for k, share in enumerate((0.5, 0.9, 0.8, 1.0), 1))
    found = replace(result(1.0), curve=curve)
    assert rounds_to(found, 0.95) == 4 and rounds_to_smoothed(found, 0.95) == pytest.approx(3.5)
    assert rounds_to(found, 0.9) == 2 == rounds_to_smoothed(found, 0.9) and rounds_to_smoothed(found, 0.4) == 1
    assert rounds_to(result(0.9)) is None is rounds_to_smoothed(result(0.9))


def test_tables_have_spread_and_number_of_seeds_and_name_what_is_missing(tmp_path: Path) -> None:
    study = small(rows={**ROWS, "a_b & 50 %": (("strategy", "fedavgm"),)}, left_out={"krum": "too few"})
    work = finished(study, tmp_path, {"fedavg": [0.90, 0.92, 0.94], "fedprox": [0.95, 0.96], "a_b & 50 %": [0.5]})
    found = work.outcome()
    assert tables.cell_text(found, "fedavg", "alpha 1", "accuracy") == "92.00 ± 2.00 (3)"
    assert tables.cell_text(found, "a_b & 50 %", "alpha 1", "accuracy") == "50.00 (1)"
    assert tables.cell_text(found, "fedavg", "alpha 1", "rounds_to_99") == "–"
    page = tables.markdown(found, "python -m scenarios.study small")
    assert "| fedprox | **95.50 ± 0.71 (2)** | **95.50 ± 0.71 (2)** |" in page
    assert "6 cells; this fills them:\n\n```bash\npython -m scenarios.study small\n" in page
    assert "- fedprox / alpha 1 / seed 2\n" in page and "Left out: krum: too few" in page
    tex = tables.latex(found).splitlines()
    assert r"a\_b \& 50 \% & 50.00 (1) & 50.00 (1) \\" in tex and r"accuracy (\%) & alpha 0.1 & alpha 1 \\" in tex
    assert r"fedprox & \textbf{95.50 $\pm$ 0.71 (2)} & \textbf{95.50 $\pm$ 0.71 (2)} \\" in tex
    assert tables.escaped(r"\{$") == r"\textbackslash{}\{\$"
    lines = list(csv.DictReader(io.StringIO(tables.table_csv(found))))
    assert len(lines) == 12 and {line["row"] for line in lines} == set(study.rows)
    assert [float(line["accuracy"]) for line in lines if line["row"] == "fedavg"][::2] == [0.9, 0.92, 0.94]


def test_what_is_published_stands_below_the_rows_and_the_best_one_against_it(tmp_path: Path) -> None:
    reported = {"alpha 0.1": Published(0.93, "X et al. 2020")}
    study = small(rows={**ROWS, "acil": (("methods", "acil"),)}, published=reported, apart=("acil",))
    work = finished(study, tmp_path, {"fedavg": [0.90], "fedprox": [0.95], "acil": [0.97]})
    found = work.outcome()
    page = tables.markdown(found, "again")
    assert "| fedprox | **95.00 (1)** | **95.00 (1)** |" in page and "| acil | 97.00 (1) |" in page
    lines = (
        "| published | 93.00 | – |",
        "| best − published | fedprox, +2.00 | – |",
        "| best apart − published | acil, +4.00 | – |",
    )
    assert all(line in page for line in lines) and "- alpha 0.1: X et al. 2020" in page
    assert r"\midrule" + "\n" + r"published & 93.00 & -- \\" in tables.latex(found)
    last = list(csv.DictReader(io.StringIO(tables.table_csv(found))))[-1]
    assert (last["row"], last["column"], last["seed"], last["accuracy"]) == ("published", "alpha 0.1", "", "0.93")
    facts = json.loads(tables.table_json(found, pairs.pairs(found), "again", "code"))["published"]["alpha 0.1"]
    assert facts["value"] == 0.93 and facts["best"]["row"] == "fedprox" and facts["best"]["beaten"] is True
    assert facts["best_apart"]["difference"] == pytest.approx(0.04)
    assert tables.grid(found, "megabytes")[1][-1][0] == "acil"  # of the first measure only
    narrow = study.narrowed(rows=["fedavg"], columns=["alpha 1"])
    assert not narrow.published and not narrow.apart
    loss = replace(study, measures=("forgetting",), published={"alpha 0.1": Published(0.5, "less is more")})
    for row, forgotten in (("fedavg", 0.6), ("fedprox", 0.4)):
        staged = result(0.9, measures=Measures(0.9, 0.9, forgotten, -0.1, 0.0))
        keep(work.folder(study.scenario(Cell(row, "alpha 0.1", 0))), staged)
    one = tables.against(Work(loss, tmp_path).outcome(), "alpha 0.1", False)
    assert one and (one.row, one.beaten) == ("fedprox", True) and one.difference == pytest.approx(-0.1)


def test_a_row_that_gets_there_with_some_seeds_only_is_not_the_best(tmp_path: Path) -> None:
    measured = small(measures=("forgetting",))
    work = Work(measured, tmp_path)
    for row, seeds in (("fedavg", (0, 1)), ("fedprox", (0,))):
        for seed in (0, 1):
            staged = Measures(0.9, 0.9, 0.3 if row == "fedavg" else 0.1, -0.1, 0.0) if seed in seeds else None
            keep(work.folder(measured.scenario(Cell(row, "alpha 1", seed))), result(0.9, measures=staged))
    assert tables.best(work.outcome(), "alpha 1") == set()  # nobody is left to compare with
    published = replace(measured, published={"alpha 1": Published(0.2, "X et al. 2020")})
    one = tables.against(Work(published, tmp_path).outcome(), "alpha 1", False)
    assert one and one.row == "fedavg" and not one.beaten


def test_where_a_seed_never_got_there_the_others_are_not_tested(tmp_path: Path) -> None:
    measured = small(measures=("forgetting",))
    work = Work(measured, tmp_path)
    for row in ("fedavg", "fedprox"):
        for seed in (0, 1, 2):
            staged = Measures(0.9, 0.9, 0.3 - 0.01 * seed, -0.1, 0.0) if (row, seed) != ("fedprox", 2) else None
            keep(work.folder(measured.scenario(Cell(row, "alpha 1", seed))), result(0.9, measures=staged))
    (pair,) = [one for one in pairs.pairs(work.outcome()) if one.row == "fedprox"]
    assert (pair.seeds, pair.without, pair.p, pair.p_holm) == ((0, 1), 1, None, None)
    assert pair.verdict == "no value in 1 more" and "| no value in 1 more |" in tables.pairs_page(
        work.outcome(), [pair]
    )


def test_each_cell_has_the_command_that_makes_its_settings(tmp_path: Path) -> None:
    found = finished(small(), tmp_path, {"fedavg": [0.9, 0.9], "fedprox": [0.9]}).outcome()
    facts = json.loads(tables.table_json(found, pairs.pairs(found), "again", "code"))
    assert len(facts["cells"]) == 6 and facts["reference"] == "fedavg" and len(facts["missing"]) == 6
    for one in facts["cells"]:
        args = command_line(one["command"])
        cell = Cell(one["row"], one["column"], one["seed"])
        assert made_by(args) == found.scenarios[cell]
    for base in (replace(BASE, name="own"), STUDIES["sanity"]().base):  # called as no preset is
        cell = found.study.cells()[0]
        words = tables.command_of(replace(found, scenarios={cell: base}), cell, "again")
        assert made_by(command_line(words)) == base
    niid = STUDIES["niid-bench"]()
    for column in niid.columns:
        cell = Cell("scaffold", column, 2)
        scenario = niid.scenario(cell, (("local.rate", "0.1"),))
        words = tables.command_of(replace(found, scenarios={cell: scenario}), cell, "again")
        assert made_by(command_line(words)) == scenario


def test_what_no_preset_can_become_is_made_again_by_the_study_s_own_command(tmp_path: Path) -> None:
    found = finished(small(), tmp_path, {"fedavg": [0.9]}).outcome()
    cell = Cell("fedavg", "alpha 1", 3)
    strange = found.scenarios[found.study.cells()[0]].with_(("data", "mine.npz"))
    given = "python -m scenarios.study small --set rounds=2 --rows fedavg,fedprox --seeds=3 --tune none --out there --budget 5"
    words = tables.command_of(replace(found, scenarios={cell: strange}), cell, given)
    kept = "python -m scenarios.study small --set rounds=2 --tune none"
    assert words == f"{kept} --rows fedavg --columns 'alpha 1' --seeds 3, --out again"


def test_a_row_that_was_stopped_early_is_not_the_best_by_its_luckiest_seed(tmp_path: Path) -> None:
    found = finished(small(), tmp_path, {"fedavg": [0.98, 0.96, 0.96], "fedprox": [0.97]}).outcome()
    assert tables.best(found, "alpha 1") == {"fedavg"}


def test_a_trial_in_which_nothing_was_learned_reads_nothing() -> None:
    honest, luck = result(0.9, 0.15), replace(result(0.9, 0.2), failures=10, curve=(Point(0.2, 1, seen=0),))
    assert outcome.score([honest]) > outcome.score([luck]) == (0.0, -math.inf)
    assert outcome.score([replace(luck, curve=(Point(0.2, 1, seen=50),))])[0] == 0.2  # some of its replies failed


def test_equal_differences_are_equal_ranks() -> None:
    """Shares of 2,000 images that differ by one image each, but for rounding errors."""
    first, differences = (1753, 1753, 1841, 1708, 1899, 1816), (-1, -1, 1, 1, 2, 0)
    study = small(columns={"alpha 1": COLUMNS["alpha 1"]}, seeds=tuple(range(6)))
    found = {
        Cell(row, "alpha 1", i): result((one + by * difference) / 2000)
        for row, by in (("fedavg", 0), ("fedprox", 1))
        for i, (one, difference) in enumerate(zip(first, differences, strict=True))
    }
    (pair,) = pairs.pairs(Outcome(study, {}, {}, {}, found))
    assert pair.p_ranks == pytest.approx(stats.wilcoxon(differences).pvalue)


def test_a_cell_that_somebody_went_on_with_is_left_as_it_is(tmp_path: Path) -> None:
    for name in ("report.html", "options.json", "result.json"):
        (tmp_path / name).touch()
    one_run.swept(tmp_path)
    assert len(list(tmp_path.iterdir())) == 3
    (tmp_path / "options.json").unlink()
    one_run.swept(tmp_path)
    assert [one.name for one in tmp_path.iterdir()] == ["result.json"]


def command_line(text: str) -> Any:
    words = shlex.split(text)
    assert words[:3] == ["python", "-m", "scenarios.run"], text
    return run_parser().parse_args(words[3:])


def made_by(args: Any) -> Scenario:
    changes = [parsed(one) for one in args.set]
    changes += [
        (key, str(getattr(args, key))) for key in ("seed", "rounds", "engine") if getattr(args, key) is not None
    ]
    return changed(SCENARIOS[args.name][0], changes)


def test_what_a_study_leaves(tmp_path: Path) -> None:
    work = finished(small(), tmp_path, {"fedavg": [0.90, 0.92, 0.94], "fedprox": [0.95, 0.96, 0.99]})
    files = output.write(work.outcome(), tmp_path, "again", work.code)
    names = [*output.PAGES, "curves.png", "points.png"]
    assert [one.name for one in files] == names and all(one.stat().st_size for one in files)
    assert "| fedprox | 3 | +4.67 |" in (tmp_path / "pairs.md").read_text()
    rows = list(csv.DictReader((tmp_path / "points.csv").open()))
    assert len(rows) == 12 and rows[0] == {"row": "fedavg", "column": "alpha 0.1", "seed": "0", "value": "90.0"}
    staged = result(0.9, measures=Measures(0.9, 0.9, 0.1, -0.1, 0.0), memory_bytes=5000)
    keep(work.folder(small().scenario(small().cells()[0])), staged)
    time.sleep(0.01)
    again = output.write(work.outcome(), tmp_path, "again", work.code)
    assert "memory.png" in [one.name for one in again]


# ── how long it takes, and what comes first ──


def test_a_plan_counts_what_is_left_and_reckons_with_rounds_and_examples(tmp_path: Path) -> None:
    study = small(tuning=replace(TUNING, changes=(("rounds", "2"),)))
    work = Work(study, tmp_path)
    assert (carry_out.plan(work).processor, len(carry_out.unseen(work))) == (None, 2)  # a kind a strategy
    runs = {folder: scenario for folder, (scenario, _) in work.trials().items()}
    for name in ("fedavg", "fedprox"):  # the first rounds of one run each: 2 s to begin, 1 s to test, 2 ms an example
        folder = next(folder for folder, one in runs.items() if one.strategy.name == name)
        marks = [Mark(1, 5.0, 1.0, 1000, True), Mark(2, 3.0, 1.0, 1000)]
        record.write(folder / results.SPENT, json.dumps(record.plain(marks)))
    found = carry_out.plan(work)
    assert (found.cells, found.cells_finished, found.trials, found.trials_finished) == (12, 0, 16, 0)
    a_trial, a_cell = 2 + 2 * 3 + 2, 2 + 3 * 3 + 2  # to begin, rounds, at the end twice a test
    assert found.processor == pytest.approx(16 * a_trial + 12 * a_cell) and not carry_out.unseen(work)
    assert found.wall(1) == found.processor and "0.0878 processor hours" in "".join(command.planned(found, 1))
    assert any(
        "; at least 5 min 16 s with 1 workers, and" in line.replace(SPACE, " ") for line in command.planned(found, 1)
    )
    long = replace(BASE, rounds=30, local=replace(BASE.local, epochs=2.0))
    assert found.estimates.of(long) == pytest.approx(2 + 30 * (1 + 2 * 2) + 2)
    assert found.estimates.of(replace(BASE, model=replace(BASE.model, kind="mlp"))) is None
    normed = replace(BASE, model=replace(BASE.model, norm="batch"))  # near enough, until one of its norm was seen
    own = replace(found.estimates.kinds[estimate.kind(BASE)], scenario=normed, example=0.003)
    both = replace(found.estimates, kinds=dict(found.estimates.kinds) | {estimate.kind(normed): own})
    assert both.of(replace(normed, augment=())) == 2 + 3 * (1 + 3) + 2
    assert found.estimates.of(normed) == a_cell and estimate.kind(normed) not in found.estimates.kinds
    assert estimate.kind(replace(BASE, augment=(Part("elastic"),))) != estimate.kind(replace(BASE, augment=()))


def test_what_finished_runs_took_is_what_others_will_take(tmp_path: Path) -> None:
    work = finished(small(), tmp_path, {"fedavg": [0.9, 0.9], "fedprox": [0.9]})
    found = carry_out.plan(work)
    assert found.processor == pytest.approx(6 * 20.0) and found.estimates.pace == pytest.approx(1.05)
    assert any(
        "; about 2 min 6 s with 1 workers, and" in line.replace(SPACE, " ") for line in command.planned(found, 1)
    )
    whole = estimate.measured(BASE, result(0.9).marks, result(0.9))
    assert whole and whole.of(BASE) == pytest.approx(20.0)


def test_the_most_informative_cell_is_where_the_place_is_least_sure(tmp_path: Path) -> None:
    rows = {name: (("strategy", name),) for name in ("fedavg", "fedprox", "fedavgm")}
    study = small(rows=rows, columns={"alpha 1": COLUMNS["alpha 1"]}, seeds=tuple(range(5)))

    def first(found: Outcome) -> str:
        return str(in_turn(found, set(), informative=True)[0])

    some = finished(study, tmp_path / "a", {"fedavg": [0.9], "fedavgm": [0.9]}).outcome()
    assert first(some) == "fedprox / alpha 1 / seed 0"
    some = finished(study, tmp_path / "b", {"fedavg": [0.9, 0.9], "fedprox": [0.9], "fedavgm": [0.9, 0.8]}).outcome()
    assert first(some) == "fedprox / alpha 1 / seed 1"
    # what was begun here and is finished counts once
    some = finished(study, tmp_path / "e", {"fedavg": [0.9, 0.8], "fedprox": [0.9], "fedavgm": [0.9]}).outcome()
    assert str(in_turn(some, set(some.results), informative=True)[0]) == "fedprox / alpha 1 / seed 1"
    close = {"fedavg": [0.95, 0.951], "fedprox": [0.5, 0.501], "fedavgm": [0.90, 0.98]}
    assert first(finished(study, tmp_path / "c", close).outcome()) == "fedavgm / alpha 1 / seed 2"
    found = finished(study, tmp_path / "d", {"fedavg": [0.9]}).outcome()
    assert [str(cell) for cell in in_turn(found, set())[:2]] == [
        "fedprox / alpha 1 / seed 0", "fedavgm / alpha 1 / seed 0",
    ]  # fmt: skip


def test_nothing_is_started_that_would_not_end_in_time(tmp_path: Path) -> None:
    work = finished(small(), tmp_path, {"fedavg": [0.9], "fedprox": [0.9]})  # 20 s each, at a pace of 1.05
    for left, starts in ((19.0, False), (30.0, True)):
        now = carry_out._fitting(work, time.monotonic() + left)
        assert (carry_out._next_cell(work, now, True)(set()) is not None) == starts


def test_what_another_command_was_at_is_not_taken_up_where_it_would_be_late() -> None:
    jobs = [(Path(name), replace(BASE, rounds=rounds)) for name, rounds in (("a", 30), ("b", 3), ("c", 3))]
    assert _next_retry(jobs, lambda scenario: scenario.rounds < 10) == (Path("b"), replace(BASE, rounds=3))
    assert [folder for folder, _ in jobs] == [Path("c")]
    assert _next_retry(jobs, lambda scenario: False) is None and not jobs


def test_a_run_of_one_round_says_what_others_cost() -> None:
    one = replace(BASE, rounds=1)
    found = estimate.measured(one, [Mark(1, 9.0, 1.0, 1000, True)], result(0.9, processor=12.0))
    assert found and found.of(one) == pytest.approx(12.0)
    assert estimate.measured(BASE, [Mark(1, 9.0, 1.0, 1000, True)]) is None


def test_what_testing_costs_goes_with_the_images() -> None:
    found = estimate.measured(BASE, result(0.9).marks)  # a second of each round for 200 images
    assert found and found.of(replace(BASE, test=2000)) - found.of(BASE) == pytest.approx(3 * 9.0)
    brief = replace(BASE, stragglers=1.0, local=replace(BASE.local, epochs=0.5))
    assert estimate.share(brief) == pytest.approx(estimate.share(replace(brief, stragglers=0.0)))


# ── the command ──


@pytest.mark.parametrize(
    "words, message",
    [
        ("nope", "unknown study 'nope'; choose from"),
        ("noniid", "say over what, --over KEY=A,B"),
        ("nope --over strategy=fedavg", "unknown scenario 'nope'; choose from"),
        ("strategies --rows nope", "unknown row 'nope'; choose from bulyan, ccvr"),
        ("strategies --rows ditto", "each client has a personal model"),
        ("niid-bench --columns nope", "unknown column 'nope'; choose from"),
        ("strategies --seeds 0", "should be how many"),
        ("strategies --seeds x", "'x' should be how many"),
        ("strategies --seeds 101,102", "would be tuned on and reported"),
        ("strategies --budget 0", "more than 0 minutes"),
        ("noniid --over strategy=fedavg,nope", "choose from bulyan"),
        ("noniid --over nope=1,2", "unknown key 'nope'"),
        ("strategies --tune local.rate", "should be key=value"),
        ("strategies --tune local.rate=0.1,0.3 --tune local.rate=1,3", "--tune names one setting twice"),
        *[
            (f"{study} --set {change}", f"--set {change} would have no effect in study {study}")
            for study, change in (
                ("strategies", "local.rate=0.5"),
                ("strategies", "strategy=fedprox"),
                ("strategies", "seed=7"),
                ("pathological", "rounds=5"),
            )
        ],
        ("noniid --over local.rate=0.1,0.10", "local.rate=0.1 and local.rate=0.10 are the same runs"),
        ("noniid --over strategy=fedavg --over local.rate=0.1,0.10", "are the same runs"),
        (
            "noniid --over validation=0,50 --tune local.rate=0.1,1",
            "validation=0 / noniid / trial 1, seed 1001: tuning needs",
        ),
    ],
)
def test_a_wrong_word_is_named_with_the_choices(
    words: str, message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as stop:
        command.main([*words.split(), "--out", str(tmp_path / "out")])
    assert stop.value.code == 2 and message in capsys.readouterr().err


@pytest.mark.parametrize(
    "words", ["niid-bench --set rounds=5", "split-mnist --set train=6000", "niid-bench --set model.norm=group"]
)
def test_what_changes_some_runs_of_a_study_may_be_set(words: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Though its trials, or some of its rows, have values of their own."""
    shown = []
    for asked in (words, words.split()[0]):
        assert command.main([*asked.split(), "--show"]) == 0
        shown.append(json.loads(capsys.readouterr().out))
    assert shown[0].keys() == shown[1].keys() and shown[0] != shown[1]


def test_list_show_and_finished_run_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert command.main(["--list"]) == 0
    listing = capsys.readouterr().out
    assert all(name in listing for name in STUDIES) and "57 trials" in " ".join(listing.split())
    words = ["noniid", "--over", "strategy=fedavg,fedprox", "--seeds", "3,5", "--out", str(tmp_path / "out")]
    assert command.main([*words, "--show"]) == 0
    runs = json.loads(capsys.readouterr().out)
    assert [*runs][:2] == ["strategy=fedavg / noniid / seed 3", "strategy=fedprox / noniid / seed 3"] and len(runs) == 4
    assert Scenario.of(json.dumps(runs["strategy=fedprox / noniid / seed 5"])).strategy.name == "fedprox"
    assert not (tmp_path / "out").exists()
    assert command.main([*words, "--finished"]) == 1
    stderr = capsys.readouterr().err
    assert "no cell is finished" in stderr and "--over strategy=fedavg,fedprox" in stderr and "--finished" not in stderr


@pytest.mark.parametrize("width", [80, 120])
def test_what_is_finished_is_a_table_in_which_no_word_is_broken(
    width: int, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", str(width))
    words = ["noniid", "--over", "strategy=fedavg,fedprox", "--over", "partition.alpha=0.1,1,10", "--seeds", "2"]
    args = command.parser().parse_args(words)
    study = command.wanted(args)
    finished(study, tmp_path, {"strategy=fedavg": [0.90, 0.94], "strategy=fedprox": [0.90]})
    assert command.main([*words, "--finished", "--out", str(tmp_path)]) == 0
    out, err = capsys.readouterr()
    lines = out.partition("written")[0].splitlines()
    assert max(map(len, lines)) <= width and out.count("92.00 ± 2.83 (2)") == 3
    assert "missing: strategy=fedprox / partition.alpha=0.1 / seed 1" in err
    assert {one.name for one in tmp_path.iterdir()} >= {*output.PAGES, "curves.svg", "points.csv"}


TINY = [
    "quick", "--over", "strategy=fedavg,scaffold", "--seeds", "2", "--workers", "1", "--set", "train=600", "--set", "test=200",
    "--set", "validation=60", "--set", "clients=3", "--set", "cohort=2", "--set", "rounds=4", "--set", "augment=none",
]  # fmt: skip


def start(out: Path, *words: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "scenarios.study", *TINY, "--out", str(out), *words], cwd=HOME,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env={**os.environ, "PYTHONPATH": str(HOME)},
    )  # fmt: skip


def ended(process: subprocess.Popen[str]) -> str:
    out, err = process.communicate(timeout=600)
    assert process.returncode == 0, err
    return out + err


def begun(cells: Path) -> list[Path]:
    """The runs that have a checkpoint, and no result yet."""
    folders = {file.parent.parent for file in cells.glob("*/checkpoints/round-*.npz")}
    return [folder for folder in folders if not (folder / results.RESULT).exists()]


@pytest.mark.slow
def test_killed_it_goes_on_without_losing_a_cell_and_two_share_the_work(tmp_path: Path) -> None:
    first = start(tmp_path / "a")
    cells = tmp_path / "a" / "cells"
    deadline = time.monotonic() + 300
    while not (list(cells.glob("*/result.json")) and begun(cells)):
        assert first.poll() is None and time.monotonic() < deadline
        time.sleep(0.02)
    first.send_signal(signal.SIGKILL)
    first.communicate(timeout=60)  # its processes end with it, else their pipes would stay open
    before = {file: file.stat().st_mtime_ns for file in cells.glob("*/result.json")}
    assert 1 <= len(before) < 4
    ended(start(tmp_path / "a"))
    assert {file: file.stat().st_mtime_ns for file in before} == before and len(list(cells.glob("*/result.json"))) == 4
    assert {file.name for file in cells.glob("*/*")} == {results.RESULT, run_folder.SCENARIO}

    for one in [start(tmp_path / "b"), start(tmp_path / "b", "--workers", "2")]:
        ended(one)
    weights = []
    for out in ("a", "b"):
        facts = read_object(tmp_path / out / "table.json")
        weights.append([(one["row"], one["seed"], one["weights_sha256"]) for one in facts["cells"]])
    assert weights[0] == weights[1] and len(weights[0]) == 4 and len({one[2] for one in weights[0]}) == 4
    for file in (tmp_path / "b" / "cells").glob("*/result.json"):  # each round was played once, by one process
        marks = read_object(file)["marks"]
        assert [one["round"] for one in marks] == [1, 2, 3, 4] and [one["first"] for one in marks] == [
            True,
            *[False] * 3,
        ]


@pytest.mark.slow
def test_a_process_that_is_lost_is_replaced_and_ctrl_c_says_how_to_go_on(tmp_path: Path) -> None:
    process = start(tmp_path)
    deadline = time.monotonic() + 300
    while not list((tmp_path / "cells").glob("*/checkpoints/round-*.npz")):
        assert process.poll() is None and time.monotonic() < deadline
        time.sleep(0.02)
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
    worker = next(pid for pid in children if "spawn_main" in Path(f"/proc/{pid}/cmdline").read_text())
    os.kill(int(worker), signal.SIGKILL)
    while not list((tmp_path / "cells").glob("*/result.json")):
        assert process.poll() is None and time.monotonic() < deadline
        time.sleep(0.02)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=300)
    assert process.returncode == 130 and "python -m scenarios.study quick --over strategy=fedavg,scaffold" in err
    assert "(1)" in out and "leaked" not in err  # the table of what is finished


def test_a_ctrl_c_while_a_pool_is_closed_ends_its_processes_at_once(tmp_path: Path) -> None:
    other = multiprocessing.get_context("spawn").Process(target=time.sleep, args=(60,))
    other.start()
    pool = Pool(1, tmp_path / "log")
    running = pool._pool.submit(time.sleep, 60)
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    main = threading.main_thread().ident
    timer = threading.Timer(1.0, lambda: signal.pthread_kill(main or 0, signal.SIGINT))
    try:
        timer.start()
        try:
            pool.close()
            pytest.fail("it waited for what runs")
        except KeyboardInterrupt:
            assert isinstance(running.exception(timeout=30), BrokenProcessPool)
        deadline = time.monotonic() + 10  # a process that was ended takes a moment to be gone; what it ran takes 60 s
        while multiprocessing.active_children() != [other] and time.monotonic() < deadline:
            time.sleep(0.05)
        assert multiprocessing.active_children() == [other]
    finally:
        timer.cancel()
        signal.signal(signal.SIGINT, before)
        other.kill()
        other.join()


def test_late_is_the_mean_of_the_last_tenth() -> None:
    curve = tuple(Point(k / 100, k) for k in range(1, 31))
    assert MEASURES["late"].read(replace(result(0.3), curve=curve)) == pytest.approx(0.29)
    assert MEASURES["late"].read(result(0.9)) == pytest.approx(0.9)  # of three rounds the last one
    assert MEASURES["late"].read(replace(result(0.9), curve=())) is None


def test_measures_read_what_they_say() -> None:
    staged = result(0.9, measures=Measures(0.8, 0.7, 0.1, -0.1, 0.0), memory_bytes=5000, best=0.95)
    read = {name: one.read(staged) for name, one in MEASURES.items()}
    assert read["forgetting"] == 0.1 and read["memory"] == 5 and read["best"] == 0.95 and read["average"] == 0.8
    assert MEASURES["memory"].read(result(0.9)) is None and read["clients_forgetting"] is None


def test_what_clients_forget_in_their_own_order_is_kept_beside_the_global_models(tmp_path: Path) -> None:
    own = Measures(0.7, 0.7, 0.02, -0.02, 0.0)
    report = stream(0.8, "replay")
    assert report.continual
    each = record.ClientsMeasures(own, own, 2)
    results.save(tmp_path, report.with_(continual=replace(report.continual, clients_measures=each)), [], 1.0)
    kept = results.load(tmp_path)
    assert kept and kept.measures == report.continual.measures and kept.clients_measures == own
    assert MEASURES["forgetting"].read(kept) == 0.1 and MEASURES["clients_forgetting"].read(kept) == 0.02


def test_a_client_is_served_by_its_personal_model_where_it_has_one() -> None:
    shards = tuple(
        record.Shard(client, accuracy=shared, personal_accuracy=own)
        for client, (shared, own) in enumerate([(0.5, 0.9), (0.7, None), (None, None)])
    )
    shares = results.served(record.Report(BASE, shards=shards))
    assert shares == (0.9, 0.7)  # the third was never tested
    one = result(0.6, served=shares)
    assert MEASURES["served"].read(one) == pytest.approx(0.8) and MEASURES["worst_served"].read(one) == 0.7
    assert MEASURES["served"].read(result(0.6)) is None and MEASURES["worst_served"].read(result(0.6)) is None
