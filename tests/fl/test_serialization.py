"""What is packed gives back what was packed, kinds and bits."""

from __future__ import annotations

import io
import pickle
from dataclasses import replace

import numpy as np
import pytest
from flwr.app import ArrayRecord, ConfigRecord, MetricRecord, RecordDict
from hypothesis import given
from hypothesis import strategies as st

from core.arrays import Unreadable
from core.config.scenario import Scenario
from core.scores import Sums
from fl import wire
from fl.checks import Limits
from fl.messages import Task, Update
from fl.serialization import FACTS, pack, unpack
from fl.wire import Expected
from tests.damage import arrays, spoiled
from tests.fakes import same

NAMES = st.text("abcdefghij.-_ß0123456789", min_size=1, max_size=12)
SCALARS = st.integers(-(2**40), 2**40) | st.floats(allow_nan=False)
WORDS = SCALARS | st.booleans() | st.text(max_size=20) | st.binary(max_size=20)


@given(
    metrics=st.dictionaries(NAMES, SCALARS | st.lists(st.integers(0, 9), max_size=3)),
    words=st.dictionaries(NAMES, WORDS),
    shapes=st.lists(st.lists(st.integers(0, 3), max_size=3), max_size=4),
)
def test_everything_comes_back(metrics, words, shapes):  # type: ignore[no-untyped-def]
    arrays = [np.arange(np.prod(shape), dtype=np.float32).reshape(shape) for shape in shapes]
    content = RecordDict(
        {"arrays": wire.record(arrays), "method.der": wire.record(arrays), "metrics": MetricRecord(metrics),
         "config": ConfigRecord(words)}
    )  # fmt: skip
    back = unpack(pack(content))
    assert list(back) == list(content)
    assert isinstance(back["metrics"], MetricRecord) and dict(back["metrics"]) == metrics
    assert isinstance(back["config"], ConfigRecord) and dict(back["config"]) == words
    for key in ("arrays", "method.der"):
        record = back[key]
        assert isinstance(record, ArrayRecord) and same(wire.arrays(record), arrays)


def test_a_task_and_an_update_survive() -> None:
    update = Update(3, [np.ones((2, 2), np.float32)], 7, Sums(0.5, 3, 9), [0] * 10, [0.25], "w:1", 2, 99, 0.5)
    back = wire.update(unpack(pack(wire.reply(update))), Expected(3, update.arrays, limits=Limits(looks=1)))
    assert same(back.arrays, update.arrays)
    assert back.sums == update.sums and back.battery == 0.5 and back.earlier == "w:1"
    task = Task(Scenario("x"), 3, 1, 0.1, update.arrays, {"der": update.arrays}, "run", (), b"\0\1" * 9, "d1")
    again = wire.task(unpack(pack(wire.request(task, wire.record(task.arrays)))))
    assert replace(again, arrays=[], payloads={}) == replace(task, arrays=[], payloads={})
    assert same(again.arrays, task.arrays) and same(again.payloads["der"], task.payloads["der"])


def test_a_pickle_is_not_opened() -> None:
    evil = io.BytesIO()
    np.savez(evil, payload=np.array([pickle.dumps("boo"), None], dtype=object))
    with pytest.raises(ValueError, match="no packed records: an array of object"):
        unpack(evil.getvalue())


def test_what_is_not_packed_is_one_error() -> None:
    content = RecordDict(
        {"arrays": wire.record([np.ones(3, np.float32)]), "config": ConfigRecord({"a": 1, "file": b"xyz"})}
    )
    for octets in spoiled(pack(content)).values():
        with pytest.raises(Unreadable, match="no packed records: "):
            unpack(octets)


@pytest.mark.parametrize(
    "facts",
    ["{", "[" * 100_000, "[]", '{"a": 5}', '{"a": []}', '{"a": ["arrays"]}', '{"a": ["arrays", ["0"]]}', '{"a": ["arrays", 7]}',
     '{"a": ["config"]}', '{"a": ["config", [], []]}', '{"a": ["config", {"x": {}}, []]}', '{"a": ["config", {}, ["x"]]}',
     '{"a": ["pickle", {}]}', '{"a": [{}, {}]}', '{"a": ["metrics", {"x": "word"}, []]}', '{"a": ["config", {}, []], "a": 1}'],
)  # fmt: skip
def test_packed_records_that_say_nonsense_is_one_error(facts: str) -> None:
    with pytest.raises(Unreadable, match="no packed records: "):
        unpack(arrays({FACTS: np.frombuffer(facts.encode(), np.uint8)}))
