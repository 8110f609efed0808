"""The facts of a run, as JSON: `rounds.jsonl` a line a round, `report.json` all of it."""

from __future__ import annotations

import hashlib
import json
import math
from collections import Counter
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from core import curves
from core.config.scenario import Scenario
from core.disk import placed
from core.scores import Sums
from server.rounds import Round

if TYPE_CHECKING:
    from server.evaluation import Scores

Facts = dict[str, Any]


def fact(done: Round, scores: Scores, validation: Sums | None, seen: int, evaluation: float) -> Facts:
    """One round as a line of the history."""
    return {
        "round": done.number,
        "rate": done.rate,
        "clients": done.clients,
        "idle": done.idle,
        "tasks": {str(c): task for c, task in done.tasks.items()},
        "memory": {str(c): bytes_ for c, bytes_ in done.memory.items()},
        "clients_examples": {str(c): count for c, count in done.examples.items()},
        "battery": {str(c): full for c, full in done.battery.items()},
        "bytes": {"sent": done.bytes[0], "received": done.bytes[1]},
        "failed": {str(c): why for c, why in done.failed.items()},
        "retried": {str(c): who for c, who in done.retried.items()},
        "capped": {str(c): count for c, count in done.capped.items()},
        "odd": {str(c): how for c, how in done.odd.items()},
        "notes": done.notes,
        "examples": done.sums.examples,
        "seen": seen + done.sums.examples,
        "train_loss": done.sums.mean_loss,
        "train_accuracy": done.sums.accuracy,
        "accuracy": scores.all.accuracy,
        "loss": scores.all.mean_loss,
        "tasks_accuracy": scores.tasks,
        "classes_accuracy": scores.classes,
        "validation_loss": validation.mean_loss if validation else None,
        "validation_accuracy": validation.accuracy if validation else None,
        "drift": {str(c): d for c, d in done.drift.items()},
        "seconds": {"train": done.seconds, "evaluate": evaluation},
    }


def events(round: Facts) -> list[str]:
    """What went wrong in a round, in words."""
    sentences = [
        f"round {round['round']}: " + (f"the server: {why}" if c == "-1" else f"client {c}: {why}; left out")
        for c, why in round["failed"].items()
    ]
    sentences += [
        f"round {round['round']}: worker {worker} was lost while it played client {c}, who was asked again"
        for c, worker in round["retried"].items()
    ]
    sentences += [
        f"round {round['round']}: client {c} says {count:,} examples, far more than the others; it counts as the most allowed"
        for c, count in round["capped"].items()
    ]
    sentences += [f"round {round['round']}: client {c}: {how}" for c, how in round["odd"].items()]
    sentences += [f"round {round['round']}: {note}" for note in round["notes"]]
    if not round["clients"]:
        sentences.append(f"round {round['round']}: nobody answered; the old weights were kept")
    return sentences


def run(scenario: Scenario, history: list[Facts], arrays: list[np.ndarray], events: list[str], folder: Path) -> Facts:
    """What the server knows at the end of its rounds."""
    last = history[-1] if history else {}
    turns = Counter(client for facts in history for client in facts["clients"])
    return {
        "scenario": scenario.name,
        "seed": scenario.seed,
        "rounds": len(history),
        "clients": scenario.clients,
        "accuracy": last.get("accuracy"),
        "loss": last.get("loss"),
        "baselines": {},
        "weights_sha256": digest(arrays),
        "seconds": {
            "training": sum(f["seconds"]["train"] for f in history),
            "evaluation": sum(f["seconds"]["evaluate"] for f in history),
        },
        "exports": {},
        "folder": str(folder),
        "status": "finished",
        "settings": json.loads(scenario.json()),
        "history": history,
        "turns": {str(client): n for client, n in sorted(turns.items())},
        "events": events,
        "versions": {name: version(name) for name in ("flwr", "ray", "tensorflow", "numpy")},
    }


def diverged(facts: Facts) -> dict[str, str]:
    """A sentence for each training that diverged (core.curves): this run's ("federated") and its baselines'."""
    forgets = bool(facts["continual"] or facts["settings"]["leave"])
    found = {
        name: curves.diverged(curve, forgets and name != "centralized")
        for name, curve in {"federated": facts["history"], **facts["curves"]}.items()
    }
    who = {name: "this run" if name == "federated" else f"the {name} baseline" for name in found}
    return {name: f"{who[name]} diverged: {why}" for name, why in found.items() if why}


def digest(arrays: list[np.ndarray]) -> str:
    """SHA-256 of the weights: dtype, shape and bytes of each, in order."""
    total = hashlib.sha256()
    for array in arrays:
        total.update(f"{array.dtype.str}{array.shape}".encode())
        total.update(np.ascontiguousarray(array).tobytes())
    return total.hexdigest()


def write(path: Path, text: str) -> None:
    """Write a text beside its place, then put it there."""
    with placed(path) as file:
        file.write(text.encode())


def save(folder: Path, facts: Facts) -> None:
    """Write report.json and rounds.jsonl."""
    write(folder / "report.json", json.dumps(plain(facts), indent=1, allow_nan=False) + "\n")
    lines(folder, facts["history"])


def plain(value: Any) -> Any:
    """The same with null for NaN and infinity, which are no JSON: a run that diverged must still be readable."""
    if isinstance(value, dict):
        return {key: plain(one) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [plain(one) for one in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def lines(folder: Path, history: list[Facts]) -> None:
    """Write rounds.jsonl anew."""
    write(folder / "rounds.jsonl", "".join(json.dumps(plain(facts), allow_nan=False) + "\n" for facts in history))
