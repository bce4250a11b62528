"""Alpha-AMD: the rigid transform at which two images are nearest, in grey level and in place.

The average minimal distance from the points of each image to the like points of the other falls
steadily over many pixels, where a correlation is a narrow peak: so a descent from few starts can
follow it. It compares heights with heights, and is for images that look alike: representations,
or one modality. Descents from all round the circle run at once on a small random part of the
points, from coarse to fine; a part is enough to go downhill, but not to choose, so whatever is
chosen is chosen on all points.
"""

import math

import numpy as np
import torch

from equicomir.geometry import transform_points
from equicomir.registration import distance_descent
from equicomir.registration.alignment import Alignment, checked, not_found
from equicomir.registration.distance_transforms import every_point, grey, mean_distance
from equicomir.shapes import Array, ArrayMask, Matrix

_FACTORS = (4, 2, 1)  # of shrinking, from scale to scale
_COARSEST_PIXELS = 32  # the shorter side at every shrunk scale is at least this
_CANDIDATES = (12, 4)  # distinct ends followed from the coarsest scale, and from each later one
_STRIDES = ((2.0, 0.2), (0.5, 0.03))  # first and last, in pixels of the scale; likewise
_STRAIGHT = 0.75  # a descent that went straighter than this at its end was still on its way


def alpha_amd(
    fixed: Array,
    moving: Array,
    moving_to_fixed: Matrix,
    *,
    fixed_mask: ArrayMask | None = None,
    moving_mask: ArrayMask | None = None,
    fixed_weights: Array | None = None,
    moving_weights: Array | None = None,
    levels: int = 7,
    most_pixels: float = 64.0,
    symmetric: bool = True,
) -> float:
    """The average minimal distance of two images at a transform, over all of their points.

    Each level cuts both images in two, the pixels at least so bright and the others; a point
    looks for the nearest pixel of the other image on its own side of the cut. The mean over
    levels, channels and the points of the overlap is the measure. It is zero for identical
    images at the identity; exchanging the images, with the inverse transform, changes nothing;
    nor does ``1 - image`` for both images. It does see brightness and contrast.

    Args:
        fixed: (height, width) or (channels, height, width), in [0, 1].
        moving: likewise, with as many channels; its size may differ.
        moving_to_fixed: 3 x 3, invertible; distances between pixels are interpolated linearly,
            and are those of the image that is looked up, in its own pixels.
        fixed_mask: boolean (height, width), true where ``fixed`` is defined; None for everywhere.
        moving_mask: likewise for ``moving``.
        fixed_weights: (height, width), non-negative: how much each point counts, both as one
            that looks and as one that is found; None for alike.
        moving_weights: likewise for ``moving``.
        levels: of grey, 1 or more.
        most_pixels: where a distance saturates, above 0, in pixels.
        symmetric: the mean of both directions; else only from moving points to the fixed image.

    Returns:
        The distance, in pixels, from 0 to ``most_pixels``; infinite without overlap.

    Raises:
        TypeError: not arrays of real numbers.
        ValueError: as :func:`equicomir.registration.alignment.checked`, or a value or an option
            is outside its range.

    Example:
        A bright row, moved by two pixels: at the only level, a bright pixel has two pixels to
        go, and a dark one that meets the other's row has one: three for the eight of a column.

        >>> image = np.zeros((8, 8))
        >>> image[3] = 1
        >>> alpha_amd(image, np.roll(image, 2, 0), np.eye(3), levels=1)
        0.375

    Source:
        Öfverstedt, Lindblad, Sladoje 2019, doi 10.1109/TIP.2019.2899947, arXiv 1807.11599, with
        the bidirectional point-to-set distance.
    """
    fixed, moving, fixed_mask, moving_mask = checked(fixed, moving, fixed_mask, moving_mask)
    _check_options(levels, most_pixels)
    greys = []
    for name, image, mask, weights in (
        ("fixed", fixed, fixed_mask, fixed_weights),
        ("moving", moving, moving_mask, moving_weights),
    ):
        if image.min() < 0 or image.max() > 1:
            raise ValueError(
                f"{name}: expected values in [0, 1], got {image.min():.4g} to {image.max():.4g}; "
                "stretch them with distance_transforms.stretched."
            )
        weights = _checked_weights(name, image, mask, weights)
        greys.append(grey(image, mask, weights, levels=levels, most_pixels=most_pixels))
    matrix = np.asarray(moving_to_fixed, dtype=np.float64)
    if matrix.shape != (3, 3) or not np.isfinite(matrix).all() or not np.linalg.det(matrix):
        raise ValueError("moving_to_fixed: expected an invertible 3 x 3 matrix, got another.")
    ways = [(greys[1], greys[0], matrix)]
    if symmetric:
        ways.append((greys[0], greys[1], np.linalg.inv(matrix)))
    means = []
    for source, target, there in ways:
        points = every_point(source)
        places = torch.from_numpy(transform_points(there, points.places.double().numpy()))
        means.append(float(mean_distance(points, target, places[None])[0]))
    return float(np.mean(means))


def register(
    fixed: Array,
    moving: Array,
    *,
    fixed_mask: ArrayMask | None = None,
    moving_mask: ArrayMask | None = None,
    fixed_weights: Array | None = None,
    moving_weights: Array | None = None,
    levels: int = 7,
    most_pixels: float | None = None,
    start_every_degrees: float = 7.5,
    steps: int = 100,
    fraction: float = 0.01,
    minimum_overlap: float = 0.5,
    seed: int = 0,
) -> Alignment:
    """Descend on the average minimal distance from starts all round the circle; the nearest wins.

    Every angle starts twice: centre on centre, and centre of mass on centre of mass. Each step
    looks at fresh points; what is followed to the next scale, and the end, is chosen on all.

    Args:
        fixed: (height, width) or (channels, height, width); each channel is stretched by its own
            percentiles, so brightness and contrast do not count.
        moving: likewise, with as many channels; its size may differ.
        fixed_mask: boolean (height, width), true where ``fixed`` is defined; None for everywhere.
        moving_mask: likewise for ``moving``.
        fixed_weights: (height, width), non-negative: how much each point counts; None for alike.
        moving_weights: likewise for ``moving``.
        levels: of grey, 1 or more.
        most_pixels: where a distance saturates; None for a quarter of the shorter side.
        start_every_degrees: angle between starts, in (0, 360].
        steps: of each descent at each scale, 1 or more.
        fraction: of the points that a step looks at, in (0, 1], but not less than 300.
        minimum_overlap: the part of each image's points that must meet the other, in (0, 1].
        seed: of the points drawn. A number and not a generator: all methods share a signature
            without one, and the same images are to give the same answer.

    Returns:
        The alignment: ``score`` is minus the symmetric distance over all points, in pixels;
        ``score_by_angle`` holds it, in pixels of the coarsest scale, at the end of the better
        descent of each start's angle. A failure where no descent ended with enough overlap, or
        the nearest was still on its way.

    Raises:
        TypeError: not arrays of real numbers.
        ValueError: as :func:`equicomir.registration.alignment.checked`, or an option is outside
            its range.

    Example:
        >>> image = np.random.default_rng(0).normal(size=(8, 8)).repeat(8, 0).repeat(8, 1)
        >>> found = register(image, np.rot90(image))
        >>> bool(np.allclose(found.moving_to_fixed[:2, :2], [[0, 1], [-1, 0]], atol=0.02))
        True

    Source:
        Öfverstedt, Lindblad, Sladoje 2019, doi 10.1109/TIP.2019.2899947, arXiv 1807.11599. Steps
        as Adam's (Kingma, Ba, arXiv 1412.6980, algorithm 1) where the paper has plain momentum.
    """
    fixed, moving, fixed_mask, moving_mask = checked(fixed, moving, fixed_mask, moving_mask)
    shorter = min(*fixed.shape[1:], *moving.shape[1:])
    most_pixels = shorter / 4 if most_pixels is None else most_pixels
    _check_options(levels, most_pixels)
    _check_descents(start_every_degrees, steps, fraction, minimum_overlap)
    fixed_side = (fixed, fixed_mask, _checked_weights("fixed", fixed, fixed_mask, fixed_weights))
    moving_side = (
        *(moving, moving_mask),
        _checked_weights("moving", moving, moving_mask, moving_weights),
    )
    generator = torch.Generator().manual_seed(seed)
    degrees: list[float] = np.arange(0, 360, start_every_degrees).tolist()
    starts, score_by_angle = None, []
    for factor in (k for k in _FACTORS if k == 1 or shorter // k >= _COARSEST_PIXELS):
        scale = distance_descent.at_scale(fixed_side, moving_side, factor, levels, most_pixels)
        later = starts is not None
        starts = distance_descent.starts(scale, degrees) if starts is None else starts
        ends, straight = distance_descent.descend(
            scale, starts, _STRIDES[later], steps, fraction, generator=generator
        )
        distances = distance_descent.dense_distances(scale, ends, minimum_overlap)
        if not later:
            scores = (-distances).reshape(2, -1).amax(dim=0).tolist()
            score_by_angle = list(zip(degrees, scores, strict=True))
        chosen = distance_descent.distinct(ends, distances, _CANDIDATES[later])
        starts = 2 * ends[chosen]  # what is one pixel now is two at the next scale
    best = chosen[0]
    if not math.isfinite(float(distances[best])):
        return not_found(
            f"no descent ended where {minimum_overlap:g} of the points of both images meet."
        )
    if straight[best] > _STRAIGHT:
        return not_found(f"the nearest descent was still on its way after {steps} steps a scale.")
    return Alignment(scale.matrix(ends[best]), -float(distances[best]), score_by_angle)


def _check_options(levels: int, most_pixels: float) -> None:
    if levels < 1:
        raise ValueError(f"levels: expected 1 or more, got {levels}.")
    if not 0 < most_pixels < math.inf:
        raise ValueError(f"most_pixels: expected a distance above 0, got {most_pixels}.")


def _check_descents(
    start_every_degrees: float, steps: int, fraction: float, minimum_overlap: float
) -> None:
    if not 0 < start_every_degrees <= 360:
        raise ValueError(f"start_every_degrees: expected (0, 360], got {start_every_degrees}.")
    if steps < 1:
        raise ValueError(f"steps: expected 1 or more, got {steps}.")
    for name, value in (("fraction", fraction), ("minimum_overlap", minimum_overlap)):
        if not 0 < value <= 1:
            raise ValueError(f"{name}: expected a value in (0, 1], got {value}.")


def _checked_weights(
    name: str, image: Array, mask: ArrayMask | None, weights: Array | None
) -> Array | None:
    """Refuse what cannot say how much each point of an image counts."""
    if weights is None:
        return None
    size = image.shape[1:]
    if not isinstance(weights, np.ndarray) or weights.dtype.kind not in "biuf":
        raise TypeError(
            f"{name}_weights: expected a NumPy array of real numbers, got {weights!r:.40}."
        )
    if weights.shape != size:
        raise ValueError(f"{name}_weights: expected size {size}, got {weights.shape}.")
    weights = weights.astype(np.float64)
    if not (np.isfinite(weights).all() and weights.min() >= 0):
        raise ValueError(f"{name}_weights: expected finite numbers from 0, got others.")
    if not (weights if mask is None else weights[mask]).any():
        raise ValueError(f"{name}_weights: expected one above zero in the mask, got none.")
    return weights
