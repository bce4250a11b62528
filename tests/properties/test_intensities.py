"""Intensities: what scaling promises, on every curve."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from strategies import seeds

from equicomir.images.intensities import Scaling, percentile_scaling

CURVES = ("linear", "log", "optical_density")


def light(generator, count=3):
    """Positive, heavy-tailed images of two channels."""
    return [torch.randn(2, 20, 25, generator=generator).exp() * 50 + 7 for _ in range(count)]


@given(seeds(), st.sampled_from(CURVES), st.floats(0.5, 5), st.floats(60, 99.5))
def test_scaling_takes_the_percentiles_to_zero_and_one(generator, curve, low, high):
    images = light(generator)
    scaling = percentile_scaling(images, low, high, curve=curve)
    pixels = torch.cat([scaling(image).flatten(1) for image in images], dim=1).numpy()
    np.testing.assert_allclose(np.percentile(pixels, low, axis=1), 0, atol=1e-4)
    np.testing.assert_allclose(np.percentile(pixels, high, axis=1), 1, atol=1e-4)


@given(seeds(), st.sampled_from(CURVES), st.floats(0.01, 100), st.floats(-50, 50))
def test_the_gain_of_an_instrument_does_not_matter_nor_its_offset_but_to_optical_density(
    generator, curve, gain, offset
):
    images = light(generator)
    offset = 0 if curve == "optical_density" else offset
    changed = [gain * image + offset for image in images]
    one = percentile_scaling(images, curve=curve)(images[0])
    other = percentile_scaling(changed, curve=curve)(changed[0])
    torch.testing.assert_close(one, other, atol=2e-3, rtol=2e-3)
    # The control: without being fitted anew, scaling keeps what the gain did.
    if gain > 1.5:
        kept = percentile_scaling(images, curve=curve)(changed[0])
        assert (kept - one).abs().max() > 0.01


@given(seeds(), st.sampled_from(CURVES))
def test_order_is_kept_and_turned_by_optical_density(generator, curve):
    images = light(generator)
    scaling = percentile_scaling(images, curve=curve)
    order = images[0][0].flatten().argsort()
    scaled = scaling(images[0])[0].flatten()[order]
    steps = scaled.diff()
    assert (steps <= 1e-6).all() if curve == "optical_density" else (steps >= -1e-6).all()


@given(seeds())
def test_a_log_tames_a_heavy_tail(generator):
    images = [x**2 for x in light(generator)]
    tails = []
    for curve in ("linear", "log"):
        scaled = percentile_scaling(images, curve=curve)(images[0])
        tails.append(float(scaled.max()))
    assert tails[1] < tails[0]


def test_optical_density_is_beer_and_lamberts(rng):
    """Twice the dye is twice the value."""
    dye = torch.rand(1, 40, 40, generator=rng)
    picture = 240 * 10 ** (-dye)
    scaling = percentile_scaling([picture], curve="optical_density")
    single, double = (scaling(240 * 10 ** (-k * dye)) for k in (0.4, 0.8))
    nothing = scaling(torch.full_like(dye, 240.0))
    torch.testing.assert_close(double - nothing, 2 * (single - nothing), atol=1e-4, rtol=1e-4)
    assert scaling(torch.zeros(1, 2, 2)).isfinite().all()


@pytest.mark.parametrize("curve", ["linear", "log"])
def test_mostly_empty_images_are_survived(curve):
    sparse = torch.zeros(1, 50, 50)
    sparse[0, 0, 0] = 8.0
    assert torch.isfinite(percentile_scaling([sparse], curve=curve)(sparse)).all()


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Scaling((0.0,), (1.0,))(torch.rand(2, 4, 4)), "expected 1 channels, as in train"),
        (lambda: Scaling((0.0,), (1.0,), "cubic"), "curve: expected one of"),
        (lambda: Scaling((0.0,), (0.0,)), "high: expected above low"),
        (lambda: Scaling((0.0,), (1.0, 2.0)), "one number a channel in each"),
        (lambda: Scaling((0.0,), (1.0,), "log", (0.0,), (-1.0,)), "unit: expected positive"),
        (lambda: percentile_scaling([]), "images: expected at least one"),
        (
            lambda: percentile_scaling([-torch.rand(1, 4, 4)], curve="optical_density"),
            "expected light for an optical density",
        ),
    ],
)
def test_bad_scalings_are_refused(make, message):
    with pytest.raises(ValueError, match=message):
        make()
