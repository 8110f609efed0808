"""A round is decided before its first step: in full batches, evenly, by address."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.config.part import Part
from core.config.scenario import Local, Model, Scenario
from core.data import Examples, read
from core.plan import (
    Distillation,
    Lesson,
    Plan,
    Pull,
    Rehearsal,
    budget,
    draw,
    passes,
    rehearsed_size,
    steps,
    strengths,
)

START = [np.array([1, -2, 3], np.float32), np.array([[0.5, 0.25]], np.float32)]
SCENARIO = Scenario("plan", augment=(Part("rotate"),), local=Local(batch=8))


@pytest.fixture(scope="module")
def digits() -> Examples:
    return read("mnist")[1].take(np.arange(50))


@pytest.fixture(scope="module")
def lesson(digits: Examples) -> Lesson:
    strength = np.full((len(digits), 1), 0.5, np.float32)
    return Lesson(0, START, digits, strength, client=3, round=2, rate=0.1, scenario=SCENARIO)


def plain(lesson: Lesson, rehearsal: Rehearsal | None = None) -> Plan:
    return draw(lesson, Pull.none(lesson.start), rehearsal or Rehearsal.none())


def equal(one: Plan, other: Plan) -> bool:
    names = ("images", "order", "labels", "hard", "scale", "shift", "soft", "logits", "dropout_mask", "rate", "guard")
    return all(getattr(one, name).tobytes() == getattr(other, name).tobytes() for name in names)


@given(st.integers(1, 200), st.integers(1, 2000))
def test_no_row_comes_twice_before_all_have_come_once(examples: int, length: int) -> None:
    rows = passes(examples, length, np.random.default_rng(0))
    assert len(rows) == length
    times = np.bincount(rows, minlength=examples)
    assert times.max() - times.min() <= 1 and len(times) == examples
    for start in range(0, length - examples + 1, examples):
        assert len(set(rows[start : start + examples].tolist())) == examples


@pytest.mark.parametrize(
    "examples, batch, epochs, expected",
    [(320, 32, 1, 10), (330, 32, 1, 10), (340, 32, 1, 11), (5, 32, 1, 1), (320, 32, 0.5, 5), (320, 32, 2.5, 25)],
)
def test_steps_are_full_batches_and_at_least_one(examples: int, batch: int, epochs: float, expected: int) -> None:
    assert steps(examples, batch, epochs) == expected


def test_a_plan_says_all_of_its_round(lesson: Lesson) -> None:
    plan = plain(lesson)
    assert plan.order.tolist() == np.arange(48).reshape(6, 8).tolist() and plan.order.dtype == np.int32
    assert plan.images.shape == (48, 28, 28) and plan.images.dtype == np.uint8
    assert (plan.hard == 1).all() and not plan.soft.any() and not plan.logits.any()
    assert plan.rate.tolist() == [np.float32(0.1)] * 6 and (plan.dropout_mask == 1).all()


def test_an_image_keeps_its_label(lesson: Lesson, digits: Examples) -> None:
    plan = plain(replace(lesson, strength=np.zeros((len(digits), 1), np.float32)))
    labels = {image.tobytes(): label for image, label in zip(digits.x, digits.y.tolist(), strict=True)}
    assert [labels[image.tobytes()] for image in plan.images] == plan.labels.tolist()


def test_the_same_address_draws_the_same_plan(lesson: Lesson) -> None:
    assert equal(plain(lesson), plain(lesson))


@pytest.mark.parametrize("name, value", [("client", 4), ("round", 3), ("scenario", replace(SCENARIO, seed=1))])
def test_another_client_round_or_seed_draws_another_plan(lesson: Lesson, name: str, value: object) -> None:
    other = plain(replace(lesson, **{name: value}))  # type: ignore[arg-type]
    assert not equal(plain(lesson), other)
    assert plain(lesson).labels.tolist() != other.labels.tolist()


def test_dropout_silences_its_share_and_keeps_the_mean(lesson: Lesson) -> None:
    scenario = replace(SCENARIO, model=Model(dropout=0.25), local=Local(batch=8, epochs=20))
    dropout_mask = plain(replace(lesson, scenario=scenario)).dropout_mask
    assert dropout_mask.shape == (125, 8, 128) and dropout_mask.dtype == np.float32
    assert set(np.unique(dropout_mask).tolist()) == {0.0, float(np.float32(1) / np.float32(0.75))}
    assert (dropout_mask == 0).mean() == pytest.approx(0.25, abs=0.01)  # 128,000 draws: 8 standard deviations
    assert len({mask.tobytes() for step in dropout_mask for mask in step}) == 1000


def test_rehearsed_rows_take_their_share_of_every_batch(lesson: Lesson, digits: Examples) -> None:
    old = Examples(np.full((5, 28, 28), 7, np.uint8), np.full(5, 9))
    teacher = np.arange(50, dtype=np.float32).reshape(5, 10)
    soft = np.ones((5, 10), np.float32)
    plain_lesson = replace(lesson, typical=np.zeros(1, np.float32))
    plan = plain(plain_lesson, Rehearsal(old, np.zeros(5, np.float32), soft, teacher, share=0.25))
    assert plan.order.shape == (6, 8)  # as without: the two in every batch take the place of own ones
    assert plan.order[:, :6].ravel().tolist() == list(range(36))
    assert plan.order[:, 6:].ravel().tolist() == list(range(36, 48))  # each a fresh view
    assert np.array_equal(plan.images[36:], np.full((12, 28, 28), 7)) and plan.labels[36:].tolist() == [9] * 12
    assert plan.hard.tolist() == [1] * 36 + [0] * 12 and plan.soft.sum(1).tolist() == [0] * 36 + [10] * 12
    taught = [row.tobytes() for row in plan.logits[36:]]
    assert sorted(taught.count(row.tobytes()) for row in teacher) == [2, 2, 2, 3, 3] and not plan.logits[:36].any()


@given(st.integers(0, 40), st.integers(0, 40), st.floats(0, 1), st.floats(0.1, 3))
def test_what_is_rehearsed_takes_no_step_more(own: int, old: int, share: float, epochs: float) -> None:
    scenario = Scenario("budget", local=Local(batch=8, epochs=epochs))
    blank = [Examples(np.zeros((n, 28, 28), np.uint8), np.zeros(n, np.int64)) for n in (own, old)]
    lesson = Lesson(0, START, blank[0], np.zeros((own, 0), np.float32), 3, 2, 0.1, scenario)
    plan = plain(lesson, Rehearsal.labels(blank[1], share))
    assert len(plan.order) == budget(scenario, own) == (max(1, round(own * epochs / 8)) if own else 0)
    assert plan.order.size == 8 * len(plan.order)


def test_a_client_with_nothing_of_its_own_rests_or_only_rehearses_as_the_scenario_says(
    lesson: Lesson, digits: Examples
) -> None:
    nothing, old = (
        replace(lesson, examples=digits.take(np.arange(0))),
        Rehearsal.labels(digits.take(np.arange(20)), 0.25),
    )
    assert len(plain(nothing, old).order) == 0 and not len(plain(nothing, old).images)
    busy = replace(nothing, scenario=replace(SCENARIO, idle="rehearse"))
    plan = plain(busy, old)
    assert plan.order.shape == (2, 8) and plan.hard.tolist() == [1] * 16
    assert len(plain(busy).order) == 0


def test_guarded_rows_are_looked_at_and_not_learned(lesson: Lesson, digits: Examples) -> None:
    plan = draw(lesson, Pull.none(START), Rehearsal.none(), guard=digits.take(np.arange(5)))
    assert plan.guard.tolist() == np.arange(48, 78).reshape(6, 5).tolist()
    assert all(sorted(labels) == sorted(digits.y[:5]) for labels in plan.labels[plan.guard].tolist())
    assert not plan.hard[48:].any() and plan.order.max() == 47


def test_guarded_rows_are_seen_in_views_as_fresh_as_all_others(lesson: Lesson, digits: Examples) -> None:
    plan = draw(lesson, Pull.none(START), Rehearsal.none(), guard=digits.take(np.arange(2)))
    assert len({view.tobytes() for view in plan.images[plan.guard.ravel()]}) == 12  # two images in six steps
    still = draw(replace(lesson, typical=0.0), Pull.none(START), Rehearsal.none(), guard=digits.take(np.arange(2)))
    assert {view.tobytes() for view in still.images[still.guard.ravel()]} == {image.tobytes() for image in digits.x[:2]}


def test_a_teacher_is_asked_about_the_views_that_are_learned(lesson: Lesson) -> None:
    def distil(seen: Examples) -> Distillation:
        assert len(seen) == 48
        return Distillation(np.ones((48, 1), np.float32), seen.x.sum((1, 2), dtype=np.float32)[:, None])

    plan = draw(lesson, Pull.none(START), Rehearsal.none(), distil=distil)
    assert np.array_equal(plan.logits[:, 3], plan.images.sum((1, 2), dtype=np.float32)) and (plan.soft == 1).all()


@pytest.mark.parametrize("share", [0.0, 0.5, 1.0])
def test_a_rehearsal_of_nothing_is_no_rehearsal(lesson: Lesson, share: float) -> None:
    assert equal(plain(lesson), plain(lesson, replace(Rehearsal.none(), share=share)))


def test_even_a_full_share_leaves_a_place_for_what_is_new(lesson: Lesson) -> None:
    old = Examples(np.zeros((3, 28, 28), np.uint8), np.zeros(3, np.int64))
    plan = plain(lesson, Rehearsal.labels(old, 1.0))
    assert plan.order.shape == (6, 8) and ((plan.order < 6).sum(1) == 1).all()


@given(st.floats(0, 100, width=32), st.lists(st.floats(-10, 10, width=32), min_size=3, max_size=3))
def test_the_gradient_of_a_pull_is_its_strength_times_the_distance(mu: float, at: list[float]) -> None:
    w = np.array(at, np.float32)
    pull = Pull.towards(START, mu)
    assert pull.a[0] * w + pull.b[0] == pytest.approx(mu * (w - START[0]), rel=1e-5, abs=1e-3)
    assert not (pull.a[0] * START[0] + pull.b[0]).any()  # at its target it is exactly at rest


def test_a_pull_of_no_strength_is_no_pull() -> None:
    pull = Pull.towards(START, 0.0)
    assert not any(part.any() for part in (*pull.a, *pull.b))


def test_pulls_add_up() -> None:
    w = [np.array([3, 4, 5], np.float32), np.array([[6, 7]], np.float32)]
    both = Pull.towards(START, 0.5) + Pull.towards(w, 2.0)
    for a, b, start, target in zip(both.a, both.b, START, w, strict=True):
        assert a * 10 + b == pytest.approx(0.5 * (10 - start) + 2.0 * (10 - target))


def test_strengths_are_a_clients_own_and_at_least_half() -> None:
    parts = (Part("rotate"), Part("shift"))
    drawn = np.stack([strengths(parts, 0, client) for client in range(200)])
    assert drawn.shape == (200, 2) and drawn.dtype == np.float32
    assert drawn.min() >= 0.5 and drawn.max() <= 1 and len(np.unique(drawn)) > 390
    assert np.array_equal(drawn[7], strengths(parts, 0, 7)) and not np.array_equal(drawn[7], strengths(parts, 1, 7))


@given(st.lists(st.floats(0, 1e6), min_size=1, max_size=5), st.floats(0, 0.99), st.floats(1e-4, 1))
def test_pulls_together_carry_no_weight_past_where_they_hold_it(
    strengths: list[float], momentum: float, rate: float
) -> None:
    """However many there are, and however strong: one step of the largest effective size ends at the target at most."""
    target, most = [np.float32([2, -3])], (1 - momentum) / rate
    total = sum((Pull.towards(target, one) for one in strengths), Pull.none(target))
    held = total.stable(momentum, rate)
    (a,), (b,) = held.a, held.b
    assert a <= most * (1 + 1e-5) and (np.float32(sum(strengths)) > most * (1 + 1e-5) or held is total)
    assert a < 1e-6 or -b / a == pytest.approx(target[0], rel=1e-4)


@pytest.mark.parametrize(
    ("batch", "share", "rows"), [(32, 0.5, 16), (8, 0.05, 1), (2, 0.25, 1), (1, 0.5, 0), (8, 0.0, 0), (8, 1.0, 7)]
)
def test_of_what_is_to_be_rehearsed_a_batch_has_a_row_at_least_where_there_is_room(
    lesson: Lesson, digits: Examples, batch: int, share: float, rows: int
) -> None:
    small = replace(lesson, scenario=replace(lesson.scenario, local=replace(lesson.scenario.local, batch=batch)))
    assert rehearsed_size(small, Rehearsal.labels(digits.take(np.arange(5)), share)) == rows
