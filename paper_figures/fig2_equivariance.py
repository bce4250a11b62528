"""Figure 2: how far every encoder is from turning with its image, at every angle.

    python paper_figures/fig2_equivariance.py [--records records] [--out figures]

Reads ``RECORDS/equivariance/untrained.jsonl`` and ``trained.jsonl``, written by
``benchmarks/equivariance.py``, and the fingerprints of the models that the second is about. Draws
the equivariance error, and the same in decibels, against the angle, with the measurement's own
floor, into ``fig2_equivariance.pdf`` and ``.png``, and writes the caption
``fig2_equivariance.txt``, of which every number is counted in the records. Where a record is
missing, or of a model that has been trained again since, it draws nothing and says the command.
"""

import argparse
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import sources
import style
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from style import Look

from equicomir.evaluation import records
from equicomir.evaluation.records import Record
from equicomir.shapes import Array

FLOOR = "floor (identity)"
_PLAIN, _TIRAMISU = style.LOOKS["plain", None], style.LOOKS["tiramisu", 4]
_FLOOR = Look("0.45", "", ":", False)
#: Panel of untrained encoders: (its title, label of each encoder and how it looks).
PANELS: list[tuple[str, dict[str, Look]]] = [
    (
        "finite groups",
        {
            "steerable C4": Look("#56B4E9", "v", "--", True),
            "steerable C8": style.LOOKS["steerable", None],
            "steerable C16": Look("#009E73", "D", "-", True),
            "steerable D8": Look("#CC79A7", "^", "-.", False),
            "roto-translation C8": Look("#D55E00", "X", ":", True),
            "plain": _PLAIN,
            "Tiramisu": _TIRAMISU,
            FLOOR: _FLOOR,
        },
    ),
    (
        "all rotations",
        {
            "steerable SO(2)": Look("#0072B2", "D", "-", True),
            "steerable SO(2), blur": Look("#56B4E9", "v", "--", True),
            "steerable SO(2), blur, 7 x 7 smooth": Look("#009E73", "P", "-", True),
            "steerable O(2)": Look("#CC79A7", "^", "-.", False),
            "plain": _PLAIN,
            "Tiramisu": _TIRAMISU,
            FLOOR: _FLOOR,
        },
    ),
]
#: Colour, mark and dashes of trained encoders; filled where first, open for another set.
TRAINED = {
    "steerable C8": style.LOOKS["steerable", None],
    "steerable SO(2), blur, 7 x 7 smooth": PANELS[1][1]["steerable SO(2), blur, 7 x 7 smooth"],
    "plain": _PLAIN,
    "plain, blur, 7 x 7": Look("#D55E00", "X", "-.", True),
}
_OTHER = Look("#CC79A7", "v", ":", True)  # of trained encoders that are not named above
#: Where the scales change, and the share of its height that a decade or decibel keeps beyond.
KNEE_ERROR, KNEE_DECIBELS, BEYOND = 3e-3, 50.0, 0.2
_LEAST = 1e-8  # below the floor; an error of zero has no logarithm and is not drawn


@dataclass(frozen=True)
class Curve:
    """One encoder at all angles, means over seeds (and modalities).

    Attributes:
        label: as the legend names it.
        look: how it is drawn.
        angles: in degrees.
        errors: relative.
        decibels: NaN where the encoder is exact with every seed.
        seeds: so many.
        of_set: that it was trained on; empty for untrained encoders.
    """

    label: str
    look: Look
    angles: list[float]
    errors: list[float]
    decibels: list[float]
    seeds: int
    of_set: str = ""


def label_of(encoder: dict[str, Any] | None) -> str:
    """An encoder's name, from its settings.

    Example:
        >>> label_of({"family": "steerable", "group": "C8", "pooling": "blur", "kernel_size": 5})
        'steerable C8, blur'
    """
    if encoder is None:
        return FLOOR
    family = encoder["family"]
    words = "Tiramisu" if family == "tiramisu" else family.replace("_", "-")
    if family in ("steerable", "roto_translation"):
        words += f" {encoder['group']}"
    if encoder["pooling"] != "average":
        words += f", {encoder['pooling']}"
    if encoder["kernel_size"] != 5:
        words += f", {encoder['kernel_size']} x {encoder['kernel_size']}"
    return words + (" smooth" if encoder.get("smooth") else "")


def command(folder: Path) -> str:
    """What measures what is missing."""
    return f"python benchmarks/equivariance.py --records {folder}"


def untrained(folder: Path) -> list[list[Curve]]:
    """The curves of :data:`PANELS`.

    Args:
        folder: of all records.

    Raises:
        ValueError: an encoder is missing.
    """
    path = folder / "equivariance" / "untrained.jsonl"
    found = {label_of(line["settings"]["encoder"]): line for line in records.read(path)}
    for label in (label for _, looks in PANELS for label in looks if label not in found):
        raise ValueError(f"{path}: expected errors of {label}, found none; run {command(folder)}.")
    return [
        [curve(label, look, [found[label]]) for label, look in looks.items()] for _, looks in PANELS
    ]


def trained(folder: Path) -> list[Curve]:
    """The curves of the models among the records, as they are now, and the floor.

    Args:
        folder: of all records.

    Raises:
        ValueError: there is no model, or no errors of one, or only of its earlier weights.
    """
    path = folder / "equivariance" / "trained.jsonl"
    weights = model_weights(folder)
    lines = records.read(path)
    curves, sets = [], list(dict.fromkeys(set_of(model.parent.name) for model in weights))
    for model, file in weights.items():
        name = f"{model.parent.name}/{model.name}"
        of_model = [line for line in lines if line["settings"]["model"] == name]
        now = [
            line for line in of_model if line["settings"]["weights_sha256"] == sources.digest(file)
        ]
        if not now:
            came = "only those of earlier weights" if of_model else "none"
            raise ValueError(
                f"{path}: expected errors of {model}, found {came}; run {command(folder)}."
            )
        label, of_set = label_of(now[0]["settings"]["encoder"]), set_of(model.parent.name)
        look, first = TRAINED.get(label, _OTHER), of_set == sets[0]
        look = Look(look.colour, look.marker, look.dashes if first else ":", first)
        curves.append(curve(label, look, now, of_set))
    return [*curves, untrained(folder)[0][-1]]


def model_weights(folder: Path) -> dict[Path, Path]:
    """Every model among the records, with its file of weights.

    Raises:
        ValueError: there is none.
    """
    files = sorted(folder.glob("h0_*/*/weights.safetensors"))
    if not files:
        raise ValueError(
            f"{folder}: expected models, h0_SET/{{steerable,plain}}, found none; run the commands "
            "that records/README.md names, with --out "
            f"{folder / 'h0_SET'}."
        )
    return {file.parent: file for file in files}


def set_of(name: str) -> str:
    """The set of a folder of models, ``h0_brain_mri_so2``: one that is known, or the rest."""
    rest = name.removeprefix("h0_")
    return next((known for known in sources.MODALITIES if rest.startswith(known)), rest)


def curve(label: str, look: Look, lines: Sequence[Record], of_set: str = "") -> Curve:
    """Means over the seeds of one line an input, and over inputs.

    Args:
        label: for the legend.
        look: of the line.
        lines: one, or one a modality, at the same angles.
        of_set: that the encoder was trained on, if it was.
    """
    errors, decibels = (
        np.concatenate([np.array(line[name], dtype=float) for line in lines])
        for name in ("errors", "decibels")
    )
    exact = np.isnan(decibels)
    mean = np.where(exact, 0, decibels).sum(0) / np.maximum(1, (~exact).sum(0))
    return Curve(
        label,
        look,
        list(lines[0]["settings"]["angles_degrees"]),
        errors.mean(0).tolist(),
        np.where(exact.all(0), np.nan, mean).tolist(),
        len(lines[0]["settings"]["seeds"]),
        of_set,
    )


def squeezed(values: Array, knee: float, beyond: float = BEYOND) -> Array:
    """Leave what is below the knee, shrink what is above it to a share of its height.

    Example:
        >>> squeezed(np.array([1.0, 3.0]), 2.0, 0.5).tolist()
        [1.0, 2.5]
    """
    return np.where(values > knee, knee + beyond * (values - knee), values)


def error_scale() -> tuple[Any, Any]:
    """From an error to its height and back: a logarithm, shrunk below the knee."""
    knee = -np.log10(KNEE_ERROR)

    def there(errors: Array) -> Array:
        return -squeezed(-np.log10(np.maximum(errors, _LEAST)), knee)

    def back(heights: Array) -> Array:
        return np.asarray(10.0 ** -squeezed(-np.asarray(heights), knee, 1 / BEYOND))

    return there, back


def decibel_scale() -> tuple[Any, Any]:
    """From decibels to their height and back: shrunk above the knee."""

    def there(decibels: Array) -> Array:
        return squeezed(np.asarray(decibels), KNEE_DECIBELS)

    def back(heights: Array) -> Array:
        return squeezed(np.asarray(heights), KNEE_DECIBELS, 1 / BEYOND)

    return there, back


def draw(panels: Sequence[tuple[str, Sequence[Curve]]]) -> Figure:
    """Errors above, decibels below, a column a panel, its legend under it."""
    figure = Figure(figsize=(style.WIDTH_INCHES, 5.9))
    grid = figure.subplots(2, len(panels), sharex=True, sharey="row", squeeze=False)
    for number, (title, curves) in enumerate(panels):
        above, below = grid[:, number]
        for of in curves:
            draw_curve(above, of, [error or np.nan for error in of.errors])
            draw_curve(below, of, of.decibels)
        above.set_title(f"({chr(ord('a') + number)}) {title}")
        below.set(xlabel="angle, degrees", xlim=(0, 183), xticks=range(0, 181, 45))
        draw_legend(below, curves)
    grid[0, 0].set_ylabel("equivariance error, relative")
    grid[1, 0].set_ylabel("equivariance, dB")
    grid[0, 0].set_yscale("function", functions=error_scale())
    grid[0, 0].set(ylim=(3e-8, 2.5), yticks=[1, 0.1, 0.01, 1e-4, 1e-6])
    grid[0, 0].set_yticklabels(["1", "0.1", "0.01", "10⁻⁴", "10⁻⁶"])
    grid[1, 0].set_yscale("function", functions=decibel_scale())
    grid[1, 0].set(ylim=(0, 175), yticks=[0, 10, 20, 30, 40, 50, 100, 150])
    for row, knee in zip(grid, (KNEE_ERROR, KNEE_DECIBELS), strict=True):
        for axes in row:
            axes.axhline(knee, color="0.6", linewidth=0.6, zorder=1)
    return figure


def draw_curve(axes: Axes, of: Curve, values: Sequence[float]) -> None:
    """One encoder, or the floor."""
    look = of.look
    axes.plot(
        *(of.angles, values),
        label=of.label,
        color=look.colour,
        linestyle=look.dashes,
        linewidth=1.0,
        marker=look.marker or None,
        markersize=2.6,
        markeredgewidth=0.7,
        markerfacecolor=look.colour if look.filled else "white",
    )


def draw_legend(axes: Axes, curves: Sequence[Curve]) -> None:
    """Every encoder once, and how the sets are told apart, under the axis."""
    shown: dict[str, Artist] = {}
    for line, of in zip(axes.get_lines(), curves, strict=True):
        shown.setdefault(of.label, line)
    for of in (of for of in curves if of.of_set):
        face, words = ("0.3", "filled") if of.look.filled else ("white", "open, dotted")
        proxy = Line2D([], [], color="0.3", marker="o", linewidth=0, markersize=3)
        proxy.set_markerfacecolor(face)
        shown.setdefault(f"{words}: {of.of_set}", proxy)
    axes.legend(
        *(list(shown.values()), list(shown)),
        loc="upper left",
        bbox_to_anchor=(-0.08, -0.24),
        fontsize=6.6,
        handlelength=2.6,
    )


def caption(folder: Path, of_groups: Sequence[Sequence[Curve]], of_models: Sequence[Curve]) -> str:
    """What stands under the figure; its numbers are those of the records."""
    floor = of_groups[0][-1]
    waves = style.counted(floor.seeds, "seed")
    seeds = sorted({sources.trained(model)["seed"] for model in model_weights(folder)})
    training = f"{style.counted(1, 'training seed')} each ({', '.join(map(str, seeds))})"
    between = [n for n, angle in enumerate(floor.angles) if angle % 90]
    count = len({curve.label for curves in of_groups for curve in curves} - {FLOOR})
    return (
        f"Equivariance error of {count} untrained encoders (a, b) and {len(of_models) - 1} trained "
        f"ones (c) at {len(floor.angles)} angles: ||R f(x) - f(R x)|| / ||f(R x) - mean|| in a "
        "central disk, and the ratio of the squared range of f(x) to the mean square of "
        "R f(x) - f(R x), in decibels. x: sums of plane waves, turned without interpolation, no "
        f"scene; means over {waves} of waves and untrained weights; (c) over both modalities too, "
        f"{training}. The floor is the error of the "
        f"identity, at most {max(floor.errors):.1g}, and at least "
        f"{min(floor.decibels[n] for n in between):.0f} dB at angles that are no quarter turns. "
        f"Grey lines: below an error of {KNEE_ERROR:g} and above {KNEE_DECIBELS:g} dB the scales "
        f"are shrunk to {BEYOND:g} of their height; errors of "
        "zero are not drawn.\n"
    )


def main() -> None:
    """Read, draw, write."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--records", type=Path, default=Path("records"))
    parser.add_argument("--out", type=Path, default=Path("figures"))
    chosen = parser.parse_args()
    of_groups, of_models = untrained(chosen.records), trained(chosen.records)
    panels = [
        *((f"untrained, {t}", c) for (t, _), c in zip(PANELS, of_groups, strict=True)),
        ("trained", of_models),
    ]
    files = [
        *(chosen.records / "equivariance" / f"{kind}trained.jsonl" for kind in ("un", "")),
        *(file for model in model_weights(chosen.records) for file in model.iterdir()),
    ]
    with style.house():
        named = sources.named(chosen.records, files)
        style.save(draw(panels), chosen.out / "fig2_equivariance", named)
    text = caption(chosen.records, of_groups, of_models)
    (chosen.out / "fig2_equivariance.txt").write_text(text)
    print(f"Figure and caption: {chosen.out / 'fig2_equivariance.pdf'}, .png and .txt")


if __name__ == "__main__":
    try:
        main()
    except (ValueError, OSError) as mistake:  # one sentence that says what to do; no traceback
        sys.exit(f"fig2_equivariance: {mistake}")
