"""What the published numbers rest on is there, loads, and says what the README says."""

import json
from pathlib import Path

import pytest

from equicomir.properties import Case, quarter_turn_error
from equicomir.representations import load

ROOT = Path(__file__).parent.parent
FOLDERS = sorted((ROOT / "records").glob("h0_*"))
CASE = Case(seed=0, blocks=6, batch=2, quarter_turns=1, training=False, scale=1.0)


def lines(folder):
    return [json.loads(line) for line in (folder / "records.jsonl").read_text().splitlines()]


@pytest.mark.parametrize("folder", FOLDERS, ids=lambda f: f.name)
def test_trained_steerable_models_turn_exactly_and_plain_ones_do_not(folder):
    for family in ("steerable", "plain"):
        model = load(folder / family)
        assert model.settings.family == family
        for modality in model.scalings:
            encoder = model.encoder(modality)
            error = quarter_turn_error(encoder, CASE, size_multiple=encoder.size_multiple)
            assert error < 1e-5 if family == "steerable" else error > 1e-2


@pytest.mark.parametrize("folder", FOLDERS, ids=lambda f: f.name)
def test_every_learned_line_of_the_readme_is_what_its_record_says(folder):
    readme = (ROOT / "README.md").read_text()
    for line in lines(folder):
        errors = [pair["corner_error"] for pair in line["pairs"]]
        good = [e for e in errors if e is not None and e <= 0.02 * line["width"]]
        if line["method"] == "search, steerable":
            rate = f"{100 * len(good) / len(errors):.0f} %"
            median = f"{sorted(good)[len(good) // 2]:.1f}"
            assert any(rate in row and median in row for row in readme.splitlines())


def test_there_are_records():
    assert len(FOLDERS) >= 3
