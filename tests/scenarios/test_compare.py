"""Many runs side by side: mean and spread over seeds, in tables, pictures and one page."""

from __future__ import annotations

import base64
import csv
import json
import re
from dataclasses import replace
from html import unescape
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from rich.console import Console

from core.config.part import Part
from core.config.scenario import Scenario
from scenarios import compare
from scenarios.columns import tables
from scenarios.presets import SCENARIOS
from server import record
from server.record import Shard
from server.report.figures import groups, results
from server.report.figures.compare import compare as draw
from server.report.figures.groups import grouped, shared
from server.report.figures.memory import MemoryPoint, against_memory
from server.report.figures.results import COLUMNS, aligned, rows
from server.report.page import comparison as comparison_page
from tests.fakes import federate
from tests.reports import fact, saved, stream

PRESETS = {name: preset for name, (preset, _) in SCENARIOS.items()}


@pytest.fixture(scope="module")
def runs(tiny: Scenario, tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Three runs: two seeds of one scenario, and another."""
    folder, made = tmp_path_factory.mktemp("runs"), []
    for name, change in {"a": {}, "b": {"seed": 1}, "c": {"noise": 0.2}}.items():
        report = federate(replace(tiny, rounds=1, **change), folder / name)  # type: ignore[arg-type]
        record.save(folder / name, report.with_(seconds={**report.seconds, "total": 2.0}))
        (folder / name / "report.html").write_text("a page")
        made.append(folder / name)
    return made


def printed(capsys: pytest.CaptureFixture[str]) -> list[dict[str, Any]]:
    return [json.loads(line) for line in capsys.readouterr().out.splitlines()]


# ── which runs are seeds of one, what differs, what is shared ──


def test_a_label_holds_only_what_differs() -> None:
    skewed = {"partition": Part("dirichlet", {"alpha": 0.05})}
    found = grouped(
        [fact(0.9), fact(0.8, **skewed), fact(0.7, seed=1), fact(0.6, strategy=Part("fedprox", {"mu": 0.1}))]
    )
    assert [group.label for group in found] == [
        "partition.alpha=0.1, strategy=fedcm",
        "partition.alpha=0.05, strategy=fedcm",
        "partition.alpha=0.1, strategy=fedprox",
    ]
    assert found[2].differs == {"partition.alpha": "0.1", "strategy": "fedprox", "strategy.mu": "0.1"}
    assert found[0].seeds == (0, 1)
    assert grouped([fact(0.9), fact(0.8, seed=1)])[0].label == "noniid"  # nothing differs


def test_what_was_taught_before_tears_no_seeds_apart() -> None:
    past = {"past": 1, "past_tasks": ("0,1 plain",)}
    seeds = [fact(0.9, **past), fact(0.8, seed=1, **{**past, "past_tasks": ("0,2 plain",)})]
    assert [group.seeds for group in grouped(seeds)] == [(0, 1)]
    other = [fact(0.9, **past).with_(source="a"), fact(0.8, **{**past, "past_tasks": ("7 plain",)}).with_(source="b")]
    assert [group.label for group in grouped(other)] == ["from=a", "from=b"]


def test_personal_models_have_columns_of_their_own() -> None:
    shards = (Shard(0, 9, accuracy=0.1, personal_accuracy=0.9), Shard(1, 9, accuracy=0.3, personal_accuracy=0.7))
    one, other = rows(grouped([fact(0.2).with_(shards=shards), fact(0.6, strategy=Part("fedavg"))]))
    assert (one.own, one.worst, one.personal, one.worst_personal) == (
        (0.2, None),
        (0.1, None),
        (0.8, None),
        (0.7, None),
    )
    assert other.personal is None is other.worst_personal


def test_a_pieces_name_stands_for_its_settings_where_they_tell_nothing_apart() -> None:
    prox = [fact(0.9, strategy=Part("fedprox", {"mu": mu})) for mu in (0.1, 0.2)]
    plain = fact(0.5, strategy=Part("fedavg"))
    assert results.compared([plain, prox[0]], PRESETS).implied == ("strategy=fedprox: strategy.mu=0.1",)
    both = results.compared([plain, *prox], PRESETS)
    assert [group.label for group in both.groups] == [
        "strategy=fedavg", "strategy=fedprox, strategy.mu=0.1", "strategy=fedprox, strategy.mu=0.2"
    ]  # fmt: skip
    assert not both.implied
    usual = fact(0.9, strategy=Part("fedprox"))
    assert len({group.label for group in grouped([plain, prox[0], usual])}) == 3


def test_a_scenarios_name_stands_for_all_that_comes_with_it() -> None:
    other = replace(fact(0.8), settings=replace(SCENARIOS["iid"][0], train=1000))
    found = results.compared(
        [fact(0.9, train=3000), other, replace(other, settings=replace(other.settings, cohort=2))], PRESETS
    )
    cohort = SCENARIOS["iid"][0].cohort
    assert [group.label for group in found.groups] == ["noniid", f"iid, cohort={cohort}", "iid, cohort=2"]
    assert "noniid: train=3000" in found.implied and f"iid, cohort={cohort}: train=1000" in found.implied
    assert found.groups[0].differs["train"] == "3000"


def test_a_group_that_only_lacks_a_setting_says_so() -> None:
    found = grouped([fact(0.9, strategy=Part("fedprox")), fact(0.8, strategy=Part("fedprox", {"mu": 0.1}))])
    assert [group.label for group in found] == ["without strategy.mu", "strategy.mu=0.1"]


@settings(max_examples=40, deadline=None)
@given(
    st.lists(
        st.tuples(st.sampled_from([5, 7, 9]), st.sampled_from([0.0, 0.1]), st.sampled_from(["fedavg", "median"])),
        min_size=1, max_size=6, unique=True,
    )
)  # fmt: skip
def test_every_label_is_its_own_and_says_nothing_that_all_share(choices: list[tuple[int, float, str]]) -> None:
    found = grouped([fact(0.5, clients=c, cohort=2, noise=n, strategy=Part(s)) for c, n, s in choices])
    assert len({group.label for group in found}) == len(choices)
    common = groups.common(found)
    for group in found:
        assert not set(group.differs) & set(common)
        assert len(found) == 1 or group.label == ", ".join(f"{k}={v}" for k, v in group.differs.items())


def test_what_all_share_is_said_once_where_it_departs_from_the_preset() -> None:
    found = grouped([fact(0.9, train=3000), fact(0.8, train=3000, noise=0.2)])
    assert shared(found, PRESETS) == "noniid, train=3000, seed 0"
    assert shared(grouped([fact(0.9), fact(0.8, seed=1)]), PRESETS) == "noniid, seeds 0, 1"
    assert shared(grouped([fact(0.9), fact(0.8, seed=1, noise=0.2)]), PRESETS) == "noniid"  # other seeds


# ── the numbers ──


def test_mean_spread_and_differences_in_points_have_their_closed_forms() -> None:
    first, second = rows(grouped([
        fact(0.90, 0, 0.95), fact(0.94, 1, 0.97), fact(0.91, 0, 0.95, noise=0.1), fact(0.97, 1, 0.97, noise=0.1),
    ]))  # fmt: skip
    assert first.accuracy == pytest.approx((0.92, 0.04 / 2**0.5)) and first.over_first is None
    assert second.accuracy == pytest.approx((0.94, 0.06 / 2**0.5))
    assert second.over_first == pytest.approx((2.0, 2 / 2**0.5))  # of +1 and +3, seed by seed
    assert first.over_centralized == pytest.approx((-4.0, 2 / 2**0.5))  # of −5 and −3
    assert second.over_centralized == pytest.approx((-2.0, 4 / 2**0.5))  # of −4 and 0
    assert first.centralized == pytest.approx((0.96, 0.02 / 2**0.5)) and first.local is None


def test_a_difference_is_over_the_seeds_that_both_have_and_so_is_who_is_best() -> None:
    found = results.compared([fact(0.7), fact(0.8, noise=0.1), fact(0.2, 1, noise=0.1)], PRESETS)
    assert found.rows[1].over_first == pytest.approx((10.0, None))  # the first may have stopped before its worse seed
    assert "a difference to the first is over the seeds that both have: noise=0.1" in found.notes
    assert results.best(found.groups) == 1
    lucky, worse = [fact(0.8, seed, noise=0.1) for seed in (1, 2)], fact(0.91, noise=0.1)
    stopped = [fact(0.9, seed) for seed in range(3)] + [worse, *lucky, fact(0.85, noise=0.2)]  # whose one seed is low
    assert results.best(results.compared(stopped, PRESETS).groups) == 0  # as without the row that was stopped
    elsewhere = [*stopped, fact(0.99, 7, noise=0.3)]  # shares no seed with any, and is compared with none
    assert results.best(results.compared(elsewhere, PRESETS).groups) == 0
    others = results.compared([fact(0.9), fact(0.8, 1, noise=0.1), fact(0.7, 2, noise=0.1)], PRESETS)
    assert others.rows[1].over_first == (-15.0, None) and results.best(others.groups) is None
    assert any("no seed is in both: noise=0.1" in note for note in others.notes)
    assert any(note.startswith("none is called the best") for note in others.notes)
    same = results.compared([fact(0.9), fact(0.8, noise=0.1)], PRESETS)
    assert same.rows[1].over_first == (-10.0, None) and not same.notes  # one seed each, the same


def test_across_data_sets_there_is_no_difference() -> None:
    found = results.compared([fact(0.9), fact(0.8, data="fashion")], PRESETS)
    assert [row.over_first for row in found.rows] == [None, None]
    assert any("different test images (mnist; fashion)" in note for note in found.notes)


@pytest.mark.parametrize(
    "changes, words",
    [
        ({"test_condition": "invert"}, "mnist, under invert"),
        ({"stream": Part("domains", {"conditions": "plain+blur"})}, "mnist, under blur, plain"),
        ({"digits": (1, 7)}, "mnist, of 1, 7"),
        ({"digits": (9, 8, 7, 6, 5, 4, 3, 2, 1, 0), "stream": Part("classes")}, ""),
    ],
)
def test_between_other_test_images_there_is_no_difference(changes: dict[str, Any], words: str) -> None:
    found = results.compared([fact(0.9), fact(0.8, **changes)], PRESETS)
    assert (found.rows[1].over_first is None) == bool(words)
    assert any(f"different test images (mnist; {words})" in note for note in found.notes) == bool(words)


def test_of_different_numbers_of_test_images_the_table_and_the_headline_say_so(tmp_path: Path) -> None:
    whole = replace(fact(0.9), confusion=((9000, 1000), (0, 0)))
    found = results.compared([whole, fact(0.8, test=2000)], PRESETS)
    assert found.rows[1].over_first == (-10.0, None)
    assert any(note.startswith("tested on different numbers of images (10,000; 2,000)") for note in found.notes)
    text = unescape(comparison_page.write(found, [], tmp_path / "all.html").read_text())
    assert "(tested on different numbers of images: 10,000; 2,000).</h1>" in text
    same = results.compared([whole, fact(0.8, test=10000)], PRESETS)
    assert (
        not same.notes
        and "numbers of images" not in comparison_page.write(same, [], tmp_path / "same.html").read_text()
    )


def test_the_order_of_conditions_is_no_other_kind_of_test_images() -> None:
    streams = [{"stream": Part("domains", {"conditions": words})} for words in ("plain+blur", "blur+plain")]
    found = results.compared([fact(0.9, **streams[0]), fact(0.8, **streams[1])], PRESETS)  # type: ignore[arg-type]
    assert found.rows[1].over_first is not None and not found.notes
    many = results.compared([fact(0.9), fact(0.8, stream=Part("permuted"))], PRESETS)
    assert any("under permute:0, permute:1, permute:2, permute:3 and 6 more" in note for note in many.notes)


def test_runs_that_went_on_from_others_are_no_seeds_of_one() -> None:
    """Of one seed and equal settings: what differs is what they began with."""
    two = [replace(fact(share), source=source) for share, source in ((0.9, "runs/a"), (0.7, "runs/b"))]
    found = results.compared(two, PRESETS)
    assert [row.label for row in found.rows] == ["from=runs/a", "from=runs/b"]
    seeds = [replace(fact(share, seed), source=f"runs/a-{seed}") for share, seed in ((0.9, 0), (0.7, 1))]
    assert [row.seeds for row in results.compared(seeds, PRESETS).rows] == [(0, 1)]


def test_runs_of_equal_settings_are_seeds_of_one(
    runs: list[Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert compare.main([*map(str, runs), "--json", "--out", str(tmp_path)]) == 0
    found = printed(capsys)
    assert sorted(row["seeds"] for row in found) == [[0], [0, 1]] and {row["schema"] for row in found} == {
        results.SCHEMA
    }
    accuracies = [json.loads((run / "report.json").read_text())["accuracy"] for run in runs]
    both = next(row for row in found if len(row["seeds"]) == 2)
    assert both["accuracy"][0] == pytest.approx((accuracies[0] + accuracies[1]) / 2)
    assert both["accuracy"][1] == pytest.approx(abs(accuracies[0] - accuracies[1]) / 2**0.5)
    assert both["centralized"] is None
    assert next(row for row in found if len(row["seeds"]) == 1)["accuracy"][1] is None  # one seed has no deviation
    assert (tmp_path / "compare.png").stat().st_size > 1000


# ── on the terminal ──


def test_one_seed_has_no_deviation(runs: list[Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert compare.main([str(runs[0]), "--out", str(tmp_path)]) == 0
    output = capsys.readouterr().out.partition("written")[0]
    assert (
        "±" not in output
        and "deviation" not in output
        and "test accuracy, %" in output
        and "nothing to be compared" in output
    )


def cells(lines: list[str]) -> list[str]:
    """The words between a table's lines."""
    return [word for line in lines for word in re.sub("[┃│]", " ", line).split()]


@pytest.mark.parametrize("width", [80, 120, 200])
def test_no_word_is_broken(
    width: int, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", str(width))
    runs = {f"r{i}": stream(0.9 + i / 100, method, i % 2) for i, method in enumerate(["replay", "derpp", "replay"])}
    beside = {"centralized": 0.99, "fedavg": 0.9, "local": 0.5, "joint": 0.98}
    runs = {name: one.with_(baselines=beside) for name, one in runs.items()}
    assert compare.main([*saved(tmp_path, **runs), "--out", str(tmp_path)]) == 0
    lines = capsys.readouterr().out.partition("written")[0].splitlines()
    assert max(map(len, lines)) <= width
    words = {word for key in COLUMNS for word in compare._head(key).split()} - {
        "own",
        "worst",
        "client",
        "client,",
        "personal,",
    }
    assert words - {"classes"} <= set(cells(lines))
    assert {"methods=replay", "methods=derpp", "federated"} <= set(cells(lines)) and "own" not in cells(
        lines
    )  # nobody has it


HEADS = [compare._head(key) for key in COLUMNS] + ["memory a client", "sync, Dirichlet 0.1", "runs", "seeds"]


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.sampled_from(HEADS), min_size=1, max_size=12, unique=True),
    st.lists(st.lists(st.sampled_from(["partition.alpha=0.05", "strategy=fedprox", "methods=replay+ewc"]), min_size=1,
                      max_size=3).map(", ".join), min_size=1, max_size=5),
    st.sampled_from([80, 100, 120]),
)  # fmt: skip
def test_at_no_width_is_a_word_of_the_real_heads_broken_or_a_line_too_long(
    head: list[str], labels: list[str], width: int
) -> None:
    filled = [[label, *["97.71 ± 0.23 / 0.6 (5)"] * len(head)] for label in labels]
    console = Console(width=width, highlight=False, markup=False, no_color=True)
    with console.capture() as caught:
        for one in tables(["runs", *head], filled, width):
            console.print(one)
    lines = caught.get().splitlines()
    assert max(map(len, lines)) <= width
    wanted = {word for text in [*head, *labels, "97.71 ± 0.23 / 0.6 (5)"] for word in text.split()}
    assert wanted <= set(cells(lines))


def test_points_stand_below_one_another() -> None:
    column = list(aligned([("96.51", "0.12"), ("97.00", "12.00"), ("–", "")]))
    assert column == [("96.51 ± ", "1", "0.12"), ("97.00 ± ", "", "12.00"), ("–", " ± 12.00", "")]
    assert list(aligned([("1", ""), ("2", "")])) == [("1", "", ""), ("2", "", "")] and not list(aligned([]))
    assert compare._cells("accuracy", rows(grouped([fact(0.5)]))) == ["50.00"]
    both = rows(grouped([fact(0.9), fact(0.94, seed=1), fact(0.8, noise=0.1)]))
    assert compare._cells("accuracy", both) == ["92.00 ± 2.83", "80.00       "]
    assert compare._cells("over_first", both) == ["–", "−10.00"]


def test_the_page_has_the_words_of_the_terminal(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    both = {"a": fact(0.9, 0, 0.95), "b": fact(0.8, 0, 0.95, noise=0.1)}
    assert compare.main([*saved(tmp_path, **both), "--out", str(tmp_path), "--html", str(tmp_path / "p.html")]) == 0
    table = (tmp_path / "p.html").read_text().partition("<h2>Results</h2>")[2].partition("</thead>")[0]
    heads = re.findall(r'<th scope="col">(.*?)</th>', table)[2:]
    assert heads == ["Federated, %", "Δ first, points", "Centralized, %", "Δ centralized, points"]
    words = {word for head in heads for word in head.partition(",")[0].lower().split()}
    assert words <= set(cells(capsys.readouterr().out.lower().splitlines()))


# ── the pictures ──


def test_pictures_are_there_as_svg_and_their_numbers_as_csv(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    given_ = saved(tmp_path, a=stream(0.9, "replay"), b=stream(0.94, "replay", 1), c=stream(0.8, "ewc"))
    for out in ("x", "y"):
        assert compare.main([*given_, "--out", str(tmp_path / out)]) == 0
    for name in ("compare", "memory"):
        assert (tmp_path / "x" / f"{name}.svg").read_bytes() == (tmp_path / "y" / f"{name}.svg").read_bytes()
        assert "<svg" in (tmp_path / "x" / f"{name}.svg").read_text()
    with (tmp_path / "x" / "compare.csv").open() as file:
        found = list(csv.DictReader(file))
    last = next(row for row in found if row["runs"] == "methods=replay" and row["round"] == "2")
    share = "(share of test images)"
    assert float(last[f"accuracy {share}"]) == pytest.approx(0.92) and last["seeds"] == "2"
    assert (float(last[f"lowest {share}"]), float(last[f"highest {share}"])) == (0.9, 0.94)
    with (tmp_path / "x" / "memory.csv").open() as file:
        assert [row["method"] for row in csv.DictReader(file)] == ["methods=replay", "methods=ewc"]


def within(figure: Figure) -> bool:
    """Are the legend and all titles whole inside the picture?"""
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    texts = [text for legend in figure.legends for text in legend.get_texts()]
    texts += [axes.title for axes in figure.axes] + [axes._left_title for axes in figure.axes]  # type: ignore[attr-defined]
    boxes = [one.get_window_extent(canvas.get_renderer()) for one in [*figure.legends, *texts]]
    return all(figure.bbox.x0 <= b.x0 and b.x1 <= figure.bbox.x1 and figure.bbox.y0 <= b.y0 and b.y1 <= figure.bbox.y1
               for b in boxes)  # fmt: skip


@pytest.mark.parametrize("count", [1, 3, 16])
def test_legends_are_whole_and_hold_only_what_differs(count: int, figures: list[Figure], tmp_path: Path) -> None:
    augment = tuple(Part(name) for name in ("rotate", "zoom", "shift", "elastic", "stroke", "focus", "contrast"))
    long = [{"noise": i / 100, "augment": augment if i % 2 else (), "count_ratio": 1.0 + i, "minimum": i + 1}
            for i in range(count)]  # fmt: skip
    reports = [fact(0.5 + i / 50, 0, 0.97 + i / 1000, **change) for i, change in enumerate(long)]
    found = results.compared(reports, PRESETS)
    draw(reports, tmp_path, found.shared + ", with a long tail of what all share" * 6)
    (figure,) = figures
    assert within(figure)
    captions = [" ".join(text.get_text().split()) for text in figure.legends[0].get_texts()]
    assert captions[:count] == [group.label for group in found.groups]


@pytest.mark.parametrize("panels", [1, 4])
@pytest.mark.parametrize(
    "names",
    [["methods=replay"], list("abcdefghijklm"), [f"methods=replay+ewc, softmax=masked, noise=0.{i}" for i in range(9)]],
    ids=["one", "many", "long"],
)
def test_the_legend_of_the_methods_is_whole(
    names: list[str], panels: int, figures: list[Figure], tmp_path: Path
) -> None:
    points = [MemoryPoint(name, f"panel {k}", 40.0, 0.9, 0.01, 3) for name in names for k in range(panels)]
    against_memory(points, tmp_path, "all of them share this")
    assert within(figures[0])


# ── the page ──


def test_the_page_holds_every_run_and_nothing_from_elsewhere(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folders = saved(tmp_path, a=stream(0.9, "replay"), b=stream(0.94, "replay", 1), c=stream(0.8, "ewc"), d=fact(0.7))
    page = tmp_path / "pages" / "all.html"
    assert compare.main([*folders, "--out", str(tmp_path), "--html", str(page)]) == 0
    text = page.read_text()
    links = re.findall(r'href="([^"d][^"]*)"', text)
    assert links == [f"../{name}/report.html" for name in "abcd"]
    assert all((page.parent / link).exists() for link in links)
    assert "<script" not in text and "http" not in text.replace("http-equiv", "")
    (policy,) = re.findall(r'http-equiv="Content-Security-Policy" content="([^"]+)"', text)
    assert unescape(policy) == "default-src 'none'; style-src 'unsafe-inline'; img-src data:"
    drawings = [base64.b64decode(one) for one in re.findall(r'data:image/svg\+xml;base64,([^"]+)"', text)]
    assert len(drawings) == 2 and all(b"<svg" in one for one in drawings)
    assert not [one for one in drawings if re.search(rb"""(href|src)=["'](?!#)|url\((?!#)|<script|@import""", one)]
    assert "average accuracy: mean over all tasks at the end".capitalize() in text and "&lt;function" not in text
    for words in ("methods=replay", "methods=ewc", "92.00", "2.83", "What differs", "Learning in stages", "model.tflite",
                 "Forgetting", "904", "−10.00", "prefers-color-scheme"):  # fmt: skip
        assert words in text, words


def test_of_equals_the_first_is_the_best(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folders = saved(tmp_path, a=stream(0.9, "replay"), b=stream(0.9, "ewc"), c=stream(0.8, "si"))
    assert compare.main([*folders, "--out", str(tmp_path), "--html", str(tmp_path / "all.html")]) == 0
    (headline,) = re.findall("<h1>(.*?)</h1>", (tmp_path / "all.html").read_text())
    assert (
        headline.replace("\N{NO-BREAK SPACE}", " ")
        == "Best of 3: methods=replay reads 90.00 % of the test images right."
    )


def test_a_settings_text_cannot_become_markup(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folders = saved(tmp_path, a=fact(0.9, name="<b>x"), b=fact(0.8, name="y"))
    assert compare.main([*folders, "--out", str(tmp_path), "--html", str(tmp_path / "p.html")]) == 0
    assert "<b>x" not in (tmp_path / "p.html").read_text() and "&lt;b&gt;x" in (tmp_path / "p.html").read_text()


# ── what went wrong, and what makes no sense ──


def test_what_diverged_is_named_below_the_table(
    runs: list[Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "broken").mkdir()
    record.save(tmp_path / "broken", record.load(runs[0]).with_(diverged={"federated": "this run diverged"}))
    assert compare.main([str(tmp_path / "broken"), "--out", str(tmp_path)]) == 0
    assert "seed 0: this run diverged" in capsys.readouterr().out
    assert compare.main([str(tmp_path / "broken"), "--json", "--out", str(tmp_path)]) == 0
    assert printed(capsys)[0]["diverged"] == ["seed 0: this run diverged"]


def test_replies_that_failed_and_a_run_that_learned_nothing_are_named() -> None:
    failing = replace(fact(0.1).history[-1], failed={2: "the disk is full"}, server_error="nobody answered")
    run = replace(fact(0.1), history=(failing,), events=(record.LEARNED_NOTHING,))
    assert results.compared([fact(0.9, 1), run], PRESETS).notes == (
        f"noniid, seed 0: {record.LEARNED_NOTHING}",
        f"noniid, seed 0: 2 replies or rounds failed, the first: round {failing.round}: client 2: the disk is full",
    )


@pytest.mark.parametrize("content", [None, "", "{}", '{"history": []}', '{"schema": 2, "settings": {"name": "x"}}'])
def test_what_is_no_finished_run_is_refused_by_name(
    content: str | None, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "half").mkdir()
    if content is not None:
        (tmp_path / "half" / "report.json").write_text(content)
    with pytest.raises(SystemExit) as stop:
        compare.main([str(tmp_path / "half")])
    assert stop.value.code == 2 and "half" in capsys.readouterr().err


def test_what_cannot_be_compared_is_left_out_and_the_rest_is(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    good = saved(tmp_path, good=fact(0.9), copy=fact(0.9), other=fact(0.9).with_(weights_sha256="x"))
    for name in ("empty", "half", "cell"):
        (tmp_path / name).mkdir()
    (tmp_path / "cell" / "scenario.json").write_text("{}")
    (tmp_path / "cell" / "result.json").write_text("{}")
    (tmp_path / "half" / "scenario.json").write_text(SCENARIOS["noniid"][0].json())
    (tmp_path / "file").write_text("")
    bad = [str(tmp_path / name) for name in ("empty", "half", "cell", "file", "nowhere", "9" * 400)]
    assert compare.main([*good, good[0] + "/.", *bad, "--out", str(tmp_path), "--json"]) == 0
    caught = capsys.readouterr()
    assert len(caught.out.splitlines()) == 1 and json.loads(caught.out)["seeds"] == [0]
    lines = caught.err.splitlines()
    for line, reason in zip(
        lines,
        (
            "weights of",
            "other weights",
            "named twice",
            "not the folder of a run",
            "--resume",
            "a study's cell",
            "a file",
            "not there",
            "not there",
        ),
        strict=True,
    ):
        assert line.startswith("left out: ") and reason in line


def test_a_run_before_its_export_is_not_finished_but_a_studys_is(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (folder,) = saved(tmp_path, a=fact(0.9).with_(seconds={"training": 2.0, "evaluation": 1.0}))
    assert compare.main([folder, "--out", str(tmp_path), "--json"]) == 0
    assert printed(capsys)[0]["seconds"] == 3.0
    (tmp_path / "a" / "checkpoints").mkdir()
    with pytest.raises(SystemExit) as stop:
        compare.main([folder])
    assert stop.value.code == 2 and f"--resume {folder}" in capsys.readouterr().err


def test_the_page_that_cannot_be_written_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder,) = saved(tmp_path, a=fact(0.9))
    for page, message in ((tmp_path / "a" / "report.json" / "x.html", "report.json"), (tmp_path, "is a folder")):
        with pytest.raises(SystemExit) as stop:
            compare.main([folder, "--out", str(tmp_path), "--html", str(page)])
        assert stop.value.code == 2 and message in capsys.readouterr().err


def test_a_short_head_stays_in_one_line() -> None:
    (table,) = tables(["row", "E = 1", "rounds to 99 %"], [["fedavg", "–", "–"]], 80)
    assert [column.width for column in table.columns] == [6, len("E = 1"), len("rounds")]
