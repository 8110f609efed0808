"""pfl (Granqvist et al. 2024, arXiv:2404.06430) with torch, as its documentation has it, on the work of tests.bench.speed.

`python pfl_torch.py WORK.npz`, in an environment of its own (pins-peers.txt; it imports nothing of this project). Two processes
by pfl's own sharding of the cohort over torch.distributed. Prints a line of JSON a round.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from typing import Any, TextIO

import numpy as np

PROCESSES = 2
RANK = int(os.environ.get("PFL_WORKER_RANK", "-1"))


def main() -> int:
    """Start the two processes, or be one of them."""
    if RANK >= 0:
        return _work(sys.argv[1])
    port = 20_000 + os.getpid() % 20_000
    addresses = ",".join(f"localhost:{port + rank}" for rank in range(PROCESSES))
    both = [
        subprocess.Popen(
            [sys.executable, *sys.argv],
            env=os.environ | {"PFL_WORKER_RANK": str(rank), "PFL_WORKER_ADDRESSES": addresses},
        )
        for rank in range(PROCESSES)
    ]
    return max(one.wait() for one in both)


def _work(file: str) -> int:
    facts = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)  # pfl prints its own lines
    os.environ["PFL_PYTORCH_DEVICE"] = "cpu"
    import torch
    from pfl.model.pytorch import PyTorchModel  # first: it tells pfl which framework

    torch.set_num_threads(2 // PROCESSES)
    from pfl.aggregate.simulate import SimulatedBackend
    from pfl.aggregate.weighting import WeightByDatapoints
    from pfl.algorithm import FederatedAveraging, NNAlgorithmParams
    from pfl.data.federated_dataset import FederatedDataset
    from pfl.data.pytorch import PyTorchTensorDataset
    from pfl.hyperparam import NNEvalHyperParams, NNTrainHyperParams
    from pfl.metrics import Weighted

    with np.load(file) as work:
        named = dict(work)
    rounds, rate, batch = int(named["rounds"]), float(named["rate"]), int(named["batch"])
    net = _net(torch, [named[f"weight{i}"] for i in range(8)])
    net.loss = lambda x, y: torch.nn.functional.cross_entropy(net(x), y)
    net.metrics = lambda x, y: {"accuracy": Weighted(int((net(x).argmax(1) == y).sum()), len(y))}
    model = PyTorchModel(
        model=net, local_optimizer_create=torch.optim.SGD, central_optimizer=torch.optim.SGD(net.parameters(), 1.0)
    )
    turn = iter(named["cohorts"].ravel().tolist())
    users = FederatedDataset(_users(torch, PyTorchTensorDataset, named), lambda: next(turn))

    FederatedAveraging().run(
        backend=SimulatedBackend(training_data=users, val_data=users, postprocessors=[WeightByDatapoints()]),
        model=model,
        callbacks=[_clock(facts)],
        algorithm_params=NNAlgorithmParams(
            central_num_iterations=rounds,
            evaluation_frequency=10**6,
            train_cohort_size=named["cohorts"].shape[1],
            val_cohort_size=None,
        ),
        model_train_params=NNTrainHyperParams(local_learning_rate=rate, local_num_epochs=1, local_batch_size=batch),
        model_eval_params=NNEvalHyperParams(local_batch_size=1000),
    )
    return 0


def _users(torch: Any, dataset: Any, named: dict[str, np.ndarray]) -> Callable[[int], Any]:
    """Clients' data sets: tensors made once for each, shuffled at each visit."""
    known: dict[int, Any] = {}

    def user(client: int) -> Any:
        if client not in known:
            rows = named[f"rows{client}"]
            x = torch.from_numpy(named["x"][rows][:, None].astype(np.float32) / 255)
            known[client] = x, torch.from_numpy(named["y"][rows]).long()
        x, y = known[client]
        order = torch.randperm(len(y))
        return dataset((x[order], y[order]), user_id=client)

    return user


def _clock(facts: TextIO) -> Any:
    """Writes each round's seconds."""
    from pfl.callback.base import TrainingProcessCallback
    from pfl.metrics import Metrics

    start = time.perf_counter()

    class Clock(TrainingProcessCallback):
        def after_central_iteration(self, aggregate_metrics: Any, model: Any, *, central_iteration: int) -> Any:
            nonlocal start
            now = time.perf_counter()
            if not RANK:
                print(
                    json.dumps({"event": "round", "round": central_iteration + 1, "seconds": now - start}), file=facts
                )
            start = now
            return False, Metrics()

    return Clock()


def _net(torch: Any, weights: list[np.ndarray]) -> Any:
    """The CNN with these weights, which are in Keras' layout."""
    nn = torch.nn
    net = nn.Sequential(
        *(nn.Conv2d(1, 32, 3), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(32, 64, 3), nn.ReLU(), nn.MaxPool2d(2)),
        *(nn.Flatten(), nn.Linear(1600, 128), nn.ReLU(), nn.Linear(128, 10)),
    )
    c1, b1, c2, b2, d1, e1, d2, e2 = weights
    d1 = d1.reshape(5, 5, 64, 128).transpose(2, 0, 1, 3).reshape(1600, 128)  # channels come first in torch
    layouts = (c1.transpose(3, 2, 0, 1), b1, c2.transpose(3, 2, 0, 1), b2, d1.T, e1, d2.T, e2)
    with torch.no_grad():
        for parameter, array in zip(net.parameters(), layouts, strict=True):
            parameter.copy_(torch.from_numpy(np.ascontiguousarray(array)))
    return net


if __name__ == "__main__":
    sys.exit(main())
