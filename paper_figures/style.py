"""One look of all figures: what a reader learns in one figure about lines and marks holds in all.

Colours are of Okabe and Ito's set, told apart by the colour-blind, and differ in lightness, marks
and dashes too, for grey prints. A file holds no date and nothing of the user's own settings, so
that drawing twice gives the same bytes (of one version of matplotlib).
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure, SubFigure
from matplotlib.image import AxesImage
from matplotlib.text import Text
from matplotlib.transforms import Bbox

from equicomir.shapes import Array

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


def save(figure: Figure, stem: Path, sources: Sequence[str] = ()) -> None:
    """Write ``STEM.pdf`` and ``STEM.png``; the folder is made if it does not exist.

    Args:
        figure: drawn in :func:`house`.
        stem: of both files.
        sources: what it was drawn from, for the metadata of both (``pdfinfo`` shows the first as
            keywords, ``identify -verbose`` the second as source).
    """
    stem.parent.mkdir(parents=True, exist_ok=True)
    said = "; ".join(sources) or None  # None: no such entry
    _settle(figure)
    figure.savefig(stem.with_suffix(".pdf"), metadata={"CreationDate": None, "Keywords": said})
    figure.savefig(stem.with_suffix(".png"), metadata={"Software": None, "Source": said})


def _settle(figure: Figure) -> None:
    """Lay out once, and round: the solver adds in the order of addresses, so its last bits vary."""
    if figure.get_layout_engine() is None:
        return
    dots, figure.dpi = figure.dpi, matplotlib.rcParams["savefig.dpi"]  # widths of words vary by it
    figure.draw_without_rendering()
    figure.set_layout_engine("none")
    figure.dpi = dots
    for part in figure.findobj(SubFigure):
        part.bbox_relative.set_points(part.bbox_relative.get_points().round(6))
    for axes in figure.findobj(Axes):
        axes.set_position(Bbox(axes.get_position(original=True).get_points().round(6)))


def counted(number: int, what: str) -> str:
    """A number of things for a caption: ``1 scene``, ``3 scenes``."""
    return f"{number} {what}{'' if number == 1 else 's'}"


def plainly(name: str) -> str:
    """The name of a modality, as a reader writes it."""
    return name.replace("_", " ")


def shown(image: Array, low_high: tuple[float, float] | None = None) -> Array:
    """An image between its 1st and 99th percentiles, or between given values, as 0 to 1.

    Args:
        image: (height, width); what is not finite is left out, and stays so.
        low_high: black and white.
    """
    finite = image[np.isfinite(image)]
    low, high = low_high or np.percentile(finite, [1, 99])
    return np.asarray(np.clip((image - low) / max(high - low, 1e-12), 0, 1))


def picture(
    axes: Axes, image: Array, colours: str = "gray", *, low: float = 0.0, high: float = 1.0
) -> AxesImage:
    """An image without ticks and frame; white where it is not finite."""
    map_ = matplotlib.colormaps[colours].with_extremes(bad="white")
    axes.grid(False)
    axes.set(xticks=[], yticks=[])
    axes.spines[:].set_visible(False)
    return axes.imshow(image, cmap=map_, vmin=low, vmax=high)


def overlapping(figure: Figure) -> list[str]:
    """Which texts of a figure, drawn on a canvas of Agg, lie on each other or stick out of it.

    Returns:
        One line a pair of texts, or a text outside; empty for a page that can be read.

    Example:
        >>> from matplotlib.backends.backend_agg import FigureCanvasAgg
        >>> figure = Figure()
        >>> words = [figure.text(0.5, 0.5, "one"), figure.text(0.5, 0.52, "other")]
        >>> FigureCanvasAgg(figure).draw()
        >>> overlapping(figure)
        ['one, other']
    """
    renderer = figure.canvas.get_renderer()  # type: ignore[attr-defined]
    hidden = {id(label) for axes in figure.findobj(Axes) for label in _beyond(axes)}
    boxes = [
        (text.get_text(), text.get_window_extent(renderer))
        for text in figure.findobj(Text)
        if text.get_text() and text.get_visible() and id(text) not in hidden
    ]
    width, height = figure.bbox.size
    found = [f"{a}, {b}" for (a, x), (b, y) in combinations(boxes, 2) if x.overlaps(y)]
    outside = (
        name for name, box in boxes if min(box.x0, box.y0) < 0 or box.x1 > width or box.y1 > height
    )
    return [*found, *(f"{name} outside" for name in outside)]


def _beyond(axes: Axes) -> list[Text]:
    """Labels of ticks that are not drawn: beyond the limits, or of a side without labels."""
    found = []
    for axis in (axes.xaxis, axes.yaxis):
        low, high = sorted(axis.get_view_interval())
        for tick in (*axis.get_major_ticks(), *axis.get_minor_ticks()):
            for label in (tick.label1, tick.label2):
                if not (low <= tick.get_loc() <= high and axes.get_visible()):
                    found.append(label)
    return found
