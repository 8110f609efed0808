"""What a hostile device does (tests/drill_hostile.py): Python imports this at the start of its node's processes, and it changes
what Flower's own code sends. The device's key was admitted: it speaks TLS, and is who it says it is, until it lies.

HOSTILE names who plays: "liar" answers each round with another attack (ATTACKS, by round), "thief" says it is somebody else, then
announces an answer that it never uploads, then answers twice.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

WHO = os.environ.get("HOSTILE", "")
CLAIMS = 1  # how often the thief says that it is client `inf`, then client 0, before it says who it is


def _numbers(**changed: Any) -> Callable[[Any], None]:
    def change(content: Any) -> None:
        from flwr.app import MetricRecord

        content["metrics"] = MetricRecord({**content.metric_records["metrics"], **changed})

    return change


def _record(name: str, **settings: Any) -> Callable[[Any], None]:
    def change(content: Any) -> None:
        from flwr.app import ConfigRecord

        content[name] = ConfigRecord(settings)

    return change


def _arrays(change: Callable[[Any], Any], only: str = "") -> Callable[[Any], None]:
    def changed(content: Any) -> None:
        from flwr.app import Array, ArrayRecord

        arrays = content.array_records["arrays"]
        content["arrays"] = ArrayRecord(
            {k: Array(change(a.numpy())) if only in ("", k) else a for k, a in arrays.items()}
        )

    return changed


def _lying(content: Any) -> None:
    """An array whose file says that it holds 4 TB."""
    import io

    import numpy as np
    from flwr.app import Array

    file = io.BytesIO()
    np.lib.format.write_array_header_1_0(file, {"descr": "<f4", "fortran_order": False, "shape": (10**12,)})
    content["arrays"]["1"] = Array("float32", (32,), "numpy.ndarray", file.getvalue() + bytes(128))


def _again(content: Any) -> None:
    """What was answered in the first round."""
    from fl.serialization import unpack

    for name, record in unpack(_first().read_bytes()).items():
        content[name] = record


def _words(content: Any) -> None:
    raise RuntimeError("\x1b[2J\x1b]0;owned\x07\x1b[31mall is well")


def _first() -> Path:
    return Path(os.environ["FLWR_HOME"]) / "first"


# By round: what is done to the honest answer, and how the report names it.
ATTACKS: list[tuple[str, Callable[[Any], None], str]] = [
    ("an extra record that asks for a terabyte", _record("step", file=10**12), "records are not the ones asked for"),
    ("a giant count", _numbers(own=10**18), "own = 1000000000000000000"),
    ("another client's number", _numbers(client=0), "client 0's"),
    ("a giant word", _record("config", earlier="x" * 10**6), "at most 200 letters"),
    ("escape codes", _words, "all is well"),
    ("NaN", _arrays(lambda a: a * float("nan")), "NaN or infinity"),
    ("a wrong shape", _arrays(lambda a: a[:1], "1"), "of 132 bytes|is float32"),
    ("a hundred megabytes", _arrays(lambda a: a.repeat(10**8 // a.nbytes), "4"), "not 819,200"),
    ("a header that lies", _lying, "not readable"),
    ("weights turned round, a million times as far", _arrays(lambda a: -1_000_000 * a), "more than max_update_ratio"),
    ("the answer to an earlier round", _again, "one to round 1"),
    ("giant numbers", _numbers(loss=1.7e308, seen=10**18), "make no sense"),
]


def _answered(app: Any, message: Any, context: Any) -> Any:
    """The honest answer, changed."""
    reply = HONEST(app, message, context)
    kind = message.metadata.message_type
    if kind == "train" and WHO == "liar":
        from fl.serialization import pack

        round = int(message.content.config_records["config"]["round"])
        if not _first().exists():
            _first().write_bytes(pack(reply.content))
        ATTACKS[(round - 1) % len(ATTACKS)][1](reply.content)
    if kind.startswith("query") and WHO == "thief":
        claims = Path(os.environ["FLWR_HOME"]) / "claims"
        claims.write_text((claims.read_text() if claims.exists() else "") + "x")
        count = len(claims.read_text())
        if count <= 2 * CLAIMS:
            _numbers(client=float("inf") if count <= CLAIMS else 0)(reply.content)
    return reply


def _client() -> None:
    global HONEST
    from flwr.clientapp import ClientApp

    HONEST = ClientApp.__call__
    ClientApp.__call__ = _answered  # type: ignore[method-assign]


def _node() -> None:
    """In the SuperNode itself: the first answer is announced and never uploaded, the next ones are announced twice."""
    from flwr.supernode import start_client_internal as node

    push, upload = node._push_messages, node.push_object_contents_from_iterable
    trained = 0

    def twice(*arguments: Any, send: Any, **options: Any) -> None:
        def sent(message: Any, tree: Any, seconds: float) -> Any:
            nonlocal trained
            trained += message.metadata.message_type == "train"
            first = send(message, tree, seconds)
            if message.metadata.message_type == "train" and trained > 1:
                try:
                    send(message, tree, seconds)
                except Exception as error:
                    print(f"the second of two answers was refused: {error!r}", flush=True)
            return first

        push(*arguments, send=sent, **options)

    def never(contents: Any, *arguments: Any, **options: Any) -> None:
        if trained == 1:
            print("announced, and not uploaded", flush=True)
            return
        upload(contents, *arguments, **options)

    node._push_messages, node.push_object_contents_from_iterable = twice, never


if WHO and "flwr-clientapp" in " ".join(sys.orig_argv):
    _client()
if WHO == "thief" and "flower-supernode" in " ".join(sys.orig_argv):
    _node()
