"""Flower's ClientApp: hand each message to whoever does the work, and answer with what comes of it.

On a real node Flower starts a new process for every message. If a trainer stands beside the node (clients/trainer.py), it
does the work with everything loaded; else this process does it itself, to the same bits, only slower.
"""

from __future__ import annotations

import logging

from flwr.app import Context, Message
from flwr.clientapp import ClientApp

from clients import trainer
from clients.work import WORK
from fl import wire

app = ClientApp()
log = logging.getLogger("flwr")


@app.train()
def train(message: Message, context: Context) -> Message:
    """Learn from the weights received; answer with new ones."""
    return _answer("train", message, context)


@app.evaluate()
def evaluate(message: Message, context: Context) -> Message:
    """Judge the weights received, and its own model if it has one, on its own test images; say what it holds."""
    return _answer("evaluate", message, context)


@app.query("who")
def who(message: Message, context: Context) -> Message:
    """Which client this node plays, by its own configuration."""
    return Message(wire.introduction(int(context.node_config["client"])), reply_to=message)


def _answer(what: str, message: Message, context: Context) -> Message:
    try:
        content, advice = trainer.ask(what, message.content, context.node_config)
        if content is None:
            content = WORK[what](message.content, context.node_config)
            wire.noted(content, advice)
        return Message(content, reply_to=message)
    except BaseException as error:  # SystemExit or KeyboardInterrupt would end a simulation's worker for good
        log.error("a client failed", exc_info=True)  # where: the server hears the error's own words only
        raise RuntimeError(f"{type(error).__name__}: {error}") from error
