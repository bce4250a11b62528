"""Where two images are compared: equality with a loop over pixels."""

import numpy as np
import pytest
import torch
from hypothesis import assume, given
from hypothesis import strategies as st

from equicomir.geometry import image_centre, inverse, rigid
from equicomir.registration.overlap import overlap_points, overlap_share, visible

sizes = st.integers(7, 20)
seeds = st.integers(0, 10**6)
angles = st.floats(-180, 180)
shifts = st.tuples(st.floats(-6, 6), st.floats(-6, 6))


def mask_of(seed, height, width, covered=3):
    """A mask with a few covered pixels."""
    rng, mask = np.random.default_rng(seed), torch.ones(1, height, width)
    for row, column in zip(
        rng.integers(height, size=covered), rng.integers(width, size=covered), strict=True
    ):
        mask[0, row, column] = 0
    return mask


def loop_over_points(fixed_mask, seen, moving_to_fixed):
    """Every pixel of the fixed image that lies well inside what is seen of the moving one."""
    found = []
    height, width = seen.shape
    for row, column in np.argwhere(fixed_mask[0].numpy() == 1):
        r, c, _ = inverse(moving_to_fixed) @ [row, column, 1]
        if 1 <= r <= height - 2 and 1 <= c <= width - 2 and seen[round(r), round(c)]:
            found.append([row, column])
    return np.array(found, dtype=np.float64).reshape(-1, 2)


@given(seeds, sizes, sizes, st.integers(0, 4))
def test_visible_is_what_no_covered_pixel_is_near(seed, height, width, covered):
    mask = mask_of(seed, height, width, covered)
    holes = np.argwhere(mask[0].numpy() == 0)
    for row, column in np.ndindex(height, width):
        near = (np.abs(holes - [row, column]).max(1) <= 2).any() if len(holes) else False
        assert visible(mask)[row, column] == (not near)


@given(seeds, sizes, sizes, angles, shifts)
def test_the_points_are_those_of_a_loop_over_pixels(seed, height, width, degrees, shift):
    fixed_mask, moving_mask = mask_of(seed, height, width), mask_of(seed + 1, width, height)
    matrix = rigid(degrees, shift, centre=image_centre(height, width))
    seen = visible(moving_mask)
    expected = loop_over_points(fixed_mask, seen, matrix)
    points = overlap_points(fixed_mask, seen, matrix, most=height * width)
    assert np.array_equal(points, expected)  # in the order of the image, too
    share = overlap_share(fixed_mask, seen, matrix)
    assert share == pytest.approx(len(expected) / float(fixed_mask.sum()))
    few = overlap_points(fixed_mask, seen, matrix, most=5)
    assert len(few) <= 5
    assert {tuple(p) for p in few} <= {tuple(p) for p in expected}


@given(seeds, angles, shifts)
def test_a_point_outside_the_mask_shows(seed, degrees, shift):
    """Planted faults: a mask that is ignored, and the transform the wrong way round."""
    fixed_mask, moving_mask = torch.ones(1, 16, 16), mask_of(seed, 16, 16)
    matrix = rigid(degrees, shift, centre=image_centre(16, 16))
    seen = visible(moving_mask)
    right = loop_over_points(fixed_mask, seen, matrix)
    ignored = overlap_points(fixed_mask, np.ones_like(seen), matrix, most=256)
    assume(len(loop_over_points(fixed_mask, np.ones_like(seen), matrix)) > len(right))
    assert not np.array_equal(ignored, right)
    assume(max(map(abs, shift)) > 1 and abs(degrees) < 150)  # half a turn is its own inverse
    turned_round = overlap_points(fixed_mask, seen, inverse(matrix), most=256)
    assert not np.array_equal(turned_round, right)
