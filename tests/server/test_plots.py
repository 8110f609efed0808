"""The pictures and the page: all are drawn, poor reports do no harm, and the page says what the report says."""

from __future__ import annotations

import copy
import json
import shlex
import subprocess
import sys

import numpy as np
import pytest

from core.scenario import Part, Scenario
from server import page
from server.plots import PLOTS, compare, draw, lines, paper, words
from server.plots.compare import grouped, mean
from server.plots.verdicts import wilson

SCENARIO = Scenario(
    "noniid", seed=3, looks=(Part("rotate", {"low": -20.0}), Part("blur")), augment=(Part("shift"), Part("elastic"))
)


def fake(clients: int = 20, rounds: int = 20, seed: int = 0) -> dict:
    """A report as a run of this size could leave it; the numbers are drawn, and fall like real ones."""
    rng = np.random.default_rng(seed)
    counts = np.array([rng.multinomial(rng.integers(300, 5000), rng.dirichlet([0.3] * 10)) for _ in range(clients)])
    cohort = max(1, clients // 2)
    error = 0.0112 + 0.3 * np.arange(1, rounds + 1) ** -2.1 + rng.exponential(0.0008, rounds)
    history, seen = [], 0
    for number in range(1, rounds + 1):
        chosen = np.sort(rng.choice(clients, cohort, replace=False))
        failed = {str(chosen[0]): "timed out"} if number == 3 else {}
        seen += int(counts[chosen].sum())
        history.append({
            "round": number, "rate": 0.05 * (1 + np.cos(np.pi * number / rounds)) / 2, "clients": chosen.tolist(),
            "failed": failed, "retried": {str(chosen[-1]): "worker 4242 was lost; asked again"} if number == 7 else {},
            "examples": int(counts[chosen].sum()), "seen": seen, "train_loss": 2.5 * error[number - 1],
            "train_accuracy": 1 - 0.8 * error[number - 1], "accuracy": round(1 - error[number - 1], 4),
            "loss": 3 * error[number - 1], "validation_loss": 3.1 * error[number - 1],
            "validation_accuracy": 1 - 1.1 * error[number - 1],
            "drift": {str(c): float(rng.lognormal(-1.9, 0.3) * number**-0.5) for c in chosen if str(c) not in failed},
            "seconds": {"train": 4.1, "evaluate": 0.6},
        })  # fmt: skip
    wrong = rng.multinomial(110, (1 - np.eye(10)).ravel() * rng.dirichlet([0.2] * 100)).reshape(10, 10)
    central = [{"round": r["round"], "seen": r["seen"], "accuracy": 0.9921 - 0.12 * r["round"] ** -2.0, "loss": 0.03} for r in history]
    return {
        "scenario": "noniid", "seed": seed, "rounds": rounds, "clients": clients, "accuracy": history[-1]["accuracy"],
        "loss": 0.034, "baselines": {"centralized": central[-1]["accuracy"], "local": 0.6134}, "weights_sha256": "c0ffee" * 10 + "beef",
        "seconds": {"total": 192.4, "training": 94.2, "evaluation": 12.8, "baselines": 61.0, "export": 24.4},
        "folder": f"runs/noniid-{seed}", "status": "finished", "history": history,
        "exports": {
            "model.keras": {"bytes": 930_123, "accuracy": 0.9887, "difference": 0.0, "agreement": 1.0, "latency_ms": 8.41},
            "model.tflite": {"bytes": 904_512, "accuracy": 0.9887, "difference": 1.2e-7, "agreement": 1.0, "latency_ms": 0.11},
            "model.int8.tflite": {"bytes": 236_224, "accuracy": 0.9886, "difference": 0.0127, "agreement": 0.9997, "latency_ms": 0.14},
            "model.onnx": {"bytes": 902_233, "accuracy": 0.9887, "difference": 1.2e-6, "agreement": 1.0, "latency_ms": 0.09},
        },
        "settings": json.loads(SCENARIO.json()) | {"seed": seed, "clients": clients, "cohort": cohort, "rounds": rounds},
        "shards": [{
            "client": c, "examples": int(n.sum()), "labels": n.tolist(), "rounds": sum(c in r["clients"] for r in history),
            "looks": {"rotate": rng.uniform(-20, 15), "right": rng.uniform(-2, 2), "stroke": rng.uniform(-0.5, 0.8), "blur": rng.uniform(0, 0.8), "contrast": rng.uniform(0.6, 1.2)},
            "accuracy": rng.binomial(500, 0.986 - 0.006 * rng.random()) / 500, "tested": 500,
        } for c, n in enumerate(counts)],
        "confusion": (np.diag(1000 - wrong.sum(1)) + wrong).tolist(),
        "curves": {"centralized": central, "local": [{"round": rounds, "seen": seen, "accuracy": 0.6134, "low": 0.29, "high": 0.915}]},
        "local_accuracies": [0.1 + 0.085 * (n > 40).sum() - 0.05 * rng.random() for n in counts],
        "events": ["round 3: client 4 timed out and was left out", "round 7: worker 4242 was lost while it played client 19, who was asked again"],
        "versions": {"flwr": "1.41.0", "ray": "2.55.1", "tensorflow": "2.21.0", "numpy": "2.4.6"},
    }  # fmt: skip
