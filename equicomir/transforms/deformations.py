"""Displacement fields: what a matrix cannot say of tissue that was cut, stretched and mounted.

A *displacement* is an array (2, height, width), in pixels, on the grid of the output (in
registration: the fixed image): the output's pixel p shows the input (the moving image) at
``p + displacement[:, p]``. It holds the whole map, rotation and all, so that it can be used
alone. Between pixels it is linear; outside its grid it goes on as the affine map nearest to it,
with the residual of the border.
"""

import numpy as np
import torch
from scipy import ndimage
from torch import Tensor

from equicomir.geometry import look_up, pixel_centres, transform_points
from equicomir.shapes import Array, Images, Matrix, Points, check_tensor
from equicomir.transforms.linear import check_matrix

_SLACK = 1e-6  # rounding must not cut off the border pixels


def displacement_of(output_to_input: Matrix, size: tuple[int, int]) -> Array:
    """A matrix as a displacement.

    Args:
        output_to_input: 3 x 3 matrix, from output pixels to input pixels.
        size: (height, width) of the output.

    Returns:
        Shape (2, height, width), in pixels.

    Raises:
        ValueError: the matrix is no transform.

    Example:
        >>> from equicomir.geometry import rigid
        >>> displacement_of(rigid(0, (3, 1)), (4, 5))[:, 2, 2].tolist()
        [3.0, 1.0]
    """
    pixels = pixel_centres(*size)
    mapped = transform_points(check_matrix("output_to_input", output_to_input), pixels)
    return (mapped - pixels).T.reshape(2, *size)


def displace_points(displacement: Array, points: Points) -> Points:
    """Where points of the output lie in the input.

    Args:
        displacement: shape (2, height, width), in pixels.
        points: shape (n, 2), as (row, column) of the output.

    Returns:
        The points in the input, shape (n, 2). (From the input to the output: with the inverse.)

    Raises:
        ValueError: the displacement is none.

    Example:
        >>> displace_points(np.full((2, 8, 8), 0.5), np.array([[1.0, 2.0]])).tolist()
        [[1.5, 2.5]]
    """
    displacement = check_displacement("displacement", displacement)
    linear, residual = _linear_and_residual(displacement)
    return _map(linear, residual, points)


def compose_displacements(first: Array, second: Array | Matrix) -> Array:
    """One displacement that does what two maps do one after the other.

    Args:
        first: shape (2, height, width): from the output to an image between.
        second: from there to the input: a displacement on the grid between, or a 3 x 3 matrix.

    Returns:
        From the output to the input, shape (2, height, width).

    Raises:
        ValueError: one of them is no transform.

    Example:
        >>> from equicomir.geometry import rigid
        >>> both = compose_displacements(np.full((2, 8, 8), 1.0), rigid(0, (2, 0)))
        >>> both[:, 3, 3].round(9).tolist()
        [3.0, 1.0]
    """
    first = check_displacement("first", first)
    size = first.shape[1:]
    pixels = pixel_centres(size[0], size[1])
    between = pixels + first.reshape(2, -1).T
    if np.ndim(second) == 2:
        end = transform_points(check_matrix("second", second), between)
    else:
        end = displace_points(check_displacement("second", second), between)
    return (end - pixels).T.reshape(2, *size)


def invert_displacement(
    displacement: Array,
    size: tuple[int, int] | None = None,
    *,
    tolerance_pixels: float = 1e-3,
    iterations: int = 100,
) -> tuple[Array, Array]:
    """The displacement of the opposite direction, and how well it inverts.

    Args:
        displacement: shape (2, height, width), from output to input, in pixels.
        size: (height, width) of the input, on whose grid the inverse is given; that of the
            output if None.
        tolerance_pixels: stop where no pixel moves more than this in one iteration.
        iterations: at most so many.

    Returns:
        The inverse, shape (2, *size), and its error, shape ``size``: how far in pixels of the
        input each pixel is from where it returns to; NaN where the output does not show the
        pixel. Where the map folds there is no inverse: the error is large there, and the caller
        decides.

    Raises:
        ValueError: the displacement is none, or maps nothing but a line.

    Example:
        >>> from equicomir.geometry import rigid
        >>> turn = rigid(130, centre=(3.5, 3.5))
        >>> back, error = invert_displacement(displacement_of(turn, (8, 8)))
        >>> bool(np.allclose(back, displacement_of(np.linalg.inv(turn), (8, 8))))
        True
        >>> bool(np.nanmax(error) < 1e-9)
        True

    Source:
        Chen et al., A simple fixed-point approach to invert a deformation field, Medical Physics
        2008, doi 10.1118/1.2816107; the affine part, which need not contract, is inverted exactly.
    """
    displacement = check_displacement("displacement", displacement)
    rows, columns = displacement.shape[1:] if size is None else size
    linear, residual = _linear_and_residual(displacement)
    back = np.linalg.inv(check_matrix("displacement, its affine part", linear))
    pixels = pixel_centres(rows, columns)
    found = transform_points(back, pixels)
    for _ in range(iterations):
        last, found = found, transform_points(back, pixels - _interpolate(residual, found))
        if np.abs(found - last).max() <= tolerance_pixels:
            break
    error = np.linalg.norm(_map(linear, residual, found) - pixels, axis=1)
    greatest = np.array(displacement.shape[1:]) - 1
    shown = ((found >= -_SLACK) & (found <= greatest + _SLACK)).all(axis=1)
    error[~shown] = np.nan
    return (found - pixels).T.reshape(2, rows, columns), error.reshape(rows, columns)


def warp_by_displacement(
    image: Images, displacement: Array, *, mode: str = "bicubic"
) -> tuple[Images, Tensor]:
    """Resample one image by a displacement, and tell where the result is defined.

    Args:
        image: shape (1, channels, height, width).
        displacement: shape (2, rows, columns), in pixels, on the output's grid.
        mode: ``"nearest"``, ``"bilinear"`` or ``"bicubic"``, as in :func:`equicomir.geometry.warp`.

    Returns:
        The warped image (1, channels, rows, columns), and the valid region, a boolean tensor
        (rows, columns): true where the pixel comes from inside the image.

    Raises:
        TypeError, ValueError: ``image`` is not such a tensor, or the displacement is none.

    Example:
        >>> x = torch.rand(1, 3, 4, 4)
        >>> moved, inside = warp_by_displacement(x, np.ones((2, 4, 4)))
        >>> torch.allclose(moved[..., :3, :3], x[..., 1:, 1:], atol=1e-6)
        True
        >>> int(inside.sum())
        9
    """
    check_tensor("image", image, "batch channels height width")
    displacement = check_displacement("displacement", displacement)
    source = np.moveaxis(np.indices(displacement.shape[1:]) + displacement, 0, -1)
    places = torch.from_numpy(source)[None].to(image)
    warped = look_up(image, places, mode=mode, outside="border")
    greatest = np.array(image.shape[-2:]) - 1
    inside = ((source >= -_SLACK) & (source <= greatest + _SLACK)).all(axis=-1)
    return warped, torch.from_numpy(inside)


def check_displacement(name: str, value: object) -> Array:
    """Refuse what is no displacement.

    Args:
        name: the argument's name, for the message.
        value: what came.

    Returns:
        The value as float64.

    Raises:
        TypeError: it is no NumPy array of real numbers.
        ValueError: its shape is not (2, height, width) of 2 pixels or more a side, or a value is
            not finite.

    Example:
        >>> check_displacement("displacement", np.zeros((2, 4, 5), np.float32)).dtype
        dtype('float64')
    """
    if not isinstance(value, np.ndarray) or value.dtype.kind not in "iuf":
        came = value.dtype if isinstance(value, np.ndarray) else type(value).__name__
        raise TypeError(f"{name}: expected a NumPy array of real numbers, got {came}.")
    if value.ndim != 3 or value.shape[0] != 2 or min(value.shape) < 2:
        raise ValueError(f"{name}: expected shape (2, height, width), got {value.shape}.")
    array: Array = value.astype(np.float64)
    if not np.isfinite(array).all():
        raise ValueError(f"{name}: expected finite numbers, got NaN or infinity.")
    return array


def _linear_and_residual(displacement: Array) -> tuple[Matrix, Array]:
    """The affine map nearest to a displacement, and what it leaves, shape as given."""
    size = displacement.shape[1:]
    pixels = pixel_centres(size[0], size[1])
    homogeneous = np.column_stack([pixels, np.ones(len(pixels))])
    places = pixels + displacement.reshape(2, -1).T
    # On a grid the three columns, once centred, are orthogonal: the normal equations are safe.
    middle = np.array([*pixels.mean(axis=0), 0.0])
    centred = homogeneous - middle
    fit = np.linalg.solve(centred.T @ centred, centred.T @ places)
    matrix = np.eye(3)
    matrix[:2] = fit.T
    matrix[:2, 2] -= matrix[:2, :2] @ middle[:2]
    residual = (places - transform_points(matrix, pixels)).T.reshape(displacement.shape)
    return matrix, residual


def _interpolate(field: Array, points: Points) -> Points:
    """Values (n, 2) of a field between its pixels; outside, those of the border."""
    both = [ndimage.map_coordinates(part, points.T, order=1, mode="nearest") for part in field]
    return np.stack(both, axis=1)


def _map(linear: Matrix, residual: Array, points: Points) -> Points:
    return transform_points(linear, points) + _interpolate(residual, points)
