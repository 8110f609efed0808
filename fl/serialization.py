"""A message's records as bytes and back, for the socket between a node's process and its trainer (clients/trainer.py): arrays as
numpy's own files in a zip, the rest as JSON. What goes over the network is fl/wire.py's.

Nothing is pickled, either way. `empty` is for records that are done with, on either side.
"""

from __future__ import annotations

import io
import json
from collections.abc import Mapping
from typing import Any

import numpy as np
from flwr.app import Array, ArrayRecord, ConfigRecord, MetricRecord, RecordDict

from core import arrays
from core.safe_json import json_object

KINDS = {"config": ConfigRecord, "metrics": MetricRecord}
FACTS = "facts"  # the zip's entry for all that is no array; arrays have a slash in their names


def pack(content: RecordDict) -> bytes:
    """All records, with every array, number, text and file of bytes in them."""
    named: dict[str, np.ndarray] = {}
    facts: dict[str, Any] = {}
    for key, record in content.items():
        if isinstance(record, ArrayRecord):
            facts[key] = ["arrays", list(record)]
            named |= {f"{key}/{name}": array.numpy() for name, array in record.items()}
            continue
        files = {name: value for name, value in record.items() if isinstance(value, bytes)}
        named |= {f"{key}/{name}": np.frombuffer(value, np.uint8) for name, value in files.items()}
        plain = {name: value for name, value in record.items() if name not in files}
        facts[key] = ["config" if isinstance(record, ConfigRecord) else "metrics", plain, list(files)]
    file = io.BytesIO()
    np.savez(file, **{FACTS: np.frombuffer(json.dumps(facts).encode(), np.uint8)}, **named)  # type: ignore[arg-type]
    return file.getvalue()


def unpack(packed: bytes) -> RecordDict:
    """The records again. Raises Unreadable if these bytes are none, and says why."""
    try:
        return _records(arrays.unpacked(io.BytesIO(packed)))
    except (*arrays.DAMAGE, TypeError) as error:  # TypeError: a record's own check of what may be in it
        raise arrays.Unreadable(f"no packed records: {str(error)[: arrays.WORDS]}") from None


def _records(named: Mapping[str, np.ndarray]) -> RecordDict:
    content = RecordDict()
    for key, (kind, *rest) in json_object(named[FACTS].tobytes()).items():
        if kind == "arrays":
            content[key] = ArrayRecord({name: Array(named[f"{key}/{name}"]) for name in rest[0]})
        elif kind in KINDS:
            plain, files = rest
            content[key] = KINDS[kind](plain | {name: named[f"{key}/{name}"].tobytes() for name in files})
        else:
            raise ValueError(f"unknown kind of record {str(kind)[:40]!r}; choose from arrays, {', '.join(KINDS)}")
    return content


def empty(content: RecordDict) -> None:
    """Take the arrays out of a message that is done with. Flower's records refer to themselves, so without this their weights stay
    until a full garbage collection, which hardly ever comes.
    """
    for record in content.array_records.values():
        record.clear()
