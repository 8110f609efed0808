"""Comparisons of many runs: STUDIES names them; a study is data (study.py), and one runner carries all of them out."""

from __future__ import annotations

from collections.abc import Callable

from scenarios.studies import claims, niid_bench, pathological, permuted, sanity, split_mnist, stragglers, strategies
from scenarios.studies.study import Study

# Each is made when it is asked for: rows over a registry are those that are registered then, plugins' too.
STUDIES: dict[str, Callable[[], Study]] = {
    "split-mnist": split_mnist.study,
    "niid-bench": niid_bench.study,
    "niid-bench-e10": niid_bench.ten_epochs,
    "niid-bench-rest": niid_bench.rest,
    "niid-bench-fashion": niid_bench.fashion,
    "pathological": pathological.study,
    "stragglers": stragglers.study,
    "strategies": strategies.study,
    "personal": strategies.personal,
    "sanity": sanity.study,
    "split-mnist-all": split_mnist.everything,
    "split-fashion": split_mnist.fashion,
    "permuted": permuted.study,
    "permuted-200": permuted.as_long,
    "claims-accuracy": claims.accuracy,
    "claims-norm": claims.norm,
    "claims-deformed": claims.deformed,
    "claims-ablation": claims.ablation,
}
