"""Normalisation over all processes: of one process it is what torch does."""

import copy

import torch
from hypothesis import given
from hypothesis import strategies as st
from strategies import seeds
from torch import nn

from equicomir.encoders import normalisation
from equicomir.encoders.steerable import FourierActivation

KINDS = [(normalisation.BatchNorm2d, nn.BatchNorm2d), (normalisation.BatchNorm3d, nn.BatchNorm3d)]
NAMES = ("running_mean", "running_var", "num_batches_tracked")


def drawn(own, torchs, channels, rng):
    """One of each, with the same weights that are not those they begin with."""
    ours, theirs = own(channels), torchs(channels)
    with torch.no_grad():
        for parameter in ours.parameters():
            parameter.copy_(torch.randn(channels, generator=rng))
    theirs.load_state_dict(ours.state_dict())
    return ours.double(), theirs.double()


def images(dimensions, batch, channels, rng):
    size = (batch, channels, *(3, 4, 5)[:dimensions])
    return 2 * torch.randn(size, generator=rng, dtype=torch.float64) + 1


@given(seeds(), st.sampled_from(KINDS), st.integers(2, 4), st.integers(1, 3))
def test_of_one_process_the_shared_statistics_are_torchs(rng, kind, batch, channels):
    ours, theirs = drawn(*kind, channels, rng)
    for _ in range(2):  # the second time running statistics are those of the first
        x = images(2 if kind[1] is nn.BatchNorm2d else 3, batch, channels, rng).requires_grad_()
        came, expected = normalisation._shared(ours, x), theirs(x)
        torch.testing.assert_close(came, expected)
        for one, other in zip(
            *(torch.autograd.grad((y**3).sum(), x) for y in (came, expected)), strict=True
        ):
            torch.testing.assert_close(one, other)
    for name in NAMES:
        torch.testing.assert_close(getattr(ours, name), getattr(theirs, name))


@given(seeds(), st.sampled_from(KINDS), st.integers(2, 4))
def test_without_training_the_kept_statistics_are_used(rng, kind, channels):
    ours, theirs = drawn(*kind, channels, rng)
    dimensions = 2 if kind[1] is nn.BatchNorm2d else 3
    ours(images(dimensions, 3, channels, rng))
    theirs.load_state_dict(copy.deepcopy(ours.state_dict()))
    x = images(dimensions, 3, channels, rng)
    torch.testing.assert_close(ours.eval()(x), theirs.eval()(x))
    assert not torch.allclose(ours(x), theirs.train()(x))  # the control: statistics of the batch


@given(seeds(), st.booleans(), st.floats(100, 3000))
def test_the_variance_of_functions_is_exact_however_great_their_mean(rng, mirrors, mean):
    size = 14 if mirrors else 7
    activation = FourierActivation(16, mirrors)
    x = 0.1 * torch.randn(3, 16, size, 8, 8, generator=rng)
    x[:, :, 0] += mean
    exact = FourierActivation(16, mirrors).double().statistics(x.double())
    for came, expected in zip(activation.statistics(x), exact, strict=True):
        torch.testing.assert_close(came.double(), expected, rtol=1e-3, atol=0)
    activation(x.flatten(1, 2))
    assert activation.eval()(x.flatten(1, 2)).isfinite().all()
    squares = x.square().mean((0, 3, 4)).sum(1)  # the control: a difference of great numbers
    apart = squares - x[:, :, 0].mean((0, 2, 3)).square()
    assert not torch.allclose(apart.double(), exact[1], rtol=1e-3, atol=0)


@given(seeds(), st.booleans())
def test_mean_and_variance_are_those_of_the_function_at_its_samples(rng, mirrors):
    """Which are enough for the frequencies that it has."""
    activation = FourierActivation(3, mirrors).double()
    x = torch.randn(2, 3, 14 if mirrors else 7, 4, 5, generator=rng, dtype=torch.float64) + 0.5
    values = torch.einsum("sc,bfchw->fsbhw", activation.matrix, x).flatten(1)
    mean, variance = activation.statistics(x)
    torch.testing.assert_close(mean, values.mean(1))
    torch.testing.assert_close(variance, values.var(1, unbiased=False))
