import pytest
import torch

from equicomir.losses.collapse import (
    activation_decay,
    covariance_term,
    effective_rank,
    total_variation,
    variance,
    variance_term,
)
from equicomir.losses.penalties import (
    gradient_agreement,
    orientation_agreement,
    self_similarity,
    spectral_retention,
)
from equicomir.losses.structure import blurred, standardised, tapered, valid_squares

AGREEMENTS = (gradient_agreement, orientation_agreement, self_similarity, spectral_retention)
OF_BATCHES = (variance_term, effective_rank, variance)
ALONE = (activation_decay, total_variation, covariance_term, *OF_BATCHES)


@pytest.mark.parametrize("power", [1, 2])
def test_activation_decay_is_comirs_without_its_one(power, rng):
    """CoMIR's code adds one to the sum, so that nothing costs 1 / number of values there."""

    def published(y):
        return (1 + y.pow(power).abs().sum()) / y.numel()

    y = torch.randn(3, 2, 8, 8, generator=rng, dtype=torch.float64)
    zeros = torch.zeros_like(y)
    assert activation_decay(zeros, power=power) == 0
    assert published(zeros) == 1 / y.numel()
    came = activation_decay(y, power=power)
    torch.testing.assert_close(came, published(y) - 1 / y.numel())
    torch.testing.assert_close(activation_decay(-3 * y, power=power), 3**power * came)


def test_a_chequerboard_is_the_roughest(rng):
    board = (torch.arange(9)[:, None] + torch.arange(9)).remainder(2).expand(2, 3, 9, 9).double()
    assert total_variation(board) == pytest.approx(1)
    assert total_variation(torch.randn(2, 3, 9, 9, generator=rng)) < 0.8
    assert total_variation(torch.full((2, 1, 9, 9), 7.0)) == 0


def test_a_flat_representation_keeps_nothing(rng):
    x = torch.randn(2, 1, 24, 24, generator=rng)
    flat = torch.full_like(x, 0.3)
    assert gradient_agreement(flat, x) == 1
    assert orientation_agreement(flat, x) == 0.5
    assert self_similarity(flat, x) > 0.3
    assert spectral_retention(flat, x) > 0.999
    assert spectral_retention(x, flat) == 0


def test_penalties_fall_along_their_gradient(rng):
    x = torch.randn(2, 1, 20, 20, generator=rng, dtype=torch.float64)
    start = torch.nn.functional.avg_pool2d(x, 3, 1, 1)
    for penalty in AGREEMENTS:
        y = start.clone().requires_grad_()
        before = penalty(y, x)
        (gradient,) = torch.autograd.grad(before, y)
        with torch.no_grad():
            after = penalty(y - 1e-3 * gradient / gradient.norm(), x)
        assert after < before


def test_squares_are_found_wholly_inside():
    mask = torch.ones(5, 6, dtype=torch.bool)
    mask[0, 0] = False
    images = torch.zeros(1, 1, 5, 6)
    found = valid_squares(images, mask, 3)
    assert found.shape == (3, 4)
    assert not found[0, 0]
    assert found.sum() == 11
    assert torch.equal(valid_squares(images, mask, 1), mask)


def test_a_window_falls_to_zero_at_any_border():
    mask = torch.ones(40, 40, dtype=torch.bool)
    mask[:, 30:] = False
    window = tapered(mask)
    assert torch.equal(window > 0, mask)
    assert window[20].max() == 1
    assert (window[:, 29] < 0.04).all()
    assert (window[0] < 0.04).all()


def test_smoothing_keeps_a_constant_and_standardising_removes_it():
    assert torch.allclose(blurred(torch.full((1, 1, 9, 9), 3.0), 1.0), torch.tensor(3.0))
    half = torch.ones(9, 9, dtype=torch.bool).triu()
    assert (standardised(torch.full((1, 1, 9, 9), 4.0), half) == 0).all()
    ramp = standardised(torch.arange(81.0).reshape(1, 1, 9, 9), half)
    assert (ramp[..., ~half] == 0).all()
    assert ramp[..., half].square().mean() == pytest.approx(1)


@pytest.mark.parametrize("penalty", AGREEMENTS)
def test_pairs_that_do_not_fit_are_refused(penalty):
    y = torch.rand(2, 1, 16, 16)
    with pytest.raises(TypeError, match="representations: expected a torch tensor"):
        penalty(y.numpy(), y)
    with pytest.raises(TypeError, match=r"images: expected a floating type .* got torch.int64"):
        penalty(y, torch.ones(2, 1, 16, 16, dtype=torch.int64))
    with pytest.raises(ValueError, match=r"images: expected the batch, .* \(2, 16, 16\), got"):
        penalty(y, torch.rand(2, 1, 16, 15))
    with pytest.raises(ValueError, match=r"images: expected the batch, .* got \(1, 16, 16\)"):
        penalty(y, y[:1])
    with pytest.raises(ValueError, match=r"mask: expected booleans of size \(16, 16\)"):
        penalty(y, y, mask=torch.ones(16, 16))
    with pytest.raises(ValueError, match="got none in images of 16 x 16"):
        penalty(y, y, mask=torch.zeros(16, 16, dtype=torch.bool))


@pytest.mark.parametrize("measure", ALONE)
def test_representations_that_do_not_fit_are_refused(measure):
    with pytest.raises(TypeError, match="representations: expected a floating type"):
        measure(torch.ones(2, 1, 8, 8, dtype=torch.int64))
    with pytest.raises(ValueError, match="representations: expected 4 axes"):
        measure(torch.rand(1, 8, 8))
    with pytest.raises(ValueError, match=r"mask: expected booleans of size \(8, 8\)"):
        measure(torch.rand(2, 1, 8, 8), mask=torch.ones(4, 4, dtype=torch.bool))


@pytest.mark.parametrize("measure", OF_BATCHES)
def test_one_scene_has_no_variance(measure):
    with pytest.raises(ValueError, match="expected at least 2 scenes, got 1"):
        measure(torch.rand(1, 1, 8, 8))


@pytest.mark.parametrize(
    ("penalty", "options", "message"),
    [
        (gradient_agreement, {"edge": 0.0}, "edge: expected a positive number, got 0.0"),
        (orientation_agreement, {"edge": -1.0}, "edge: expected a positive"),
        (orientation_agreement, {"sigma": 0.0}, "sigma: expected a positive"),
        (orientation_agreement, {"sigma": 4.0}, "a square of 26 x 26 pixels, got none"),
        (self_similarity, {"patch_radius": -1}, "patch_radius: expected at least 0, got -1"),
        (self_similarity, {"search_radius": 0}, "search_radius: expected at least 1, got 0"),
        (self_similarity, {"patch_radius": 5, "search_radius": 3}, "a square of 17 x 17 pixels"),
        (spectral_retention, {"cutoff": 0.0}, r"cutoff: .* in \(0, 0.5\], got 0.0"),
        (spectral_retention, {"cutoff": 0.6}, r"cutoff: .* got 0.6"),
    ],
)
def test_options_of_agreement_are_checked(penalty, options, message):
    y = torch.rand(2, 1, 16, 16)
    with pytest.raises(ValueError, match=message):
        penalty(y, y, **options)


@pytest.mark.parametrize(
    ("term", "options", "message"),
    [
        (activation_decay, {"power": 3}, "power: expected 1 or 2, got 3"),
        (variance_term, {"target": 0.0}, "target: expected a positive number, got 0.0"),
        (covariance_term, {"window": 1}, r"a window of 1 pixels on 1 channel\(s\)"),
        (covariance_term, {"window": 0}, "window: expected at least two features"),
        (covariance_term, {"window": 9}, "a square of 9 x 9 pixels, got none"),
    ],
)
def test_options_of_terms_are_checked(term, options, message):
    with pytest.raises(ValueError, match=message):
        term(torch.rand(2, 1, 8, 8), **options)
    with pytest.raises(ValueError, match="at least 2 places of the window, got 1"):
        covariance_term(torch.rand(1, 1, 8, 8), window=8)
