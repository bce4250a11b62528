"""Figure 1: the method on one real pair, while its images turn.

    python paper_figures/fig1_method.py [--records records] [--out figures] [--set brain_mri]

Reads the pair ``RECORDS/crops/SET``, cut by ``benchmarks/crops.py``, and the models
``RECORDS/h0_SET/{steerable,plain}``, saved by ``experiments/h0_baselines.py``. Draws, of both
modalities, the image turned by four angles, its representations, and how far these are from the
turned representation of the image as it is, into ``fig1_method.pdf`` and ``.png``; and writes the
caption ``fig1_method.txt``, of which every number is measured here or read in the models' files.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import script
import sources
import style
import torch
import torch.nn.functional as F
from matplotlib.axes import Axes
from matplotlib.figure import Figure, SubFigure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from scipy import ndimage

from equicomir.filters import disk_mask
from equicomir.representations import Representations
from equicomir.shapes import Array, Images

ANGLES = (0, 30, 75, 120)  # degrees; none but the first is one of C8's own
DISK = 0.3  # of the side: radius of what is drawn and measured, as the protocol has it
BAR_PIXELS = 50
#: set: side of the square that is turned, in pixels; outside a stripped skull all is zero.
SIDES = {"brain_mri": 288, "motor_neurons": 368}
_LIMIT = 1.0  # of the differences' colours, in standard deviations


@dataclass(frozen=True)
class Turns:
    """What becomes of one modality; every picture is (side, side), NaN outside the disk.

    Attributes:
        modality: of the images.
        images: turned by each of :data:`ANGLES`.
        encoded: their representations, by family.
        differences: those less the turned representation of the first, in standard deviations.
        errors: root mean square of those: the protocol's equivariance error on a real image.
    """

    modality: str
    images: list[Array]
    encoded: dict[str, list[Array]]
    differences: dict[str, list[Array]]
    errors: dict[str, list[float]]


def turned(images: Images, degrees: float) -> Images:
    """Turn as the protocol does: quarter turns exactly, else by an order-5 spline."""
    if degrees % 90 == 0:
        return torch.rot90(images, round(degrees / 90), (2, 3))
    pixels = ndimage.rotate(
        images.numpy(), degrees, axes=(3, 2), reshape=False, order=5, mode="nearest"
    )
    return torch.from_numpy(np.ascontiguousarray(pixels))


def square(images: Images, side: int) -> Images:
    """The middle square of an image, continued by zeros where it is smaller.

    Args:
        images: (batch, channels, height, width).
        side: of the square, in pixels.
    """
    rows, columns = (side - n for n in images.shape[-2:])
    return F.pad(images, (columns // 2, columns - columns // 2, rows // 2, rows - rows // 2))


def turns(models: dict[str, Representations], modality: str, image: Images) -> Turns:
    """Encode one image turned by every angle, and compare.

    Args:
        models: by family.
        modality: of the image.
        image: (1, channels, side, side), in the instrument's own units.
    """
    inside = disk_mask(image.shape[-1], DISK * image.shape[-1])
    images = [turned(image, angle) for angle in ANGLES]
    encoded, differences, errors = {}, {}, {}
    for family, model in models.items():
        all_turned = [model.encode(modality, each).double() for each in images]
        apart, wrong = [], []
        for angle, of_turned in zip(ANGLES, all_turned, strict=True):
            spread = of_turned[..., inside].std(correction=0)
            difference = (of_turned - turned(all_turned[0], angle)) / spread
            apart.append(disk(difference))
            wrong.append(float(difference[..., inside].square().mean().sqrt()))
        encoded[family] = [disk(each) for each in all_turned]
        differences[family], errors[family] = apart, wrong
    return Turns(modality, [disk(each) for each in images], encoded, differences, errors)


def disk(images: Images) -> Array:
    """The mean of the channels inside the disk, cut to it; NaN outside."""
    side = images.shape[-1]
    inside = disk_mask(side, DISK * side).numpy()
    first = int(np.argmax(inside.any(1)))
    grey = np.where(inside, images[0].mean(0).double().numpy(), np.nan)
    return grey[first : side - first, first : side - first]


def of_set(records: Path, name: str) -> list[Turns]:
    """Both modalities of one set."""
    scene, models = sources.crop(records, name), sources.models(records, name)
    return [
        turns(models, modality, square(scene.window(modality)[None], SIDES[name]))
        for modality in scene.images
    ]


def draw(halves: list[Turns]) -> Figure:
    """Two halves, a modality each: angles from left to right."""
    layout = ConstrainedLayoutEngine(w_pad=0.02, h_pad=0.015)
    figure = Figure(figsize=(style.WIDTH_INCHES, 5.0), layout=layout)
    parts = np.ravel(figure.subfigures(1, len(halves), wspace=0.02))
    for half, of in zip(parts, halves, strict=True):
        draw_half(half, of)
    return figure


def draw_half(half: SubFigure, of: Turns) -> None:
    """One modality: the images, and two rows for each encoder."""
    grid = half.subplots(1 + 2 * len(of.encoded), len(ANGLES))
    half.suptitle(style.plainly(of.modality), fontsize=8)
    limits = black_white(of.images[0])
    for axes, angle, image in zip(grid[0], ANGLES, of.images, strict=True):
        axes.set_title(f"{angle}°", loc="center")
        style.picture(axes, style.shown(image, limits))
    grid[0, 0].set_ylabel("image")
    scale_bar(grid[0, 0], of.images[0].shape[0])
    for number, family in enumerate(of.encoded):
        above, below = grid[1 + 2 * number], grid[2 + 2 * number]
        limits = black_white(of.encoded[family][0])
        for axes, image in zip(above, of.encoded[family], strict=True):
            style.picture(axes, style.shown(image, limits))
        above[0].set_ylabel(family)
        pairs = zip(below[1:], of.differences[family][1:], of.errors[family][1:], strict=True)
        for axes, image, error in pairs:
            drawn = style.picture(axes, image, "RdBu", low=-_LIMIT, high=_LIMIT)
            axes.set_xlabel(f"error {error:.2f}", fontsize=6.5, labelpad=2)
        # At no angle there is no difference: its place holds the key to the colours.
        below[0].set_ylabel("difference")
        below[0].grid(False)
        below[0].set(xticks=[], yticks=[])
        below[0].spines[:].set_visible(False)
        key = below[0].inset_axes((0.3, 0.08, 0.12, 0.84))
        bar = half.colorbar(drawn, cax=key, ticks=[-_LIMIT, 0, _LIMIT])
        bar.ax.tick_params(labelsize=6, length=2, pad=1.5)
        bar.set_label("std. dev.", fontsize=6.5, labelpad=1)


def black_white(image: Array) -> tuple[float, float]:
    """Where the upright picture is black and white, so that all angles are shown alike."""
    low, high = np.nanpercentile(image, [1, 99])
    return float(low), float(high)


def scale_bar(axes: Axes, side: int) -> None:
    """How long so many pixels are, in the empty corner below the disk."""
    axes.plot([0, BAR_PIXELS], [side - 1.5, side - 1.5], color="black", linewidth=1.2)
    axes.set_xlabel(f"{BAR_PIXELS} px", fontsize=6.5, loc="left", labelpad=1)


def caption(records: Path, name: str, halves: list[Turns], others: dict[str, list[Turns]]) -> str:
    """What stands under the figure.

    Args:
        records: folder of all records.
        name: of the set that is drawn.
        halves: what is drawn.
        others: sets whose errors are said, but not drawn.
    """
    scene = sources.crop(records, name)
    side = SIDES[name]
    said = [
        f"The method on one real pair ({name}, {scene.name}, of the test part; 1 scene). Images of "
        f"{' and '.join(h.modality.replace('_', ' ') for h in halves)} turned by "
        f"{', '.join(f'{a}' for a in ANGLES[:-1])} and {ANGLES[-1]} degrees; their representations "
        "by a steerable encoder and by its plain control; and, below each, the difference between "
        "the representation of the turned image and the turned representation of the image as it "
        "is, in standard deviations of the representation; error: its root mean square. Drawn and "
        f"measured inside a disk of radius {DISK:g} times the side ({side} px).",
        of_models(records, name),
        f"Grey: from the 1st to the 99th percentile of the first picture; colours end at "
        f"{_LIMIT:g} standard deviation{'' if _LIMIT == 1 else 's'}. Images were turned by an "
        "order-5 spline, so what that does to their noise is part of the error.",
    ]
    if side > min(scene.size):
        said[-1] += f" Continued by zeros up to {side} x {side} px before they turned."
    for other, of in others.items():
        said.append(f"Not drawn, on 1 scene of {other}: {', '.join(map(errors_in_words, of))}.")
    return "\n".join(said) + "\n"


def of_models(records: Path, name: str) -> str:
    """How the models were trained, read in their files, in words."""
    said = []
    for family in sources.FAMILIES:
        settings = sources.trained(sources.model_folder(records, name, family))
        steps = (
            f"{settings['steps']} steps" if settings["steps"] else f"{settings['minutes']:g} min"
        )
        said.append(f"{family}, {steps}, seed {settings['seed']}")
    return f"Encoders ({'; '.join(said)}): {style.counted(1, 'training seed')} each."


def errors_in_words(of: Turns) -> str:
    """Errors at all angles but the first."""
    angles = " / ".join(f"{angle}" for angle in ANGLES[1:])
    each = (
        f"{family} {' / '.join(f'{error:.2f}' for error in of.errors[family][1:])}"
        for family in of.errors
    )
    return f"{of.modality.replace('_', ' ')} at {angles} degrees {' and '.join(each)}"


def main() -> None:
    """Read, encode, draw, write."""
    parser = script.options(__doc__)
    parser.add_argument("--set", default="brain_mri", choices=tuple(SIDES))
    chosen = parser.parse_args()
    found = {name: of_set(chosen.records, name) for name in SIDES}
    halves = found.pop(chosen.set)
    files = sources.of_pairs_and_models(chosen.records)
    with style.house():
        style.save(draw(halves), chosen.out / "fig1_method", sources.named(chosen.records, files))
    text = caption(chosen.records, chosen.set, halves, found)
    (chosen.out / "fig1_method.txt").write_text(text)
    print(f"Figure and caption: {chosen.out / 'fig1_method.pdf'}, .png and .txt")


if __name__ == "__main__":
    script.run("fig1_method", main)
