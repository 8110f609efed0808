"""The rival: a Flower app with Keras, written as Flower's own TensorFlow quickstart writes it.

https://flower.ai/docs/framework/tutorial-quickstart-tensorflow.html: every call clears the session, builds and compiles a
model, and calls `fit`; the server calls `FedAvg.start`. Differences, all in its favour or needed for the same work: our CNN,
SGD and rate; one TensorFlow thread an actor; float images kept in memory; as many nodes as clients a round, each playing
another client every round, as ours do (a node a client would mean 100 nodes to poll); no evaluation.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any

import numpy as np
from flwr.app import ArrayRecord, ConfigRecord, Context, Message, MetricRecord, RecordDict
from flwr.clientapp import ClientApp
from flwr.serverapp import Grid, ServerApp
from flwr.serverapp.strategy import FedAvg

from clients.sources.simulated import world
from core.config.scenario import Scenario

app = ClientApp()


def load_model(rate: float) -> Any:
    """The shared CNN as Keras layers, compiled."""
    import keras
    from keras import layers

    model = keras.Sequential(
        [
            keras.Input((28, 28, 1)),
            layers.Conv2D(32, 3, activation="relu"),
            layers.MaxPooling2D(2),
            layers.Conv2D(64, 3, activation="relu"),
            layers.MaxPooling2D(2),
            layers.Flatten(),
            layers.Dense(128, activation="relu"),
            layers.Dense(10, activation="softmax"),
        ]
    )
    model.compile(keras.optimizers.SGD(rate), loss="sparse_categorical_crossentropy", metrics=["accuracy"])
    return model


@cache
def data(scenario: str) -> tuple[np.ndarray, np.ndarray, list[np.ndarray]]:
    """Images f32 [n, 28, 28, 1], labels, and each client's rows; read once a process, with TensorFlow's one thread."""
    from core.engines import tensorflow as engine

    engine.one_thread()
    train, rows = world(scenario)[0].train, world(scenario)[1]
    return train.x[..., None].astype(np.float32) / 255, train.y, rows


@app.train()
def train(message: Message, context: Context) -> Message:
    """One client's round."""
    import keras

    config = message.content["config"]
    x, y, rows = data(str(config["scenario"]))
    keras.backend.clear_session()
    node, nodes = context.node_config["partition-id"], context.node_config["num-partitions"]
    mine = rows[(int(node) + int(nodes) * int(config["server-round"])) % len(rows)]
    model = load_model(float(config["rate"]))
    model.set_weights(message.content["arrays"].to_numpy_ndarrays())
    history = model.fit(x[mine], y[mine], epochs=1, batch_size=int(config["batch"]), verbose=0).history
    metrics = {"num-examples": len(mine), "train_loss": history["loss"][-1], "train_acc": history["accuracy"][-1]}
    content = RecordDict({"arrays": ArrayRecord(model.get_weights()), "metrics": MetricRecord(metrics)})
    return Message(content=content, reply_to=message)


def build(scenario: Scenario, clock: Callable[[int], None]) -> ServerApp:
    """Its server. clock: called before the first round (with 0) and after each."""
    server, local = ServerApp(), scenario.local
    config = ConfigRecord({"scenario": scenario.json(), "rate": local.rate, "batch": local.batch})

    @server.main()
    def main(grid: Grid, context: Context) -> None:
        nodes = {"min_train_nodes": scenario.cohort, "min_available_nodes": scenario.cohort}
        FedAvg(fraction_evaluate=0.0, **nodes).start(
            grid=grid,
            initial_arrays=ArrayRecord(load_model(local.rate).get_weights()),
            num_rounds=scenario.rounds,
            train_config=config,
            evaluate_fn=lambda number, arrays: clock(number),
        )

    return server
