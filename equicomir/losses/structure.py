"""Local structure of images in a valid region: gradients, their tensors, self-similarity.

What the penalties compare. No border is continued: everything is evaluated only where its whole
stencil lies inside the region, and all of it commutes with quarter turns and mirrors. Tensors are
checked by the penalties that call.
"""

import math

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from equicomir.shapes import Images, Mask

_TINY = 1e-12  # keeps quotients finite where an image is flat
_FLAT_PATCH = 1e-2  # share of the mean patch distance that counts as nothing
_TAPER = 8  # pixels over which a window falls to zero


def single_precision(images: Images) -> Images:
    """The images themselves, or in single precision where they come in less.

    Example:
        >>> single_precision(torch.zeros(1, 1, 2, 2, dtype=torch.bfloat16)).dtype
        torch.float32
    """
    return images.float() if images.element_size() < 4 else images


def valid_squares(images: Images, mask: Mask | None, side: int) -> Mask:
    """Where a square of so many pixels lies wholly in the valid region, by its first corner.

    Args:
        images: shape (batch, channels, height, width).
        mask: boolean (height, width), or None for the whole image.
        side: of the square, in pixels, at least 1.

    Returns:
        Boolean (height - side + 1, width - side + 1), true at least once.

    Raises:
        ValueError: the mask has another type or size, or holds no such square.

    Example:
        >>> valid_squares(torch.zeros(1, 1, 4, 4), None, 3).tolist()
        [[True, True], [True, True]]
    """
    size = images.shape[-2:]
    if mask is None:
        mask = torch.ones(size, dtype=torch.bool)
    if mask.dtype != torch.bool or mask.shape != size:
        raise ValueError(
            f"mask: expected booleans of size {tuple(size)}, "
            f"got {mask.dtype} of size {tuple(mask.shape)}."
        )
    if min(size) >= side:
        outside = (~mask).to(images.device, torch.float32)
        inside: Tensor = F.max_pool2d(outside[None, None], side, stride=1)[0, 0] == 0
        if inside.any():
            return inside
    raise ValueError(
        f"mask: expected a valid region that holds a square of {side} x {side} pixels, "
        f"got none in images of {size[0]} x {size[1]}."
    )


def standardised(images: Images, inside: Mask) -> Images:
    """Without each channel's mean, by the standard deviation of all channels; zero outside.

    Args:
        images: (batch, channels, height, width).
        inside: boolean (height, width).

    Returns:
        The same shape.

    Example:
        >>> x, whole = torch.rand(2, 3, 8, 8), torch.ones(8, 8, dtype=torch.bool)
        >>> torch.allclose(standardised(9 - 2 * x, whole), -standardised(x, whole), atol=1e-4)
        True
    """
    # Filled, not multiplied, so that not even what is not finite enters from outside.
    filled, pixels = images.masked_fill(~inside, 0), int(inside.sum())
    mean = filled.sum((-2, -1), keepdim=True) / pixels
    deviations = (filled - mean).masked_fill(~inside, 0)
    spread = torch.linalg.vector_norm(deviations, dim=(1, 2, 3), keepdim=True)
    whole: Tensor = deviations / (spread / math.sqrt(pixels) + _TINY)
    return whole


def gradients(images: Images) -> Float[Tensor, "batch channels 2 rows columns"]:
    """Along rows and columns, per pixel, in the middle of each 2 x 2 pixels.

    Example:
        >>> slope = torch.arange(3.0)[:, None].expand(1, 1, 3, 2)
        >>> gradients(slope).flatten().tolist()
        [1.0, 1.0, 0.0, 0.0]
    """
    down = images[..., 1:, :] - images[..., :-1, :]
    across = images[..., 1:] - images[..., :-1]
    along_rows = (down[..., 1:] + down[..., :-1]) / 2
    along_columns = (across[..., 1:, :] + across[..., :-1, :]) / 2
    return torch.stack([along_rows, along_columns], dim=2)


def gradient_tensors(of: Float[Tensor, "batch channels 2 *places"]) -> Float[Tensor, "batch 3 *_"]:
    """Products of gradients, summed over channels: (row row, column column, row column).

    Example:
        >>> gradient_tensors(torch.tensor([2.0, 3.0]).reshape(1, 1, 2, 1)).flatten().tolist()
        [4.0, 9.0, 6.0]
    """
    rows, columns = of[:, :, 0], of[:, :, 1]
    products = [rows * rows, columns * columns, rows * columns]
    return torch.stack([product.sum(1) for product in products], dim=1)


def blurred(images: Images, sigma: float) -> Images:
    """Smoothed by a Gaussian cut at three sigma, where it fits: smaller by its radius all round.

    Args:
        images: (batch, channels, height, width).
        sigma: standard deviation, in pixels.

    Returns:
        (batch, channels, height, width), each less by twice ``ceil(3 sigma)``.

    Example:
        >>> blurred(torch.ones(1, 1, 7, 8), 1.0).shape
        torch.Size([1, 1, 1, 2])
    """
    radius = math.ceil(3 * sigma)
    taps = torch.arange(-radius, radius + 1, dtype=torch.float64)
    kernel = torch.exp(-taps.square() / (2 * sigma**2))
    kernel = (kernel / kernel.sum()).to(images)
    # Products and sums, not a convolution: autocast leaves them in full precision.
    for axis in (-2, -1):
        images = (images.unfold(axis, len(kernel), 1) * kernel).sum(-1)
    return images


def descriptors(
    images: Images, patch_radius: int, search_radius: int, places: Mask
) -> Float[Tensor, "batch search places"]:
    """The self-similarity of each neighbourhood, as MIND: in (0, 1], the greatest being 1.

    Args:
        images: shape (batch, channels, height, width).
        patch_radius: patches are squares of ``2 * patch_radius + 1`` pixels.
        search_radius: likewise of the search region, whose middle is left out.
        places: where to evaluate; what :func:`valid_squares` gives for the reach of both.

    Returns:
        One value an offset of the search region, at every place.

    Example:
        >>> place = torch.ones(1, 1, dtype=torch.bool)
        >>> descriptors(torch.zeros(1, 1, 3, 3), 0, 1, place).flatten().tolist()
        [1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0]
    """
    height, width = images.shape[-2:]
    reach = range(-search_radius, search_radius + 1)
    offsets = [(row, column) for row in reach for column in reach if (row, column) != (0, 0)]

    def moved(row: int, column: int) -> Images:
        top, left = search_radius + row, search_radius + column
        return images[
            ..., top : top + height - 2 * search_radius, left : left + width - 2 * search_radius
        ]

    differences = [(moved(*offset) - moved(0, 0)).square().sum(1) for offset in offsets]
    distances = F.avg_pool2d(torch.stack(differences, dim=1), 2 * patch_radius + 1, stride=1)
    distances = distances[..., places]
    neighbours = [i for i, (row, column) in enumerate(offsets) if abs(row) + abs(column) == 1]
    variance = distances[:, neighbours].mean(1, keepdim=True)
    variance = variance + _FLAT_PATCH * variance.mean(-1, keepdim=True) + _TINY
    nearest = distances.amin(1, keepdim=True)
    return torch.exp((nearest - distances) / variance)


def tapered(inside: Mask) -> Float[Tensor, "height width"]:
    """A window: one in the region, falling to zero towards its border like a sine's square.

    Example:
        >>> window = tapered(torch.ones(32, 32, dtype=torch.bool))
        >>> torch.equal(window, torch.rot90(window)) and float(window.max())
        1.0
    """
    outside = F.pad((~inside).to(torch.float32)[None, None], (_TAPER,) * 4, value=1)
    depth = torch.zeros_like(inside, dtype=torch.float64)
    for pixels in range(_TAPER):
        crop = slice(_TAPER - pixels, pixels - _TAPER)
        depth += F.max_pool2d(outside[..., crop, crop], 2 * pixels + 1, stride=1)[0, 0] == 0
    return torch.sin(depth * (math.pi / 2 / _TAPER)).square()
