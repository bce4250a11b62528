"""Figure 2: how far every encoder is from turning with its image, at every angle.

    python paper_figures/fig2_equivariance.py [--records records] [--out figures]

Reads ``RECORDS/equivariance/untrained.jsonl`` and ``trained.jsonl``, written by
``benchmarks/equivariance.py``, and the fingerprints of the models that the second is about. Draws
the equivariance error, and the same in decibels, against the angle, with the measurement's own
floor, into ``fig2_equivariance.pdf`` and ``.png``, and writes the caption
``fig2_equivariance.txt``, of which every number is counted in the records. Where a record is
missing, or of a model that has been trained again since, it draws nothing and says the command.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import script
import sources
import style
from equivariance_curves import FLOOR, PANELS, Curve, model_weights, trained, untrained
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from equicomir.shapes import Array

#: Where the scales change, and the share of its height that a decade or decibel keeps beyond.
KNEE_ERROR, KNEE_DECIBELS, BEYOND = 3e-3, 50.0, 0.2
_LEAST = 1e-8  # below the floor; an error of zero has no logarithm and is not drawn


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
    chosen = script.options(__doc__).parse_args()
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
    script.run("fig2_equivariance", main)
