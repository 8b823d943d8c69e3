"""The notebook for who wants to look at a desk's mail before trusting a model."""

import tarfile
from pathlib import Path
from typing import Any

import nbclient
import nbformat
import pytest

PROJECT = Path(__file__).parents[1]
NOTEBOOK = PROJECT / "notebooks" / "exploration.ipynb"
DESK = PROJECT / "tests" / "former" / "desk-0.1.0.tar.xz"


def read() -> Any:
    return nbformat.read(NOTEBOOK, as_version=4)


def code(notebook: Any) -> list[Any]:
    return [cell for cell in notebook.cells if cell.cell_type == "code"]


def test_no_output_is_committed() -> None:
    """It would show the mail of whoever ran it last."""
    for cell in code(read()):
        assert (cell.outputs, cell.execution_count) == ([], None)


@pytest.mark.slow
def test_it_shows_the_mail_of_a_desk_and_changes_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with tarfile.open(DESK) as archive:
        archive.extractall(tmp_path, filter="data")
    files = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")}
    monkeypatch.setenv("TICKETS_DATA_DIR", str(tmp_path / "data"))

    notebook = nbclient.execute(read(), cwd=str(NOTEBOOK.parent), timeout=60)

    outputs = {cell.id: cell.outputs for cell in code(notebook)}
    assert outputs["desk"][0].text.startswith("197 tickets, 18 March 2026 to 31 March 2026")
    data = {name: [output.get("data", {}) for output in cell] for name, cell in outputs.items()}
    pictures = {name: sum("image/png" in part for part in parts) for name, parts in data.items()}
    assert {name: count for name, count in pictures.items() if count} == {
        "volumes": 1,
        "languages": 1,
        "labels": 2,
        "map": 1,
    }
    assert {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")} == files
