"""The top of a measure near an alignment, climbed to with each image held still in turn.

A climb (:mod:`equicomir.registration.refine`) interpolates the moving image alone, which evens out
some of its noise and none of the fixed one's; so where it ends depends on which image moves. Here
it is done both ways, at full resolution, and halfway between both ends is taken: exchanging the
images then gives the inverse, and noise moves the end a little less. A search by information ends
here where images are large; and any alignment can be compared with it, to see how exact it is.
"""

import math
from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from equicomir.geometry import image_centre, inverse, transform_points
from equicomir.registration.measures import Measure, View, masked_channels, sums_at_points
from equicomir.registration.overlap import overlap_points, visible
from equicomir.registration.refine import climb, coefficients, interpolated
from equicomir.shapes import Matrix, Points

_MOST_POINTS, _LEAST_POINTS = 65536, 32
_STEEPEST, _STEPS = 3e-4, 6  # of a climb: twice as many steps take the end no nearer


def summit(
    measure: Measure,
    fixed: View,
    moving: View,
    moving_to_fixed: Matrix,
    *,
    free_scale: bool = False,
) -> Matrix | None:
    """The transform near a start at which a measure is highest, halfway between both ways.

    Args:
        measure: of agreement.
        fixed: at full resolution.
        moving: likewise.
        moving_to_fixed: the start, within a few pixels of the top.
        free_scale: whether the magnification is to be found too.

    Returns:
        The transform; None where the images overlap in too little content, or no top was found
        within four pixels of the start in either way.

    Example:
        >>> from equicomir.geometry import rigid
        >>> from equicomir.registration.measures import view
        >>> from equicomir.registration.search import correlation
        >>> image = np.random.default_rng(0).normal(size=(1, 8, 8)).repeat(8, 1).repeat(8, 2)
        >>> one = view(correlation(1), image, None)
        >>> found = summit(correlation(1), one, one, rigid(0.4, (0.5, -0.3)))
        >>> bool(np.allclose(found, np.eye(3), atol=1e-2))
        True
    """
    there = _climbed(measure, fixed, moving, moving_to_fixed, free_scale)
    back = _climbed(measure, moving, fixed, inverse(moving_to_fixed), free_scale)
    if there is None or back is None:
        return there if back is None else inverse(back)
    return halfway(there, inverse(back), image_centre(*moving.mask.shape[-2:]))


def _climbed(
    measure: Measure, fixed: View, moving: View, start: Matrix, free_scale: bool
) -> Matrix | None:
    points = overlap_points(fixed.mask, visible(moving.mask), start, _MOST_POINTS)
    if len(points) < _LEAST_POINTS:
        return None
    score = _score(measure, fixed, points)
    end, score_there = climb(
        score,
        coefficients(moving.content),
        points,
        start,
        free_scale=free_scale,
        steepest=_STEEPEST,
        steps=_STEPS,
    )
    return end if math.isfinite(score_there) else None


def height(measure: Measure, fixed: View, moving: View, moving_to_fixed: Matrix) -> float:
    """What a measure is at a transform, over the overlap; minus infinity where there is none.

    Args:
        measure: of agreement.
        fixed: at full resolution.
        moving: likewise.
        moving_to_fixed: 3 x 3.

    Returns:
        The score.

    Example:
        >>> from equicomir.registration.measures import view
        >>> from equicomir.registration.search import correlation
        >>> image = np.random.default_rng(0).normal(size=(1, 16, 16))
        >>> one = view(correlation(1), image, None)
        >>> round(height(correlation(1), one, one, np.eye(3)), 6)
        1.0
    """
    points = overlap_points(fixed.mask, visible(moving.mask), moving_to_fixed, _MOST_POINTS)
    if len(points) < _LEAST_POINTS:
        return -math.inf
    seen = transform_points(inverse(moving_to_fixed), points)
    values, _ = interpolated(coefficients(moving.content), seen)
    return float(_score(measure, fixed, points)(values[:, None]))


def halfway(one: Matrix, other: Matrix, centre: tuple[float, float]) -> Matrix:
    """Between two similarities that hardly differ: each point goes halfway between where they do.

    Args:
        one: 3 x 3.
        other: likewise.
        centre: (row, column) of which that holds exactly; elsewhere but for what a mean of two
            rotations is too small, which is undone.

    Returns:
        A similarity again, with the geometric mean of both magnifications.

    Example:
        >>> from equicomir.geometry import rigid
        >>> middle = halfway(rigid(10), rigid(14, (0, 2)), (0, 0))
        >>> bool(np.allclose(middle, rigid(12, (0, 1))))
        True
    """
    mean: Matrix = (one + other) / 2
    point = np.array([*centre, 1.0])
    goal = mean @ point
    areas = [abs(np.linalg.det(x[:2, :2])) for x in (one, other, mean)]
    mean[:2, :2] *= math.sqrt(math.sqrt(areas[0] * areas[1]) / areas[2])
    mean[:2, 2] = goal[:2] - mean[:2, :2] @ point[:2]
    return mean


def _score(measure: Measure, fixed: View, points: Points) -> Callable[[Tensor], Tensor]:
    """Of the moving image at those points of the fixed one."""
    rows, columns = torch.from_numpy(points.astype(np.int64)).T
    inside = torch.ones(1, 1, len(points), dtype=torch.float64)
    own = masked_channels(measure, fixed.content[:, None, rows, columns], inside)

    def score(moving: Tensor) -> Tensor:
        return measure.score(sums_at_points(measure, own, masked_channels(measure, moving, inside)))

    return score
