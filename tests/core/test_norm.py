"""Batch norm and group norm: closed forms, Keras as oracle, statistics that federate, and what goes out."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

from clients.learner import learn
from clients.sources.simulated import shard
from core.arrays import Arrays
from core.config.part import Part
from core.config.scenario import Local, Model, Scenario
from core.data import Examples, load, read
from core.engines import default, get, step, step_file, training_step
from core.methods import METHODS
from core.models import MODELS, ModelSpec, of, stock
from core.models.keras import keras_model
from core.models.layers import Conv, Dense, Flatten, Pool
from core.models.norm import EPSILON, Norm
from core.plan import Lesson, Plan, Pull, Rehearsal, draw
from core.seeds import rng
from fl import strategies
from fl.channel import Stopped
from fl.messages import Task
from fl.strategies import STRATEGIES, Contribution
from scenarios.check import check, without_effect
from server.export import EXPORTERS, export
from tests.fakes import Onlooker, federate, identify, same

BATCH = 16
NORMED = ["batch", "group"]


def small(image: tuple[int, int], classes: int) -> ModelSpec:
    """A convolution with a pool, one without, three dense layers"""
    layers = (
        Conv("one", 4), Pool("pool"), Conv("two", 6), Flatten(),
        Dense("wide", 20), Dense("hidden", 30), Dense("logits", classes, relu=False),
    )  # fmt: skip
    return ModelSpec("small", image, classes, layers)


@pytest.fixture
def scenario(monkeypatch: pytest.MonkeyPatch) -> Scenario:
    """One whose model is small and has batch norms."""
    monkeypatch.setitem(MODELS, "small", small)
    return Scenario(
        "norm", model=Model("small", norm="batch"), train=300, test=100, validation=100, clients=2, cohort=2, rounds=2,
        local=Local(batch=BATCH), partition=Part("iid"),
    )  # fmt: skip


@pytest.fixture(scope="module")
def digits() -> Examples:
    return read("mnist")[0].take(np.arange(96))


def grouped(scenario: Scenario) -> Scenario:
    return replace(scenario, model=replace(scenario.model, norm="group"))


def first(scenario: Scenario) -> Arrays:
    """Weights on which nothing is 0 or 1 by accident; scales of both signs, statistics that something can have."""
    model, draw = of(scenario), rng(5, "norm")
    found = [w + draw.normal(0, 0.3, w.shape).astype(np.float32) * (w.ndim == 1) for w in model.initial(3)]
    for i in model.norms():
        if model.names[i].endswith("scale"):
            found[i] = found[i] * np.where(np.arange(len(found[i])) % 2, 1, -1).astype(np.float32)
        if model.names[i].endswith("square"):
            found[i] = np.float32(0.4) + found[i - 1] ** 2
    return found


def planned(scenario: Scenario, start: Arrays, examples: Examples, pull: Pull | None = None) -> Plan:
    strength = np.zeros((len(examples), 0), np.float32)
    lesson = Lesson(0, start, examples, strength, 0, 1, scenario.local.rate, scenario)
    return draw(lesson, pull or Pull.none(start), Rehearsal.none())


def statistics(scenario: Scenario, arrays: Arrays) -> Arrays:
    return [arrays[i] for i in sorted(of(scenario).statistics)]


# ── what they compute ──


def test_arrays_are_named_and_those_that_take_no_gradient_are_known(scenario: Scenario) -> None:
    model = of(scenario)
    kinds = ("scale", "shift", "mean", "square")
    assert [model.names[i] for i in model.norms()] == [f"{b}_norm/{k}" for b in ("one", "two", "wide") for k in kinds]
    assert [model.names[i].split("/")[1] for i in sorted(model.statistics)] == ["mean", "square"] * 3
    assert of(grouped(scenario)).statistics == frozenset() and len(of(grouped(scenario)).norms()) == 6
    assert of(replace(scenario, model=Model("small"))).norms() == () and model.dense == 2


@pytest.mark.parametrize("groups", [0, 2])
def test_the_norm_of_a_constant_is_the_shift(groups: int) -> None:
    norm = Norm("n", groups)
    scale, shift = np.float32([1, -2, 3, 4]), np.float32([5, 6, 7, 8])
    arrays, x = [scale, shift, *norm.initial(4)[2:]], tf.fill([3, 5, 5, 4], 2.5)
    y = norm.forward(stock, arrays, x) if groups else norm.over_batch(stock, arrays, x)[0]
    assert np.array_equal(y.numpy(), np.broadcast_to(shift, (3, 5, 5, 4)))


def test_batch_norm_in_training_and_in_evaluation_is_that_of_keras(digits: Examples) -> None:
    x = tf.constant(np.random.default_rng(0).normal(1, 2, (8, 5, 5, 3)).astype(np.float32))
    keras, norm = tf.keras.layers.BatchNormalization(epsilon=EPSILON), Norm("n")
    keras.build(x.shape)
    scale, shift, mean, spread = np.float32([[1, -2, 3], [4, 5, 6], [0.5, 1, 2], [1, 2, 3]])
    keras.set_weights([scale, shift, mean, spread])
    arrays = [scale, shift, mean, spread + mean**2]
    assert norm.forward(stock, arrays, x).numpy() == pytest.approx(keras(x).numpy(), abs=1e-5)
    y, (seen, square) = norm.over_batch(stock, arrays, x)
    assert y.numpy() == pytest.approx(keras(x, training=True).numpy(), abs=1e-5)
    assert seen.numpy() == pytest.approx(x.numpy().mean((0, 1, 2)), abs=1e-6)
    assert square.numpy() == pytest.approx((x.numpy() ** 2).mean((0, 1, 2)), rel=1e-6)


def twin(model: ModelSpec, weights: Arrays) -> tf.keras.Model:
    """The model of Keras with its norms in it; Keras has variances."""
    layers = [
        tf.keras.layers.BatchNormalization(epsilon=EPSILON) if isinstance(layer, Norm) else layer.keras(None)
        for layer in model.layers
    ]
    made = tf.keras.Sequential([tf.keras.Input((*model.image, 1)), *layers])
    squares = [i for i, name in enumerate(model.names) if name.endswith("square")]
    made.set_weights([w - weights[i - 1] ** 2 if i in squares else w for i, w in enumerate(weights)])
    return made


def test_a_step_is_the_one_that_keras_takes(scenario: Scenario, digits: Examples) -> None:
    """Everything that takes a gradient; a pull on statistics does nothing, whatever it says."""
    model, start = of(scenario), first(scenario)
    plan = planned(scenario, start, digits.take(np.arange(BATCH)))
    keras, x = twin(model, start), plan.images[plan.order[0], ..., None] / np.float32(255)
    with tf.GradientTape() as tape:
        z = keras(x, training=True)
        loss = tf.reduce_mean(tf.nn.sparse_softmax_cross_entropy_with_logits(plan.labels[plan.order[0]], z))
    slopes = [g.numpy() for g in tape.gradient(loss, keras.trainable_weights)]
    wanted = [w - plan.rate[0] * g for w, g in zip(model.trainable(start), slopes, strict=True)]
    ours = default(scenario).train(start, plan).weights
    for mine, other in zip(model.trainable(ours), wanted, strict=True):
        assert mine == pytest.approx(other, abs=2e-6)
    a = [np.full(w.shape, 9 if i in model.statistics else 0, np.float32) for i, w in enumerate(start)]
    pull = Pull(a, [-one * w for one, w in zip(a, start, strict=True)])
    assert same(default(scenario).train(start, replace(plan, pull=pull)).weights, ours)


def test_the_statistics_of_two_clients_pooled_are_those_of_all_their_images(
    scenario: Scenario, digits: Examples
) -> None:
    """Of the first norm exactly, at rate 0, whoever has how many; what the later ones see depends on batches."""
    still = replace(scenario, local=Local(batch=BATCH, rate=0.0))
    start, engine = first(still), default(still)

    def trained(examples: Examples) -> Arrays:
        plan = replace(planned(still, start, examples), path=True, momentum=0.9)
        learned = engine.train(start, plan)
        model = of(still)
        assert same(model.trainable(learned.weights), model.trainable(start))
        assert all(not learned.path[i].any() for i in model.statistics) and len(learned.path) == len(start)
        return learned.weights

    few, many = digits.take(np.arange(32)), digits.take(np.arange(32, 96))
    both = [Contribution(0, trained(few), 32.0, 1), Contribution(1, trained(many), 64.0, 2)]
    identify()
    _, pooled = strategies.aggregate(still, strategies.build(still), {}, start, both, 1)
    for ours, all_ in zip(statistics(still, pooled)[:2], statistics(still, trained(digits))[:2], strict=True):
        assert ours == pytest.approx(all_, rel=1e-5, abs=1e-7)
    assert not np.allclose(both[0].arrays[4], both[1].arrays[4], rtol=1e-2)  # they are not alike


def test_fixed_statistics_stay_and_are_what_training_goes_by(scenario: Scenario, digits: Examples) -> None:
    late = replace(scenario, model=replace(scenario.model, fix_norm=1))
    start, engine = first(late), default(late)
    plan = planned(late, start, digits.take(np.arange(BATCH)))
    assert plan.fixed_norm and not planned(scenario, start, digits).fixed_norm
    learned = engine.train(start, plan)
    assert same(statistics(late, learned.weights), statistics(late, start))
    z = engine.logits(start, plan.images[plan.order[0]])
    cross = tf.nn.sparse_softmax_cross_entropy_with_logits(plan.labels[plan.order[0]], z).numpy().sum()
    assert learned.sums.loss == pytest.approx(cross, rel=1e-5)
    assert replace(late.model, fix_norm=3).fixes_norm(3) and not replace(late.model, fix_norm=3).fixes_norm(2)


@pytest.mark.parametrize("norm", NORMED)
def test_the_fisher_is_the_mean_of_single_examples_squared_gradients(scenario: Scenario, norm: str) -> None:
    mine = replace(scenario, model=replace(scenario.model, norm=norm))
    model, start, few = of(mine), first(mine), read("mnist")[0].take(np.arange(4))
    weights, single = [tf.constant(w) for w in start], []
    for x in few.x:
        squares = [np.zeros(w.shape) for w in start]
        for y in range(model.classes):
            with tf.GradientTape() as tape:
                tape.watch(weights)
                z = model.logits(stock, weights, x[None].astype(np.float32) / np.float32(255))
                loss = tf.nn.sparse_softmax_cross_entropy_with_logits([y], z)
            share = float(tf.nn.softmax(z)[0, y])
            for total, g in zip(squares, tape.gradient(loss, weights), strict=True):
                total += share * g.numpy() ** 2
        single.append(squares)
    found = default(mine).fisher(start, few.x)
    for i, (ours, each) in enumerate(zip(found, zip(*single, strict=True), strict=True)):
        wanted = 0 * ours if i in model.statistics else np.mean(each, 0)
        assert ours == pytest.approx(wanted, rel=1e-3, abs=1e-7)


@pytest.mark.slow
def test_group_norm_is_the_same_on_both_engines(scenario: Scenario, digits: Examples) -> None:
    mine = grouped(scenario)
    file = step_file.build(of(mine), BATCH)
    stock_, light = default(mine), get("litert", of(mine), file, step.digest(file))
    start = first(mine)
    plan = planned(mine, start, digits.take(np.arange(BATCH)))
    pairs = [(e.train(start, plan).weights, e.fisher(start, digits.x[:9])) for e in (stock_, light)]
    for one, other in zip(*(weights for weights, _ in pairs), strict=True):
        assert one == pytest.approx(other, abs=2e-6)
    for one, other in zip(*(fisher for _, fisher in pairs), strict=True):
        assert one == pytest.approx(other, rel=1e-3, abs=1e-6)


@pytest.mark.parametrize("norm", NORMED)
def test_no_feature_is_larger_than_the_largest(scenario: Scenario, norm: str, digits: Examples) -> None:
    mine = replace(scenario, model=replace(scenario.model, norm=norm))
    assert of(mine).signed
    for weights in (first(mine), [3 * w for w in first(mine)]):
        features = default(mine).features(weights, digits.x)
        assert (features < 0).any() and (np.abs(features) <= of(mine).largest_features(weights) * 1.001).all()


# ── the federation ──


@pytest.mark.parametrize("name", STRATEGIES)
def test_statistics_are_averaged_whatever_the_strategy_does_with_weights(scenario: Scenario, name: str) -> None:
    mine = replace(scenario, clients=9, cohort=9, strategy=Part(name))
    model, start = of(mine), first(mine)
    clients = [Contribution(i, [w + np.float32(0.01 * i) for w in start], float(1 + i), 1) for i in range(9)]
    identify()
    rule = strategies.build(mine)
    _, made = strategies.aggregate(mine, rule, rule.start(start), start, clients, 1)
    mean = sum(i * (1 + i) for i in range(9)) / sum(1 + i for i in range(9))
    for old, new in zip(statistics(mine, start), statistics(mine, made), strict=True):
        far = new - old
        assert (far > 0).all() and (far < 0.08).all()  # a rule that cuts takes one of them, or a mean of some
        assert name in strategies.CUTTING or far == pytest.approx(0.01 * mean, abs=1e-6)
    assert not same(model.trainable(made), model.trainable(start))
    fixed = replace(mine, model=replace(mine.model, fix_norm=1))
    _, kept = strategies.aggregate(fixed, rule, rule.start(start), start, clients, 1)
    assert same(statistics(mine, kept), statistics(mine, start)) and not same(kept, start)


def test_statistics_that_no_images_have_are_refused(scenario: Scenario, digits: Examples) -> None:
    model, start = of(scenario), of(scenario).initial(1)
    learned = default(scenario).train(start, planned(scenario, start, digits)).weights
    model.check_statistics(learned, BATCH)
    for i in sorted(model.statistics):
        for value in (1e9, -1.0 if model.names[i].endswith("square") else -1e6):
            wrong = [np.full_like(w, value) if j == i else w for j, w in enumerate(learned)]
            with pytest.raises(ValueError, match=f"what it says of {model.names[i].split('/')[0]} "):
                model.check_statistics(wrong, BATCH)


@pytest.mark.parametrize("name", [name for name in METHODS if name not in ("acil", "slda")])
def test_a_method_in_its_first_round_is_fine_tuning_with_norms_too(scenario: Scenario, name: str) -> None:
    mine, start = shard(scenario.json(), 1), of(scenario).initial(2)
    plain, other = (
        learn(mine, Task(scenario.with_(("methods", n)), 1, 1, 0.05, start), {}, default(scenario))[0].arrays
        for n in ("finetune", name)
    )
    assert same(other, plain) and not same(statistics(scenario, plain), statistics(scenario, start))


@pytest.mark.slow
@pytest.mark.parametrize("change", [("methods", "ewc+agem"), ("methods", "acil"), ("strategy", "scaffold")])
def test_a_stream_is_learned_and_an_interrupted_run_is_the_same(
    scenario: Scenario, change: tuple[str, str], tmp_path: Path
) -> None:
    staged = replace(scenario, stream=Part("classes", {"per_task": 5})).with_(change)
    whole = federate(staged, tmp_path / "whole")
    with pytest.raises(Stopped):
        federate(staged, tmp_path / "cut", Onlooker(at=2))
    again = federate(staged, tmp_path / "cut")
    assert whole.events == () and not any(row.failed for row in whole.history)
    assert again.weights_sha256 == whole.weights_sha256


# ── the way out ──


@pytest.mark.parametrize("norm", NORMED)
def test_the_model_that_leaves_is_the_one_that_is_judged(scenario: Scenario, norm: str, digits: Examples) -> None:
    """Batch norm is folded into what comes next: after a pool, without one, before the features are flattened, and dense."""
    mine = replace(scenario, model=replace(scenario.model, norm=norm))
    weights = first(mine)
    judged = default(mine).logits(weights, digits.x)
    plain, arrays = of(mine).folded(weights)
    if norm == "batch":
        assert plain == of(replace(mine, model=Model("small"))) and all(a.dtype == np.float32 for a in arrays)
        assert get("tensorflow", plain).logits(arrays, digits.x) == pytest.approx(judged, abs=1e-4, rel=1e-4)
    keras = keras_model(of(mine), weights)(digits.x[..., None].astype(np.float32) / 255)
    assert keras.numpy() == pytest.approx(judged, abs=1e-4, rel=1e-4)


@pytest.mark.slow
@pytest.mark.parametrize("norm", NORMED)
def test_a_normed_model_leaves_in_every_format(scenario: Scenario, norm: str, tmp_path: Path) -> None:
    """A model as small as this may lose an image more than is allowed to coarse weights; without its norm it would lose most."""
    mine = replace(scenario, train=3000, test=500, model=replace(scenario.model, norm=norm))
    mine = replace(mine, local=Local(batch=BATCH, epochs=4))
    data = load(mine)
    start = of(mine).initial(1)
    weights = default(mine).train(start, planned(mine, start, data.train)).weights
    exports = export(weights, mine, data, tmp_path, EXPORTERS)
    assert {*exports.files, *exports.refused} == set(EXPORTERS)
    for name, why in exports.refused.items():
        fall = re.fullmatch(r"accuracy falls by ([0-9.]+) points, more than .*", why)
        assert EXPORTERS[name].rounded and fall and float(fall[1]) < 3, (name, why)


# ── what is refused ──


def test_what_cannot_be_had_is_refused_by_name(scenario: Scenario) -> None:
    for wrong, why in (
        (replace(scenario, engine="litert"), r"engine = litert has no model\.norm = batch"),
        (replace(scenario, local=Local(batch=1)), r"model\.norm = batch needs local\.batch of 2 or more"),
        (replace(grouped(scenario), model=Model("small", norm="group", groups=4)), "groups = 4 does not divide the 6 .* two"),
        (replace(scenario, model=Model("mlp100", norm="group", groups=100)), "groups = 100 is as many as there are numbers"),
    ):  # fmt: skip
        with pytest.raises(ValueError, match=why):
            check(wrong)
    with pytest.raises(ValueError, match=r"engine = litert has no model\.norm = batch"):
        training_step(of(scenario), BATCH)
    with pytest.raises(ValueError, match=r"unknown model\.norm 'layer'; choose from batch, group, none"):
        replace(scenario, model=Model(norm="layer"))
    flat = ModelSpec("flat", (28, 28), 10, (Flatten(), Dense("logits", 10, relu=False)))
    with pytest.raises(
        ValueError, match=r"model\.norm = group cannot be had with model\.kind = flat: there is nothing"
    ):
        flat.normalized("group", 2)


def test_a_setting_that_changes_nothing_is_said(scenario: Scenario) -> None:
    idle = replace(scenario, model=Model("small", fix_norm=3, groups=8))
    notes = " ".join(without_effect(idle))
    assert "model.fix_norm = 3 has no effect" in notes and "model.groups = 8 has no effect" in notes
    late = replace(scenario, model=Model("small", norm="batch", fix_norm=scenario.rounds + 1))
    assert any(f"model.fix_norm = {scenario.rounds + 1} has no effect" in note for note in without_effect(late))
    last = replace(late, model=replace(late.model, fix_norm=scenario.rounds))
    assert not any("model." in note for one in (scenario, last) for note in without_effect(one))
