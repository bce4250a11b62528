"""Distances between grey images: how far it is, level by level, to a place of the same kind.

A grey image is a stack of sets, its *alpha-cuts*: at each level the pixels that are at least so
bright. The distance transform of every cut, and of everything outside it, is computed once; then
the distance from any point of any height to the image is one look-up, and its slope, which a
descent follows, is one too. Nothing here knows where the points come from.
"""

from dataclasses import dataclass

import numpy as np
import torch
from scipy.ndimage import distance_transform_edt
from torch import Tensor

from equicomir.shapes import Array, ArrayMask

_TAILS = (1.0, 99.0)  # percentiles that become heights 0 and 1: one hot pixel must not decide
_SLACK = 1e-3  # pixels: rounding in float32 must not cut off the border of a quarter turn


@dataclass(frozen=True)
class Grey:
    """An image as distances to look up.

    Attributes:
        heights: (channels, height, width), whole numbers from 0 to the number of levels.
        distances: (channels, levels + 1, height, width), in pixels: from each place to this
            image for a point of each height.
        weights: (height, width): how much each point counts, zero outside the mask.
    """

    heights: Tensor
    distances: Tensor
    weights: Tensor


@dataclass(frozen=True)
class Sample:
    """Points of an image, all of them or some, from which distances are measured.

    Attributes:
        places: (n, 2), as (row, column), in pixels.
        heights: (channels, n), as in :class:`Grey`.
        weights: (n,): how much each counts, above zero.
    """

    places: Tensor
    heights: Tensor
    weights: Tensor


def stretched(image: Array, mask: ArrayMask | None) -> Array:
    """Heights in [0, 1], one range a channel: from its 1st to its 99th percentile in the mask.

    Args:
        image: (channels, height, width), finite, in any unit.
        mask: boolean (height, width), true where ``image`` is defined; None for everywhere.

    Returns:
        (channels, height, width). It does not see brightness and contrast, of each channel on
        its own: a positive factor and an offset change nothing.

    Example:
        >>> ramp = np.linspace(3.0, 7.0, 101)[None, None]
        >>> stretched(ramp, None)[0, 0, [0, 1, 50, 99, 100]].round(9).tolist()
        [0.0, 0.0, 0.5, 1.0, 1.0]
    """
    inside = image.reshape(len(image), -1) if mask is None else image[:, mask]
    low, high = np.percentile(inside, _TAILS, axis=1)
    # A few bright specks on nothing: then the tails are alike, and all of the range is used.
    flat = high <= low
    low = np.where(flat, inside.min(axis=1), low)[:, None, None]
    high = np.where(flat, inside.max(axis=1), high)[:, None, None]
    heights: Array = np.clip((image - low) / np.maximum(high - low, 1e-300), 0, 1)
    return heights


def grey(
    heights: Array,
    mask: ArrayMask | None,
    weights: Array | None,
    *,
    levels: int,
    most_pixels: float,
) -> Grey:
    """The alpha-cut distance transforms of an image, for points of every height.

    With ``q = floor(height * levels + 1/2)``, level ``i`` (1 to ``levels``, standing for
    ``alpha = (i - 1/2) / levels``) cuts the image into the pixels with ``q >= i`` and the others.
    A point of height ``p`` is inside its own cut at the levels up to ``p`` and outside above; at
    each level it looks for the nearest pixel on the same side, and the mean over the levels is
    its distance. A distance is at most ``most_pixels``; it is that where a side is empty.

    Args:
        heights: (channels, height, width), in [0, 1].
        mask: boolean (height, width): pixels outside belong to neither side of a cut.
        weights: (height, width), non-negative: how much each point counts; None for alike.
        levels: how many, 1 or more.
        most_pixels: where distances saturate, in pixels.

    Returns:
        Heights, distances (float32) and weights.

    Example:
        A point as bright as can be looks for the one bright pixel at every level.

        >>> dot = np.zeros((1, 1, 5))
        >>> dot[0, 0, 0] = 1
        >>> grey(dot, None, None, levels=2, most_pixels=3.0).distances[0, 2, 0].tolist()
        [0.0, 1.0, 2.0, 3.0, 3.0]

    Source:
        Öfverstedt, Lindblad, Sladoje 2019, doi 10.1109/TIP.2019.2899947, arXiv 1807.11599: the
        alpha-cut point-to-set distance in its bidirectional form (a point's distance to the set
        and its complement's to the complement), with the integral over alpha by midpoints.
    """
    defined = np.ones(heights.shape[1:], bool) if mask is None else mask
    steps = np.floor(heights * levels + 0.5).astype(np.int64)
    channels = []
    for one in steps:
        to_cut, to_rest = [], []
        for level in range(1, levels + 1):
            to_cut.append(_distance_to((one >= level) & defined, most_pixels))
            to_rest.append(_distance_to((one < level) & defined, most_pixels))
        none = np.zeros((1, *one.shape), np.float32)
        up = np.concatenate([none, np.cumsum(to_cut, axis=0)])  # of the levels up to p
        down = np.concatenate([np.cumsum(to_rest[::-1], axis=0)[::-1], none])  # of those above
        channels.append((up + down) / levels)
    counted = defined.astype(np.float32) if weights is None else weights * defined
    return Grey(
        torch.from_numpy(steps),
        torch.from_numpy(np.stack(channels).astype(np.float32)),
        torch.from_numpy(counted.astype(np.float32)),
    )


def _distance_to(pixels: ArrayMask, most_pixels: float) -> Array:
    """From each pixel to the nearest of a set, saturated."""
    if not pixels.any():
        return np.full(pixels.shape, most_pixels, np.float32)
    far: Array = distance_transform_edt(~pixels).astype(np.float32)
    return np.minimum(far, np.float32(most_pixels))


def look_up(image: Grey, heights: Tensor, places: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """The distance from points to an image, its slope, and how much they count there.

    Args:
        image: what is looked up.
        heights: (channels, n): of each point, as :class:`Grey` counts them.
        places: (batch, n, 2): where the points lie in ``image``, as (row, column), in pixels.

    Returns:
        The distances (batch, n), bilinear between pixels and the mean of the channels; their
        slopes (batch, n, 2) along rows and columns; and the weights (batch, n) of the nearest
        pixel, zero outside the image.

    Source:
        Öfverstedt, Lindblad, Sladoje 2019, doi 10.1109/TIP.2019.2899947, arXiv 1807.11599.
    """
    channels, steps, height, width = image.distances.shape
    last = places.new_tensor([height - 1, width - 1])
    within = ((places >= -_SLACK) & (places <= last + _SLACK)).all(-1)
    places = places.clamp(min=torch.zeros_like(last), max=last)
    # The upper neighbour must exist on the last row and column too; of one pixel there is none.
    first = torch.minimum(places.floor(), (last - 1).clamp(min=0))
    (r, c), (row, column) = (places - first).unbind(-1), first.long().unbind(-1)
    down, right = (width if height > 1 else 0), (1 if width > 1 else 0)
    corner = row * width + column
    stack = torch.arange(channels)[:, None] * steps + heights
    flat = image.distances.flatten()
    value = slope_r = slope_c = torch.zeros_like(r)
    for offset in stack * (height * width):
        at = corner + offset
        a, b, d, e = (flat.take(at + step) for step in (0, right, down, down + right))
        upper, lower = a + c * (b - a), d + c * (e - d)
        value = value + upper + r * (lower - upper)
        slope_r = slope_r + lower - upper
        slope_c = slope_c + (b - a) + r * (e - d - b + a)
    nearest = places.round().long()
    weight = image.weights.flatten().take(nearest[..., 0] * width + nearest[..., 1]) * within
    return value / channels, torch.stack([slope_r, slope_c], -1) / channels, weight


def every_point(image: Grey) -> Sample:
    """All points of an image that count.

    Example:
        >>> dot = np.eye(2)[None]
        >>> every_point(grey(dot, None, dot[0], levels=1, most_pixels=9.0)).places.tolist()
        [[0.0, 0.0], [1.0, 1.0]]
    """
    height, width = image.weights.shape
    grid = torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij")
    weights = image.weights.flatten()
    counted = weights > 0
    places = torch.stack(grid, dim=-1).reshape(-1, 2)[counted].float()
    return Sample(places, image.heights.flatten(1)[:, counted], weights[counted])


def drawn(sample: Sample, count: int, *, generator: torch.Generator) -> Sample:
    """Some points, drawn in proportion to their weights, and alike from then on.

    The weight, in the points' order, is cut into ``count`` equal parts, and each gives one point:
    so they lie all over the image at every draw, and the mean of a draw varies less.

    Args:
        sample: all points.
        count: how many.
        generator: the source of randomness.

    Returns:
        The points, each with the same weight.

    Example:
        >>> points = every_point(grey(np.ones((1, 4, 4)), None, None, levels=1, most_pixels=4.0))
        >>> some = drawn(points, 5, generator=torch.Generator().manual_seed(0))
        >>> len(some.places), len(points.places)
        (5, 16)
    """
    total = sample.weights.double().cumsum(0)
    within = torch.rand(count, generator=generator, dtype=torch.float64)
    at = (torch.arange(count) + within) / count * total[-1]
    chosen = torch.searchsorted(total, at, right=True).clamp(max=len(total) - 1)
    return Sample(sample.places[chosen], sample.heights[:, chosen], torch.ones(count))


def mean_distance(sample: Sample, image: Grey, places: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """The average minimal distance from points to an image, where both are defined.

    Args:
        sample: the points, in their own image.
        image: to which the distance is measured.
        places: (batch, n, 2): where the points lie in ``image``.

    Returns:
        The mean distance (batch,), in pixels, weighted by the product of the weights at both
        ends, infinite where all products are zero; its slope with each place (batch, n, 2); and
        the part of the sample's weight that meets the image (batch,).

    Source:
        arXiv 1807.11599: the weighted asymmetric average minimal distance.
    """
    distances, slopes, weights = look_up(image, sample.heights, places)
    weights = weights * sample.weights
    total = weights.sum(dim=1)
    shares = weights / total.clamp(min=1e-12)[:, None]
    mean = (shares * distances).sum(dim=1)
    mean = mean.masked_fill(total == 0, torch.inf)
    met = (weights > 0).to(weights) @ sample.weights.to(weights) / sample.weights.sum()
    return mean, shares[..., None] * slopes, met
