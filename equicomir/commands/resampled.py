"""Two images whose pixels differ in size: the moving one seen with pixels as the fixed one has.

A model has learned from images that lie pixel on pixel, and a rigid transform between pixels
knows no scale; two instruments have different pixels. What is found is told in the moving image's
own pixels again.
"""

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from scipy import ndimage

from equicomir.geometry import warp_image
from equicomir.images.files import ImageFile, open_image
from equicomir.registration.alignment import Alignment
from equicomir.shapes import Image, Mask, Matrix

_ALIKE = 0.01  # relative difference of pixel sizes that is left alone


@dataclass(frozen=True)
class Picture:
    """An image in memory, with what is known of its pixels.

    Attributes:
        pixels: (channels, height, width), float32, zero where not defined.
        mask: true where it is defined and counts, (height, width).
    """

    pixels: Image
    mask: Mask

    @property
    def size(self) -> tuple[int, int]:
        """(height, width) in pixels."""
        return int(self.mask.shape[0]), int(self.mask.shape[1])


def read_picture(file: ImageFile, mask: Path | None) -> Picture:
    """Read an image with its mask.

    Args:
        file: of the image.
        mask: of an image that is not zero where it counts, or None for everywhere.

    Returns:
        The pixels, and where they are defined and count.

    Raises:
        ValueError: a file is damaged, or the mask has another size; it is named.
    """
    pixels, inside = file.read_masked()
    if mask is not None:
        counted = open_image(mask).read().ne(0).any(0)
        if counted.shape != inside.shape:
            raise ValueError(
                f"{mask}: expected a mask of the size of {file.path.name}, {_by(inside)}, got "
                f"{_by(counted)}."
            )
        inside = inside & counted
    if not bool(inside.any()):
        raise ValueError(f"{mask or file.path}: expected pixels that count, got none.")
    return Picture(pixels, inside)


def _by(mask: Mask) -> str:
    return f"{mask.shape[0]} x {mask.shape[1]}"


def between_pixels(fixed: tuple[float, float] | None, moving: tuple[float, float] | None) -> Matrix:
    """From the moving image's pixels to pixels of the fixed image's size; the first ones agree.

    Args:
        fixed: pixel size (row, column), in any unit; None where nobody knows it.
        moving: likewise, in the same unit.

    Returns:
        3 x 3 matrix; the identity where one is not known, or both are the same but for a hundredth.

    Example:
        >>> between_pixels((0.5, 0.5), (0.25, 1.0)).diagonal().tolist()
        [0.5, 2.0, 1.0]
    """
    if fixed is None or moving is None:
        return np.eye(3)
    ratio = np.array(moving) / np.array(fixed)
    if np.abs(ratio - 1).max() <= _ALIKE:
        return np.eye(3)
    return np.diag([*ratio, 1.0])


def own_to_common(fixed: ImageFile, moving: ImageFile) -> Matrix:
    """As :func:`between_pixels`, of two files."""
    return between_pixels(fixed.pixel_size_micrometres, moving.pixel_size_micrometres)


def on_pixels_of(fixed: ImageFile, moving: ImageFile, picture: Picture) -> Picture:
    """The moving image with pixels of the size that the fixed one has; itself if that is so.

    Args:
        fixed: whose pixel size is taken.
        moving: whose pixel size the picture has.
        picture: of the moving file.

    Returns:
        The image, with its mask.

    Raises:
        ValueError: the pixel sizes differ so much that nothing would be left, or too much come.
    """
    try:
        return with_pixels(picture, own_to_common(fixed, moving))
    except ValueError:
        raise ValueError(
            f"{moving.path}: expected pixels of about {fixed.pixel_size_micrometres} micrometres, "
            f"as in {fixed.path.name}, got {moving.pixel_size_micrometres}; correct the pixel "
            f"size in the file that has a wrong one."
        ) from None


def with_pixels(picture: Picture, own_to_common: Matrix) -> Picture:
    """An image with pixels of another size; itself if they are of the same.

    Args:
        picture: as it is.
        own_to_common: as :func:`between_pixels` gives it.

    Returns:
        The image, with its mask.

    Raises:
        ValueError: the pixel sizes differ so much that nothing would be left, or too much come.
    """
    if np.array_equal(own_to_common, np.eye(3)):
        return picture
    ratio = own_to_common.diagonal()[:2]
    size = [int(np.floor((n - 1) * r + 1e-6)) + 1 for n, r in zip(picture.size, ratio, strict=True)]
    if min(size) < 16 or max(ratio) > 10:
        raise ValueError(
            f"moving: expected pixels of about the size of those of fixed, got "
            f"{ratio[0]:.3g} x {ratio[1]:.3g} times as large; correct the one that is wrong."
        )
    # What finer pixels show and coarser ones cannot is taken away first.
    sigma = 0.5 * np.sqrt(np.maximum(1 / ratio**2 - 1, 0))
    smooth = ndimage.gaussian_filter(picture.pixels.numpy(), (0, *sigma), mode="nearest")
    back = np.linalg.inv(own_to_common)
    grid = (size[0], size[1])
    pixels, inside = warp_image(torch.from_numpy(smooth)[None], back, size=grid)
    counted, _ = warp_image(picture.mask[None, None].float(), back, size=grid, mode="nearest")
    mask = inside & (counted[0, 0] > 0.5)
    return Picture(torch.where(mask, pixels[0], 0.0), mask)


def to_own_pixels(
    alignment: Alignment, fixed: ImageFile, moving: ImageFile, picture: Picture
) -> Alignment:
    """An alignment of what :func:`on_pixels_of` gave, in the moving image's own pixels.

    Args:
        alignment: of the resampled image.
        fixed: whose pixel size it was given.
        moving: whose pixels are its own.
        picture: as it was before, of the moving file.

    Returns:
        The alignment, in pixels of both files.
    """
    matrix = own_to_common(fixed, moving)
    if np.array_equal(matrix, np.eye(3)):
        return alignment
    displacement = alignment.displacement
    if displacement is not None:
        pixels = np.indices(displacement.shape[1:], dtype=np.float64)
        ratio = matrix.diagonal()[:2, None, None]
        displacement = (pixels + displacement) / ratio - pixels
    matrix = alignment.moving_to_fixed @ matrix
    return replace(alignment, moving_to_fixed=matrix, displacement=displacement)
