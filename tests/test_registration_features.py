import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from strategies import few

from equicomir.evaluation.alignment import corner_error
from equicomir.geometry import image_centre, rigid, warp_image
from equicomir.registration import features
from equicomir.transforms.linear import affine, invert, similarity

CENTRE = image_centre(128, 128)
TRUTHS = {
    "rigid": rigid(130, (6, -3), centre=CENTRE),
    "similarity": similarity(-75, 1.15, (4, 5), centre=CENTRE),
    "affine": affine([[0.9, 0.25], [-0.1, 1.1]], (5, -4), centre=CENTRE),
}
CORNER = rigid(0, (64, 64))


def scene(seed, size=256):
    """A random texture of several scales."""
    generator = torch.Generator().manual_seed(seed)
    total = torch.zeros(1, 1, size, size, dtype=torch.float64)
    for cells in (size // 24, size // 10, size // 4):
        noise = torch.randn(1, 1, cells, cells, generator=generator, dtype=torch.float64)
        total += torch.nn.functional.interpolate(noise, (size, size), mode="bicubic")
    return total


def planted(seed, moving_to_fixed):
    x = scene(seed)
    fixed, _ = warp_image(x, CORNER, size=(128, 128))
    moving, _ = warp_image(x, CORNER @ moving_to_fixed, size=(128, 128))
    return fixed[0].numpy(), moving[0].numpy()


@pytest.mark.parametrize("cross_check", [False, True])
@pytest.mark.parametrize("model", TRUTHS)
@given(seed=st.integers(0, 10**6))
@few(2)
def test_each_model_recovers_its_own_kind(model, cross_check, seed):
    fixed, moving = planted(seed, TRUTHS[model])
    found = features.register(fixed, moving, model=model, cross_check=cross_check)
    assert not found.failure
    assert corner_error(TRUTHS[model], found.moving_to_fixed, 128) < 0.4
    assert found.score >= features.LEAST_MATCHES[model]


def test_a_narrower_model_does_not_pretend():
    """The plain control: of a pair that differs by scale or shear, a rigid map finds the less."""
    fixed, moving = planted(1, TRUTHS["affine"])
    wide = features.register(fixed, moving, model="affine")
    for model in ("rigid", "similarity"):
        narrow = features.register(fixed, moving, model=model)
        assert narrow.score < 0.7 * wide.score
        assert corner_error(TRUTHS["affine"], narrow.moving_to_fixed, 128) > 3


@given(seed=st.integers(0, 10**6), turns=st.integers(1, 3))
@few(6)
def test_keypoints_are_not_half_a_pixel_off(seed, turns):
    """A quarter turn is exact: any shift of all keypoints by a constant would show, doubled."""
    fixed = scene(seed, 96)[0].numpy()
    truth = rigid(-90 * turns, centre=image_centre(96, 96))
    found = features.register(fixed, np.rot90(fixed, turns, (1, 2)).copy())
    assert corner_error(truth, found.moving_to_fixed, 96) < 0.1  # keypoints are found to a part
    quarter = rigid(0, (0.25, 0.25))  # what OpenCV's own default adds to every keypoint
    biased = quarter @ found.moving_to_fixed @ invert(quarter)
    assert corner_error(truth, biased, 96) > 0.3


@given(st.integers(1, 4), st.integers(1, 4))
@few(4)
def test_channels_may_differ_in_number(fixed_channels, moving_channels):
    fixed, moving = planted(2, TRUTHS["rigid"])
    one = features.register(fixed, moving)
    other = features.register(
        fixed.repeat(fixed_channels, 0),
        moving[0] if moving_channels == 1 else moving.repeat(moving_channels, 0),
    )
    np.testing.assert_allclose(one.moving_to_fixed, other.moving_to_fixed, atol=1e-6)
    assert one.score == other.score


def test_masked_keypoints_are_not_used():
    fixed, moving = planted(3, TRUTHS["rigid"])
    mask = np.zeros((128, 128), dtype=bool)
    mask[:, 40:] = True
    spoiled = moving.copy()
    spoiled[:, :, :40] = fixed[:, :, :40]  # many matches that agree on the identity
    found = features.register(fixed, spoiled, moving_mask=mask)
    assert corner_error(TRUTHS["rigid"], found.moving_to_fixed, 128) < 0.5


@given(st.integers(0, 10**6))
@few(5)
def test_unrelated_images_are_told_to_be_so(seed):
    fixed, moving = scene(seed, 96)[0].numpy(), scene(seed + 1, 96)[0].numpy()
    found = features.register(fixed, moving, ratio=0.6)
    assert found.failure.startswith("Expected 3 SIFT matches")
    assert found.score == -np.inf
    np.testing.assert_array_equal(found.moving_to_fixed, np.eye(3))


def test_an_image_without_keypoints_is_told_to_be_so():
    ramp = np.linspace(0, 1, 64)[None].repeat(64, 0)
    found = features.register(ramp, scene(0, 64)[0].numpy())
    assert found.failure.startswith("Fewer than 3 SIFT keypoints: 0 in the fixed image")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"model": "perspective"}, "model: expected one of rigid, similarity, affine, got"),
        ({"ratio": 0.0}, "ratio: expected a value in"),
        ({"ratio": float("nan")}, "ratio: expected a value in"),
        ({"inlier_pixels": 0}, "inlier_pixels: expected a positive number"),
    ],
)
def test_options_out_of_range_are_refused_in_one_sentence(options, message):
    image = scene(0, 64)[0].numpy()
    with pytest.raises(ValueError, match=message):
        features.register(image, image, **options)


@given(st.integers(0, 10**6), st.integers(4, 30))
def test_least_squares_fits_are_exact_on_exact_points_and_best_on_noisy_ones(seed, count):
    rng = np.random.default_rng(seed)
    points = rng.normal(size=(count, 2)) * 20
    fits = {
        "rigid": features.fit_rigid,
        "similarity": features.fit_similarity,
        "affine": features.fit_affine,
    }
    for model, fit in fits.items():
        truth = TRUTHS[model]
        target = points @ truth[:2, :2].T + truth[:2, 2]
        np.testing.assert_allclose(fit(points, target), truth, atol=1e-8)
        noisy = target + rng.normal(size=target.shape)
        best = fit(points, noisy)

        def cost(m, noisy=noisy):
            return ((points @ m[:2, :2].T + m[:2, 2] - noisy) ** 2).sum()

        for nudge in (rigid(0.1), rigid(0, (0.01, 0)), rigid(-0.1, (0, -0.01))):
            assert cost(best) <= cost(nudge @ best) + 1e-9
        if model != "rigid":
            assert cost(best) <= cost(similarity(0, 1.002) @ best) + 1e-9
