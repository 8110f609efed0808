"""What a worker of a simulation does: it hands messages to Flower's ClientApp, and judges models for the server.

Weights and images come as files that workers map into their memory, or as one shared block of bytes; answers as plain values.
"""

from __future__ import annotations

import os
import signal
import tempfile
import threading
from collections.abc import Mapping, Sequence
from functools import lru_cache
from multiprocessing import connection, parent_process
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from flwr.app import Array, ArrayRecord, ConfigRecord, Context, Message, MetricRecord, RecordDict

from clients.app import app
from core.arrays import Arrays
from core.disk import of_machine
from core.engines import get
from core.models import ModelSpec
from scenarios.backends.grid import identify

Field = tuple[str, tuple[int, ...], str]  # what Flower's Array says of its bytes: dtype, shape, how they are packed
Parts = dict[str, tuple[str, Any]]  # a message's records as plain values: (kind, what is in it)
KINDS = {"config": ConfigRecord, "metrics": MetricRecord}


NICE = 5  # of a worker's process: how far it gives way
Block = Path | np.ndarray  # an array that many are given: in a file, or already here (Ray's object store)


class Ask(NamedTuple):
    """A message on its way to a worker."""

    kind: str  # Flower's type of message
    node: int
    config: Mapping[str, str]  # the node's own
    parts: Parts
    shared: Sequence[Shared] = ()  # array records that others get too, whose bytes come in blocks
    files: Path | None = None  # the folder for the bytes of the answer's arrays; none: they come with the answer


class Shared(NamedTuple):
    """An array record without its bytes."""

    key: str  # the message's
    number: int  # no other record of this run has it
    fields: Sequence[tuple[str, Field, int]]  # name, what Flower says of it, how many bytes


def begin(environment: Mapping[str, str]) -> None:
    """Make this process a worker: Ctrl-C is the server's to hear, and without the server it ends."""
    os.environ.update(environment)
    tempfile.tempdir = None
    if server := parent_process():  # Ray looks after its own
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        threading.Thread(target=_follow, args=(server.sentinel,), daemon=True).start()
        # Behind the baselines, each of which is one core's work: where they get their core from the start, none is left over when
        # the clients, whose work all cores share, are done.
        os.nice(NICE)
    identify()


def _follow(server: int) -> None:
    connection.wait([server])
    os._exit(1)


class Answer(NamedTuple):
    """What a client answers."""

    parts: Parts
    octets: Path | None  # the bytes of its arrays, one's behind the other's; none: they are in the parts


def answer(ask: Ask, *blocks: Block) -> Answer | str:
    """What a client answers, or why it cannot. blocks: the bytes of what it shares with others. Raises what is the machine's."""
    try:
        content = records(ask.parts)
        for shared, block in zip(ask.shared, blocks, strict=True):
            content[shared.key] = _joined(shared, block)
        message = Message(content, dst_node_id=ask.node, message_type=ask.kind)
        reply = parts(app(message, Context(0, ask.node, dict(ask.config), RecordDict(), {})).content)
        return _filed(reply, ask.files) if ask.files else Answer(reply, None)
    except Exception as error:
        if fault := of_machine(error):
            raise fault from None
        return str(error)  # a client's failure is its own, as on a real grid


def _filed(plain: Parts, folder: Path) -> Answer:
    """An answer whose bytes lie in a file: through a pipe of 64 kB a megabyte goes in sixteen turns of two processes, for each of
    which there must be a core."""
    handle, name = tempfile.mkstemp(dir=folder)
    try:
        with os.fdopen(handle, "wb") as file:
            for values, key, (*header, octets) in _packed(plain):
                file.write(octets)
                values[key] = (*header, len(octets))
    except BaseException:
        Path(name).unlink(missing_ok=True)  # a full disk shall not stay full of what nobody reads
        raise
    return Answer(plain, Path(name))


def judge(model: ModelSpec, weights: Arrays, start: int, end: int, images: Block) -> np.ndarray:
    """A model's logits for the images from `start` to `end`."""
    return get("tensorflow", model).logits(weights, _opened(images)[start:end])


# ── records as plain values, and back ──


def parts(content: RecordDict) -> Parts:
    """A message's records: arrays as the bytes that Flower made of them."""
    plain: Parts = {}
    for key, record in content.items():
        if isinstance(record, ArrayRecord):
            plain[key] = "arrays", {name: (*field(array), array.data) for name, array in record.items()}
        else:
            plain[key] = "config" if isinstance(record, ConfigRecord) else "metrics", dict(record)
    return plain


def received(answer: Answer) -> RecordDict:
    """An answer's records; its file is removed."""
    if not answer.octets:
        return records(answer.parts)
    with answer.octets.open("rb") as file:
        for values, key, (*header, length) in _packed(answer.parts):
            values[key] = (*header, file.read(length))
    answer.octets.unlink()
    return records(answer.parts)


def _packed(plain: Parts) -> list[tuple[dict[str, Any], str, Any]]:
    """Every array of some records: where it is, its name there, and what it is."""
    arrays = [values for kind, values in plain.values() if kind == "arrays"]
    return [(values, key, packed) for values in arrays for key, packed in values.items()]


def records(plain: Parts) -> RecordDict:
    """The records again."""
    content = RecordDict()
    for key, (kind, values) in plain.items():
        if kind == "arrays":
            content[key] = record = ArrayRecord()
            for name, packed in values.items():
                record[name] = Array(*packed)
        else:
            content[key] = KINDS[kind](values)
    return content


def field(array: Array) -> Field:
    """What an Array says of its bytes."""
    return array.dtype, tuple(array.shape), array.stype


_newest: tuple[int, ArrayRecord] = (-1, ArrayRecord())


def _joined(shared: Shared, block: Block) -> ArrayRecord:
    """An array record again; the newest is kept, for a round's messages share their weights."""
    global _newest
    if _newest[0] != shared.number:
        octets, offset, arrays = _opened(block), 0, dict[str, Array]()
        for name, header, length in shared.fields:
            arrays[name] = Array(*header, octets[offset : offset + length].tobytes())
            offset += length
        _newest = (shared.number, ArrayRecord(arrays))
    return _newest[1]


def _opened(block: Block) -> np.ndarray:
    return _mapped(block) if isinstance(block, Path) else block


@lru_cache(maxsize=16)
def _mapped(file: Path) -> np.ndarray:
    mapped: np.ndarray = np.load(file, mmap_mode="r", allow_pickle=False)
    return mapped
