"""Hard negatives: shifted crops of the same scene.

Other scenes are soon told apart by their brightness alone. A crop a few pixels away holds the
same tissue, so that only what is *where* tells it apart. Encoders commute with shifts, so the
representation of a shifted crop is the shifted representation: nothing is encoded again.
"""

import torch
from torch import Tensor

from equicomir.shapes import Images, Stack, check_tensor


def draw_shifts(count: int, *, least: int, greatest: int, generator: torch.Generator) -> Tensor:
    """Draw shifts whose longer component is between two bounds.

    Args:
        count: number of shifts.
        least: pixels, at least 1; below it a shifted crop is nearly the positive itself.
        greatest: pixels; leave so much more of the border outside the mask.
        generator: the source of randomness.

    Returns:
        Whole (rows, columns), shape (count, 2).

    Raises:
        ValueError: the bounds are not in order.

    Example:
        >>> shifts = draw_shifts(9, least=2, greatest=5, generator=torch.Generator())
        >>> longer = shifts.abs().amax(1)
        >>> bool(((longer >= 2) & (longer <= 5)).all())
        True
    """
    if not 1 <= least <= greatest:
        raise ValueError(
            f"least, greatest: expected 1 <= least <= greatest, got {least, greatest}."
        )
    every = torch.arange(-greatest, greatest + 1)
    grid = torch.cartesian_prod(every, every)
    allowed = grid[grid.abs().amax(1) >= least]
    return allowed[torch.randint(len(allowed), (count,), generator=generator)]


def shifted(representations: Stack, shifts: Tensor) -> Images:
    """The representations of shifted crops, as negatives for ``info_nce``.

    Args:
        representations: shape (modalities, batch, channels, height, width).
        shifts: whole (rows, columns), shape (batch, 2); one a scene, for all its modalities.

    Returns:
        Shape (modalities * batch, channels, height, width). What is shifted in at a border comes
        from the opposite one, so leave the longest shift outside the mask.

    Raises:
        ValueError: not one shift a scene.

    Example:
        >>> y = torch.rand(2, 1, 1, 4, 4)
        >>> crops = shifted(y, torch.tensor([[1, 0]]))
        >>> torch.equal(crops[0, :, 1:], y[0, 0, :, :-1])
        True
    """
    check_tensor("representations", representations, "modalities batch channels height width")
    batch = representations.shape[1]
    if shifts.shape != (batch, 2):
        raise ValueError(
            f"shifts: expected one (rows, columns) a scene, ({batch}, 2), "
            f"got {tuple(shifts.shape)}."
        )
    rolled = [
        scene.roll((int(rows), int(columns)), dims=(-2, -1))
        for scene, (rows, columns) in zip(representations.unbind(1), shifts, strict=True)
    ]
    return torch.stack(rolled, dim=1).flatten(0, 1)


def shifted_around(representations: Stack, pixels: int) -> Images:
    """Every representation shifted up, down, left and right, as negatives for ``info_nce``.

    Nothing is drawn, so that all processes that share a batch have the same; and turning all
    representations by a quarter turn turns these too, so that the loss keeps its invariance.

    Args:
        representations: shape (modalities, batch, channels, height, width).
        pixels: by how much, at least 1.

    Returns:
        Shape (4 * modalities * batch, channels, height, width); borders as for :func:`shifted`.

    Raises:
        ValueError: ``pixels`` is less than 1.

    Example:
        >>> shifted_around(torch.rand(2, 3, 1, 8, 8), 2).shape
        torch.Size([24, 1, 8, 8])
    """
    check_tensor("representations", representations, "modalities batch channels height width")
    if pixels < 1:
        raise ValueError(f"pixels: expected at least 1, got {pixels}.")
    every = representations.flatten(0, 1)
    return torch.cat([every.roll(by, dims=side) for side in (-2, -1) for by in (-pixels, pixels)])
