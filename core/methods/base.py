"""What a continual method may do to a client's round: a few optional hooks. Plain fine-tuning is the base class."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, reduce
from statistics import median_low

import numpy as np

from core.arrays import Arrays, squared_length
from core.config.scenario import Scenario
from core.data import Examples
from core.engines.base import Engine
from core.models import ModelSpec, of
from core.plan import Contrast, Distillation, Learned, Lesson, Plan, Pull, Rehearsal, joined
from core.softmax import Calibration

# {method: {stage: {name: array}}}: what a learner carries between rounds. It never leaves the client.
Slot = Mapping[str, np.ndarray]
Memory = Mapping[str, Mapping[int, Slot]]
Payloads = Mapping[str, Arrays]  # {method: arrays}: what a method sends beside the weights
Shared = Mapping[str, np.ndarray]  # {"method/name": array}: what the server keeps for methods


@dataclass(frozen=True)
class Request:
    """What the clients of a round were asked."""

    scenario: Scenario
    round: int
    rate: float
    arrays: Arrays  # the global weights that they were sent
    shared: Shared  # what the server kept for methods before this round

    @cached_property
    def squared_length(self) -> float:
        """Of the weights that take gradients."""
        return squared_length(of(self.scenario).trainable(self.arrays))


@dataclass(frozen=True)
class Received:
    """What the server knows of a client's reply when a method looks at what it sent beside the weights."""

    request: Request
    arrays: Arrays  # the client's new weights; none, if it took no step
    own_examples: int  # that it learned from
    examples: int  # with those that it rehearsed: what it weighs in a mean
    steps: int  # that it took
    max_examples: float  # that a client of this round is believed to have; ∞ in simulation, where each count is known
    client: int = -1  # who it is
    # Its examples of each stage of this run until now; None on devices: nobody knows
    stage_examples: tuple[int, ...] | None = None


class Finetune:
    """Plain SGD on what is there now; the lower bound of every continual method"""

    name = ""  # in registries, memories and payloads
    # Is what the server keeps for it all in `shared`? If not, a run that goes on from another begins it anew.
    carried = True
    # Does what the server keeps fit only what clients remember of the same round? If so, a run that goes on from another's older
    # version begins it anew.
    in_step = False
    counts_all = False  # does what the server keeps for it count a client for ever, whether it is there or not?
    path = False  # does the engine sum each weight's part in lowering the loss (Learned.path)?
    contrasts = False  # can its plans have a contrast (Plan.contrast)?
    personal = False  # has a client a model of its own, beside the global one (`serve`)?

    def __init__(self, model: ModelSpec) -> None:
        """model: which its weights are of. Raises ValueError if the method cannot be had with it."""
        self.model = model

    # ── on the client ──

    def begin(self, memory: Memory, arrays: Arrays) -> Arrays:
        """The weights that a client starts its round from; arrays: the received global ones."""
        return arrays

    def trains(self, lesson: Lesson) -> bool:
        """Does the client take gradient steps in this round?"""
        return True

    def revisits(self, lesson: Lesson) -> int:
        """The oldest stage whose images it needs in this round beside the present one's: `Lesson.earlier` has those of the
        stages from there on that the client has met, where it still holds them. The lesson's own stage: none."""
        return lesson.stage

    def pull(self, memory: Memory, lesson: Lesson) -> Pull:
        """What holds the weights. Reads only slots of stages before this lesson's."""
        return Pull.none(lesson.start)

    def rehearse(self, memory: Memory, lesson: Lesson, engine: Engine) -> Rehearsal:
        """What is looked at again, and what it teaches."""
        return Rehearsal.none()

    def distil(self, memory: Memory, lesson: Lesson, engine: Engine, views: Examples) -> Distillation:
        """What the lesson's own images teach beside their labels. views: these images, augmented, in the plan's order."""
        return Distillation.nothing(len(views))

    def calibrate(self, class_counts: np.ndarray) -> Calibration:
        """What the cross-entropy compares. class_counts: how many images of each class the client learns from, int [classes]."""
        return Calibration.none(class_counts)

    def guard(self, memory: Memory, lesson: Lesson) -> Examples:
        """Examples whose loss no step may raise."""
        return Examples.none()

    def contrast(self, plan: Plan, memory: Memory, lesson: Lesson, engine: Engine) -> Contrast | None:
        """What the features of the plan's images are held to; asked when all else of the plan is decided."""
        return None

    def reference(self, memory: Memory, lesson: Lesson) -> Arrays:
        """A gradient that no step may go against, of the weights' shapes; empty: none."""
        return []

    def auxiliary(self, memory: Memory, lesson: Lesson, plan: Plan) -> Mapping[str, tuple[Arrays, Plan]]:
        """{method: (start, plan)}: what else is trained in a round with steps, after the round's own plan. What it comes to is
        in Learned.auxiliary when the method remembers; nothing of it goes to the server."""
        return {}

    def remember(self, memory: Memory, lesson: Lesson, learned: Learned, engine: Engine) -> Memory:
        """The memory after the round: overwrites this stage's own slot, for nobody knows which round is the last."""
        return memory

    def publish(self, received: Arrays, learned: Arrays) -> Arrays:
        """The weights that go to the server, of those learned; received: the global ones."""
        return learned

    def upload(self, memory: Memory, lesson: Lesson, learned: Learned, engine: Engine) -> Payloads:
        """Arrays for the server beside the weights; memory is that after the round."""
        return {}

    def serve(self, memory: Memory, arrays: Arrays) -> Arrays:
        """The client's own model, if it has one (`personal`); arrays: the global weights."""
        return arrays

    # ── on the server ──

    def rehearses(self, met: int) -> int:
        """The most examples that a client can learn from again, having met so many before this stage."""
        return 0

    def shapes(self, weights: Arrays) -> Mapping[str, Sequence[tuple[int, ...]]]:
        """The shapes of the float32 arrays that may come beside such weights; anything else is refused."""
        return {}

    def asks_for_weights(self, request: Request) -> bool:
        """Do clients take gradient steps when asked this? `trains`, as the server knows it; if not, weights are refused."""
        return True

    def accept(self, payloads: Payloads, received: Received) -> Payloads:
        """What the server makes of a client's payloads before it uses them; they are finite and of the right shapes.

        The default accepts nothing: a method that uploads says here, and in `shapes`, what of it the server believes.
        Raises ValueError if no honest client can have sent them.
        """
        return {}

    def balance(self, uploads: Mapping[int, Payloads], ratio: float) -> dict[int, Payloads]:
        """On devices, where counts are a client's word: the accepted uploads, none weighing over `ratio` times the median."""
        return dict(uploads)

    def server_update(self, shared: Shared, uploads: Mapping[int, Payloads], arrays: Arrays) -> tuple[Shared, Arrays]:
        """After aggregation: what the server keeps of the uploads, by client, and the global weights.

        Raises ArithmeticError if no honest clients' uploads can add up to these.
        """
        return shared, arrays

    def server_finish(self, shared: Shared, arrays: Arrays) -> Arrays:
        """The global weights after the last round, of those that it ended with and what the server keeps then.

        Raises ArithmeticError if nothing sensible can be made of these; then the weights stay as they are.
        """
        return arrays

    def download(self, shared: Shared, client: int) -> Payloads:
        """What a client is sent beside the weights: its Lesson.payloads."""
        return {}


class Chain(Finetune):
    """Several methods at once: pulls add up, rehearsals are joined, each remembers in its own slot."""

    def __init__(self, methods: Sequence[Finetune]) -> None:
        self.methods = methods
        self.path = any(m.path for m in methods)
        self.contrasts = any(m.contrasts for m in methods)
        self.personal = any(m.personal for m in methods)

    def begin(self, memory: Memory, arrays: Arrays) -> Arrays:
        return reduce(lambda arrays, m: m.begin(memory, arrays), self.methods, arrays)

    def trains(self, lesson: Lesson) -> bool:
        return all(m.trains(lesson) for m in self.methods)

    def revisits(self, lesson: Lesson) -> int:
        return min((m.revisits(lesson) for m in self.methods), default=lesson.stage)

    def pull(self, memory: Memory, lesson: Lesson) -> Pull:
        return reduce(lambda total, m: total + m.pull(memory, lesson), self.methods, Pull.none(lesson.start))

    def rehearse(self, memory: Memory, lesson: Lesson, engine: Engine) -> Rehearsal:
        parts = [p for m in self.methods if len((p := m.rehearse(memory, lesson, engine)).examples)]
        if not parts:
            return Rehearsal.none()
        hard, width = np.concatenate([p.hard for p in parts]), max(p.soft.shape[1] for p in parts)
        soft, logits = (joined([getattr(p, name) for p in parts], width) for name in ("soft", "logits"))
        return Rehearsal(Examples.join([p.examples for p in parts]), hard, soft, logits, max(p.share for p in parts))

    def distil(self, memory: Memory, lesson: Lesson, engine: Engine, views: Examples) -> Distillation:
        all_ = [m.distil(memory, lesson, engine, views) for m in self.methods]
        return reduce(Distillation.__add__, all_, Distillation.nothing(len(views)))

    def calibrate(self, class_counts: np.ndarray) -> Calibration:
        return reduce(
            Calibration.__add__, (m.calibrate(class_counts) for m in self.methods), Calibration.none(class_counts)
        )

    def guard(self, memory: Memory, lesson: Lesson) -> Examples:
        return Examples.join([m.guard(memory, lesson) for m in self.methods])

    def contrast(self, plan: Plan, memory: Memory, lesson: Lesson, engine: Engine) -> Contrast | None:
        all_ = (m.contrast(plan, memory, lesson, engine) for m in self.methods)
        return next((one for one in all_ if one), None)  # there is one method that has any

    def reference(self, memory: Memory, lesson: Lesson) -> Arrays:
        gradients = [one for m in self.methods if (one := m.reference(memory, lesson))]
        return [np.sum(np.stack(slopes), 0) for slopes in zip(*gradients, strict=True)]

    def auxiliary(self, memory: Memory, lesson: Lesson, plan: Plan) -> Mapping[str, tuple[Arrays, Plan]]:
        return {k: v for m in self.methods for k, v in m.auxiliary(memory, lesson, plan).items()}

    def remember(self, memory: Memory, lesson: Lesson, learned: Learned, engine: Engine) -> Memory:
        return reduce(lambda memory, m: m.remember(memory, lesson, learned, engine), self.methods, memory)

    def publish(self, received: Arrays, learned: Arrays) -> Arrays:
        return reduce(lambda arrays, m: m.publish(received, arrays), self.methods, learned)

    def upload(self, memory: Memory, lesson: Lesson, learned: Learned, engine: Engine) -> Payloads:
        return {k: v for m in self.methods for k, v in m.upload(memory, lesson, learned, engine).items()}

    def serve(self, memory: Memory, arrays: Arrays) -> Arrays:
        return reduce(lambda arrays, m: m.serve(memory, arrays), self.methods, arrays)

    def rehearses(self, met: int) -> int:
        return sum(m.rehearses(met) for m in self.methods)

    def shapes(self, weights: Arrays) -> Mapping[str, Sequence[tuple[int, ...]]]:
        return {name: shapes for m in self.methods for name, shapes in m.shapes(weights).items()}

    def asks_for_weights(self, request: Request) -> bool:
        return all(m.asks_for_weights(request) for m in self.methods)

    def accept(self, payloads: Payloads, received: Received) -> Payloads:
        return {k: v for m in self.methods for k, v in m.accept(payloads, received).items()}

    def balance(self, uploads: Mapping[int, Payloads], ratio: float) -> dict[int, Payloads]:
        return reduce(lambda balanced, m: m.balance(balanced, ratio), self.methods, dict(uploads))

    def server_update(self, shared: Shared, uploads: Mapping[int, Payloads], arrays: Arrays) -> tuple[Shared, Arrays]:
        for m in self.methods:
            shared, arrays = m.server_update(shared, uploads, arrays)
        return shared, arrays

    def server_finish(self, shared: Shared, arrays: Arrays) -> Arrays:
        return reduce(lambda arrays, m: m.server_finish(shared, arrays), self.methods, arrays)

    def download(self, shared: Shared, client: int) -> Payloads:
        return {k: v for m in self.methods for k, v in m.download(shared, client).items()}


def earlier_slots(memory: Memory, method: str, stage: int) -> dict[int, Slot]:
    """A method's slots of stages before this one, oldest first."""
    return {s: slot for s, slot in sorted(memory.get(method, {}).items()) if s < stage}


def own_slot(memory: Memory, method: str, stage: int) -> Slot:
    """A method's slot of this stage, as an earlier round of it left it; empty in the first."""
    return memory.get(method, {}).get(stage, {})


def with_slots(memory: Memory, method: str, slots: Mapping[int, Slot]) -> Memory:
    """The memory with a method's slots replaced."""
    return {**memory, method: slots}


def shares(sizes: Mapping[int, float], ratio: float) -> dict[int, np.float32]:
    """What is left of each client's upload so that none weighs over `ratio` times the median (the lower of two middles): below 1.

    sizes: how much each weighs. Clients that need not be cut are not in it.
    """
    most = ratio * median_low(sizes.values()) if sizes else 0.0
    return {client: np.float32(most / size) for client, size in sizes.items() if size > most}
