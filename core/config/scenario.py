"""A run as frozen data: what is learned, by whom, how; it checks itself and travels as JSON."""

from __future__ import annotations

import dataclasses
import json
import typing
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any

from core.config.overrides import changed, flat
from core.config.parse import excerpt, typed, unknown
from core.config.part import Part
from core.safe_json import json_object, read_object

ENGINES = ("tensorflow", "litert")
CLASSES = 1000  # at most: a label above is more likely a number of something else; how many there are, core/data says
INKS = ("auto", "dark", "light")
NORMS = ("none", "batch", "group")
IDLE = ("rest", "rehearse")
OF_SOURCE = ("past", "past_tasks")  # what --from sets, of the run that it goes on from
RENAMED = {"patience": "round_timeout", "reach": "max_update_ratio", "weigh": "weight_exponent"}  # in scenario files


@dataclass(frozen=True)
class Model:
    """The shared model (core/models)."""

    # Which: "cnn"; "mlp", of the literature on permuted MNIST; "mlp100", of Mammoth's Split-MNIST; "lenet"; "logistic"
    kind: str = "cnn"
    dropout: float = 0.0  # share of the units before the logits that is dropped in training; usual 0.5
    l2: float = 0.0  # pulls kernels to 0 with l2·|w|²; usual 0.001
    # What is normalized behind each block before the head: "batch" (its statistics federate), "group", or "none"
    norm: str = "none"
    groups: int = 2  # of channels, in group norm; divides the channels of every block
    # From this round on clients train by batch norm's global statistics, which then stay as they are (FixBN, Zhong et al. 2023,
    # arXiv:2303.06530); usual the middle of a run, 0 = never
    fix_norm: int = 0

    def fixes_norm(self, round: int) -> bool:
        """Do batch norm's statistics stay as they are in this round?"""
        return self.norm == "batch" and 0 < self.fix_norm <= round


@dataclass(frozen=True)
class Local:
    """A client's own training."""

    epochs: float = 1.0  # passes over its data in a round; may be a fraction
    batch: int = 32  # examples a step
    rate: float = 0.05  # SGD step, per gradient of the mean loss
    momentum: float = 0.0  # heavy ball, zero at the start of every round
    # A longer gradient of the loss is cut to this length; a pull is added after (Pascanu et al. 2013, arXiv:1211.5063);
    # usual 1, 0 = never
    clip: float = 0.0


@dataclass(frozen=True)
class Gate:
    """What a new version of the model must hold, on the server's validation images, before it becomes `current`
    (server/versions.py)."""

    accuracy: float = 0.0  # least mean accuracy on the tasks met so far
    forgetting: float = 1.0  # most mean forgetting of earlier tasks


@dataclass(frozen=True)
class Scenario:
    """A whole run. Given this and the code's version, everything a run leaves can be made again."""

    name: str  # what it is called; its runs' folders are named after it
    seed: int = 0  # all randomness follows from it
    data: str = "mnist"  # "mnist", "fashion", an .npz file, a folder <label>/*.png, a folder of four IDX files
    classes: int = 0  # how many labels there are; 0: as the data set says, or the labels of a user's own; up to 1000
    # In a folder of pictures: "dark" on light paper, "light" on dark, or "auto", judged from its pictures' borders
    ink: str = "auto"
    train: int = 0  # use only this many training images, drawn by address; 0 = all
    test: int = 0  # the same for test images
    # What happens to all test images, a condition, name or name:amount; training and validation images stay as they are
    test_condition: str = "plain"
    validation: int = 2000  # training images held out for the server; never test images
    clients: int = 20  # how many there are
    cohort: int = 10  # clients a round
    stragglers: float = 0.0  # share of a round's clients that make fewer passes: 1 … local.epochs, drawn for each
    drop_stragglers: bool = (
        False  # true: they are not waited for, as FedAvg does in FedProx's paper; false: what they did counts
    )
    rounds: int = 20  # federated rounds, of all stages together
    minimum: int = 10  # examples that every client is given at least
    partition: Part = Part("dirichlet", {"alpha": 0.3})  # who holds which examples
    noise: float = 0.0  # share of each client's labels replaced by a wrong one
    digits: tuple[int, ...] = ()  # train on these labels only; none = all
    stream: Part = Part("whole")  # what each client meets when
    past: int = 0  # stages that an earlier run has been through; set by --from, not by --set
    # What clients had been taught by then, labels and a condition each: "0,1,2 plain"; set by --from. None: it is not known, and
    # taken to be all labels but `digits`, or all that is tested
    past_tasks: tuple[str, ...] = ()
    order: float = 0.0  # stages in the common order (0), in one of each client's own (1), or between
    lag: float = 0.0  # how late clients enter a stage, at most, as a share of its length
    join: tuple[tuple[int, int], ...] = ()  # (client, round): it is there from this round on
    leave: tuple[tuple[int, int], ...] = ()  # (client, round): it is gone from this round on
    looks: tuple[Part, ...] = ()  # each client's own fixed conditions
    augment: tuple[Part, ...] = ()  # random changes in training only
    methods: tuple[Part, ...] = (Part("finetune"),)  # how a client keeps what it knew
    # What a client does in a stage that brings it nothing of its own: "rest", it takes no step, as every method's budget says;
    # or "rehearse", it passes over what it remembers, if its method rehearses: more steps than other methods are given
    idle: str = "rest"
    softmax: Part = Part("plain")  # what the cross-entropy compares: options against the bias to new classes
    probe: int = 0  # test images of each task on which each client's update is judged, to split forgetting; 0 = do not
    gate: Gate = Gate()  # what a new version must hold
    strategy: Part = Part("fedavg")  # how the server makes one model of many
    # A client whose weights moved further than so many lengths of the old ones is left out, and the server's own step is cut to it.
    # Three times the largest honest update over all presets, 1.01: the first epoch over everything, in one place (bench.distrust).
    max_update_ratio: float = 3.0
    count_ratio: float = 10.0  # on devices, a client counts at most so many times the median of its cohort
    max_examples: int = 1_000_000  # a client that says more is left out
    weight_exponent: float = 1.0  # a client's weight is its number of examples to this power: 1 as FedAvg, 0 all alike
    schedule: Part = Part("cosine")  # how the rate falls from round to round
    model: Model = Model()  # the shared model
    # SGD step of the centralized baseline, chosen on validation images (`tests.bench.central_rate`); 0 = local.rate
    centralized_rate: float = 0.0
    engine: str = "tensorflow"  # who carries out clients' steps; "litert" needs no TensorFlow on a client
    local: Local = Local()  # a client's own training
    round_timeout: float = 600.0  # seconds the server waits for a round's answers

    def __post_init__(self) -> None:
        for name, low, high in RANGES:
            value = (
                getattr(getattr(self, name.split(".")[0]), name.split(".")[1]) if "." in name else getattr(self, name)
            )
            if not low <= value <= high:
                raise ValueError(f"{name} = {excerpt(value)} is out of range: {low} … {high}")
        if self.engine not in ENGINES:
            raise unknown("engine", self.engine, ENGINES)
        if self.ink not in INKS:
            raise unknown("ink", self.ink, INKS)
        if self.model.norm not in NORMS:
            raise unknown("model.norm", self.model.norm, NORMS)
        if self.idle not in IDLE:
            raise unknown("idle", self.idle, IDLE)
        if self.cohort > self.clients:
            raise ValueError(f"cohort = {excerpt(self.cohort)} is more than clients = {self.clients}; set both")
        for name, pairs in (("join", self.join), ("leave", self.leave)):
            for client, round in pairs:
                if not 0 <= client < self.clients or not 1 < round <= self.rounds:
                    expected = f"a client 0 … {self.clients - 1} and a round 2 … {self.rounds}"
                    raise ValueError(f"{name} = {excerpt([[client, round]])} should be {expected}")
        if twice := [d for d in self.digits if self.digits.count(d) > 1]:
            raise ValueError(f"digits = {excerpt(list(self.digits))} names {twice[0]} twice")
        if self.noise and len(self.digits) == 1:
            raise ValueError(f"noise = {self.noise:g} needs a wrong label; digits = {list(self.digits)} has none")
        if wrong := [d for d in self.digits if not 0 <= d < (self.classes or CLASSES)]:
            raise ValueError(f"digits = {excerpt(wrong[0])} is out of range: 0 … {(self.classes or CLASSES) - 1}")

    def afresh(self) -> Scenario:
        """The same, going on from no run."""
        return replace(self, past=0, past_tasks=())

    def json(self) -> str:
        """One line of JSON, the same for equal scenarios."""
        return self._json

    def page(self) -> str:
        """The same JSON on many lines, for whoever reads it by eye: as scenario.json has it."""
        return json.dumps(json.loads(self._json), indent=1) + "\n"

    @cached_property
    def _json(self) -> str:
        return json.dumps(dataclasses.asdict(self), sort_keys=True)

    @classmethod
    def of(cls, text: str) -> Scenario:
        """Read what `json` wrote. Raises ValueError on unknown keys, wrong types or impossible values."""
        return _read(text)

    @classmethod
    def read(cls, path: Path) -> Scenario:
        """The scenario in a file. Raises ValueError, naming the file; FileNotFoundError if there is none."""
        value = read_object(path)
        try:
            return typed("scenario", renamed(value), cls)
        except (ValueError, RecursionError) as error:
            raise ValueError(f"{path}: {error}") from None

    def with_(self, *changes: tuple[str, str]) -> Scenario:
        """A copy with some values changed, as `--set path=text` gives them, for example ("local.rate", "0.1").

        Pieces are named by their name (`partition=labels`), their settings by a path (`partition.k=1`,
        `augment.rotate.degrees=10`), several by `+` (`augment=rotate+shift`), none by `none`. A piece that is named
        again keeps the settings it has. All changes come together, so their order does not matter but for one piece's
        name and its settings.
        """
        hints = typing.get_type_hints(Scenario)
        values: dict[str, Any] = {}
        for path, text in changes:
            first, *rest = path.split(".")
            if first not in hints:
                raise unknown("key", first, hints, flat(self))
            values[first] = changed(path, values.get(first, getattr(self, first)), rest, text, hints[first])
        return replace(self, **values)


@lru_cache(maxsize=16)
def _read(text: str) -> Scenario:
    """A client gets the same text with every message, and reading it takes longer than a small step."""
    try:
        return typed("scenario", json_object(text), Scenario)
    except RecursionError:
        raise ValueError("a scenario that is nested too deep") from None


def renamed(settings: Mapping[str, Any]) -> dict[str, Any]:
    """A scenario's settings as they are called now, from a file that may be older."""
    return {RENAMED.get(key, key): value for key, value in settings.items()}


_INF = float("inf")
RANGES = [  # of settings that are numbers: least and greatest
    ("seed", 0, 2**63 - 1), ("classes", 0, CLASSES),
    ("train", 0, _INF), ("test", 0, _INF), ("validation", 0, _INF), ("clients", 1, 1_000_000),
    ("cohort", 1, _INF), ("stragglers", 0, 1),
    ("rounds", 1, 1_000_000), ("minimum", 1, _INF), ("noise", 0, 1), ("round_timeout", 0.001, 1e9),
    ("past", 0, 1_000_000), ("order", 0, 1), ("lag", 0, 1), ("probe", 0, 10_000), ("gate.accuracy", 0, 1),
    ("gate.forgetting", 0, 1), ("weight_exponent", 0, 1), ("max_update_ratio", 0.001, 1e9), ("count_ratio", 1, 1e9),
    ("max_examples", 1, 10**9),
    ("centralized_rate", 0, 1_000), ("model.dropout", 0, 0.99), ("model.l2", 0, 100), ("model.groups", 1, 65_536),
    ("model.fix_norm", 0, 1_000_000), ("local.epochs", 1e-9, 10_000), ("local.batch", 1, 65_536),
    ("local.rate", 0, 1_000), ("local.momentum", 0, 0.9999), ("local.clip", 0, 1e9),
]  # fmt: skip
