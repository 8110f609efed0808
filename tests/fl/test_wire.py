"""What is sent is what is read; what makes no sense is refused, and nothing is ever unpickled."""

from __future__ import annotations

import io
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from flwr.app import Array, ArrayRecord, ConfigRecord, MetricRecord, RecordDict
from hypothesis import given
from hypothesis import strategies as st

from core.config.part import Part
from core.config.scenario import Scenario
from core.scores import Sums
from fl import wire
from fl.checks import Limits
from fl.messages import Task, Update
from fl.wire import Expected
from tests.fakes import START, same

UPDATE = Update(3, START, 120, Sums(12.5, 99, 128), (12,) * 10, (0.5,), "host:17", round=7)
LIMITS = Limits(looks=1)
FINITE = st.floats(allow_nan=False, allow_infinity=False, width=32)


SCENARIO = Scenario("wire", seed=2**62, partition=Part("labels", {"k": 3}))
TASK = Task(SCENARIO, 8, 3, 0.05, START, run="abc", before=("d", "e"), step=b"\0\1" * 9, digest="d1")


def test_a_task_arrives_as_it_was_sent() -> None:
    task = wire.task(wire.request(TASK, wire.record(TASK.arrays)))
    assert replace(task, arrays=START) == TASK and same(task.arrays, START)


def test_the_tasks_of_a_round_share_their_weights() -> None:
    weights = wire.record(START)
    first, second = (wire.request(replace(TASK, client=client), weights) for client in (3, 5))
    assert [wire.task(content).client for content in (first, second)] == [3, 5]
    assert first[wire.ARRAYS] is second[wire.ARRAYS] is weights


@pytest.mark.parametrize("schema", [None, 1, 3, 5])
def test_a_task_of_another_schema_is_refused_in_words(schema: int | None) -> None:
    content = wire.request(TASK, wire.record(START))
    settings = dict(content.config_records[wire.CONFIG]) | ({} if schema is None else {"schema": schema})
    if schema is None:
        del settings["schema"]
    content[wire.CONFIG] = ConfigRecord(settings)
    with pytest.raises(ValueError, match=f"have schema {schema or 1}, this client reads 4"):
        wire.task(content)


@given(
    st.lists(FINITE, min_size=3, max_size=3), st.integers(1, 10**6),
    st.builds(Sums, st.floats(0, 1e6), st.integers(0, 10**9), st.just(10**9)),
    st.sampled_from([[], list(range(10))]), st.lists(st.floats(-9, 9), max_size=7), st.text("host:17-.", max_size=20),
)  # fmt: skip
def test_an_update_arrives_as_it_was_sent(
    values: list[float], examples: int, sums: Sums, labels: list[int], looks: list[float], earlier: str
) -> None:
    arrays = [np.array(values, np.float32), START[1]]
    sent = Update(3, arrays, examples, sums, labels, looks, earlier, rehearsed=17)
    got = wire.update(wire.reply(sent), Expected(3, START, limits=Limits(looks=len(looks))))
    assert same(list(got.arrays), arrays)
    assert (got.client, got.own_examples, got.rehearsed, got.sums, got.earlier) == (3, examples, 17, sent.sums, earlier)
    assert got.examples == examples + 17
    assert list(got.labels) == labels and list(got.looks) == looks


def test_an_update_without_weights_arrives_too() -> None:
    got = wire.update(wire.reply(Update(3, [], 120, Sums(1, 2, 3))), Expected(3, []))
    assert got.arrays == [] and got.sums == Sums(1, 2, 3)


def test_a_client_that_took_no_step_sends_no_weights() -> None:
    got = wire.update(wire.reply(Update(3, [], 0, Sums())), Expected(3, START))
    assert got.arrays == [] and got.examples == 0


def test_what_methods_say_arrives_either_way() -> None:
    payloads = {"curious": [np.arange(3, dtype=np.float32), np.ones((2, 2), np.float32)]}
    shapes = {"curious": [(3,), (2, 2)]}
    task = wire.task(wire.request(replace(TASK, payloads=payloads), wire.record(START)))
    assert same(task.payloads["curious"], payloads["curious"]) and same(task.arrays, START)
    content = wire.reply(replace(UPDATE, payloads=payloads, task=2, memory=99))
    got = wire.update(content, Expected(3, START, shapes, LIMITS))
    assert same(list(got.payloads["curious"]), payloads["curious"]) and (got.task, got.memory) == (2, 99)


@pytest.mark.parametrize("shapes", [{}, {"other": [(3,)]}, {"curious": [(2,)]}, {"curious": [(3,), (1,)]}])
def test_what_methods_were_not_asked_for_is_refused(shapes: dict[str, list[tuple[int, ...]]]) -> None:
    content = wire.reply(replace(UPDATE, payloads={"curious": [np.zeros(3, np.float32)]}))
    with pytest.raises(ValueError):
        wire.update(content, Expected(3, START, shapes, LIMITS))


def test_weights_keep_their_order_whatever_the_order_of_their_names() -> None:
    many = [np.full(1, i, np.float32) for i in range(12)]
    record = ArrayRecord({str(i): Array(many[i]) for i in reversed(range(12))})
    assert same(wire.arrays(record), many)


def changed(**metrics: Any) -> RecordDict:
    """The answer with some numbers changed, or taken away by None."""
    content = wire.reply(UPDATE)
    mixed = dict(content.metric_records[wire.METRICS]) | metrics
    content[wire.METRICS] = MetricRecord({key: value for key, value in mixed.items() if value is not None})
    return content


def with_array(name: str, array: Array | None) -> RecordDict:
    """The answer with one array changed, or taken away by None."""
    content = wire.reply(UPDATE)
    arrays = {**content.array_records[wire.ARRAYS], name: array}
    content[wire.ARRAYS] = ArrayRecord({key: value for key, value in arrays.items() if value is not None})
    return content


def with_record(name: str, record: Any) -> RecordDict:
    content = wire.reply(UPDATE)
    content[name] = record
    return content


def without(name: str) -> RecordDict:
    content = wire.reply(UPDATE)
    del content[name]
    return content


def pickled(what: Any) -> Array:
    """An array whose bytes hold a pickle."""
    file = io.BytesIO()
    np.save(file, np.array([what] * 3, object), allow_pickle=True)
    return Array(dtype="float32", shape=(3,), stype="numpy.ndarray", data=file.getvalue())


class Trap:
    """Unpickled, it leaves a file."""

    path = ""

    def __reduce__(self) -> tuple[Any, ...]:
        return open, (self.path, "w")


NONSENSE: dict[str, tuple[Callable[[], RecordDict], str]] = {
    "NaN": (lambda: with_array("0", Array(np.array([1, np.nan, 3], np.float32))), "array 0 holds NaN or infinity"),
    "infinity": (lambda: with_array("1", Array(np.array([[np.inf, 0]], np.float32))), "array 1 holds NaN or inf"),
    "shape": (lambda: with_array("1", Array(np.zeros((2, 1), np.float32))), r"array 1 is float32 \[2, 1\], not .*1, 2"),
    "broadcastable shape": (lambda: with_array("1", Array(np.zeros((1, 1), np.float32))), r"array 1 is .*\[1, 1\]"),
    "dtype": (lambda: with_array("0", Array(np.zeros(3, np.float64))), "array 0 is float64"),
    "whole numbers": (lambda: with_array("0", Array(np.zeros(3, np.int32))), "array 0 is int32"),
    "missing array": (lambda: with_array("1", None), "1 arrays, not 2"),
    "extra array": (lambda: with_array("2", Array(np.zeros(1, np.float32))), "3 arrays, not 2"),
    "other names": (lambda: with_record(wire.ARRAYS, ArrayRecord({k: Array(START[0]) for k in "ab"})), "2 arrays"),
    "broken bytes": (lambda: with_array("0", Array("float32", (3,), "numpy.ndarray", b"\x93NUMPY broken")), "readable"),
    "no bytes": (lambda: with_array("0", Array("float32", (3,), "numpy.ndarray", b"")), "not readable"),
    "object array": (lambda: with_array("0", pickled("x")), "not readable"),
    "no metrics": (lambda: without(wire.METRICS), "records"),
    "extra arrays": (lambda: with_record("more", wire.record(START)), "records"),
    "extra metrics": (lambda: with_record("more", MetricRecord({"x": 1})), "records"),
    "wrong client": (lambda: changed(client=4), "client 4's"),
    "no examples": (lambda: changed(own=0), "0 examples"),
    "negative examples": (lambda: changed(own=-5), "own = -5"),
    "negative rehearsed": (lambda: changed(rehearsed=-5), "rehearsed = -5"),
    "giant count": (lambda: changed(own=10**18), "own = 1000000000000000000 should be between 0 and"),
    "count of 1e308": (lambda: changed(own=1e308), r"own = 1e\+308"),
    "nothing seen": (lambda: changed(seen=0), "no sense"),
    "giant seen": (lambda: changed(seen=10**18), "seen = 1000"),
    "infinite loss": (lambda: changed(loss=float("inf")), "loss = inf"),
    "giant loss": (lambda: changed(loss=1.7e308), "loss = 1.7e"),
    "negative loss": (lambda: changed(loss=-7.0), "loss = -7"),
    "NaN loss": (lambda: changed(loss=float("nan")), "loss = nan"),
    "NaN count": (lambda: changed(correct=float("nan")), "correct = nan"),
    "negative right answers": (lambda: changed(correct=-1), "correct = -1"),
    "more right than seen": (lambda: changed(correct=129), "correct = 129 should be between 0 and 128"),
    "infinite count": (lambda: changed(seen=float("inf")), "seen = inf"),
    "NaN labels": (lambda: changed(labels=[float("nan")] * 10), "labels = nan"),
    "negative labels": (lambda: changed(labels=[-1] * 10), "labels = -1"),
    "a million labels": (lambda: changed(labels=[1] * 10**6), "has 1,000,000 labels; there should be 10"),
    "a million looks": (lambda: changed(looks=[0.5] * 10**6), "has 1,000,000 looks; there should be 1,"),
    "infinite looks": (lambda: changed(looks=[float("inf")]), "looks = inf"),
    "task of no stream": (lambda: changed(task=10**9), "task = 1000000000"),
    "an earlier round": (lambda: changed(round=6), "one to round 6"),
    "giant memory": (lambda: changed(memory=10**18), "memory = 1000"),
    "battery NaN": (lambda: changed(battery=float("nan")), "battery = nan"),
    "a file's record": (lambda: with_record("step", ConfigRecord({"file": 10**12})), "records"),
    "a word more": (lambda: with_record(wire.CONFIG, ConfigRecord({"earlier": "", "x": "y" * 9})), "words .* x"),
    "a giant word": (lambda: with_record(wire.CONFIG, ConfigRecord({"earlier": "x" * 10**6})), "at most 200"),
    "bytes for a word": (lambda: with_record(wire.CONFIG, ConfigRecord({"earlier": b"x"})), "not a text"),
    "hundred megabytes": (
        lambda: with_array("0", Array("float32", (3,), "numpy.ndarray", bytes(10**8))),
        "100,000,000",
    ),
    "another way of packing": (lambda: with_array("0", Array("float32", (3,), "torch", b"")), "array 0 is torch"),
    "a lying header": (lambda: with_array("0", lying()), "not readable: an array of float32 .1000000000000"),
    "missing number": (lambda: changed(seen=None), "numbers"),
    "missing weight": (lambda: changed(own=None), "numbers"),
    "missing client": (lambda: changed(client=None), "numbers"),
    "one number more": (lambda: changed(more=1), "more"),
    "two labels": (lambda: changed(labels=[60, 60]), "2 labels"),
    "list for a number": (lambda: changed(loss=[1.0, 2.0]), "loss = .1.0, 2.0"),
    "number for a list": (lambda: changed(labels=3), "says 3 for labels"),
}


@pytest.mark.parametrize("what", NONSENSE)
def test_nonsense_is_refused_in_words(what: str) -> None:
    make, words = NONSENSE[what]
    with pytest.raises(ValueError, match=words):
        wire.update(make(), Expected(3, START, limits=LIMITS, round=7))


def test_escape_codes_in_a_word_do_not_arrive() -> None:
    content = with_record(wire.CONFIG, ConfigRecord({"earlier": "host\x1b[31m:17\n\x07"}))
    assert wire.update(content, Expected(3, START, limits=LIMITS)).earlier == "host [31m:17"


def lying() -> Array:
    """An array whose file says that it is larger than any memory."""
    file = io.BytesIO()
    np.lib.format.write_array_header_1_0(file, {"descr": "<f4", "fortran_order": False, "shape": (10**12,)})
    return Array("float32", (3,), "numpy.ndarray", file.getvalue() + bytes(12))


def test_nothing_is_unpickled(tmp_path: Path) -> None:
    Trap.path = str(tmp_path / "sprung")
    with pytest.raises(ValueError):
        wire.update(with_array("0", pickled(Trap())), Expected(3, START))
    assert not (tmp_path / "sprung").exists()


def test_weights_where_none_were_asked_for_are_refused() -> None:
    with pytest.raises(ValueError, match="records"):
        wire.update(wire.reply(UPDATE), Expected(3, []))


def test_an_answer_without_words_is_read_as_one_that_has_nothing_to_say() -> None:
    assert wire.update(without(wire.CONFIG), Expected(3, START, limits=LIMITS)).earlier == ""
