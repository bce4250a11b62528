"""Mutual information by elastix, started at many angles: the classical intensity-based method."""

import math
import os
import re
import tempfile
import warnings
from pathlib import Path
from typing import Any

import joblib
import numpy as np

from equicomir.geometry import image_centre, rigid
from equicomir.registration.alignment import Alignment, checked
from equicomir.shapes import Array, ArrayMask, Matrix

_RESOLUTIONS = 3
_ITERATIONS = 256


def register(
    fixed: Array,
    moving: Array,
    *,
    fixed_mask: ArrayMask | None = None,
    moving_mask: ArrayMask | None = None,
    start_every_degrees: float = 30.0,
) -> Alignment:
    """Mattes mutual information from starts all round the circle; the best final value wins.

    Args:
        fixed: (height, width) or (channels, height, width); the mean of the channels is used.
        moving: likewise.
        fixed_mask: boolean (height, width), true where ``fixed`` is defined; None for everywhere.
        moving_mask: likewise for ``moving``.
        start_every_degrees: angle between starts; each begins centre on centre.

    Returns:
        The alignment: ``score`` is the mutual information that elastix reports at its end, in
        nats; ``score_by_angle`` holds it at each start's angle.

    Raises:
        ValueError: bad input, or no start ended with a transform.

    Source:
        Klein et al. 2010, elastix, doi 10.1109/TMI.2009.2035616, its default rigid parameters;
        Mattes et al. 2003, doi 10.1109/TMI.2003.809072.
    """
    fixed, moving, fixed_mask, moving_mask = checked(fixed, moving, fixed_mask, moving_mask)
    if not 0 < start_every_degrees <= 360:
        raise ValueError(f"start_every_degrees: expected (0, 360], got {start_every_degrees}.")
    starts = [float(start) for start in np.arange(0, 360, start_every_degrees)]
    # In processes of their own, even where one core is all there is: a Python that has loaded
    # ITK's wrapping can crash at its very end, and then its exit status is that of a failure.
    results = joblib.Parallel(n_jobs=max(2, os.cpu_count() or 1))(
        joblib.delayed(_start_or_reason)(fixed, moving, fixed_mask, moving_mask, start)
        for start in starts
    )
    ends = [
        (start, *result)
        for start, result in zip(starts, results, strict=True)
        if not isinstance(result, str)
    ]
    if not ends:
        raise ValueError(
            f"fixed, moving: expected elastix to end from one start, got: {results[-1]}."
        )
    _, score, matrix = max(ends, key=lambda end: end[1])
    return Alignment(matrix, score, [(start, value) for start, value, _ in ends])


def _start_or_reason(
    fixed: Array,
    moving: Array,
    fixed_mask: ArrayMask | None,
    moving_mask: ArrayMask | None,
    start_degrees: float,
) -> tuple[float, Matrix] | str:
    """What one start ended with, or elastix's own word that it led out of the image."""
    try:
        with warnings.catch_warnings():
            # ITK's wrapping, loaded piece by piece, predates a rule of Python 3.11.
            warnings.filterwarnings("ignore", message=".*[sS]wig", category=DeprecationWarning)
            return _one_start(fixed, moving, fixed_mask, moving_mask, start_degrees)
    except RuntimeError as error:
        return next((line for line in str(error).splitlines() if "rror" in line), str(error))


def _one_start(
    fixed: Array,
    moving: Array,
    fixed_mask: ArrayMask | None,
    moving_mask: ArrayMask | None,
    start_degrees: float,
) -> tuple[float, Matrix]:
    """Run elastix once; give the final mutual information and moving_to_fixed."""
    import itk  # a heavy optional dependency, only of this method

    def image(array: Array) -> Any:
        return itk.image_from_array(np.ascontiguousarray(array, dtype=np.float32))

    def mask(array: ArrayMask | None) -> Any:
        return None if array is None else itk.image_from_array(array.astype(np.uint8))

    parameters = itk.ParameterObject.New()
    rigid_map = parameters.GetDefaultParameterMap("rigid", _RESOLUTIONS)
    rigid_map["AutomaticTransformInitialization"] = ("false",)
    rigid_map["MaximumNumberOfIterations"] = (str(_ITERATIONS),)
    rigid_map["RequiredRatioOfValidSamples"] = ("0.05",)
    rigid_map["WriteResultImage"] = ("false",)
    rigid_map["RandomSeed"] = ("1",)
    parameters.AddParameterMap(rigid_map)
    initial = itk.ParameterObject.New()
    initial.AddParameterMap(_euler_map(fixed, moving, start_degrees))
    options = {"fixed_mask": mask(fixed_mask), "moving_mask": mask(moving_mask)}
    with tempfile.TemporaryDirectory() as folder:
        _, result = itk.elastix_registration_method(
            image(fixed.mean(0)),
            image(moving.mean(0)),
            parameter_object=parameters,
            initial_transform_parameter_object=initial,
            output_directory=folder,
            log_to_console=False,
            log_to_file=True,
            number_of_threads=1,
            **{name: value for name, value in options.items() if value is not None},
        )
        log = (Path(folder) / "elastix.log").read_text()
    value = float(re.findall(r"Final metric value\s*=\s*(\S+)", log)[-1])
    maps = [result.GetParameterMap(i) for i in range(result.GetNumberOfParameterMaps())]
    fixed_to_moving = np.eye(3)
    for one in maps:  # the initial transform first, then what elastix added to it
        fixed_to_moving = _euler_matrix(one) @ fixed_to_moving
    matrix: Matrix = np.linalg.inv(fixed_to_moving)
    return -value, matrix


def _euler_map(fixed: Array, moving: Array, degrees: float) -> dict[str, tuple[str, ...]]:
    """Elastix's form of the start: centre on centre, the moving image turned by ``degrees``."""
    f, m = image_centre(*fixed.shape[1:]), image_centre(*moving.shape[1:])
    # elastix maps fixed to moving, over (x, y) = (column, row): the inverse of moving to fixed
    # has the opposite angle, and the exchanged axes change its sign once more.
    numbers = (math.radians(degrees), m[1] - f[1], m[0] - f[0])
    rows, columns = fixed.shape[1:]
    return {
        "Transform": ("EulerTransform",),
        "NumberOfParameters": ("3",),
        "TransformParameters": tuple(map(repr, map(float, numbers))),
        "CenterOfRotationPoint": (repr(f[1]), repr(f[0])),
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


def _euler_matrix(parameter_map: Any) -> Matrix:
    """Elastix's (angle, x, y) about its centre as our matrix over (row, column)."""
    angle, x, y = (float(value) for value in parameter_map["TransformParameters"])
    column, row = (float(value) for value in parameter_map["CenterOfRotationPoint"])
    return rigid(-math.degrees(angle), (y, x), centre=(row, column))
