"""The notebook runs from its first cell to its last, in an empty folder, and shows what it promises."""

from pathlib import Path

import nbformat
from nbclient import NotebookClient

TOUR = Path(__file__).resolve().parents[1] / "docs" / "tour.ipynb"


def test_the_tour_runs(tmp_path: Path) -> None:
    notebook = nbformat.read(TOUR, 4)
    assert not any(cell.get("outputs") for cell in notebook.cells), "outputs are not committed"
    client = NotebookClient(
        notebook, timeout=300, kernel_name="python3", resources={"metadata": {"path": str(tmp_path)}}
    )
    client.execute()
    cells = [cell for cell in notebook.cells if cell.cell_type == "code"]
    shown = ["".join(f"{out.get('text', '')}{out.get('data', '')}" for out in cell.outputs) for cell in cells]
    assert "image/png" in shown[0] and "heart_rate" in shown[1]
    assert "Should I give thrombolysis?" in shown[2] and "atrial fibrillation" in shown[3]
    right = {line.split()[0]: float(line.split()[-1]) for line in shown[4].replace("\\n", "\n").splitlines()
             if line.startswith(("true", "random", "noise"))}  # fmt: skip
    assert right["true"] > right["random"] + 0.05
    assert "image/png" in shown[5] and "yes" in shown[6]
