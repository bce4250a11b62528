"""Aligned images and where they are valid: what a measure of detail is given, checked once.

A measure of fine structure must not see a border: neither that of the image, beyond which it would
be continued, nor that of the valid region, where an image ends without ending. So what is outside
is zero from the beginning, whatever it was, and a measure looks only as far inside as it reaches.
"""

import torch
import torch.nn.functional as F
from jaxtyping import Bool
from torch import Tensor

from equicomir.shapes import Images, check_tensor

#: True where images are defined: one mask for all, or one for each image of a batch.
Masks = Bool[Tensor, "*batch height width"]


def aligned(mask: object, **images: object) -> tuple[list[Images], Bool[Tensor, "batch h w"]]:
    """Images of one frame, ready to be compared.

    Args:
        mask: boolean (height, width) or (batch, height, width); if None, all is valid.
        images: by the name of the argument; shape (batch, channels, height, width) or (channels,
            height, width), all of as many images of one size, with any number of channels.

    Returns:
        The images, (batch, channels, height, width), float64, zero where not valid; and where
        they are valid, (batch, height, width).

    Raises:
        TypeError, ValueError: not such images, not such a mask, or one that leaves nothing; or a
            valid pixel is not finite.

    Example:
        >>> (image,), inside = aligned(torch.eye(2) > 0, image=torch.ones(1, 2, 2))
        >>> image.tolist()
        [[[[1.0, 0.0], [0.0, 1.0]]]]
    """
    whole = []
    for name, image in images.items():
        wide = image[None] if isinstance(image, Tensor) and image.ndim == 3 else image
        whole.append(check_tensor(name, wide, "batch channels height width").detach().cpu())
    batch, _, *size = whole[0].shape
    for name, image in zip(images, whole, strict=True):
        if (image.shape[0], *image.shape[2:]) != (batch, *size):
            raise ValueError(
                f"{name}: expected {batch} images of {size[0]} x {size[1]} pixels like "
                f"{next(iter(images))}, got {image.shape[0]} of {image.shape[2]} x "
                f"{image.shape[3]}; cut them to the same frame."
            )
    inside = _checked_mask(mask, batch, tuple(size))
    filled = [image.double().masked_fill(~inside[:, None], 0) for image in whole]
    for name, image in zip(images, filled, strict=True):
        if not image.isfinite().all():
            raise ValueError(
                f"{name}: expected finite numbers in the valid region, got NaN or infinity; "
                f"mask them out."
            )
    return filled, inside


def _checked_mask(mask: object, batch: int, size: tuple[int, ...]) -> Tensor:
    if mask is None:
        return torch.ones(batch, *size, dtype=torch.bool)
    if not isinstance(mask, Tensor) or mask.dtype != torch.bool:
        came = mask.dtype if isinstance(mask, Tensor) else type(mask).__name__
        raise TypeError(f"mask: expected a tensor of booleans, got {came}; compare it with 0.")
    if tuple(mask.shape) not in (size, (batch, *size)):
        raise ValueError(
            f"mask: expected shape {size} or {(batch, *size)}, got {tuple(mask.shape)}; "
            f"cut it as the images were."
        )
    return mask.cpu().expand(batch, *size)


def check_channels(first: Images, second: Images) -> None:
    """Refuse two images whose channels cannot be compared one with one, or one with each.

    Args:
        first: (batch, channels, height, width).
        second: likewise.

    Raises:
        ValueError: both have several channels, and not as many.

    Example:
        >>> check_channels(torch.zeros(1, 3, 8, 8), torch.zeros(1, 1, 8, 8))
    """
    one, other = first.shape[1], second.shape[1]
    if one != other and 1 not in (one, other):
        raise ValueError(
            f"second: expected {one} channels like first, or a single one, got {other}; "
            f"give the mean of its channels."
        )


def eroded(inside: Bool[Tensor, "batch h w"], pixels: int) -> Bool[Tensor, "batch h w"]:
    """Where all pixels that are at most so many rows and columns away are valid.

    Args:
        inside: boolean (batch, height, width); beyond the border nothing is valid.
        pixels: how far a measure reaches.

    Returns:
        Boolean (batch, height, width).

    Raises:
        ValueError: nowhere, in no image of the batch.

    Example:
        >>> eroded(torch.ones(1, 3, 4, dtype=torch.bool), 1)[0].int().tolist()
        [[0, 0, 0, 0], [0, 1, 1, 0], [0, 0, 0, 0]]
    """
    side = 2 * pixels + 1
    outside = F.pad((~inside).float(), (pixels,) * 4, value=1)[:, None]
    outside = F.max_pool2d(F.max_pool2d(outside, (side, 1), stride=1), (1, side), stride=1)
    left: Tensor = outside[:, 0] == 0
    if not left.any():
        raise ValueError(
            f"mask: expected a valid region that holds a square of {side} x {side} pixels, got "
            f"none in images of {inside.shape[1]} x {inside.shape[2]}; take larger ones."
        )
    return left
