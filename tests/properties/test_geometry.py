import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy import ndimage
from strategies import cases

from equicomir.geometry import (
    corners,
    image_centre,
    rigid,
    rotate,
    rotation_degrees,
    rotations,
    transform_points,
    warp,
    warp_image,
)

angles = st.floats(-180, 180)
shifts = st.tuples(st.floats(-20, 20), st.floats(-20, 20))
sizes = st.tuples(st.integers(5, 24), st.integers(5, 24))


@given(cases())
def test_rotating_by_quarter_turns_is_rot90(case):
    x = case.images(case.batch, 2, 4 * case.blocks + case.seed % 2, torch.float64)
    turned = rotate(x, torch.full((case.batch,), 90.0 * case.quarter_turns, dtype=torch.float64))
    expected = torch.rot90(x, case.quarter_turns, (2, 3))
    torch.testing.assert_close(turned, expected, atol=1e-9, rtol=1e-6)
    wrong = torch.rot90(x, -case.quarter_turns, (2, 3))
    assert case.quarter_turns == 2 or not torch.allclose(turned, wrong, atol=1e-2)


@given(cases(), angles)
def test_rotating_is_scipys(case, degrees):
    """The sign and the centre are those of another library, which would show half a pixel."""
    x = case.images(1, 1, 4 * case.blocks + case.seed % 2, torch.float64)
    ours = rotate(x, torch.tensor([degrees], dtype=torch.float64))[0, 0]
    theirs = ndimage.rotate(x[0, 0].numpy(), degrees, axes=(1, 0), reshape=False, order=1)
    n = x.shape[-1]
    inside = slice(n // 2 - n // 4, n // 2 + n // 4)
    torch.testing.assert_close(ours[inside, inside], torch.from_numpy(theirs)[inside, inside])


@given(angles, shifts, shifts, sizes)
def test_points_and_images_move_alike(degrees, shift, centre, size):
    """A single bright spot lands where its point lands."""
    matrix = rigid(degrees, (shift[0] / 10, shift[1] / 10), centre=image_centre(*size))
    at = np.array([[size[0] // 2, size[1] // 2]], dtype=float)
    grid = np.stack(np.meshgrid(*map(np.arange, size), indexing="ij"), -1)
    spot = np.exp(-((grid - at[0]) ** 2).sum(-1) / 2)
    moved, inside = warp_image(torch.from_numpy(spot)[None, None], np.linalg.inv(matrix))
    landed = transform_points(matrix, at)[0]
    expected = np.exp(-((grid - landed) ** 2).sum(-1) / 2)
    core = inside.numpy() & (np.abs(grid - landed).max(-1) < 2)
    # What is left is the cubic interpolation of a Gaussian one pixel wide.
    np.testing.assert_allclose(moved[0, 0].numpy()[core], expected[core], atol=0.06)


@given(angles, shifts, shifts)
def test_rigid_transforms_invert_and_keep_distances(degrees, shift, centre):
    matrix = rigid(degrees, shift, centre=centre)
    points = corners(7, 11)
    back = transform_points(np.linalg.inv(matrix), transform_points(matrix, points))
    np.testing.assert_allclose(back, points, atol=1e-9)
    moved = transform_points(matrix, points)
    np.testing.assert_allclose(
        np.diff(moved, axis=0) ** 2 @ [1, 1], np.diff(points, axis=0) ** 2 @ [1, 1], atol=1e-9
    )
    gap = (rotation_degrees(matrix) - degrees + 180) % 360 - 180
    assert abs(gap) < 1e-9
    np.testing.assert_allclose(rigid(degrees, centre=centre)[:2] @ [*centre, 1], centre, atol=1e-9)


@given(angles, sizes)
def test_the_batched_matrices_are_the_single_ones(degrees, size):
    batched = rotations(torch.tensor([degrees], dtype=torch.float64), *size)[0].numpy()
    np.testing.assert_allclose(batched, rigid(degrees, centre=image_centre(*size)), atol=1e-12)


@given(cases(), st.integers(-3, 3), st.integers(-3, 3))
def test_whole_pixel_shifts_are_exact_and_the_valid_region_is_where_they_come_from(case, r, c):
    x = case.images(1, 1, 9, torch.float64)
    for mode in ("nearest", "bilinear", "bicubic"):
        moved, inside = warp_image(x, rigid(0, (r, c)), mode=mode)
        rows, columns = (slice(max(0, -k), 9 - max(0, k)) for k in (r, c))
        expected = torch.zeros(9, 9, dtype=torch.bool)
        expected[rows, columns] = True
        assert torch.equal(inside, expected)
        source = x.roll((-r, -c), dims=(2, 3))
        torch.testing.assert_close(moved[0, 0][inside], source[0, 0][inside], atol=1e-9, rtol=1e-6)


def test_the_identity_rotation_does_not_blur():
    x = torch.rand(1, 1, 8, 9, dtype=torch.float64)
    torch.testing.assert_close(warp(x, torch.eye(3)[None], mode="bicubic"), x)
    assert math.isclose(rotation_degrees(rigid(180)), 180)


def test_bad_input_is_refused():
    with pytest.raises(ValueError, match="expected 4 axes"):
        warp(torch.rand(4, 4), torch.eye(3)[None])
    with pytest.raises(ValueError, match="no empty axis"):
        warp(torch.rand(1, 1, 0, 4), torch.eye(3)[None])
