import math

import numpy as np
import pytest
import torch
from hypothesis import assume, given
from hypothesis import strategies as st
from strategies import few, numbers, shows_something

from equicomir.evaluation.alignment import corner_error
from equicomir.geometry import (
    image_centre,
    inverse,
    pixel_centres,
    rigid,
    transform_points,
    warp_image,
)
from equicomir.images.instruments import BRIGHTFIELD, FLUORESCENCE, SECOND_HARMONIC
from equicomir.images.phantoms import render
from equicomir.images.tissues import cells, fibres, vessels
from equicomir.registration import distance, distance_descent
from equicomir.registration.distance import alpha_amd
from equicomir.registration.distance_transforms import drawn, every_point, grey, look_up, stretched

WIDTH = 64
QUICK = {"start_every_degrees": 20.0, "steps": 50}  # enough at this size, in a quarter of the time
angles = st.floats(-180, 180)
fractions = st.tuples(st.floats(-0.09, 0.09), st.floats(-0.09, 0.09))


def small(seed, height, width, channels=1):
    """A smooth image in [0, 1], with values at both ends: so every level has both sides."""
    generator = torch.Generator().manual_seed(seed)
    noise = torch.rand(1, channels, 4, 4, generator=generator, dtype=torch.float64)
    image = torch.nn.functional.interpolate(noise, (height, width), mode="bilinear")[0]
    low, high = image.amin((1, 2), keepdim=True), image.amax((1, 2), keepdim=True)
    return ((image - low) / (high - low)).numpy()


def mask_of(seed, height, width):
    mask = np.random.default_rng(seed).random((height, width)) < 0.8
    mask[0, 0] = mask[-1, -1] = True
    return mask


def planted(seed, degrees, fraction, width=WIDTH, channels=1, symmetry=0.0):
    """A textured pair with content at several scales, cut with real context: and the truth.

    ``symmetry`` mixes the scene with itself after half a turn: at 1 the two are the same.
    """
    generator = torch.Generator().manual_seed(seed)
    scene = torch.zeros(1, channels, 2 * width, 2 * width, dtype=torch.float64)
    for cells_across in (5, 12, 30):
        noise = torch.randn(1, channels, cells_across, cells_across, generator=generator)
        scene += torch.nn.functional.interpolate(
            noise.double(), (2 * width, 2 * width), mode="bicubic"
        )
    scene = scene + symmetry * scene.flip(2, 3)
    shift = (fraction[0] * width, fraction[1] * width)
    truth = np.linalg.inv(rigid(degrees, shift, centre=image_centre(width, width)))
    corner = rigid(0, (width / 2, width / 2))
    fixed, _ = warp_image(scene, corner, size=(width, width))
    moving, inside = warp_image(scene, corner @ truth, size=(width, width))
    assert inside.all()
    return fixed[0].numpy(), moving[0].numpy(), truth


def naive(fixed, moving, there, fixed_mask, moving_mask, levels, most, *, both_sides=True):
    """One way, by loops over points, levels and pixels: no distance transform, no stacks.

    ``both_sides=False`` is the plain control: a point looks only up, at the levels below it.
    """
    channels, height, width = fixed.shape
    q_fixed, q_moving = (np.floor(x * levels + 0.5).astype(int) for x in (fixed, moving))

    def distance_at(channel, place, own):
        """From a pixel of the fixed image to the like ones, summed over levels."""
        total = 0.0
        for level in range(1, levels + 1):
            inside = own >= level
            if not inside and not both_sides:
                continue
            gaps = [
                math.dist(place, (r, c))
                for r in range(height)
                for c in range(width)
                if fixed_mask[r, c] and (q_fixed[channel, r, c] >= level) == inside
            ]
            total += min([*gaps, most])
        return total / levels

    total, count = 0.0, 0
    for r, c in zip(*np.nonzero(moving_mask), strict=True):
        row, column, _ = there @ [r, c, 1]
        if not (-1e-3 <= row <= height - 1 + 1e-3 and -1e-3 <= column <= width - 1 + 1e-3):
            continue  # rounding puts no place outside
        row, column = min(max(row, 0), height - 1), min(max(column, 0), width - 1)
        if not fixed_mask[round(row), round(column)]:
            continue
        count += 1
        for channel in range(channels):
            for r0 in {math.floor(row), math.ceil(row)}:
                for c0 in {math.floor(column), math.ceil(column)}:
                    share = (1 - abs(row - r0)) * (1 - abs(column - c0))
                    own = q_moving[channel, r, c]
                    total += share * distance_at(channel, (r0, c0), own) / channels
    return total / count if count else math.inf


@given(numbers, st.integers(1, 3), st.integers(1, 2), angles, st.sampled_from([2.0, 30.0]))
@few(8)
def test_the_measure_is_its_definition(seed, levels, channels, degrees, most):
    fixed, moving = small(seed, 6, 7, channels), small(seed + 1, 5, 6, channels)
    masks = mask_of(seed, 6, 7), mask_of(seed + 1, 5, 6)
    # Quarters of pixels: a place halfway between pixels would fall on either side by rounding.
    whole = degrees > 0
    there = rigid(90 * (seed % 4) if whole else degrees, (1, -1), centre=(2, 2))
    there = there if whole else there @ rigid(0, (0.25, 0.3))
    options = {"levels": levels, "most_pixels": most}
    one = alpha_amd(
        fixed,
        moving,
        there,
        fixed_mask=masks[0],
        moving_mask=masks[1],
        symmetric=False,
        **options,
    )
    both = alpha_amd(fixed, moving, there, fixed_mask=masks[0], moving_mask=masks[1], **options)
    forward = naive(fixed, moving, there, *masks, levels, most)
    assert one == pytest.approx(forward, rel=1e-6, abs=1e-7)
    if whole:
        back = naive(moving, fixed, np.linalg.inv(there), *masks[::-1], levels, most)
        assert both == pytest.approx((forward + back) / 2, rel=1e-6, abs=1e-7)


def test_the_definition_tells_one_side_from_both():
    """The control: a loop in which points look only up gives another number."""
    fixed, moving, everywhere = small(1, 6, 7), small(2, 6, 7), np.ones((6, 7), bool)
    found = alpha_amd(fixed, moving, np.eye(3), levels=2, symmetric=False)
    arguments = (fixed, moving, np.eye(3), everywhere, everywhere, 2, 64.0)
    assert found == pytest.approx(naive(*arguments), rel=1e-6)
    assert abs(found - naive(*arguments, both_sides=False)) > 0.1 * found


@given(numbers, st.integers(1, 3), st.integers(1, 9))
def test_it_is_zero_for_identical_images_alone(seed, channels, levels):
    image = small(seed, 20, 17, channels)
    mask = mask_of(seed, 20, 17)
    assert alpha_amd(image, image, np.eye(3), levels=levels) == 0
    assert alpha_amd(image, image, np.eye(3), fixed_mask=mask, moving_mask=mask, levels=levels) == 0
    assert alpha_amd(image, image, rigid(0, (2, 1)), levels=levels) > 0
    assert alpha_amd(image, image[:, ::-1].copy(), np.eye(3), levels=levels) > 0


@given(numbers, angles, st.integers(1, 9))
def test_exchanging_the_images_changes_nothing_when_symmetric(seed, degrees, levels):
    fixed, moving = small(seed, 24, 20), small(seed + 1, 21, 25)
    there = rigid(degrees, (2.3, -1.7), centre=(10, 10))
    back = np.linalg.inv(there)
    one, other = (
        alpha_amd(fixed, moving, there, levels=levels),
        alpha_amd(moving, fixed, back, levels=levels),
    )
    assert one == pytest.approx(other, rel=1e-9)
    ways = [
        alpha_amd(fixed, moving, there, levels=levels, symmetric=False),
        alpha_amd(moving, fixed, back, levels=levels, symmetric=False),
    ]
    assert one == pytest.approx(np.mean(ways), rel=1e-9)
    assert ways[0] != ways[1]  # each way alone is not symmetric


@given(numbers, angles, st.integers(1, 9), st.integers(1, 3))
def test_what_the_measure_does_not_see(seed, degrees, levels, turns):
    """Both images inverted; both turned by a quarter. It does see one image inverted, or darker."""
    fixed, moving = small(seed, 24, 20), small(seed + 1, 21, 25)
    there = rigid(degrees, (2.3, -1.7), centre=(10, 10))
    usual = alpha_amd(fixed, moving, there, levels=levels)
    # Heights at which rounding up and down differ are no case: they have probability zero.
    assume(all(np.abs((x * levels + 0.5) % 1 - 0.5).max() < 0.5 - 1e-9 for x in (fixed, moving)))
    assert alpha_amd(1 - fixed, 1 - moving, there, levels=levels) == pytest.approx(usual, rel=1e-6)
    after = rigid(90 * turns, centre=image_centre(24, 20))
    grown = np.rot90(fixed, turns, (1, 2)).copy()
    swapped = image_centre(*grown.shape[1:])
    after[:2, 2] += np.subtract(swapped, image_centre(24, 20))
    turned = alpha_amd(grown, moving, after @ there, levels=levels)
    assert turned == pytest.approx(usual, rel=1e-6)
    assert abs(alpha_amd(1 - fixed, moving, there, levels=levels) - usual) > 1e-6


@given(numbers, st.integers(2, 9))
def test_it_does_see_brightness_unless_stretched(seed, levels):
    image = small(seed, 24, 20)
    darker = 0.2 + 0.3 * image
    assert alpha_amd(image, darker, np.eye(3), levels=levels) > 0
    same = stretched(image, None), stretched(darker, None)
    np.testing.assert_allclose(*same, atol=1e-12)


@given(numbers, angles)
def test_what_a_mask_hides_does_not_count(seed, degrees):
    fixed, moving = small(seed, 24, 20), small(seed + 1, 24, 20)
    mask = mask_of(seed, 24, 20)
    spoiled = np.where(mask, moving, np.random.default_rng(seed).random((24, 20)))
    there = rigid(degrees, centre=(11.5, 9.5))
    usual = alpha_amd(fixed, moving, there, moving_mask=mask)
    assert alpha_amd(fixed, spoiled, there, moving_mask=mask) == usual
    assert alpha_amd(fixed, spoiled, there) != usual  # the control: unmasked, it counts
    weighted = alpha_amd(fixed, moving, there, moving_weights=mask.astype(float))
    assert weighted != usual  # a point without weight is not looked from, but is looked for
    doubled = alpha_amd(
        fixed, moving, there, moving_mask=mask, moving_weights=np.full((24, 20), 2.0)
    )
    assert doubled == pytest.approx(usual, rel=1e-6)


def scale_of(fixed, moving):
    return distance_descent.at_scale((fixed, None, None), (moving, None, None), 1, 7, 16.0)


@given(numbers, st.floats(0.5, 2), st.floats(0.01, 0.1), st.integers(15, 30))
def test_steps_shorten_from_the_longest_to_the_shortest(seed, longest, shortest, steps):
    """Each step is as long as its length says, to the factor by which the slopes of Adam agree."""
    scale, seen = scale_of(small(seed, 24, 24), small(seed + 1, 24, 24)), []
    of_all = distance_descent.symmetric_distance

    def watched(scale, parameters, *points):
        seen.append(parameters)
        return of_all(scale, parameters, *points)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(distance_descent, "symmetric_distance", watched)
        end, straight = distance_descent.descend(
            scale,
            torch.tensor([[3.0, 2.0, -1.0], [-9.0, 0.5, 1.0]]),
            (longest, shortest),
            steps,
            1.0,
            generator=torch.Generator().manual_seed(seed),
        )
    moved = torch.stack([*seen, end]).diff(dim=0).abs().amax((1, 2))
    eased = (1 + torch.cos(torch.pi * torch.arange(steps) / steps)) / 2
    assert moved[0] == pytest.approx(longest, rel=1e-3)
    assert (moved <= 1.5 * (shortest + (longest - shortest) * eased)).all()
    assert ((straight >= 0) & (straight <= 1.5)).all()


def off_the_grid(matrix):
    """Whether few points land next to a pixel, where the slope of what lies between jumps."""
    places = [transform_points(m, pixel_centres(24, 24)) for m in (matrix, inverse(matrix))]
    return all((np.abs(x - np.round(x)) < 1e-3).any(1).mean() < 0.02 for x in places)


def who_is_shown(scale, parameters):
    """Which points of either image lie in the other: where one leaves, another may enter."""
    matrix = scale.matrix(parameters[0])
    sides = (
        (scale.fixed, scale.moving_points, matrix),
        (scale.moving, scale.fixed_points, inverse(matrix)),
    )
    shown = []
    for image, points, there in sides:
        places = torch.from_numpy(transform_points(there, points.places.double().numpy()))
        shown.append(look_up(image, points.heights, places[None])[2] > 0)
    return torch.cat(shown, dim=1)


@given(numbers, angles, fractions)
def test_the_slope_is_the_derivative(seed, degrees, fraction):
    """Beside central differences, in float64."""
    scale = scale_of(small(seed, 24, 24), small(seed + 1, 24, 24))
    parameters = torch.tensor([[degrees / 10, 24 * fraction[0], 24 * fraction[1]]]).double()
    points = scale.fixed_points, scale.moving_points
    assume(off_the_grid(scale.matrix(parameters[0])))
    _, slope, _ = distance_descent.symmetric_distance(scale, parameters, *points)
    small_step = 1e-5
    for axis in range(3):
        change = torch.zeros(1, 3, dtype=torch.float64)
        change[0, axis] = small_step
        ends = parameters + change, parameters - change
        if not torch.equal(*(who_is_shown(scale, end) for end in ends)):
            continue  # a point entered or left
        after, before = (distance_descent.symmetric_distance(scale, x, *points)[0] for x in ends)
        numeric = (after - before) / (2 * small_step)
        # A knot of the linear interpolation within the step changes one point's slope.
        assert abs(float(numeric - slope[0, axis])) < 0.01


@given(numbers, st.integers(1, 60))
def test_points_are_drawn_in_proportion_to_their_weights(seed, count):
    rng = np.random.default_rng(seed)
    weights = rng.random((6, 5)) * (rng.random((6, 5)) < 0.7)
    weights[0, 0] = 1
    sample = every_point(grey(small(seed, 6, 5), None, weights, levels=3, most_pixels=9.0))
    assert len(sample.places) == np.count_nonzero(weights)
    generator = torch.Generator().manual_seed(seed)
    tally = np.zeros((6, 5))
    for _ in range(40):
        rows, columns = drawn(sample, count, generator=generator).places.long().T.numpy()
        np.add.at(tally, (rows, columns), 1)
    assert not tally[weights == 0].any()
    expected = 40 * count * weights / weights.sum()
    # Strata vary less than independent draws, whose standard deviation this is; where hardly one
    # is expected, a few may come.
    assert (np.abs(tally - expected) <= 5 * np.sqrt(expected) + 3).all()


@given(numbers, angles, fractions, st.integers(1, 2))
@few(8)
def test_it_recovers_any_planted_transform_of_a_texture(seed, degrees, fraction, channels):
    fixed, moving, truth = planted(seed, degrees, fraction, channels=channels)
    found = distance.register(fixed, 0.2 * moving - 7, **QUICK)
    assert corner_error(truth, found.moving_to_fixed, WIDTH) < 0.02 * WIDTH
    assert found.failure == ""
    assert [angle for angle, _ in found.score_by_angle] == np.arange(0, 360, 20.0).tolist()
    identity = alpha_amd(stretched(fixed, None), stretched(moving, None), np.eye(3), most_pixels=16)
    assert -found.score < identity + 0.01  # where there is nothing to do, it is left exactly


@given(numbers)
@few(2)
def test_it_recovers_the_planted_transform_of_nearly_every_phantom(number):
    """It climbs from a circle of starts, which may miss: three of four drawn scenes are a law."""
    draw, errors = np.random.default_rng(number), []
    while len(errors) < 4:
        generator = torch.Generator().manual_seed(int(draw.integers(10**6)))
        kind = draw.choice([cells, fibres, vessels])
        modality = draw.choice([BRIGHTFIELD, FLUORESCENCE, SECOND_HARMONIC])
        scene, shift = kind((96, 96), generator=generator), draw.uniform(-9, 9, 2)
        truth = rigid(draw.uniform(-180, 180), shift, centre=image_centre(96, 96))
        views = [render(scene, modality, (96, 96), view) for view in (None, truth)]
        if shows_something(views[0][0].numpy()):
            fixed, moving = (modality(view, generator=generator).numpy() for view in views)
            found = distance.register(fixed, moving, **QUICK).moving_to_fixed
            errors.append(corner_error(truth, found, 96))
    assert sorted(errors)[2] < 0.02 * 96


def test_one_start_alone_is_lost():
    """The plain control of the circle of starts."""
    fixed, moving, truth = planted(1, 130.0, (0.05, -0.02))
    found = distance.register(fixed, moving, start_every_degrees=360, steps=50)
    assert corner_error(truth, found.moving_to_fixed, WIDTH) > 5
    assert found.score < distance.register(fixed, moving, **QUICK).score


@given(numbers, angles, fractions)
@few(5)
def test_swapping_gives_the_inverse(seed, degrees, fraction):
    fixed, moving, _ = planted(seed, degrees, fraction)
    there = distance.register(fixed, moving, **QUICK)
    back = distance.register(moving, fixed, **QUICK)
    assert corner_error(np.linalg.inv(there.moving_to_fixed), back.moving_to_fixed, WIDTH) < 1.0


@given(numbers, angles, fractions, st.integers(1, 3))
@few(2)
def test_turning_both_images_turns_the_answer(seed, degrees, fraction, quarters):
    assume(math.hypot(*fraction) > 0.04)
    fixed, moving, _ = planted(seed, degrees, fraction)
    straight = distance.register(fixed, moving, **QUICK).moving_to_fixed
    both = [np.rot90(image, quarters, (1, 2)).copy() for image in (fixed, moving)]
    found = distance.register(*both, **QUICK).moving_to_fixed
    turn = rigid(90 * quarters, centre=image_centre(WIDTH, WIDTH))
    # Other points are drawn, so that it is not the same to the last digit.
    assert corner_error(turn @ straight @ np.linalg.inv(turn), found, WIDTH) < 1.0
    assert corner_error(straight, found, WIDTH) > 1.5  # the control: it does turn


@given(numbers, angles, fractions, *[st.tuples(st.floats(0.1, 10), st.floats(-5, 5))] * 2)
@few(1)
def test_brightness_and_contrast_of_either_and_inverting_both_change_nothing(
    seed, degrees, fraction, one, other
):
    fixed, moving, _ = planted(seed, degrees, fraction)
    usual = distance.register(fixed, moving, **QUICK)
    for sign in (1, -1):
        changed = [
            sign * (factor * image + shift)
            for image, (factor, shift) in ((fixed, one), (moving, other))
        ]
        found = distance.register(*changed, **QUICK)
        assert corner_error(usual.moving_to_fixed, found.moving_to_fixed, WIDTH) < 1.0
        assert found.score == pytest.approx(usual.score, abs=0.02)
    # The planted fault: one of them alone inverted, or its contrast bent.
    for bent in (-moving, np.exp(2 * moving / moving.std())):
        found = distance.register(fixed, bent, **QUICK)
        assert found.score < usual.score - 0.02


def test_a_seed_repeats_and_another_differs_little():
    fixed, moving, _ = planted(2, -70.0, (0.03, 0.06))
    one, same, other = (distance.register(fixed, moving, seed=seed, **QUICK) for seed in (0, 0, 1))
    assert np.array_equal(one.moving_to_fixed, same.moving_to_fixed)
    assert one.score == same.score
    assert 0 < corner_error(one.moving_to_fixed, other.moving_to_fixed, WIDTH) < 1.0


def test_masks_exclude_what_they_cover():
    fixed, moving, truth = planted(4, 100.0, (-0.05, 0.04))
    mask = np.ones((WIDTH, WIDTH), dtype=bool)
    mask[:24] = False
    spoiled = moving.copy()
    spoiled[:, :24] = 5 * np.random.default_rng(0).normal(size=(1, 24, WIDTH))
    found = distance.register(fixed, spoiled, moving_mask=mask, **QUICK)
    assert corner_error(truth, found.moving_to_fixed, WIDTH) < 0.02 * WIDTH
    weights = mask.astype(np.float64)
    ones = np.ones((WIDTH, WIDTH))
    found = distance.register(fixed, moving, moving_weights=weights, fixed_weights=ones, **QUICK)
    assert corner_error(truth, found.moving_to_fixed, WIDTH) < 0.02 * WIDTH


def test_the_score_is_the_dense_distance():
    fixed, moving, _ = planted(3, 40.0, (0.02, 0.02))
    found = distance.register(fixed, moving, **QUICK)
    dense = alpha_amd(
        stretched(fixed, None), stretched(moving, None), found.moving_to_fixed, most_pixels=16
    )
    assert -found.score == pytest.approx(dense, rel=1e-3)


def test_choosing_on_a_sample_ends_at_the_wrong_finalist(monkeypatch):
    """A scene that is almost the same after half a turn has two good finalists, one the better."""
    fixed, moving, truth = planted(6, 75.0, (0.0, 0.0), symmetry=0.9)
    ends = [distance.register(fixed, moving, seed=seed, **QUICK) for seed in range(4)]
    for found in ends:
        assert corner_error(truth, found.moving_to_fixed, WIDTH) < 0.02 * WIDTH

    def sampled(scale, parameters, minimum_overlap):
        """The fault: one point in a hundred decides, of each finalist's own last draw."""
        found = []
        for one in parameters:
            points = (
                drawn(p, len(p.places) // 100, generator=generator)
                for p in (scale.fixed_points, scale.moving_points)
            )
            found.append(distance_descent.symmetric_distance(scale, one[None], *points)[0])
        return torch.cat(found)

    monkeypatch.setattr(distance_descent, "dense_distances", sampled)
    errors = []
    for seed in range(4):
        generator = torch.Generator().manual_seed(seed)
        found = distance.register(fixed, moving, seed=seed, **QUICK)
        errors.append(corner_error(truth, found.moving_to_fixed, WIDTH))
    assert max(errors) > 0.5 * WIDTH, errors


def test_what_is_not_found_says_so():
    fixed, moving, _ = planted(7, 100.0, (0.05, 0.05))
    early = distance.register(fixed, moving, steps=2)
    assert early.failure == "the nearest descent was still on its way after 2 steps a scale."
    assert (early.score, early.trusted) == (-math.inf, False)
    masks = np.zeros((2, WIDTH, WIDTH), dtype=bool)
    masks[0, :4], masks[1, :, :4] = True, True
    apart = distance.register(
        fixed,
        moving,
        fixed_mask=masks[0],
        moving_mask=masks[1],
        minimum_overlap=1.0,
        start_every_degrees=45,
    )
    assert apart.failure == "no descent ended where 1 of the points of both images meet."
    assert np.array_equal(apart.moving_to_fixed, np.eye(3))


def test_bad_input_is_refused_in_one_sentence():
    image = np.random.default_rng(0).random((1, 40, 40))
    bad = [
        ((image, np.full((40, 40), np.nan)), {}, "moving: expected finite numbers"),
        ((image, np.ones((40, 40))), {}, "moving: expected an image with content"),
        ((image, np.zeros((2, 40, 40))), {}, "expected 1 channels like fixed, got 2"),
        ((image, image), {"fixed_mask": np.zeros((40, 40), bool)}, "fixed_mask: expected at least"),
        ((image, image), {"levels": 0}, "levels: expected 1 or more"),
        ((image, image), {"most_pixels": 0.0}, "most_pixels: expected a distance above 0"),
        ((image, image), {"fixed_weights": np.ones((3, 3))}, "fixed_weights: expected size"),
        ((image, image), {"fixed_weights": -image[0]}, "fixed_weights: expected finite numbers"),
        ((image, image), {"moving_weights": 0 * image[0]}, "moving_weights: expected one above"),
    ]
    for images, options, message in bad:
        with pytest.raises(ValueError, match=message):
            distance.register(*images, **options)
        with pytest.raises(ValueError, match=message):
            alpha_amd(*images, np.eye(3), **options)
    for option, value in (
        ("start_every_degrees", 0.0),
        ("steps", 0),
        ("fraction", 1.1),
        ("minimum_overlap", 0.0),
    ):
        with pytest.raises(ValueError, match=f"{option}: expected"):
            distance.register(image, image, **{option: value})
    with pytest.raises(TypeError, match="moving_weights: expected a NumPy array of real"):
        distance.register(image, image, moving_weights=[1.0])
    with pytest.raises(TypeError, match="fixed: expected a NumPy array of real numbers"):
        distance.register(image * 1j, image)
    with pytest.raises(ValueError, match=r"moving: expected values in \[0, 1\], got"):
        alpha_amd(image, 3 * image, np.eye(3))
    with pytest.raises(ValueError, match="moving_to_fixed: expected an invertible 3 x 3"):
        alpha_amd(image, image, np.zeros((3, 3)))
