"""Other people's registration, each behind the one signature of the library's own methods.

What they are told is their usual set-up for images of two instruments, and every convention of
theirs (axes, directions, where pixels are counted from) ends here. They are given the means of the
channels. Where a package climbs from a start, ``starts`` says from how many angles, evenly round
the circle, and its own measure chooses among where they ended.
"""

import math
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from equicomir.geometry import corners, image_centre, rigid, transform_points
from equicomir.registration.alignment import Alignment, checked, not_found
from equicomir.registration.features import fit_rigid
from equicomir.shapes import Array, ArrayMask, Matrix, check_array
from equicomir.transforms.itk import itk_matrix
from equicomir.transforms.linear import compose, invert, over_xy

_GREY_RANGE = (0.5, 99.5)  # percentiles, of images that are given between 0 and 1


def simpleitk(
    fixed: Array,
    moving: Array,
    *,
    fixed_mask: ArrayMask | None = None,
    moving_mask: ArrayMask | None = None,
    starts: int = 1,
) -> Alignment:
    """SimpleITK's registration framework: Mattes mutual information at three resolutions.

    Args:
        fixed: (height, width) or (channels, height, width).
        moving: likewise.
        fixed_mask: boolean (height, width), true where ``fixed`` is defined; None for everywhere.
        moving_mask: likewise for ``moving``.
        starts: angles from which it climbs, centre on centre.

    Returns:
        The alignment; ``score`` is the mutual information, in nats.

    Raises:
        ImportError: SimpleITK is not there.
        TypeError, ValueError: as :func:`equicomir.registration.alignment.checked`.
        RuntimeError: what SimpleITK raises, where it does so from every start.

    Source:
        Lowekamp et al. 2013, doi 10.3389/fninf.2013.00045; Mattes et al. 2003, doi
        10.1109/TMI.2003.809072.
    """
    import SimpleITK

    sitk: Any = SimpleITK

    fixed, moving, *masks = grey(fixed, moving, fixed_mask, moving_mask)
    images = [sitk.GetImageFromArray(image.astype(np.float32)) for image in (fixed, moving)]

    def climb(degrees: float) -> Alignment:
        method = sitk.ImageRegistrationMethod()
        method.SetMetricAsMattesMutualInformation(numberOfHistogramBins=32)
        method.SetMetricSamplingStrategy(method.NONE)  # all pixels: the images are small
        for mask, tell in zip(
            masks, (method.SetMetricFixedMask, method.SetMetricMovingMask), strict=True
        ):
            if mask is not None:
                tell(sitk.GetImageFromArray(mask.astype(np.uint8)))
        method.SetInterpolator(sitk.sitkLinear)
        method.SetOptimizerAsRegularStepGradientDescent(
            learningRate=1.0, minStep=1e-4, numberOfIterations=200
        )
        method.SetOptimizerScalesFromPhysicalShift()
        method.SetShrinkFactorsPerLevel([4, 2, 1])
        method.SetSmoothingSigmasPerLevel([2, 1, 0])
        geometry = sitk.CenteredTransformInitializerFilter.GEOMETRY
        start = sitk.CenteredTransformInitializer(*images, sitk.Euler2DTransform(), geometry)
        start = sitk.Euler2DTransform(start)
        start.SetAngle(math.radians(degrees))
        method.SetInitialTransform(start, inPlace=True)
        method.Execute(*images)
        numbers = start.GetParameters(), start.GetCenter()
        return Alignment(invert(itk_matrix("Euler2DTransform", *numbers)), -method.GetMetricValue())

    return _best(climb, starts, fixed.shape, moving.shape)


def ants(
    fixed: Array,
    moving: Array,
    *,
    fixed_mask: ArrayMask | None = None,
    moving_mask: ArrayMask | None = None,
    starts: int = 1,
) -> Alignment:
    """ANTs by ANTsPy: ``registration(type_of_transform="Rigid")``, Mattes mutual information.

    Args:
        fixed: (height, width) or (channels, height, width).
        moving: likewise.
        fixed_mask: boolean (height, width), true where ``fixed`` is defined; None for everywhere.
        moving_mask: likewise for ``moving``.
        starts: angles from which it climbs, centre on centre; one: ANTsPy's own start, which
            brings the centres of mass together.

    Returns:
        The alignment; ``score`` is the mutual information that ANTs measures at the end, in nats.

    Raises:
        ImportError: ANTsPy is not there.
        TypeError, ValueError: as :func:`equicomir.registration.alignment.checked`.
        RuntimeError: what ANTs raises, where it does so from every start.

    Source:
        Avants et al. 2011, doi 10.1016/j.neuroimage.2010.09.025; Tustison et al. 2021, doi
        10.1038/s41598-021-87564-6.
    """
    import ants as antspy

    fixed, moving, *masks = grey(fixed, moving, fixed_mask, moving_mask)

    def image(array: Array | ArrayMask) -> Any:  # ANTsPy counts the first axis of an array as x
        return antspy.from_numpy(np.ascontiguousarray(array.T, dtype=np.float32))

    images = image(fixed), image(moving)
    hidden = [None if mask is None else image(mask) for mask in masks]
    told: dict[str, Any] = {"mask": hidden[0], "moving_mask": hidden[1]}
    told |= {"mask_all_stages": any(mask is not None for mask in hidden)}

    def climb(degrees: float) -> Alignment:
        with tempfile.TemporaryDirectory() as folder:
            start = str(Path(folder) / "start.mat") if starts > 1 else None
            if start is not None:
                _write_start(antspy, start, fixed.shape, moving.shape, degrees)
            found = antspy.registration(
                *images,
                type_of_transform="Rigid",
                initial_transform=start,
                aff_random_sampling_rate=1.0,  # all pixels: the images are small
                outprefix=str(Path(folder) / "ants"),
                **told,
            )
            # After a start that it was given, ANTsPy names what it added and the start in one.
            matrix = compose(np.eye(3), *(_ants_matrix(antspy, f) for f in found["fwdtransforms"]))
            moved = antspy.apply_transforms(*images, found["fwdtransforms"])
            overlap = antspy.apply_transforms(images[0], images[1] * 0 + 1, found["fwdtransforms"])
            distance = antspy.image_similarity(
                images[0],
                moved,
                metric_type="MattesMutualInformation",
                fixed_mask=antspy.threshold_image(overlap, 0.5, 2.0),
            )
        return Alignment(invert(matrix), -float(distance))

    return _best(climb, starts, fixed.shape, moving.shape)


def _write_start(
    antspy: Any, path: str, fixed: tuple[int, ...], moving: tuple[int, ...], degrees: float
) -> None:
    """A rotation about the centres as the file that ANTs begins from."""
    to_centre, centre = image_centre(*moving), image_centre(*fixed)
    shift = (to_centre[0] - centre[0], to_centre[1] - centre[1])
    start = over_xy(rigid(degrees, shift, centre=centre))
    transform = antspy.create_ants_transform(
        transform_type="AffineTransform",
        dimension=2,
        matrix=start[:2, :2],
        translation=start[:2, 2],
    )
    antspy.write_transform(transform, path)


def _ants_matrix(antspy: Any, path: str) -> Matrix:
    """One of ANTs' linear transforms, from fixed to moving."""
    read = antspy.read_transform(path)
    return itk_matrix("AffineTransform", list(read.parameters), list(read.fixed_parameters))


def zcmir(
    fixed: Array,
    moving: Array,
    *,
    fixed_mask: ArrayMask | None = None,
    moving_mask: ArrayMask | None = None,
    model: str = "homography",
) -> Alignment:
    """zcmir: POS-GIFT keypoints, then squared-loss mutual information climbed on the GPU.

    As its README says: ``zcmir.register(moving, fixed)``. It knows no masks.

    Args:
        fixed: (height, width) or (channels, height, width).
        moving: likewise.
        fixed_mask: not used.
        moving_mask: not used.
        model: ``"homography"``, its default, or ``"affine"``.

    Returns:
        The rigid transform nearest to its homography, by where the corners go; ``score`` is its.

    Raises:
        ImportError: zcmir is not there.
        TypeError, ValueError: as :func:`equicomir.registration.alignment.checked`.
        RuntimeError: there is no GPU and no software Vulkan, or what else zcmir says.

    Source:
        Hou, Liu, Zhang 2024, POS-GIFT, doi 10.1016/j.inffus.2023.102027; the package zcmir.
    """
    import zcmir as package

    fixed, moving, *_ = grey(fixed, moving, fixed_mask, moving_mask)
    between = [between_0_and_1(image) for image in (moving, fixed)]
    found = package.register(*between, model=model)
    return Alignment(
        of_homography(np.asarray(found.H, dtype=np.float64), moving.shape), float(found.score)
    )


def of_homography(over_xy_from_one: Array, size: tuple[int, ...]) -> Matrix:
    """The rigid transform nearest to a homography that counts x, then y, from one.

    Args:
        over_xy_from_one: 3 x 3, from moving to fixed, the centre of the first pixel at (1, 1).
        size: (height, width) of the moving image.

    Returns:
        The 3 x 3 matrix over (row, column, 1), the centre of the first pixel at (0, 0).

    Raises:
        ValueError: it sends a corner to infinity.

    Example:
        >>> of_homography(np.array([[1, 0, 5], [0, 1, 2], [0, 0, 1.0]]), (8, 8))[:2, 2].round(9)
        array([2., 5.])
    """
    from_one = rigid(0, (1, 1))
    matrix = np.linalg.inv(from_one) @ over_xy(over_xy_from_one) @ from_one
    places = corners(*size)
    mapped = np.column_stack([places, np.ones(4)]) @ matrix.T
    if not np.isfinite(mapped).all() or (np.abs(mapped[:, 2]) < 1e-9).any():
        raise ValueError(f"homography: expected finite corners, got {mapped.tolist()}.")
    return fit_rigid(places, mapped[:, :2] / mapped[:, 2:])


def grey(
    fixed: Array, moving: Array, fixed_mask: ArrayMask | None, moving_mask: ArrayMask | None
) -> tuple[Array, Array, ArrayMask | None, ArrayMask | None]:
    """Both images as (height, width), checked as the library's own methods check them."""
    fixed, moving = (
        check_array(name, image).mean(0, keepdims=True)
        for name, image in (("fixed", fixed), ("moving", moving))
    )
    fixed, moving, fixed_mask, moving_mask = checked(fixed, moving, fixed_mask, moving_mask)
    return fixed[0], moving[0], fixed_mask, moving_mask


def between_0_and_1(image: Array) -> Array:
    """An image stretched between percentiles, for those that want it so."""
    low, high = np.percentile(image, _GREY_RANGE)
    return np.asarray(np.clip((image - low) / max(high - low, 1e-12), 0, 1))


def angles_of(starts: int) -> list[float]:
    """So many, evenly round the circle, in degrees."""
    return [360.0 * number / starts for number in range(starts)]


def _best(
    climb: Callable[[float], Alignment],
    starts: int,
    fixed: tuple[int, ...],
    moving: tuple[int, ...],
) -> Alignment:
    """Where the best of the starts ended.

    Of images that hardly overlap any measure is high by chance: an end that takes the centre of the
    moving image out of the fixed one is chosen only where there is no other.
    """
    ends, raised = list[Alignment](), list[RuntimeError]()
    for degrees in angles_of(starts):
        try:
            ends.append(climb(degrees))
        except RuntimeError as error:  # ITK's: a start led out of the image
            raised.append(error)
    if not ends:
        raise raised[-1]
    centre, size = np.array([image_centre(*moving)]), np.array(fixed)

    def worth(end: Alignment) -> tuple[bool, float]:
        place = transform_points(end.moving_to_fixed, centre)[0]
        return bool(((place >= 0) & (place < size)).all()), end.score

    best = max(ends, key=worth)
    return best if math.isfinite(best.score) else not_found("No start ended with a finite measure.")
