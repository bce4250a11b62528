"""Two halves of an image, and what holds in one must hold in the other.

The halves are pairs of opposite quadrants: they share no pixel, each holds the rotation by a
lever as long as the image, and a quarter turn of the images exchanges them, so that it changes
nothing of the verdict.
"""

import numpy as np
import torch

from equicomir.geometry import image_centre, warp
from equicomir.shapes import Array, ArrayMask, Matrix

_ROUNDING = 1e-9  # of the values
_LEAST_PIXELS = 16  # of a half, for a rule of four numbers


def opposite_quadrants(height: int, width: int) -> tuple[ArrayMask, ArrayMask]:
    """Two halves of an image: two opposite quadrants, and the two others.

    Args:
        height: of the image, in pixels.
        width: likewise.

    Returns:
        Two boolean masks (height, width) without a common pixel; a row or column through the
        centre belongs to neither.

    Example:
        >>> one, other = opposite_quadrants(2, 2)
        >>> one.tolist(), bool((np.rot90(one) == other).all())
        ([[True, False], [False, True]], True)
    """
    row, column = image_centre(height, width)
    side = np.outer(np.sign(np.arange(height) - row), np.sign(np.arange(width) - column))
    return side > 0, side < 0


def prediction(
    moving_to_fixed: Matrix,
    fixed: Array,
    moving: Array,
    fixed_mask: ArrayMask,
    moving_mask: ArrayMask,
) -> float:
    """How well one half of the fixed image follows from the moving one, by the other half's rule.

    The rule gives the fixed image's mean brightness as a cubic of the moving image's, by least
    squares: enough for a contrast that is inverted or bent.

    Args:
        moving_to_fixed: 3 x 3 matrix.
        fixed: (height, width) or (channels, height, width).
        moving: likewise.
        fixed_mask: boolean (height, width).
        moving_mask: likewise.

    Returns:
        The smaller one of two correlations, of the predicted with the actual brightness of a
        half; 0 where it is negative or a half has no content.

    Example:
        >>> image = np.random.default_rng(0).normal(size=(16, 16))
        >>> everywhere = np.ones((16, 16), dtype=bool)
        >>> round(prediction(np.eye(3), image, -2 * image, everywhere, everywhere), 2)
        1.0
    """
    try:
        fixed_to_moving = torch.from_numpy(np.linalg.inv(moving_to_fixed))[None]
    except np.linalg.LinAlgError:
        return 0.0
    size = (fixed_mask.shape[0], fixed_mask.shape[1])
    planes = [image.reshape(-1, *image.shape[-2:]).mean(axis=0) for image in (fixed, moving)]
    both = np.stack([np.where(moving_mask, planes[1], 0), moving_mask]).astype(np.float64)
    seen = warp(torch.from_numpy(both)[None], fixed_to_moving, size=size)[0].numpy()
    inside = fixed_mask & (seen[1] > 1 - 1e-6)
    correlations = []
    quadrants = [inside & quadrants for quadrants in opposite_quadrants(*size)]
    for learned, asked in (quadrants, quadrants[::-1]):
        if min(learned.sum(), asked.sum()) < _LEAST_PIXELS:
            return 0.0
        if _flat(seen[0][learned]) or _flat(planes[0][learned]):
            return 0.0
        centre, spread = seen[0][learned].mean(), seen[0][learned].std()
        # What lies outside all that was learned is taken for the nearest that was.
        scaled = np.clip((seen[0] - centre) / spread, -3, 3)
        rule = np.polyfit(scaled[learned], planes[0][learned], 3)
        predicted, actual = np.polyval(rule, scaled[asked]), planes[0][asked]
        if _flat(predicted) or _flat(actual):
            return 0.0
        correlations.append(float(np.corrcoef(predicted, actual)[0, 1]))
    return max(0.0, min(correlations))


def _flat(values: Array) -> bool:
    """Whether they differ by no more than rounding, as many copies of 0.3 do from their mean."""
    return not values.std() > _ROUNDING * np.abs(values).max()
