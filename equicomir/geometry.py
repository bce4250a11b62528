"""Angles, transforms and warping: the one place that knows where a pixel is.

**The pixel convention.** Pixel centres lie at whole numbers of (row, column); the centre of an
image of ``n`` rows is ``(n - 1) / 2``, which is what ``torch.rot90`` and ``numpy.flip`` turn and
mirror about, so that a quarter turn maps pixel centres onto pixel centres and is exact. (With
pixel edges at whole numbers the same centre would be ``n / 2``, and a mixture of the two is the
classical half-pixel error of registration.) A positive angle turns as ``torch.rot90(k=1)`` does.

A transform is a 3 x 3 matrix over homogeneous (row, column, 1), named by its direction:
``moving_to_fixed @ [row, column, 1]`` takes a point of the moving image to the fixed image. To
*warp* an image means to look up, for each pixel of the output, where it comes from: so
:func:`warp` takes the matrix from output to input.
"""

import math

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from equicomir.shapes import Images, Matrices, Matrix, Points, check_tensor


def rigid(
    rotation_degrees: float,
    translation: tuple[float, float] = (0.0, 0.0),
    *,
    centre: tuple[float, float] = (0.0, 0.0),
) -> Matrix:
    """The rotation about ``centre``, followed by a translation.

    Args:
        rotation_degrees: angle, positive as ``torch.rot90(k=1)`` turns.
        translation: (rows, columns), in pixels, applied after the rotation.
        centre: (row, column) that the rotation leaves in place.

    Returns:
        The 3 x 3 matrix over homogeneous (row, column, 1).

    Example:
        A quarter turn of a 4 x 4 image takes the pixel (0, 1) to (2, 0), as ``rot90`` does.

        >>> (rigid(90, centre=(1.5, 1.5)) @ [0, 1, 1]).round(9).tolist()
        [2.0, 0.0, 1.0]
    """
    cos, sin = math.cos(math.radians(rotation_degrees)), math.sin(math.radians(rotation_degrees))
    linear = np.array([[cos, -sin], [sin, cos]])
    matrix = np.eye(3)
    matrix[:2, :2] = linear
    matrix[:2, 2] = np.asarray(centre) - linear @ np.asarray(centre) + np.asarray(translation)
    return matrix


def inverse(matrix: Matrix) -> Matrix:
    """The transform back: of one matrix or of many, by Cramer's rule.

    Linear algebra libraries start threads for this, which takes a hundred times longer.

    Args:
        matrix: (..., 3, 3), whose last line is (0, 0, 1).

    Returns:
        The same shape; infinite where there is no way back.

    Example:
        >>> bool(np.allclose(inverse(rigid(30, (3, 4))) @ rigid(30, (3, 4)), np.eye(3)))
        True
    """
    a, b, c, d = (matrix[..., i, j] for i in (0, 1) for j in (0, 1))
    with np.errstate(divide="ignore", invalid="ignore"):
        linear = np.stack([np.stack([d, -b], -1), np.stack([-c, a], -1)], -2)
        linear = linear / (a * d - b * c)[..., None, None]
    back = np.zeros_like(matrix)
    back[..., :2, :2], back[..., 2, 2] = linear, 1
    back[..., :2, 2] = -(linear * matrix[..., None, :2, 2]).sum(-1)
    return back


def image_centre(height: int, width: int) -> tuple[float, float]:
    """The centre (row, column) of an image, by the convention of this module.

    Example:
        >>> image_centre(4, 5)
        (1.5, 2.0)
    """
    return (height - 1) / 2, (width - 1) / 2


def rotation_degrees(matrix: Matrix) -> float:
    """The angle of a rigid transform, in degrees, in (-180, 180].

    Example:
        >>> round(rotation_degrees(rigid(190.0, (3, 4))), 9)
        -170.0
    """
    return math.degrees(math.atan2(matrix[1, 0], matrix[0, 0]))


def transform_points(matrix: Matrix, points: Points) -> Points:
    """Map points (row, column) by a 3 x 3 matrix.

    Args:
        matrix: the transform.
        points: shape (n, 2), in pixels.

    Returns:
        The mapped points, shape (n, 2).

    Example:
        >>> transform_points(rigid(0, (1, 2)), np.zeros((1, 2))).tolist()
        [[1.0, 2.0]]
    """
    return np.asarray(points @ matrix[:2, :2].T + matrix[:2, 2])


def corners(height: int, width: int) -> Points:
    """The four corner pixels of an image, shape (4, 2), as (row, column).

    Args:
        height: in pixels.
        width: likewise.

    Returns:
        Top left, top right, bottom left, bottom right.

    Example:
        >>> corners(3, 2).tolist()
        [[0.0, 0.0], [0.0, 1.0], [2.0, 0.0], [2.0, 1.0]]
    """
    rows, columns = height - 1.0, width - 1.0
    return np.array([[0.0, 0.0], [0.0, columns], [rows, 0.0], [rows, columns]])


def pixel_centres(height: int, width: int) -> Points:
    """All pixels of an image, row after row, shape (height * width, 2), as (row, column).

    Example:
        >>> pixel_centres(2, 2).tolist()
        [[0.0, 0.0], [0.0, 1.0], [1.0, 0.0], [1.0, 1.0]]
    """
    return np.indices((height, width), dtype=np.float64).reshape(2, -1).T


def rotations(degrees: Tensor, height: int, width: int) -> Matrices:
    """Rotation matrices about the centre of an image, one an angle.

    Args:
        degrees: shape (batch,), floating.
        height: of the image, in pixels.
        width: of the image, in pixels.

    Returns:
        Shape (batch, 3, 3), in the type of ``degrees``.

    Example:
        >>> m = rotations(torch.tensor([90.0], dtype=torch.float64), 4, 4)[0].numpy()
        >>> bool(np.allclose(m, rigid(90, centre=(1.5, 1.5))))
        True
    """
    radians = degrees * (math.pi / 180)
    cos, sin = torch.cos(radians), torch.sin(radians)
    row, column = image_centre(height, width)
    zero, one = torch.zeros_like(cos), torch.ones_like(cos)
    first = torch.stack([cos, -sin, row - cos * row + sin * column], dim=-1)
    second = torch.stack([sin, cos, column - sin * row - cos * column], dim=-1)
    return torch.stack([first, second, torch.stack([zero, zero, one], dim=-1)], dim=-2)


def warp(
    images: Images,
    output_to_input: Matrices,
    *,
    size: tuple[int, int] | None = None,
    mode: str = "bilinear",
    outside: str = "zeros",
) -> Images:
    """Resample images on a transformed grid.

    Args:
        images: shape (batch, channels, height, width).
        output_to_input: shape (batch, 3, 3): where each output pixel comes from.
        size: (height, width) of the output; that of the input if None.
        mode: ``"nearest"``, ``"bilinear"`` or ``"bicubic"`` (Keys, a = -0.75).
        outside: what is read outside the image: ``"zeros"``, ``"border"`` or ``"reflection"``.

    Returns:
        Shape (batch, channels, *size).

    Raises:
        TypeError, ValueError: ``images`` is not such a tensor.

    Example:
        >>> x = torch.rand(1, 1, 4, 4, dtype=torch.float64)
        >>> quarter = rotations(torch.tensor([-90.0], dtype=torch.float64), 4, 4)
        >>> torch.allclose(warp(x, quarter), torch.rot90(x, 1, (2, 3)))
        True
    """
    check_tensor("images", images, "batch channels height width")
    height, width = images.shape[-2:]
    rows_out, columns_out = size or (height, width)
    rows = torch.arange(rows_out).to(images)
    columns = torch.arange(columns_out).to(images)
    grid = torch.stack([*torch.meshgrid(rows, columns, indexing="ij")], dim=-1)
    matrices = output_to_input.to(images)
    source = torch.einsum("bij,hwj->bhwi", matrices[:, :2, :2], grid)
    source = source + matrices[:, None, None, :2, 2]
    return look_up(images, source, mode=mode, outside=outside)


def look_up(
    images: Images, places: Tensor, *, mode: str = "bilinear", outside: str = "zeros"
) -> Images:
    """Read images between their pixels.

    Args:
        images: shape (batch, channels, height, width).
        places: shape (batch, rows, columns, 2), as (row, column), in the images' pixels and type.
        mode: as in :func:`warp`.
        outside: as in :func:`warp`.

    Returns:
        Shape (batch, channels, rows, columns).

    Example:
        >>> x = torch.tensor([[[[0.0, 1.0], [2.0, 3.0]]]])
        >>> look_up(x, torch.tensor([[[[0.5, 0.5]]]])).item()
        1.5
    """
    height, width = images.shape[-2:]
    extent = images.new_tensor([max(height - 1, 1), max(width - 1, 1)])
    normalised = (2 * places / extent - 1).flip(-1)  # grid_sample asks for (column, row)
    return F.grid_sample(images, normalised, mode, outside, align_corners=True)


def rotate(images: Images, degrees: Tensor, *, mode: str = "bilinear") -> Images:
    """Turn each image about its centre by its own angle; what comes from outside is zero.

    Args:
        images: shape (batch, channels, height, width).
        degrees: shape (batch,); positive as ``torch.rot90(k=1)`` turns.
        mode: as in :func:`warp`.

    Returns:
        Shape (batch, channels, height, width).

    Example:
        >>> x = torch.rand(2, 1, 5, 5, dtype=torch.float64)
        >>> turned = rotate(x, torch.tensor([90.0, 90.0]))
        >>> torch.allclose(turned, torch.rot90(x, 1, (2, 3)), atol=1e-6)
        True
    """
    return warp(images, rotations(-degrees, *images.shape[-2:]), mode=mode)


def warp_image(
    image: Images,
    output_to_input: Matrix,
    *,
    size: tuple[int, int] | None = None,
    mode: str = "bicubic",
) -> tuple[Images, Tensor]:
    """Resample one image by one matrix, and tell where the result is defined.

    Args:
        image: shape (1, channels, height, width).
        output_to_input: 3 x 3 matrix, from output pixels to input pixels.
        size: (height, width) of the output; that of the input if None.
        mode: as in :func:`warp`.

    Returns:
        The warped image (1, channels, *size), and the valid region, a boolean tensor of ``size``:
        true where the pixel comes from inside the image.

    Example:
        >>> x = torch.rand(1, 1, 4, 4)
        >>> warp_image(x, rigid(0, (1, 0)))[1].tolist()[3]
        [False, False, False, False]
    """
    matrix = torch.as_tensor(output_to_input)[None]
    warped = warp(image, matrix, size=size, mode=mode, outside="border")
    rows_out, columns_out = warped.shape[-2:]
    grid = np.stack(np.meshgrid(range(rows_out), range(columns_out), indexing="ij"), axis=-1)
    source = transform_points(output_to_input, grid.reshape(-1, 2).astype(np.float64))
    last = np.array(image.shape[-2:]) - 1
    slack = 1e-6  # rounding must not cut off the border pixels of a quarter turn
    inside = ((source >= -slack) & (source <= last + slack)).all(axis=1)
    return warped, torch.from_numpy(inside.reshape(rows_out, columns_out))
