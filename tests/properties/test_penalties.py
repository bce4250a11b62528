import math
from dataclasses import fields
from functools import partial

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st
from strategies import cases

from equicomir.filters import disk_mask
from equicomir.losses import penalties
from equicomir.losses.collapse import (
    activation_decay,
    covariance_term,
    total_variation,
    variance_term,
)
from equicomir.losses.penalties import (
    gradient_agreement,
    orientation_agreement,
    self_similarity,
    spectral_retention,
)
from equicomir.losses.weighted import Penalties

SIZE = 18

AGREEMENTS = {
    "gradient": gradient_agreement,
    "orientation": partial(orientation_agreement, sigma=0.6),
    "self-similarity": self_similarity,
    "spectral": partial(spectral_retention, cutoff=0.2),
}
RELATIVE = {"variation": total_variation, "covariance": covariance_term}
ABSOLUTE = {
    "decay of |y|": partial(activation_decay, power=1),
    "decay of y squared": activation_decay,
    "plain variation": partial(total_variation, relative=False),
    "plain covariance": partial(covariance_term, relative=False),
    "variance": variance_term,
}


def of_pair(alone):
    """A penalty of a representation alone, called as those that are compared with an image."""
    return lambda y, x, **options: alone(y, **options)


BOUNDED = AGREEMENTS | {name: of_pair(f) for name, f in RELATIVE.items()}
EVERY = BOUNDED | {name: of_pair(f) for name, f in ABSOLUTE.items()}

agreements = pytest.mark.parametrize("penalty", AGREEMENTS.values(), ids=AGREEMENTS)
bounded = pytest.mark.parametrize("penalty", BOUNDED.values(), ids=BOUNDED)
every = pytest.mark.parametrize("penalty", EVERY.values(), ids=EVERY)
channel_counts = st.tuples(st.integers(1, 2), st.integers(1, 3))


def smooth(x):
    return F.avg_pool2d(F.pad(x, (2, 2, 2, 2), mode="replicate"), 5, 1)


def pair(case, channels=(1, 1), size=SIZE, width=None):
    """Unrelated representations and images: the first smooth, the second rough."""
    y_channels, x_channels = channels
    both = case.images(case.batch, y_channels + x_channels, size, torch.float64)[..., :width]
    return smooth(both[:, :y_channels]), both[:, y_channels:]


def orientations(y):
    """All turns by quarter turns and mirrors."""
    return [torch.rot90(z, k, (-2, -1)) for z in (y, y.flip(-1)) for k in range(4)]


# ------------------------------------------------------------------- what holds of all of them


@bounded
@given(cases(), channel_counts)
def test_bounded_penalties_lie_between_zero_and_one(penalty, case, channels):
    y, x = pair(case, channels)
    rough = case.images(case.batch, channels[0], SIZE, torch.float64)
    for came in (y, rough, x, 1e6 * y, torch.zeros_like(y), torch.rot90(x, 1, (2, 3))):
        assert 0 <= penalty(came, x) <= 1


@bounded
@given(cases(), channel_counts, st.sampled_from([-1e4, -1.0, 1e-4, 1e6]))
def test_scale_sign_and_offset_of_a_representation_do_not_matter(penalty, case, channels, scale):
    y, x = pair(case, channels)
    offsets = 5 * case.images(case.batch, channels[0], 1, torch.float64)
    torch.testing.assert_close(
        penalty(scale * (y + offsets), x), penalty(y, x), atol=1e-6, rtol=1e-6
    )


@every
@given(cases(), channel_counts, st.sampled_from([None, SIZE - 3]))
def test_turning_and_mirroring_both_changes_nothing(penalty, case, channels, width):
    y, x = pair(case, channels, width=width)
    for turned_y, turned_x in zip(orientations(y), orientations(x), strict=True):
        torch.testing.assert_close(penalty(turned_y, turned_x), penalty(y, x))


@every
@given(cases())
def test_planted_anisotropy_does_not_survive_turning_and_mirroring(penalty, case):
    y, x = pair(case)
    y = y / case.scale

    def planted(y, x):
        return penalty(y - y.roll(1, dims=-1), x)

    turned = [planted(*both) for both in zip(orientations(y), orientations(x), strict=True)]
    assert max(abs(value - planted(y, x)) for value in turned) > 1e-7


@given(cases())
def test_forward_differences_alone_would_let_mirrors_matter(case):
    y = case.images(case.batch, 1, SIZE, torch.float64)

    def forward_differences(y):  # the usual isotropic definition
        rows, columns = y.diff(dim=2)[..., :-1], y.diff(dim=3)[..., :-1, :]
        return torch.hypot(rows, columns).mean()

    each = [forward_differences(x) / forward_differences(x.flip(-1)) for x in y.split(1)]
    assert max(abs(ratio - 1) for ratio in each) > 1e-9


@pytest.mark.parametrize("name", ["gradient", "orientation", "self-similarity"])
@given(cases(), st.integers(1, 3))
def test_turning_the_representation_alone_matters(name, case, times):
    _, x = pair(case)
    assert AGREEMENTS[name](torch.rot90(x, times, (2, 3)), x) > 0.1


@given(cases())
def test_spectral_retention_asks_how_much_and_not_where(case):
    _, x = pair(case)
    assert spectral_retention(torch.rot90(x, 1, (2, 3)), x) < 1e-9


@every
@given(cases(), channel_counts, st.booleans())
def test_pixels_outside_the_mask_do_not_matter(penalty, case, channels, hole):
    y, x = pair(case, channels, size=24)
    mask = disk_mask(24, 11)
    if hole:
        mask[12, 3:6] = False
    changed_y, changed_x = (
        torch.where(mask, of, 1e3 * case.images(case.batch, 1, 24, torch.float64)) for of in (y, x)
    )
    broken_y, broken_x = (of.masked_fill(~mask, torch.nan) for of in (y, x))
    expected = penalty(y, x, mask=mask)
    torch.testing.assert_close(penalty(changed_y, changed_x, mask=mask), expected)
    broken_y.requires_grad_()
    came = penalty(broken_y, broken_x, mask=mask)
    torch.testing.assert_close(came, expected)
    (gradient,) = torch.autograd.grad(came, broken_y)
    assert torch.isfinite(gradient).all()
    assert (gradient[..., ~mask] == 0).all()
    # Without the mask, or with zeros outside and stencils that cross the border, they do.
    assert not torch.isclose(penalty(changed_y, changed_x), expected, rtol=1e-6)
    assert not torch.isclose(penalty(y * mask, x * mask), expected, rtol=1e-6)


# ------------------------------------------------------------------------------- agreement


@agreements
@given(cases(), st.integers(1, 3), st.sampled_from([1.0, -1.0]))
def test_an_image_and_its_negative_agree_and_unrelated_or_blurred_ones_less(
    penalty, case, channels, sign
):
    y, x = pair(case, (1, channels))
    assert penalty(sign * x, x) < 1e-9
    for worse in (y, smooth(x)):
        assert penalty(worse, x) > 0.1


@agreements
@given(cases())
def test_agreement_grows_as_a_representation_comes_closer(penalty, case):
    y, x = pair(case)
    rough = case.images(case.batch, 2, SIZE, torch.float64)[:, 1:].flip(-1)
    away = smooth(x) if penalty is AGREEMENTS["spectral"] else y + rough
    values = [float(penalty(x + share * (away - x), x)) for share in (0.0, 0.1, 0.3, 1.0)]
    assert values == sorted(values)
    assert values[-1] > 2 * values[1]


@given(cases())
def test_perpendicular_structure_is_worst(case):
    """Where one varies along rows and the other along columns, all gradients are perpendicular."""
    waves = case.images(case.batch, 1, SIZE, torch.float64)[..., :1]
    x = waves.expand(-1, -1, -1, SIZE)
    assert gradient_agreement(x.mT, x) > 1 - 1e-9
    assert orientation_agreement(x.mT, x) > 0.75
    slopes = waves[:, :, :1] * torch.arange(SIZE)[:, None].expand(SIZE, SIZE)
    assert orientation_agreement(slopes.mT, slopes) > 1 - 1e-9


@agreements
@given(cases())
def test_an_image_of_nothing_asks_for_nothing(penalty, case):
    y, x = pair(case)
    y.requires_grad_()
    (gradient,) = torch.autograd.grad(penalty(y, torch.full_like(x, 0.3)), y)
    if penalty is AGREEMENTS["self-similarity"]:  # it asks for a flat one
        assert torch.isfinite(gradient).all()
    else:
        assert gradient.abs().max() < 1e-6


# -------------------------------------------------------------------------------- numerics


@every
@given(case=cases())
def test_gradients_agree_with_finite_differences(penalty, case):
    y, x = pair(case, (2, 1), size=9)
    y = (y[:2] / case.scale).requires_grad_()
    assert torch.autograd.gradcheck(lambda y: penalty(y, x[:2]), (y,), atol=1e-5, fast_mode=True)


@every
@given(case=cases(), dtype=st.sampled_from([torch.float32, torch.float64]))
def test_gradients_are_finite_at_zero_at_identical_and_at_large_values(penalty, case, dtype):
    y, x = (of.to(dtype) for of in pair(case, size=12))
    for image in (x, torch.zeros_like(x), 1e6 * x):
        for came in (
            torch.zeros_like(y),
            torch.full_like(y, 1e6),
            image,
            y[:1].expand_as(y),
            1e6 * y,
            1e6 + y,
            1e-12 * y,
        ):
            came = came.clone().requires_grad_()
            value = penalty(came, image)
            (gradient,) = torch.autograd.grad(value, came)
            assert torch.isfinite(value)
            assert torch.isfinite(gradient).all()


@every
@given(cases())
def test_mixed_precision_changes_nothing(penalty, case):
    y, x = (of.float() for of in pair(case))
    expected = penalty(y, x)
    with torch.autocast("cpu", torch.bfloat16):
        came = penalty(y, x)
    assert came.dtype == torch.float32
    torch.testing.assert_close(came, expected)
    half = y.bfloat16()
    torch.testing.assert_close(penalty(half, x), penalty(half.float(), x))


@every
@given(cases())
def test_single_precision_is_enough(penalty, case):
    y, x = pair(case)
    single = penalty(y.float(), x.float()).double()
    torch.testing.assert_close(single, penalty(y, x), atol=1e-4, rtol=1e-4)


weights = st.lists(st.floats(0, 10), min_size=4, max_size=4)


@given(cases(), weights)
def test_a_weighted_sum_is_that_of_its_parts(case, of_each):
    """By a naive loop over modalities and penalties; a forgotten one, a planted fault, is seen."""
    both = case.images(4, 1, SIZE, torch.float64).view(2, 2, 1, SIZE, SIZE)
    seen, images = both, list(both.flip(0, 1))
    names = [f.name for f in fields(Penalties)]
    total = Penalties(**dict(zip(names, of_each, strict=True))).of(seen, images)
    parts = [
        weight * float(getattr(penalties, name)(y, x)) / 2
        for name, weight in zip(names, of_each, strict=True)
        for y, x in zip(seen, images, strict=True)
    ]
    assert math.isclose(float(total), sum(parts), rel_tol=1e-6, abs_tol=1e-9)
    if min(of_each) > 0.1:
        assert not math.isclose(float(total), sum(parts[:-2]), rel_tol=1e-6)


@pytest.mark.parametrize("weight", [-1.0, math.inf, math.nan])
def test_a_weight_is_a_finite_number_that_is_not_negative(weight):
    with pytest.raises(ValueError, match="self_similarity: expected a weight of 0 or more, got"):
        Penalties(self_similarity=weight)
