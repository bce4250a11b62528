"""Transforms for scikit-image and from it: the same pixels, the opposite order of axes.

scikit-image's pixel centres lie at whole numbers as ours do, but its points are (x, y), and its
``warp`` takes the map from output to input.
"""

import math
from typing import Any

import numpy as np
from skimage import transform as skimage_transform

from equicomir.shapes import Matrix
from equicomir.transforms.linear import check_matrix, over_xy


def to_skimage(matrix: Matrix) -> Any:
    """A transform for scikit-image, of the narrowest kind that holds it.

    Args:
        matrix: 3 x 3 over (row, column, 1), in pixels. For ``skimage.transform.warp``, give the
            one from output to input: ``invert(moving_to_fixed)``.

    Returns:
        A ``EuclideanTransform``, ``SimilarityTransform`` or ``AffineTransform`` over (x, y).

    Raises:
        ValueError: no transform.

    Example:
        >>> from equicomir.geometry import rigid
        >>> to_skimage(rigid(0, (1, 2))).translation.tolist()
        [2.0, 1.0]
    """
    exchanged = over_xy(check_matrix("matrix", matrix))
    linear = exchanged[:2, :2]
    scale = math.sqrt(abs(float(np.linalg.det(linear))))
    turns = np.allclose(linear.T @ linear, scale**2 * np.eye(2), rtol=0, atol=1e-9 * scale**2)
    if not turns or np.linalg.det(linear) < 0:
        return skimage_transform.AffineTransform(matrix=exchanged)
    if abs(scale - 1) > 1e-9:
        return skimage_transform.SimilarityTransform(matrix=exchanged)
    return skimage_transform.EuclideanTransform(matrix=exchanged)


def from_skimage(transform: Any) -> Matrix:
    """The matrix of a scikit-image transform, in the same direction.

    Args:
        transform: ``EuclideanTransform``, ``SimilarityTransform`` or ``AffineTransform``.

    Returns:
        The 3 x 3 matrix over (row, column, 1).

    Raises:
        ValueError: it has no such matrix.

    Example:
        >>> from equicomir.transforms.linear import affine
        >>> from_skimage(to_skimage(affine([[2, 0], [1, 1]], (1, 2)))).tolist()
        [[2.0, 0.0, 1.0], [1.0, 1.0, 2.0], [0.0, 0.0, 1.0]]
    """
    return over_xy(check_matrix("transform.params", getattr(transform, "params", None)))
