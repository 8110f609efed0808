"""What a device tells of its battery."""

from pathlib import Path

from clients.battery import battery


def supply(home: Path, name: str, **files: str) -> None:
    (home / name).mkdir()
    for file, text in files.items():
        (home / name / file).write_text(text + "\n")


def test_the_emptiest_battery_counts_and_a_plug_is_none(tmp_path: Path) -> None:
    assert battery(tmp_path / "nowhere") == -1
    supply(tmp_path, "AC", type="Mains", online="1")
    assert battery(tmp_path) == -1
    supply(tmp_path, "BAT0", type="Battery", capacity="80")
    supply(tmp_path, "BAT1", type="Battery", capacity="37")
    supply(tmp_path, "BAT2", type="Battery", capacity="?")
    supply(tmp_path, "BAT3", type="Battery")
    supply(tmp_path, "mouse", type="Battery", capacity="5", scope="Device")
    assert battery(tmp_path) == 0.37
