"""What elastix is told and what it tells: its parameter maps, to and from matrices and arrays.

elastix takes points from the fixed image to the moving one, over (x, y) = (column, row), in the
unit of the spacing (here one pixel), and names everything by strings. All of that ends here.
"""

from collections.abc import Mapping, Sequence
from typing import Literal

import numpy as np
from scipy import ndimage

from equicomir.geometry import pixel_centres, transform_points
from equicomir.shapes import Array, Matrix, Points
from equicomir.transforms.itk import itk_matrix
from equicomir.transforms.linear import invert, over_xy

Kind = Literal["rigid", "similarity", "affine", "bspline"]
Measure = Literal["mutual_information", "correlation"]
ParameterMap = Mapping[str, Sequence[str]]

#: elastix's name of each transform.
KINDS = {
    "rigid": "EulerTransform",
    "similarity": "SimilarityTransform",
    "affine": "AffineTransform",
    "bspline": "BSplineTransform",
}
#: elastix's name of each measure; both are minimised, so their sign is the opposite of a score's.
MEASURES = {
    "mutual_information": "AdvancedMattesMutualInformation",
    "correlation": "AdvancedNormalizedCorrelation",
}
_ITK_NAMES = {
    "EulerTransform": "Euler2DTransform",
    "SimilarityTransform": "Similarity2DTransform",
    "AffineTransform": "AffineTransform",
}


def settings(kind: Kind, measure: Measure, iterations: int) -> dict[str, tuple[str, ...]]:
    """What differs from elastix's default parameters of the kind, the sampling of noise included.

    Args:
        kind: of the transform.
        measure: what is optimised; beside it, for ``"bspline"``, the bending energy.
        iterations: of the optimiser, at each resolution.

    Returns:
        The entries to change.

    Example:
        >>> settings("similarity", "correlation", 100)["Transform"]
        ('SimilarityTransform',)
    """
    bending = ("TransformBendingEnergyPenalty",) if kind == "bspline" else ()
    return {
        "Transform": (KINDS[kind],),
        "Metric": (MEASURES[measure], *bending),
        "AutomaticTransformInitialization": ("false",),
        "MaximumNumberOfIterations": (str(iterations),),
        "RequiredRatioOfValidSamples": ("0.05",),
        "WriteResultImage": ("false",),
        "RandomSeed": ("1",),
    }


def start_map(fixed_size: tuple[int, int], moving_to_fixed: Matrix) -> dict[str, tuple[str, ...]]:
    """A matrix as the transform that elastix begins with.

    Args:
        fixed_size: (height, width), in pixels.
        moving_to_fixed: 3 x 3 matrix, in pixels.

    Returns:
        The parameter map of an affine transform.

    Example:
        >>> bool(np.allclose(linear_matrix(start_map((4, 5), np.eye(3))), np.eye(3)))
        True
    """
    itk = over_xy(invert(moving_to_fixed))
    numbers = [*itk[:2, :2].ravel().tolist(), *itk[:2, 2].tolist()]
    rows, columns = fixed_size
    return {
        "Transform": ("AffineTransform",),
        "NumberOfParameters": ("6",),
        "TransformParameters": tuple(map(repr, numbers)),
        "CenterOfRotationPoint": ("0", "0"),
        "InitialTransformParametersFileName": ("NoInitialTransform",),
        "HowToCombineTransforms": ("Compose",),
        "FixedImageDimension": ("2",),
        "MovingImageDimension": ("2",),
        "FixedInternalImagePixelType": ("float",),
        "MovingInternalImagePixelType": ("float",),
        "Size": (str(columns), str(rows)),
        "Index": ("0", "0"),
        "Spacing": ("1", "1"),
        "Origin": ("0", "0"),
        "Direction": ("1", "0", "0", "1"),
        "UseDirectionCosines": ("true",),
    }


def linear_matrix(parameter_map: ParameterMap) -> Matrix:
    """One of elastix's linear transforms as a matrix from fixed to moving.

    Args:
        parameter_map: of an Euler, similarity or affine transform.

    Returns:
        The 3 x 3 matrix over (row, column, 1), in pixels.

    Example:
        >>> from equicomir.geometry import rigid
        >>> fixed_to_moving = linear_matrix(start_map((4, 5), rigid(30, (1, 2))))
        >>> bool(np.allclose(fixed_to_moving @ rigid(30, (1, 2)), np.eye(3)))
        True
    """
    kind = _ITK_NAMES[parameter_map["Transform"][0]]
    centre = _numbers(parameter_map, "CenterOfRotationPoint").tolist()
    return itk_matrix(kind, _numbers(parameter_map, "TransformParameters").tolist(), centre)


def spline_displacement(
    spline: ParameterMap, moving_to_fixed: Matrix, fixed_size: tuple[int, int]
) -> Array:
    """The whole map of a B-spline that elastix found after a linear start.

    Args:
        spline: parameter map of the B-spline transform, cubic.
        moving_to_fixed: the 3 x 3 matrix it began with.
        fixed_size: (height, width), in pixels.

    Returns:
        Shape (2, height, width), in pixels: where in the moving image each fixed pixel comes
        from, less the pixel itself.

    Source:
        elastix's manual, section 2.6: the spline acts on the points that the start gives.
    """
    pixels = pixel_centres(*fixed_size)
    started = transform_points(invert(moving_to_fixed), pixels)
    moved = started + _spline_at(spline, started)
    return (moved - pixels).T.reshape(2, *fixed_size)


def _spline_at(spline: ParameterMap, points: Points) -> Points:
    """Values (n, 2) of a cubic B-spline at points, (row, column); zero outside its grid, as ITK."""
    columns, rows = (int(n) for n in spline["GridSize"])
    coefficients = _numbers(spline, "TransformParameters").reshape(2, rows, columns)
    origin, spacing = _numbers(spline, "GridOrigin")[::-1], _numbers(spline, "GridSpacing")[::-1]
    places = (points - origin) / spacing
    inside = ((places >= 1) & (places <= np.array([rows, columns]) - 2)).all(axis=1)
    values = [
        ndimage.map_coordinates(part, places.T, order=3, prefilter=False, mode="mirror")
        for part in coefficients[::-1]  # x first, as always there
    ]
    return np.where(inside[:, None], np.stack(values, axis=1), 0.0)


def _numbers(parameter_map: ParameterMap, name: str) -> Array:
    return np.array([float(value) for value in parameter_map[name]])
