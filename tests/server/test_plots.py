"""The pictures and the page: all are drawn, poor reports do no harm, and the page says what the report says."""

from __future__ import annotations

import base64
import csv
import hashlib
import json
import re
import shlex
import statistics
import subprocess
import sys
from dataclasses import replace
from html import unescape
from itertools import pairwise

import numpy as np
import pytest

from core.config.part import Part
from core.config.scenario import Scenario
from core.curves import Point
from server.record import ForgettingSplit
from server.report import page
from server.report.figures import PLOTS, compare, draw, formatting, study, style
from server.report.figures.compare import mean
from server.report.figures.evaluation import wilson
from server.report.figures.groups import grouped
from server.report.figures.memory import MemoryPoint, against_memory
from server.report.page import reproduce
from tests.reports import SCENARIO, fake, html, read, staged, title


@pytest.fixture(scope="module")
def full(tmp_path_factory):
    """(report, folder) of a whole run, drawn and written."""
    report, folder = staged(fake()), tmp_path_factory.mktemp("run")
    draw(read(report), folder, np.random.default_rng(0).integers(0, 256, (20, 10, 28, 28), np.uint8))
    page.write(read(report), folder)
    return report, folder


def test_every_picture_is_drawn_and_shown(full):
    _, folder = full
    for ending, without in ((".png", set()), (".svg", set()), (".csv", {"looks"})):  # its data are images
        assert {path.stem for path in folder.glob(f"*{ending}")} == set(PLOTS) - without
    assert all(path.read_bytes().startswith(b"<?xml") for path in folder.glob("*.svg"))
    assert all(path.read_bytes().startswith(b"\x89PNG") for path in folder.glob("*.png"))
    assert (folder / "report.html").read_text().count("data:image/png;base64,") == len(PLOTS)
    assert not list(folder.glob(".*"))


def test_equal_reports_give_equal_bytes(full, tmp_path):
    report, folder = full
    drawn = draw(read(json.loads(json.dumps(report)) | {"shards": []}), tmp_path)
    assert [path.name for path in drawn] == [
        f"{name}.png"
        for name in ("accuracy", "matrix", "tasks", "forgetting_split", "classes", "served", "confusion", "drift")
    ]
    files = sorted(tmp_path.iterdir())
    assert len(files) == 3 * len(drawn)
    assert all(file.read_bytes() == (folder / file.name).read_bytes() for file in files)


def rows(folder, name: str) -> list[dict[str, str]]:
    with (folder / f"{name}.csv").open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


SHARE = "accuracy (share of test images)"


def test_the_numbers_beside_a_picture_are_the_reports(full):
    """To the last digit: what is written is read as the very number that report.json has."""
    report, folder = full
    history, section, shards = report["history"], report["continual"], report["shards"]
    found = rows(folder, "accuracy")
    lines = {name: [r for r in found if r["training"] == name] for name in ("federated", "centralized", "local")}
    assert [(int(r["round"]), float(r[SHARE])) for r in lines["federated"]] == [
        (r["round"], r["accuracy"]) for r in history
    ]
    assert [float(r[SHARE]) for r in lines["centralized"]] == [p["accuracy"] for p in report["curves"]["centralized"]]
    assert [float(r["gradient examples"]) for r in lines["federated"]] == [r["seen"] for r in history]
    (alone,) = lines["local"]
    assert (float(alone["lowest (share of test images)"]), float(alone["highest (share of test images)"])) == (
        0.29,
        0.915,
    )
    assert [float(r[SHARE]) for r in rows(folder, "matrix")] == [s for row in section["matrix"] for s in row]
    assert sum(r["taught in this stage"] == "1" for r in rows(folder, "matrix")) == 5
    curve = [float(r[SHARE]) for r in rows(folder, "tasks") if r["task"] == "2, 3"]
    assert curve == [r["tasks_accuracy"][1] for r in history]
    parts = [float(r["accuracy lost (share of test images)"]) for r in rows(folder, "forgetting_split")]
    splits = [r["forgetting_split"][kind] for r in history for kind in ("temporal", "spatial")]
    assert (
        parts == [share for share in splits if share is not None] and None in splits
    )  # no earlier task in the first stage
    classes = [float(r[SHARE]) for r in rows(folder, "classes")]
    assert classes == [s for r in history for s in r["classes_accuracy"]]
    served = {(r["client"], r["stage"]): float(r["accuracy (share of the client's test images)"])
              for r in rows(folder, "served")}  # fmt: skip
    assert served["1", "5"] == section["clients"][4]["1"] and served["0", "1"] == section["clients"][0]["0"]
    clients = {
        int(r["client"]): float(r["accuracy (share of the client's test images)"]) for r in rows(folder, "clients")
    }
    assert clients == {shard["client"]: shard["accuracy"] for shard in shards}
    own = {int(r["client"]): float(r[SHARE]) for r in rows(folder, "alone")
           if r["model"] == "its own" and r["tested on"] == "all ten digits"}  # fmt: skip
    assert own == dict(enumerate(report["local_accuracies"]))
    assert [int(r["test images"]) for r in rows(folder, "confusion")] == [n for row in report["confusion"] for n in row]
    drift = {(r["round"], r["client"]): float(r["distance (share of the global weights' norm)"])
             for r in rows(folder, "drift")}  # fmt: skip
    assert drift == {(str(r["round"]), c): value for r in history for c, value in r["drift"].items()}
    assert [int(r["training images"]) for r in rows(folder, "labels")] == [
        n for shard in shards for n in shard["labels"]
    ]


def test_what_is_drawn_is_what_is_written(full):
    """The heights of bars, the points of curves and the cells of tables, from the figures themselves."""
    report, folder = full
    with style.applied():
        found = {
            name: PLOTS[name](read(report)).draw().axes for name in ("forgetting_split", "tasks", "matrix", "drift")
        }
    bars = [bar.get_height() for bar in found["forgetting_split"][0].patches if np.isfinite(bar.get_height())]
    lost = {kind: [100 * float(r["accuracy lost (share of test images)"])
                   for r in rows(folder, "forgetting_split") if r["part"] == kind] for kind in ("temporal", "spatial")}  # fmt: skip
    assert bars == pytest.approx(lost["temporal"] + lost["spatial"])
    drawn = [y for line in found["tasks"][0].lines for y in line.get_ydata() if len(line.get_xdata()) > 2]
    assert drawn == pytest.approx([100 * float(r[SHARE]) for name in report["continual"]["tasks"]
                                   for r in rows(folder, "tasks") if r["task"] == name])  # fmt: skip
    cells = np.asarray(found["matrix"][0].images[0].get_array()).ravel().tolist()
    assert cells == pytest.approx([100 * float(r[SHARE]) for r in rows(folder, "matrix")])
    dots = found["drift"][0].collections[0].get_offsets()[:, 1].tolist()
    assert dots == pytest.approx(
        [100 * float(r["distance (share of the global weights' norm)"]) for r in rows(folder, "drift")]
    )


def test_what_is_no_number_is_an_empty_cell(tmp_path):
    report = fake(2, 2) | {"baselines": {"centralized": 0.9}, "curves": {}}
    draw(read(report), tmp_path)
    (level,) = [r for r in rows(tmp_path, "accuracy") if r["training"] == "centralized"]
    assert (level["round"], level["gradient examples"], level[SHARE]) == ("", "", "0.9")


def test_a_camera_is_told_of_beside_its_own_client(tmp_path):
    """Clients that gave no answer at the end have no shard in the report, and no images on the sheet."""
    report = fake(4, 2)
    report["shards"] = [shard for shard in report["shards"] if shard["client"] != 1]
    for shard in report["shards"]:
        shard["looks"] = {"zoom": 1 + shard["client"] / 100}
    with style.applied():
        (axes,) = PLOTS["looks"](read(report), np.zeros((3, 3, 28, 28), np.uint8)).draw().axes
    captions = [text.get_text().replace("\N{NO-BREAK SPACE}", " ") for text in axes.texts]
    assert captions == ["size ×1.00", "size ×1.02", "size ×1.03"]
    assert [text.get_text() for text in axes.get_yticklabels()] == ["client 0", "client 2", "client 3"]


POOR = {
    "one round of one client": fake(1, 1) | {"baselines": {}, "curves": {}, "exports": {}, "events": []},
    "100 clients": fake(100, 4),
    "all failed": fake(3, 3) | {"history": [
        {"round": 1, "clients": [], "failed": {"0": "timed out"}, "server_error": "lost", "accuracy": 0.1, "loss": None}
    ]},
    "nothing tested": {"settings": {"name": "x", "clients": 2, "cohort": 2}, "history": [], "accuracy": None},
    "diverged": fake(2, 2) | {"accuracy": 0.098, "loss": None, "confusion": [[0] * 10] * 10},
    "perfect": fake(2, 2) | {"accuracy": 1.0, "history": [r | {"accuracy": 1.0} for r in fake(2, 2)["history"]]},
    "no one tested": fake(2, 2) | {"shards": [{"client": 0, "examples": 9}], "local_accuracies": []},
}  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize("name", POOR)
def test_poor_reports_do_no_harm(name, tmp_path, monkeypatch):
    monkeypatch.setattr(style, "DPI", 40)
    draw(read(POOR[name]), tmp_path)
    assert "<h1>" in html(POOR[name], tmp_path)


def test_the_page_says_what_the_report_says(full):
    report, folder = full
    text = (folder / "report.html").read_text(encoding="utf-8").replace("\N{NO-BREAK SPACE}", " ")
    expected = [formatting.percent(row["accuracy"]).replace("\N{NO-BREAK SPACE}", " ") for row in report["history"]]
    expected += [f"{shard['examples']:,}" for shard in report["shards"]] + [f"{report['history'][-1]['seen']:,}"]
    expected += ["3 min 12 s", "236 kB", "99.97 %", "1.41.0", report["weights_sha256"], "client 4 timed out"]
    assert [value for value in expected if value not in text] == []


def test_the_page_escapes_everything(tmp_path):
    evil = "<script>alert(1)</script>"
    report = fake(2, 2) | {"folder": evil, "events": [evil], "versions": {evil: evil}, "diverged": {evil: evil}}
    report["settings"] |= {"data": evil, "name": evil}
    one = {"bytes": 1, "accuracy": 0.9, "difference": 0.0, "agreement": 1.0}
    report["exports"] = {"files": {evil: one}, "refused": {evil: evil}}
    report["history"][0] |= {"failed": {"0": evil}, "retried": {"1": evil}, "server_error": evil}
    report["shards"][0]["looks"] = {evil: 1.0}
    draw(read(report), tmp_path)
    report["baselines"]["local"] = 0.5
    text = html(report, tmp_path)
    assert evil not in text and "alert" in text and text.count("<script") == 1  # the page's own


def test_the_page_loads_nothing(full):
    # A name, which nobody asks for
    text = (full[1] / "report.html").read_text().replace("http://www.w3.org/2000/svg", "")
    loading = ("http://", "https://", "@import", "url(", ' src="h', "import(", "fetch(", "<script src", '<link rel="s')
    assert not any(word in text for word in loading)


def test_the_browser_may_run_the_pages_own_script_only(full):
    text = (full[1] / "report.html").read_text(encoding="utf-8")
    (script,) = re.findall(r"<script>(.*?)</script>", text, re.DOTALL)
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    assert f'script-src &#x27;sha256-{digest}&#x27;"' in text and "unsafe-eval" not in text and len(script) < 50_000


def test_the_curves_on_the_page_have_the_reports_numbers(full):
    report, folder = full
    found = re.findall(r'data-curves="(.*?)"', (folder / "report.html").read_text(encoding="utf-8"))
    accuracy, tasks = (json.loads(unescape(text)) for text in found)
    lines = {line["name"]: line["points"] for line in accuracy["lines"]}
    assert lines["federated"] == [[r["round"], r["seen"], r["accuracy"], None, None] for r in report["history"]]
    assert lines["centralized"] == [
        [p["round"], p["seen"], p["accuracy"], None, None] for p in report["curves"]["centralized"]
    ]
    assert lines["local"][0][3:] == [0.29, 0.915] and "worst client alone" in accuracy["bands"][0]
    assert [line["name"] for line in tasks["lines"]] == report["continual"]["tasks"]
    assert [[p[2] for p in line["points"]] for line in tasks["lines"]] == [
        list(column) for column in zip(*(r["tasks_accuracy"] for r in report["history"]), strict=True)
    ]
    assert (accuracy["nines"], tasks["nines"], tasks["stages"]) == (True, False, [4, 8, 12, 16])


def test_what_a_picture_shows_is_said_in_words_with_its_numbers(full):
    """Not the file's name, nor its heading: the main numbers, from the report."""
    report, folder = full
    text = (folder / "report.html").read_text(encoding="utf-8").replace("\N{NO-BREAK SPACE}", " ")
    alts = [unescape(alt) for alt in re.findall(r'<img [^>]*alt="(.*?)"', text)]
    assert len(alts) == len(PLOTS) and all(len(alt) > 60 and re.search(r"\d", alt) for alt in alts)
    alt_of = dict(zip(PLOTS, alts, strict=True))
    last, section = report["history"][-1], report["continual"]
    assert f"At the end: federated {100 * last['accuracy']:.2f} %" in alt_of["accuracy"]
    assert "local 61.34 % (from 29.00 % to 91.50 %)" in alt_of["accuracy"]
    assert f"8, 9: {100 * section['matrix'][-1][4]:.1f} %" in alt_of["matrix"] and "5 stages" in alt_of["matrix"]
    assert f"0, 1: {100 * last['tasks_accuracy'][0]:.1f} %" in alt_of["tasks"]
    assert "Training took most in round 5: 0.40 points" in alt_of["forgetting_split"]
    worst = min(report["shards"], key=lambda shard: shard["accuracy"])
    assert f"client {worst['client']}, gets {100 * worst['accuracy']:.2f} %" in alt_of["clients"]
    far = max((value, r["round"]) for r in report["history"] for value in r["drift"].values())
    assert f"in round {far[1]}: {100 * far[0]:.1f} %" in alt_of["drift"]
    assert "client 0: turned" in alt_of["looks"]
    assert f"0 {100 * report['confusion'][0][0] / sum(report['confusion'][0]):.1f} %" in alt_of["confusion"]


def test_what_went_wrong_stands_above_the_figures(tmp_path):
    report = fake(2, 2) | {"events": [f"event {i}" for i in range(30)]}
    report["settings"] = report["settings"] | {"rounds": 9}
    report["exports"]["refused"] = {"model.int4.tflite": "too inexact"}
    top = html(report, tmp_path).partition('class="tiles"')[0]
    assert all(
        words in top for words in ("2 of 9 planned rounds", "event 0", "event 29", "model.int4.tflite was not exported")
    )
    quiet = fake(2, 2) | {"events": []}
    assert 'class="warn"' not in html(quiet, tmp_path)


def test_the_command_line_makes_the_same_scenario():
    given = shlex.split(reproduce.command(read(fake() | {"settings": json.loads(SCENARIO.json())})))
    assert given[:4] == ["python", "-m", "scenarios.run", "noniid"]
    made = Scenario("noniid", clients=3, cohort=3, looks=(Part("stroke"),), partition=Part("labels", {"k": 1}))
    assert made.with_(*(tuple(word.split("=", 1)) for word in given[5::2])) == SCENARIO


def test_runs_that_differ_by_seed_are_one_line(tmp_path):
    runs = [read(fake(4, 3, seed)) for seed in range(3)]
    changed = fake(4, 3) | {"curves": {}}
    changed["settings"] = changed["settings"] | {"partition": {"name": "labels", "args": {"k": 1}}}
    other = read(changed)
    names = [group.label for group in grouped([*runs, other])]
    assert names == ["partition=dirichlet", "partition=labels"]
    assert compare([*runs, other], tmp_path).name == "compare.png"
    assert (tmp_path / "compare.svg").exists()
    with pytest.raises(ValueError, match="finished round"):
        compare([], tmp_path)


def test_a_stopped_run_keeps_its_last_model():
    long = [Point(0.9, i, seen=10 * i) for i in (1, 2)]
    short = [Point(0.5, 1, seen=30)]
    assert mean([long, short])[1] == Point(0.7, 2, seen=25.0, low=0.5, high=0.9)


def test_labels_at_line_ends_keep_apart():
    positions = style.spread([0.99, 0.2, 0.98, 0.21], 0.05)
    assert np.diff(sorted(positions)).min() >= 0.05 - 1e-9 and max(positions) <= 1
    assert np.argsort(positions).tolist() == np.argsort([0.99, 0.2, 0.98, 0.21]).tolist()


def test_gaps_are_those_of_the_numbers_shown():
    assert (
        formatting.gap(0.98904, 0.99206) == "0.31 points below"
        and formatting.gap(0.98904, 0.98896) == "exactly as good as"
    )
    assert formatting.duration(59.96) == "1\xa0min 0\xa0s" and formatting.duration(3900) == "1\xa0h 05\xa0min"
    assert formatting.size(904_512) == "905\xa0kB" and formatting.size(11_490_519) == "11.49\xa0MB"


def test_looks_in_words():
    assert (
        formatting.looks({"rotate": -7.24, "down": -0.01, "new": 3}).replace("\xa0", " ")
        == "turned −7.2°, down +0.0 px, new 3"
    )


def test_wilson_interval():
    low, high = wilson(np.array([0.9]), np.array([10.0]))  # Brown, Cai and DasGupta 2001: 9 of 10
    assert (low[0], high[0]) == pytest.approx((0.5958, 0.9821), abs=1e-3)


def test_importing_is_light():
    code = "import sys, server.report.figures, server.report.page; sys.exit(bool({'matplotlib', 'tensorflow'} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_memory_is_drawn_over_settings_and_budgets(tmp_path):
    points = [
        MemoryPoint(name, panel, kilobytes, 0.2 + 0.2 * i + kilobytes / 1000, 0.01, 3)
        for i, name in enumerate(("finetune", "replay", "derpp"))
        for panel in ("sync", "async", "late")
        for kilobytes in ((0.0,) if name == "finetune" else (39.0, 157.0))
    ]
    assert against_memory(points, tmp_path).read_bytes().startswith(b"\x89PNG")
    assert (tmp_path / "memory.svg").exists()


@pytest.mark.parametrize(
    ("schedule", "words"), [("constant", "as the model"), ("cosine", "as the rate falls and the model")]
)
def test_dots_sink_for_a_falling_rate_too_where_it_falls(schedule, words):
    report = read(fake(4, 3))
    picture = PLOTS["drift"](replace(report, settings=replace(report.settings, schedule=Part(schedule))))
    assert picture.reading == f"Dots sink {words} settles."


def test_joining_is_tested_on_the_clients_own_digits(tmp_path):
    report = fake(4, 3)
    for shard, share in zip(report["shards"], (0.9, 0.9, 0.9, 0.9), strict=True):
        shard["accuracy"] = share
    report |= {"local_own_accuracies": [0.8, 0.95, 0.9, 0.7], "local_accuracies": [0.2] * 4, "accuracy": 0.88}
    picture = PLOTS["alone"](read(report))
    heading = title(picture).replace("\N{NO-BREAK SPACE}", " ")
    assert heading.startswith(
        "On its own digits joining clearly helps 2 of 4 clients and harms 1"
    )  # of all ten digits: 4 of 4
    assert "alone they read 83.8 % on average, together 90.0 %" in heading
    assert [axes.get_title(loc="left") for axes in picture.draw().axes] == [
        "On the client's own digits",
        "On all ten digits",
    ]
    text = html(report, tmp_path).replace("\N{NO-BREAK SPACE}", " ")
    assert "61.34 % on all ten digits, and 83.75 % on their own, where together they read 90.00 %" in text
    assert "Alone, own digits" in text and "Alone, all digits" in text and "95.00 %" in text and "20.00 %" in text


def test_without_own_accuracies_the_finding_says_on_what_it_is():
    report = fake(4, 3)
    del report["local_own_accuracies"]
    assert title(PLOTS["alone"](read(report))).startswith("On all ten digits joining helps 4 of 4 clients")


def legend(figure) -> list[str]:
    return [text.get_text() for one in figure.legends for text in one.get_texts()]


def bands(figure) -> int:
    """How many filled bands there are in its first panel."""
    return len(figure.axes[0].collections)


def test_a_band_says_what_it_is_and_one_seed_has_none(figures, tmp_path):
    compare([read(fake(4, 3, seed)) for seed in range(3)], tmp_path)
    compare([read(fake(4, 3))], tmp_path)
    assert any("band: lowest to highest of 3 seeds" in text for text in legend(figures[0])) and bands(figures[0]) == 3
    assert not any("band" in text for text in legend(figures[1])) and bands(figures[1]) == 0
    assert any("worst client alone to the best" in text for text in legend(PLOTS["accuracy"](read(fake())).draw()))


def test_bars_say_what_they_are_and_one_seed_has_none(figures, tmp_path):
    for seeds in (3, 1):
        points = [MemoryPoint("ewc", "sync", kb, 0.5, 0.01 if seeds > 1 else None, seeds) for kb in (0.0, 39.0)]
        against_memory(points, tmp_path)
    assert "bar: ± standard deviation over 3 seeds" in legend(figures[0]) and legend(figures[1]) == ["ewc"]
    lengths = [[np.ptp(path.vertices[:, 1]) for bars in figure.axes[0].collections for path in bars.get_paths()
                if len(path.vertices)] for figure in figures]  # fmt: skip
    assert np.allclose(lengths[0], 2.0) and len(lengths[0]) == 2 and not np.any(np.nan_to_num(lengths[1]))


@pytest.mark.parametrize(
    "values", [(9.1, 62.0, 95.9, 97.4), (98.2, 98.9, 99.2), (98.9, 98.91), (97.1,), (10.0, 57.0, 88.0), (100.0,)]
)
def test_numbers_below_a_studys_points_keep_apart_and_all_points_are_inside(values, figures, tmp_path):
    series = [
        study.Series(f"row {i}", name, {}, {0: value, 1: value}) for i, value in enumerate(values) for name in "abc"
    ]
    study.points(
        series, tmp_path, [f"row {i}" for i in range(len(values))], "meaning", study.FigureFormat("accuracy (%)", "%")
    )
    figures[0].draw_without_rendering()
    for axes in figures[0].axes[:3]:
        low, high = axes.get_xlim()
        assert low < min(*values, 99.995) and min(max(values), 99.995) < high  # 100 is drawn there
        numbers = [tick.label1 for tick in axes.xaxis.get_major_ticks() if low <= tick.get_loc() <= high]
        boxes = sorted((text.get_window_extent() for text in numbers if text.get_text()), key=lambda box: box.x0)
        assert len(boxes) > 1 and all(one.x1 < other.x0 for one, other in pairwise(boxes))
        assert ("logarithmic" in axes.get_xlabel()) == (max(values) >= 90)


SCAFFOLD = "strategy=scaffold, rate=0.1"  # with "at the end" it is longer than a line


def test_a_studys_bars_are_whole_and_one_beyond_what_there_can_be_takes_no_room_from_the_others(figures, tmp_path):
    seeds = {"plain": (70.0, 79.0, 71.0), "nines": (92.0, 98.0, 92.1), "beyond": (94.0, 99.7, 99.7), "alone": (94.0,)}
    series = [study.Series("a", name, {}, dict(enumerate(values))) for name, values in seeds.items()]
    study.points(series, tmp_path, ["a"], "meaning", study.ACCURACY)
    limits = {name: axes.get_xlim() for name, axes in zip(seeds, figures[0].axes, strict=False)}
    for name in ("plain", "nines"):
        middle, bar = statistics.mean(seeds[name]), statistics.stdev(seeds[name])
        assert limits[name][0] < middle - bar and middle + bar < limits[name][1]
    assert 99.7 < limits["beyond"][1] < 99.95


def test_the_words_beside_and_above_a_studys_curves_keep_to_their_panel(figures, tmp_path):
    series = [study.Series(SCAFFOLD, name, {0: (Point(0.5, 1), Point(0.97, 2))}, {}) for name in "bc"]
    study.curves(series, tmp_path, [SCAFFOLD], "meaning")
    figures[0].draw_without_rendering()
    for axes in figures[0].axes:
        panel, label = axes.get_window_extent(), axes.yaxis.label.get_window_extent()
        assert panel.y0 <= label.y0 and label.y1 <= panel.y1
        assert "at\N{NO-BREAK SPACE}the\N{NO-BREAK SPACE}end" in axes.get_title(loc="left")
        assert axes._left_title.get_window_extent().x1 <= panel.x1 + 10


def test_forgetting_of_which_one_part_was_measured_has_its_picture() -> None:
    """Nobody asked had met an earlier task, in any round."""
    run = read(staged(fake()))
    rows_ = [replace(row, forgetting_split=ForgettingSplit(None, None, 0.1, 0.01)) for row in run.history]
    found = PLOTS["forgetting_split"](replace(run, history=tuple(rows_)))
    assert found and found.title == "Mean of rounds: averaging took 10.0 of all tasks met"


def test_a_studys_points_that_are_no_accuracies_have_a_plain_axis(figures, tmp_path):
    shown = study.FigureFormat("rounds to 99 %", "rounds", 1, more=False, accuracy=False)
    values = {"a": {0: 20.0}, "c": {0: 30.0, 1: 10.0}}  # the second seed of a is not there yet
    assert shown.best(values).startswith("Best: a, 20.0")
    assert replace(shown, aside=("a",)).best(values).startswith("Best: c, 20.0")
    assert shown.best({"a": {0: 20.0}, "c": {1: 30.0}}) == "too few seeds to name the best"
    assert shown.best({"a": {}, "c": {}}) == "no row has a value"
    both = [study.Series("a", "b", {}, {0: 173.04}), study.Series("c", "b", {}, {0: 200.0})]
    study.points(both, tmp_path, ["a", "c"], "meaning", shown)
    assert figures[0].axes[0].get_title(loc="left") == "b\nBest: a, 173.0\N{NO-BREAK SPACE}rounds"
    assert (figures[0].axes[0].get_xscale(), figures[0].axes[0].get_xlabel()) == ("linear", "Rounds to 99 %")


@pytest.mark.parametrize(
    ("panels", "shape"), [(1, (1, 1)), (3, (1, 3)), (4, (2, 2)), (5, (2, 3)), (7, (3, 3)), (10, (4, 3))]
)
def test_a_studys_panels_stand_as_evenly_as_they_can(panels, shape, figures, tmp_path):
    rows = [f"a row with a long name, {i}" for i in range(9)]
    curve = (Point(0.5, 1), Point(0.9, 2))
    series = [study.Series(row, f"column {i}", {0: curve, 1: curve}, {0: 90.0}) for i in range(panels) for row in rows]
    study.points(series, tmp_path, rows, "meaning", study.FigureFormat("accuracy (%)", "%"))
    study.curves(series, tmp_path, rows, "meaning")
    for figure in figures:
        (grid,) = {axes.get_gridspec() for axes in figure.axes}
        assert (grid.nrows, grid.ncols) == shape and sum(axes.get_visible() for axes in figure.axes) == panels
    lines = figures[1]
    lines.draw_without_rendering()
    labelled = [bool(axes.get_ylabel()) for axes in lines.axes if axes.get_visible()]
    assert labelled == [i % shape[1] == 0 for i in range(panels)]
    box = lines.legends[0].get_window_extent()
    assert box.x0 >= 0 and box.x1 <= lines.bbox.width


@pytest.mark.parametrize(("value", "unit"), [(31.4, "thousand examples"), (99.1, "%")])
def test_a_long_label_below_a_studys_panels_keeps_to_its_panel(value, unit, figures, tmp_path):
    series = [study.Series(row, name, {}, {0: value}) for row in ("a", "batch norm") for name in "bcd"]
    head = f"accuracy with early stopping, patience 5, best weights restored ({unit})"
    study.points(series, tmp_path, ["a", "batch norm"], "meaning", study.FigureFormat(head, unit, accuracy=unit == "%"))
    study.points(series, tmp_path, ["a", "batch norm"], "meaning", study.FigureFormat("a", unit, accuracy=unit == "%"))
    for figure in figures:
        figure.draw_without_rendering()
    long = figures[0]
    boxes = [axes.xaxis.label.get_window_extent() for axes in long.axes]
    assert all(one.x1 < other.x0 for one, other in pairwise(boxes))
    assert boxes[0].x0 > 0 and boxes[-1].x1 < long.bbox.width
    heights = [figure.axes[0].get_window_extent().height for figure in figures]
    assert heights[0] > 0.8 * heights[1]  # it takes its room from nobody


def test_a_crowds_pictured_clients_are_those_listed_with_their_own_looks() -> None:
    """Of more than a hundred clients a hundred are drawn to report; clients 0, 1, … are hardly among them."""
    facts = fake(30)
    for row, one in enumerate(facts["shards"]):
        one["client"] = 1000 + 7 * row
        one["looks"] = {} if row < 3 else one["looks"]
    facts["settings"]["clients"] = facts["clients"] = 1000
    report = read(facts)
    with style.applied():
        picture, words = PLOTS["looks"](report, np.zeros((20, 10, 28, 28), np.uint8)), PLOTS["looks"](report)
        assert picture and words and (picture.title, picture.alt) == (words.title, words.alt)
        assert picture.title == "Each client sees digits in its own way (20 of 1,000 clients)"
        assert "client 1000: plain; client 1007: plain" in picture.alt
        ticks = [text.get_text() for text in picture.draw().axes[0].get_yticklabels()]
    assert ticks == [f"client {1000 + 7 * row}" for row in range(20)]
