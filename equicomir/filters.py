"""Fixed image filters: what is taken away before two representations are compared.

Each is isotropic, has zero response to constants and commutes with quarter turns exactly, so it
can stand before a similarity without breaking what the encoder guarantees. A filter says in
:func:`reach` how far its border reaches: losses look only further inside than that.
"""

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from equicomir.shapes import Images, Mask, check_tensor

_TRUNCATION = 3.5  # kernel radius in standard deviations; what is cut off is below 5e-4


def gaussian_sigma(cutoff: float) -> float:
    """Standard deviation, in pixels, of the Gaussian whose response at ``cutoff`` is one half.

    The response at frequency f is exp(-2 (pi sigma f)^2).

    Args:
        cutoff: in cycles per pixel, in (0, 0.5].

    Raises:
        ValueError: ``cutoff`` is outside that range.

    Example:
        >>> sigma = gaussian_sigma(0.1)
        >>> round(math.exp(-2 * (math.pi * sigma * 0.1) ** 2), 12)
        0.5
    """
    if not 0 < cutoff <= 0.5:
        raise ValueError(f"cutoff: expected cycles per pixel in (0, 0.5], got {cutoff}.")
    return math.sqrt(math.log(2) / 2) / (math.pi * cutoff)


def reach(cutoff: float) -> int:
    """How many pixels from the border :func:`high_pass` is touched by what lies outside.

    Example:
        >>> reach(0.1)
        7
    """
    return math.ceil(_TRUNCATION * gaussian_sigma(cutoff))


def high_pass(images: Images, cutoff: float) -> Images:
    """Remove slow variation: the image minus its Gaussian blur.

    The border is continued by its own last pixel, so a constant goes to zero everywhere; the
    result is free of that continuation further than :func:`reach` from the border.

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
    check_tensor("images", images, "batch channels height width")
    sigma, radius = gaussian_sigma(cutoff), reach(cutoff)
    taps = torch.arange(-radius, radius + 1, dtype=torch.float64)
    kernel = torch.exp(-(taps**2) / (2 * sigma**2))
    kernel = (kernel / kernel.sum()).to(images)
    channels = images.shape[1]
    padded = F.pad(images, (radius, radius, radius, radius), mode="replicate")
    blurred = F.conv2d(
        padded, kernel.view(1, 1, 1, -1).expand(channels, -1, -1, -1), groups=channels
    )
    blurred = F.conv2d(
        blurred, kernel.view(1, 1, -1, 1).expand(channels, -1, -1, -1), groups=channels
    )
    return images - blurred


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
