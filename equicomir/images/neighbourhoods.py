"""Layers that ask what else is near a pixel: how mixed its surroundings are, how far an edge is.

No filter can make them. See :mod:`equicomir.images.layers` for what a layer is.
"""

import math
import numbers
from functools import partial

import torch
import torch.nn.functional as F
from scipy.ndimage import distance_transform_edt
from torch import Tensor

from equicomir.filters import disk_mask
from equicomir.images.layers import Layer, gradient_magnitude

_LEAST_SHARE = 1e-12  # of a histogram: where the slope of the entropy ends, which is infinite at 0


def local_entropy(radius: int = 5, bins: int = 16) -> Layer:
    """The entropy of the intensities in a disk, a scalar in [0, 1]: texture, however bright.

    The histogram has ``bins`` equidistant centres from 0 to 1; an intensity between two of them
    is shared linearly, so the layer is continuous and has a slope. The entropy that the sharing
    alone would make is taken away, so that a constant is 0 at any brightness: what is left is the
    information that a pixel's place in the disk gives about its bin. For images of such centres
    only, it is Shannon's entropy, equal to ``skimage.filters.rank.entropy``. Intensities outside
    [0, 1] count as the nearest end; what lies outside the image does not count.

    Args:
        radius: of the disk, in pixels, 1 or more.
        bins: 2 or more; few, for a disk of radius 5 has 81 pixels.

    Returns:
        The layer, of frequency 0: the entropy over the greatest possible one, log(bins).

    Raises:
        ValueError: ``radius`` or ``bins`` is not such a number.

    Example:
        Half dark, half bright: one bit, of the four that 16 bins can hold.

        >>> halves = (torch.arange(8) % 2).double().view(1, 1, 1, 8).expand(1, 1, 8, 8)
        >>> round(float(local_entropy(4)(halves)[0, 0, 0].mean()), 2)
        0.25
    """
    radius, bins = _whole("radius", radius, 1), _whole("bins", bins, 2)
    function = partial(_entropy, radius=radius, bins=bins)
    return Layer(f"local_entropy({radius}, bins={bins})", (0,), radius, function)


def edge_distance(sigma: float = 1.5, threshold: float = 0.15, farthest: int = 16) -> Layer:
    """The distance to the nearest edge, a scalar in [0, 1]: 0 on edges, 1 from ``farthest`` on.

    A pixel is on an edge where :func:`equicomir.images.layers.gradient_magnitude` exceeds the
    threshold. That commutes with quarter turns exactly, which Canny's edges, thinned and linked,
    do not always; and a threshold in units of the image, rather than a quantile of its gradients,
    gives a patch the edges of the whole image (but for magnitudes within the blur's tolerance
    of the threshold). Computed in float64. **No gradient flows through it.**

    Args:
        sigma: standard deviation of the blur before the gradient, in pixels, at least 0.75.
        threshold: in heights of a step, positive: with 0.15, a sharp step from 0.4 to 0.6 is an
            edge.
        farthest: in pixels, 1 or more; also the value of an image without edges.

    Returns:
        The layer, of frequency 0.

    Raises:
        TypeError, ValueError: an argument is not such a number.

    Example:
        >>> edge_distance(farthest=4)(torch.ones(1, 1, 3, 3)).unique().tolist()
        [1.0]

    Source:
        The distance transform of SciPy; Maurer, Qi, Raghavan 2003, doi 10.1109/TPAMI.2003.1177156.
    """
    magnitude, farthest = gradient_magnitude(sigma), _whole("farthest", farthest, 1)
    if not 0 < threshold < math.inf:
        raise ValueError(f"threshold: expected a positive number, got {threshold}.")
    name = f"edge_distance({float(sigma)}, threshold={float(threshold)}, farthest={farthest})"
    function = partial(_distance, magnitude=magnitude, threshold=threshold, farthest=farthest)
    return Layer(name, (0,), magnitude.reach + farthest, function)


def _entropy(images: Tensor, radius: int, bins: int) -> Tensor:
    wide = images if images.dtype == torch.float64 else images.float()
    places = wide.clamp(0, 1) * (bins - 1)
    disk = disk_mask(2 * radius + 1, radius).to(places)[None, None]
    inside = F.conv2d(torch.ones_like(places[:1, :1]), disk, padding=radius)

    def mean(pixels: Tensor) -> Tensor:
        sums = F.conv2d(pixels.flatten(0, 1)[:, None], disk, padding=radius)
        return (sums / inside).view_as(pixels)

    of_disks, of_pixels = torch.zeros_like(places), torch.zeros_like(places)
    for centre in range(bins):  # one at a time: memory of one image, not of as many as bins
        shares = (1 - (places - centre).abs()).clamp(min=0)
        of_pixels = of_pixels + _surprise(shares)
        of_disks = of_disks + _surprise(mean(shares))
    # Never negative, but for rounding: the logarithm is concave.
    return (of_disks - mean(of_pixels)).clamp(min=0) / math.log(bins)


def _surprise(share: Tensor) -> Tensor:
    """-p log p."""
    return -share * share.clamp(min=_LEAST_SHARE).log()


def _distance(images: Tensor, magnitude: Layer, threshold: float, farthest: int) -> Tensor:
    edges = (magnitude(images.detach().double()) > threshold).flatten(0, 1).cpu().numpy()
    nearest = torch.full(edges.shape, float(farthest), dtype=torch.float64)
    for index, edge in enumerate(edges):
        if edge.any():
            nearest[index] = torch.from_numpy(distance_transform_edt(~edge))
    return (nearest.clamp(max=farthest) / farthest).view(images.shape).to(images)


def _whole(name: str, number: int, least: int) -> int:
    if isinstance(number, bool) or not isinstance(number, numbers.Integral) or number < least:
        raise ValueError(f"{name}: expected a whole number, {least} or more, got {number!r}.")
    return int(number)
