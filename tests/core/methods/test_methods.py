"""Plain fine-tuning is the base class; a chain of methods adds pulls up, joins rehearsals, keeps memories apart."""

from __future__ import annotations

import numpy as np
import pytest

from core.config.part import Part
from core.config.scenario import Scenario
from core.data import Examples
from core.engines.base import Engine
from core.methods import METHODS, Chain, Finetune
from core.methods.base import Memory, Payloads
from core.plan import Learned, Lesson, Pull, Rehearsal
from core.scores import Sums
from tests.models import engine, spec

START = [np.array([1, -2, 3], np.float32)]
EXAMPLES = Examples(np.zeros((4, 28, 28), np.uint8), np.arange(4))
LEARNED = Learned(START, Sums(), [])
LESSON = Lesson(1, START, EXAMPLES, np.zeros((4, 0), np.float32), 0, 1, 0.1, Scenario("methods"))


class Pulling(Finetune):
    """Pulls to zero, rehearses `n` sevens, remembers its name."""

    def __init__(self, name: str, strength: float, n: int, share: float) -> None:
        super().__init__(spec())
        self.name, self.strength, self.n, self.share = name, strength, n, share

    def pull(self, memory: Memory, lesson: Lesson) -> Pull:
        return Pull.towards([0 * w for w in lesson.start], self.strength)

    def rehearse(self, memory: Memory, lesson: Lesson, engine: Engine) -> Rehearsal:
        old = Examples(np.full((self.n, 28, 28), 7, np.uint8), np.full(self.n, 7))
        part = np.full(self.n, self.strength, np.float32)
        return Rehearsal(old, part, np.tile(1 - part[:, None], 10), np.tile(part[:, None], 10), self.share)

    def remember(self, memory: Memory, lesson: Lesson, learned: Learned, engine: Engine) -> Memory:
        return {**memory, self.name: {lesson.stage: {"w": learned.weights[0]}}}

    def upload(self, memory: Memory, lesson: Lesson, learned: Learned, engine: Engine) -> Payloads:
        return {self.name: learned.weights}


def test_pulls_of_a_chain_add_up() -> None:
    pull = Chain([Pulling("a", 0.25, 0, 0), Finetune(spec()), Pulling("b", 0.5, 0, 0)]).pull({}, LESSON)
    assert pull.a[0] == 0.75 and not pull.b[0].any()


def test_rehearsals_of_a_chain_are_joined_in_order_and_empty_ones_left_out() -> None:
    both = Chain([Pulling("a", 0.25, 2, 0.3), Pulling("none", 0.9, 0, 0.9), Pulling("b", 0.5, 3, 0.4)]).rehearse(
        {}, LESSON, engine
    )
    assert len(both.examples) == 5 and both.share == 0.4
    assert both.hard.tolist() == [0.25] * 2 + [0.5] * 3 and both.soft[:, 7].tolist() == [0.75] * 2 + [0.5] * 3
    assert both.logits.shape == (5, 10) and both.logits[:, 3].tolist() == both.hard.tolist()


def test_methods_of_a_chain_remember_and_upload_apart() -> None:
    chain = Chain([Pulling("a", 0, 0, 0), Finetune(spec()), Pulling("b", 0, 0, 0)])
    before: Memory = {"c": {0: {"w": START[0]}}}
    after = chain.remember(before, LESSON, LEARNED, engine)
    assert set(after) == {"a", "b", "c"} and set(before) == {"c"}
    assert set(chain.upload({}, LESSON, LEARNED, engine)) == {"a", "b"}


@pytest.mark.parametrize("chain", [[], [Finetune(spec())], [Finetune(spec()), Finetune(spec())]])
def test_a_chain_of_fine_tuning_is_fine_tuning(chain: list[Finetune]) -> None:
    whole, memory = Chain(chain), {"x": {0: {"w": START[0]}}}
    assert whole.pull(memory, LESSON) == Finetune(spec()).pull(memory, LESSON)
    assert len(whole.rehearse(memory, LESSON, engine).examples) == 0
    assert whole.remember(memory, LESSON, LEARNED, engine) is memory
    assert whole.upload(memory, LESSON, LEARNED, engine) == {}


@pytest.mark.parametrize("name", METHODS)
def test_a_method_rests_in_the_first_stage_with_no_memory(name: str) -> None:
    first = Lesson(0, START, EXAMPLES, np.zeros((4, 0), np.float32), 0, 1, 0.1, Scenario("methods"))
    method = Part(name).build("methods", METHODS, spec())
    pull = method.pull({}, first)
    assert all(np.isfinite(part).all() for part in (*pull.a, *pull.b))
    assert not any((a * w + b).any() for a, w, b in zip(pull.a, START, pull.b, strict=True))
    assert len(method.rehearse({}, first, engine).examples) == 0
