"""The notebook for teachers does what it says, from a fresh kernel to its last cell."""

from __future__ import annotations

from pathlib import Path

import pytest

HOME = Path(__file__).parents[1]


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::UserWarning", "ignore::FutureWarning")  # of Jupyter's own libraries
def test_the_notebook_runs_and_tells_the_story(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import nbformat
    from nbclient import NotebookClient

    monkeypatch.setenv("PYTHONPATH", str(HOME))
    notebook = nbformat.read(HOME / "docs" / "first-federation.ipynb", as_version=4)
    NotebookClient(notebook, timeout=600, resources={"metadata": {"path": str(tmp_path)}}).execute()
    outputs = [out for cell in notebook.cells if cell.cell_type == "code" for out in cell.outputs]
    text = "".join(out.get("text", "") for out in outputs)
    lost = {name: float(text.split(f"{name:9}: ")[1].split(", ")[1].split()[0]) for name in ("finetune", "replay")}
    assert lost["finetune"] > 50 and lost["replay"] < lost["finetune"] / 2
    assert sum("image/png" in out.get("data", {}) for out in outputs) == 5
