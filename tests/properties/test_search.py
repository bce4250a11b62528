"""The laws of the search: its sums are the naive ones, and planted transforms come back."""

from dataclasses import replace

import numpy as np
import pytest
import scipy.ndimage
import torch
from hypothesis import assume, given
from hypothesis import strategies as st
from strategies import few, numbers, seeds, shared_energy, shows_something

from equicomir.evaluation.alignment import corner_error
from equicomir.geometry import image_centre, inverse, rigid, rotation_degrees, warp_image
from equicomir.images.instruments import BRIGHTFIELD, FLUORESCENCE, SECOND_HARMONIC
from equicomir.images.phantoms import render
from equicomir.images.tissues import cells, fibres, vessels
from equicomir.registration import circle, frame, measures, refine, search
from equicomir.registration.measures import (
    masked_channels,
    shrunk,
    sums_at_all_lags,
    sums_at_half_turns,
    sums_at_points,
    view,
)
from equicomir.registration.refine import climb, coefficients, interpolated

KINDS = st.sampled_from([fibres, cells, vessels])
MODALITIES = st.sampled_from([SECOND_HARMONIC, BRIGHTFIELD, FLUORESCENCE])
angles = st.floats(-180, 180)
shifts = st.tuples(st.floats(-6, 6), st.floats(-6, 6))
WIDTH = 72
SIZE = (WIDTH, WIDTH)


def planted(kind, modality, seed, degrees, shift, *, noise=False):
    """Fixed and moving image of one modality, and the truth; the context is true."""
    generator = torch.Generator().manual_seed(seed)
    description = kind(SIZE, generator=generator)
    truth = rigid(degrees, shift, centre=image_centre(*SIZE))
    views = [render(description, modality, SIZE, matrix) for matrix in (None, truth)]
    if noise:
        views = [modality(image, generator=generator) for image in views]
    return *(image[0].double().numpy() for image in views), truth


def masked_pair(generator, channels, sides):
    """Two random images with holes, and where they are defined."""
    draw = np.random.default_rng(generator.initial_seed())
    images = [draw.normal(size=(channels, *side)) for side in (sides[:2], sides[2:])]
    masks = [draw.random(image.shape[1:]) < 0.7 for image in images]
    for mask in masks:
        mask[:2, :2] = True
    return images, masks


def naive_correlation(fixed, moving, fixed_mask, moving_mask, row, column):
    """Of the fixed pixel (r, c) with the moving (r + row, c + column), in a naked double loop."""
    f, m = [], []
    for r in range(fixed.shape[1]):
        for c in range(fixed.shape[2]):
            i, j = r + row, c + column
            inside = 0 <= i < moving.shape[1] and 0 <= j < moving.shape[2]
            if inside and fixed_mask[r, c] and moving_mask[i, j]:
                f.append(fixed[:, r, c])
                m.append(moving[:, i, j])
    if len(f) < 3:
        return None
    f, m = np.array(f) - np.mean(f, axis=0), np.array(m) - np.mean(m, axis=0)
    return (f * m).sum() / np.sqrt((f**2).sum() * (m**2).sum())


SIDES = st.tuples(*[st.integers(3, 7)] * 4)


@given(seeds(), st.integers(1, 3), SIDES)
def test_scores_of_all_lags_equal_a_double_loop(generator, channels, sides):
    images, masks = masked_pair(generator, channels, sides)
    measure = search.correlation(channels)
    f, m = (view(measure, x, mask) for x, mask in zip(images, masks, strict=True))
    pad = (sides[0] - 1, sides[1] - 1)  # the lag -pad comes first
    lags = (sides[0] + sides[2] - 1, sides[1] + sides[3] - 1)
    canvas = [
        torch.nn.functional.pad(x, (pad[1], pad[1], pad[0], pad[0])) for x in (m.content, m.mask)
    ]
    moving = masked_channels(measure, *canvas)[None]
    sums = sums_at_all_lags(measure, masked_channels(measure, f.content, f.mask), moving, lags)
    scores = measure.score(sums)[0]
    compared, unmasked = 0, 0.0
    for i in range(lags[0]):
        for j in range(lags[1]):
            lag = (i - pad[0], j - pad[1])
            naive = naive_correlation(*images, *masks, *lag)
            if naive is not None:
                assert abs(float(scores[i, j]) - naive) < 1e-8
                everywhere = [np.ones_like(mask) for mask in masks]
                wrong = naive_correlation(*images, *everywhere, *lag)
                compared, unmasked = compared + 1, max(unmasked, abs(wrong - naive))
    assert compared
    if not all(mask.all() for mask in masks):
        assert unmasked > 1e-4  # without the masks it would be another number


@given(seeds(), st.integers(1, 2), SIDES, st.tuples(*[st.integers(1, 9)] * 4))
def test_half_turns_are_those_of_the_turned_images(generator, channels, sides, window):
    images, masks = masked_pair(generator, channels, sides)
    measure = search.correlation(channels)
    f, m = (view(measure, x, mask) for x, mask in zip(images, masks, strict=True))
    fixed, moving = (masked_channels(measure, x.content, x.mask) for x in (f, m))
    lags, origin = window[:2], (window[2] - 5, window[3] - 5)
    of_both = sums_at_half_turns(measure, fixed, sides[2:], lags, origin)
    straight, turned = of_both(moving[None])
    by_hand = [
        sums_at_all_lags(measure, fixed, x[None], lags, origin)
        for x in (moving, moving.rot90(2, (1, 2)))
    ]
    torch.testing.assert_close(straight, by_hand[0], atol=1e-9, rtol=1e-9)
    torch.testing.assert_close(turned, by_hand[1], atol=1e-9, rtol=1e-9)
    if by_hand[0].abs().max() > 1e-3:
        assert not torch.allclose(*by_hand)


def patchy(height, width, generator):
    """A mask with holes of some ten pixels, (1, height, width)."""
    noise = torch.rand(1, height, width, generator=generator)
    return (torch.nn.functional.avg_pool2d(noise, 9, stride=1, padding=4) > 0.48).float()


@given(seeds(), *[st.tuples(*[st.integers(least, 200)] * 2) for least in (128, 90)])
def test_an_overlap_summed_over_blocks_is_nearly_the_overlap(generator, size, sides):
    fixed, moving = (patchy(*size, generator) for size in (size, sides))
    roughly = search.correlation(1).quick
    fixed, moving = (torch.cat([mask, mask]) for mask in (fixed, moving))
    sums = [
        sums_at_half_turns(measure, fixed, moving.shape[1:], (61, 47), (40, 20))(moving[None])
        for measure in (replace(roughly, rough_overlap=False), roughly)
    ]
    least = 0.05 * min(float(fixed[0].sum()), float(moving[0].sum()))
    for exact, rough in zip(*(of_straight for of_straight, _ in sums), strict=True):
        error = (exact - rough).abs().max()
        assert error < least
        off = exact[..., 10:, :] - rough[..., :-10, :]  # by two blocks: the plain control
        assert off.abs().max() > 2 * error
    # Of images without holes it is exact but near no shift at all, where it has its edge.
    whole = [
        sums_at_half_turns(measure, torch.ones_like(fixed), moving.shape[1:], (61, 47), (40, 20))(
            torch.ones_like(moving)[None]
        )[0]
        for measure in (replace(roughly, rough_overlap=False), roughly)
    ]
    assert (whole[0] - whole[1])[0].abs().median() < 2e-3 * whole[0][0].max()
    # Half a turn of the image is half a turn of its blocks, whatever its size.
    _, of_turned = sums[1]
    turned, _ = sums_at_half_turns(roughly, fixed, moving.shape[1:], (61, 47), (40, 20))(
        moving.rot90(2, (1, 2))[None]
    )
    torch.testing.assert_close(of_turned, turned, atol=1e-5 * least, rtol=1e-4)


@given(seeds(), st.integers(1, 3), st.integers(4, 9), st.integers(4, 9))
def test_both_ways_of_summing_are_one(generator, channels, height, width):
    images, masks = masked_pair(generator, channels, (height, width, height, width))
    measure = search.correlation(channels)
    f, m = (view(measure, x, mask) for x, mask in zip(images, masks, strict=True))
    fixed, moving = (masked_channels(measure, x.content, x.mask) for x in (f, m))
    at_lag = sums_at_all_lags(measure, fixed, moving[None], (1, 1))[:, 0, 0, 0]
    at_points = sums_at_points(measure, fixed.flatten(1)[:, None], moving.flatten(1)[:, None])
    torch.testing.assert_close(at_lag, at_points, atol=1e-9, rtol=1e-9)
    shifted = moving.roll(1, 2).flatten(1)[:, None]
    assert not torch.allclose(at_lag, sums_at_points(measure, fixed.flatten(1)[:, None], shifted))


@given(seeds(), st.integers(6, 20), st.integers(6, 20))
def test_the_spline_is_that_of_scipy_and_its_slope_is_its_slope(generator, height, width):
    image = torch.randn(2, height, width, dtype=torch.float64, generator=generator)
    draw = np.random.default_rng(generator.initial_seed())
    points = draw.random((30, 2)) * (np.array([height, width]) - 1.1)
    values, slopes = interpolated(coefficients(image), points)
    for plane, found in zip(image.numpy(), values.numpy(), strict=True):
        expected = scipy.ndimage.map_coordinates(plane, points.T, order=3, mode="mirror")
        np.testing.assert_allclose(found, expected, atol=1e-10)
        linear = scipy.ndimage.map_coordinates(plane, points.T, order=1, mode="mirror")
        assert np.abs(found - linear).max() > 1e-3
    for axis, step in enumerate(1e-5 * np.eye(2)):
        there, _ = interpolated(coefficients(image), points + step)
        torch.testing.assert_close((there - values) / 1e-5, slopes[..., axis], atol=1e-3, rtol=0)


@given(KINDS, MODALITIES, numbers, angles, st.tuples(st.floats(-2, 2), st.floats(-2, 2)))
@few(8)
def test_a_climb_is_never_worse_than_its_start(kind, modality, seed, degrees, away):
    fixed, moving, truth = planted(kind, modality, seed, degrees, (0, 0), noise=True)
    points = np.argwhere(np.ones((40, 40))) + 16.0
    seen = torch.from_numpy(fixed[16:56, 16:56].ravel().copy())
    spline, start = coefficients(torch.from_numpy(moving)[None]), rigid(0, away) @ truth

    def score(x):
        return torch.corrcoef(torch.stack([x[0, 0], seen]))[0, 1]

    def at(matrix):
        back = np.linalg.inv(matrix)
        values, _ = interpolated(spline, points @ back[:2, :2].T + back[:2, 2])
        return float(score(values[:, None]))

    found, height = climb(score, spline, points, start)
    assert height >= at(start) - 1e-12
    assert abs(height - at(found)) < 1e-9


# ------------------------------------------------------------------- planted and found again


@given(KINDS, MODALITIES, numbers, angles, shifts)
@few(8)
def test_planted_transforms_of_phantoms_come_back_to_a_twentieth_of_a_pixel(
    kind, modality, seed, degrees, shift
):
    fixed, moving, truth = planted(kind, modality, seed, degrees, shift)
    assume(shows_something(fixed))
    assume(min(shared_energy(fixed, inverse(truth)), shared_energy(moving, truth)) > 0.5)
    found = search.register(fixed, moving)
    assert corner_error(truth, found.moving_to_fixed, WIDTH) < 0.05
    assert not found.failure
    back = search.register(moving, fixed).moving_to_fixed
    assert corner_error(np.linalg.inv(found.moving_to_fixed), back, WIDTH) < 0.05


@given(KINDS, numbers, angles, shifts)
@few(4)
def test_noise_leaves_less_than_a_pixel(kind, seed, degrees, shift):
    fixed, moving, truth = planted(kind, FLUORESCENCE, seed, degrees, shift, noise=True)
    found = search.register(fixed, moving).moving_to_fixed
    assert corner_error(truth, found, WIDTH) < 1.0


@given(KINDS, numbers, angles, shifts, st.integers(1, 3))
@few(4)
def test_turning_both_images_turns_the_answer(kind, seed, degrees, shift, turns):
    fixed, moving, _ = planted(kind, BRIGHTFIELD, seed, degrees, shift)
    straight = search.register(fixed, moving).moving_to_fixed
    both = [np.rot90(image, turns).copy() for image in (fixed, moving)]
    turn = rigid(90 * turns, centre=image_centre(*SIZE))
    found = search.register(*both).moving_to_fixed
    assert corner_error(turn @ straight @ np.linalg.inv(turn), found, WIDTH) < 0.05


@given(KINDS, numbers, angles, shifts, st.booleans(), st.floats(0.8, 1.25))
@few(4)
def test_mirrors_and_scales_are_found_where_asked_for(kind, seed, degrees, shift, mirrored, scale):
    generator = torch.Generator().manual_seed(seed)
    description = kind((120, 120), generator=generator)
    whole = render(description, FLUORESCENCE, (160, 160), rigid(0, (-20, -20)))[None].double()
    corner, centre = rigid(0, (44, 44)), np.array(image_centre(*SIZE))
    change = np.diag([scale, -scale if mirrored else scale, 1.0])
    change[:2, 2] = centre - change[:2, :2] @ centre
    truth = rigid(degrees, shift, centre=image_centre(*SIZE)) @ change
    fixed, _ = warp_image(whole, corner, size=SIZE)
    moving, inside = warp_image(whole, corner @ truth, size=SIZE)
    assert inside.all()
    pair = fixed[0].numpy(), moving[0].numpy()
    found = search.register(*pair, scales=(0.75, 1.3), mirrors=True).moving_to_fixed
    assert corner_error(truth, found, WIDTH) < 0.2
    if mirrored:  # no rotation does it
        assert corner_error(truth, search.register(*pair).moving_to_fixed, WIDTH) > 2


@given(KINDS, numbers, angles)
@few(3)
def test_what_masks_cover_changes_nothing_at_all(kind, seed, degrees):
    fixed, moving, _ = planted(kind, BRIGHTFIELD, seed, degrees, (0, 0))
    mask = np.ones(SIZE, dtype=bool)
    mask[:, 50:] = False
    noise = np.random.default_rng(seed).normal(size=(9, 9)).repeat(8, 0).repeat(8, 1)
    spoiled = np.where(mask, moving, 100 * noise)
    one, other = (search.register(fixed, x, moving_mask=mask) for x in (moving, spoiled))
    np.testing.assert_allclose(one.moving_to_fixed, other.moving_to_fixed, atol=1e-4)
    unmasked = search.register(fixed, spoiled).moving_to_fixed
    assert corner_error(one.moving_to_fixed, unmasked, WIDTH) > 0.5


# ------------------------------------------------------------------------------- examples


@pytest.mark.parametrize("modality", [SECOND_HARMONIC, BRIGHTFIELD, FLUORESCENCE])
def test_identical_images_give_the_identity(modality):
    fixed, _, _ = planted(cells, modality, 3, 0.0, (0, 0), noise=True)
    found = search.register(fixed, fixed)
    assert corner_error(np.eye(3), found.moving_to_fixed, WIDTH) < 0.01
    assert found.score > 0.9999


def test_the_score_by_angle_is_highest_at_the_truth():
    fixed, moving, truth = planted(vessels, BRIGHTFIELD, 1, 77.0, (3, -2))
    degrees, score = max(search.register(fixed, moving).score_by_angle, key=lambda pair: pair[1])
    assert abs((degrees - rotation_degrees(truth) + 180) % 360 - 180) < 6
    assert score > 0.8


def test_a_block_of_a_shrunk_image_is_the_mean_of_what_is_inside():
    image = np.random.default_rng(0).normal(size=(1, 4, 6))
    mask = np.ones((4, 6), dtype=bool)
    mask[0, 0], mask[2:, 4:] = False, False
    measure = search.correlation(1)
    small = shrunk(measure, view(measure, image, mask), 2)
    assert small.mask[0].tolist() == [[1, 1, 1], [1, 1, 0]]
    blocks = small.content[0][small.mask[0] > 0].numpy()
    expected = [
        image[0, r : r + 2, c : c + 2][mask[r : r + 2, c : c + 2]].mean()
        for r, c in ((0, 0), (0, 2), (0, 4), (2, 0), (2, 2))
    ]
    assert abs(np.corrcoef(blocks, expected)[0, 1] - 1) < 1e-9


def test_nothing_to_find_is_a_failure_and_no_exception():
    image = np.random.default_rng(0).normal(size=(64, 64))
    strip, square = np.zeros((2, 64, 64), dtype=bool)
    strip[:10], square[:40, :40] = True, True
    found = search.register(image, image, fixed_mask=square, moving_mask=strip, minimum_overlap=1.0)
    assert found.failure == (
        "No content was found in any overlap of at least 1 of the smaller mask; "
        "allow a smaller overlap."
    )
    assert not found.trusted
    assert found.score == -np.inf


def test_bad_options_are_named():
    image = np.random.default_rng(0).normal(size=(32, 32))
    with pytest.raises(ValueError, match=r"minimum_overlap: expected a value in \(0, 1\], got 2"):
        search.register(image, image, minimum_overlap=2)
    for scales in ((0.0, 1.0), (2.0, 1.0), (1.0, 20.0)):
        with pytest.raises(ValueError, match=r"scales: expected a least and a greatest"):
            search.register(image, image, scales=scales)
    with pytest.raises(ValueError, match=r"moving: expected .* at least 16 pixels, got \(32, 12\)"):
        search.register(image, image[:, :12])


def noisy_pair(generator):
    """Two fine-grained images of one scene, more noise than scene, and the truth."""
    side, size, corner = 40, 90, rigid(0, (25, 25))
    draw = np.random.default_rng(generator.initial_seed())
    grains = [
        scipy.ndimage.gaussian_filter(draw.normal(size=n), 1)
        for n in [(size, size)] + 2 * [(side, side)]
    ]
    scene, *noise = (grain / grain.std() for grain in grains)
    scene = torch.from_numpy(scene)[None, None]
    truth = rigid(
        draw.uniform(-180, 180), tuple(draw.uniform(-3, 3, 2)), centre=image_centre(side, side)
    )
    views = (
        warp_image(scene, corner @ moved, size=(side, side))[0] for moved in (np.eye(3), truth)
    )
    return *(x[0].numpy() + 1.3 * n for x, n in zip(views, noise, strict=True)), truth


def test_few_pixels_that_agree_by_chance_do_not_win():
    """Each pair is found; without weighing the overlap small overlaps win over most of them."""
    weighed = search.correlation(1)
    measures = (weighed, replace(weighed, growth=0.0, quick=replace(weighed.quick, growth=0.0)))
    counts = [0, 0]
    for seed in range(6):
        fixed, moving, truth = noisy_pair(torch.Generator().manual_seed(seed))
        for number, measure in enumerate(measures):
            views = (view(measure, image, None) for image in (fixed, moving))
            found = frame.search(measure, *views, minimum_overlap=0.3).moving_to_fixed
            counts[number] += corner_error(truth, found, 40) < 2
    assert counts[0] == 6
    assert counts[1] <= 3


@few(3)
@given(numbers, st.sampled_from([2, 4]))
def test_a_smooth_image_is_searched_as_coarsely_whatever_its_size(seed, times):
    """All angles are tried where the shorter side is least, and so as many of them."""
    measure = search.correlation(1)
    side = measure.coarsest_side
    tried = []
    for size in (side, times * side):
        at = np.linspace(-1, 1, size)
        waves = np.random.default_rng(seed).uniform(-3, 3, (6, 3))
        image = sum(np.sin(a * at[:, None] + b * at[None] + c) for a, b, c in waves)[None]
        seen = view(measure, image, None)
        tried.append(len(frame.search(measure, seen, seen, minimum_overlap=0.5).score_by_angle))
    assert tried[0] == tried[1]


BY_HAND = st.tuples(
    st.floats(-5, 5) | st.floats(355, 365), st.floats(0.9, 1.1), st.booleans(), st.floats(-1, 1)
)


@given(st.lists(BY_HAND, min_size=1, max_size=12), st.integers(20, 60), st.integers(1, 5))
def test_distinct_starts_are_three_pixels_apart_at_the_rim_and_the_best_of_their_place(
    listed, side, count
):
    starts = [circle.Start(a, s, mirrored, np.eye(3), score) for a, s, mirrored, score in listed]
    seen = measures.View(torch.ones(1, side, side), torch.ones(1, side, side))
    kept = circle.distinct(starts, seen, seen, count)

    def near(one, other):
        turn = abs(one.degrees - other.degrees) % 360
        turned = np.deg2rad(min(turn, 360 - turn)) * side / 2
        scaled = abs(np.log(one.scale) - np.log(other.scale)) * side / 2
        return one.mirrored == other.mirrored and np.hypot(turned, scaled) < 3

    expected = []
    for start in sorted(starts, key=lambda s: s.score, reverse=True):
        if len(expected) < count and not any(near(start, k) for k in expected):
            expected.append(start)
    assert [id(k) for k in kept] == [id(k) for k in expected]


@few(1)
@given(numbers)
def test_all_angles_at_full_resolution_are_as_many_as_its_rim_needs(seed):
    measure = search.correlation(1)
    tried = []
    for size in (measure.coarsest_side, 2 * measure.coarsest_side):
        image = scipy.ndimage.gaussian_filter(
            np.random.default_rng(seed).normal(size=(1, size, size)), (0, size / 10, size / 10)
        )
        seen = view(measure, image, None)
        found = frame.search(measure, seen, seen, minimum_overlap=0.5, exhaustive=True)
        tried.append(len(found.score_by_angle))
    # Two pixels from one to the next, and a multiple of four, so that quarter turns are among them.
    rims = [np.pi * side for side in (measure.coarsest_side, 2 * measure.coarsest_side)]
    assert tried == [4 * int(np.ceil(rim / 8)) for rim in rims]


@given(seeds(), st.integers(64, 900), st.integers(64, 900))
def test_what_has_nothing_but_detail_is_shrunk_only_as_far_as_its_size_asks(
    generator, height, width
):
    measure = search.correlation(1)
    noise = torch.randn(1, height, width, generator=generator, dtype=torch.float64)
    seen = measures.View(noise, torch.ones_like(noise))
    factor = 1
    while (height * width) / factor**2 > 2**17 and min(height, width) // (2 * factor) >= 32:
        factor *= 2
    assert frame._coarsest_factor(measure, seen, seen) == factor


ENDS = st.tuples(st.floats(-9, 9), st.floats(-2, 2), st.floats(-2, 2), st.floats(-1, 1))


@given(st.lists(ENDS, min_size=1, max_size=12), st.integers(20, 60), st.integers(1, 5))
def test_different_ends_have_a_corner_more_than_a_pixel_apart(listed, side, count):
    centre = image_centre(side, side)
    ends = [
        frame._End(rigid(degrees, (row, column), centre=centre), rank, rank)
        for degrees, row, column, rank in listed
    ]
    seen = measures.View(torch.ones(1, side, side), torch.ones(1, side, side))
    kept = frame._different(ends, seen, count)
    edges = np.array([[r, c, 1] for r in (0, side - 1) for c in (0, side - 1)])
    expected = []
    for end in sorted(ends, key=lambda e: e.rank, reverse=True):
        away = [np.abs(edges @ (end.matrix - k.matrix).T).max() > 1 for k in expected]
        if len(expected) < count and all(away):
            expected.append(end)
    assert [id(k) for k in kept] == [id(k) for k in expected]


@few(2)
@given(numbers, st.integers(20, 60))
def test_overlaps_over_blocks_are_enough_from_the_least_that_is_asked_for(seed, shift):
    """Of large images; more than was asked for is not wanted, and much less not taken."""
    noise = np.random.default_rng(seed).normal(size=(1, 200, 128))
    scene = scipy.ndimage.gaussian_filter(noise, (0, 1.5, 1.5))
    measure = search.correlation(1)
    pair = [view(measure, x, None) for x in (scene[:, :128], scene[:, shift : shift + 128])]
    assert measures.is_rough(measure.quick, pair[0].content)
    there = 1 - shift / 128
    for asked, found in ((there - 0.05, True), (there + 0.1, False)):
        starts = circle.all_starts(measure.quick, *pair, asked, (1.0, 1.0), False)
        start = next(start for start in starts if start.degrees == 0)
        gap = np.abs(start.moving_to_fixed[:2, 2] - (shift, 0)).max()
        assert (gap < 3) == found


@few(5)
@given(numbers, st.integers(0, 62), st.integers(0, 66))
def test_a_small_image_is_found_wherever_it_lies_in_a_large_one(seed, row, column):
    noise = np.random.default_rng(seed).normal(size=(1, 90, 90))
    scene = scipy.ndimage.gaussian_filter(noise, (0, 1.5, 1.5))
    measure = search.correlation(1)
    pair = [view(measure, x, None) for x in (scene, scene[:, row : row + 28, column : column + 24])]
    starts = circle.all_starts(measure, *pair, 0.5, (1.0, 1.0), False)
    best = max(starts, key=lambda start: start.score)
    assert best.degrees == 0
    np.testing.assert_allclose(best.moving_to_fixed[:2, 2], (row, column), atol=1e-9)
    assert abs(best.score - 1) < 1e-4  # what is not turned is not interpolated


@given(numbers, st.floats(0.05, 1), st.floats(-9, 9))
def test_a_direction_without_content_gets_a_thousandth_of_all_curvature(seed, contrast, offset):
    """So that a first step along it is long, and finite, whatever the contrast."""
    at = np.random.default_rng(seed).normal(size=40)
    rows = contrast * scipy.ndimage.gaussian_filter(at, 2) + offset
    spline = coefficients(torch.from_numpy(np.tile(rows[:, None], (1, 40)))[None])
    points = np.argwhere(np.ones((20, 20))) + 10.0
    curvature = np.linalg.inv(refine._curvature(spline, refine._Motion(points, np.eye(3), False)))
    least = np.linalg.eigvalsh(curvature).min()
    assert least / np.trace(curvature) == pytest.approx(1e-3 / 1.003, rel=1e-3)
