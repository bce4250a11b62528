"""Similarities (the contrastive literature's *critics*): a number for two representations.

Each takes two batches of representations and gives the matrix of all pairs at once, by one
matrix product: no loop over pairs, and no intermediate of pairs by pixels.
"""

import torch
from jaxtyping import Float
from torch import Tensor

from equicomir.shapes import Images, Mask, check_tensor


def masked_pixels(images: Images, mask: Mask | None) -> Float[Tensor, "batch values"]:
    """The pixels inside the mask, all channels of an image in one row.

    Args:
        images: shape (batch, channels, height, width).
        mask: boolean (height, width), or None for the whole image.

    Returns:
        Shape (batch, channels * pixels inside).

    Raises:
        ValueError: the mask has another size, or is empty.
    """
    check_tensor("images", images, "batch channels height width")
    if mask is None:
        return images.flatten(1)
    if mask.dtype != torch.bool or mask.shape != images.shape[-2:]:
        raise ValueError(
            f"mask: expected booleans of size {tuple(images.shape[-2:])}, "
            f"got {mask.dtype} of size {tuple(mask.shape)}."
        )
    if not mask.any():
        raise ValueError("mask: expected a valid region with at least one pixel, got none.")
    return images[:, :, mask].flatten(1)


def negative_mse(
    first: Images, second: Images, mask: Mask | None = None
) -> Float[Tensor, "first second"]:
    """Minus the mean squared difference, for every pair of the two batches.

    The square is expanded, |a - b|^2 = |a|^2 - 2 a.b + |b|^2, after the common mean image has
    been taken away, without which large offsets would cancel away all digits.

    Args:
        first: representations, shape (batch, channels, height, width).
        second: likewise; the batch may have another length.
        mask: boolean (height, width): where to look; the whole image if None.

    Returns:
        Shape (length of first, length of second), at most 0.

    Raises:
        ValueError: shapes do not agree, or the mask is empty.

    Example:
        >>> a = torch.zeros(1, 1, 2, 2)
        >>> negative_mse(a, a + 2).tolist()
        [[-4.0]]

    Source:
        The similarity that CoMIR uses by default: Pielawski, Wetzer et al., NeurIPS 2020,
        arXiv 2006.06325, section 3.
    """
    if first.shape[1:] != second.shape[1:]:
        raise ValueError(
            "second: expected the channels, height and width of first, "
            f"{tuple(first.shape[1:])}, got {tuple(second.shape[1:])}."
        )
    a, b = masked_pixels(first, mask), masked_pixels(second, mask)
    centre = torch.cat([a, b]).mean(dim=0).detach()
    a, b = a - centre, b - centre
    squares = a.square().mean(1)[:, None] + b.square().mean(1)[None, :]
    return (2 * (a @ b.T) / a.shape[1] - squares).clamp(max=0)
