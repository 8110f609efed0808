"""Replies, mutated: whatever a client answers, it is read or refused by ValueError, and moves the model within its limits."""

from __future__ import annotations

import io
import logging
import math
from collections import Counter
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import replace
from typing import Any

import numpy as np
from flwr.app import Array, ArrayRecord, ConfigRecord, MetricRecord, RecordDict

from core.arrays import DAMAGE, Arrays, parsed
from core.config.part import Part
from core.config.scenario import Scenario
from core.methods import Chain
from core.methods.base import Finetune, Payloads, Received, Request
from core.methods.fedcurv import FedCurv
from core.plan import distance
from core.seeds import rng
from fl import strategies, wire
from fl.messages import Task
from fl.strategies import STRATEGIES
from fl.strategies.scaffold import reach
from server import rounds, trust
from server.checkpoint import RunState
from tests.fakes import START, FakeGrid, federation, honest, identify
from tests.models import spec

FULL = 100_000
COHORT = 7
SCENARIO = Scenario("fuzz", clients=COHORT, cohort=COHORT, looks=(Part("rotate"),))
ROUND = 3
GIANTS = (-1, 0, 1, 2, 10**6, 10**6 + 1, 2**31, 10**18, 2**63 - 1, -(2**63))
ODD = (math.nan, math.inf, -math.inf, 0.0, -0.0, 1e-308, 1e308, -1e308, 1e38, 0.5)
NAMES = ("", "step", "config", "metrics", "arrays", "method.", "method.curious", "method.fedcurv", "method.scaffold", "0",
         "own", "x" * 10_000, "\x1b[2J", "ключ", "__class__")  # fmt: skip


class Curious(Finetune):
    """A method that wants two arrays of its clients and takes whatever they hold."""

    name = "curious"

    def shapes(self, weights: Arrays) -> Mapping[str, Any]:
        return {self.name: [(4,), (2, 2)]}

    def accept(self, payloads: Payloads, received: Received) -> Payloads:
        return payloads

    def server_update(self, shared: Any, answers: Any, arrays: Arrays) -> Any:
        return {f"curious/{c}": answer["curious"][0] for c, answer in answers.items() if "curious" in answer}, arrays


def run(seed: int, count: int) -> Counter[tuple[str, str]]:
    """Mutate so many replies of one client in seven; {(strategy, outcome): how many}. Findings are printed, with their number."""
    identify()
    logging.getLogger("flwr").setLevel(logging.CRITICAL)
    scenario, found = SCENARIO, Counter[tuple[str, str]]()
    for number in range(count):
        draw = rng(seed, "reply", number)
        names = [one for one in STRATEGIES if one != "fedbn"]  # which needs a model with norms
        name = names[number % len(names)]
        try:
            with np.errstate(all="ignore"):
                found[name, _one(replace(scenario, strategy=Part(name)), draw)] += 1
        except Exception as error:
            print(f"seed {seed}, reply {number}, {name}: {type(error).__name__}: {str(error)[:300]}", flush=True)
            found[name, "finding"] += 1
    return found


def _one(scenario: Scenario, draw: np.random.Generator) -> str:
    """One round with one mutated reply. Raises whatever the server would not have expected."""
    task = Task(scenario, ROUND, 2, 0.1, START)
    method = Chain([Curious(spec()), FedCurv(spec()), *strategies.build(scenario).client()])
    asked = Request(scenario, ROUND, 0.1, START, {})
    reply = mutated(answer(task), draw)
    try:
        checked = trust.read(reply, 2, asked, method, None)
    except ValueError as error:
        words = str(error)
        return "refused" if words.isprintable() and len(words) < 1000 else f"FINDING words: {words[:50]!r}"
    assert checked.drift <= scenario.max_update_ratio and checked.update.own_examples <= scenario.max_examples
    others = {c: answer(replace(task, client=c)) for c in range(COHORT) if c != 2}
    read = {c: trust.read(one, c, asked, method, None) for c, one in others.items()}
    believed = trust.believe(dict(sorted({**read, 2: checked}.items())), asked, method)
    assert set(believed.refused) <= {2} and believed.counts[2] <= scenario.count_ratio * 60
    assert all(0 <= count < math.inf for count in believed.counts.values())
    these = federation(FakeGrid(), scenario)
    state, new, error_ = rounds._aggregated(these, RunState(ROUND - 1, START), believed, ROUND)
    assert len(believed.learned) < COHORT or not error_ or "cut" in error_, error_
    kept, new, unusable = rounds._server_updated(method, {}, believed.payloads, new)
    assert not unusable and all(np.isfinite(w).all() for w in (*new, *kept.values(), *state.values()))
    assert distance(START, new) <= scenario.max_update_ratio * (1 + 1e-5)
    _harmless(method.download(kept, 1).get("fedcurv", []), scenario.max_update_ratio)
    trust.standing_out(trust.directions(START, believed.learned, believed.drift))
    return "read, within the limits"


def _harmless(payload: Arrays, max_update_ratio: float) -> None:
    """What the next client is held to is finite, and no further than a client may be."""
    if not payload:
        return
    both, count = payload[:-1], len(payload) // 2
    for information, product, start in zip(both[:count], both[count:], START, strict=True):
        anchor = np.where(information > 1e-12, product / np.maximum(information, 1e-12), start)
        assert np.isfinite(anchor).all() and (np.abs(anchor - start) <= 1.01 * (1 + max_update_ratio) * 10).all()


def answer(task: Task) -> RecordDict:
    """What an honest client answers that also has something to say for a method."""
    payloads = {"curious": [np.arange(4, dtype=np.float32), np.ones((2, 2), np.float32)]}
    payloads["fedcurv"] = [np.full_like(w, 0.5) for w in START] + [np.float32(0.5) * w for w in START]
    update, local = honest(task), task.scenario.local
    if task.scenario.strategy.name == "scaffold":
        far = np.float32(reach(update.sums.examples // local.batch, task.rate, local.momentum))
        moved = [(x - y) / far for x, y in zip(task.arrays, update.arrays, strict=True)]
        payloads["scaffold"] = [*moved, np.array([far, task.round], np.float32)]
    return wire.reply(replace(update, labels=(1,) * 10, looks=(0.5,), payloads=payloads, rehearsed=3))


# ── mutations: each changes the records it is given ──


def mutated(content: RecordDict, draw: np.random.Generator) -> RecordDict:
    """One to three changes. What Flower itself would refuse to send is left as it was."""
    for _ in range(draw.integers(1, 4)):
        with suppress(TypeError, KeyError, OverflowError, *DAMAGE):
            MUTATIONS[draw.integers(len(MUTATIONS))](content, draw)
    return content


def _pick(values: Any, draw: np.random.Generator) -> Any:
    return list(values)[int(draw.integers(len(values)))]


def _number(content: RecordDict, draw: np.random.Generator) -> None:
    numbers = dict(content.metric_records[wire.METRICS])
    value = _pick(GIANTS + ODD, draw)
    several: list[Any] = [value] * int(_pick((0, 1, 2, 9, 10, 11, 5000), draw))
    numbers[_pick((*wire.NUMBERS, *NAMES), draw)] = several if draw.random() < 0.3 else value
    content[wire.METRICS] = MetricRecord(numbers)


def _without(content: RecordDict, draw: np.random.Generator) -> None:
    if draw.random() < 0.5:
        del content[_pick(content, draw)]
    else:
        record: Any = content[_pick(content, draw)]
        del record[_pick(record, draw)]


def _record(content: RecordDict, draw: np.random.Generator) -> None:
    kinds: tuple[Callable[[], Any], ...] = (
        lambda: ConfigRecord({"file": int(_pick(GIANTS, draw))}),
        lambda: ConfigRecord({_pick(NAMES, draw): bytes(int(draw.integers(10_000)))}),
        lambda: MetricRecord({_pick(NAMES, draw): _pick(ODD, draw)}),
        lambda: wire.record(START),
        lambda: content[_pick(content, draw)],
    )
    content[_pick((*NAMES, *content), draw)] = _pick(kinds, draw)()


def _word(content: RecordDict, draw: np.random.Generator) -> None:
    words = (*NAMES, "x" * 100, "x" * 101, b"bytes", 7, [1, 2], 0.5, True, "\x1b]0;title\x07", "\u202e", "a\nb")
    content[wire.CONFIG] = ConfigRecord({_pick(("earlier", *NAMES), draw): _pick(words, draw)})


def _values(content: RecordDict, draw: np.random.Generator) -> None:
    """An array of other numbers, another shape, kind or order."""
    record = content.array_records[_pick(content.array_records, draw)]
    name = _pick(record, draw)
    old = parsed(record[name].data).astype(np.float32)
    kind = _pick((">f4", "f8", "f2", "i4", "c8", "U3"), draw)
    changes: tuple[Callable[[], np.ndarray], ...] = (
        lambda: old * np.float32(10.0 ** draw.integers(-45, 39)),
        lambda: np.where(draw.random(old.shape) < 0.3, np.float32(_pick(ODD, draw)), old),
        lambda: (old + draw.standard_normal(old.shape) * 10.0 ** draw.integers(-3, 3)).astype(np.float32),
        lambda: old[..., :1],
        lambda: np.asfortranarray(old),
        lambda: old.astype(kind),
        lambda: np.zeros(int(draw.integers(5000)), np.float32),
        lambda: -old,
        lambda: old[None],
        lambda: np.zeros((), np.float32),
    )
    record[name] = Array(np.asarray(_pick(changes, draw)()))


def _bytes(content: RecordDict, draw: np.random.Generator) -> None:
    """An array whose file is damaged, cut, longer, or says what it is not."""
    record = content.array_records[_pick(content.array_records, draw)]
    name = _pick((*record, *NAMES), draw)
    data = bytearray(record.get(name, _pick(record.values(), draw)).data)
    for _ in range(draw.integers(0, 6)):
        data[draw.integers(len(data))] = draw.integers(256)
    cut = slice(None, int(draw.integers(len(data) + 1))) if draw.random() < 0.3 else slice(None)
    tail = bytes(int(_pick((0, 1, 100, 10_000), draw))) if draw.random() < 0.3 else b""
    stype, dtype = _pick(("numpy.ndarray", "torch", "\x1b"), draw), _pick(("float32", "object", "?"), draw)
    record[name] = Array(dtype, (3,), stype if draw.random() < 0.2 else "numpy.ndarray", bytes(data[cut]) + tail)


def _header(content: RecordDict, draw: np.random.Generator) -> None:
    """An array whose header lies about its length, or is no header."""
    record, file = content.array_records[wire.ARRAYS], io.BytesIO()
    shape = _pick(((10**12,), (2**63,), (-1,), (3,), (0,), (3, 0), (10**6,), ()), draw)
    np.lib.format.write_array_header_1_0(file, {"descr": _pick(("<f4", "|O", "<U9", "|V9", "<f8"), draw), "fortran_order": True,
                                                "shape": shape})  # fmt: skip
    record["0"] = Array("float32", (3,), "numpy.ndarray", file.getvalue() + bytes(int(_pick((0, 12, 24), draw))))


def _arrays(content: RecordDict, draw: np.random.Generator) -> None:
    """All arrays moved alike, towards or away, as a client would that wants to own the model."""
    far = np.float32(_pick((-1, 0, 1, 5, 9.9, 10, 11, 1e3, 1e30), draw))
    content[wire.ARRAYS] = wire.record([w * (1 + far) for w in START])


def _order(content: RecordDict, draw: np.random.Generator) -> None:
    """The same arrays, named in another order: strategies may go by it."""
    name = _pick(content.array_records, draw)
    content[name] = ArrayRecord({key: content.array_records[name][key] for key in reversed(list(content[name]))})


def _again(content: RecordDict, draw: np.random.Generator) -> None:
    """Many arrays, or another way to name them."""
    names = _pick(([str(i) for i in range(500)], ["0", "01"], ["1", "2"], ["0", "1", "-1"], []), draw)
    content[_pick((wire.ARRAYS, "method.curious", "method.fedcurv", "method.scaffold"), draw)] = ArrayRecord(
        {name: Array(START[0]) for name in names}
    )


MUTATIONS = (_number, _number, _without, _record, _word, _values, _values, _bytes, _header, _arrays, _order, _again)
