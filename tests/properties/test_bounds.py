"""The bounds on shared information: their laws, and what they say where the truth is known."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy import integrate
from strategies import cases, seeds

from equicomir.losses.bounds import (
    DonskerVaradhan,
    donsker_varadhan,
    info_nce_bound,
    jensen_shannon,
    nwj,
)

BOUNDS = [info_nce_bound, donsker_varadhan, nwj, jensen_shannon]
EVERY = pytest.mark.parametrize("bound", BOUNDS, ids=lambda b: b.__name__)


def scores(case, count=6):
    return case.images(1, 1, count, torch.float64)[0, 0]


def softplus(x):
    return math.log1p(math.exp(-abs(x))) + max(x, 0)


def naive(bound, s):
    """By the definitions, a number at a time."""
    s, count = s.tolist(), len(s)
    pairs = [s[k][k] for k in range(count)]
    others = [s[i][j] for i in range(count) for j in range(count) if i != j]
    if bound is info_nce_bound:
        shares = [math.exp(s[k][k]) / sum(math.exp(v) for v in s[k]) for k in range(count)]
        return math.log(count) + float(np.mean(np.log(shares)))
    if bound is donsker_varadhan:
        return float(np.mean(pairs)) - math.log(np.mean(np.exp(others)))
    if bound is nwj:
        return float(np.mean(pairs)) - float(np.mean(np.exp(others))) / math.e
    of_pairs = np.mean([-softplus(-v) for v in pairs])
    return float(of_pairs - np.mean([softplus(v) for v in others]) + math.log(4)) / 2


@EVERY
@given(cases())
def test_equal_to_their_definitions(bound, case):
    s = scores(case)
    assert float(bound(s)) == pytest.approx(naive(bound, s), abs=1e-9, rel=1e-9)
    swapped = s.flip(0)  # a planted fault: another's pair taken for one's own
    assert abs(float(bound(swapped)) - naive(bound, s)) > 1e-6


@EVERY
@given(cases())
def test_permuting_pairs_changes_nothing(bound, case):
    s = scores(case)
    order = torch.randperm(len(s), generator=torch.Generator().manual_seed(case.seed))
    torch.testing.assert_close(bound(s[order][:, order]), bound(s))


@EVERY
@given(st.integers(0, 5), st.floats(0.01, 3), cases())
def test_it_rises_when_the_score_of_a_pair_rises(bound, pair, more, case):
    s = scores(case)
    higher = s.clone()
    higher[pair, pair] += more
    assert bound(higher) > bound(s)
    lower = s.clone()  # a rising negative does not help
    lower[pair, pair - 1] += more
    assert bound(lower) < bound(s)


@given(cases())
def test_info_nce_is_at_most_log_k_and_zero_when_all_are_alike(case):
    s = scores(case)
    assert info_nce_bound(s) <= math.log(len(s))
    assert abs(float(info_nce_bound(s[:1, :1].expand(6, 6)))) < 1e-12


@given(cases())
def test_donsker_varadhan_is_at_least_nwj(case):
    s = scores(case)
    assert donsker_varadhan(s) >= nwj(s) - 1e-12
    # They meet where the critic is shifted so that e^s is e on average.
    shifted = s + 1 - (donsker_varadhan(s - s) + s.diagonal().mean() - donsker_varadhan(s))
    torch.testing.assert_close(nwj(shifted), donsker_varadhan(s))


@EVERY
@given(cases())
def test_gradients_agree_with_finite_differences_and_are_finite_far_out(bound, case):
    s = scores(case).requires_grad_()
    assert torch.autograd.gradcheck(bound, (s,))
    far = (1e3 * scores(case).clamp(max=0)).requires_grad_()
    assert torch.isfinite(torch.autograd.grad(bound(far), far)[0]).all()


@given(cases())
def test_the_running_average_changes_the_gradient_and_not_the_value(case):
    bound, s = DonskerVaradhan(0.5).double(), scores(case).requires_grad_()
    for _ in range(2):  # the average is this very batch's: nothing to correct
        value = bound(s)
        torch.testing.assert_close(value, donsker_varadhan(s))
        of_value, plain = (torch.autograd.grad(v, s)[0] for v in (value, donsker_varadhan(s)))
        torch.testing.assert_close(of_value, plain)
    other = (s + 2).detach().requires_grad_()
    corrected = torch.autograd.grad(bound(other), other)[0]
    off = ~torch.eye(6, dtype=torch.bool)
    # The mean of e^s has grown e^2-fold, its average, at momentum one half, (1 + e^2) / 2-fold.
    expected = torch.autograd.grad(donsker_varadhan(other), other)[0]
    expected[off] *= 2 * math.e**2 / (1 + math.e**2)
    torch.testing.assert_close(corrected, expected)
    frozen = bound.log_average.clone()
    bound.eval()(s)
    assert torch.equal(bound.log_average, frozen)


# ---------------------------------------------- correlated Gaussians, whose truth is known


def log_ratio(x, y, correlation):
    """log p(x, y) / p(x) p(y) of all pairs, summed over independent coordinates."""
    rest = 1 - correlation**2
    x, y = x[:, None], y[None]
    each = -0.5 * math.log(rest) - (correlation**2 * (x**2 + y**2) - 2 * correlation * x * y) / (
        2 * rest
    )
    return each.sum(-1)


def estimates(bound, correlation, dimensions, generator, batches=12, count=512):
    found = []
    for _ in range(batches):
        x = torch.randn(count, dimensions, generator=generator, dtype=torch.float64)
        noise = torch.randn(count, dimensions, generator=generator, dtype=torch.float64)
        y = correlation * x + math.sqrt(1 - correlation**2) * noise
        critic = log_ratio(x, y, correlation) + (1 if bound is nwj else 0)
        found.append(float(bound(critic)))
    return float(np.mean(found)), float(np.std(found) / math.sqrt(batches))


def information(correlation, dimensions):
    return -0.5 * dimensions * math.log(1 - correlation**2)


@pytest.mark.parametrize("bound", [info_nce_bound, donsker_varadhan, nwj], ids=lambda b: b.__name__)
@pytest.mark.parametrize(("correlation", "dimensions"), [(0.3, 1), (0.6, 2), (0.5, 4), (0.7, 6)])
def test_the_best_critic_finds_the_information_of_gaussians(bound, correlation, dimensions, rng):
    truth = information(correlation, dimensions)
    assert truth <= 2.1
    mean, error = estimates(bound, correlation, dimensions, rng)
    # InfoNCE is a little biased below the truth, as K is finite; the others are not.
    slack = 0.05 if bound is info_nce_bound else 0.0
    assert abs(mean - truth) < 4 * error + slack
    # A planted fault: another critic finds less.
    halved, _ = estimates(lambda s: bound(0.3 * s), correlation, dimensions, rng, batches=3)
    assert halved < truth - 0.02


@pytest.mark.parametrize("correlation", [0.3, 0.6, 0.9])
def test_jensen_shannon_is_the_divergence_and_not_the_information(correlation, rng):
    def integrand(y, x):
        rest = 1 - correlation**2
        p = math.exp(-(x * x - 2 * correlation * x * y + y * y) / (2 * rest))
        p /= 2 * math.pi * math.sqrt(rest)
        q = math.exp(-(x * x + y * y) / 2) / (2 * math.pi)
        middle = (p + q) / 2
        return sum(0.5 * v * math.log(v / middle) for v in (p, q) if v > 1e-300)

    divergence, _ = integrate.dblquad(integrand, -7, 7, -7, 7, epsabs=1e-5, epsrel=1e-5)
    mean, error = estimates(jensen_shannon, correlation, 1, rng)
    assert abs(mean - divergence) < 4 * error + 1e-3
    assert abs(mean - information(correlation, 1)) > 0.01


@given(seeds())
def test_bad_input_is_refused(generator):
    for bound in (*BOUNDS, DonskerVaradhan()):
        with pytest.raises(ValueError, match="expected a square matrix, got shape"):
            bound(torch.rand(3, 4, generator=generator))
        with pytest.raises(ValueError, match="at least 2 pairs"):
            bound(torch.rand(1, 1, generator=generator))
    with pytest.raises(ValueError, match="momentum"):
        DonskerVaradhan(0.0)


@given(st.floats().filter(lambda momentum: not 0 < momentum <= 1))
def test_a_momentum_outside_its_range_is_refused(momentum):
    with pytest.raises(ValueError, match=r"momentum: expected a number in \(0, 1\]"):
        DonskerVaradhan(momentum)
