"""A client's experiences tile its shard and follow each other."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.scenario import Part
from core.seeds import rng
from core.stream import STREAMS, Stream


@pytest.mark.parametrize("name", STREAMS)
@given(st.lists(st.integers(0, 9), min_size=1, max_size=200), st.integers(0, 9))
def test_a_stream_tiles_its_shard(name: str, labels: list[int], seed: int) -> None:
    stream, again = (Part(name).build("stream", STREAMS, np.array(labels), rng(seed, "stream", 0)) for _ in "ab")
    assert sorted(np.concatenate(stream.parts).tolist()) == list(range(len(labels)))
    assert all(np.array_equal(part, np.sort(part)) for part in stream.parts)
    assert len(stream.parts) == len(stream.tasks) == len(stream.starts)
    assert stream.starts[0] == 1 and list(stream.starts) == sorted(set(stream.starts))
    assert [part.tobytes() for part in stream.parts] == [part.tobytes() for part in again.parts]


def test_a_stage_lasts_from_its_first_round_to_the_next_ones() -> None:
    stream = Stream((np.arange(2), np.arange(2, 5), np.arange(5, 6)), (4, 0, 2), (1, 4, 6))
    assert [stream.stage(round) for round in range(1, 9)] == [0, 0, 0, 1, 1, 2, 2, 2]
