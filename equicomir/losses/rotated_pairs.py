"""Rotated pairs: each image of a pair is turned by its own angle, its representation turned back.

The two representations of a scene are then compared in one frame although the encoders saw it in
two: what an encoder answers must not depend on how the scene lay before it. With quarter turns
this is CoMIR's constraint (arXiv 2006.06325, equation 4), which an encoder that is exactly
equivariant to them meets at no cost; with any angle it also works on what lies between the
angles of the group. Only the disk that every turn keeps inside the patch is compared.
"""

from collections.abc import Callable

import torch

from equicomir.filters import disk_mask
from equicomir.geometry import rotations, warp
from equicomir.shapes import Images, Mask, Stack, check_tensor


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


def equivariance_penalty(
    encoder: Callable[[Images], Images],
    images: Images,
    degrees: torch.Tensor,
    *,
    mirrored: torch.Tensor | None = None,
    reach: int = 0,
) -> torch.Tensor:
    """||R f(x) - f(R x)||^2 / ||f(R x) - mean f(R x)||^2 in the valid disk.

    What CoMIR asks of its network by a loss, at any angle and with mirrors; for an encoder that
    is equivariant by construction it has nothing to say. Relative, so that a smaller
    representation is no smaller error.

    Args:
        encoder: f, from (batch, channels, size, size) to representations of that size.
        images: x, of that shape.
        degrees: shape (batch,): the turn R of each image.
        mirrored: boolean (batch,): whether R mirrors the columns first; None for none.
        reach: pixels of the border left out, besides the corners.

    Returns:
        The penalty, a scalar; 0 is exact, about 2 has nothing in common. Of a representation
        that is the same everywhere, to half the digits of its type, next to nothing.

    Raises:
        ValueError: not one angle an image, or the images are not square.

    Example:
        >>> x = torch.rand(2, 1, 16, 16)
        >>> penalty = equivariance_penalty(lambda x: x, x, torch.tensor([90.0, 180.0]))
        >>> bool(penalty < 1e-9)
        True

    Source:
        Pielawski, Wetzer et al., NeurIPS 2020, arXiv 2006.06325, equation 4 asks it of quarter
        turns, inside the similarity.
    """
    check_tensor("images", images, "batch channels height width")
    height, width = images.shape[-2:]
    if height != width:
        raise ValueError(f"images: expected square images, got {height} x {width}.")
    if degrees.shape != images.shape[:1]:
        raise ValueError(
            f"degrees: expected one angle an image, ({len(images)},), got {tuple(degrees.shape)}."
        )

    def act(x: Images) -> Images:
        if mirrored is not None:
            x = torch.where(mirrored[:, None, None, None], x.flip(-1), x)
        matrices = rotations(-degrees.to(x), height, width)
        return warp(x, matrices, outside="border")

    after, before = act(encoder(images)), encoder(act(images))
    mask = valid_disk(height, reach).to(before.device)
    difference, reference = (after - before)[..., mask], before[..., mask]
    spread = reference - reference.mean(-1, keepdim=True)
    # Of what hardly varies about a mean, rounding alone would be left above and below the line.
    precision = torch.finfo(before.dtype)
    least = (precision.eps * reference.square().sum()).clamp(min=precision.tiny)
    return difference.square().sum() / torch.maximum(spread.square().sum(), least)
