"""The whole circle at once: every angle, scale and mirror image by every translation.

At one scale, and that a coarse one: angles are so close that the rim moves by two pixels from one
to the next, and at each the sums over the overlap are taken for all translations in Fourier space.
What is found here is where :mod:`equicomir.registration.frame` starts to climb.
"""

import math
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from equicomir.geometry import image_centre, inverse, rigid, warp
from equicomir.registration.measures import Measure, View, masked_channels, sums_at_all_lags
from equicomir.shapes import Matrix

_AT_ONCE = 2**21  # numbers in a batch of sums: more than a processor's own memory is slower
_MANY_SUMS = 8
_STEP_PIXELS = 2.0  # by which the rim moves from one angle, or one scale, to the next
_APART = 1.5  # steps between two distinct starts


@dataclass(frozen=True)
class Start:
    """One rotation, scale and mirror image, at its best translation."""

    degrees: float
    scale: float
    mirrored: bool
    moving_to_fixed: Matrix
    score: float


def all_starts(
    measure: Measure,
    fixed: View,
    moving: View,
    minimum_overlap: float,
    scales: tuple[float, float],
    mirrors: bool,
) -> list[Start]:
    """The best of all translations at each angle, scale and mirror image.

    Args:
        measure: of agreement.
        fixed: at the scale at which all are tried.
        moving: likewise.
        minimum_overlap: fraction of the smaller mask's pixels that overlap, in (0, 1].
        scales: least and greatest magnification of the moving image.
        mirrors: whether its mirror image is tried too.

    Returns:
        One start for each; its score is minus infinity where no overlap is large enough or has
        content.
    """
    shape, moving_shape = fixed.mask.shape[-2:], moving.mask.shape[-2:]
    radius = min(*shape, *moving_shape) / 2
    count = 4 * math.ceil(2 * math.pi * radius / _STEP_PIXELS / 4)
    span = math.log(scales[1] / scales[0])
    magnifications = np.geomspace(*scales, 1 + math.ceil(span * radius / _STEP_PIXELS))
    starts = []
    for scale in magnifications.tolist():
        least = minimum_overlap * min(float(fixed.mask.sum()), scale**2 * float(moving.mask.sum()))
        margin = _margin(shape, moving_shape, scale, least)
        channels = masked_channels(measure, fixed.content, fixed.mask).float()
        # A square that holds the moving image at every angle, about its own centre.
        side = math.ceil(scale * math.hypot(*moving_shape)) + 2
        size = (side, side)
        corner = (
            math.floor((shape[0] - side) / 2),
            math.floor((shape[1] - side) / 2),
        )
        padded = math.prod(n + side for n in shape)
        at_once = max(1, _AT_ONCE // (len(measure.sums) * padded))
        for mirrored in (False, True)[: 1 + mirrors]:
            turns = [
                (i * 360 / count, _turned(i * 360 / count, scale, mirrored, shape, moving_shape))
                for i in range(count)
            ]
            for first in range(0, count, at_once):
                some = turns[first : first + at_once]
                canvas = _on_canvas(measure, moving, [x for _, x in some], size, corner)
                lags = (2 * margin[0] + 1, 2 * margin[1] + 1)
                origin = (margin[0] + corner[0], margin[1] + corner[1])
                sums = sums_at_all_lags(measure, channels, canvas, lags, origin)
                enough = sums[0] >= least - 0.5  # counts, but for rounding
                if len(sums) > _MANY_SUMS:  # then gathering costs less than needless scores
                    scores = torch.full_like(sums[0], -torch.inf)
                    scores[enough] = measure.score(sums[:, enough]).nan_to_num(nan=-torch.inf)
                else:
                    scores = measure.score(sums).nan_to_num(nan=-torch.inf)
                    scores = scores.masked_fill_(~enough, -torch.inf)
                for (degrees, matrix), surface in zip(some, scores, strict=True):
                    row, column = divmod(int(surface.argmax()), surface.shape[1])
                    shift = (margin[0] - row, margin[1] - column)
                    moved = rigid(0, shift) @ matrix
                    score = float(surface[row, column])
                    starts.append(Start(degrees, scale, mirrored, moved, score))
    return starts


def _margin(
    shape: tuple[int, ...], moving_shape: tuple[int, ...], scale: float, least: float
) -> tuple[int, int]:
    """How far from centre on centre a translation can lie, in pixels, for the overlap asked for."""
    (height, width), diagonal = shape, scale * math.hypot(*moving_shape)
    rows = (height + diagonal) / 2 - least / min(width, diagonal)
    columns = (width + diagonal) / 2 - least / min(height, diagonal)
    return max(1, math.ceil(rows)), max(1, math.ceil(columns))


def _turned(
    degrees: float,
    scale: float,
    mirrored: bool,
    shape: tuple[int, ...],
    moving_shape: tuple[int, ...],
) -> Matrix:
    """The moving image mirrored, magnified and turned, centre on (about) the fixed one's centre.

    The shift between the two centres is a whole number of pixels, so that an image that is not
    turned is not interpolated.
    """
    centre = image_centre(*moving_shape)
    shift = [round((f - m) / 2) for f, m in zip(shape, moving_shape, strict=True)]
    magnified = np.diag([scale, -scale if mirrored else scale, 1.0])
    magnified[:2, 2] = np.asarray(centre) - magnified[:2, :2] @ np.asarray(centre)
    matrix: Matrix = rigid(degrees, (shift[0], shift[1]), centre=centre) @ magnified
    return matrix


def _on_canvas(
    measure: Measure,
    moving: View,
    matrices: list[Matrix],
    size: tuple[int, int],
    corner: tuple[int, int],
) -> Tensor:
    """The channels of the moving image under each matrix, on a canvas that begins at a corner."""
    back = inverse(rigid(0, (-corner[0], -corner[1])) @ np.stack(matrices))
    both = torch.cat([moving.content, moving.mask]).float().expand(len(matrices), -1, -1, -1)
    canvas = warp(both, torch.from_numpy(back), size=size)
    weight = canvas[:, -1:]
    inside = (weight > 0.5).to(canvas)
    # Near its border the turned image is mixed with the zeros outside; that is undone.
    return masked_channels(measure, canvas[:, :-1] / weight.clamp(min=0.5) * inside, inside)


def distinct(starts: list[Start], fixed: View, moving: View, count: int) -> list[Start]:
    """The best ``count`` starts, no two of which are neighbours on the circle."""
    radius = min(*fixed.mask.shape[-2:], *moving.mask.shape[-2:]) / 2
    apart = _APART * _STEP_PIXELS
    kept: list[Start] = []
    for start in sorted(starts, key=lambda s: -s.score):
        if not math.isfinite(start.score) or len(kept) == count:
            break
        gaps = (
            math.hypot(
                math.radians((start.degrees - k.degrees + 180) % 360 - 180),
                math.log(start.scale / k.scale),
            )
            for k in kept
            if k.mirrored == start.mirrored
        )
        if all(gap * radius >= apart for gap in gaps):
            kept.append(start)
    return kept
