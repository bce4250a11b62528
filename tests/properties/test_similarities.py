"""The laws of every similarity; each is shown to fail for a planted fault."""

import math
from functools import partial

import pytest
import torch
import torch.nn.functional as F
from hypothesis import assume, given
from hypothesis import strategies as st
from strategies import cases

from equicomir.filters import disk_mask, high_pass
from equicomir.losses.critics import Bilinear, Concatenated, Separable
from equicomir.losses.similarity import (
    angular,
    correlation,
    cosine,
    filtered,
    gaussian,
    negative_l1,
    negative_mse,
)
from equicomir.properties import quarter_turn

SIZE = 12
MASK = disk_mask(SIZE, 5)


def naive_cosine(a, b):
    return (a * b).sum() / (a.square().sum() * b.square().sum()).sqrt()


NAIVE = {
    negative_mse: lambda a, b: -(a - b).square().mean(),
    gaussian: lambda a, b: torch.exp(-(a - b).square().mean() / 2),
    negative_l1: lambda a, b: -(a - b).abs().mean(),
    cosine: naive_cosine,
    correlation: lambda a, b: naive_cosine(a - a.mean(), b - b.mean()),
    angular: lambda a, b: 1 - 2 / math.pi * torch.acos(naive_cosine(a, b)),
}
EVERY = pytest.mark.parametrize("similarity", NAIVE, ids=lambda s: s.__name__)


def axis_cosine(first, second, mask=None):
    """The planted fault: the cosine along one image axis, averaged over the rest."""
    return F.cosine_similarity(first[:, None], second[None], dim=-1).mean((-2, -1))


def batches(case, channels=2, dtype=torch.float64):
    every = case.images(5, channels, SIZE, dtype)
    return every[:2], every[2:]


@EVERY
@given(st.booleans(), st.integers(1, 3), cases())
def test_all_pairs_at_once_are_what_one_pair_at_a_time_gives(similarity, masked, channels, case):
    first, second = batches(case, channels)
    mask = MASK if masked else None
    inside = MASK if masked else torch.ones_like(MASK)
    naive = NAIVE[similarity]
    rows = [
        torch.stack([naive(a[:, inside].flatten(), b[:, inside].flatten()) for b in second])
        for a in first
    ]
    expected = torch.stack(rows)
    torch.testing.assert_close(similarity(first, second, mask), expected, rtol=1e-5, atol=1e-7)
    whole = torch.cat([first, second])
    together = similarity(whole, whole, mask)
    torch.testing.assert_close(together[:2, 2:], expected, rtol=1e-5, atol=1e-7)
    if masked:  # a planted fault: the mask forgotten
        assert not torch.allclose(similarity(first, second), expected, rtol=1e-5, atol=1e-7)


@EVERY
@given(st.booleans(), cases())
def test_turning_or_mirroring_both_changes_nothing(similarity, mirror, case):
    first, second = batches(case)

    def act(x):
        return quarter_turn(x.flip(-1) if mirror else x, case.quarter_turns)

    for mask in (None, MASK):
        moved = similarity(act(first), act(second), mask)
        torch.testing.assert_close(moved, similarity(first, second, mask), rtol=1e-6, atol=1e-9)


@given(cases())
def test_a_cosine_along_one_axis_is_ruled_out(case):
    first, second = batches(case)
    turned = axis_cosine(quarter_turn(first, 1), quarter_turn(second, 1))
    assert not torch.allclose(turned, axis_cosine(first, second), rtol=1e-6, atol=1e-9)


@EVERY
@given(cases())
def test_who_is_compared_with_whom_does_not_matter(similarity, case):
    first, second = batches(case)
    torch.testing.assert_close(similarity(first, second), similarity(second, first).T)


@EVERY
@given(st.sampled_from([torch.float32, torch.float64]), cases())
def test_what_lies_outside_the_mask_has_no_say(similarity, dtype, case):
    first, second = batches(case, dtype=dtype)
    damaged = torch.where(MASK, first, torch.nan).requires_grad_()
    scores = similarity(damaged, second, MASK)
    torch.testing.assert_close(scores, similarity(first, second, MASK))
    (gradient,) = torch.autograd.grad(scores.sum(), damaged)
    assert torch.isfinite(gradient).all()
    assert (gradient[..., ~MASK] == 0).all()


@EVERY
@given(cases())
def test_gradients_agree_with_finite_differences(similarity, case):
    first, second = (x[..., :4, :4].requires_grad_() for x in batches(case, 1))
    # The absolute value has a kink, which must not lie within the step of a difference.
    assume((first[:, None] - second[None]).abs().min() > 1e-5)
    assert torch.autograd.gradcheck(partial(similarity, mask=None), (first, second), atol=1e-5)


@EVERY
@given(st.sampled_from([torch.float32, torch.float64]), cases())
def test_gradients_are_finite_at_zero_at_equality_and_at_a_million(similarity, dtype, case):
    x = case.images(3, 1, SIZE, dtype)
    for y in (torch.zeros_like(x), x[:1].expand(3, -1, -1, -1), 1e6 * x, 1e6 + x):
        y = y.clone().requires_grad_()
        scores = similarity(y, y, MASK)
        (gradient,) = torch.autograd.grad(scores.sum(), y)
        assert torch.isfinite(scores).all()
        assert torch.isfinite(gradient).all()


@pytest.mark.parametrize("similarity", [negative_mse, correlation])
@given(cases())
def test_a_large_common_offset_does_not_cancel_the_digits(similarity, case):
    x = case.images(3, 1, SIZE, torch.float64)
    shifted = similarity((x + 1e4).float(), (x + 1e4).float()).double()
    exact = similarity(x, x)
    # Float32 at 10 000 resolves a thousandth: of values of 0.1, a hundredth.
    assert (shifted - exact).abs().max() < 1e-2 * max(1.0, case.scale**2)


@EVERY
@given(st.sampled_from([torch.float16, torch.bfloat16]), cases())
def test_half_precision_and_autocast_are_computed_in_float32(similarity, dtype, case):
    first, second = (x.to(dtype) for x in batches(case))
    scores = similarity(first, second, MASK)
    assert scores.dtype == torch.float32
    torch.testing.assert_close(scores, similarity(first.float(), second.float(), MASK))
    with torch.autocast("cpu", dtype=torch.bfloat16):
        cast = similarity(first.float(), second.float(), MASK)
    torch.testing.assert_close(cast, scores)


@EVERY
@given(cases())
def test_a_filter_before_it_is_the_similarity_of_what_is_filtered(similarity, case):
    first, second = batches(case)
    detail = partial(high_pass, cutoff=0.3)
    expected = similarity(detail(first), detail(second), MASK)
    torch.testing.assert_close(filtered(similarity, detail)(first, second, MASK), expected)
    whole = filtered(similarity, detail)(first, first, MASK)
    torch.testing.assert_close(whole, similarity(detail(first), detail(first), MASK))


CRITICS = [
    partial(Bilinear),
    partial(Separable, hidden=8, embedding=4),
    partial(Concatenated, hidden=8),
]


@pytest.mark.parametrize("make", CRITICS, ids=lambda m: m.func.__name__)
@given(cases())
def test_learned_critics_give_all_pairs_what_one_pair_gets_and_learn(make, case):
    critic = make(2 * SIZE**2, generator=torch.Generator().manual_seed(case.seed))
    first, second = batches(case, dtype=torch.float32)
    scores = critic(first, second, MASK)
    one_by_one = [[critic(a[None], b[None], MASK)[0, 0] for b in second] for a in first]
    alone = torch.stack([torch.stack(row) for row in one_by_one])
    torch.testing.assert_close(scores, alone, rtol=1e-4, atol=1e-5)
    gradients = torch.autograd.grad(scores.square().sum(), list(critic.parameters()))
    assert all(torch.isfinite(g).all() for g in gradients)
    assert sum(float(g.abs().sum()) for g in gradients) > 0
    # It knows up from down: the law of the others fails, as its docstring says.
    turned = critic(quarter_turn(first, 1), quarter_turn(second, 1), MASK)
    assert not torch.allclose(turned, scores)


def test_critics_refuse_what_they_were_not_made_for(rng):
    critic = Bilinear(4, generator=rng)
    with pytest.raises(ValueError, match=r"expected 4 values each .* got 9"):
        critic(torch.rand(1, 1, 3, 3), torch.rand(1, 1, 3, 3))
    with pytest.raises(ValueError, match="features: expected at least 1"):
        Separable(0, generator=rng)


def test_bad_input_is_refused():
    with pytest.raises(ValueError, match="second: expected"):
        negative_mse(torch.rand(2, 1, 8, 8), torch.rand(2, 1, 4, 4))
    with pytest.raises(ValueError, match="bandwidth: expected a positive number"):
        gaussian(torch.rand(2, 1, 8, 8), torch.rand(2, 1, 8, 8), bandwidth=0.0)
    with pytest.raises(ValueError, match="at least one pixel"):
        cosine(torch.rand(2, 1, 8, 8), torch.rand(2, 1, 8, 8), torch.zeros(8, 8) > 1)
    with pytest.raises(ValueError, match="expected booleans of size"):
        cosine(torch.rand(2, 1, 8, 8), torch.rand(2, 1, 8, 8), torch.ones(8, 8))
