"""elastix from a given start: every run takes seconds, and loading it ten, once a process."""

import itertools
import math
import os
import time

import joblib
import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from joblib.externals import loky

from equicomir.evaluation.alignment import corner_error
from equicomir.geometry import (
    image_centre,
    pixel_centres,
    rigid,
    rotation_degrees,
    transform_points,
    warp_image,
)
from equicomir.registration import elastix
from equicomir.registration.elastix_maps import linear_matrix, spline_displacement, start_map
from equicomir.transforms.deformations import (
    compose_displacements,
    displacement_of,
    warp_by_displacement,
)
from equicomir.transforms.linear import affine, invert, similarity

pytestmark = pytest.mark.itk
WIDTH = 96
CENTRE = image_centre(WIDTH, WIDTH)
CORNER = rigid(0, (WIDTH / 2, WIDTH / 2))
TRUTHS = {
    "rigid": rigid(10, (3, -4), centre=CENTRE),
    "similarity": similarity(8, 1.08, (3, -2), centre=CENTRE),
    "affine": affine([[1.05, 0.08], [-0.04, 0.96]], (2, -3), centre=CENTRE),
}


def scene(seed):
    """A smooth random texture: noise at several scales, so that every scale has content."""
    generator = torch.Generator().manual_seed(seed)
    total = torch.zeros(1, 1, 2 * WIDTH, 2 * WIDTH, dtype=torch.float64)
    for cells in (8, 19, 48):
        noise = torch.randn(1, 1, cells, cells, generator=generator, dtype=torch.float64)
        total += torch.nn.functional.interpolate(noise, (2 * WIDTH, 2 * WIDTH), mode="bicubic")
    return total


def planted(seed, moving_to_fixed):
    x = scene(seed)
    fixed, _ = warp_image(x, CORNER, size=(WIDTH, WIDTH))
    moving, _ = warp_image(x, CORNER @ moving_to_fixed, size=(WIDTH, WIDTH))
    return fixed[0].numpy(), moving[0].numpy()


def deformed(seed, degrees):
    """A pair of which the fixed image shows the moving one turned and in waves of 3 pixels."""
    rows, columns = np.indices((WIDTH, WIDTH)) * (2 * np.pi / WIDTH)
    phases = np.random.default_rng(seed).uniform(0, 2 * np.pi, (2, 2))
    waves = 3 * np.stack([np.sin(columns + a) * np.cos(rows + b) for a, b in phases])
    fixed_to_moving = rigid(degrees, (2, -1), centre=CENTRE)
    truth = compose_displacements(waves, fixed_to_moving)
    x = scene(seed)
    fixed, _ = warp_by_displacement(x, compose_displacements(truth, CORNER))
    moving, _ = warp_image(x, CORNER, size=(WIDTH, WIDTH))
    return fixed[0].numpy(), moving[0].numpy(), truth, invert(fixed_to_moving)


def residual(displacement, truth):
    """Mean distance in pixels, where the moving image has the place that the truth names."""
    places = np.indices((WIDTH, WIDTH)) + truth
    shown = ((places >= 0) & (places <= WIDTH - 1)).all(axis=0)
    assert shown.mean() > 0.7
    return np.linalg.norm(displacement - truth, axis=0)[shown].mean()


# First, because it loads ITK into all processes at once.
def test_a_process_that_loads_itk_is_not_taken_for_one_that_leaks():
    loky.get_reusable_executor().shutdown(wait=True)
    done_before = joblib.Parallel(n_jobs=2)(joblib.delayed(own_name)(1.2) for _ in range(4))
    fixed, moving = planted(1, np.eye(3))
    elastix.register(fixed, moving, initial=np.eye(3))
    done_after = joblib.Parallel(n_jobs=2)(joblib.delayed(own_name)(1.2) for _ in range(4))
    assert len(set(done_before)) == 2
    assert set(done_after) == set(done_before)


def own_name(seconds):
    """The process that was at it; joblib looks at its memory once a second."""
    time.sleep(seconds)
    return os.getpid()


def test_without_a_start_the_circle_is_searched_first():
    truth = similarity(130, 1.06, (4, -2), centre=CENTRE)
    fixed, moving = planted(1, truth)
    options = {"measure": "correlation", "start_every_degrees": 120}
    found = elastix.register(fixed, moving, transform="similarity", **options)
    assert corner_error(truth, found.moving_to_fixed, WIDTH) < 0.1
    assert [angle for angle, _ in found.score_by_angle] == [0.0, 120.0, 240.0]
    rigidly = elastix.register(fixed, moving, **options)
    assert rigidly.score_by_angle == found.score_by_angle
    assert corner_error(truth, rigidly.moving_to_fixed, WIDTH) > 1


@pytest.mark.parametrize("measure", ["mutual_information", "correlation"])
@pytest.mark.parametrize("kind", TRUTHS)
def test_each_kind_is_recovered_from_a_near_start(kind, measure):
    truth = TRUTHS[kind]
    fixed, moving = planted(0, truth)
    contrast = -1 if measure == "mutual_information" else 1
    found = elastix.register(
        fixed, contrast * moving, transform=kind, measure=measure, initial=np.eye(3)
    )
    assert corner_error(truth, np.eye(3), WIDTH) > 5
    assert corner_error(truth, found.moving_to_fixed, WIDTH) < 0.1
    assert found.displacement is None
    assert found.score_by_angle == []


def test_a_narrower_kind_and_the_other_measure_fail():
    """The plain controls: no rigid map of an affine pair, no correlation of opposite contrast."""
    fixed, moving = planted(0, TRUTHS["affine"])
    narrow = elastix.register(fixed, moving, initial=np.eye(3), measure="correlation")
    assert corner_error(TRUTHS["affine"], narrow.moving_to_fixed, WIDTH) > 1
    fixed, moving = planted(0, TRUTHS["rigid"])
    other = elastix.register(fixed, -moving, initial=np.eye(3), measure="correlation")
    assert other.failure or corner_error(TRUTHS["rigid"], other.moving_to_fixed, WIDTH) > 1


def test_what_is_found_is_added_to_a_start_far_from_the_identity():
    """Images of different sizes, half a turn and a scale in the start."""
    truth = similarity(170, 1.2, (10, 4), centre=(30.0, 30.0))
    x = scene(1)
    fixed, _ = warp_image(x, CORNER, size=(WIDTH, WIDTH))
    moving, _ = warp_image(x, CORNER @ truth, size=(70, 60))
    start = truth @ similarity(4, 1.03, (2, -1))
    found = elastix.register(
        fixed[0].numpy(), moving[0].numpy(), transform="similarity", initial=start
    )
    assert corner_error(truth, start, 60) > 3
    assert corner_error(truth, found.moving_to_fixed, 60) < 0.1


@pytest.mark.parametrize("degrees", [0, 30])
def test_a_smooth_deformation_is_recovered_better_than_by_an_affine_map(degrees):
    fixed, moving, truth, start = deformed(0, degrees)
    found = elastix.register(
        fixed,
        moving,
        transform="bspline",
        initial=start,
        measure="correlation",
        grid_spacing_pixels=16,
    )
    by_affine = displacement_of(invert(found.moving_to_fixed), (WIDTH, WIDTH))
    assert residual(by_affine, truth) > 1.5
    assert residual(found.displacement, truth) < 0.2
    # The planted faults: the deformation with the opposite sign, and over (x, y).
    opposite = 2 * by_affine - found.displacement
    exchanged = by_affine + (found.displacement - by_affine)[::-1]
    assert residual(opposite, truth) > residual(by_affine, truth)
    assert residual(exchanged, truth) > 1.0
    warped, inside = warp_by_displacement(torch.from_numpy(moving)[None], found.displacement)
    shown = inside.numpy()
    assert np.corrcoef(warped[0, 0].numpy()[shown], fixed[0][shown])[0, 1] > 0.99


@pytest.mark.parametrize("kind", ["rigid", "bspline"])
def test_a_start_outside_the_image_is_told_and_not_raised(kind):
    fixed, moving = planted(0, TRUTHS["rigid"])
    found = elastix.register(fixed, moving, transform=kind, initial=rigid(0, (500, 500)))
    assert found.failure.startswith("elastix did not converge: Too many samples map outside")
    assert found.score == -np.inf
    assert found.displacement is None
    np.testing.assert_array_equal(found.moving_to_fixed, np.eye(3))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"transform": "projective"}, "transform: expected one of rigid, similarity, affine, bsp"),
        ({"measure": "sum"}, "measure: expected one of mutual_information, correlation, got"),
        ({"initial": np.ones((3, 3))}, "initial: expected the last row"),
        ({"initial": np.eye(2)}, "initial: expected a 3 x 3 matrix"),
        ({"grid_spacing_pixels": 1.0}, "grid_spacing_pixels: expected 4 or more, got 1.0"),
        ({"grid_spacing_pixels": float("nan")}, "grid_spacing_pixels: expected 4 or more"),
        ({"start_every_degrees": 361}, "start_every_degrees: expected"),
    ],
)
def test_options_out_of_range_are_refused_in_one_sentence(options, message):
    image = np.random.default_rng(0).normal(size=(32, 32))
    with pytest.raises(ValueError, match=message):
        elastix.register(image, image, **options)


# What elastix writes, without elastix.


@given(
    st.floats(-180, 180),
    st.floats(0.5, 2),
    st.tuples(st.floats(-30, 30), st.floats(-30, 30)),
)
def test_starts_are_read_back_from_fixed_to_moving(degrees, scale, shift):
    matrix = similarity(degrees, scale, shift) @ TRUTHS["affine"]
    np.testing.assert_allclose(linear_matrix(start_map((40, 50), matrix)), invert(matrix))


def spline_map(seed, spacing):
    """A B-spline map as elastix writes it, with a grid well around 12 x 9 pixels."""
    columns, rows = 9, 8
    values = np.random.default_rng(seed).normal(size=2 * rows * columns)
    return {
        "GridSize": (str(columns), str(rows)),
        "GridSpacing": (repr(spacing[1]), repr(spacing[0])),
        "GridOrigin": (repr(-2 * spacing[1]), repr(-1.5 * spacing[0])),
        "TransformParameters": tuple(map(repr, values.tolist())),
    }


def cubic(t):
    t = abs(t)
    return 2 / 3 - t**2 + t**3 / 2 if t < 1 else max(0.0, 2 - t) ** 3 / 6


@given(st.integers(0, 10**6), st.tuples(st.floats(3, 6), st.floats(3, 6)), st.floats(-20, 20))
def test_the_spline_is_its_naked_double_sum(seed, spacing, degrees):
    spline = spline_map(seed, spacing)
    start = rigid(degrees, (0.5, 0.3), centre=(5.0, 4.0))
    ours = spline_displacement(spline, start, (12, 9)).reshape(2, -1).T
    values = np.array([float(v) for v in spline["TransformParameters"]]).reshape(2, 8, 9)
    pixels = pixel_centres(12, 9)
    started = transform_points(invert(start), pixels)
    for pixel, (row, column), displacement in zip(pixels, started, ours, strict=True):
        r, c = row / spacing[0] + 1.5, column / spacing[1] + 2
        if not (1 <= r <= 6 and 1 <= c <= 7):
            continue  # there, elastix says no deformation
        weights = np.zeros((8, 9))
        for i, j in itertools.product(range(8), range(9)):
            weights[i, j] = cubic(r - i) * cubic(c - j)
        x, y = (values * weights).sum((1, 2))
        np.testing.assert_allclose(displacement, [row + y, column + x] - pixel, atol=1e-9)


def test_the_spline_is_the_one_that_transformix_evaluates(tmp_path):
    """With a turned start, so that the order of both maps would show."""
    fixed, moving, _, start = deformed(0, 30)

    def theirs():
        import warnings

        warnings.simplefilter("ignore")
        import itk

        def image(array):
            return itk.image_from_array(np.ascontiguousarray(array[0], dtype=np.float32))

        parameters, initial = itk.ParameterObject.New(), itk.ParameterObject.New()
        chosen = parameters.GetDefaultParameterMap("bspline", 1, 24.0)
        chosen["MaximumNumberOfIterations"] = ("20",)
        parameters.AddParameterMap(chosen)
        initial.AddParameterMap(start_map((WIDTH, WIDTH), start))
        _, result = itk.elastix_registration_method(
            image(fixed),
            image(moving),
            parameter_object=parameters,
            initial_transform_parameter_object=initial,
        )
        field = itk.transformix_deformation_field(
            image(moving),
            result,
            output_directory=str(tmp_path),  # else it leaves a file where the tests are run
        )
        last = result.GetParameterMap(result.GetNumberOfParameterMaps() - 1)
        names = ("GridSize", "GridSpacing", "GridOrigin", "TransformParameters")
        return itk.array_from_image(field), {name: tuple(last[name]) for name in names}

    ((field, spline),) = joblib.Parallel(n_jobs=2)(joblib.delayed(f)() for f in [theirs])
    ours = spline_displacement(spline, start, (WIDTH, WIDTH))
    linear = displacement_of(invert(start), (WIDTH, WIDTH))
    assert np.abs(ours - linear).max() > 1
    np.testing.assert_allclose(ours, field[..., ::-1].transpose(2, 0, 1), atol=1e-3)


@given(st.integers(16, 60), st.integers(16, 60), st.integers(16, 60))
def test_all_starts_lay_the_centres_on_each_other(height, width, moving_height):
    """Whatever the sizes; elastix itself, which would climb from elsewhere too, is not run."""
    rng, starts = np.random.default_rng(0), []

    def none_ends(run, of_circle, processes):
        starts.extend(of_circle)
        return ["it was not run"] * len(of_circle)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(elastix, "_in_processes", none_ends)
        found = elastix.register(rng.random((height, width)), rng.random((moving_height, 20)))
    assert "it was not run" in found.failure
    assert len(starts) == 12
    for start, degrees in zip(starts, range(0, 360, 30), strict=True):
        here = transform_points(start, np.array([image_centre(moving_height, 20)]))[0]
        np.testing.assert_allclose(here, image_centre(height, width), atol=1e-9)
        assert math.isclose(rotation_degrees(start) % 360 % 360, degrees, abs_tol=1e-6)
