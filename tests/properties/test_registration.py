import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from strategies import few

from equicomir.evaluation.alignment import corner_error
from equicomir.geometry import image_centre, rigid, warp_image
from equicomir.registration import elastix, features, search

angles = st.floats(-180, 180)
fractions = st.tuples(st.floats(-0.09, 0.09), st.floats(-0.09, 0.09))


def scene(seed, size, channels=1):
    """A smooth random texture: noise at several scales, so that every scale has content."""
    generator = torch.Generator().manual_seed(seed)
    total = torch.zeros(1, channels, size, size, dtype=torch.float64)
    for cells in (size // 24, size // 10, size // 4):
        noise = torch.randn(1, channels, cells, cells, generator=generator, dtype=torch.float64)
        total += torch.nn.functional.interpolate(noise, (size, size), mode="bicubic")
    return total


def planted(seed, degrees, fraction, width=64, channels=1):
    """A pair cut from a scene with a known displacement: fixed, moving, truth."""
    x = scene(seed, 2 * width, channels)
    centre = image_centre(width, width)
    shift = (fraction[0] * width, fraction[1] * width)
    truth = np.linalg.inv(rigid(degrees, shift, centre=centre))
    corner = rigid(0, (width / 2, width / 2))
    fixed, _ = warp_image(x, corner, size=(width, width))
    moving, inside = warp_image(x, corner @ truth, size=(width, width))
    assert inside.all()
    return fixed[0].numpy(), moving[0].numpy(), truth


@given(st.integers(0, 10**6), angles, fractions, st.integers(1, 3))
def test_search_recovers_any_planted_rigid_transform(seed, degrees, fraction, channels):
    fixed, moving, truth = planted(seed, degrees, fraction, channels=channels)
    found = search.register(fixed, moving)
    assert corner_error(truth, found.moving_to_fixed, 64) < 0.2
    assert found.score > 0.95


@given(st.integers(0, 10**6), angles, fractions, st.floats(0.01, 100), st.floats(-100, 100))
@few(8)
def test_search_does_not_see_brightness_and_contrast(seed, degrees, fraction, factor, offset):
    fixed, moving, _ = planted(seed, degrees, fraction)
    one, other = search.register(fixed, moving), search.register(fixed, factor * moving + offset)
    assert corner_error(one.moving_to_fixed, other.moving_to_fixed, 64) < 0.02
    assert abs(one.score - other.score) < 1e-3


@given(st.integers(0, 10**6), angles, fractions)
@few(8)
def test_swapping_gives_the_inverse(seed, degrees, fraction):
    fixed, moving, _ = planted(seed, degrees, fraction)
    there, back = search.register(fixed, moving), search.register(moving, fixed)
    assert corner_error(np.linalg.inv(there.moving_to_fixed), back.moving_to_fixed, 64) < 0.2


@given(st.integers(0, 10**6), angles, fractions, st.integers(1, 3))
@few(8)
def test_turning_the_moving_image_turns_the_answer(seed, degrees, fraction, turns):
    fixed, moving, _ = planted(seed, degrees, fraction)
    straight = search.register(fixed, moving).moving_to_fixed
    turned = search.register(fixed, np.rot90(moving, turns, (1, 2)).copy()).moving_to_fixed
    expected = straight @ rigid(-90 * turns, centre=image_centre(64, 64))
    assert corner_error(expected, turned, 64) < 0.1


@given(st.integers(0, 10**6), angles, fractions)
def test_masks_exclude_what_they_cover(seed, degrees, fraction):
    fixed, moving, truth = planted(seed, degrees, fraction)
    mask = np.ones((64, 64), dtype=bool)
    mask[:20] = False
    spoiled = moving.copy()
    spoiled[:, :20] = 30 * np.random.default_rng(seed).normal(size=(1, 20, 64))
    found = search.register(fixed, spoiled, moving_mask=mask)
    assert corner_error(truth, found.moving_to_fixed, 64) < 0.7


@given(st.integers(0, 10**6), st.integers(48, 100), st.integers(48, 100), angles)
@few(8)
def test_sizes_may_differ(seed, height, width, degrees):
    x = scene(seed, 240)
    truth = rigid(degrees, (3.0, -2.0), centre=image_centre(height, width))
    corner = rigid(0, (80, 80))
    fixed, _ = warp_image(x, corner, size=(80, 90))
    centred = rigid(0, (39.5 - (height - 1) / 2, 44.5 - (width - 1) / 2)) @ truth
    moving, _ = warp_image(x, corner @ centred, size=(height, width))
    found = search.register(fixed[0].numpy(), moving[0].numpy())
    assert corner_error(centred, found.moving_to_fixed, 64) < 1.0


def test_identical_images_give_the_identity():
    fixed, _, _ = planted(3, 0.0, (0.0, 0.0))
    found = search.register(fixed, fixed)
    assert corner_error(np.eye(3), found.moving_to_fixed, 64) < 0.01
    assert found.score > 0.999


def test_the_score_is_the_correlation_coefficient_of_the_overlap():
    """Equality with the definition, at the whole-pixel shift that was planted."""
    x = scene(5, 160)[0].numpy()
    fixed, moving = x[:, 40:104, 40:104], x[:, 46:110, 37:101]
    noisy = moving + 0.3 * np.random.default_rng(0).normal(size=moving.shape)
    found = search.register(fixed, noisy)
    np.testing.assert_allclose(found.moving_to_fixed, rigid(0, (6, -3)), atol=0.5)
    overlap = np.corrcoef(fixed[0, 6:, :61].ravel(), noisy[0, :58, 3:].ravel())[0, 1]
    assert abs(found.score - overlap) < 0.02


def test_sift_recovers_a_planted_transform():
    fixed, moving, truth = planted(1, 130.0, (0.05, -0.02), width=128)
    found = features.register(fixed, moving)
    assert corner_error(truth, found.moving_to_fixed, 128) < 1.0


@pytest.mark.itk
def test_elastix_recovers_a_planted_transform_of_an_inverted_image():
    fixed, moving, truth = planted(1, 130.0, (0.05, -0.02), width=96)
    found = elastix.register(fixed, -moving, start_every_degrees=120)
    assert corner_error(truth, found.moving_to_fixed, 96) < 1.0
    assert len(found.score_by_angle) == 3
    once = elastix.register(fixed, -moving, start_every_degrees=360)
    assert corner_error(truth, once.moving_to_fixed, 96) > 5.0  # from 0 degrees it is lost
    assert found.score > once.score


METHODS = [search, features, elastix]


@pytest.mark.parametrize("method", METHODS)
def test_bad_input_is_refused_in_one_sentence(method):
    image = np.random.default_rng(0).normal(size=(1, 64, 64))
    bad = [
        (image, np.full((64, 64), np.nan), {}, "moving: expected finite numbers"),
        (image, np.ones((64, 64)), {}, "moving: expected an image with content"),
        (image, image, {"fixed_mask": np.zeros((64, 64), bool)}, "fixed_mask: expected at least"),
        (image, image, {"moving_mask": np.ones((3, 3), bool)}, "moving_mask: expected booleans"),
        (np.zeros(5), image, {}, "fixed: expected"),
    ]
    for fixed, moving, options, message in bad:
        with pytest.raises(ValueError, match=message):
            method.register(fixed, moving, **options)
    with pytest.raises(TypeError, match="fixed: expected a NumPy array of real numbers"):
        method.register(image * 1j, image)


def test_correlation_asks_for_as_many_channels():
    image = np.random.default_rng(0).normal(size=(1, 64, 64))
    with pytest.raises(ValueError, match="moving: expected 1 channels like fixed, got 2"):
        search.register(image, image.repeat(2, 0))


def test_options_out_of_range_are_refused():
    image = np.random.default_rng(0).normal(size=(64, 64))
    with pytest.raises(ValueError, match="minimum_overlap"):
        search.register(image, image, minimum_overlap=0)
    with pytest.raises(ValueError, match="start_every_degrees"):
        elastix.register(image, image, start_every_degrees=0)
