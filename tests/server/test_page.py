"""The page names what diverged before it compares, and says of which version it speaks."""

from __future__ import annotations

import re
import shlex
from dataclasses import replace
from html import unescape

from server.record import LEARNED_NOTHING, Version
from server.report import card
from server.report.figures import PLOTS
from server.report.page import reproduce
from tests.reports import fake, html, read, staged, title

WHY = "the centralized baseline diverged: its validation loss rose from 0.07 in round 4 to 1.25 at the end"


def broken() -> dict:
    report = fake(2, 2)
    best = {"centralized": {"round": 4, "accuracy": 0.978}, "federated": {"round": 2, "accuracy": 0.98}}
    report |= {"accuracy": 0.899, "baselines": {"centralized": 0.8315}, "best": best}
    return report | {"diverged": {"centralized": WHY}, "events": ["round 1: something", WHY]}


def test_what_diverged_is_the_first_thing_said_and_never_compared_in_silence(tmp_path):
    text = html(broken(), tmp_path).replace("\N{NO-BREAK SPACE}", " ")
    headline = text.partition("<h1>")[2].partition("</h1>")[0]
    assert "6.75 points above training on all data in one place, which diverged" in headline
    assert "97.80 % in its best round" in headline
    notices = text.partition('class="warn"')[2].partition("</section>")[0]
    first, _, rest = notices.partition("<li>")[2].partition("</li>")
    assert first == WHY[0].upper() + WHY[1:] and "something" in rest and WHY[1:] not in rest
    assert "diverged" in text.partition("Gap to centralized")[2][:200]
    assert "which diverged" in title(PLOTS["accuracy"](read(broken())))
    assert "diverged" not in html(broken() | {"diverged": {}, "events": []}, tmp_path)


def test_the_full_command_has_the_options_of_the_short_one_that_are_no_setting():
    short = "python -m scenarios.deploy --home HOME run noniid --set name=mine --plugin 'my pieces.py' --baselines none"
    report = read(fake(2, 2))
    full = reproduce.command(
        replace(report, settings=replace(report.settings, name="mine"), command=tuple(shlex.split(short)))
    )
    assert full.startswith("python -m scenarios.deploy --home HOME run noniid --set name=mine --set seed=")
    assert full.endswith(" --plugin 'my pieces.py' --baselines none") and full.count("name=mine") == 1


def test_the_card_names_the_weights_that_are_in_its_files():
    """The gate may have refused the last ones, or a rollback taken them back."""
    report = replace(
        read(fake(2, 2)), weights_sha256="b" * 64, stages=(Version(1, weights_sha256="a" * 64), Version(2))
    )
    assert f"begins {'a' * 16}" in card.card(replace(report, current=1))
    assert f"begins {'b' * 16}" in card.card(replace(report, current=2))  # an older program's version says nothing
    unknown = replace(report, stages=(Version(1), Version(2)))
    assert "SHA-256" not in card.card(replace(unknown, current=1)) and "b" * 16 in card.card(
        replace(unknown, current=None)
    )


def test_the_card_and_the_page_say_on_how_many_images_a_run_was_tested(tmp_path):
    for count, words in ((0, "on all test images."), (2000, "on 2,000 test images.")):
        facts = fake(2, 2)
        facts["settings"]["test"] = count
        assert words in card.card(read(facts)) and words in html(facts, tmp_path)


def test_a_run_that_diverged_says_so_in_its_headline(tmp_path):
    text = html(broken() | {"diverged": {"federated": "this run diverged: why"}}, tmp_path)
    assert "but training diverged" in text.partition("<h1>")[2].partition("</h1>")[0]


def test_a_run_that_taught_some_digits_says_so_in_its_headline(tmp_path):
    some = fake()
    some["settings"] = some["settings"] | {"digits": [3]}
    assert "of which this run taught 3" in html(some, tmp_path).partition("<h1>")[2].partition("</h1>")[0]


def test_the_page_explains_the_curves_that_are_there_and_no_others(tmp_path):
    (tmp_path / "accuracy.png").touch()
    for there in (["centralized"], ["centralized", "local"], []):
        report = fake() | {"baselines": dict.fromkeys(there, 0.9), "curves": {}}
        caption = (
            html(report, tmp_path).partition("<figcaption>Share of test images read right after")[2].partition("</")[0]
        )
        for name, words in (
            ("centralized", "everybody's data"),
            ("local", "that train alone"),
            ("joint", "all that they met"),
        ):
            assert (words in unescape(caption)) == (name in there)


def test_a_run_that_learned_nothing_says_so_in_its_headline(tmp_path):
    text = html(fake() | {"events": [LEARNED_NOTHING]}, tmp_path)
    assert "but nothing was learned" in text.partition("<h1>")[2].partition("</h1>")[0]


def test_the_page_compares_last_with_last_and_best_with_best(tmp_path):
    text = html(broken(), tmp_path).replace("\N{NO-BREAK SPACE}", " ")
    row = text.partition("Beside its baselines")[2].partition(">centralized<")[2].partition("</tr>")[0]
    assert all(cell in row for cell in ("83.15 %", "+6.75", ">4<", "97.80 %", "+0.20", "diverged"))
    assert "Beside its baselines" not in html(broken() | {"baselines": {}}, tmp_path)


def test_after_a_gate_refused_the_page_says_of_which_version_it_speaks(tmp_path):
    stages = [{"version": 1, "accuracy": 0.97, "round": 1}, {"version": 2, "accuracy": 0.99, "round": 2}]
    text = html(fake(2, 2) | {"stages": stages, "current": 1}, tmp_path)
    assert "version 2, not current" in text.partition("Test accuracy")[2][:200]
    assert "version 1" in text.partition("Smallest model")[2][:200]
    assert "The figures here are of version 2, which is not current; the files are version 1&#x27;s." in text
    assert "Files of version 1" in text and "is of version 2, which is not current" in text
    stages[1]["objections"] = ["accuracy on the tasks met is 0.5, less than gate.accuracy = 0.9"]
    text = html(fake(2, 2) | {"stages": stages, "current": 1}, tmp_path)
    assert "is of version 2, which was refused" in text
    text = html(fake(2, 2) | {"stages": stages, "current": 2}, tmp_path)
    assert "Files of version 2, the current one" in text and "refused" not in text and "not current" not in text


def test_a_run_is_made_again_by_a_short_command_and_all_its_settings_are_folded(tmp_path):
    words = ["python", "-m", "scenarios.run", "noniid", "--set", "partition.alpha=0.05"]
    text = unescape(html(fake(2, 2) | {"command": words}, tmp_path))
    shown, _, folded = text.partition("Run it again")[2].partition("<details>")
    assert "<span>python -m scenarios.run noniid</span> <span>--set partition.alpha=0.05</span>" in shown
    assert "local.rate" not in shown and "--set local.rate=0.05" in folded.partition("</details>")[0]


def test_an_older_report_is_read_and_has_the_long_command(tmp_path):
    older = fake(2, 2)
    assert "command" not in older and read(older).command == ()
    shown = html(older, tmp_path).partition("Run it again")[2].partition("<details>")[0]
    assert "--set local.rate=0.05" in shown


def test_what_is_forgotten_is_in_points_not_in_per_cent(tmp_path):
    """Shares of 100 % would say that −91 % was forgotten."""
    report = staged(fake())
    split = {"temporal": -0.91, "temporal_error": 0.005, "spatial": 0.62, "spatial_error": 0.01}
    report["continual"]["forgetting_split"] = split
    report["continual"]["measures"] |= {"forgetting": 0.1234, "backward_transfer": -0.0567, "intransigence": 0.01}
    text = html(report, tmp_path).replace("\N{NO-BREAK SPACE}", " ")
    part = text.partition("Learning in stages</h2>")[2].partition("</table>")[0]
    found = re.findall(r'<th scope="row">(.*?)</th><td>(.*?)</td><td>(.*?)</td>', part)
    cells, each = {name: value for name, value, _ in found}, {name: value for name, _, value in found}
    assert cells["Forgetting"] == "12.34 points" and cells["Backward transfer"] == "−5.67 points"
    assert (
        cells["Forgetting, temporal"] == "−91.00 points ± 0.50"
        and cells["Forgetting, spatial"] == "62.00 points ± 1.00"
    )
    assert cells["Intransigence"] == "1.00 points" and cells["Average accuracy"].endswith(" %")
    assert each["Forgetting"] == "45.00 points ± 3.00" and each["Average accuracy"] == "50.00 % ± 1.00"
    assert "standard error" in part and "deviation over 20 clients" in part
    del report["continual"]["forgetting_split"], report["continual"]["clients_measures"]
    without = html(report, tmp_path)
    assert "standard error" not in without and "deviation over" not in without


def test_the_page_says_what_a_run_took_and_how_many_steps_each_baseline_was_given(tmp_path):
    report = fake()
    report["costs"] = {
        "steps": 1234, "examples": 39_488, "memory_bytes": 2_000_000, "memory_total_bytes": 30_000_000,
        "megabytes": {"sent": 12.0, "received": 11.0}, "clients_processor": 75.0, "server_processor": 2.0,
    }  # fmt: skip
    report["curves"] = {"centralized": [{"accuracy": 0.9, "round": 1, "seen": 39_488}]}
    text = html(report, tmp_path).replace("\N{NO-BREAK SPACE}", " ")
    part = text.partition("What it took</h2>")[2].partition("</table>")[0]
    cells = dict(re.findall(r'<th scope="row">(.*?)</th><td>(.*?)</td>', part))
    assert cells["Steps"] == cells["Steps, centralized"] == "1,234" and cells["Gradient examples"] == "39,488"
    assert "2" in cells["Memory, a client"] and "30" in cells["Memory, all clients"]
    assert cells["Traffic"] == "12 + 11 MB" and cells["Processor, clients"] and cells["Processor, server"]


def test_of_a_stream_with_conditions_each_figure_says_under_which_it_is(tmp_path):
    report = staged(fake())
    report["settings"] |= {"stream": {"name": "domains", "args": {"conditions": "plain+invert"}}}
    text = html(report, tmp_path).replace("\N{NO-BREAK SPACE}", " ")
    assert "test images, each under plain, invert" in text
    assert "on the test images as they are, under no condition of its stream" in text
    assert "misread, images as they are" in title(PLOTS["confusion"](read(report)))
    card.save(read(report), tmp_path)
    words = (tmp_path / "README.md").read_text()
    assert "on all test images, under each of its conditions: plain, invert." in words and "98.87 % on all" not in words
    plain = html(staged(fake()), tmp_path)
    assert "as they are" not in plain and "each under" not in plain


def test_where_few_of_many_clients_were_asked_their_figures_say_so(tmp_path):
    report = fake(20)
    report["settings"] |= {"clients": 5000}
    text = html(report, tmp_path).replace("\N{NO-BREAK SPACE}", " ")
    assert text.count("(20 of 5,000 clients)") == 3  # worst served, images each, the table
    assert "(20 of 5,000 clients)" in title(PLOTS["clients"](read(report)))
    assert "of 20 clients)" not in html(fake(20), tmp_path)


def test_a_run_with_other_baselines_only_does_not_say_that_there_was_none(tmp_path):
    assert "no centralized baseline was run" in html(fake() | {"baselines": {"fedavg": 0.9}}, tmp_path)
