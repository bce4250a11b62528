"""Rotated pairs: each image of a pair is turned by its own angle, its representation turned back.

The two representations of a scene are then compared in one frame although the encoders saw it in
two: what an encoder answers must not depend on how the scene lay before it. With quarter turns
this is CoMIR's constraint (arXiv 2006.06325, equation 4), which an encoder that is exactly
equivariant to them meets at no cost; with any angle it also works on what lies between the
angles of the group. Only the disk that every turn keeps inside the patch is compared.
"""

import torch

from equicomir.filters import disk_mask
from equicomir.geometry import rotations, warp
from equicomir.shapes import Mask, Stack, check_tensor


def turn_back(representations: Stack, degrees: torch.Tensor) -> Stack:
    """Undo the turns under which the encoders saw their patches.

    Args:
        representations: shape (modalities, batch, channels, height, width).
        degrees: shape (modalities, batch): by how much each input had been turned.

    Returns:
        The representations in the scene's own frame, same shape; valid in :func:`valid_disk`.

    Raises:
        ValueError: the two shapes do not agree.

    Example:
        >>> y = torch.rand(2, 3, 1, 8, 8, dtype=torch.float64)
        >>> seen = torch.rot90(y, 1, (3, 4))
        >>> torch.allclose(turn_back(seen, torch.full((2, 3), 90.0)), y, atol=1e-5)
        True
    """
    check_tensor("representations", representations, "modalities batch channels height width")
    if degrees.shape != representations.shape[:2]:
        raise ValueError(
            f"degrees: expected one angle a representation, {tuple(representations.shape[:2])}, "
            f"got {tuple(degrees.shape)}."
        )
    every = representations.flatten(0, 1)
    matrices = rotations(degrees.flatten().to(every), *every.shape[-2:])
    # Continued by its border, so that no edge to zero reaches a filter applied afterwards.
    turned = warp(every, matrices, outside="border")
    return turned.reshape(representations.shape)


def valid_disk(size: int, reach: int = 0) -> Mask:
    """Where patches that were turned and turned back can be compared.

    Args:
        size: height and width of the patches, in pixels.
        reach: how far the border of a filter that is applied afterwards reaches, in pixels.

    Returns:
        Boolean (size, size): the inscribed disk, less one pixel for interpolation and ``reach``.

    Raises:
        ValueError: nothing is left; the smallest size that works is named.

    Example:
        >>> int(valid_disk(16).sum()) < 16 * 16
        True
    """
    radius = (size - 1) / 2 - 1 - reach
    if radius < 1:
        raise ValueError(
            f"size: expected at least {2 * reach + 5} pixels for a filter reaching {reach}, "
            f"got {size}; take larger patches or a higher cut-off."
        )
    return disk_mask(size, radius)
