"""Transforms beyond the rigid one, how they combine, and the physical units they are told in.

A microscopist's two images differ in pixel size, in shrinkage and in shear, and her other programs
speak of micrometres, not of pixels. A *transform* stays what :mod:`equicomir.geometry` makes it,
a 3 x 3 matrix over homogeneous (row, column, 1) that is named by its direction; here are the other
kinds of it. What no matrix can say is in :mod:`equicomir.transforms.deformations`; files and other
libraries are in :mod:`equicomir.transforms.files`, :mod:`equicomir.transforms.itk` and
:mod:`equicomir.transforms.scikit_image`.

Physical points have the centre of the first pixel as their origin: the pixel (row, column) lies at
(row, column) times the pixel size, in micrometres, as in ITK for an image whose origin is zero.
"""

import math
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from equicomir.geometry import rigid
from equicomir.shapes import Matrix

_LEAST_DETERMINANT = 1e-9  # an image shrunk more than that is gone


def similarity(
    rotation_degrees: float,
    scale: float,
    translation: tuple[float, float] = (0.0, 0.0),
    *,
    centre: tuple[float, float] = (0.0, 0.0),
) -> Matrix:
    """The rotation and enlargement about ``centre``, followed by a translation.

    Args:
        rotation_degrees: angle, positive as ``torch.rot90(k=1)`` turns.
        scale: positive; points move away from the centre by this factor.
        translation: (rows, columns), in pixels, applied last.
        centre: (row, column) that rotation and enlargement leave in place.

    Returns:
        The 3 x 3 matrix over homogeneous (row, column, 1).

    Raises:
        ValueError: the scale is not a positive number.

    Example:
        >>> (similarity(90, 2.0, centre=(1.5, 1.5)) @ [0, 1, 1]).round(9).tolist()
        [2.5, -1.5, 1.0]
    """
    if not 0 < scale < math.inf:
        raise ValueError(f"scale: expected a positive number, got {scale}.")
    return affine(scale * rigid(rotation_degrees)[:2, :2], translation, centre=centre)


def affine(
    linear: npt.ArrayLike,
    translation: tuple[float, float] = (0.0, 0.0),
    *,
    centre: tuple[float, float] = (0.0, 0.0),
) -> Matrix:
    """Any linear map about ``centre``, followed by a translation.

    Args:
        linear: 2 x 2 over (row, column), invertible.
        translation: (rows, columns), in pixels, applied last.
        centre: (row, column) that the linear map leaves in place.

    Returns:
        The 3 x 3 matrix over homogeneous (row, column, 1).

    Raises:
        ValueError: the map is no invertible 2 x 2 matrix, or a number is not finite.

    Example:
        A shear of the columns by half the row.

        >>> (affine([[1, 0], [0.5, 1]], (0, 3)) @ [2, 1, 1]).tolist()
        [2.0, 5.0, 1.0]
    """
    part = np.asarray(linear, dtype=np.float64)
    if part.shape != (2, 2):
        raise ValueError(f"linear: expected a 2 x 2 matrix, got shape {part.shape}.")
    matrix = np.eye(3)
    matrix[:2, :2] = part
    with np.errstate(all="ignore"):  # what overflows is refused below
        matrix[:2, 2] = np.asarray(centre) - part @ np.asarray(centre) + np.asarray(translation)
    return check_matrix("linear, translation, centre", matrix)


def shrunk_to_original(factor: tuple[int, int]) -> Matrix:
    """From the pixels of an image shrunk by means over blocks to those of the original.

    Args:
        factor: (rows, columns) of a block, positive.

    Returns:
        The 3 x 3 matrix: the first shrunk pixel lies in the middle of the first block, not on
        its first pixel.

    Raises:
        ValueError: a factor is not positive.

    Example:
        >>> (shrunk_to_original((2, 4)) @ [0, 0, 1]).tolist()
        [0.5, 1.5, 1.0]
    """
    if min(factor) < 1:
        raise ValueError(f"factor: expected whole numbers of at least 1, got {factor}.")
    return affine(np.diag(factor), ((factor[0] - 1) / 2, (factor[1] - 1) / 2))


def compose(first: Matrix, *further: Matrix) -> Matrix:
    """One matrix that does what several do one after the other.

    Args:
        first: applied first, so it stands first.
        further: applied in this order.

    Returns:
        The 3 x 3 matrix.

    Raises:
        ValueError: one of them is no transform.

    Example:
        >>> (compose(rigid(0, (1, 0)), similarity(0, 2.0)) @ [0, 0, 1]).tolist()
        [2.0, 0.0, 1.0]
    """
    total = check_matrix("first", first)
    for matrix in further:
        total = check_matrix("further", matrix) @ total
    return total


def invert(matrix: Matrix) -> Matrix:
    """The transform of the opposite direction.

    Raises:
        ValueError: it is no transform that has one.

    Example:
        >>> bool(np.allclose(invert(rigid(30, (1, 2))) @ rigid(30, (1, 2)), np.eye(3)))
        True
    """
    # The last row would otherwise keep what rounding left in it.
    inverse = np.linalg.inv(check_matrix("matrix", matrix))
    inverse[2] = (0, 0, 1)
    return inverse


def in_micrometres(
    matrix: Matrix,
    from_pixel_size_micrometres: tuple[float, float],
    to_pixel_size_micrometres: tuple[float, float],
) -> Matrix:
    """A transform between pixels, told between physical points.

    Args:
        matrix: from pixels of one image to pixels of another, such as ``moving_to_fixed``.
        from_pixel_size_micrometres: (row, column) of the image it takes points from (there: the
            moving one).
        to_pixel_size_micrometres: (row, column) of the image it takes points to.

    Returns:
        The 3 x 3 matrix over (row, column, 1) in micrometres.

    Raises:
        ValueError: a pixel size is not positive, or the matrix is no transform.

    Example:
        Pixel on pixel, where pixels of 2 micrometres meet pixels of 1: half as large.

        >>> in_micrometres(np.eye(3), (2.0, 2.0), (1.0, 1.0)).diagonal().tolist()
        [0.5, 0.5, 1.0]
    """
    source = _size_matrix("from_pixel_size_micrometres", from_pixel_size_micrometres)
    target = _size_matrix("to_pixel_size_micrometres", to_pixel_size_micrometres)
    return compose(np.linalg.inv(source), matrix, target)


def in_pixels(
    matrix: Matrix,
    from_pixel_size_micrometres: tuple[float, float],
    to_pixel_size_micrometres: tuple[float, float],
) -> Matrix:
    """A transform between physical points, told between pixels: undoes :func:`in_micrometres`.

    Args:
        matrix: over (row, column, 1) in micrometres.
        from_pixel_size_micrometres: (row, column) of the image it takes points from.
        to_pixel_size_micrometres: (row, column) of the image it takes points to.

    Returns:
        The 3 x 3 matrix over (row, column, 1) in pixels.

    Raises:
        ValueError: a pixel size is not positive, or the matrix is no transform.

    Example:
        Ten micrometres along the rows are five pixels of 2 micrometres.

        >>> in_pixels(rigid(0, (10, 0)), (2.0, 2.0), (2.0, 2.0))[0].tolist()
        [1.0, 0.0, 5.0]
    """
    source = _size_matrix("from_pixel_size_micrometres", from_pixel_size_micrometres)
    target = _size_matrix("to_pixel_size_micrometres", to_pixel_size_micrometres)
    return compose(source, matrix, np.linalg.inv(target))


def over_xy(matrix: Matrix) -> Matrix:
    """A transform over (row, column, 1) as one over (x, y, 1), and back.

    Example:
        >>> over_xy(rigid(0, (1, 2)))[:, 2].tolist()
        [2.0, 1.0, 1.0]
    """
    return matrix[np.ix_((1, 0, 2), (1, 0, 2))]


def check_matrix(name: str, value: object) -> Matrix:
    """Refuse what is no invertible transform of the plane.

    Args:
        name: the argument's name, for the message.
        value: what came.

    Returns:
        The value as float64, a copy.

    Raises:
        ValueError: not 3 x 3, not finite, singular, or its last row is not 0, 0, 1.

    Example:
        >>> check_matrix("matrix", [[1, 0, 4], [0, 1, 0], [0, 0, 1]])[0].tolist()
        [1.0, 0.0, 4.0]
    """
    try:
        matrix = np.array(value, dtype=np.float64)
    except (TypeError, ValueError, OverflowError) as error:
        raise ValueError(f"{name}: expected a 3 x 3 matrix of numbers, got {error}.") from error
    if matrix.shape != (3, 3):
        raise ValueError(f"{name}: expected a 3 x 3 matrix, got shape {matrix.shape}.")
    if not np.isfinite(matrix).all():
        raise ValueError(f"{name}: expected finite numbers, got NaN or infinity.")
    if not np.allclose(matrix[2], (0, 0, 1), rtol=0, atol=1e-9):
        raise ValueError(
            f"{name}: expected the last row 0, 0, 1 of an affine transform over "
            f"(row, column, 1), got {matrix[2].tolist()}."
        )
    (a, b), (c, d) = matrix[:2, :2].tolist()  # floats of Python: no warning where they overflow
    if not _LEAST_DETERMINANT <= abs(a * d - b * c) < math.inf:
        raise ValueError(f"{name}: expected an invertible transform, got one that flattens.")
    return matrix


def check_pixel_size(name: str, value: Sequence[float]) -> tuple[float, float]:
    """Refuse what is no pixel size: (row, column), two positive numbers.

    Args:
        name: of the argument, for errors.
        value: what came.

    Returns:
        The two numbers.

    Raises:
        ValueError: it is not.

    Example:
        >>> check_pixel_size("fixed_pixel_size_micrometres", (0.5, 1))
        (0.5, 1.0)
    """
    try:
        row, column = (float(number) for number in value)
    except (TypeError, ValueError, OverflowError):
        row = column = math.nan
    if not (0 < row < math.inf and 0 < column < math.inf):
        raise ValueError(
            f"{name}: expected two positive numbers (row, column), got {str(value)[:80]}."
        )
    return row, column


def _size_matrix(name: str, pixel_size: Sequence[float]) -> Matrix:
    """From pixels to physical points of one image."""
    return np.diag([*check_pixel_size(name, pixel_size), 1.0])
