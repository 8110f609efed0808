"""Comparisons of many runs: STUDIES names them; a study is data (study.py), and one runner carries all of them out."""

from __future__ import annotations

from collections.abc import Callable

from scenarios.studies import claims, niid_bench, pathological, split_mnist, strategies
from scenarios.studies.study import Study

# Each is made when it is asked for: rows over a registry are those that are registered then, plugins' too.
STUDIES: dict[str, Callable[[], Study]] = {
    "split-mnist": split_mnist.study,
    "niid-bench": niid_bench.study,
    "pathological": pathological.study,
    "strategies": strategies.study,
    "claims-accuracy": claims.accuracy,
    "claims-norm": claims.norm,
    "claims-deformed": claims.deformed,
    "claims-ablation": claims.ablation,
}
