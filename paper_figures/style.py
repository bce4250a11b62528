"""One look of all figures: what a reader learns in one figure about lines and marks holds in all.

Colours are of Okabe and Ito's set, told apart by the colour-blind, and differ in lightness, marks
and dashes too, for grey prints. A file holds no date and nothing of the user's own settings, so
that drawing twice gives the same bytes (of one version of matplotlib).
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import matplotlib
from matplotlib.figure import Figure

WIDTH_INCHES = 7.16  # of two columns and the gap between them

_SETTINGS: Any = {
    "pdf.fonttype": 42,  # text stays text that can be searched and edited
    "font.family": "DejaVu Sans",  # comes with matplotlib: the same on every machine
    "font.size": 8,
    "axes.titlesize": 8,
    "axes.titlelocation": "left",
    "axes.labelsize": 8,
    "xtick.labelsize": 7,
    "ytick.labelsize": 7,
    "legend.fontsize": 7.5,
    "legend.frameon": False,
    "legend.handlelength": 3.4,  # two dashes beside the mark
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.color": "0.9",
    "lines.linewidth": 1.4,
    "lines.markersize": 4.5,
    "errorbar.capsize": 2,
    "figure.constrained_layout.use": True,
    "savefig.dpi": 300,
}


@dataclass(frozen=True)
class Look:
    """Of one method in every figure: its colour, mark, dashes, and whether the mark is filled."""

    colour: str
    marker: str
    dashes: str
    filled: bool


#: By family of the encoder and the turns it was trained with (None: any angle).
LOOKS = {
    ("steerable", None): Look("#0072B2", "o", "-", True),
    ("plain", None): Look("#E69F00", "s", "--", True),
    ("plain", 4): Look("#E69F00", "s", ":", False),
    ("tiramisu", 4): Look("#000000", "^", "-.", True),
}


@contextmanager
def house() -> Iterator[None]:
    """Draw and save in here: matplotlib's defaults and the settings above, whatever the user's."""
    with matplotlib.rc_context():
        matplotlib.rcdefaults()
        matplotlib.rcParams.update(_SETTINGS)
        yield


def save(figure: Figure, stem: Path) -> None:
    """Write ``STEM.pdf`` and ``STEM.png``; the folder is made if it does not exist."""
    stem.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(stem.with_suffix(".pdf"), metadata={"CreationDate": None})
    figure.savefig(stem.with_suffix(".png"), metadata={"Software": None})
