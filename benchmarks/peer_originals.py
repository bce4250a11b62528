"""The code that authors published with their papers, behind the signature of the library's methods.

It is no package: the folder of a clone is given on the command line, and is on the path before one
of these is called. What stands here are facts of how it is called and in which direction it
answers; none of it is copied.
"""

import contextlib
import io
import math
from importlib import import_module

import numpy as np
from peer_methods import angles_of, between_0_and_1, grey

from equicomir.geometry import corners, image_centre, rigid
from equicomir.registration.alignment import Alignment
from equicomir.registration.features import fit_rigid
from equicomir.shapes import Array, ArrayMask
from equicomir.transforms.linear import invert


def globalign(
    fixed: Array,
    moving: Array,
    *,
    fixed_mask: ArrayMask | None = None,
    moving_mask: ArrayMask | None = None,
) -> Alignment:
    """CMIF by its authors' code, on the CPU, as their example calls it.

    Args:
        fixed: (height, width) or (channels, height, width).
        moving: likewise.
        fixed_mask: boolean (height, width), true where ``fixed`` is defined; None for everywhere.
        moving_mask: likewise for ``moving``.

    Returns:
        The alignment; ``score`` is the mutual information, in bits.

    Raises:
        ImportError: the folder of their code is not on the path, or lacks what it imports.
        TypeError, ValueError: as :func:`equicomir.registration.alignment.checked`.

    Source:
        Öfverstedt, Lindblad, Sladoje 2022, arXiv 2106.14699; github.com/MIDA-group/globalign.
    """
    theirs, nd2cat = import_module("globalign"), import_module("nd2cat")

    fixed, moving, *masks = grey(fixed, moving, fixed_mask, moving_mask)
    levels, angles = 8, 100
    quantised = [nd2cat.image2cat_kmeans(image[..., None], levels) for image in (fixed, moving)]
    with contextlib.redirect_stdout(io.StringIO()):  # it prints every angle
        best, _ = theirs.align_rigid_and_refine(
            *quantised,
            *masks,
            levels,
            levels,
            angles,
            180.0,
            refinement_param={"n": 32, "max_angle": 360.0 / angles},
            overlap=0.5,
            on_gpu=False,
            rng=np.random.default_rng(0),
        )
    # From fixed to moving, over (row, column): first the shift, then the turn about the centre.
    score, degrees, rows, columns, *centre = (float(number) for number in best)
    turn = rigid(degrees, centre=(centre[0], centre[1]))
    return Alignment(invert(turn @ rigid(0, (rows, columns))), score)


def alpha_amd(
    fixed: Array,
    moving: Array,
    *,
    fixed_mask: ArrayMask | None = None,
    moving_mask: ArrayMask | None = None,
    starts: int = 12,
) -> Alignment:
    """Alpha-AMD by its authors' Python code, as their example calls it, from angles all round.

    Args:
        fixed: (height, width) or (channels, height, width).
        moving: likewise.
        fixed_mask: boolean (height, width), true where ``fixed`` is defined; None for everywhere.
        moving_mask: likewise for ``moving``.
        starts: angles from which it climbs, centre on centre.

    Returns:
        The alignment; ``score`` is minus the distance.

    Raises:
        ImportError: the folder of their code is not on the path, or lacks what it imports.
        TypeError, ValueError: as :func:`equicomir.registration.alignment.checked`.

    Source:
        Öfverstedt, Lindblad, Sladoje 2019, doi 10.1109/TIP.2019.2899947;
        github.com/MIDA-group/py_alpha_amd_release.
    """
    theirs, transforms = import_module("register"), import_module("transforms")

    fixed, moving, *masks = grey(fixed, moving, fixed_mask, moving_mask)
    np.random.seed(1000)  # it samples points by NumPy's own generator
    images = [between_0_and_1(image) for image in (fixed, moving)]
    shown = [np.ones(x.shape, bool) if m is None else m for x, m in zip(images, masks, strict=True)]
    method = theirs.Register(2)
    method.set_alpha_levels(7)
    for image, mask, side in zip(images, shown, ("reference", "floating"), strict=True):
        getattr(method, f"set_{side}_image")(image)
        getattr(method, f"set_{side}_mask")(mask)
        getattr(method, f"set_{side}_weights")(mask.astype(np.float64))
    for factor, sigma in ((4, 5.0), (2, 3.0), (1, 0.0)):
        method.add_pyramid_level(factor, sigma)
    diagonal = math.hypot(*(n - 1 for n in fixed.shape))
    for angle in angles_of(starts):
        start = transforms.Rigid2DTransform()
        start.set_param(0, math.radians(angle))
        method.add_initial_transform(start, np.array([1 / diagonal, 1.0, 1.0]))
    method.set_iterations(100)
    method.set_gradient_magnitude_threshold(0.001)
    method.set_sampling_fraction(0.3)
    method.set_step_lengths(np.array([[1.0, 1.0], [1.0, 1.0], [1.0, 1e-2]]))
    with contextlib.redirect_stdout(io.StringIO()):
        method.initialize()
        method.run()
    ends = [method.get_output(index) for index in range(starts)]
    found, distance = min(ends, key=lambda end: float(end[1]))
    # From fixed to moving, over (row, column) counted from the centre of either image.
    places = corners(*fixed.shape) - image_centre(*fixed.shape)
    ended = found.transform(places) + image_centre(*moving.shape)
    return Alignment(invert(fit_rigid(corners(*fixed.shape), ended)), -float(distance))
