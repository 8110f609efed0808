"""Arrays that go no further than this process, for Flower's strategies, which want records of them.

Flower's own Array writes its numbers as a file's bytes at once, and reads them again when somebody asks for them.
"""

from __future__ import annotations

import numpy as np
from flwr.app import Array, ArrayRecord

from core.arrays import Arrays


class Resident(Array):
    """An array that stays one; it has no bytes to send."""

    def __init__(self, array: np.ndarray) -> None:
        super().__init__(str(array.dtype), array.shape, "numpy.ndarray", b"")
        self._array = array.view()
        self._array.flags.writeable = False  # a rule that wrote into it would change what a client said

    def numpy(self) -> np.ndarray:
        return self._array


def resident(arrays: Arrays) -> ArrayRecord:
    """A record of such arrays, named 0, 1 …"""
    record = ArrayRecord()
    for i, array in enumerate(arrays):
        record[str(i)] = Resident(array)
    return record
