"""Figure 8: where registration fails, and whether its confidence said so.

    python paper_figures/fig8_failures.py [--records records] [--out figures]

Reads ``RECORDS/failures/SET.jsonl`` and the images in ``RECORDS/failures/SET``, written by
``benchmarks/failures.py``. Draws the worst pairs of each set, with both representations laid on
each other as they were registered and as they belong, and the confidence of every pair against its
error, into ``fig8_failures.pdf`` and ``.png``; and writes the caption ``fig8_failures.txt``, of
which every number is counted in the records. Where a record is missing, or of a model that has been
trained again since, it draws nothing and says the command that makes it.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import script
import sources
import style
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure, SubFigure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from runs import UNITS, data_set_of
from skimage import io

from equicomir.evaluation import records
from equicomir.evaluation.alignment import SUCCESS_FRACTION
from equicomir.evaluation.records import Record
from equicomir.experiment.rows import pair_of
from equicomir.geometry import rotation_degrees, warp_image
from equicomir.shapes import Array, ArrayMask, Matrix

ROWS = ("fixed", "moving", "as found", "as it is")
#: Confidence: (words, colour, mark, filled), by whether it was trusted.
MARKS = {True: ("trusted", "#0072B2", "o", True), False: ("not trusted", "#D55E00", "x", False)}
_LEAST_ERROR = 0.1  # % of the width: smaller errors are drawn there


@dataclass(frozen=True)
class Failure:
    """One pair that is shown.

    Attributes:
        modalities: of the fixed and of the moving image.
        images: fixed, moving, and their representations laid on each other as found and in truth;
            (width, width) or (width, width, 3), in [0, 1].
        turned: rotation of the true transform and of the one found, in degrees.
        error: of the corners, in % of the width.
        confidence: in [0, 1].
        trusted: what a user was told.
    """

    modalities: tuple[str, str]
    images: list[Array]
    turned: tuple[float, float]
    error: float
    confidence: float
    trusted: bool


@dataclass(frozen=True)
class Failures:
    """Of one set: the record, and the pairs that are shown."""

    record: Record
    shown: list[Failure]
    files: list[Path]

    @property
    def errors(self) -> Array:
        """Of every pair, in % of the width; infinite without a transform."""
        width = self.record["settings"]["width"]
        every = [pair["corner_error"] for pair in self.record["pairs"]]
        return np.array([np.inf if one is None else 100 * one / width for one in every])

    @property
    def trusted(self) -> ArrayMask:
        """Which pairs a user was told to trust."""
        return np.array(self.record["trusted"], dtype=bool)


def failures(of_records: Path, name: str) -> Failures:
    """What failed of one set.

    Args:
        of_records: folder of all records.
        name: of the set.

    Raises:
        ValueError: the record or an image is missing, or the model is another by now.
    """
    path = of_records / "failures" / f"{name}.jsonl"
    command = f"run python benchmarks/failures.py --data DATA --sets {name} --records {of_records}"
    lines = records.read(path)
    if not lines:
        raise ValueError(f"{path}: expected what failed of {name}, found none; {command}.")
    settings = lines[-1]["settings"]
    weights = of_records / settings["model"] / "weights.safetensors"
    if weights.exists() and sources.digest(weights) != settings["weights_sha256"]:
        raise ValueError(f"{path}: expected what failed by {weights}, found another; {command}.")
    folder = path.with_suffix("")
    try:
        shown = [shown_pair(folder, lines[-1], place) for place in lines[-1]["kept"]]
    except OSError as error:
        raise ValueError(
            f"{folder}: expected the images of pairs, found {error}; {command}."
        ) from (error)
    return Failures(lines[-1], shown, [path, *sorted(folder.glob("*.png"))])


def shown_pair(folder: Path, record: Record, place: int) -> Failure:
    """One pair with its pictures.

    Args:
        folder: of the images.
        record: of the set.
        place: of the pair in its list.
    """
    line = record["pairs"][place]
    pair, found = pair_of(line), np.array(record["moving_to_fixed"][place])
    names = ("fixed", "moving", "fixed_encoded", "moving_encoded", "mask")
    fixed, moving, first, second, mask = (
        io.imread(folder / f"{place:03d}_{name}.png") / 255 for name in names
    )
    truth = pair.moving_to_fixed()
    return Failure(
        (pair.fixed, pair.moving),
        [fixed, moving, *(overlay(first, second, mask > 0.5, by) for by in (found, truth))],
        (rotation_degrees(truth), rotation_degrees(found)),
        100 * line["corner_error"] / pair.width,
        record["confidence"][place],
        record["trusted"][place],
    )


def overlay(fixed: Array, moving: Array, mask: ArrayMask, moving_to_fixed: Matrix) -> Array:
    """Two representations laid on each other: grey where they agree, else blue or orange.

    Args:
        fixed: (height, width), in [0, 1].
        moving: likewise.
        mask: where ``moving`` is defined.
        moving_to_fixed: brings it into place.

    Returns:
        (height, width, 3); pale, the fixed one alone, where the moving one does not reach.

    Example:
        >>> image = np.eye(4)
        >>> laid = overlay(image, image, np.ones((4, 4), dtype=bool), np.eye(3))
        >>> bool(np.allclose(laid, image[..., None]))
        True
    """
    both = torch.from_numpy(np.stack([moving, mask.astype(float)]))[None]
    warped, inside = warp_image(
        both, np.linalg.inv(moving_to_fixed), size=(fixed.shape[0], fixed.shape[1])
    )
    moved, there = np.clip(warped[0, 0].numpy(), 0, 1), warped[0, 1].numpy() > 0.5
    laid = np.stack([moved, (fixed + moved) / 2, fixed], axis=-1)
    alone = 0.6 + 0.4 * np.repeat(fixed[..., None], 3, axis=-1)
    return np.where((inside.numpy() & there)[..., None], laid, alone)


def draw(found: dict[str, Failures]) -> Figure:
    """The pairs of all sets side by side, and below, all confidences."""
    layout = ConstrainedLayoutEngine(w_pad=0.02, h_pad=0.015)
    figure = Figure(figsize=(style.WIDTH_INCHES, 7.7), layout=layout)
    above, below = np.ravel(figure.subfigures(2, 1, height_ratios=(2.75, 1)))
    widths = [max(1, len(of.shown)) for of in found.values()]
    parts = np.ravel(above.subfigures(1, len(found), width_ratios=widths, wspace=0.02))
    grid = below.subplots(1, len(found), sharey=True, squeeze=False)[0]
    for number, (name, of) in enumerate(found.items()):
        title = f"{name}, {of.record['settings']['width']} px"
        letter = chr(ord("a") + number)
        draw_pairs(parts[number], f"({letter}) {title}", of.shown, labels=number == 0)
        after = chr(ord("a") + len(found) + number)
        draw_confidences(grid[number], f"({after}) {title}", of)
    grid[0].set_ylabel("confidence")
    handles, names = grid[0].get_legend_handles_labels()
    below.legend(handles, names, loc="outside lower center", ncols=len(names))
    return figure


def draw_pairs(part: SubFigure, title: str, shown: Sequence[Failure], *, labels: bool) -> None:
    """A column a pair."""
    part.suptitle(title, fontsize=8, weight="bold")
    grid = part.subplots(len(ROWS), max(1, len(shown)), squeeze=False)
    for column, of in zip(grid.T, shown, strict=True):
        for axes, image in zip(column, of.images, strict=True):
            style.picture(axes, image)
        words = "trusted" if of.trusted else "not trusted"
        column[0].set_title(f"confidence {of.confidence:.2f}\n{words}", loc="center", fontsize=7)
        for axes, modality in zip(column, of.modalities, strict=False):
            axes.set_xlabel(style.plainly(modality), fontsize=6.5, labelpad=2)
        truth, found = of.turned
        column[2].set_xlabel(f"{found:.0f}°, error {of.error:.3g} %", fontsize=6.5, labelpad=2)
        column[3].set_xlabel(f"{truth:.0f}°", fontsize=6.5, labelpad=2)
    if labels:
        for axes, name in zip(grid[:, 0], ROWS, strict=True):
            axes.set_ylabel(name)


def draw_confidences(axes: Axes, title: str, of: Failures) -> None:
    """Every pair: its error and the confidence that was given."""
    shown = np.maximum(of.errors, _LEAST_ERROR)
    confidence = np.array(of.record["confidence"])
    for trusted, (words, colour, mark, filled) in MARKS.items():
        which = (of.trusted == trusted) & np.isfinite(shown)
        axes.plot(
            *(shown[which], confidence[which], mark),
            label=words,
            color=colour,
            markersize=3.4,
            markerfacecolor=colour if filled else "none",
            markeredgewidth=0.8,
        )
    axes.axvline(100 * SUCCESS_FRACTION, color="0.3", linewidth=0.9, linestyle="--")
    ticks = (0.1, 0.5, 2, 10, 50, 200)
    axes.set_xscale("log")
    axes.set_xticks(ticks, [f"{tick:g}" for tick in ticks])
    axes.set_xticks([], minor=True)
    axes.set(xlabel="corner error, % of width", xlim=(0.08, 260), ylim=(-0.04, 1.04))
    axes.set_title(title)


def caption(found: dict[str, Failures]) -> str:
    """What stands under the figure; its numbers are those of the records."""
    letters = "abcdefgh"
    first, last = letters[: len(found)], letters[len(found) : 2 * len(found)]
    said = [
        f"Failures of the search through the steerable encoder. ({', '.join(first)}) The worst "
        "pairs, and after them the worst that were trusted although wrong, where there are such: "
        "both images; their "
        "representations laid on each other as they were registered and as they belong (grey: they "
        "agree; orange: the moving one is brighter; blue: the fixed one; pale: the moving one does "
        "not reach), with the rotation and the error of the corners in % of the width; above, the "
        f"confidence that was given. ({', '.join(last)}) Confidence and error of every pair; right "
        f"of the dashed line, {100 * SUCCESS_FRACTION:g} % of the width, they failed."
    ]
    said += [of_set(name, of) for name, of in found.items()]
    return "\n".join(said) + "\n"


def of_set(name: str, of: Failures) -> str:
    """The numbers of one set."""
    failed = of.errors > 100 * SUCCESS_FRACTION
    pairs = of.record["pairs"]
    data_set = data_set_of(name)
    units = len(set(data_set.units_of([pair_of(pair) for pair in pairs])))
    scenes = style.counted(len({pair["scene"] for pair in pairs}), "scene")
    return (
        f"{name}, {of.record['settings']['width']} px, level {of.record['settings']['level']}: "
        f"{int(failed.sum())} of {len(pairs)} test pairs of {scenes} ({units} units: "
        f"{UNITS[data_set.unit]}) failed, {int((failed & of.trusted).sum())} of them trusted; of "
        f"{int((~failed).sum())} successes {int((~failed & of.trusted).sum())} were trusted; "
        f"1 training seed ({of.record['training_seed']})."
    )


def main() -> None:
    """Read, lay on each other, draw, write."""
    chosen = script.options(__doc__).parse_args()
    found = {name: failures(chosen.records, name) for name in sources.MODALITIES}
    files = [file for of in found.values() for file in of.files]
    with style.house():
        named = sources.named(chosen.records, files)
        style.save(draw(found), chosen.out / "fig8_failures", named)
    (chosen.out / "fig8_failures.txt").write_text(caption(found))
    print(f"Figure and caption: {chosen.out / 'fig8_failures.pdf'}, .png and .txt")


if __name__ == "__main__":
    script.run("fig8_failures", main)
