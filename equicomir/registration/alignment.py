"""What every registration method gives back."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from equicomir.shapes import Array, ArrayMask, Matrix, check_array


@dataclass(frozen=True)
class Alignment:
    """Where the moving image lies in the fixed one.

    Attributes:
        moving_to_fixed: 3 x 3 matrix over homogeneous (row, column, 1), pixel centres.
        score: the method's own measure of agreement; higher is better, and only alignments of
            one method can be compared by it.
        score_by_angle: best score at each rotation tried, as (degrees, score), where the method
            looks at all of them; else empty.
        failure: empty, or in one sentence why the method found nothing; the matrix is then the
            identity and the score minus infinity.
        displacement: None, or (2, height, width) in pixels on the fixed image's grid, where the
            tissue deforms: the pixel p of the fixed image shows the moving image at
            p + displacement[:, p]. ``moving_to_fixed`` is then the linear transform it began with.
        confidence: calibrated probability that this is right, in [0, 1]; NaN where nobody asked.
        trusted: whether the confidence passes the threshold that was fitted for the method.
        evidence: what the confidence was made of, by the names of
            :class:`equicomir.registration.evidence.Evidence`; empty where nobody asked.
    """

    moving_to_fixed: Matrix
    score: float
    score_by_angle: list[tuple[float, float]] = field(default_factory=list)
    failure: str = ""
    displacement: Array | None = None
    confidence: float = math.nan
    trusted: bool = False
    evidence: Mapping[str, float] = field(default_factory=dict)


def not_found(reason: str) -> Alignment:
    """What a method gives back that found nothing: never trusted, never an exception.

    Example:
        >>> not_found("no overlap has content").failure
        'no overlap has content'
    """
    return Alignment(np.eye(3), -math.inf, failure=reason)


def checked(
    fixed: Array, moving: Array, fixed_mask: ArrayMask | None, moving_mask: ArrayMask | None
) -> tuple[Array, Array, ArrayMask | None, ArrayMask | None]:
    """Check what a registration method is given, once, for all methods.

    Args:
        fixed: (height, width) or (channels, height, width), finite.
        moving: likewise, with as many channels.
        fixed_mask: boolean (height, width), true where ``fixed`` is defined; None for everywhere.
        moving_mask: likewise for ``moving``.

    Returns:
        Images as float64 (channels, height, width), and the masks (None where they hide nothing).

    Raises:
        TypeError: not arrays of real numbers.
        ValueError: channels differ, a channel is constant inside its mask, a mask is empty or of
            another size, or a value is not finite.

    Example:
        >>> fixed, moving = np.eye(16), np.eye(20)
        >>> [None if x is None else x.shape for x in checked(fixed, moving, None, None)]
        [(1, 16, 16), (1, 20, 20), None, None]
    """
    fixed, moving = check_array("fixed", fixed), check_array("moving", moving)
    if len(fixed) != len(moving):
        raise ValueError(f"moving: expected {len(fixed)} channels like fixed, got {len(moving)}.")
    masks: list[ArrayMask | None] = []
    for name, image, mask in (("fixed", fixed, fixed_mask), ("moving", moving, moving_mask)):
        if mask is not None:
            if mask.dtype != bool or mask.shape != image.shape[1:]:
                raise ValueError(
                    f"{name}_mask: expected booleans of size {image.shape[1:]}, "
                    f"got {mask.dtype} of size {mask.shape}."
                )
            if not mask.any():
                raise ValueError(f"{name}_mask: expected at least one pixel inside, got none.")
        inside = image.reshape(len(image), -1) if mask is None else image[:, mask]
        if (inside.min(axis=1) == inside.max(axis=1)).any():
            raise ValueError(f"{name}: expected an image with content, got a constant one.")
        masks.append(None if mask is None or mask.all() else mask)
    return fixed, moving, masks[0], masks[1]
