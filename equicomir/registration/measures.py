"""Measures of agreement that follow from sums over the overlap, and the two ways of summing.

Normalised cross-correlation and every kind of mutual information here are the same thing: a few
channels are made of each image, products of a fixed and a moving channel are added up where both
images are, and a score follows from the sums. So the sums are taken here, once for all measures:

- :func:`sums_at_all_lags`, at every whole-pixel translation at once, in Fourier space;
- :func:`sums_at_points`, over points of the fixed image at which the moving one is interpolated.

Since all sums are of the overlap alone, masks need no special case.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import scipy.fft
import torch
import torch.nn.functional as F
from torch import Tensor

from equicomir.shapes import Array, ArrayMask


@dataclass(frozen=True)
class Measure:
    """A measure of agreement that follows from sums over the overlap.

    Attributes:
        content: from an image (channels, height, width) and its mask (1, height, width), that
            which is turned and interpolated, likewise; asked again after it was shrunk.
        channels: from contents (..., channels, height, width) the channels of the sums, likewise.
            What is outside the mask is taken away after it, and the mask put before, as channel 0.
        sums: for each sum, the pairs (fixed channel, moving channel) whose products it adds up;
            the first is the overlap, ``[(0, 0)]``.
        score: from the sums, along the first axis, the score; higher is better.
        coarsest_side: the shorter side at the coarsest scale is at least this, in pixels.
        kept_energy: at the coarsest scale an image still has this fraction of its variance, in
            [0, 1).
        quick: a cheaper measure of the same contents, by which the starts are chosen; itself if
            None.
    """

    content: Callable[[Tensor, Tensor], Tensor]
    channels: Callable[[Tensor], Tensor]
    sums: Sequence[Sequence[tuple[int, int]]]
    score: Callable[[Tensor], Tensor]
    coarsest_side: int = 32
    kept_energy: float = 0.0
    quick: "Measure | None" = None


@dataclass(frozen=True)
class View:
    """One image as a measure looks at it."""

    content: Tensor  # (channels, height, width), float64, zero outside the mask
    mask: Tensor  # (1, height, width), one inside, zero outside


def view(measure: Measure, image: Array, mask: ArrayMask | None) -> View:
    """An image (channels, height, width) and its mask (None for everywhere), for a measure."""
    x = torch.from_numpy(np.ascontiguousarray(image))
    inside = torch.ones_like(x[:1]) if mask is None else torch.from_numpy(mask)[None].to(x)
    return View(measure.content(x, inside), inside)


def shrunk(measure: Measure, image: View, factor: int) -> View:
    """The mean over blocks; one counts as inside where at least half of it is.

    The pixel p of it lies at ``factor * p + (factor - 1) / 2`` of the image.
    """
    if factor == 1:
        return image
    content, weight = F.avg_pool2d(image.content, factor), F.avg_pool2d(image.mask, factor)
    inside = (weight >= 0.5).to(content)
    content = content / weight.clamp(min=1e-6) * inside
    return View(measure.content(content, inside), inside)


def kept_energy(image: View, factor: int) -> float:
    """The fraction of its variance that an image keeps when it is shrunk, in [0, 1]."""
    inside = image.mask.bool()[0]
    centred = image.content - image.content[:, inside].mean(1)[:, None, None]
    before = (centred * image.mask).square().mean()
    after = F.avg_pool2d(centred * image.mask, factor).square().mean()
    return float(after / before.clamp(min=1e-300))


def masked_channels(measure: Measure, content: Tensor, inside: Tensor) -> Tensor:
    """What enters the sums: the mask, and a measure's channels inside it.

    Args:
        measure: of agreement.
        content: (..., channels, height, width).
        inside: (..., 1, height, width), one inside, zero outside.

    Returns:
        (..., 1 + channels of the measure, height, width).
    """
    return torch.cat([inside, measure.channels(content) * inside], dim=-3)


def sums_at_all_lags(
    measure: Measure,
    fixed: Tensor,
    moving: Tensor,
    lags: tuple[int, int],
    origin: tuple[int, int] = (0, 0),
) -> Tensor:
    """The sums that a measure asks for, at every whole-pixel translation at once.

    Args:
        measure: of agreement.
        fixed: (channels, height, width), as :func:`masked_channels` makes them.
        moving: likewise, (batch, channels, rows, columns); zero beyond.
        lags: how many translations along rows and along columns.
        origin: (row, column) at which the first pixel of ``moving`` lies.

    Returns:
        (sums, batch, *lags): at lag (i, j), of products of the fixed pixel (r, c) and the moving
        one at (r + i, c + j).

    Example:
        >>> ones = torch.ones(1, 2, 2)
        >>> plain = Measure(lambda x, _: x, lambda x: x[:0], [[(0, 0)]], lambda sums: sums[0])
        >>> sums_at_all_lags(plain, ones, F.pad(ones, (1, 1, 1, 1))[None], (3, 3)).round()[0, 0]
        tensor([[1., 2., 1.],
                [2., 4., 2.],
                [1., 2., 1.]])

    Source:
        Padfield 2012, doi 10.1109/TIP.2011.2181402, section II; Öfverstedt, Lindblad, Sladoje
        2022, arXiv 2106.14699, section III.
    """
    size = [
        int(scipy.fft.next_fast_len(max(f + m - 1, lag), real=True))
        for f, m, lag in zip(fixed.shape[-2:], moving.shape[-2:], lags, strict=True)
    ]
    # Lags before the first come back from the other end, which the padding has kept free.
    rows, columns = (
        (torch.arange(lag) - start) % n for lag, start, n in zip(lags, origin, size, strict=True)
    )
    f = torch.fft.rfft2(fixed, s=size).conj().resolve_conj()
    m = torch.fft.rfft2(moving, s=size).movedim(1, 0)
    total = moving.new_empty(len(measure.sums), len(moving), *lags)
    for number, pairs in enumerate(measure.sums):
        spectrum = f[pairs[0][0]] * m[pairs[0][1]]
        for i, j in pairs[1:]:
            spectrum += f[i] * m[j]
        every = torch.fft.irfft2(spectrum, s=size)
        total[number] = every.index_select(-2, rows).index_select(-1, columns)
    return total


def sums_at_points(measure: Measure, fixed: Tensor, moving: Tensor) -> Tensor:
    """The same sums over points.

    Args:
        measure: of agreement.
        fixed: (channels, 1, points), as :func:`masked_channels` makes them.
        moving: likewise, at the same points.

    Returns:
        (sums,).
    """
    products = fixed[:, 0] @ moving[:, 0].T
    pairs = [(n, i, j) for n, added in enumerate(measure.sums) for i, j in added]
    which, i, j = torch.tensor(pairs).T
    return products.new_zeros(len(measure.sums)).index_add(0, which, products[i, j])
