"""How good the global model is: on the server's test and validation images, and on every client's own."""

from __future__ import annotations

from typing import Any

import numpy as np
from flwr.app import Message, MessageType, RecordDict
from flwr.serverapp import Grid

from core.data import CLASSES, Examples
from core.engines import Sums, judge
from core.engines import tensorflow as engine
from core.scenario import Scenario
from core.seeds import rng
from fl import channel, roster, wire
from fl.checks import Limits
from fl.messages import Update
from server.rounds import Watch

LISTED = 100  # clients asked for their own accuracy at the end of a run

Arrays = list[np.ndarray]


def score(arrays: Arrays, examples: Examples) -> Sums:
    """Loss and right answers over these examples."""
    return judge(engine.answers(arrays, examples.x), examples.y)


def confusion(arrays: Arrays, examples: Examples) -> np.ndarray:
    """int [10, 10]: how many of each true class (row) were taken for which (column)."""
    taken = engine.answers(arrays, examples.x).argmax(1)
    return np.bincount(CLASSES * examples.y + taken, minlength=CLASSES**2).reshape(CLASSES, CLASSES)


def clients(
    grid: Grid,
    scenario: Scenario,
    arrays: Arrays,
    watch: Watch,
    round: int,
    seats: roster.Seats | None = None,
    step: bytes = b"",
) -> tuple[list[dict[str, Any]], dict[int, str]]:
    """Ask clients (all, or a hundred drawn by address) what they hold and how good the model is for them after a round."""
    who = list(range(scenario.clients))
    if len(who) > LISTED:
        who = sorted(int(c) for c in rng(scenario.seed, "listed").choice(len(who), LISTED, replace=False))
    seats = seats or roster.Anyone()
    config = wire.config(scenario, 0.0, seats.run)
    plain = Message(
        RecordDict({wire.ARRAYS: wire.record(arrays), wire.CONFIG: config}),
        dst_node_id=1, message_type=MessageType.EVALUATE,
    )  # fmt: skip
    there = seats(grid, who)
    asks = {client: wire.addressed(plain, client, there[client], round, step=step) for client in who if client in there}
    replies, failed = channel.ask(grid, asks, scenario.patience, watch, seats.pause, apart=seats.apart)
    failed |= {client: "its node is not there" for client in who if client not in there}
    told = []
    for client, reply in replies.items():
        try:
            one = wire.update(reply.content, client, [], limits=Limits.of(scenario), round=round)
            if one.sums.examples:
                told.append(_fact(one, scenario))
            else:
                failed[client] = "it holds no image to test on"
        except ValueError as error:
            failed[client] = str(error)
    return told, failed


def _fact(update: Update, scenario: Scenario) -> dict[str, Any]:
    return {
        "client": update.client,
        "examples": update.examples,
        "labels": list(update.labels),
        "looks": {part.name: amount for part, amount in zip(scenario.looks, update.looks, strict=False)},
        "accuracy": update.sums.accuracy,
        "tested": update.sums.examples,
    }
