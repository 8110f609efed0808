"""What methods' server halves believe: every answer of an honest client, to the bit; of others only what images could give."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from core.arrays import Arrays
from core.config.part import Part
from core.config.scenario import Scenario
from core.data import Examples, read
from core.methods import METHODS
from core.methods.base import Finetune, Received, Request
from core.methods.sums import unpacked
from core.plan import Learned, Lesson
from core.scores import Sums
from server.rounds import _server_updated
from tests.fakes import federate, same
from tests.models import engine, initial, spec

START = initial(3)
LESSON = Lesson(0, START, Examples(np.zeros((0, 28, 28)), np.zeros(0)), np.zeros((0, 0)), 5, 1, 0.1, Scenario("accept"))
SENDING = [name for name in METHODS if Part(name).build("methods", METHODS, spec()).shapes(START)]
HEADS = ["acil", "slda", "stsa"]


@pytest.fixture(scope="module")
def digits() -> Examples:
    train, _ = read("mnist")
    return train.take(np.arange(60))


def honest(name: str, digits: Examples) -> tuple[Finetune, Arrays]:
    """A method, and what an honest client sends for it after a round on these digits."""
    method: Finetune = Part(name, {"warm": 0} if name in HEADS else {}).build("methods", METHODS, spec())
    lesson, learned = replace(LESSON, examples=digits), Learned([w * np.float32(1.01) for w in START], Sums(), [])
    memory = method.remember({}, lesson, learned, engine)
    return method, list(method.upload(memory, lesson, learned, engine)[name])


def received(examples: int = 60, **fields: Any) -> Received:
    """A reply from such a client to the weights START."""
    request = Request(replace(LESSON.scenario, max_update_ratio=2.0), 1, 0.1, START, {})
    return Received(
        **{
            "request": request,
            "arrays": START,
            "own_examples": examples,
            "examples": examples,
            "steps": 1,
            "max_examples": math.inf,
            **fields,
        }
    )


def accept(method: Finetune, name: str, arrays: Arrays, examples: int = 60, **fields: Any) -> Arrays:
    return list(method.accept({name: arrays}, received(examples, **fields))[name])


def test_who_sends_is_tried_here() -> None:
    assert set(SENDING) == {*HEADS, "fedcurv", "fedagem"}


@pytest.mark.parametrize("name", SENDING)
def test_an_honest_answer_is_taken_to_the_bit(name: str, digits: Examples) -> None:
    for count in (1, 60):
        method, sent = honest(name, digits.take(np.arange(count)))
        assert same(accept(method, name, sent, count)[: len(sent)], sent)  # a layer that was drawn may follow
        if name in HEADS:
            assert same(accept(method, name, sent, count, stage_examples=(count,))[: len(sent)], sent)
    assert method.accept({}, received()) == {}


@pytest.mark.parametrize("extreme", [0, 255])
def test_no_image_has_a_larger_feature_than_the_largest(extreme: int, digits: Examples) -> None:
    odd = np.random.default_rng(0).choice(np.array([0, 255], np.uint8), (200, 28, 28))
    images = np.concatenate([digits.x, np.full((1, 28, 28), extreme, np.uint8), odd])
    for weights in (START, initial(4), [5 * w for w in START]):
        assert (engine.features(weights, images) <= spec().largest_features(weights) * 1.001).all()


def test_sums_of_a_client_whose_count_was_capped_weigh_as_much_less(digits: Examples) -> None:
    """Here, 60 images where 15 are believed; of how many stages they are does not matter."""
    method, sent = honest("acil", digits)
    for own in (60, 12, 0):
        gram, cross, stage = accept(method, "acil", sent, own, max_examples=15.0)
        assert same([gram * 4, cross * 4, stage], sent)
    assert (
        method.accept({"acil": sent}, received(0, max_examples=0.0)) == {}
    )  # nobody has any: they are asked for again


@pytest.mark.parametrize("name", HEADS)
def test_sums_of_several_stages_are_of_just_the_images_that_the_server_lacks(name: str, digits: Examples) -> None:
    """In simulation: 25, 20 and 15 images of three stages, of which it has none, the first, or the first two."""
    method, _ = honest(name, digits)
    for absorbed, images in ((-1, 60), (0, 35), (1, 15)):
        _, sent = honest(name, digits.take(np.arange(60 - images, 60)))
        shared = {f"{name}/absorbed": np.array([[4, 9], [5, absorbed]])}
        fields = {"request": replace(received().request, shared=shared), "client": 5, "stage_examples": (25, 20, 15)}
        assert same(accept(method, name, sent, 15, **fields)[: len(sent)], sent)
        for other in (15, 35, 60):
            if other != images:
                _, lie = honest(name, digits.take(np.arange(other)))
                with pytest.raises(ValueError, match=f"not of {images} images"):
                    accept(method, name, lie, 15, **fields)


@pytest.mark.parametrize("name", HEADS)
def test_nobody_freezes_a_body_that_still_trains(name: str, digits: Examples) -> None:
    _, sent = honest(name, digits)
    method = Part(name, {"warm": 2}).build("methods", METHODS, spec())
    early, done = ({"request": replace(received().request, round=round)} for round in (2, 3))
    with pytest.raises(ValueError, match="a body that still trains"):
        accept(method, name, sent, **early)  # type: ignore[arg-type]
    assert accept(method, name, sent, **done)  # type: ignore[arg-type]
    # Of a run that this one goes on from
    fields = {"request": replace(early["request"], shared={f"{name}/gram": np.zeros(1)})}
    assert accept(method, name, sent, **fields)  # type: ignore[arg-type]


def test_on_devices_sums_are_of_its_own_images_at_least_and_no_more_than_anybody_has(digits: Examples) -> None:
    method, sent = honest("acil", digits)
    assert same(accept(method, "acil", sent, 45), sent)
    request = replace(received().request, scenario=replace(LESSON.scenario, max_examples=59))
    for fields in ({"examples": 61}, {"request": request, "examples": 10}):
        with pytest.raises(ValueError, match="its sums are of 60 images, not"):
            accept(method, "acil", sent, **fields)  # type: ignore[arg-type]


def changed(index: int, change: Any) -> Any:
    return lambda sent: [change(array.copy()) if i == index else array for i, array in enumerate(sent)]


def at(index: Any, value: float) -> Any:
    def change(array: np.ndarray) -> np.ndarray:
        array[index] = value
        return array

    return change


LAST = -1  # of the packed triangle: how many images
LIES = {
    "another number of images": (HEADS, changed(0, at(LAST, 61)), "not of 61 images"),
    "fewer images than its own": (HEADS, changed(0, at(LAST, 59)), "of 59 images"),
    "a part of an image": (HEADS, changed(0, at(LAST, 60.5)), "of 60.5 images"),
    "images without number": (HEADS, changed(0, at(LAST, 1e30)), "of 1e[+]30 images"),
    "more images of a class": (HEADS, changed(1, at((-1, 3), 1e6)), "not of 60 images"),
    "half an image": (
        HEADS,
        changed(1, lambda a: a + np.eye(1, 10, dtype="f4") / 2 - np.eye(1, 10, 1, dtype="f4") / 2),
        "images",
    ),
    "giant features": (
        HEADS,
        lambda sent: [sent[0] * 1, at(slice(0, 5), 1e30)(sent[1].copy()), sent[2]],
        "no image has",
    ),
    "negative features": (HEADS, changed(1, at((0, 0), -1.0)), "no image has"),
    "giant squares": (HEADS, changed(0, at(0, 1e30)), "no image has"),
    "classes that do not add up": (
        HEADS,
        changed(1, lambda a: np.concatenate([a[:-1] * 0.5, a[-1:]])),
        "do not add up",
    ),
    "products of no features": (HEADS, changed(0, at(7 * 8 // 2 + 2, -1e6)), "products"),
    "a stage that is none": (HEADS, changed(2, at(0, 0.5)), "stage 0.5"),
    "a negative stage": (HEADS, changed(2, at(0, -1)), "stage -1"),
    "negative information": (["fedcurv"], changed(1, at(0, -1.0)), "Fisher"),
    "giant information": (["fedcurv"], changed(1, at(0, 1e30)), "Fisher"),
    "products without information": (
        ["fedcurv"],
        lambda sent: [*(0 * f for f in sent[:8]), *(p + 3e38 for p in sent[8:])],
        "no info",
    ),
    "a gradient of no images": (["fedagem"], changed(1, at(0, 1e7)), "gradient is"),
    "a far anchor": (
        ["fedcurv"],
        lambda sent: [*sent[:8], *(1e6 * p + 1 for p in sent[8:])],
        "away, more than 2|single weights",
    ),
}


@pytest.mark.parametrize("lie, name", [(lie, name) for lie, (names, *_) in LIES.items() for name in names])
def test_what_no_images_can_give_is_refused(lie: str, name: str, digits: Examples) -> None:
    method, sent = honest(name, digits)
    _, change, words = LIES[lie]
    with pytest.raises(ValueError, match=words):
        accept(method, name, change(sent))


def test_a_head_longer_than_that_of_any_images_is_refused(digits: Examples) -> None:
    """Sums so near to cancelling the ridge that the head would be anything."""
    method, sent = honest("acil", digits)
    gram, cross = unpacked(sent[0].astype(np.float64)), sent[1].astype(np.float64)
    acil: Any = method
    acil.solve(gram, cross)
    lowest = np.linalg.eigh(gram)[1][:, :1]
    acil.solve(gram - 0.05 * lowest @ lowest.T, cross)
    with pytest.raises(ArithmeticError, match="the head is"):
        acil.solve(gram - (0.1 - 1e-9) * lowest @ lowest.T, cross + 1e-3 * lowest)


def test_nobody_holds_all_others_by_giant_information(digits: Examples) -> None:
    method, sent = honest("fedcurv", digits)
    giant = [1000 * array for array in sent]
    answers = {0: {"fedcurv": sent}, 1: {"fedcurv": sent}, 2: {"fedcurv": giant}, 3: {}}
    balanced = method.balance(answers, 10.0)
    assert balanced[0] is answers[0] and balanced[3] == {}
    total = [sum(float(f.sum()) for f in list(balanced[c]["fedcurv"])[:8]) for c in (0, 2)]
    assert total[1] == pytest.approx(10 * total[0], rel=1e-3)


def test_no_gradient_is_all_of_the_sum(digits: Examples) -> None:
    method, sent = honest("fedagem", digits)
    answers = {0: {"fedagem": sent}, 1: {"fedagem": sent}, 2: {"fedagem": [-1000 * slope for slope in sent]}, 3: {}}
    balanced = method.balance(answers, 10.0)
    assert balanced[0] is answers[0] and balanced[3] == {}
    assert np.allclose(balanced[2]["fedagem"][4], -10 * sent[4], rtol=1e-3)
    shared, _ = method.server_update({}, balanced, START)
    assert np.allclose(method.download(shared, 7)["fedagem"][4], -8 * sent[4], rtol=1e-3, atol=1e-6)


@pytest.mark.parametrize("name", SENDING)
@pytest.mark.parametrize("seed", range(8))
def test_whatever_is_sent_what_the_server_keeps_is_finite(name: str, seed: int, digits: Examples) -> None:
    """Noise of all sizes on an honest answer, or instead of it: refused, or harmless."""
    method, sent = honest(name, digits)
    noise = np.random.default_rng(seed)
    size = np.float32(10.0 ** noise.integers(-8, 38))
    odd = [(w * noise.integers(0, 2) + size * noise.standard_normal(w.shape)).astype(np.float32) for w in sent]
    try:
        taken = {9: {name: accept(method, name, odd)}}
    except ValueError:
        return
    kept, arrays, failed = _server_updated(method, {}, taken, START)
    assert all(np.isfinite(array).all() for array in (*kept.values(), *arrays)) and not failed


@pytest.mark.slow
@pytest.mark.parametrize("methods", [*HEADS, "fedcurv", "fedagem"])
def test_a_run_of_honest_clients_refuses_nobody(methods: str, tiny: Scenario, tmp_path: Path) -> None:
    """Also where stages follow one another, and weights move far from where earlier stages left them."""
    scenario = replace(
        tiny, cohort=4, rounds=6, stream=Part("classes", {"per_task": 5}), methods=(Part(methods),), augment=(), looks=(),
        max_update_ratio=2.0,
    )  # fmt: skip
    report = federate(scenario, tmp_path)
    assert report.events == () and all(len(row.clients) == 4 for row in report.history)
