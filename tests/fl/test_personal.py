"""Models of clients' own: what stays with a client never leaves it, survives a restart, and changes nothing for the others."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from flwr.app import Array, ArrayRecord, Error, Message, MetricRecord, RecordDict

from clients import memory
from clients.learner import learn
from clients.sources.simulated import own_test, shard
from core.arrays import Arrays, in_order
from core.config.part import Part
from core.config.scenario import Model, Scenario
from core.data import Examples
from core.methods import Chain, Finetune
from core.methods.base import Memory
from core.models import of
from core.plan import Learned, Lesson, Pull, Rehearsal, draw
from core.scores import Sums, score
from fl import roster, strategies, wire
from fl.channel import Stopped
from fl.messages import Task, Update
from fl.strategies.ditto import PersonalModel
from fl.strategies.fedper import PersonalLayers, fedbn, fedper
from fl.wire import Expected
from scenarios.backends.local import LocalGrid
from server.record import Costs, Report, RoundSeconds
from tests.fakes import Onlooker, federate, same
from tests.models import engine, initial, spec

HEAD = {6, 7}  # the CNN's last dense layer: kernel and bias
OWN = [Part("fedper"), Part("ditto")]


@pytest.fixture(scope="module")
def all_(tiny: Scenario) -> Scenario:
    """Every client in every round."""
    return replace(tiny, cohort=4, partition=Part("labels", {"k": 3}))


def memory_after(folder: Path, client: int, round: int) -> Memory:
    return memory.before(memory.home(folder / "clients", client), round + 1)


def alone(scenario: Scenario, client: int) -> Arrays:
    """What a client learns in all rounds if nobody ever sends it anything."""
    plain, arrays = replace(scenario, strategy=Part("fedavg")), spec().initial(scenario.seed)
    for number in range(1, scenario.rounds + 1):
        task = Task(plain, number, client, scenario.local.rate, arrays)
        arrays = learn(shard(plain.json(), client), task, {}, engine)[0].arrays
    return arrays


# ── what changes nothing ──


def test_no_personal_layer_and_a_model_beside_are_averaging_to_the_last_bit(all_: Scenario, tmp_path: Path) -> None:
    parts = [Part("fedavg"), Part("fedper", {"layers": 0}), Part("ditto"), Part("fedper")]
    average, none, beside, head = (
        federate(replace(all_, strategy=part), tmp_path / str(i)) for i, part in enumerate(parts)
    )
    assert average.weights_sha256 == none.weights_sha256 == beside.weights_sha256 != head.weights_sha256
    shares = [[one.accuracy for one in report.shards] for report in (average, none, beside)]
    assert shares[0] == shares[1] == shares[2]
    own = [[one.personal_accuracy for one in report.shards] for report in (average, none, beside)]
    assert own[0] == own[1] == [None] * 4 and all(share is not None for share in own[2])


def test_with_all_layers_personal_each_client_learns_alone(all_: Scenario, tmp_path: Path) -> None:
    constant = replace(all_, schedule=Part("constant"), strategy=Part("fedper", {"layers": 4}))
    report = federate(constant, tmp_path)
    mine = PersonalLayers(spec(), range(8)).serve(memory_after(tmp_path, 2, 2), initial(9))
    assert same(mine, alone(constant, 2))
    assert len({row.loss for row in report.history}) == 1  # and the global model never moves


def test_without_a_pull_each_own_model_learns_alone(all_: Scenario, tmp_path: Path) -> None:
    constant = replace(all_, schedule=Part("constant"), strategy=Part("ditto", {"strength": 0.0}))
    federate(constant, tmp_path)
    assert same(in_order("v", memory_after(tmp_path, 2, 2)["ditto"][0]), alone(constant, 2))


def test_hooks_that_nobody_uses_give_back_what_they_were_given() -> None:
    start, learned = initial(0), initial(1)
    for method in (Finetune(spec()), Chain([]), Chain([Finetune(spec())])):
        assert method.begin({}, start) is start and method.serve({}, start) is start and not method.personal
        assert method.publish(start, learned) is learned


# ── Ditto's closed form ──


@pytest.mark.parametrize("strength", [0.0, 1.0, 10.0, 1000.0])
def test_an_own_model_ends_where_its_loss_and_the_pull_are_in_balance(strength: float) -> None:
    """F = a/2 · (v − b)² and λ/2 · (v − w)²: at (a·b + λ·w) / (a + λ), which a large λ holds to w."""
    a, b, w, rate = 2.0, 3.0, -1.0, 0.5 / (2.0 + strength)
    weights = [np.full(1, w, np.float32)]
    nothing = Examples(np.zeros((0, 28, 28), np.uint8), np.zeros(0, np.int64))
    lesson = Lesson(0, weights, nothing, np.zeros((0, 0)), 0, 1, rate, Scenario("quadratic"))
    plan = draw(lesson, Pull.none(weights), Rehearsal.none())
    method, remembered = PersonalModel(spec(), strength), dict[str, Any]()
    for _ in range(40):
        ((start, own),) = method.auxiliary(remembered, lesson, plan).values()
        v = float(start[0][0])
        slope, offset = (float(np.broadcast_to(part[0], 1)[0]) for part in (own.pull.a, own.pull.b))
        for _ in range(10):
            v -= rate * (a * (v - b) + slope * v + offset)
        learned = Learned(weights, Sums(), [], auxiliary={"ditto": Learned([np.full(1, v, np.float32)], Sums(), [])})
        remembered = dict(method.remember(remembered, lesson, learned, engine))
    found = float(method.serve(remembered, weights)[0][0])
    assert found == pytest.approx((a * b + strength * w) / (a + strength), abs=1e-4)
    assert strength < 1000 or abs(found - w) < 0.01


def test_an_own_model_sees_the_rows_that_the_round_sees(all_: Scenario) -> None:
    seen: list[Any] = []

    class Watching:
        def __getattr__(self, name: str) -> Any:
            return getattr(engine, name)

        def train(self, weights: Arrays, plan: Any) -> Learned:
            seen.append(plan)
            return engine.train(weights, plan)

    scenario = replace(all_, strategy=Part("ditto", {"strength": 0.5}))
    learn(shard(scenario.json(), 1), Task(scenario, 1, 1, 0.05, initial(3)), {}, Watching())  # type: ignore[arg-type]
    one, other = seen
    assert one.images is other.images and one.order is other.order and not np.any(one.pull.a[0])
    assert all(np.array_equal(b, -0.5 * w) for b, w in zip(other.pull.b, initial(3), strict=True))


# ── what never leaves a client ──


class Eavesdropping(LocalGrid):
    """Keeps the arrays of every answer, and drops the answers of some (round, client) on their way."""

    def __init__(self, nodes: int, config: dict[str, str], lost: Iterable[tuple[int, int]] = ()) -> None:
        super().__init__(nodes, config)
        self.heard: list[tuple[Task, list[np.ndarray]]] = []
        self.lost = set(lost)

    def pull_messages(self, message_ids: Iterable[str]) -> list[Message]:
        if not self.unsent:
            return []
        ask = self.unsent[0]
        task, learns = wire.task(ask.content), ask.metadata.message_type == "train"
        replies = super().pull_messages(message_ids)
        self.heard += [(task, all_arrays(one.content)) for one in replies if one.has_content()]
        lost = learns and (task.round, task.client) in self.lost
        return [Message(Error(code=0, reason="lost"), reply_to=ask)] if lost else replies


def overheard(scenario: Scenario, folder: Path, lost: Iterable[tuple[int, int]] = ()) -> tuple[Report, Eavesdropping]:
    grid = Eavesdropping(roster.nodes(scenario), {"memory": str(folder / "clients")}, lost)
    return federate(scenario, folder, grid=grid), grid


def all_arrays(content: RecordDict) -> list[np.ndarray]:
    """All arrays of a message, whatever their record."""
    return [array.numpy() for record in content.array_records.values() for array in record.values()]


@pytest.mark.parametrize("part", OWN, ids=str)
def test_nothing_personal_is_on_the_wire(all_: Scenario, part: Part, tmp_path: Path) -> None:
    scenario = replace(all_, strategy=part)
    report, grid = overheard(scenario, tmp_path)
    answers = [(task, arrays) for task, arrays in grid.heard if arrays]
    assert len(answers) == 8 and not report.events
    for task, arrays in answers:
        slots = memory_after(tmp_path, task.client, task.round)[{"fedper": "personal", "ditto": "ditto"}[part.name]]
        mine = list(slots[0].values())
        assert mine and not any(same([one], [other]) for one in mine for other in arrays)
        if part.name == "fedper":
            assert all(same([arrays[i]], [task.arrays[i]]) == (i in HEAD) for i in range(8))
    first = spec().initial(scenario.seed)
    assert part.name != "fedper" or all(same([grid.heard[-1][0].arrays[i]], [first[i]]) for i in HEAD)


def test_the_report_says_what_the_model_in_the_memory_reads(all_: Scenario, tmp_path: Path) -> None:
    scenario = replace(all_, cohort=1, strategy=Part("fedper"))
    report, grid = overheard(scenario, tmp_path)
    asked = {client for row in report.history for client in row.clients}
    arrays, head = grid.heard[-1][0].arrays, PersonalLayers(spec(), HEAD)
    assert 0 < len(asked) < 4
    for one in report.shards:
        test = own_test(scenario.json(), one.client)
        mine = head.serve(memory_after(tmp_path, one.client, 2), arrays)
        assert one.personal_accuracy == score(engine.logits(mine, test.x), test.y).accuracy
        assert one.client in asked or one.personal_accuracy == one.accuracy  # never asked: it has the global one


# ── what becomes of a run that is stopped, and of replies that are lost or lie ──


def timeless(report: Report) -> Report:
    return replace(
        report,
        history=tuple(replace(row, seconds=RoundSeconds()) for row in report.history),
        seconds={},
        folder="",
        costs=Costs(),
    )


@pytest.mark.slow
@pytest.mark.parametrize("name", ["tensorflow", "litert"])
@pytest.mark.parametrize("part", OWN, ids=str)
def test_three_rounds_and_three_more_are_six_to_the_last_bit(
    tiny: Scenario, part: Part, name: str, tmp_path: Path
) -> None:
    scenario = replace(tiny, rounds=6, engine=name, strategy=part, looks=(), train=300)
    whole = federate(scenario, tmp_path / "whole")
    with pytest.raises(Stopped):
        federate(scenario, tmp_path / "parts", Onlooker(at=4))
    assert timeless(federate(scenario, tmp_path / "parts")) == timeless(whole) and not whole.events
    assert [one.personal_accuracy for one in whole.shards] != [one.accuracy for one in whole.shards]


@pytest.mark.parametrize("part", OWN, ids=str)
def test_a_lost_reply_loses_nothing_of_a_clients_own(all_: Scenario, part: Part, tmp_path: Path) -> None:
    report, _ = overheard(replace(all_, strategy=part), tmp_path, lost=[(1, 2), (2, 3)])
    assert [set(row.failed) for row in report.history] == [{2}, {3}]
    assert all(one.personal_accuracy is not None for one in report.shards)
    assert all(memory_after(tmp_path, client, 2) for client in range(4))


def test_a_client_that_sends_other_personal_layers_is_refused_by_name(all_: Scenario, tmp_path: Path) -> None:
    class Lying(LocalGrid):
        def pull_messages(self, message_ids: Iterable[str]) -> list[Message]:
            replies = super().pull_messages(message_ids)
            for one in replies:
                numbers = one.content.metric_records[wire.METRICS]
                if numbers["client"] == 1 and wire.ARRAYS in one.content:
                    arrays = one.content.array_records[wire.ARRAYS]
                    moved = Array(arrays["7"].numpy() + np.float32(0.25))
                    one.content[wire.ARRAYS] = ArrayRecord({**arrays, "7": moved})
            return replies

    scenario = replace(all_, strategy=Part("fedper"))
    report = federate(scenario, tmp_path, grid=Lying(roster.nodes(scenario), {"memory": str(tmp_path / "clients")}))
    assert all("stay with the client" in row.failed[1] and row.clients == (0, 2, 3) for row in report.history)


def test_what_is_no_number_is_not_remembered() -> None:
    lesson = Lesson(0, initial(0), Examples.none(), np.zeros((0, 0)), 0, 1, 0.1, Scenario("broken"))
    broken = [w * np.float32("nan") for w in initial(0)]
    before: Memory = {"ditto": {0: {"v0": np.zeros(1, np.float32)}}}
    beside = Learned([], Sums(), [], {"ditto": Learned(broken, Sums(), [])})
    assert PersonalModel(spec(), 1.0).remember(before, lesson, beside, engine) is before
    assert PersonalLayers(spec(), HEAD).remember(before, lesson, Learned(broken, Sums(1, 1, 1), []), engine) is before


# ── what an own model reads, on the wire ──

JUDGED = Update(3, [], 120, Sums(1.0, 40, 50), personal=Sums(0.5, 45, 50))


def test_what_an_own_model_reads_arrives_as_it_was_sent() -> None:
    assert wire.update(wire.reply(JUDGED), Expected(3, [], personal=True)).personal == Sums(0.5, 45, 50)


@pytest.mark.parametrize(
    "change, words",
    [
        ({"correct": 51}, "correct = 51 should be between 0 and 50"), ({"seen": 49}, "seen = 49 should be between 50 and 50"),
        ({"loss": float("nan")}, "loss = nan"), ({"more": 1}, "numbers .*more"), ({"loss": [1.0]}, "loss"),
    ],
)  # fmt: skip
def test_nonsense_of_an_own_model_is_refused(change: dict[str, Any], words: str) -> None:
    content = wire.reply(JUDGED)
    content[wire.PERSONAL] = MetricRecord({**content.metric_records[wire.PERSONAL], **change})
    with pytest.raises(ValueError, match=words):
        wire.update(content, Expected(3, [], personal=True))


@pytest.mark.parametrize("update, personal", [(JUDGED, False), (replace(JUDGED, personal=None), True)])
def test_an_own_model_that_was_not_asked_for_or_is_missing_is_refused(update: Update, personal: bool) -> None:
    with pytest.raises(ValueError, match="records are not the ones asked for"):
        wire.update(wire.reply(update), Expected(3, [], personal=personal))


# ── which arrays, and what cannot be had ──


def test_a_layer_that_was_personal_in_the_run_before_and_is_shared_now_comes_from_the_server() -> None:
    kept = {"personal": {3: {str(i): w for i, w in enumerate(initial(1)) if i >= 4}}}
    begun = PersonalLayers(spec(), HEAD).begin(kept, initial(0))
    assert same(begun[:6], initial(0)[:6]) and same(begun[6:], initial(1)[6:])


def test_the_last_layers_are_those_with_weights() -> None:
    kept_ = [fedper(Scenario("x"), layers=n).client() for n in range(5)]
    found = [sorted(methods[0].kept) if methods else [] for methods in kept_]  # type: ignore[attr-defined]
    assert found == [[], [6, 7], [4, 5, 6, 7], [2, 3, 4, 5, 6, 7], list(range(8))]


IMPOSSIBLE = [
    (Scenario("x", strategy=Part("fedper", {"layers": 5})), "strategy.layers = 5 should be 0 … 4"),
    (Scenario("x", strategy=Part("fedper", {"layers": -1})), "strategy.layers = -1"),
    (
        Scenario("x", strategy=Part("fedper"), methods=(Part("replay"), Part("fedcurv"))),
        "methods = fedcurv, which sends",
    ),
    (Scenario("x", strategy=Part("fedper"), methods=(Part("acil"),)), "methods = acil, which sends"),
    (Scenario("x", strategy=Part("ditto", {"strength": -1.0})), "strategy.strength = -1"),
    (Scenario("x", strategy=Part("ditto", {"strength": 100.0})), "strategy.strength = 100 at local.rate = 0.05"),
]


@pytest.mark.parametrize("scenario, words", IMPOSSIBLE)
def test_what_cannot_be_had_is_refused_by_name(scenario: Scenario, words: str) -> None:
    with pytest.raises(ValueError) as caught:
        strategies.build(scenario)
    assert words in str(caught.value)


def test_normalization_layers_stay_with_the_client_where_there_are_any() -> None:
    with pytest.raises(ValueError, match=r"fedbn needs model\.norm = batch or group"):
        fedbn(Scenario("x"))
    normed = Scenario("x", model=Model(norm="batch"))
    norms = {i for i, name in enumerate(of(normed).names) if name.partition("/")[0].endswith("_norm")}
    rule = fedbn(normed)
    assert len(norms) == 8 and rule.client()[0].kept == norms == rule.kept  # type: ignore[attr-defined]


def test_an_own_layer_is_taught_with_what_a_method_remembers(all_: Scenario, tmp_path: Path) -> None:
    """In a stream: what is rehearsed comes beside what is personal, in one memory, and neither disturbs the other."""
    scenario = replace(
        all_,
        partition=Part("iid"),
        stream=Part("classes", {"per_task": 5}),
        methods=(Part("replay"),),
        strategy=Part("fedper"),
    )
    report = federate(scenario, tmp_path)
    assert not report.events and set(memory_after(tmp_path, 0, 2)) == {"replay", "personal"}
    assert len(memory_after(tmp_path, 0, 2)["personal"]) == 1  # one slot, whatever the stage
