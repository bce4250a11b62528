"""The frame of every global search: the whole circle at a coarse scale, then a climb to the top.

A :class:`~equicomir.registration.measures.Measure` says what is to be maximised. At the coarsest
scale every angle of the circle (and every scale and mirror image asked for) is tried against every
translation at once. A few distinct best ones are climbed from, each to a fraction of a pixel, scale
by scale, fewer at each; the best is climbed once more at full resolution. What a climb costs does
not grow with the image: it looks at no more pixels than it needs.
"""

import math
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from equicomir.geometry import corners, inverse, transform_points
from equicomir.registration.alignment import Alignment, not_found
from equicomir.registration.circle import all_starts, distinct
from equicomir.registration.measures import (
    Measure,
    View,
    kept_energy,
    masked_channels,
    shrunk,
    sums_at_points,
)
from equicomir.registration.overlap import overlap_points, overlap_share, visible
from equicomir.registration.refine import climb, coefficients
from equicomir.shapes import ArrayMask, Matrix

_LEAST_SIDE = 16  # pixels
_LARGEST_PIXELS = 2**17  # of the coarsest scale: of more, all translations take too long
_STARTS = 10  # that are followed from the coarsest scale
#: Parts of the best score: those that stay below are followed no further, of the starts, whose
#: angles are coarse, and of those that have climbed.
_LIKELY, _HOPEFUL = 0.5, 0.5
#: (pixels, the steepest slope at which it ends, steps) of a climb: to compare starts, and the last.
_QUICK, _LAST = (2048, 3e-3, 5), (65536, 3e-5, 12)
_LEAST_POINTS = 32


@dataclass(frozen=True)
class _End:
    """Where a climb ended, at full resolution."""

    matrix: Matrix
    score: float
    rank: float  # by which it is compared with others: the score, by the overlap it was found in


@dataclass(frozen=True)
class _Level:
    """Both images at one scale."""

    factor: int
    fixed: View
    moving: View
    spline: Tensor  # coefficients of the moving content
    visible: ArrayMask  # (height, width): where that spline sees no covered pixel


def search(
    measure: Measure,
    fixed: View,
    moving: View,
    *,
    minimum_overlap: float,
    scales: tuple[float, float] = (1.0, 1.0),
    mirrors: bool = False,
    exhaustive: bool = False,
) -> Alignment:
    """Find the transform, whatever it is, at which a measure is highest.

    Args:
        measure: of agreement.
        fixed: at full resolution.
        moving: likewise.
        minimum_overlap: translations are tried where at least this fraction of the smaller mask's
            pixels overlaps, in (0, 1].
        scales: least and greatest magnification of the moving image.
        mirrors: also try the moving image mirrored.
        exhaustive: try every angle and translation at full resolution, not at a coarse scale.

    Returns:
        The alignment, ``score_by_angle`` at the scale where all angles were tried; or a failure,
        where no overlap had any content.

    Raises:
        ValueError: an option is out of its range, or an image is too small.

    Example:
        >>> import numpy as np
        >>> from equicomir.registration.measures import view
        >>> from equicomir.registration.search import correlation
        >>> image = np.random.default_rng(0).normal(size=(1, 8, 8)).repeat(8, 1).repeat(8, 2)
        >>> measure = correlation(1)
        >>> seen = view(measure, image, None)
        >>> found = search(measure, seen, seen, minimum_overlap=0.5)
        >>> bool(np.allclose(found.moving_to_fixed, np.eye(3), atol=0.05))
        True
    """
    _check_options(fixed, moving, minimum_overlap, scales)
    factor = 1 if exhaustive else _coarsest_factor(measure, fixed, moving)
    level = _level(measure, fixed, moving, factor)
    quick = measure if exhaustive else measure.quick or measure
    starts = all_starts(quick, level.fixed, level.moving, minimum_overlap, scales, mirrors)
    score_by_angle: dict[float, float] = {}
    for start in starts:
        least = score_by_angle.get(start.degrees, -math.inf)
        score_by_angle[start.degrees] = max(start.score, least)
    chosen = distinct(starts, level.fixed, level.moving, _STARTS)
    ends = [
        _End(_at_full(start.moving_to_fixed, factor), start.score, start.score) for start in chosen
    ]
    ends = _promising(ends, _LIKELY)
    free_scale = scales[0] < scales[1]
    while level.factor > 1 or len(ends) > 1:
        # One scale after the other, each with half the starts of the one before.
        count = max(1, len(ends) // 2)
        climbed = [_refined(measure, level, e.matrix, free_scale, _QUICK) for e in ends]
        ends = _different(_promising(climbed, _HOPEFUL), moving, count)
        if level.factor > 1:
            level = _level(measure, fixed, moving, level.factor // 2)
    ends = [_refined(measure, level, e.matrix, free_scale, _LAST) for e in ends]
    if not ends or not math.isfinite(ends[0].score):
        return not_found(
            "No content was found in any overlap of at least "
            f"{minimum_overlap:g} of the smaller mask; allow a smaller overlap."
        )
    return Alignment(ends[0].matrix, ends[0].score, list(score_by_angle.items()))


def _check_options(
    fixed: View, moving: View, minimum_overlap: float, scales: tuple[float, float]
) -> None:
    if not 0 < minimum_overlap <= 1:
        raise ValueError(f"minimum_overlap: expected a value in (0, 1], got {minimum_overlap}.")
    if not 0.1 <= scales[0] <= scales[1] <= 10:
        raise ValueError(
            f"scales: expected a least and a greatest magnification in [0.1, 10], got {scales}."
        )
    for name, image in (("fixed", fixed), ("moving", moving)):
        size = tuple(image.mask.shape[-2:])
        if min(size) < _LEAST_SIDE:
            raise ValueError(
                f"{name}: expected height and width of at least {_LEAST_SIDE} pixels, got {size}."
            )


def _coarsest_factor(measure: Measure, fixed: View, moving: View) -> int:
    """How far both images can be shrunk with their content still there.

    A representation learned behind a high-pass holds nothing but detail: shrunk too far, it is
    gone, and the search would follow noise. But all translations of large images take too long.
    """
    sizes = [image.mask.shape[-2:] for image in (fixed, moving)]
    shorter, pixels = min(map(min, sizes)), max(map(math.prod, sizes))
    factor = 1
    while shorter // (2 * factor) >= measure.coarsest_side:
        kept = min(kept_energy(image, 2 * factor) for image in (fixed, moving))
        if kept < measure.kept_energy and pixels / factor**2 <= _LARGEST_PIXELS:
            break
        factor *= 2
    return factor


def _level(measure: Measure, fixed: View, moving: View, factor: int) -> _Level:
    f, m = shrunk(measure, fixed, factor), shrunk(measure, moving, factor)
    return _Level(factor, f, m, coefficients(m.content), visible(m.mask))


def _refined(
    measure: Measure,
    level: _Level,
    start: Matrix,
    free_scale: bool,
    effort: tuple[int, float, int],
) -> _End:
    """Climb from a start, given and found at full resolution, over some pixels of one scale."""
    matrix, (samples, steepest, steps) = _at_factor(start, level.factor), effort
    points = overlap_points(level.fixed.mask, level.visible, matrix, samples)
    if len(points) < _LEAST_POINTS:
        return _End(start, -math.inf, -math.inf)
    rows, columns = torch.from_numpy(points.astype(np.int64)).T
    inside = torch.ones(1, 1, len(points), dtype=torch.float64)
    fixed = masked_channels(measure, level.fixed.content[:, None, rows, columns], inside)

    def score(moving: Tensor) -> Tensor:
        sums = sums_at_points(measure, fixed, masked_channels(measure, moving, inside))
        return measure.score(sums)

    end, height = climb(
        score,
        level.spline,
        points,
        matrix,
        free_scale=free_scale,
        steepest=steepest,
        steps=steps,
    )
    share = overlap_share(level.fixed.mask, level.visible, end)
    return _End(_at_full(end, level.factor), height, height * share**measure.growth)


def _promising(ends: list[_End], part: float) -> list[_End]:
    """Those that are not far below the best."""
    best = max((end.rank for end in ends), default=-math.inf)
    return [end for end in ends if end.rank >= min(best, part * best)]


def _different(ends: list[_End], moving: View, count: int) -> list[_End]:
    """The best ends, no two of which are the same place."""
    edges = corners(*moving.mask.shape[-2:])
    kept: list[_End] = []
    for end in sorted(ends, key=lambda e: -e.rank):
        gaps = (
            np.abs(transform_points(end.matrix, edges) - transform_points(k.matrix, edges)).max()
            for k in kept
        )
        if math.isfinite(end.score) and len(kept) < count and all(gap > 1 for gap in gaps):
            kept.append(end)
    return kept


def _at_full(matrix: Matrix, factor: int) -> Matrix:
    """A transform between shrunk images, as one between the images."""
    grown: Matrix = _growth(factor) @ matrix @ inverse(_growth(factor))
    return grown


def _at_factor(matrix: Matrix, factor: int) -> Matrix:
    """A transform between the images, as one between shrunk images."""
    less: Matrix = inverse(_growth(factor)) @ matrix @ _growth(factor)
    return less


def _growth(factor: int) -> Matrix:
    """Where the pixels of a shrunk image lie in the image."""
    start = (factor - 1) / 2
    return np.array([[factor, 0, start], [0, factor, start], [0, 0, 1]], dtype=np.float64)
