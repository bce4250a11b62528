"""What speaks for an alignment, as plain numbers: no registration knows by itself that it is wrong.

A search always finds a highest peak, also between images of different scenes, and its height says
little: small overlaps and smooth images correlate by chance. What does not happen by chance is
that independent looks end at one place. So the same method is asked again, in the other
direction and with each of two halves of the fixed image; where it looked at all angles, it is
seen how far the found one stands above the others; and what relates the intensities of both
images in one half must hold in the other (:mod:`equicomir.registration.halves`). An alignment that
is nearly right passes all of these; how near it is tells a climb from there to the top of what
both images say about each other.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from equicomir.geometry import (
    corners,
    inverse,
    pixel_centres,
    rotation_degrees,
    transform_points,
)
from equicomir.registration.alignment import Alignment, not_found
from equicomir.registration.halves import opposite_quadrants, prediction
from equicomir.registration.information import squared_loss
from equicomir.registration.measures import view
from equicomir.registration.summit import summit
from equicomir.shapes import Array, ArrayMask, Matrix

#: ``register(fixed, moving, fixed_mask=..., moving_mask=...)``: any file of this folder has one.
Register = Callable[..., Alignment]

_NEAR_DEGREES = 15.0  # peaks further apart than this are distinct
_FINEST = 0.01  # of the width: two looks that differ by less agree as well as can be told
_LEADS = (-3.0, 6.0)  # spreads: beyond, a lead says no more
_HIGHEST_SCORE = 1e9  # beyond, a score says no more


@dataclass(frozen=True)
class Evidence:
    """Numbers that each speak for an alignment the more, the greater they are.

    Attributes:
        overlap: fraction of the smaller mask's pixels that overlap, in [0, 1].
        score: of the method's own, ``sign(score) * log(1 + |score|)``: correlations stay nearly
            what they are, and numbers of inliers become comparable.
        lead: best score near the found angle less the best at any angle further than 15 degrees
            from it, in standard deviations of the latter, cut to [-3, 6]; 0 where the method does
            not look at all angles.
        directions: agreement (:func:`agreement`) with what is found with fixed and moving
            exchanged.
        worse_half: the smaller agreement of the whole with one of the halves.
        better_half: the greater one.
        halves_lead: sum of both halves' leads at the angle that the whole has found.
        prediction: how well each half's intensities follow from those of the moving image by
            what was learned in the other half (:func:`~equicomir.registration.halves.prediction`),
            in [0, 1].
        exactness: agreement with the top of squared-loss information near it (:func:`exactness`).
    """

    overlap: float
    score: float
    lead: float
    directions: float
    worse_half: float
    better_half: float
    halves_lead: float
    prediction: float
    exactness: float


def gather(
    register: Register,
    fixed: Array,
    moving: Array,
    *,
    fixed_mask: ArrayMask | None = None,
    moving_mask: ArrayMask | None = None,
) -> tuple[Alignment, Evidence | None]:
    """Register a pair, and three times more, to see whether it ends at the same place.

    Args:
        register: of one of the methods of this folder.
        fixed: (height, width) or (channels, height, width).
        moving: likewise.
        fixed_mask: boolean (height, width), true where ``fixed`` is defined; None for everywhere.
        moving_mask: likewise for ``moving``.

    Returns:
        The alignment as the method gives it, and the evidence: None where the method failed.

    Raises:
        TypeError, ValueError: whatever ``register`` refuses.

    Example:
        >>> from equicomir.registration import search
        >>> image = np.random.default_rng(0).normal(size=(8, 8)).repeat(8, 0).repeat(8, 1)
        >>> alignment, evidence = gather(search.register, image, image)
        >>> evidence is not None
        True
    """
    found = register(fixed, moving, fixed_mask=fixed_mask, moving_mask=moving_mask)
    if found.failure:
        return found, None
    fixed_inside, moving_inside = (
        np.ones(image.shape[-2:], dtype=bool) if mask is None else mask
        for image, mask in ((fixed, fixed_mask), (moving, moving_mask))
    )
    back = _again(register, moving, fixed, moving_mask, fixed_mask)
    halves = [
        _again(register, fixed, moving, fixed_inside & quadrants, moving_mask)
        for quadrants in opposite_quadrants(*fixed_inside.shape)
    ]
    height, width = moving_inside.shape
    size, degrees = (height, width), rotation_degrees(found.moving_to_fixed)
    whole = found.moving_to_fixed
    each_half = [0.0 if h.failure else agreement(whole, h.moving_to_fixed, size) for h in halves]
    directions = 0.0
    if not back.failure:
        directions = agreement(whole, np.linalg.inv(back.moving_to_fixed), size)
    return found, Evidence(
        overlap=overlap(whole, fixed_inside, moving_inside),
        score=math.copysign(math.log1p(min(abs(found.score), _HIGHEST_SCORE)), found.score),
        lead=lead(found.score_by_angle, degrees),
        directions=directions,
        worse_half=min(each_half),
        better_half=max(each_half),
        halves_lead=sum(lead(h.score_by_angle, degrees) for h in halves),
        prediction=prediction(whole, fixed, moving, fixed_inside, moving_inside),
        exactness=exactness(whole, fixed, moving, fixed_inside, moving_inside),
    )


def _again(
    register: Register,
    fixed: Array,
    moving: Array,
    fixed_mask: ArrayMask | None,
    moving_mask: ArrayMask | None,
) -> Alignment:
    """A second look, of which nothing is demanded: half an image may well be empty."""
    try:
        return register(fixed, moving, fixed_mask=fixed_mask, moving_mask=moving_mask)
    except ValueError as error:
        return not_found(str(error))


def agreement(one: Matrix, other: Matrix, size: tuple[int, int]) -> float:
    """How near two transforms take the corners of an image, from 0 (a width apart) to 1.

    Args:
        one: 3 x 3 matrix.
        other: likewise.
        size: (height, width) of the image that they take somewhere, in pixels.

    Returns:
        Linear in the logarithm of the mean distance of the corners, as a fraction of the mean
        side, that 1 % is added to: so that between 1 % and 4 % lies as much as between 4 % and
        12 %.

    Example:
        >>> from equicomir.geometry import rigid
        >>> agreement(np.eye(3), np.eye(3), (32, 32)), agreement(
        ...     np.eye(3), rigid(0, (0, 40)), (32, 32)
        ... )
        (1.0, 0.0)
    """
    points = corners(*size)
    gap = transform_points(one, points) - transform_points(other, points)
    distance = float(np.linalg.norm(gap, axis=1).mean()) / (sum(size) / 2)
    if not math.isfinite(distance):
        return 0.0
    return math.log((1 + _FINEST) / (min(distance, 1.0) + _FINEST)) / math.log(1 + 1 / _FINEST)


def distance(agreed: float) -> float:
    """The mean distance of the corners that an :func:`agreement` tells, as a fraction of the side.

    Example:
        >>> from equicomir.geometry import rigid
        >>> near = agreement(np.eye(3), rigid(0, (4, 0)), (32, 32))
        >>> round(distance(near), 9), distance(1.0)
        (0.125, 0.0)
    """
    logarithm = -agreed * math.log(1 + 1 / _FINEST)
    return max(0.0, (1 + _FINEST) * math.exp(logarithm) - _FINEST)


def lead(score_by_angle: list[tuple[float, float]], degrees: float) -> float:
    """How far the scores near one angle stand above all distinct others.

    Args:
        score_by_angle: as an alignment has it; may be empty.
        degrees: the angle in question.

    Returns:
        In standard deviations of the others, cut to [-3, 6]; negative where another is better; 0
        where there is nothing to compare.

    Example:
        >>> lead([(0.0, 5.0), (90.0, 1.0), (180.0, 3.0), (270.0, 2.0)], 358.0)
        2.449489742783178
    """
    tried = [(angle, score) for angle, score in score_by_angle if math.isfinite(score)]
    if not tried:
        return 0.0
    angles, scores = np.array(tried).T
    far = np.abs((angles - degrees + 180) % 360 - 180) > _NEAR_DEGREES
    if far.all() or not far.any():
        return 0.0
    above, spread = float(scores[~far].max() - scores[far].max()), float(scores[far].std())
    # Without any spread a lead is as certain as one can be, in its direction.
    in_spreads = above / spread if spread > 0 else math.copysign(math.inf, above) if above else 0.0
    return float(np.clip(in_spreads, *_LEADS))


def overlap(moving_to_fixed: Matrix, fixed_mask: ArrayMask, moving_mask: ArrayMask) -> float:
    """The fraction of the smaller mask's pixels that lie in both masks, in [0, 1].

    Args:
        moving_to_fixed: 3 x 3 matrix.
        fixed_mask: boolean (height, width).
        moving_mask: likewise.

    Returns:
        Counted on the fixed image's pixels.

    Example:
        >>> from equicomir.geometry import rigid
        >>> everywhere = np.ones((4, 4), dtype=bool)
        >>> overlap(rigid(0, (1, 0)), everywhere, everywhere)
        0.75
    """
    inside = pixel_centres(*fixed_mask.shape)[fixed_mask.ravel()]
    try:
        seen = transform_points(np.linalg.inv(moving_to_fixed), inside)
    except np.linalg.LinAlgError:
        return 0.0
    seen = np.rint(np.clip(seen, -1e6, 1e6)).astype(np.int64)
    seen = seen[((seen >= 0) & (seen < moving_mask.shape)).all(axis=1)]
    both = int(moving_mask[seen[:, 0], seen[:, 1]].sum())
    return min(1.0, both / max(1, min(int(fixed_mask.sum()), int(moving_mask.sum()))))


def exactness(
    moving_to_fixed: Matrix,
    fixed: Array,
    moving: Array,
    fixed_mask: ArrayMask,
    moving_mask: ArrayMask,
) -> float:
    """How little an alignment moves when it is climbed from to the top of what both images share.

    Args:
        moving_to_fixed: 3 x 3 matrix.
        fixed: (height, width) or (channels, height, width); the mean of the channels counts.
        moving: likewise.
        fixed_mask: boolean (height, width).
        moving_mask: likewise.

    Returns:
        The agreement (:func:`agreement`) of the alignment with that top, of squared-loss mutual
        information within four pixels of it; 0 where there is none.

    Example:
        >>> from equicomir.geometry import rigid
        >>> image = np.random.default_rng(0).normal(size=(8, 8)).repeat(4, 0).repeat(4, 1)
        >>> everywhere = np.ones((32, 32), dtype=bool)
        >>> exact, near = (
        ...     exactness(rigid(0, (away, 0)), image, -image, everywhere, everywhere)
        ...     for away in (0.0, 1.0)
        ... )
        >>> exact > 0.95 > 0.8 > near
        True
    """
    if not np.isfinite(inverse(moving_to_fixed)).all():
        return 0.0
    measure, masks = squared_loss(), (fixed_mask, moving_mask)
    planes = [image.reshape(-1, *image.shape[-2:]).mean(axis=0) for image in (fixed, moving)]
    views = [view(measure, x[None], mask) for x, mask in zip(planes, masks, strict=True)]
    top = summit(measure, views[0], views[1], moving_to_fixed)
    size = (moving_mask.shape[0], moving_mask.shape[1])
    return 0.0 if top is None else agreement(moving_to_fixed, top, size)
