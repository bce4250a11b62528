"""Coherence of two images: how much of their fine structure is one linear filter apart.

Correlation is ruled by coarse structure, which is by far the strongest, and by the filter between
the two images. Coherence looks at each frequency by itself and is not changed by any filter: it
asks whether the one could be computed from the other there, and noise could not.
"""

import math
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from equicomir.evaluation.aligned import Masks, aligned, check_channels, eroded
from equicomir.responses import frequencies
from equicomir.shapes import Image, Images

#: Fine structure lies above this frequency, in cycles per pixel, and up to Nyquist, one half.
FINE = 0.25
#: Height and width of a segment, in pixels: its bins lie 1/32 cycles per pixel apart.
SEGMENT = 32

_OVERLAP = 1 / 36  # squared correlation of noise under two windows half a segment apart


def coherence(
    first: Images | Image,
    second: Images | Image,
    mask: Masks | None = None,
    *,
    segment_pixels: int = SEGMENT,
) -> tuple[float, float]:
    """How much of the fine structure of two images is one linear filter apart: 0 none, 1 all.

    |S_ab|^2 / (S_aa S_bb), in every bin of the discrete spectrum with a frequency |f| above 0.25
    and at most 0.5 cycles per pixel, averaged over the bins alike. The spectrum's corners beyond
    0.5 are left out: no image keeps them when it is turned, and so all directions count as far.

    Spectra are means over segments half a segment apart, under a Hann window, and over the images
    of the batch; a segment that touches what is masked is skipped. Before, the Laplacian of four
    neighbours is taken: a filter of both images changes no coherence, but coarse structure, by
    far the strongest, would leak through the window. Gain and offset of the whole batch change
    nothing either, and filters that are short beside a segment change little.

    Coherence of n independent segments is 1/n on average where the truth is 0, identically 1 for
    a single one, and gamma + (1 - gamma)^2 / n where the truth is gamma. It is not corrected: this
    *floor*, for segments that overlap as these do, is given beside it. Pool a batch to lower it.

    Args:
        first: shape (batch, channels, height, width) or (channels, height, width).
        second: of that shape; or one of the two has a single channel, which is compared with each
            of the other's. Channels are compared with their own alike, and weigh as the energy of
            their fine structure, geometric mean of the two: a channel without any says nothing.
        mask: boolean (height, width) or (batch, height, width); if None, all is valid.
        segment_pixels: height and width of a segment, even, 8 or more.

    Returns:
        The coherence, in [0, 1], and its floor. Where one has no fine structure at all, it is 0.

    Raises:
        TypeError, ValueError: not such arguments, or fewer than two segments in the valid region.

    Example:
        >>> x = torch.rand(1, 80, 80, generator=torch.Generator().manual_seed(0))
        >>> value, floor = coherence(x, 3 - 2 * x)
        >>> round(value, 6), round(floor, 2)
        (1.0, 0.12)

    Source:
        Averages over segments: Welch 1967, doi 10.1109/TAU.1967.1161901; bias: Carter, Knapp,
        Nuttall 1973, doi 10.1109/TAU.1973.1162496.
    """
    (first, second), inside = aligned(mask, first=first, second=second)
    check_channels(first, second)
    pixels = _checked_segment(segment_pixels)
    fits = _segments(eroded(inside, 1)[:, 1:-1, 1:-1], pixels).flatten(3).all(3)
    count = int(fits.sum())
    if count < 2:
        raise ValueError(
            f"mask: expected a valid region that holds two or more segments of {pixels} x {pixels} "
            f"pixels with one more around them, got {count} in {len(inside)} images of "
            f"{inside.shape[1]} x {inside.shape[2]}; give more or larger images, or a smaller "
            f"segment_pixels."
        )
    return _mean_coherence(first, second, fits, pixels), _floor(fits)


def _checked_segment(pixels: object) -> int:
    if isinstance(pixels, bool) or not isinstance(pixels, int):
        came = type(pixels).__name__
        raise TypeError(f"segment_pixels: expected a whole number, got {came}; take {SEGMENT}.")
    if pixels < 8 or pixels % 2:
        nearest = max(8, pixels + pixels % 2)
        raise ValueError(
            f"segment_pixels: expected an even number, 8 or more, got {pixels}; take {nearest}."
        )
    return pixels


def _mean_coherence(first: Images, second: Images, fits: Tensor, pixels: int) -> float:
    powers: list[Any] = [0.0, 0.0]
    cross: Any = 0.0
    for fit, *pair in zip(fits, first, second, strict=True):  # image by image, to save memory
        spectra = [_spectra(image, fit, pixels) for image in pair]
        powers = [p + s.abs().square().sum(0) for p, s in zip(powers, spectra, strict=True)]
        cross = cross + (spectra[0].conj() * spectra[1]).sum(0)
    radius = frequencies(pixels, pixels)
    bins = ((radius > FINE) & (radius <= 0.5)).double()
    bins[:, 1:-1] *= 2  # the half plane that a real transform leaves out
    scale = powers[0].sqrt() * powers[1].sqrt()
    squared = torch.where(scale > 0, cross.abs() / scale, 0).square().clamp(max=1)
    of_channels = (squared * bins).sum((-2, -1)) / bins.sum()
    weights = math.prod((power * bins).sum((-2, -1)).sqrt() for power in powers)
    total = float(weights.sum())
    return float((of_channels * weights).sum()) / total if total else 0.0


def _floor(fits: Tensor) -> float:
    """Mean coherence of independent white noise: 1 / segments, and more as they overlap."""
    grid = fits.double()
    kernel = torch.tensor([_OVERLAP, 1, _OVERLAP], dtype=torch.float64)
    shared = F.conv2d(grid[:, None], torch.outer(kernel, kernel)[None, None], padding=1)[:, 0]
    return float((grid * shared).sum() / grid.sum().square())


def _spectra(image: Image, fit: Tensor, pixels: int) -> Tensor:
    """Of each segment that fits, (segments, channels, rows, half of columns)."""
    inner = image[:, 1:-1, 1:-1]
    rows = image[:, :-2, 1:-1] + image[:, 2:, 1:-1]
    columns = image[:, 1:-1, :-2] + image[:, 1:-1, 2:]
    cut = _segments((rows + columns) - 4 * inner, pixels).movedim(0, 2)[fit]
    # Between the samples' centres, so that the window is its own mirror image.
    along = torch.arange(pixels, dtype=torch.float64) + 0.5
    window = torch.sin(math.pi * along / pixels).square()
    spectra: Tensor = torch.fft.rfft2(cut * torch.outer(window, window))
    return spectra


def _segments(images: Tensor, pixels: int) -> Tensor:
    """Squares half their size apart, what is left over shared by opposite borders."""
    for axis in (1, 2):
        rest = images.shape[axis] - pixels
        if rest < 0:
            return images.new_zeros(images.shape[0], 0, 0, pixels, pixels)
        step = pixels // 2
        start = rest % step // 2
        images = images.narrow(axis, start, rest - rest % step + pixels)
    return images.unfold(1, pixels, step).unfold(2, pixels, step)
