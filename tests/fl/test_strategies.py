"""Strategies by name: arguments checked at the door, weights finite, state that can be put back."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from core.config.part import Part
from core.config.scenario import Scenario
from fl import strategies
from fl.strategies import STRATEGIES
from server import checkpoint
from server.checkpoint import RunState
from tests.fakes import START, FakeGrid, play, same

SCENARIO = Scenario("strategies", clients=9, cohort=7, rounds=3)


NAMES = [name for name in STRATEGIES if name != "fedbn"]  # which needs a model with norms: tests/server/test_run.py


@pytest.mark.parametrize("name", NAMES)
def test_state_put_back_goes_on_as_if_never_taken(name: str, tmp_path: Path) -> None:
    scenario = Scenario("strategies", clients=9, cohort=7, rounds=4, strategy=Part(name))
    whole = play(FakeGrid(), scenario)
    half = play(FakeGrid(), scenario)[:2]
    checkpoint.save(tmp_path, RunState(2, half[-1].arrays, half[-1].strategy, half[-1].shared))
    state, damaged = checkpoint.newest(tmp_path)
    assert state and not damaged
    for one, other in zip([*half, *play(FakeGrid(), scenario, state=state)], whole, strict=True):
        assert same(one.arrays, other.arrays)


@pytest.mark.parametrize("name", NAMES)
def test_weights_stay_finite_and_keep_their_kind(name: str) -> None:
    done = play(FakeGrid(), Scenario("strategies", clients=9, cohort=7, rounds=3, strategy=Part(name)))
    for w, start in zip(done[-1].arrays, START, strict=True):
        assert w.dtype == np.float32 and w.shape == start.shape and np.isfinite(w).all()
    assert not same(done[1].arrays, done[0].arrays)  # in the last round nobody trains under ccvr


IMPOSSIBLE = [
    ("fedsum", {}, 5, "unknown strategy 'fedsum'; did you mean fedrs? choose from bulyan, ccvr, ditto, fedadagrad"),
    ("fedavg", {"mu": 1}, 5, "'mu'; choose from (it has none)"),
    ("fedprox", {"mu": -0.1}, 5, "strategy.mu = -0.1"),
    ("fedprox", {"mu": "x"}, 5, "strategy.mu = 'x' should be a number"),
    ("fedavgm", {"momentum": 1.0}, 5, "strategy.momentum = 1.0"),
    ("fedavgm", {"rate": -1.0}, 5, "strategy.rate = -1.0"),
    ("fedadam", {"beta_1": 1.0}, 5, "strategy.beta_1 = 1.0"),
    ("fedyogi", {"beta_2": -0.5}, 5, "strategy.beta_2 = -0.5"),
    ("fedadam", {"tau": 0.0}, 5, "strategy.tau = 0.0"),
    ("fedadagrad", {"rate": 101.0}, 5, "strategy.rate = 101.0"),
    ("fedtrimmedavg", {"beta": 0.5}, 5, "strategy.beta = 0.5"),
    ("fedrs", {"alpha": 1.1}, 5, "strategy.alpha = 1.1"),
    ("fedlc", {"tau": -1.0}, 5, "strategy.tau = -1.0"),
    ("ccvr", {"rate": -0.1}, 5, "strategy.rate = -0.1"),
    ("krum", {}, 4, "cohort of at least 5 (2·malicious + 3), not 4"),
    ("krum", {"malicious": -1}, 5, "strategy.malicious = -1"),
    ("multikrum", {"selected": 6}, 5, "strategy.selected = 6 should be 0 … 4"),
    ("multikrum", {"selected": -1}, 5, "strategy.selected = -1"),
    ("bulyan", {}, 6, "cohort of at least 7 (4·malicious + 3), not 6"),
]


@pytest.mark.parametrize("name, args, cohort, words", IMPOSSIBLE)
def test_impossible_arguments_are_refused_with_their_value(
    name: str, args: dict[str, Any], cohort: int, words: str
) -> None:
    with pytest.raises(ValueError) as caught:
        strategies.build(Scenario("strategies", cohort=cohort, clients=cohort, strategy=Part(name, args)))
    assert words in str(caught.value)


def test_they_are_refused_without_flower() -> None:
    program = f"""
import sys
from core.config.part import Part
from core.config.scenario import Scenario
from fl import strategies
for name, args, cohort, _ in {IMPOSSIBLE!r}:
    try:
        strategies.build(Scenario("strategies", cohort=cohort, clients=cohort, strategy=Part(name, args)))
    except ValueError:
        continue
    sys.exit(name + " was not refused")
print(sorted({{"flwr", "ray", "tensorflow"}} & set(sys.modules)))
"""
    home = Path(__file__).parents[2]
    done = subprocess.run([sys.executable, "-c", program], cwd=home, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
