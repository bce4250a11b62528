import math
from dataclasses import replace
from functools import partial

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from strategies import cases

from equicomir import properties
from equicomir.filters import (
    band_limit,
    gaussian_high_pass,
    high_pass,
    ideal_high_pass,
    reach,
)
from equicomir.losses.bounds import (
    DonskerVaradhan,
    donsker_varadhan,
    info_nce_bound,
    jensen_shannon,
    nwj,
)
from equicomir.losses.contrastive import contrast, info_nce
from equicomir.losses.hard_negatives import draw_shifts, shifted, shifted_around
from equicomir.losses.rotated_pairs import turn_back, valid_disk
from equicomir.losses.similarity import correlation, cosine, negative_l1, negative_mse

SIZE = 24
CUTOFF = 0.2
TOLERATED = 1e-8  # by the claims of a loss: a fault is found that is beyond it

temperatures = st.floats(0.1, 2.0)


def losses(temperature, cutoff=None):
    """The loss and its naive form."""
    options = {
        "temperature": temperature,
        "mask": valid_disk(SIZE, 0 if cutoff is None else reach(cutoff)),
        "image_filter": None if cutoff is None else partial(high_pass, cutoff=cutoff),
    }
    return partial(info_nce, **options), partial(properties.naive_info_nce, **options)


@given(temperatures, st.integers(1, 2), st.sampled_from([None, CUTOFF]), cases())
def test_the_loss_keeps_its_laws(temperature, channels, cutoff, case):
    loss, naive = losses(temperature, cutoff)
    for claim in properties.of_loss(
        loss, naive, size=SIZE, channels=channels, filtered=cutoff is not None
    ):
        assert claim.error(case) < claim.tolerance, claim.name


@given(temperatures, st.integers(2, 4), st.booleans(), cases())
def test_any_number_of_modalities_and_more_negatives(temperature, modalities, shift, case):
    images = case.images(modalities * case.batch, 2, SIZE, torch.float64)
    y = images.reshape(modalities, case.batch, 2, SIZE, SIZE)
    generator = torch.Generator().manual_seed(case.seed)
    shifts = draw_shifts(case.batch, least=1, greatest=3, generator=generator)
    options = {
        "temperature": temperature,
        "mask": valid_disk(SIZE, 3),
        "negatives": shifted(y, shifts) if shift else None,
    }
    loss, naive = (f(y, **options) for f in (info_nce, properties.naive_info_nce))
    torch.testing.assert_close(loss, naive, rtol=1e-8, atol=1e-8)
    turned, expected = (
        f(properties.quarter_turn(y, 1), **{**options, "negatives": None})
        for f in (info_nce, properties.naive_info_nce)
    )
    torch.testing.assert_close(turned, expected, rtol=1e-8, atol=1e-8)
    if shift:  # more negatives are harder; forgotten, the loss is another
        assert info_nce(y, **{**options, "negatives": None}) < loss


@given(temperatures, st.integers(1, 4), cases())
def test_negatives_shifted_to_all_sides_keep_the_invariances(temperature, pixels, case):
    """Under quarter turns and another order of scenes; shifted to one side alone, they do not."""
    y = properties.representations(case, 1, SIZE)
    turned = properties.quarter_turn(y, case.quarter_turns)

    def loss(seen, sides=4):
        every = shifted_around(seen, pixels)
        some = every[: sides * len(every) // 4] if sides else None
        mask = valid_disk(SIZE, pixels)
        # In proportion to squared distances, so that negatives weigh something at any scale.
        spread = temperature * case.scale**2
        return info_nce(seen, temperature=spread, mask=mask, negatives=some)

    torch.testing.assert_close(loss(turned), loss(y), rtol=1e-8, atol=1e-8)
    torch.testing.assert_close(loss(y.flip(1)), loss(y), rtol=1e-8, atol=1e-8)
    assert loss(y, sides=0) < loss(y)
    assert not torch.allclose(loss(turned, sides=1), loss(y, sides=1), rtol=1e-8, atol=1e-8)


@pytest.mark.parametrize("similarity", [cosine, correlation, negative_l1])
@given(temperatures, cases())
def test_any_similarity_is_that_of_the_naive_loop(similarity, temperature, case):
    y = properties.representations(case, 1, SIZE)

    def one_pair(a, b):
        shape = (1, 1, 1, -1)
        return similarity(a.reshape(shape), b.reshape(shape))[0, 0]

    mask = valid_disk(SIZE)
    loss = info_nce(y, temperature=temperature, mask=mask, similarity=similarity)
    naive = properties.naive_info_nce(y, temperature=temperature, mask=mask, similarity=one_pair)
    torch.testing.assert_close(loss, naive, rtol=1e-5, atol=1e-8)


@pytest.mark.parametrize(
    "bound", [info_nce_bound, donsker_varadhan, nwj, jensen_shannon, DonskerVaradhan()]
)
@given(temperatures, st.integers(2, 3), cases())
def test_contrast_is_the_bound_of_every_pair_of_modalities(bound, temperature, modalities, case):
    images = case.images(modalities * case.batch, 1, SIZE, torch.float64)
    y = images.reshape(modalities, case.batch, 1, SIZE, SIZE)
    mask = valid_disk(SIZE)
    expected = [
        bound(negative_mse(y[m], y[n], mask) / temperature)
        for m in range(modalities)
        for n in range(modalities)
        if m != n
    ]
    loss = partial(contrast, bound=bound, temperature=temperature, mask=mask)
    torch.testing.assert_close(loss(y), -torch.stack(expected).mean())
    order = torch.randperm(case.batch, generator=torch.Generator().manual_seed(case.seed))
    torch.testing.assert_close(loss(y[:, order]), loss(y))
    torch.testing.assert_close(loss(y.flip(0)), loss(y))
    moved = properties.quarter_turn(y.flip(-1), case.quarter_turns)
    torch.testing.assert_close(loss(moved), loss(y))
    # Without the negatives of one's own modality it is another loss than CoMIR's.
    assert not torch.allclose(loss(y), info_nce(y, temperature=temperature, mask=mask))


@given(temperatures, cases())
def test_constants_matter_to_the_unfiltered_loss(temperature, case):
    loss, _ = losses(temperature)
    assert properties.offset_error(loss, case, channels=1, size=SIZE) > TOLERATED


@given(cases())
def test_the_gradient_of_the_unfiltered_loss_does_not_sum_to_zero(case):
    loss, _ = losses(2.0)
    assert properties.gradient_sum_error(loss, case, channels=1, size=SIZE) > TOLERATED


@given(st.sampled_from([0.06, 0.13, 0.3]), temperatures, cases())
def test_no_image_below_the_ideal_cut_off_matters(cutoff, temperature, case):
    high = partial(ideal_high_pass(cutoff), border="periodic")
    y = properties.representations(case, 1, SIZE)
    # Each representation gets another image, with nothing at or above the cut-off.
    noise = properties.representations(replace(case, seed=case.seed + 1), 1, SIZE)
    low = band_limit(cutoff)(noise.flatten(0, 1), border="periodic").view_as(noise)
    filtered = partial(info_nce, temperature=temperature, image_filter=high)
    torch.testing.assert_close(filtered(y + 3 * low), filtered(y), rtol=1e-8, atol=1e-8)
    plain = partial(info_nce, temperature=temperature)
    assert abs(plain(y + 3 * low) - plain(y)) > TOLERATED  # without the filter they do
    above = partial(
        info_nce,
        temperature=temperature,
        image_filter=partial(ideal_high_pass(cutoff / 2), border="periodic"),
    )
    if cutoff > 0.1:  # a planted fault: a cut-off half as high
        assert abs(above(y + 3 * low) - above(y)) > TOLERATED


@given(temperatures, cases())
def test_as_the_cut_off_goes_to_zero_it_is_the_loss_of_what_has_no_mean(temperature, case):
    y = properties.representations(case, 2, SIZE) / case.scale  # faint means hardly matter
    high = partial(gaussian_high_pass(1e-3), border="periodic")
    loss = info_nce(y + 5, temperature=temperature, image_filter=high)
    without_mean = y - y.mean((-2, -1), keepdim=True)
    torch.testing.assert_close(loss, info_nce(without_mean, temperature=temperature))
    assert not torch.allclose(loss, info_nce(y, temperature=temperature), rtol=1e-9, atol=1e-9)


@given(cases())
def test_a_planted_anisotropic_filter_does_not_survive_turning(case):
    mask = valid_disk(SIZE, 2)
    loss = partial(
        info_nce, temperature=2.0, mask=mask, image_filter=lambda x: x - x.roll(1, dims=-1)
    )
    odd = case.quarter_turns % 2 == 1  # by half a turn, this filter only changes its sign
    error = properties.loss_turn_error(loss, case, channels=1, size=SIZE)
    assert not odd or error > TOLERATED


@given(cases(), temperatures)
def test_planted_faults_are_not_the_naive_loop(case, temperature):
    _, naive = losses(temperature)

    def no_temperature(y):
        return info_nce(y, temperature=1.0, mask=valid_disk(SIZE))

    def no_mask(y):
        return info_nce(y, temperature=temperature)

    def one_direction(y):  # anchors of the first modality alone
        scores = negative_mse(y[0], y[1], valid_disk(SIZE)) / temperature
        return (scores.logsumexp(1) - scores.diagonal()).mean()

    for fault in (no_mask, one_direction, *([no_temperature] if temperature < 0.9 else [])):
        assert properties.naive_error(fault, naive, case, channels=1, size=SIZE) > TOLERATED


@given(cases(), temperatures)
def test_information_is_bounded_and_zero_when_all_are_alike(case, temperature):
    loss, _ = losses(temperature)
    y = properties.representations(case, 1, SIZE)
    bound = math.log(2 * case.batch - 1)
    assert loss(y) >= 0  # the estimate log(2N - 1) - loss is never above log(2N - 1)
    alike = y[:1, :1].expand_as(y)
    assert abs(float(loss(alike)) - bound) < 1e-9


@given(cases(), temperatures)
def test_scenes_may_be_permuted_and_modalities_exchanged(case, temperature):
    loss, _ = losses(temperature)
    y = properties.representations(case, 1, SIZE)
    order = torch.randperm(case.batch, generator=torch.Generator().manual_seed(case.seed))
    torch.testing.assert_close(loss(y[:, order]), loss(y))
    torch.testing.assert_close(loss(y.flip(0)), loss(y))


@given(cases(), temperatures)
def test_the_loss_falls_when_a_pair_comes_closer(case, temperature):
    loss, _ = losses(temperature)
    y = properties.representations(case, 1, SIZE) / case.scale
    closer = y.clone()
    closer[1] = y[0] + 0.1 * (y[1] - y[0])
    assert loss(closer) < loss(y)


@given(cases())
def test_gradients_agree_with_finite_differences(case):
    y = properties.representations(case, 1, 8)[:, :2].requires_grad_()
    loss = partial(info_nce, temperature=1.0, mask=valid_disk(8))
    assert torch.autograd.gradcheck(loss, (y,), atol=1e-6)


@given(cases(), st.sampled_from([torch.float32, torch.float64]))
def test_gradients_are_finite_where_representations_agree_and_where_they_are_large(case, dtype):
    for y in (
        torch.zeros(2, 3, 1, 8, 8, dtype=dtype),
        torch.full((2, 3, 1, 8, 8), 1e6, dtype=dtype),
        (1e6 + properties.representations(case, 1, 8)).to(dtype),
    ):
        y.requires_grad_()
        (gradient,) = torch.autograd.grad(info_nce(y), y)
        assert torch.isfinite(gradient).all()


@given(cases())
def test_large_common_offsets_do_not_cancel_the_similarity(case):
    y = case.images(2, 1, 8, torch.float64)
    plain = negative_mse(y, y)
    shifted = negative_mse((y + 1e4).float(), (y + 1e4).float()).double()
    torch.testing.assert_close(shifted, plain, rtol=2e-2, atol=1e-2)


@given(cases(), st.floats(0, 360))
def test_constants_do_not_matter_after_turning_back_either(case, degrees):
    """Outside zeros would be an edge that the filter carries into the disk."""
    loss, _ = losses(0.5, CUTOFF)
    y = properties.representations(case, 1, SIZE)
    degrees = torch.full(y.shape[:2], degrees, dtype=torch.float64)
    offset = 7 * torch.arange(2 * case.batch, dtype=torch.float64).reshape(*y.shape[:2], 1, 1, 1)
    torch.testing.assert_close(
        loss(turn_back(y + offset, degrees)), loss(turn_back(y, degrees)), atol=1e-8, rtol=1e-8
    )


@pytest.mark.parametrize(
    ("y", "options", "message"),
    [
        (torch.rand(2, 1, 1, 8, 8), {}, "at least 2 scenes"),
        (torch.rand(1, 2, 1, 8, 8), {}, "expected at least 2 modalities, got 1"),
        (torch.rand(2, 1, 8, 8), {}, "expected 5 axes"),
        (torch.rand(2, 2, 1, 8, 8) * math.nan, {}, "got NaN or infinity"),
        (torch.rand(2, 2, 1, 8, 8), {"temperature": 0.0}, "temperature: expected a positive"),
        (torch.rand(2, 2, 1, 8, 8), {"mask": torch.zeros(8, 8, dtype=torch.bool)}, "at least one"),
        (torch.rand(2, 2, 1, 8, 8), {"mask": torch.ones(4, 4, dtype=torch.bool)}, r"size \(8, 8\)"),
    ],
)
@pytest.mark.parametrize("loss", [info_nce, contrast])
def test_bad_input_is_refused(y, options, message, loss):
    with pytest.raises(ValueError, match=message):
        loss(y, **options)
