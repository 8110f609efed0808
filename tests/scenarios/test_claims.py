"""The studies of claims: what their measures read from a curve, and what the table of all claims makes of finished cells."""

from __future__ import annotations

import itertools
import json
import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from core.config.scenario import Scenario
from core.curves import Point
from core.data import load, read
from core.schedule import losses, plateau
from core.views.conditions import under
from scenarios.studies import STUDIES
from scenarios.studies.measures import stopped, stopping, to_validation
from scenarios.studies.results import Result
from scenarios.studies.study import Cell
from tests.bench import claims
from tests.bench.claims import FACTORS, FLOAT, INT8, Cells, Found

FALLING = (0.9, 0.5, 0.4, 0.41, 0.42, 0.43, 0.44, 0.45, 0.1)


def curve(validation: tuple[float | None, ...]) -> Result:
    """A run with these validation losses; its test accuracies tell the rounds apart."""
    points = tuple(Point(k / 100, k, 1.0, loss, 500.0 * k) for k, loss in enumerate(validation, 1))
    return Result(0.5, 0.5, 0.5, points)


def test_early_stopping_in_hindsight_is_what_the_schedule_would_have_done() -> None:
    found = curve(FALLING)
    assert stopping(found) == 8 and stopped(found) == 0.03  # not the last round, which is better and comes too late
    before = [plateau(0.1, k, [9], losses(found.curve[:k]), halve=3, stop=5) for k in range(1, 9)]
    assert before[-1] is None and None not in before[:-1]
    assert stopping(curve(FALLING[:7])) is None and stopped(curve(FALLING[:7])) == 0.03
    assert stopping(curve((0.9, None, math.inf, None, None, None))) == 6 and stopped(curve((None,) * 6)) is None


def test_the_way_to_the_validation_target_in_rounds_and_in_examples() -> None:
    found = replace(curve((1.0,) * 4), validation=(0.9, 0.96, None, 1.0))
    assert to_validation(found) == pytest.approx(3.5)
    assert to_validation(found, examples=True) == pytest.approx(1750)
    assert to_validation(replace(found, validation=())) is None


# ── deformed digits ──


def test_test_images_alone_are_deformed_and_always_the_same_for_a_seed() -> None:
    plain = Scenario("one", train=500, validation=100, test=200)
    bent = replace(plain, test_condition="deformed")
    one, again, before = load(bent), load(bent), load(plain)
    assert np.array_equal(one.test.x, again.test.x) and np.array_equal(one.test.y, before.test.y)
    assert (one.test.x != before.test.x).any((1, 2)).all()
    assert np.array_equal(one.train.x, before.train.x) and np.array_equal(one.validation.x, before.validation.x)
    other = load(replace(bent, seed=1)).test.x
    assert not np.array_equal(one.test.x, other)


def test_an_impossible_test_condition_is_refused_with_the_choices() -> None:
    for condition, message in (
        ("bent", "unknown condition 'bent'"),
        ("deformed:3", "should be 0 … 2"),
        ("deformed:x", "name:number"),
    ):
        with pytest.raises(ValueError, match=message):
            load(Scenario("one", train=500, validation=100, test=50, test_condition=condition))


def test_deformed_by_nothing_changes_nothing_and_by_half_less() -> None:
    digits = read("mnist")[1].x[:300]
    assert np.array_equal(under("deformed:0", digits, 0, "test"), digits)
    half, whole = (np.abs(under(f"deformed:{by}", digits, 0, "test") - digits.astype(int)).mean() for by in (0.5, 1))
    assert 0 < half < whole


# ── the studies ──


def test_the_ablation_has_every_combination_of_the_article_s_settings() -> None:
    study = STUDIES["claims-ablation"]()
    made = [study.scenario(Cell(row, "4000 images", 0), (("local.rate", "0.1"),)) for row in study.rows]
    settings = {(one.model.dropout, one.model.l2, one.schedule.args["halve"] == 3) for one in made}
    assert settings == set(itertools.product((0.0, 0.5), (0.0, 0.001), (False, True)))
    assert {one.schedule.args["stop"] > one.rounds for one in made} == {True}  # stopped in hindsight only
    alike = {replace(one, model=made[0].model, schedule=made[0].schedule).json() for one in made}
    assert len(load(made[0]).train) == 4000 and len(alike) == 1


def test_the_arms_of_batch_norm_differ_in_nothing_else() -> None:
    study = STUDIES["claims-norm"]()
    for column, clients in (("centralized", 1), ("federated", 10)):
        one, other = (study.scenario(Cell(row, column, 0), (("local.rate", "0.1"),)) for row in study.rows)
        assert (one.model.norm, other.model.norm, one.clients) == ("none", "batch", clients)
        assert replace(one, model=other.model) == other


# ── the table ──


def write_table(folder: Path, name: str, cells: list[dict[str, object]]) -> None:
    (folder / name).mkdir(parents=True)
    (folder / name / "table.json").write_text(json.dumps({"cells": cells}))


def test_what_each_factor_adds_is_the_mean_over_all_others_seed_by_seed(tmp_path: Path) -> None:
    adds = {"dropout": 0.01, "l2": -0.002, "halving": 0.0}
    cells = []
    for seed, on in itertools.product((0, 1, 2), itertools.product((False, True), repeat=3)):
        mine = [name for name, there in zip(FACTORS, on, strict=True) if there]
        share = 0.9 + sum(adds[name] for name in mine) + 0.001 * seed
        both = {"accuracy": share, "stopped": share + 0.004 + 0.001 * seed}
        cells.append({"row": "+".join(mine) or "none", "column": "4000 images", "seed": seed, **both})
    write_table(tmp_path, "claims-ablation", cells)
    found = {one.claim: one for one in claims.ablated(Cells(tmp_path, "claims-ablation"))}
    assert found["dropout 0.5 helps"].values == pytest.approx([1.0] * 3)
    assert found["dropout 0.5 helps"].row()[1:] == ["+1.00 points", "± 0.00 (3)", "helps"]
    assert found["L2 0.001 helps"].row()[3] == "harms"
    early = found["early stopping after 5, best weights restored, helps"]
    assert early.values == pytest.approx([0.4, 0.5, 0.6]) and early.row()[3] == "helps"
    # the last seed lacks a combination, so it does not count
    write_table(tmp_path / "less", "claims-ablation", cells[:-1])
    assert len(next(claims.ablated(Cells(tmp_path / "less", "claims-ablation"))).values) == 2


def test_what_is_not_measured_is_named_with_its_command(tmp_path: Path) -> None:
    rows = [one.row() for one in claims.studied(tmp_path)]
    assert len(rows) == 10 and {row[1] for row in rows} == {claims.OPEN}
    assert "`python -m scenarios.study claims-norm`" in {row[3] for row in rows}


def test_batch_norm_s_speed_is_the_share_of_steps_that_it_saves(tmp_path: Path) -> None:
    cells = [
        {"row": row, "column": "federated", "seed": seed, "examples_to_98_validation": count}
        for row, counts in (("no norm", (1000, 2000, 3000)), ("batch norm", (500, 1000, None)))
        for seed, count in enumerate(counts)
    ]
    write_table(tmp_path, "claims-norm", cells)
    found = next(one for one in claims.studied(tmp_path) if one.claim.endswith("federated"))
    assert found.values == pytest.approx([50, 50]) and found.row()[3] == "holds"


@pytest.mark.parametrize(
    "values, verdict",
    [
        ([42.0, 43.0, 42.0], "holds"),
        ([41.0, 42.0, 41.0], "open: 40 within the 95 % interval"),
        ([30.0, 50.0, 39.0], "open: 40 within the 95 % interval"),
        ([80.0, -20.0, 10.0], "open: 40 within the 95 % interval, and 0"),
        ([9.0, 9.1], "does not hold (40)"),
    ],
)
def test_a_verdict_needs_the_whole_interval(values: list[float], verdict: str) -> None:
    assert Found("claim", values, "%", claims.at_least(40)).row()[3] == verdict


def test_int8_is_compared_with_each_rival() -> None:
    files = {FLOAT: {"bytes": 900_000, "accuracy": 0.991}, INT8: {"bytes": 240_000, "accuracy": 0.99}}
    times = {INT8: 0.02, FLOAT: 0.04, claims.COMPILED: 0.3, claims.EAGER: 2.0, claims.PREDICT: 40.0}
    rows = [one.row() for one in claims.quantized([{"files": files, "ms": times}])]
    assert rows[0][1:] == ["3.75 times; 900 kB against 240, -0.10 points", "(1)", "does not hold (4)"]
    assert [row[3] for row in rows[1:]] == ["does not hold (3)", "holds", "holds", "holds"]
