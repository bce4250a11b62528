"""The notebook of the first hour runs from its first cell to its last, and shows what comes out."""

import json
import re
from pathlib import Path

import pytest

nbformat = pytest.importorskip("nbformat", reason="nbformat is not installed: extra test")
nbclient = pytest.importorskip("nbclient", reason="nbclient is not installed: extra test")
pytest.importorskip("ipykernel", reason="ipykernel is not installed: extra test")

NOTEBOOK = Path(__file__).parent.parent / "docs" / "first_hour_in_python.ipynb"
pytestmark = pytest.mark.filterwarnings("ignore")  # of Jupyter; the notebook has its own process


def texts(notebook):
    """What each cell of code prints."""
    cells = [cell for cell in notebook.cells if cell.cell_type == "code"]
    return ["".join(o.text for o in c.outputs if o.get("name") == "stdout") for c in cells]


def pictures(notebook):
    cells = [cell for cell in notebook.cells if cell.cell_type == "code"]
    return [sum("image/jpeg" in o.get("data", ()) for o in cell.outputs) for cell in cells]


def words(text):
    """Without the numbers, which differ in their last digits from machine to machine."""
    return re.sub(r"\d[\d.e-]*", "N", text)


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    for cell in notebook.cells:
        if cell.cell_type == "code":
            cell.outputs = []
    where = {"metadata": {"path": str(tmp_path_factory.mktemp("anywhere"))}}
    return nbclient.NotebookClient(notebook, timeout=600, resources=where).execute()


def test_it_finds_the_angle_and_says_when_not_to_trust(run):
    said = "".join(texts(run))
    (degrees,) = re.findall(r"turned by (\S+) degrees", said)
    assert abs(float(degrees) - 117.3) < 1
    (error,) = re.findall(r"the centre lies (\S+) px", said)
    assert float(error) < 2
    assert re.findall(r"trusted: (\w+)", said) == ["True", "False"]
    (difference,) = re.findall(r"greatest difference (\S+),", said)
    assert float(difference) < 1e-4


def test_what_is_stored_is_what_comes_out(run):
    """Nobody reads an output that the cells no longer give."""
    stored = nbformat.read(NOTEBOOK, as_version=4)
    assert [words(t) for t in texts(stored)] == [words(t) for t in texts(run)]
    assert pictures(stored) == pictures(run)
    assert sum(pictures(run)) >= 5


def test_it_names_no_machine_and_stays_small():
    stored = NOTEBOOK.read_text(encoding="utf-8")
    assert len(stored) < 500_000
    outputs = [o for c in json.loads(stored)["cells"] for o in c.get("outputs", ())]
    assert "stderr" not in [o.get("name") for o in outputs]
    said = "".join("".join(o.get("text", ())) for o in outputs)
    assert not re.search(r"[/\\](home|root|tmp|Users)[/\\]", said)
