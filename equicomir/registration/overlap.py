"""The pixels at which two images are compared: of the fixed one, well inside the moving one."""

import math

import numpy as np
import torch.nn.functional as F
from torch import Tensor

from equicomir.geometry import inverse, transform_points
from equicomir.shapes import ArrayMask, Matrix, Points

_WITHIN = 1.0  # pixels from the border of the moving image, so that a climb does not leave it
_OF_A_SHARE = 2048  # points
_MASK_BORDER = 2  # pixels inside a mask whose spline would see what the mask covers


def visible(mask: Tensor) -> ArrayMask:
    """Where a spline of an image sees no pixel that its mask covers.

    Args:
        mask: (1, height, width), one inside, zero outside.

    Returns:
        Boolean (height, width).

    Example:
        >>> import torch
        >>> mask = torch.ones(1, 9, 9)
        >>> mask[0, 4, 4] = 0
        >>> int((~visible(mask)).sum())
        25
    """
    border = 2 * _MASK_BORDER + 1
    covered = F.max_pool2d(1 - mask, border, stride=1, padding=_MASK_BORDER)
    uncovered: ArrayMask = covered[0].numpy() == 0
    return uncovered


def overlap_points(
    fixed_mask: Tensor, visible: ArrayMask, moving_to_fixed: Matrix, most: int
) -> Points:
    """Pixels of the fixed image that fall well inside the moving one.

    Args:
        fixed_mask: (1, height, width), one inside, zero outside.
        visible: of the moving image, as :func:`visible` gives it.
        moving_to_fixed: 3 x 3.
        most: how many are looked for; where there are more, they are evenly spread.

    Returns:
        (points, 2), in the order of the image, which memory is read faster in.

    Example:
        >>> import torch
        >>> mask = torch.ones(1, 4, 4)
        >>> overlap_points(mask, visible(mask), np.eye(3), most=99).tolist()
        [[1.0, 1.0], [1.0, 2.0], [2.0, 1.0], [2.0, 2.0]]
    """
    points = _spread(fixed_mask, 2 * most)
    kept: Points = points[_seen(points, visible, moving_to_fixed)][:most]
    in_order: Points = kept[np.lexsort(kept.T[::-1])]
    return in_order


def overlap_share(fixed_mask: Tensor, visible: ArrayMask, moving_to_fixed: Matrix) -> float:
    """The part of the fixed image that falls well inside the moving one, in [0, 1], about.

    Args:
        fixed_mask: as in :func:`overlap_points`, as are the others.
        visible: likewise.
        moving_to_fixed: likewise.

    Returns:
        The part, from a sample of its points.

    Example:
        >>> import torch
        >>> from equicomir.geometry import rigid
        >>> mask = torch.ones(1, 30, 30)
        >>> round(overlap_share(mask, visible(mask), rigid(0, (15, 0))), 1)
        0.4
    """
    points = _spread(fixed_mask, _OF_A_SHARE)
    return float(_seen(points, visible, moving_to_fixed).mean()) if len(points) else 0.0


def _spread(mask: Tensor, most: int) -> Points:
    """Pixels inside a mask, evenly spread; fewer than asked for where the mask covers many."""
    height, width = mask.shape[-2:]
    total = height * width
    # Steps of the golden section spread any number of pixels evenly; without a common divisor
    # with their number they meet none twice.
    step = 1 if 2 * total <= most else round(total * (math.sqrt(5) - 1) / 2)
    while math.gcd(step, total) > 1:
        step += 1
    chosen = np.arange(min(total, most)) * step % total
    points = np.stack(np.divmod(chosen, width), axis=1)
    inside: Points = points[mask[0].bool().numpy()[points[:, 0], points[:, 1]]].astype(np.float64)
    return inside


def _seen(points: Points, visible: ArrayMask, moving_to_fixed: Matrix) -> ArrayMask:
    """Which points fall well inside the moving image."""
    seen = transform_points(inverse(moving_to_fixed), points)
    last = np.array(visible.shape) - 1
    within: ArrayMask = ((seen >= _WITHIN) & (seen <= last - _WITHIN)).all(1)
    nearest = np.rint(seen[within]).astype(np.int64)
    within[within] = visible[nearest[:, 0], nearest[:, 1]]
    return within
