"""FedSSI's surrogate: alone and free it walks as its client does, so importance is SI's; held, it ends where two pulls balance."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from clients.learner import learn
from clients.sources.simulated import Shard
from core.arrays import in_order
from core.config.part import Part
from core.config.scenario import Local, Scenario
from core.data import Examples, read
from core.methods.base import Memory
from core.methods.fedssi import FedSsi
from core.plan import Learned, Lesson, Pull, Rehearsal, draw
from core.scores import Sums
from fl.messages import Task
from tests.fakes import same
from tests.models import engine, initial, spec

BASE = Scenario(
    "two stages", clients=1, cohort=1, rounds=4, stream=Part("classes", {"per_task": 5}), local=Local(batch=16)
)


@pytest.fixture(scope="module")
def client_shard() -> Shard:
    return Shard(0, read("mnist")[0].take(np.arange(120)), np.zeros(0, np.float32), {})


def remembered(shard: Shard, method: Part, rounds: int, drift: float = 0.0) -> Memory:
    """What a client keeps after so many rounds; drift: what averaging adds to its weights in between."""
    memory, arrays, scenario = dict[str, Any](), initial(5), replace(BASE, methods=(method,))
    for number in range(1, rounds + 1):
        update, memory = learn(shard, Task(scenario, number, 0, 0.05, arrays), memory, engine)  # type: ignore[assignment]
        arrays = [w + np.float32(drift) for w in update.arrays]
    return memory


def test_free_and_in_a_federation_of_one_it_gathers_what_si_gathers(client_shard: Shard) -> None:
    ssi, si = (remembered(client_shard, Part(*one), 2) for one in (("fedssi", {"own": 1.0}), ("si", {})))
    for name in ("omega", "path", "moved"):
        assert same(in_order(name, ssi["fedssi"][0]), in_order(name, si["si"][0]))
    pulled = remembered(client_shard, Part("fedssi", {"own": 0.1}), 2)
    assert not same(in_order("omega", pulled["fedssi"][0]), in_order("omega", si["si"][0]))


def test_what_averaging_moves_is_no_step_of_the_surrogate(client_shard: Shard) -> None:
    """Free, it hears nothing of the weights that come: two rounds of it are two rounds of one path."""
    still, moved = (
        remembered(client_shard, Part("fedssi", {"own": 1.0}), 2, drift)["fedssi"][0] for drift in (0.0, 0.1)
    )
    assert same(in_order("omega", still), in_order("omega", moved))


def test_the_nearer_it_is_held_the_less_it_moves(client_shard: Shard) -> None:
    far = []
    for share in (1.0, 0.5, 0.1, 0.03):
        slot = remembered(client_shard, Part("fedssi", {"own": share}), 1)["fedssi"][0]
        far.append(sum(float(np.vdot(m, m)) for m in in_order("moved", slot)))
    assert far == sorted(far, reverse=True) and far[-1] < far[0] / 2


@pytest.mark.parametrize("own", [1.0, 0.5, 0.05])
def test_on_a_parabola_it_ends_in_balance_and_importance_is_what_that_way_is_worth(own: float) -> None:
    """F = a/2 · (v − b)² and q/2 · (v − w)²: from w to (a·b + q·w) / (a + q), and F fell by what the path integral says."""
    a, b, w, rate = 2.0, 3.0, -1.0, 0.001
    q = (1 - own) / (2 * own)
    start = [np.full(1, w, np.float32)]
    local = Local(momentum=0.0)
    lesson = Lesson(0, start, Examples.none(), np.zeros((0, 0)), 0, 1, rate, Scenario("parabola", local=local))
    method = FedSsi(spec(), own=own)
    ((begin, plan),) = method.auxiliary({}, lesson, draw(lesson, Pull.none(start), Rehearsal.none())).values()
    assert plan.path and begin == start
    v, path = w, 0.0
    slope, offset = (float(np.broadcast_to(part[0], 1)[0]) for part in (plan.pull.a, plan.pull.b))
    for _ in range(10_000):
        gradient = a * (v - b)
        step = -rate * (gradient + slope * v + offset)
        v, path = v + step, path - gradient * step
    assert v == pytest.approx((a * b + q * w) / (a + q), abs=1e-4)
    fell = a / 2 * ((w - b) ** 2 - (v - b) ** 2)
    assert path == pytest.approx(fell, rel=0.01)
    beside = Learned([np.full(1, v, np.float32)], Sums(), [np.full(1, path, np.float32)])
    slot = method.remember({}, lesson, Learned(start, Sums(), [], {"fedssi": beside}), engine)["fedssi"][0]
    assert in_order("omega", slot)[0][0] == pytest.approx(fell / ((v - w) ** 2 + method.damping), rel=0.01)


def test_a_round_in_which_it_diverges_is_as_one_in_which_it_took_no_step(client_shard: Shard) -> None:
    before = remembered(client_shard, Part("fedssi"), 1)
    lesson = Lesson(0, initial(0), client_shard.train, np.zeros((120, 0)), 0, 2, 0.1, BASE)
    broken = [w * np.float32("nan") for w in initial(0)]
    for weights, path in ((broken, initial(0)), (initial(0), broken)):
        beside = Learned(initial(0), Sums(), [], {"fedssi": Learned(weights, Sums(), path)})
        after = FedSsi(spec()).remember(before, lesson, beside, engine)["fedssi"][0]
        for name in ("omega", "path", "moved", "surrogate"):
            assert same(in_order(name, after), in_order(name, before["fedssi"][0]))


def test_no_step_carries_it_past_what_was_received(client_shard: Shard) -> None:
    """λ below which that would happen is as the least that is safe: the pull times the rate is 1 − momentum."""
    lesson = Lesson(0, initial(0), client_shard.train, np.zeros((120, 0), np.float32), 0, 1, 0.1, BASE)
    plan = draw(lesson, Pull.none(lesson.start), Rehearsal.none())
    for least in (1e-9, 0.04):
        ((_, beside),) = FedSsi(spec(), own=least).auxiliary({}, lesson, plan).values()
        assert all(a == pytest.approx((1 - BASE.local.momentum) / 0.1) for a in beside.pull.a)


def test_damping_out_of_range_is_refused_by_its_own_name() -> None:
    with pytest.raises(ValueError, match=r"damping = 0.0 of fedssi"):
        FedSsi(spec(), damping=0.0)


@pytest.mark.parametrize("own", [0.0, -1.0, 1.5, float("nan")])
def test_a_share_out_of_range_is_refused_by_name(own: float) -> None:
    with pytest.raises(ValueError, match=r"own = .* of fedssi"):
        FedSsi(spec(), own=own)
