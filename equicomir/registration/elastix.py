"""elastix: the classical intensity-based method, and what carries a start on to deformed tissue.

On raw images it is the baseline: mutual information, started at many angles. On representations it
is the last step: from the matrix that another method found to a similarity, an affine map, or a
B-spline for tissue that was cut, stretched and mounted.
"""

import math
import os
import re
import tempfile
import threading
import warnings
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import joblib
import numpy as np
from joblib.externals.loky import process_executor

from equicomir.geometry import image_centre, rigid
from equicomir.registration.alignment import Alignment, checked, not_found
from equicomir.registration.elastix_maps import (
    KINDS,
    MEASURES,
    Kind,
    Measure,
    linear_matrix,
    settings,
    spline_displacement,
    start_map,
)
from equicomir.shapes import Array, ArrayMask, Matrix
from equicomir.transforms.linear import check_matrix, compose, invert

_RESOLUTIONS = 3
_LOADING = threading.Lock()
_ITERATIONS = 256
_ROOM_BYTES = 2**31  # that a process of joblib may grow by
_Images = tuple[Array, Array, ArrayMask | None, ArrayMask | None]
_Run = Callable[[Matrix], Alignment | str]
_LEAST_SPACING = 4.0  # pixels; below it, the grid has more numbers than the image says


def register(
    fixed: Array,
    moving: Array,
    *,
    fixed_mask: ArrayMask | None = None,
    moving_mask: ArrayMask | None = None,
    transform: Kind = "rigid",
    initial: Matrix | None = None,
    measure: Measure = "mutual_information",
    grid_spacing_pixels: float = 32.0,
    start_every_degrees: float = 30.0,
) -> Alignment:
    """Optimise a measure of the intensities, from a given start or from all round the circle.

    Args:
        fixed: (height, width) or (channels, height, width); the mean of the channels is used.
        moving: likewise, with as many channels.
        fixed_mask: boolean (height, width), true where ``fixed`` is defined; None for everywhere.
        moving_mask: likewise for ``moving``.
        transform: ``"rigid"``, ``"similarity"``, ``"affine"`` or ``"bspline"``: what is added to
            the start. Without a start, a rigid map is found first, then the affine one for
            ``"bspline"``.
        initial: ``moving_to_fixed`` to start from, 3 x 3, in pixels; None to start at many
            angles, centre on centre, and go on from the best.
        measure: ``"mutual_information"`` (Mattes) for images that look different, or
            ``"correlation"`` (Pearson's) for representations.
        grid_spacing_pixels: between the B-spline's knots at the finest scale, at least 4: about
            the size of the smallest deformation to follow.
        start_every_degrees: angle between starts, in (0, 360], where there is no ``initial``.

    Returns:
        The alignment: ``score`` is the measure (mutual information in nats) that elastix reports
        at its end, less the bending energy for ``"bspline"``; ``score_by_angle`` holds it at each
        start's angle. For ``"bspline"``, ``displacement`` is the whole map and
        ``moving_to_fixed`` the affine one it began with. Where elastix does not converge,
        ``failure`` gives its own reason.

    Raises:
        TypeError: not arrays of real numbers.
        ValueError: bad images or masks, or an argument outside its range.

    Source:
        Klein et al. 2010, elastix, doi 10.1109/TMI.2009.2035616, its default parameters;
        Mattes et al. 2003, doi 10.1109/TMI.2003.809072; Rueckert et al. 1999, doi
        10.1109/42.796284 (B-splines and bending energy).
    """
    images = checked(fixed, moving, fixed_mask, moving_mask)
    if transform not in KINDS:
        raise ValueError(f"transform: expected one of {', '.join(KINDS)}, got {transform!r}.")
    if measure not in MEASURES:
        raise ValueError(f"measure: expected one of {', '.join(MEASURES)}, got {measure!r}.")
    if not 0 < start_every_degrees <= 360:
        raise ValueError(f"start_every_degrees: expected (0, 360], got {start_every_degrees}.")
    if not _LEAST_SPACING <= grid_spacing_pixels < math.inf:
        raise ValueError(
            f"grid_spacing_pixels: expected {_LEAST_SPACING:g} or more, got {grid_spacing_pixels}."
        )
    run = partial(_stages_or_reason, images, measure, float(grid_spacing_pixels))
    stages: list[Kind] = ["affine", "bspline"] if transform == "bspline" else [transform]
    score_by_angle: list[tuple[float, float]] = []
    angles = [float(angle) for angle in np.arange(0, 360, start_every_degrees)]
    # The same for all runs of a call, or those that have loaded ITK would be ended and begun anew.
    processes = max(2, min(os.cpu_count() or 1, len(angles) if initial is None else 1))
    if initial is None:
        rigidly = _all_round(images, partial(run, ["rigid"]), angles, processes)
        if rigidly.failure or transform == "rigid":
            return rigidly
        initial, score_by_angle = rigidly.moving_to_fixed, rigidly.score_by_angle
    start = check_matrix("initial", initial)
    (end,) = _in_processes(partial(run, stages), [start], processes)
    if isinstance(end, str):
        return not_found(f"elastix did not converge: {end}.")
    return replace(end, score_by_angle=score_by_angle)


def _all_round(images: _Images, run: _Run, angles: list[float], processes: int) -> Alignment:
    """The best rigid map of starts all round the circle, each centre on centre."""
    fixed_centre = image_centre(*images[0].shape[1:])
    moving_centre = image_centre(*images[1].shape[1:])
    shift = (fixed_centre[0] - moving_centre[0], fixed_centre[1] - moving_centre[1])
    starts = [rigid(angle, shift, centre=moving_centre) for angle in angles]
    ends = list(zip(angles, _in_processes(run, starts, processes), strict=True))
    converged = [(angle, end) for angle, end in ends if isinstance(end, Alignment)]
    if not converged:
        return not_found(f"elastix converged from no start: {ends[-1][1]}.")
    best = max((end for _, end in converged), key=lambda end: end.score)
    return replace(best, score_by_angle=[(angle, end.score) for angle, end in converged])


def _in_processes(run: _Run, starts: list[Matrix], processes: int) -> list[Alignment | str]:
    """What elastix ended with from each start, or its reason for ending with nothing."""
    # In processes of their own, even where one core is all there is: a Python that has loaded
    # ITK's wrapping can crash at its very end, and then its exit status is that of a failure.
    # Loading it takes about ten seconds, once a process; they stay for the next call.
    runs = joblib.Parallel(n_jobs=processes)(joblib.delayed(run)(start) for start in starts)
    return list(runs)


def _stages_or_reason(
    images: _Images, measure: Measure, spacing: float, stages: list[Kind], start: Matrix
) -> Alignment | str:
    """What one start ended with, or elastix's own word that it led out of the image."""
    found = Alignment(start, -math.inf)
    try:
        with warnings.catch_warnings():
            # ITK's wrapping, loaded piece by piece, predates a rule of Python 3.11.
            warnings.filterwarnings("ignore", message=".*[sS]wig", category=DeprecationWarning)
            for stage in stages:
                found = _run(images, found.moving_to_fixed, stage, measure, spacing)
    except (RuntimeError, ValueError) as error:  # ValueError: a matrix that flattens the image
        return " ".join(str(error).split()).rstrip(".")
    return found


def _run(images: _Images, start: Matrix, kind: Kind, measure: Measure, spacing: float) -> Alignment:
    """Run elastix once."""
    itk = _loaded()

    def image(array: Array) -> Any:
        return itk.image_from_array(np.ascontiguousarray(array.mean(0), dtype=np.float32))

    fixed, moving, fixed_mask, moving_mask = images
    masks = {"fixed_mask": fixed_mask, "moving_mask": moving_mask}
    parameters, initial = itk.ParameterObject.New(), itk.ParameterObject.New()
    name = "affine" if kind == "similarity" else kind  # for which elastix has no default
    chosen = parameters.GetDefaultParameterMap(name, _RESOLUTIONS, spacing)
    for key, value in settings(kind, measure, _ITERATIONS).items():
        chosen[key] = value
    parameters.AddParameterMap(chosen)
    size = (fixed.shape[1], fixed.shape[2])
    initial.AddParameterMap(start_map(size, start))
    with tempfile.TemporaryDirectory() as folder:
        log = Path(folder) / "elastix.log"
        try:
            _, result = itk.elastix_registration_method(
                image(fixed),
                image(moving),
                parameter_object=parameters,
                initial_transform_parameter_object=initial,
                output_directory=folder,
                log_to_console=False,
                log_to_file=True,
                number_of_threads=1,
                **{
                    name: itk.image_from_array(mask.astype(np.uint8))
                    for name, mask in masks.items()
                    if mask is not None
                },
            )
        except RuntimeError as error:
            raise RuntimeError(_reason(log, str(error))) from error
        ends = re.findall(r"Final metric value\s*=\s*(\S+)", log.read_text())
    score = -float(ends[-1])
    if not math.isfinite(score):
        raise RuntimeError(f"its measure ended as {score}")
    # The maps are the start and what elastix added to it, which acts on the points of the start.
    added = result.GetParameterMap(result.GetNumberOfParameterMaps() - 1)
    if kind == "bspline":
        return Alignment(start, score, displacement=spline_displacement(added, start, size))
    return Alignment(invert(compose(invert(start), linear_matrix(added))), score)


def _loaded() -> Any:
    """ITK, with what is needed of it: its parts load at their first use, one thread at a time.

    Called from a process that joblib has started, the starts share that process as threads.
    """
    with _LOADING:
        import itk  # a heavy optional dependency, only of this method

        _ = itk.ParameterObject, itk.elastix_registration_method, itk.image_from_array
        # Joblib ends a process that has grown by 300 MB, as one that leaks. ITK takes 700 and
        # then no more, and where warnings are errors what joblib says of it ends in waiting for
        # ever.
        process_executor._MAX_MEMORY_LEAK_SIZE = _ROOM_BYTES
        return itk


def _reason(log: Path, otherwise: str) -> str:
    """The exception that elastix wrote to its log; what reached Python only points there."""
    text = log.read_text() if log.exists() else ""
    found = re.findall(r"^Description: (?:ITK ERROR: \S+: )?(.+)$", text, re.MULTILINE)
    return found[-1] if found else otherwise
