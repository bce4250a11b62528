"""Fixed image filters: what is taken away before two representations are compared.

Each is isotropic, self-adjoint and commutes with quarter turns, so it can stand before a
similarity without breaking what the encoder guarantees. Two families have zero response to
constants: the *high-pass* filters, named by the cut-off where their response is one half
(:func:`gaussian_high_pass`, :func:`butterworth_high_pass`, :func:`ideal_high_pass`), and the
*band-pass* filters, named by the peak where it is one (:func:`difference_of_gaussians`,
:func:`laplacian_of_gaussian`). Frequencies are in cycles per pixel. What a high-pass takes away is
its complement; :func:`band_limit` is the sharp one. Gradients: :mod:`equicomir.differentials`.

A filter is applied in Fourier space, so its response is the declared one, to the last digit. It
says how far its border reaches, and up to what tolerance: losses look only further inside.
"""

import math
import numbers
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import lru_cache, partial
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from equicomir import responses
from equicomir.responses import Response
from equicomir.shapes import Images, Mask, check_tensor

_TRUNCATION = 3.5  # reach of the Gaussian, in standard deviations
_LEAK = 1e-3  # the tolerance that the reach of the other filters is chosen for

#: How an image goes on beyond its border: by its last pixel, or from the other side again.
Border = Literal["replicate", "periodic"]


#: The families of high-passes, each with its function.
HighPass = Literal["gaussian", "butterworth", "ideal"]


@dataclass(frozen=True)
class Filter:
    """A linear filter of images that is the same in every place and in every direction.

    Attributes:
        name: what it is, with its numbers; filters of one name are the same.
        response: from a tensor of frequencies |f|, in cycles per pixel, float64, to the factor by
            which each is multiplied.
        reach: how far the border reaches, in pixels. A pixel with at least so many others between
            it and what lies outside depends on the outside by no more than ``tolerance``.
        tolerance: the greatest change of such a pixel when all that lies outside is changed by at
            most one: the l1 norm of the kernel further than ``reach`` from its centre, in rows or
            in columns. Stated for an image that, with its continuation, is 512 pixels wide (for
            a cut-off or peak below 1/60 cycles per pixel: 8.5 / frequency).

    Example:
        >>> x = torch.rand(1, 1, 32, 32, dtype=torch.float64)
        >>> high = gaussian_high_pass(0.1)
        >>> torch.allclose(high(x) + high.complement()(x), x)
        True
    """

    name: str
    response: Response = field(repr=False, compare=False)
    reach: int
    tolerance: float

    def __call__(self, images: Images, *, border: Border = "replicate") -> Images:
        """Filter images.

        Args:
            images: shape (batch, channels, height, width), finite: in Fourier space one NaN is
                everywhere. Half precision is computed in float32.
            border: ``"replicate"`` continues by the last pixel over ``reach``; ``"periodic"``
                joins opposite borders, which pads nothing and is exact.

        Returns:
            The same shape and type.

        Raises:
            TypeError, ValueError: not such a tensor, or another border.
        """
        check_tensor("images", images, "batch channels height width")
        if border not in ("replicate", "periodic"):
            raise ValueError(f"border: expected 'replicate' or 'periodic', got {border!r}.")
        margin = self.reach if border == "replicate" else 0
        wide = images if images.dtype == torch.float64 else images.float()
        if margin:
            wide = F.pad(wide, (margin, margin, margin, margin), mode="replicate")
        height, width = wide.shape[-2:]
        factors = self.response(responses.frequencies(height, width)).to(wide)
        filtered: Tensor = torch.fft.irfft2(torch.fft.rfft2(wide) * factors, s=(height, width))
        inside = filtered[..., margin : height - margin, margin : width - margin]
        return inside.to(images.dtype)

    def complement(self) -> "Filter":
        """What this filter takes away: the two together are the identity.

        Example:
            >>> gaussian_high_pass(0.1).complement().name
            'identity less gaussian_high_pass(0.1)'
        """
        return Filter(
            f"identity less {self.name}",
            partial(responses.complement, self.response),
            self.reach,
            self.tolerance,
        )


# ------------------------------------------------------------------------------ high-pass


def gaussian_high_pass(cutoff: float) -> Filter:
    """Identity less a Gaussian blur: response 1 - 2^(-(f / cutoff)^2), without ringing.

    Its reach is :func:`reach`, 3.5 standard deviations; the tolerance is 1.3e-3 at most for
    cut-offs up to 0.15. Above, the blur is narrower than a pixel, and the tolerance grows to 0.13.

    Args:
        cutoff: in cycles per pixel, in (0, 0.5].

    Raises:
        TypeError, ValueError: ``cutoff`` is not such a number.

    Example:
        >>> float(gaussian_high_pass(0.1).response(torch.tensor(0.1)))
        0.5
    """
    return _gaussian_high_pass(_checked("cutoff", cutoff))


def butterworth_high_pass(cutoff: float, order: int = 2) -> Filter:
    """Response 1 - 1 / (1 + (f / cutoff)^(2 order)): steeper than the Gaussian, some ringing.

    This is the squared gain of the electrical filter, so that it is one half, not -3 dB, at the
    cut-off, and that high-pass and low-pass add up to one.

    Args:
        cutoff: in cycles per pixel, in (0, 0.5].
        order: 1 or more; the steeper, the further it reaches.

    Returns:
        The filter.

    Raises:
        TypeError, ValueError: ``cutoff`` or ``order`` is not such a number.

    Example:
        >>> float(butterworth_high_pass(0.1).response(torch.tensor(0.1)))
        0.5

    Source:
        S. Butterworth, On the theory of filter amplifiers, Wireless Engineer 7, 1930.
    """
    cutoff = _checked("cutoff", cutoff)
    if isinstance(order, bool) or not isinstance(order, int):
        raise TypeError(f"order: expected a whole number, got {type(order).__name__}.")
    if order < 1:
        raise ValueError(f"order: expected 1 or more, got {order}.")
    name = f"butterworth_high_pass({cutoff}, order={order})"
    return _designed(name, partial(responses.butterworth, cutoff=cutoff, order=order), cutoff)


def ideal_high_pass(cutoff: float) -> Filter:
    """Keep what is above the cut-off, drop what is below, and half of what is exactly at it.

    Its kernel falls as r^(-3/2), too slowly for a finite l1 norm in the plane: **no reach makes
    its border harmless in the worst case**. Reach is set to two periods of the cut-off. The
    tolerance, above one, is that of a 512 pixel image and grows as the square root of its side;
    independent noise outside, of standard deviation one, enters with one of 0.4 cutoff at most.
    Where the border matters take another filter.

    Args:
        cutoff: in cycles per pixel, in (0, 0.5].

    Raises:
        TypeError, ValueError: ``cutoff`` is not such a number.

    Example:
        >>> ideal_high_pass(0.25).response(torch.tensor([0.24, 0.25, 0.26])).tolist()
        [0.0, 0.5, 1.0]
    """
    cutoff = _checked("cutoff", cutoff)
    response = partial(responses.step, cutoff=cutoff)
    return _designed(f"ideal_high_pass({cutoff})", response, cutoff, periods=2)


def band_limit(cutoff: float) -> Filter:
    """Drop what is above the cut-off: the complement of :func:`ideal_high_pass`.

    With periodic borders nothing above the cut-off is left. For a low-pass without ringing take
    ``gaussian_high_pass(cutoff).complement()``.

    Args:
        cutoff: in cycles per pixel, in (0, 0.5].

    Raises:
        TypeError, ValueError: ``cutoff`` is not such a number.

    Example:
        >>> band_limit(0.25).response(torch.tensor([0.24, 0.25, 0.26])).tolist()
        [1.0, 0.5, 0.0]
    """
    return ideal_high_pass(cutoff).complement()


# ------------------------------------------------------------------------------ band-pass


def difference_of_gaussians(peak: float, ratio: float = 1.6) -> Filter:
    """A narrow Gaussian blur less a wide one, scaled to response one at its peak.

    Args:
        peak: the frequency of greatest response, in cycles per pixel, in (0, 0.5].
        ratio: wide over narrow standard deviation, above 1; at 1.6 nearly the Laplacian of
            Gaussian, the greater the broader the band.

    Returns:
        The filter.

    Raises:
        TypeError, ValueError: ``peak`` or ``ratio`` is not such a number.

    Example:
        >>> round(float(difference_of_gaussians(0.1).response(torch.tensor(0.1))), 6)
        1.0

    Source:
        Marr and Hildreth 1980, doi 10.1098/rspb.1980.0020.
    """
    peak = _checked("peak", peak)
    if isinstance(ratio, bool) or not isinstance(ratio, numbers.Real):
        raise TypeError(f"ratio: expected a number, got {type(ratio).__name__}.")
    if not 1 < ratio < math.inf:
        raise ValueError(f"ratio: expected more than 1, got {ratio}.")
    response = partial(responses.two_gaussians, peak=peak, ratio=float(ratio))
    return _designed(f"difference_of_gaussians({peak}, ratio={float(ratio)})", response, peak)


def laplacian_of_gaussian(peak: float) -> Filter:
    """The negative Laplacian of a Gaussian blur, scaled: response (f/p)^2 e^(1 - (f/p)^2).

    The standard deviation of the blur is 1 / (sqrt(2) pi peak) pixels. Bright blobs are positive.

    Args:
        peak: p, the frequency of greatest response, in cycles per pixel, in (0, 0.5].

    Raises:
        TypeError, ValueError: ``peak`` is not such a number.

    Example:
        >>> float(laplacian_of_gaussian(0.1).response(torch.tensor(0.1)))
        1.0

    Source:
        Marr and Hildreth 1980, doi 10.1098/rspb.1980.0020.
    """
    peak = _checked("peak", peak)
    return _designed(
        f"laplacian_of_gaussian({peak})", partial(responses.laplacian, peak=peak), peak
    )


# ------------------------------------------------------- the Gaussian high-pass, by its cut-off


def gaussian_sigma(cutoff: float) -> float:
    """Standard deviation, in pixels, of the Gaussian whose response at ``cutoff`` is one half.

    The response at frequency f is exp(-2 (pi sigma f)^2).

    Args:
        cutoff: in cycles per pixel, in (0, 0.5].

    Raises:
        TypeError, ValueError: ``cutoff`` is not such a number.

    Example:
        >>> sigma = gaussian_sigma(0.1)
        >>> round(math.exp(-2 * (math.pi * sigma * 0.1) ** 2), 12)
        0.5
    """
    return math.sqrt(math.log(2) / 2) / (math.pi * _checked("cutoff", cutoff))


def reach(cutoff: float) -> int:
    """How many pixels from the border :func:`high_pass` is touched by what lies outside.

    Example:
        >>> reach(0.1)
        7
    """
    return math.ceil(_TRUNCATION * gaussian_sigma(cutoff))


def high_pass(images: Images, cutoff: float) -> Images:
    """Remove slow variation: :func:`gaussian_high_pass` of the cut-off, applied.

    Args:
        images: shape (batch, channels, height, width).
        cutoff: frequency, in cycles per pixel, in (0, 0.5], where the response is one half.

    Returns:
        Shape (batch, channels, height, width).

    Raises:
        TypeError, ValueError: not such a tensor, or ``cutoff`` outside its range.

    Example:
        >>> x = torch.rand(1, 1, 32, 32, dtype=torch.float64)
        >>> torch.allclose(high_pass(x + 3, 0.1), high_pass(x, 0.1))
        True
    """
    return gaussian_high_pass(cutoff)(images)


def high_pass_of(family: HighPass, cutoff: float) -> Filter:
    """A high-pass by the name of its family.

    Args:
        family: one of :data:`HighPass`.
        cutoff: in cycles per pixel, in (0, 0.5].

    Returns:
        The filter.

    Raises:
        TypeError, ValueError: there is no such family or cut-off.

    Example:
        >>> high_pass_of("gaussian", 0.1) == gaussian_high_pass(0.1)
        True
    """
    make: dict[str, Callable[[float], Filter]] = {
        "gaussian": gaussian_high_pass,
        "butterworth": butterworth_high_pass,
        "ideal": ideal_high_pass,
    }
    if family not in make:
        raise ValueError(f"family: expected one of {', '.join(make)}, got {family!r}.")
    return make[family](cutoff)


def disk_mask(size: int, radius: float) -> Mask:
    """The disk about the centre of a square image: what every rotation maps onto itself.

    Args:
        size: height and width of the image, in pixels.
        radius: in pixels; at most ``(size - 1) / 2`` for the disk to lie inside.

    Returns:
        Boolean tensor (size, size).

    Raises:
        ValueError: the disk would be empty.

    Example:
        >>> mask = disk_mask(9, 3)
        >>> torch.equal(mask, torch.rot90(mask))
        True
    """
    offsets = torch.arange(size, dtype=torch.float64) - (size - 1) / 2
    mask: Tensor = offsets[:, None] ** 2 + offsets[None, :] ** 2 <= radius**2
    if not mask.any():
        raise ValueError(f"radius: expected a disk with at least one pixel, got {radius}.")
    return mask


# -------------------------------------------------------------------- how far a filter reaches


def _checked(name: str, frequency: float) -> float:
    """Refuse what is no frequency of an image."""
    if isinstance(frequency, bool) or not isinstance(frequency, numbers.Real):
        came = type(frequency).__name__
        raise TypeError(f"{name}: expected a number, in cycles per pixel, got {came}.")
    if not 0 < frequency <= 0.5:
        raise ValueError(f"{name}: expected cycles per pixel in (0, 0.5], got {frequency}.")
    return float(frequency)


@lru_cache(maxsize=64)  # high_pass is called in every training step
def _gaussian_high_pass(cutoff: float) -> Filter:
    response, far = partial(responses.gaussian, cutoff=cutoff), reach(cutoff)
    tolerance = responses.leaks(response, cutoff).beyond(far)
    return Filter(f"gaussian_high_pass({cutoff})", response, far, tolerance)


def _designed(name: str, response: Response, frequency: float, periods: int = 4) -> Filter:
    """The filter whose reach keeps the leak below 1e-3, but is so many periods at most."""
    leaks = responses.leaks(response, frequency)
    far = min(leaks.depth(_LEAK), math.ceil(periods / frequency))
    return Filter(name, response, far, leaks.beyond(far))
