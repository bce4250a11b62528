"""What the published numbers rest on is there, loads, and says what the README says."""

from pathlib import Path

import numpy as np
import pytest

from equicomir.evaluation import records
from equicomir.properties import Case, quarter_turn_error
from equicomir.representations import load

ROOT = Path(__file__).parent.parent
#: Of the baselines, which hold models; experiments' folders hold records alone.
FOLDERS = sorted(path.parent for path in (ROOT / "records").glob("h0_*/steerable"))
README = (ROOT / "README.md").read_text()
COLUMNS = [("brain_mri", 128), ("brain_mri", 64), ("motor_neurons", 256), ("motor_neurons", 128)]
CASE = Case(seed=0, blocks=6, batch=2, quarter_turns=1, training=False, scale=1.0)


def lines(folder):
    return records.read(folder / "records.jsonl")


@pytest.mark.parametrize("folder", FOLDERS, ids=lambda f: f.name)
def test_trained_steerable_models_turn_exactly_and_plain_ones_do_not(folder):
    for path in sorted(folder.glob("*/weights.safetensors")):
        family = path.parent.name
        model = load(path.parent)
        assert model.settings.family == family
        for modality in model.scalings:
            encoder = model.encoder(modality)
            error = quarter_turn_error(encoder, CASE, size_multiple=encoder.size_multiple)
            assert error < 1e-5 if family == "steerable" else error > 1e-2


@pytest.mark.parametrize("folder", FOLDERS, ids=lambda f: f.name)
def test_every_learned_cell_of_the_readme_is_what_its_record_says(folder):
    learned = [line for line in lines(folder) if line["method"].startswith("search")]
    assert len(learned) == 4  # two encoders at two widths
    for line in learned:
        group = line["encoders"]["steerable"]["group"]
        if line["method"] == "search, steerable":
            begins = f"| search, steerable encoder, {group}"
        elif group == "C8":
            begins = "| search, plain encoder"
        else:
            continue  # that control has other kernels, and no line of its own
        (row,) = (r for r in README.splitlines() if r.startswith(begins))
        errors = [pair["corner_error"] for pair in line["pairs"]]
        good = [e for e in errors if e is not None and e <= 0.02 * line["width"]]
        cell = row.split(" | ")[COLUMNS.index((line["set"], line["width"])) + 1]
        assert cell.startswith(f"{100 * len(good) / len(errors):.0f} % (")
        assert cell.rstrip(" |").endswith(f" {np.median(good):.2f} px")


def test_there_are_records():
    assert len(FOLDERS) >= 3
    assert sum((folder / "plain" / "weights.safetensors").exists() for folder in FOLDERS) >= 2
