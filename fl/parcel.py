"""A message's records as bytes and back, for a way that is not Flower's: arrays as numpy's own files in a zip, the rest as JSON.

Nothing is pickled, either way.
"""

from __future__ import annotations

import io
import json
from typing import Any

import numpy as np
from flwr.app import Array, ArrayRecord, ConfigRecord, MetricRecord, RecordDict

KINDS = {"config": ConfigRecord, "metrics": MetricRecord}
TOLD = "told"  # the zip's entry for all that is no array; arrays have a slash in their names


def pack(content: RecordDict) -> bytes:
    """All records, with every array, number, text and file of bytes in them."""
    arrays: dict[str, np.ndarray] = {}
    told: dict[str, Any] = {}
    for key, held in content.items():
        if isinstance(held, ArrayRecord):
            told[key] = ["arrays", list(held)]
            arrays |= {f"{key}/{name}": array.numpy() for name, array in held.items()}
            continue
        files = {name: value for name, value in held.items() if isinstance(value, bytes)}
        arrays |= {f"{key}/{name}": np.frombuffer(value, np.uint8) for name, value in files.items()}
        plain = {name: value for name, value in held.items() if name not in files}
        told[key] = ["config" if isinstance(held, ConfigRecord) else "metrics", plain, list(files)]
    parcel = io.BytesIO()
    np.savez(parcel, **{TOLD: np.frombuffer(json.dumps(told).encode(), np.uint8)}, **arrays)  # type: ignore[arg-type]
    return parcel.getvalue()


def unpack(parcel: bytes) -> RecordDict:
    """The records of a parcel. Raises ValueError, KeyError or zipfile.BadZipFile if it is none."""
    content = RecordDict()
    with np.load(io.BytesIO(parcel), allow_pickle=False) as held:
        for key, (kind, *rest) in json.loads(held[TOLD].tobytes()).items():
            if kind == "arrays":
                content[key] = ArrayRecord({name: Array(held[f"{key}/{name}"]) for name in rest[0]})
            else:
                plain, files = rest
                content[key] = KINDS[kind](plain | {name: held[f"{key}/{name}"].tobytes() for name in files})
    return content
