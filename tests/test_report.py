"""What a person looks at."""

import io

import numpy as np
import pytest
from rich.console import Console
from skimage import io as image_io

from equicomir import report
from equicomir.evaluation.alignment import Summary


def test_no_cell_of_the_terminal_table_is_cut_at_80_columns():
    perfect = Summary(200, 1.0, 0.98, 1.0, (1.0, 1.0), 10.55, 19.99)
    rows = [report.Row("elastix, 12 starts", "raw", [perfect])]
    console = Console(width=80, file=io.StringIO())
    for table in report.terminal_tables("motor_neurons, 256 px", rows, ["any"]):
        console.print(table)
    shown = console.file.getvalue()
    assert "…" not in shown
    for cell in ("elastix, 12 starts", "100 % (98 to 100)", "100, 100", "10.55", "200", "19.99"):
        assert cell in shown
    for heading in ("success (95 %)", "each way", "error, px", "pairs", "s a pair"):
        assert heading in shown


@pytest.mark.parametrize("level", [-3.0, 0.0, 40.0])
def test_representations_are_drawn_with_their_background_grey(level, tmp_path):
    noise = np.random.default_rng(0).normal(size=(1, 64, 64))
    noise[:, :, :40] = 0
    report.side_by_side(
        tmp_path / "r.png", ("a", "b"), (noise + level, -noise + level), about_median=True
    )
    shades, counts = np.unique(image_io.imread(tmp_path / "r.png")[..., 0], return_counts=True)
    inside = shades < 255  # the page is white
    assert abs(int(shades[inside][counts[inside].argmax()]) - 128) <= 1
