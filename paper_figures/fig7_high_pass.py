"""Figure 7: what high-pass filtering takes away from representations.

    python paper_figures/fig7_high_pass.py [--records records] [--out figures] [--set motor_neurons]

Reads the pairs in ``RECORDS/crops``, cut by ``benchmarks/crops.py``, and the models
``RECORDS/h0_SET/{steerable,plain}``, saved by ``experiments/h0_baselines.py``. Draws the responses
of the filters, the spectra of the representations of each set before and after the filter that
they were trained with, and the representations of one pair by the steerable encoder at three
cut-offs, into ``fig7_high_pass.pdf`` and ``.png``; and writes the caption ``fig7_high_pass.txt``,
of which every number is measured here or read in the models' files.
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
from matplotlib.ticker import NullFormatter
from spectra import RANGE, Spectrum, grey, spectra, trained_filter

from equicomir.filters import (
    Filter,
    butterworth_high_pass,
    gaussian_high_pass,
    high_pass,
    ideal_high_pass,
)
from equicomir.shapes import Array, Images

CUT_OFFS = (0.025, 0.05, 0.1)  # cycles per pixel, of the pictures
_SIDE = 160  # pixels, of the middle of the pictures that is shown
_BAR_PIXELS = 50
_ORDER = 2  # of the Butterworth filter

#: Filters whose responses are drawn: the Gaussian at each cut-off, its rivals at the middle one.
FILTERS: list[tuple[str, Filter, str, str]] = [
    *(
        (f"Gaussian, {cutoff:g}", gaussian_high_pass(cutoff), colour, dashes)
        for cutoff, colour, dashes in zip(
            CUT_OFFS, ("#56B4E9", "#0072B2", "#000000"), (":", "-", "--"), strict=True
        )
    ),
    (
        f"Butterworth, order {_ORDER}, {CUT_OFFS[1]:g}",
        butterworth_high_pass(CUT_OFFS[1], _ORDER),
        "#E69F00",
        "-.",
    ),
    (f"ideal, {CUT_OFFS[1]:g}", ideal_high_pass(CUT_OFFS[1]), "#CC79A7", "-"),
]


@dataclass(frozen=True)
class Pictures:
    """One modality's image and representation, as they are and at each of :data:`CUT_OFFS`."""

    modality: str
    images: list[Array]
    encoded: list[Array]


def pictures(records: Path, name: str) -> list[Pictures]:
    """What is shown of one set, by its steerable encoder."""
    scene, models = sources.crop(records, name), sources.models(records, name)
    found = []
    for modality in scene.images:
        image = scene.window(modality)[None]
        encoded = models["steerable"].encode(modality, image)
        both = [
            [middle(of), *(middle(high_pass(of, cutoff)) for cutoff in CUT_OFFS)]
            for of in (image, encoded)
        ]
        found.append(Pictures(modality, *both))
    return found


def middle(images: Images) -> Array:
    """What is shown: the middle square."""
    top, left = (max(0, n - _SIDE) // 2 for n in images.shape[-2:])
    return grey(images)[top : top + _SIDE, left : left + _SIDE]


def correlations(first: Sequence[Array], second: Sequence[Array]) -> list[float]:
    """Pearson's coefficient of two modalities' pictures, one a pair."""
    return [
        float(np.corrcoef(a.ravel(), b.ravel())[0, 1]) for a, b in zip(first, second, strict=True)
    ]


def draw(of_sets: dict[str, list[Spectrum]], shown: Sequence[Pictures]) -> Figure:
    """Curves above, pictures below."""
    figure = Figure(figsize=(style.WIDTH_INCHES, 5.6))
    above, below = np.ravel(figure.subfigures(2, 1, height_ratios=(1.45, 1)))
    axes = above.subplots(1, 1 + len(of_sets))
    draw_responses(axes[0])
    for place, letter, (name, curves) in zip(axes[1:], "bc", of_sets.items(), strict=True):
        draw_spectra(place, f"({letter}) {name}", curves)
    halves = np.ravel(below.subfigures(1, 2, wspace=0.02))
    draw_pictures(halves[0], "(d) images", shown, [of.images for of in shown])
    draw_pictures(halves[1], "(e) representations", shown, [of.encoded for of in shown])
    return figure


def frequency_axis(axes: Axes) -> None:
    """Logarithmic, over the range of all curves."""
    ticks = (0.01, *CUT_OFFS, 0.2, 0.5)
    axes.set_xscale("log")
    axes.set_xlim(*RANGE)
    axes.set_xticks(ticks, [f"{tick:g}" for tick in ticks])
    axes.xaxis.set_minor_formatter(NullFormatter())
    axes.xaxis.set_tick_params(which="minor", length=0)
    axes.set_xlabel("frequency, cycles per px")


def below_axes(axes: Axes, columns: int) -> None:
    """A legend under the axis, where no curve can be."""
    axes.legend(
        loc="upper center", bbox_to_anchor=(0.5, -0.24), ncols=columns, fontsize=7, columnspacing=1
    )


def draw_responses(axes: Axes) -> None:
    """By what each filter multiplies each frequency."""
    at = torch.from_numpy(np.geomspace(*RANGE, 400))
    for label, filter_, colour, dashes in FILTERS:
        axes.plot(at, filter_.response(at), label=label, color=colour, linestyle=dashes)
    axes.set_title("(a) filters")
    axes.set(ylabel="response", ylim=(-0.03, 1.03))
    frequency_axis(axes)
    below_axes(axes, 1)


def draw_spectra(axes: Axes, title: str, curves: Sequence[Spectrum]) -> None:
    """Before thick, after thin; a mark a modality, a colour an encoder."""
    modalities = list(dict.fromkeys(of.modality for of in curves))
    for of in curves:
        look = style.LOOKS[of.family, None]
        first = of.modality == modalities[0]
        axes.plot(
            *(of.frequencies, of.before),
            label=f"{of.family}, {style.plainly(of.modality)}",
            color=look.colour,
            linestyle=look.dashes,
            marker=look.marker,
            markerfacecolor=look.colour if first else "white",
            markersize=3,
            markevery=(0 if first else 1, 3),
        )
        if of.after:
            axes.plot(of.frequencies, of.after, color=look.colour, linewidth=0.7, linestyle=":")
    axes.plot([], [], color="0.4", linewidth=0.7, linestyle=":", label="each, filtered")
    axes.set_title(title)
    axes.set(ylabel="power density, px²", yscale="log")
    axes.yaxis.set_minor_formatter(NullFormatter())
    frequency_axis(axes)
    below_axes(axes, 1)


def draw_pictures(
    half: SubFigure, title: str, shown: Sequence[Pictures], rows: Sequence[Sequence[Array]]
) -> None:
    """A row a modality, a column a cut-off; how alike both rows are below."""
    grid = half.subplots(len(rows), 1 + len(CUT_OFFS))
    half.suptitle(title, fontsize=8)
    for row, of, images in zip(grid, shown, rows, strict=True):
        for axes, image in zip(row, images, strict=True):
            style.picture(axes, style.shown(image))
        row[0].set_ylabel(style.plainly(of.modality))
    titles = ["as it is", *(f"{cutoff:g}" for cutoff in CUT_OFFS)]
    for axes, heading in zip(grid[0], titles, strict=True):
        axes.set_title(heading, loc="center", fontsize=7)
    for axes, value in zip(grid[-1], correlations(*rows), strict=True):
        axes.set_xlabel(f"r = {value:.2f}", fontsize=7, labelpad=2)
    height, width = rows[0][0].shape
    (bar,) = grid[0, 0].plot([0, _BAR_PIXELS], [height + 5, height + 5], color="black")
    bar.set(clip_on=False, linewidth=1.2)
    grid[0, 0].set(xlim=(-0.5, width - 0.5), ylim=(height - 0.5, -0.5))
    grid[0, 0].set_xlabel(f"{_BAR_PIXELS} px", fontsize=6.5, loc="left", labelpad=4)


def caption(
    records: Path, name: str, of_sets: dict[str, list[Spectrum]], shown: Sequence[Pictures]
) -> str:
    """What stands under the figure; its numbers are those of the drawing and the models' files."""
    seeds, said = set(), []
    for of, family in ((of, family) for of in of_sets for family in sources.FAMILIES):
        seeds.add(sources.trained(sources.model_folder(records, of, family))["seed"])
        filter_ = trained_filter(records, of, family)
        said.append(f"{of}, {family}: {filter_.name if filter_ else 'none'}")
    scene = sources.crop(records, name).name
    height, width = shown[0].images[0].shape
    training = f"{style.counted(1, 'training seed')} each ({', '.join(map(str, sorted(seeds)))})"
    lines = [
        "What high-pass filtering takes away. (a) Responses of the filters, named by the cut-off, "
        f"in cycles per px, where they are one half. (b, c) Spectra of the representations of "
        f"{style.counted(len(of_sets), 'scene')} (1 of each set, of its test part) by encoders of "
        f"{training}: as they are, and after the "
        "filter of their training; mean over rings, Hann window, each representation of variance 1 "
        "as it is.",
        f"Filters of the training, cut-offs in cycles per px: {'; '.join(said)}.",
        f"(d, e) {name}, {scene}, {style.counted(1, 'scene')}, the middle {height} x "
        f"{width} px: images, and representations by the steerable encoder, as they are and after "
        "a Gaussian high-pass of the cut-off above, in cycles per px; each picture from its 1st "
        "to its 99th percentile; r: Pearson's correlation of the two modalities.",
    ]
    return "\n".join(lines) + "\n"


def main() -> None:
    """Read, encode, filter, draw, write."""
    parser = script.options(__doc__)
    parser.add_argument("--set", default="motor_neurons", choices=tuple(sources.MODALITIES))
    chosen = parser.parse_args()
    of_sets = {name: spectra(chosen.records, name) for name in sources.MODALITIES}
    shown = pictures(chosen.records, chosen.set)
    with style.house():
        figure = draw(of_sets, shown)
        files = sources.of_pairs_and_models(chosen.records)
        style.save(figure, chosen.out / "fig7_high_pass", sources.named(chosen.records, files))
    text = caption(chosen.records, chosen.set, of_sets, shown)
    (chosen.out / "fig7_high_pass.txt").write_text(text)
    print(f"Figure and caption: {chosen.out / 'fig7_high_pass.pdf'}, .png and .txt")


if __name__ == "__main__":
    script.run("fig7_high_pass", main)
