"""The laws of mutual information: the naive numbers at every lag, and what it does not see."""

import math

import numpy as np
import pytest
import torch
from hypothesis import assume, given
from hypothesis import strategies as st
from strategies import few, numbers, seeds

from equicomir.evaluation.alignment import SUCCESS_FRACTION, corner_error
from equicomir.geometry import image_centre, rigid, transform_points, warp_image
from equicomir.images.instruments import BRIGHTFIELD, FLUORESCENCE
from equicomir.images.phantoms import render
from equicomir.images.tissues import cells, fibres, vessels
from equicomir.registration import information, search
from equicomir.registration.frame import search as frame_search
from equicomir.registration.measures import (
    masked_channels,
    sums_at_all_lags,
    sums_at_points,
    view,
)
from equicomir.registration.refine import climb, coefficients, interpolated
from equicomir.registration.summit import halfway, summit
from equicomir.registration.summit import height as height_at

angles = st.floats(-180, 180)
shifts = st.tuples(st.floats(-6, 6), st.floats(-6, 6))
WIDTH = 96
SIZE = (WIDTH, WIDTH)
MEASURES = ("mutual", "normalised", "squared_loss")
SIDES = st.tuples(*[st.integers(4, 7)] * 4)


def planted(kind, modalities, seed, degrees, shift):
    """One scene seen by two instruments, without noise, and the truth."""
    description = kind(SIZE, generator=torch.Generator().manual_seed(seed))
    truth = rigid(degrees, shift, centre=image_centre(*SIZE))
    views = [
        render(description, modality, SIZE, matrix)
        for modality, matrix in zip(modalities, (None, truth), strict=True)
    ]
    return *(image[0].double().numpy() for image in views), truth


def scores_of_all_lags(measure, images, masks):
    """By Fourier transform: at [i, j] for the lag (i - height + 1, j - width + 1) of the fixed."""
    f, m = (view(measure, x[None], mask) for x, mask in zip(images, masks, strict=True))
    (height, width), (rows, columns) = images[0].shape, images[1].shape
    pad = (width - 1, width - 1, height - 1, height - 1)
    canvas = [torch.nn.functional.pad(x, pad) for x in (m.content, m.mask)]
    fixed, moving = (
        masked_channels(measure, f.content, f.mask),
        masked_channels(measure, *canvas)[None],
    )
    lags = (height + rows - 1, width + columns - 1)
    sums = sums_at_all_lags(measure, fixed, moving, lags)
    return measure.score(sums)[0].numpy()


def overlap_of(images, masks, row, column):
    """The pairs of values that meet at a lag, in a naked double loop."""
    pairs = []
    for r in range(images[0].shape[0]):
        for c in range(images[0].shape[1]):
            i, j = r + row, c + column
            inside = 0 <= i < images[1].shape[0] and 0 <= j < images[1].shape[1]
            if inside and masks[0][r, c] and masks[1][i, j]:
                pairs.append((images[0][r, c], images[1][i, j]))
    return np.array(pairs)


def each_lag(images, masks, least=6):
    """(index of the scores, pairs) of every lag at which enough pixels meet, and not all alike:
    without entropy, what is normalised is rounding over next to nothing.
    """
    (height, width), (rows, columns) = images[0].shape, images[1].shape
    for i in range(height + rows - 1):
        for j in range(width + columns - 1):
            pairs = overlap_of(images, masks, i - height + 1, j - width + 1)
            if len(pairs) >= least and len(np.unique(pairs, axis=0)) > 1:
                yield (i, j), pairs


def drawn(generator, sides, levels):
    """Two images of whole levels, each of which occurs, and masks with holes."""
    draw = np.random.default_rng(generator.initial_seed())
    images, masks = [], []
    for height, width in (sides[:2], sides[2:]):
        image = draw.integers(0, levels, (height, width))
        image.flat[:levels] = draw.permutation(levels)
        mask = draw.random((height, width)) < 0.8
        mask.flat[:levels] = True
        images.append(image.astype(float))
        masks.append(mask)
    return images, masks


def entropy(counts):
    p = counts[counts > 0] / counts.sum()
    return -(p * np.log(p)).sum()


def naive_information(pairs, levels, normalised):
    joint = np.histogram2d(*pairs.T, bins=np.arange(levels + 1) - 0.5)[0]
    apart = entropy(joint.sum(0)) + entropy(joint.sum(1))
    return apart / max(entropy(joint), 1e-6) if normalised else apart - entropy(joint)


@given(seeds(), SIDES, st.integers(2, 8), st.booleans())
@few(10)
def test_mutual_information_of_all_lags_equals_the_histogram_of_a_double_loop(
    generator, sides, levels, normalised
):
    images, masks = drawn(generator, sides, levels)
    scores = scores_of_all_lags(information.mutual(levels, normalised=normalised), images, masks)
    wrong, lags = 0.0, list(each_lag(images, masks))
    for at, pairs in lags:
        naive = naive_information(pairs, levels, normalised)
        assert abs(scores[at] - naive) < 1e-8
        shuffled = np.stack([pairs[:, 0], np.roll(pairs[:, 1], 1)], axis=1)
        wrong = max(wrong, abs(scores[at] - naive_information(shuffled, levels, normalised)))
    assert len(lags) < 10 or wrong > 1e-3  # of few, each may share as much when shuffled


def naive_squared_loss(pairs):
    """Half the sum of squared canonical correlations of cosines of the ranks, with the ridge."""
    f, m = (np.cos(np.outer(values, math.pi * np.arange(1, 4))) for values in pairs.T)
    both = np.cov(np.hstack([f, m]).T, bias=True)
    own = [both[part, part] + 1e-3 * np.eye(3) for part in (slice(0, 3), slice(3, 6))]
    cross = both[:3, 3:]
    return np.trace(np.linalg.inv(own[0]) @ cross @ np.linalg.inv(own[1]) @ cross.T) / 2


@given(seeds(), SIDES)
@few(10)
def test_squared_loss_of_all_lags_equals_canonical_correlations_of_a_double_loop(generator, sides):
    draw = np.random.default_rng(generator.initial_seed())
    images = [draw.normal(size=side) for side in (sides[:2], sides[2:])]
    masks = [draw.random(image.shape) < 0.8 for image in images]
    measure = information.squared_loss()
    scores = scores_of_all_lags(measure, images, masks)
    ranks = [
        view(measure, image[None], mask).content[0].numpy()
        for image, mask in zip(images, masks, strict=True)
    ]
    for at, pairs in each_lag(ranks, masks, least=10):
        assert abs(scores[at] - naive_squared_loss(pairs)) < 1e-8


@given(seeds(), SIDES, st.integers(3, 8))
@few(10)
def test_it_does_not_matter_which_level_stands_for_which(generator, sides, levels):
    images, masks = drawn(generator, sides, levels)
    names = np.random.default_rng(generator.initial_seed() + 1).permutation(levels).astype(float)
    other = [names[images[0].astype(int)] ** 3, images[1]]
    enough = tuple(np.array([at for at, _ in each_lag(images, masks)]).T)
    for normalised in (False, True):
        measure = information.mutual(levels, normalised=normalised)
        one, two = (scores_of_all_lags(measure, pair, masks) for pair in (images, other))
        np.testing.assert_allclose(one[enough], two[enough], atol=1e-9)
    if not np.array_equal(names, np.sort(names)) and not np.array_equal(names, -np.sort(-names)):
        one, two = (
            scores_of_all_lags(search.correlation(1), pair, masks) for pair in (images, other)
        )
        assert not np.allclose(one[enough], two[enough], atol=1e-3)


@given(seeds(), st.sampled_from([np.exp, np.arctan, lambda x: x**3, lambda x: -2 * x]))
def test_ranks_see_nothing_of_a_monotone_map(generator, monotone):
    image = torch.randn(1, 9, 11, dtype=torch.float64, generator=generator)
    inside = torch.ones_like(image)
    mapped = torch.from_numpy(monotone(image.numpy()))
    one, two = (information.ranked(x, inside, 8) for x in (image, mapped))
    falls = float(monotone(1.0)) < float(monotone(0.0))
    torch.testing.assert_close(7 - one if falls else one, two, atol=1e-9, rtol=0)
    assert not torch.allclose(one, information.ranked(image.square(), inside, 8), atol=1e-2)


# ----------------------------------------------------------------------- planted and found

PAIRS = st.sampled_from([(BRIGHTFIELD, FLUORESCENCE), (FLUORESCENCE, BRIGHTFIELD)])


@pytest.mark.parametrize("measure", MEASURES)
@given(PAIRS, st.lists(numbers, min_size=6, max_size=6, unique=True), angles, shifts)
@few(1)
def test_other_modalities_of_nearly_every_scene_are_found(
    measure, modalities, seeds_of_scenes, degrees, shift
):
    """Of one scene in forty the right angle is not the one of the most information."""
    found = 0
    for seed in seeds_of_scenes:
        fixed, moving, truth = planted(cells, modalities, seed, degrees, shift)
        answer = information.register(fixed, moving, measure=measure)
        assert not answer.failure
        error = corner_error(truth, answer.moving_to_fixed, WIDTH)
        found += error < SUCCESS_FRACTION * WIDTH
    assert found >= 4


def test_where_correlation_is_lost_information_is_not():
    fixed, moving, truth = planted(vessels, (BRIGHTFIELD, FLUORESCENCE), 4, 140.0, (3, -4))
    lost = search.register(fixed, moving).moving_to_fixed
    found = information.register(fixed, moving, measure="squared_loss").moving_to_fixed
    assert corner_error(truth, found, WIDTH) < SUCCESS_FRACTION * WIDTH
    assert corner_error(truth, lost, WIDTH) > 5


KINDS = st.sampled_from([fibres, cells])
MONOTONE = st.sampled_from([np.exp, np.arctan, lambda x: -(x**3), lambda x: -2 * x])


@pytest.mark.parametrize("measure", ["mutual", "squared_loss"])
@given(KINDS, numbers, angles, MONOTONE, MONOTONE)
@few(1)
def test_monotone_maps_change_nothing(measure, kind, seed, degrees, one, other):
    fixed, moving, _ = planted(kind, (BRIGHTFIELD, FLUORESCENCE), seed, degrees, (2, 1))
    usual = information.register(fixed, moving, measure=measure)
    mapped = information.register(one(fixed), other(moving), measure=measure)
    # With levels in reverse order, rounding lets a climb end elsewhere on a flat top.
    assert corner_error(usual.moving_to_fixed, mapped.moving_to_fixed, WIDTH) < 0.5
    assert abs(usual.score - mapped.score) < 1e-3
    # The planted fault: maps that fold the brightness take information away, one of them much.
    folds = [abs(fixed - np.quantile(fixed, part)) for part in (0.3, 0.5)]
    folded = [information.register(fold, moving, measure=measure).score for fold in folds]
    assert max(abs(usual.score - score) for score in folded) > 1e-2


@pytest.mark.parametrize("measure", ["mutual", "squared_loss"])
@given(KINDS, numbers, angles, st.integers(1, 3))
@few(1)
def test_turning_both_images_turns_the_answer(measure, kind, seed, degrees, quarters):
    """Where there is one: tops elsewhere may be as high as each other."""
    fixed, moving, truth = planted(kind, (BRIGHTFIELD, FLUORESCENCE), seed, degrees, (5, -4))
    straight = information.register(fixed, moving, measure=measure).moving_to_fixed
    both = [np.rot90(image, quarters).copy() for image in (fixed, moving)]
    turn = rigid(90 * quarters, centre=image_centre(*SIZE))
    found = information.register(*both, measure=measure).moving_to_fixed
    back = np.linalg.inv(turn) @ found @ turn
    for answer in (straight, back):
        assume(corner_error(truth, answer, WIDTH) < SUCCESS_FRACTION * WIDTH)
    assert corner_error(straight, back, WIDTH) < 0.6
    assert corner_error(straight, found, WIDTH) > 2  # the control: it does turn


def cut(seed, degrees, mirrored, scale):
    """As :func:`planted`, of cells, with the moving image magnified and mirrored."""
    description = cells((150, 150), generator=torch.Generator().manual_seed(seed))
    corner, centre = rigid(0, (47, 47)), np.array(image_centre(*SIZE))
    change = np.diag([scale, -scale if mirrored else scale, 1.0])
    change[:2, 2] = centre - change[:2, :2] @ centre
    truth = rigid(degrees, (2, 3), centre=image_centre(*SIZE)) @ change
    views = []
    for modality, matrix in ((BRIGHTFIELD, np.eye(3)), (FLUORESCENCE, truth)):
        whole = render(description, modality, (190, 190), rigid(0, (-20, -20)))[None].double()
        image, inside = warp_image(whole, corner @ matrix, size=SIZE)
        assert inside.all()
        views.append(image[0, 0].numpy())
    return *views, truth


@given(numbers, angles, st.booleans(), st.floats(1.06, 1.14))
@few(1)
def test_mirrors_and_scales_are_found_where_asked_for(seed, degrees, mirrored, scale):
    fixed, moving, truth = cut(seed, degrees, mirrored, scale)
    answers = (
        information.register(fixed, moving, scales=(1.05, 1.15), mirrors=True),
        information.register(fixed, moving),  # the control: no rotation does
    )
    measure = information.mutual(8)
    views = [view(measure, image[None], None) for image in (fixed, moving)]
    found, without, true = (
        height_at(measure, *views, matrix)
        for matrix in (*(answer.moving_to_fixed for answer in answers), truth)
    )
    # Of one scene in forty as much is shared elsewhere, which may be where the search ends.
    assert found > 0.9 * true > without
    assert corner_error(truth, answers[1].moving_to_fixed, WIDTH) > SUCCESS_FRACTION * WIDTH


@pytest.mark.parametrize("measure", MEASURES)
def test_identical_images_give_the_identity(measure):
    fixed, _, _ = planted(cells, (FLUORESCENCE, FLUORESCENCE), 3, 0.0, (0, 0))
    found = information.register(fixed, fixed, measure=measure)
    assert corner_error(np.eye(3), found.moving_to_fixed, WIDTH) < 0.05


@pytest.mark.parametrize("measure", ["mutual", "squared_loss"])
@given(KINDS, PAIRS, numbers, angles, shifts)
@few(1)
def test_swapping_gives_the_inverse_to_a_pixel(measure, kind, modalities, seed, degrees, shift):
    fixed, moving, truth = planted(kind, modalities, seed, degrees, shift)
    there, back = (
        information.register(*pair, measure=measure).moving_to_fixed
        for pair in ((fixed, moving), (moving, fixed))
    )
    for found, true in ((there, truth), (back, np.linalg.inv(truth))):
        assume(corner_error(true, found, WIDTH) < SUCCESS_FRACTION * WIDTH)
    assert corner_error(np.linalg.inv(there), back, WIDTH) < 1
    if corner_error(truth, np.linalg.inv(truth), WIDTH) > 3:  # the control: there is no way back
        assert corner_error(there, back, WIDTH) > 2


def test_swapping_large_images_gives_the_inverse_to_a_tenth_of_a_pixel():
    description = cells((128, 128), generator=torch.Generator().manual_seed(8))
    truth = rigid(100.0, (4, 3), centre=image_centre(128, 128))
    fixed, moving = (
        render(description, modality, (128, 128), matrix)[0].double().numpy()
        for modality, matrix in ((BRIGHTFIELD, None), (FLUORESCENCE, truth))
    )
    there, back = (
        information.register(*pair, measure="squared_loss").moving_to_fixed
        for pair in ((fixed, moving), (moving, fixed))
    )
    assert corner_error(np.linalg.inv(there), back, 128) < 0.1


@given(KINDS, PAIRS, numbers, angles, st.tuples(st.floats(-0.5, 0.5), st.floats(-0.5, 0.5)))
@few(4)
def test_the_summit_knows_no_order_and_a_climb_with_one_image_held_does(
    kind, modalities, seed, degrees, away
):
    fixed, moving, truth = planted(kind, modalities, seed, degrees, (2, 1))
    measure, start = information.squared_loss(), rigid(0, away) @ truth
    one, other = (view(measure, x[None], None) for x in (fixed, moving))
    top = summit(measure, one, other, start)
    back = summit(measure, other, one, np.linalg.inv(start))
    assert corner_error(top, np.linalg.inv(back), WIDTH) < 0.005
    ways = [
        summit_of_one(measure, one, other, start),
        np.linalg.inv(summit_of_one(measure, other, one, np.linalg.inv(start))),
    ]
    assert corner_error(*ways, WIDTH) > 0.005  # the plain control
    # Halfway between two tops is a little below each.
    heights = both_ways(measure, one, other, start, top)
    assert heights[1] > 0.98 * heights[0]


def summit_of_one(measure, fixed, moving, start):
    """A climb with the fixed image held still, over all of its pixels that the moving one shows."""
    places, score = over_shown_pixels(measure, fixed, moving, start)
    return climb(score, coefficients(moving.content), places, start)[0]


def over_shown_pixels(measure, fixed, moving, start):
    """The fixed pixels that the moving image shows, and the score of its values there."""
    size, shown = (np.array(x.mask.shape[-2:]) for x in (fixed, moving))
    places = np.argwhere(np.ones(size)).astype(float)
    seen = transform_points(np.linalg.inv(start), places)
    places = places[((seen >= 1) & (seen <= shown - 2)).all(1)]
    rows, columns = places.astype(int).T
    inside = torch.ones(1, 1, len(places), dtype=torch.float64)
    own = masked_channels(measure, fixed.content[:, None, rows, columns], inside)

    def score(values):
        return measure.score(sums_at_points(measure, own, masked_channels(measure, values, inside)))

    return places, score


def both_ways(measure, one, other, start, end):
    """Heights at the start and at the end, added up with each image held still: over the pixels
    that the start shows, as climbs compare. Over its own, an end may lose what came in at a border.
    """
    heights = np.zeros(2)
    for still, turned, ends in (
        (one, other, (start, end)),
        (other, one, (np.linalg.inv(start), np.linalg.inv(end))),
    ):
        places, score = over_shown_pixels(measure, still, turned, ends[0])
        for i, matrix in enumerate(ends):
            points = transform_points(np.linalg.inv(matrix), places)
            values, _ = interpolated(coefficients(turned.content), points)
            heights[i] += float(score(values[:, None]))
    return heights


@given(angles, angles, shifts, st.floats(0.9, 1.1), st.booleans())
def test_halfway_is_a_similarity_and_as_far_from_both(degrees, more, shift, scale, mirrored):
    change = np.diag([scale, -scale if mirrored else scale, 1.0])
    one = rigid(degrees, (1, 2)) @ change
    other = rigid(more / 180, (shift[0] / 6, shift[1] / 6), centre=(20, 30)) @ one
    middle = halfway(one, other, (20, 30))
    square = middle[:2, :2] @ middle[:2, :2].T
    np.testing.assert_allclose(square, scale**2 * np.eye(2), atol=1e-9)
    gaps = [corner_error(middle, end, WIDTH) for end in (one, other)]
    assert gaps[0] == pytest.approx(gaps[1], rel=0.01, abs=1e-6)
    plain = (one + other)[:2, :2] / 2  # the mean of two rotations is no rotation
    assert abs(more) < 20 or np.abs(plain @ plain.T - square).max() > 1e-9


def test_masks_exclude_what_they_cover():
    fixed, moving, truth = planted(cells, (BRIGHTFIELD, FLUORESCENCE), 8, 100.0, (4, 3))
    mask = np.ones(SIZE, dtype=bool)
    mask[:24] = False
    spoiled = np.where(mask, moving, np.random.default_rng(0).normal(size=SIZE))
    one, other = (
        information.register(fixed, x, measure="squared_loss", moving_mask=mask).moving_to_fixed
        for x in (moving, spoiled)
    )
    assert corner_error(truth, one, WIDTH) < 1.0
    np.testing.assert_allclose(one, other, atol=1e-4)


def test_the_exhaustive_form_finds_the_same():
    fixed, moving, _ = planted(cells, (BRIGHTFIELD, FLUORESCENCE), 8, 100.0, (1, 2))
    pair = fixed[20:68, 20:68], moving[20:68, 20:68]
    quick, slow = (
        information.register(*pair, measure="squared_loss", exhaustive=exhaustive)
        for exhaustive in (False, True)
    )
    assert corner_error(quick.moving_to_fixed, slow.moving_to_fixed, 48) < 0.1


@few(1)
@given(KINDS, numbers)
def test_where_pixels_fill_them_twice_the_levels_say_where_the_top_is(kind, seed):
    """With as few pixels as their histogram needs, and not with one fewer a side."""
    size = (128, 128)
    description = kind(size, generator=torch.Generator().manual_seed(seed))
    truth = rigid(10.0, (3.3, -2.6), centre=image_centre(*size))
    images = [
        render(description, modality, size, matrix).double().numpy()
        for modality, matrix in ((BRIGHTFIELD, None), (FLUORESCENCE, truth))
    ]
    coarse, fine = (information.mutual(levels) for levels in (8, 16))
    magnified = {"scales": (0.99, 1.01)}
    found = information.register(*images, **magnified)
    before = frame_search(
        coarse, *(view(coarse, x, None) for x in images), minimum_overlap=0.5, **magnified
    )
    views = [view(fine, x, None) for x in images]
    heights = both_ways(fine, *views, before.moving_to_fixed, found.moving_to_fixed)
    assert heights[1] > 0.9999 * heights[0]  # halfway between two tops is a little below each
    areas = [np.linalg.det(one.moving_to_fixed[:2, :2]) for one in (found, before)]
    assert abs(areas[0] - areas[1]) > 1e-6  # the magnification was climbed as well
    one_fewer = [x[..., 1:] for x in images]
    small = information.register(*one_fewer)
    alone = frame_search(coarse, *(view(coarse, x, None) for x in one_fewer), minimum_overlap=0.5)
    np.testing.assert_allclose(small.moving_to_fixed, alone.moving_to_fixed)


def test_numbers_of_channels_may_differ_and_their_mean_counts():
    fixed, moving, _ = planted(cells, (BRIGHTFIELD, FLUORESCENCE), 8, 100.0, (4, 3))
    colour = np.stack([fixed, 2 * fixed, np.zeros(SIZE)])
    one, other = (
        information.register(x, moving, measure="squared_loss").moving_to_fixed
        for x in (fixed, colour)
    )
    np.testing.assert_allclose(one, other, atol=1e-6)


# ---------------------------------------------------------------------------- what is refused


def test_bad_input_is_refused_in_one_sentence():
    image = np.random.default_rng(0).normal(size=(64, 64))
    bad = [
        (image, np.full((64, 64), np.nan), {}, "moving: expected finite numbers"),
        (image, np.ones((64, 64)), {}, "moving: expected an image with content"),
        (image, image, {"fixed_mask": np.zeros((64, 64), bool)}, "fixed_mask: expected at least"),
        (image, image, {"levels": 1}, "levels: expected a whole number from 2 to 64, got 1"),
        (image, image, {"measure": "joint"}, "measure: expected one of mutual, normalised, squ"),
        (image, image[:8], {}, r"moving: expected height and width of at least 16 pixels, got"),
        (image, image, {"minimum_overlap": 0}, "minimum_overlap: expected"),
    ]
    for fixed, moving, options, message in bad:
        with pytest.raises(ValueError, match=message):
            information.register(fixed, moving, **options)
    with pytest.raises(TypeError, match="fixed: expected a NumPy array of real numbers"):
        information.register(image * 1j, image)


def test_nothing_to_find_is_a_failure_and_no_exception():
    image = np.random.default_rng(0).normal(size=(64, 64))
    strip, square = np.zeros((2, 64, 64), dtype=bool)
    strip[:10], square[:40, :40] = True, True
    masks = {"fixed_mask": square, "moving_mask": strip}
    found = information.register(image, image, **masks, minimum_overlap=1.0)
    assert found.failure.startswith("No content was found in any overlap of at least 1 of")
