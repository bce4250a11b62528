"""Derivatives of images as fields: numbers that turn with the image.

A gradient is a vector in every pixel, a structure tensor says how strongly and along which axis
an image varies about it. When the image turns, the pixels move and the components mix: so an
encoder must be told the *frequency* of each field (0 keeps still, k turns k times as fast), and
the components here are laid out accordingly: frequencies (1,) a channel for :func:`gradient`,
(0, 2) for :func:`structure_tensor`.
"""

import math
import numbers

import torch
import torch.nn.functional as F
from torch import Tensor

from equicomir.shapes import Images, check_tensor

#: How far the border reaches in :func:`gradient`, in pixels, exactly.
GRADIENT_REACH = 1

_SMOOTHING = (3 / 16, 10 / 16, 3 / 16)  # across the derivative
_TRUNCATION = 3.5  # radius of the Gaussian, in standard deviations


def gradient(images: Images) -> Images:
    """The derivative along rows and along columns: a field of frequency 1.

    Central differences, smoothed across (Scharr, 3 x 3): exact on a plane, and on a wave of 0.1
    cycles per pixel in any direction within 0.2 degrees. The border is continued by its last
    pixel and reaches :data:`GRADIENT_REACH`.

    When the image turns by t, positive as ``torch.rot90(k=1)``, the pair (row, column) turns by
    [[cos t, -sin t], [sin t, cos t]], as positions do; for quarter turns exactly.

    Args:
        images: shape (batch, channels, height, width). Half precision is computed in float32.

    Returns:
        Shape (batch, 2 channels, height, width), per pixel: for each channel the derivative in
        the direction of greater row, then of greater column.

    Raises:
        TypeError, ValueError: not such a tensor.

    Example:
        >>> rows = torch.arange(5.0).view(1, 1, 5, 1).expand(1, 1, 5, 4)
        >>> gradient(3 * rows)[0, :, 2, 2].tolist()
        [3.0, 0.0]

    Source:
        Scharr, Optimale Operatoren in der Digitalen Bildverarbeitung, 2000,
        doi 10.11588/heidok.00000962.
    """
    check_tensor("images", images, "batch channels height width")
    return _gradient(_wide(images)).to(images.dtype)


def structure_tensor(images: Images, sigma: float) -> Images:
    """How strongly (frequency 0) and along which axis (frequency 2) images vary about a pixel.

    With J the Gaussian mean of the products of the gradient's components: the trace
    J_rr + J_cc, then J_rr - J_cc and 2 J_rc, which are the trace times coherence times the cosine
    and the sine of twice the angle from the row axis. They never exceed the trace.

    Args:
        images: shape (batch, channels, height, width). Half precision is computed in float32.
        sigma: standard deviation of the mean, in pixels, positive.

    Returns:
        Shape (batch, 3 channels, height, width), squared units per pixel: three for each channel.

    Raises:
        TypeError, ValueError: not such a tensor, or ``sigma`` not such a number.

    Example:
        >>> rows = torch.arange(16.0).view(1, 1, 16, 1).expand(1, 1, 16, 16)
        >>> [round(number, 5) for number in structure_tensor(3 * rows, 1.0)[0, :, 8, 8].tolist()]
        [9.0, 9.0, 0.0]

    Source:
        Weickert, Coherence-enhancing diffusion filtering, 1999, doi 10.1023/A:1008009714131,
        the double angle: Bigün and Granlund, ICCV 1987.
    """
    check_tensor("images", images, "batch channels height width")
    radius = _radius(sigma)
    along_rows, along_columns = _gradient(_wide(images)).unflatten(1, (-1, 2)).unbind(2)
    of_rows, of_columns = along_rows.square(), along_columns.square()
    products = (of_rows + of_columns, of_rows - of_columns, 2 * along_rows * along_columns)
    smooth = _blurred(torch.stack(products, dim=2).flatten(1, 2), sigma, radius)
    return smooth.to(images.dtype)


def structure_tensor_reach(sigma: float) -> int:
    """How far the border reaches in :func:`structure_tensor`, in pixels, exactly.

    Args:
        sigma: as there.

    Raises:
        TypeError, ValueError: ``sigma`` is not such a number.

    Example:
        >>> structure_tensor_reach(2.0)
        8
    """
    return GRADIENT_REACH + _radius(sigma)


def _wide(images: Tensor) -> Tensor:
    return images if images.dtype == torch.float64 else images.float()


def _gradient(images: Tensor) -> Tensor:
    padded = F.pad(images, (1, 1, 1, 1), mode="replicate")
    up, _, down = _three(padded, -2)
    left, _, right = _three(padded, -1)
    fields = (_across((down - up) / 2, -1), _across((right - left) / 2, -2))
    return torch.stack(fields, dim=2).flatten(1, 2)


def _three(images: Tensor, axis: int) -> tuple[Tensor, Tensor, Tensor]:
    """Each pixel's neighbour before, itself, and its neighbour after."""
    length = images.shape[axis] - 2
    before, at, after = (images.narrow(axis, start, length) for start in range(3))
    return before, at, after


def _across(images: Tensor, axis: int) -> Tensor:
    before, at, after = _three(images, axis)
    outer, inner, _ = _SMOOTHING
    return inner * at + outer * (before + after)


def _radius(sigma: float) -> int:
    if isinstance(sigma, bool) or not isinstance(sigma, numbers.Real):
        raise TypeError(f"sigma: expected a number of pixels, got {type(sigma).__name__}.")
    if not 0 < sigma < math.inf:
        raise ValueError(f"sigma: expected a positive number of pixels, got {sigma}.")
    return math.ceil(_TRUNCATION * sigma)


def _blurred(images: Tensor, sigma: float, radius: int) -> Tensor:
    """The Gaussian mean. Its weights are positive: a mean of tensors stays positive."""
    taps = torch.arange(-radius, radius + 1, dtype=torch.float64)
    weights = torch.exp(-(taps**2) / (2 * sigma**2))
    weights = (weights / weights.sum()).to(images)
    single = images.flatten(0, 1).unsqueeze(1)
    single = F.pad(single, (radius, radius, radius, radius), mode="replicate")
    single = F.conv2d(single, weights.view(1, 1, 1, -1))
    single = F.conv2d(single, weights.view(1, 1, -1, 1)).squeeze(1)
    return single.reshape(images.shape)
