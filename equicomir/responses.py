"""Responses of isotropic filters to frequency, and how far the kernels behind them reach.

A response is a function of |f|, in cycles per pixel; the filter multiplies each Fourier
coefficient by it. All are functions of a module, bound by ``functools.partial``, so that a filter
can be pickled and copied. :func:`leaks` measures what a response means in space.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

#: From frequencies |f|, in cycles per pixel, to the factor of each.
Response = Callable[[Tensor], Tensor]

_PLANE = 512  # samples a side of the torus on which kernels are measured
_FINEST = 1 / 60  # slower kernels are this one stretched: four of its periods fit half the torus


def gaussian(f: Tensor, cutoff: float) -> Tensor:
    """1 - 2^(-(f / cutoff)^2)."""
    return 1 - torch.exp2(-((f / cutoff) ** 2))


def butterworth(f: Tensor, cutoff: float, order: int) -> Tensor:
    """1 - 1 / (1 + (f / cutoff)^(2 order)).

    Args:
        f: frequencies, in cycles per pixel.
        cutoff: where it is one half.
        order: the steeper, the greater.

    Returns:
        The response at each.
    """
    return 1 - 1 / (1 + (f / cutoff) ** (2 * order))


def step(f: Tensor, cutoff: float) -> Tensor:
    """0 below the cut-off, 1 above, 1/2 at it: within 1e-9, as frequencies are rounded.

    Args:
        f: frequencies, in cycles per pixel.
        cutoff: likewise.

    Returns:
        The response at each.
    """
    above = f - cutoff
    return torch.where(above.abs() <= 1e-9, 0.5, (above > 0).to(f.dtype))


def two_gaussians(f: Tensor, peak: float, ratio: float) -> Tensor:
    """The narrow blur less the wide one, whose standard deviation is ``ratio`` times as great.

    Their difference e^-a - e^-(ratio^2 a), at a = narrow (f / peak)^2, is greatest at a = narrow.

    Args:
        f: frequencies, in cycles per pixel.
        peak: where it is one.
        ratio: above 1.

    Returns:
        The response at each.
    """
    narrow = 2 * math.log(ratio) / (ratio**2 - 1)
    wide = ratio**2 * narrow
    greatest = math.exp(-narrow) - math.exp(-wide)
    squared = (f / peak) ** 2
    return (torch.exp(-narrow * squared) - torch.exp(-wide * squared)) / greatest


def laplacian(f: Tensor, peak: float) -> Tensor:
    """(f / peak)^2 e^(1 - (f / peak)^2).

    Args:
        f: frequencies, in cycles per pixel.
        peak: where it is one.

    Returns:
        The response at each.
    """
    squared = (f / peak) ** 2
    return squared * torch.exp(1 - squared)


def complement(response: Response, f: Tensor) -> Tensor:
    """1 - response."""
    return 1 - response(f)


def frequencies(height: int, width: int) -> Tensor:
    """|f| of every coefficient of ``torch.fft.rfft2``.

    Args:
        height: of the image, in pixels.
        width: likewise.

    Returns:
        Shape (height, width // 2 + 1), in cycles per pixel, float64.

    Example:
        >>> frequencies(4, 4)[:, 0].tolist()
        [0.0, 0.25, 0.5, 0.25]
    """
    rows = torch.fft.fftfreq(height, dtype=torch.float64)
    columns = torch.fft.rfftfreq(width, dtype=torch.float64)
    return torch.hypot(rows[:, None], columns[None, :])


@dataclass(frozen=True)
class Leaks:
    """What of a kernel lies far from its centre.

    Attributes:
        norms: its l1 norm further than 0, 1, 2, ... samples from its centre, in rows or columns.
        stretch: pixels a sample.
    """

    norms: Tensor
    stretch: float

    def beyond(self, pixels: int) -> float:
        """The l1 norm further than so many pixels."""
        return float(self.norms[int((pixels + 0.5) / self.stretch - 0.5)])

    def depth(self, tolerance: float) -> int:
        """The fewest pixels beyond which the l1 norm is at most the tolerance."""
        samples = int((self.norms > tolerance).sum())  # the norms never rise
        return math.ceil((samples + 0.5) * self.stretch - 0.5)


def leaks(response: Response, frequency: float) -> Leaks:
    """Measure the kernel of a response, on a torus of 512 samples a side.

    Args:
        response: whose kernel.
        frequency: its cut-off or peak. From 1/60 cycles per pixel a sample is a pixel. The kernel
            of a lower one is wide and smooth: it is sampled so that it is as wide as that of 1/60.

    Returns:
        How much of the kernel lies beyond each distance.

    Example:
        >>> leaks(torch.ones_like, 0.1).beyond(0) < 1e-12  # the identity reaches nowhere
        True
    """
    stretch = max(1.0, _FINEST / frequency)
    kernel = torch.fft.irfft2(response(frequencies(_PLANE, _PLANE) / stretch), s=(_PLANE, _PLANE))
    offsets = (torch.fft.fftfreq(_PLANE) * _PLANE).abs().round().long()
    rings = torch.maximum(offsets[:, None], offsets[None, :])
    sums = torch.bincount(rings.flatten(), weights=kernel.abs().flatten())
    return Leaks(sums.flip(0).cumsum(0).flip(0)[1:], stretch)
