"""A study as data: a base scenario, rows and columns that change it, seeds, and what is tuned on which other seeds."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from core.config.parse import unknown
from core.config.scenario import OF_SOURCE, Scenario
from core.data import settled
from fl.strategies import STRATEGIES, chain
from scenarios.overrides import Change, changed

Changes = tuple[Change, ...]  # as --set takes them: (("strategy", "fedprox"), ("strategy.mu", "0.1"))

ALL = ""  # the grid of every row that has none of its own
OWNED = ("seed", "name", *OF_SOURCE)  # what neither rows nor columns may set


@dataclass(frozen=True)
class Tuning:
    """What is tried for each row before it is reported: the point with the best validation accuracy is taken.

    Every row has a grid of the same number of points, so no row wins by having been tried more often.
    """

    grids: Mapping[str, tuple[Changes, ...]]  # by row; ALL: of every other row
    seeds: tuple[int, ...]  # none of them is reported
    # The columns that are tuned on, as trials have them (with fewer rounds, say): each for itself, and the first of them for all
    # columns that are not among them; none: every column for itself
    where: Mapping[str, Changes] = field(default_factory=dict)
    changes: Changes = ()  # of all trials, and of nothing else

    def __post_init__(self) -> None:
        counts = {row: len(points) for row, points in self.grids.items()}
        if len(set(counts.values())) != 1 or min(counts.values()) < 1:
            listing = ", ".join(f"{row or 'every other row'}: {count}" for row, count in counts.items())
            raise ValueError(f"every row should have the same number of trials, 1 or more; not {listing or 'none'}")
        if not self.seeds:
            raise ValueError("tuning needs seeds of its own")

    def grid(self, row: str) -> tuple[Changes, ...]:
        """The points of a row."""
        return self.grids[row] if row in self.grids else self.grids[ALL]

    def column(self, column: str) -> str:
        """The column whose trials choose this one's settings."""
        return column if column in self.where else next(iter(self.where), column)


@dataclass(frozen=True)
class Cell:
    """One run that is reported."""

    row: str
    column: str
    seed: int

    def __str__(self) -> str:
        return f"{self.row} / {self.column} / seed {self.seed}"


@dataclass(frozen=True)
class Trial:
    """One run that tunes a row: one point of its grid, on one seed."""

    row: str
    column: str
    point: int
    seed: int

    def __str__(self) -> str:
        return f"{self.row} / {self.column} / trial {self.point + 1}, seed {self.seed}"


@dataclass(frozen=True)
class Published:
    """What others report for a column: what is to be beaten."""

    value: float  # of the study's first measure, not scaled: 0.992 for 99.2 %
    source: str  # whose it is, and where it stands


@dataclass(frozen=True)
class Study:
    """What is compared. The first row is the one that the others are compared with."""

    name: str
    meaning: str
    base: Scenario
    rows: Mapping[str, Changes]
    columns: Mapping[str, Changes]
    seeds: tuple[int, ...]
    tuning: Tuning | None = None
    # Of scenarios.studies.measures; the first is compared, the others are shown
    measures: tuple[str, ...] = ("accuracy",)
    left_out: Mapping[str, str] = field(default_factory=dict)  # rows that are impossible here, or elsewhere, and why
    published: Mapping[str, Published] = field(default_factory=dict)  # by column
    apart: tuple[str, ...] = ()  # rows of another kind: never the best of a column, but named beside it

    def __post_init__(self) -> None:
        for kind, names in (("row", self.rows), ("column", self.columns), ("seed", self.seeds)):
            if not names:
                raise ValueError(f"study {self.name} has no {kind}")
        for name in (*self.rows, *self.columns):
            if "," in name or not name.isprintable():
                raise ValueError(
                    f"{name!r} cannot be the name of a row or a column: --rows and --columns have commas between"
                )
        if len(set(self.seeds)) < len(self.seeds):
            raise ValueError(f"seeds = {self.seeds} names one twice")
        rows, columns = _paths(self.rows.values()), _paths(self.columns.values())
        if both := sorted(rows & columns):
            raise ValueError(f"rows and columns of study {self.name} both set {', '.join(both)}")
        if owned := sorted((rows | columns) & set(OWNED)):
            raise ValueError(f"no row or column may set {', '.join(owned)}; seeds are given by --seeds")
        if nowhere := [*(set(self.published) - set(self.columns)), *(set(self.apart) - set(self.rows))]:
            raise ValueError(f"study {self.name} has no {', '.join(sorted(nowhere))} to publish or to set apart")
        if self.tuning:
            self._check(self.tuning)

    def _check(self, tuning: Tuning) -> None:
        if twice := sorted(set(tuning.seeds) & set(self.seeds)):
            raise ValueError(f"seeds {twice} would be tuned on and reported; choose others")
        if not self.base.validation:
            raise ValueError("tuning needs validation > 0: it never looks at test images")
        if without := [row for row in self.rows if row not in tuning.grids and ALL not in tuning.grids]:
            raise ValueError(f"rows without a grid: {', '.join(without)}")
        for row, changes in self.rows.items():
            set_already = _paths([changes, *self.columns.values()]) | {*OWNED, "validation"}
            if both := sorted(_paths(tuning.grid(row)) & set_already):
                raise ValueError(
                    f"{', '.join(both)} cannot be tuned for row {row}: it is set already, or what tuning needs"
                )

    def cells(self) -> list[Cell]:
        """What is reported, a seed at a time, so that a study that is stopped early compares like with like."""
        return [Cell(row, column, seed) for seed in self.seeds for column in self.columns for row in self.rows]

    def trials(self) -> list[Trial]:
        """What is tried first; the same number for every row."""
        if not self.tuning:
            return []
        tuning = self.tuning
        columns = list(dict.fromkeys(map(tuning.column, self.columns)))
        counts = range(len(next(iter(tuning.grids.values()))))
        return [
            Trial(row, column, point, seed)
            for seed in tuning.seeds
            for column in columns
            for point in counts
            for row in self.rows
        ]

    def points(self, row: str) -> tuple[Changes, ...]:
        """What is tried for a row; one point that changes nothing, if it is not tuned."""
        return self.tuning.grid(row) if self.tuning else ((),)

    def tuned_on(self, cell: Cell) -> tuple[str, str]:
        """The row and the column whose trials choose this cell's settings."""
        return cell.row, self.tuning.column(cell.column) if self.tuning else cell.column

    def scenario(self, cell: Cell | Trial, point: Changes = ()) -> Scenario:
        """The run of a cell at a point of its row's grid, or of a trial. Raises ValueError, naming it, if there is none such."""
        columns, extra = self.columns, Changes()
        if isinstance(cell, Trial):
            assert self.tuning
            columns, point, extra = {**self.columns, **self.tuning.where}, self._point(cell), self.tuning.changes
        changes = (*columns[cell.column], *self.rows[cell.row], *point, *extra, ("seed", str(cell.seed)))
        try:
            # A piece before its settings, whichever of row, column and point brings them.
            return settled(changed(self.base, sorted(changes, key=lambda change: change[0].count("."))))
        except ValueError as error:
            raise ValueError(f"{cell}: {error}") from None

    def _point(self, trial: Trial) -> Changes:
        assert self.tuning
        return self.tuning.grid(trial.row)[trial.point]

    def narrowed(self, rows: Sequence[str] = (), columns: Sequence[str] = (), seeds: Sequence[int] = ()) -> Study:
        """The same with some of its rows, columns, seeds; none named: all. Raises ValueError, naming the choices."""
        for kind, names, choices in (("row", rows, self.rows), ("column", columns, self.columns)):
            for name in names:
                if name not in choices:
                    why = f" ({self.left_out[name]})" if name in self.left_out else ""
                    raise ValueError(f"{unknown(kind, name, choices)}{why}")
        return replace(
            self,
            rows={name: self.rows[name] for name in rows or self.rows},
            columns={name: self.columns[name] for name in columns or self.columns},
            seeds=tuple(seeds) or self.seeds,
            published={name: one for name, one in self.published.items() if name in (columns or self.columns)},
            apart=tuple(name for name in self.apart if name in (rows or self.rows)),
        )


def _paths(changes: Iterable[Changes]) -> set[str]:
    return {path for each in changes for path, _ in each}


def product(values: Mapping[str, Iterable[str]]) -> tuple[Changes, ...]:
    """Every combination of these values, the last key's changing fastest."""
    keys = list(values)
    return tuple(tuple(zip(keys, texts, strict=True)) for texts in itertools.product(*values.values()))


def by_method(key: str, values: Mapping[str, Iterable[str]]) -> dict[str, tuple[Changes, ...]]:
    """Grids by row: of each method, named as its row, these values of one setting."""
    return {name: product({f"methods.{name}.{key}": texts}) for name, texts in values.items()}


def strategies(base: Scenario) -> tuple[dict[str, Changes], dict[str, str]]:
    """A row for each registered strategy, with its usual settings; and why those are left out that the setting makes impossible."""
    rows, left_out = dict[str, Changes](), dict[str, str]()
    for name in STRATEGIES:
        change = ("strategy", name)
        try:
            if chain(changed(base, [change])).personal:
                raise ValueError(
                    "each client has a personal model, and the global one is not what counts (docs/personalization.md)"
                )
            rows[name] = (change,)
        except ValueError as error:
            left_out[name] = str(error)
    return rows, left_out
