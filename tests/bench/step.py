"""Seconds of the training step alone: ours, and the floor's (tests/bench/floor.py), in turn in one process of one thread.

The same weights, images, batches of 32 and rate; a figure is the median of its passes, the ratio is taken pass by pass.
--profile shows its dearest operations.
"""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Callable
from statistics import median

import numpy as np

from core.arrays import Arrays
from core.data import Examples
from core.models import ModelSpec
from scenarios.environment import prepare
from tests.bench import measure

BAR = 0.77  # times the floor's seconds
RATE, BATCH, IMAGES = 0.05, 32, 608  # a whole number of batches


def main() -> None:
    """The command."""
    p = measure.parser("step", __doc__)
    p.add_argument("--profile", action="store_true", help="also show where the time of our step goes, by operation")
    args = p.parse_args()
    prepare()
    from core.config.scenario import Local, Scenario
    from core.data import read
    from core.engines import default
    from core.models import of
    from core.plan import Lesson, Pull, Rehearsal, draw
    from tests.bench import floor

    scenario = Scenario("step", local=Local(batch=BATCH, rate=RATE))
    engine, weights = default(scenario), of(scenario).initial(0)
    mine = read("mnist")[0].take(np.arange(IMAGES))
    lesson = Lesson(0, weights, mine, np.zeros((IMAGES, 0), np.float32), 0, 1, RATE, scenario)
    plan = draw(lesson, Pull.none(weights), Rehearsal.none())
    theirs = floor.epoch(mine.x, mine.y, engine.model.shapes, RATE, BATCH, IMAGES)
    passes: dict[str, Callable[[], object]] = {
        "ours": lambda: engine.train(weights, plan), "floor": lambda: theirs(weights, np.arange(IMAGES)),
    }  # fmt: skip
    seconds: dict[str, list[float]] = {name: [] for name in passes}
    for turn in range(3 + 20 * args.repeats):
        for name, work in passes.items():
            start = time.perf_counter()
            work()
            if turn >= 3:
                seconds[name].append(time.perf_counter() - start)
    ratio = [a / b for a, b in zip(seconds["ours"], seconds["floor"], strict=True)]
    middle = {name: median(found) for name, found in seconds.items()}
    rows = [[name, f"{1e3 * BATCH / IMAGES * one:.2f}", f"{IMAGES / one:,.0f}"] for name, one in middle.items()]
    rows[0] += [measure.spread(ratio), f"≤ {BAR}"]
    measure.table(f"a step of {BATCH} images, one thread", ("whose", "ms", "images/s", "ours / floor", "target"), rows)
    if args.profile:
        measure.table("its operations", ("microseconds", "share", "operation"), profile(engine.model, weights, mine))


def profile(model: ModelSpec, weights: Arrays, mine: Examples) -> list[list[str]]:
    """The dearest operations of a step, medians of many: TensorFlow tells them of sessions only, so the step is built again."""
    import tensorflow as tf

    from core.models import stock

    v1, spent = tf.compat.v1, defaultdict[str, list[float]](list)
    with tf.Graph().as_default() as graph:
        variables = [v1.Variable(w, use_resource=True) for w in weights]
        x, y = v1.placeholder(tf.uint8, [BATCH, *model.image]), v1.placeholder(tf.int32, [BATCH])
        now = [variable.read_value() for variable in variables]
        with tf.GradientTape() as tape:
            tape.watch(now)
            z = model.logits(stock, now, tf.cast(x, tf.float32) / 255)
            loss = tf.reduce_mean(tf.nn.sparse_softmax_cross_entropy_with_logits(labels=y, logits=z))
        moved = [
            tf.raw_ops.ResourceApplyGradientDescent(var=variable.handle, alpha=RATE, delta=slope)
            for variable, slope in zip(variables, tape.gradient(loss, now), strict=True)
        ]
    one = v1.ConfigProto(intra_op_parallelism_threads=1, inter_op_parallelism_threads=1)
    with v1.Session(graph=graph, config=one) as session:
        session.run([variable.initializer for variable in variables])
        feed, full = {x: mine.x[:BATCH], y: mine.y[:BATCH]}, v1.RunOptions(trace_level=v1.RunOptions.FULL_TRACE)
        for turn in range(50):
            metadata = v1.RunMetadata()
            session.run(moved, feed, options=full, run_metadata=metadata)
            for node in (node for device in metadata.step_stats.dev_stats for node in device.node_stats if turn >= 10):
                spent[node.node_name].append(node.op_end_rel_micros - node.op_start_rel_micros)
    middle = {name: median(found) for name, found in spent.items()}
    dearest = sorted(middle, key=lambda name: -middle[name])[:30]
    return [[f"{middle[name]:.0f}", f"{100 * middle[name] / sum(middle.values()):.0f} %", name] for name in dearest]


if __name__ == "__main__":
    measure.run(main)
