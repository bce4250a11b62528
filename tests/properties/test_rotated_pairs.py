"""Rotated pairs: turned before the encoder, turned back after it, compared in the valid disk."""

import pytest
import torch
from hypothesis import assume, given
from hypothesis import strategies as st
from strategies import cases, seeds

from equicomir import properties
from equicomir.encoders.plain import plain
from equicomir.encoders.steerable import steerable
from equicomir.filters import disk_mask
from equicomir.geometry import rotations, warp
from equicomir.images.patches import Places, draw_patches
from equicomir.losses.contrastive import info_nce
from equicomir.losses.hard_negatives import draw_shifts, shifted, shifted_around
from equicomir.losses.rotated_pairs import equivariance_penalty, turn_back, valid_disk

SIZE = 24

PLACES = [Places(8, (16, 16), 1, torch.tensor([[4, 4], [5, 6]]))]


@given(cases())
def test_turning_back_undoes_the_turn_the_encoder_saw(case):
    """Exact for quarter turns; the wrong sign, a planted fault, is not."""
    y = properties.representations(case, 1, SIZE)
    degrees = torch.full(y.shape[:2], 90.0 * case.quarter_turns, dtype=torch.float64)
    seen = torch.rot90(y, case.quarter_turns, (-2, -1))
    torch.testing.assert_close(turn_back(seen, degrees), y, atol=1e-9, rtol=1e-6)
    if case.quarter_turns != 2:
        assert not torch.allclose(turn_back(seen, -degrees), y, atol=1e-2)


@given(seeds(), st.integers(12, 40), st.integers(1, 359).filter(lambda d: d % 90))
def test_nothing_from_outside_enters_the_valid_disk(generator, size, degrees):
    """What lies around a patch changes nothing in the disk; in one a pixel larger it does."""
    around = 8
    scene = torch.randn(
        2, 1, 1, *2 * (size + 2 * around,), generator=generator, dtype=torch.float64
    )
    angles = torch.full((2, 1), float(degrees), dtype=torch.float64)
    inner = slice(around, around + size)
    whole = turn_back(scene, angles)[..., inner, inner]
    alone = turn_back(scene[..., inner, inner], angles)
    disk = valid_disk(size)
    torch.testing.assert_close(alone[..., disk], whole[..., disk])
    larger = disk_mask(size, (size - 1) / 2 + 1)
    assert not torch.allclose(alone[..., larger], whole[..., larger])


@given(st.integers(11, 40), st.integers(0, 3))
def test_the_valid_disk_is_its_naive_loop(size, reach):
    disk, centre = valid_disk(size, reach), (size - 1) / 2
    for row in range(size):
        for column in range(size):
            far = ((row - centre) ** 2 + (column - centre) ** 2) ** 0.5
            assert bool(disk[row, column]) == (far <= centre - 1 - reach)


def loss_of_rotated_pairs(encoder, images, degrees):
    """Each image turned by its own angle, its representation turned back."""
    made = []
    for of_modality, angles in zip(images, degrees, strict=True):
        matrices = rotations(-angles, SIZE, SIZE)
        made.append(encoder(warp(of_modality, matrices, outside="border")))
    return info_nce(turn_back(torch.stack(made), degrees), temperature=0.05, mask=valid_disk(SIZE))


@pytest.mark.parametrize("group", ["C4", "D4", "SO(2)"])
@given(seeds(), cases())
def test_to_an_encoder_exact_for_quarter_turns_their_rotated_pairs_say_nothing(
    group, generator, case
):
    encoder = steerable(widths=(1, 2), kernel_size=3, group=group, generator=generator).double()
    control = plain(widths=(1, 2), kernel_size=3, generator=generator).double()
    images = properties.representations(case, 1, SIZE) / case.scale
    draw = draw_patches(PLACES, case.batch, 2, turns=4, generator=generator)
    quarters = draw.degrees.double()
    quarters[0, 0] = 90.0
    still = torch.zeros_like(quarters)
    with torch.no_grad():
        of_steerable, of_plain = (
            abs(
                loss_of_rotated_pairs(f.eval(), images, quarters)
                - loss_of_rotated_pairs(f, images, still)
            )
            for f in (encoder, control)
        )
    assert of_steerable < 1e-10
    assert of_plain > 1e-8  # either sign: two losses may come near each other by chance


@given(st.sampled_from([1, 4, 8, 16]), seeds())
def test_angles_are_those_of_the_group_that_is_asked_for(turns, generator):
    draw = draw_patches(PLACES, 512, 2, turns=turns, generator=generator)  # so many show all
    steps = draw.degrees / (360 / turns)
    torch.testing.assert_close(steps, steps.round(), atol=1e-4, rtol=0)
    assert len(steps.round().unique()) == turns
    free = draw_patches(PLACES, 64, 2, generator=generator).degrees
    assert len(free.unique()) > 100


@pytest.mark.parametrize("group", ["C4", "D4"])
@given(seeds(), cases())
def test_the_penalty_is_zero_for_what_the_group_holds_and_not_for_the_rest(group, generator, case):
    encoder = steerable(widths=(1, 2), group=group, generator=generator).double().eval()
    x = case.images(case.batch, 1, SIZE, torch.float64)
    quarters = torch.full((case.batch,), 90.0 * case.quarter_turns, dtype=torch.float64)
    mirrored = torch.ones(case.batch, dtype=torch.bool)
    with torch.no_grad():
        turned = equivariance_penalty(encoder, x, quarters)
        flipped = equivariance_penalty(encoder, x, quarters, mirrored=mirrored)
        between = equivariance_penalty(encoder, x, quarters + 45)
        control = plain(widths=(1, 2), generator=generator).double().eval()
        of_control = equivariance_penalty(control, x, quarters)
        # A network whose every path is closed in the disk holds whatever one likes.
        inside = (..., valid_disk(SIZE, 0))
        assume(min(network(x)[inside].std(-1).max() for network in (encoder, control)) > 1e-3)
    assert turned < 1e-10
    assert of_control > 1e-3
    assert between > 1e-3
    assert flipped < 1e-10 if group == "D4" else flipped > 1e-3


@given(st.sampled_from([torch.float32, torch.float64]), st.floats(0.1, 1e4), st.floats(1, 89))
def test_what_is_the_same_everywhere_has_no_error_and_no_wild_gradient(dtype, level, degrees):
    """Its spread is rounding, as its error is: their ratio would be anything."""
    x = torch.full((2, 1, SIZE, SIZE), level, dtype=dtype, requires_grad=True)
    penalty = equivariance_penalty(torch.square, x, torch.full((2,), degrees, dtype=dtype))
    (gradient,) = torch.autograd.grad(penalty, x)
    assert penalty < 1e-4
    assert gradient.abs().max() * level < 1


@given(seeds(), st.floats(-10, 10).filter(lambda c: abs(c) > 0.1))
def test_a_smaller_representation_is_no_smaller_error(generator, factor):
    x = torch.randn(2, 1, SIZE, SIZE, generator=generator, dtype=torch.float64)
    degrees = torch.tensor([30.0, 100.0], dtype=torch.float64)

    def shift(image):
        return image.roll(1, dims=-1)

    whole = equivariance_penalty(shift, x, degrees)
    scaled = equivariance_penalty(lambda image: factor * shift(image) + 3, x, degrees)
    torch.testing.assert_close(scaled, whole)
    assert torch.isfinite(equivariance_penalty(torch.zeros_like, x, degrees))


def test_the_penalty_teaches(rng):
    """Its gradient lowers it: a plain encoder becomes more equivariant."""
    encoder = plain(widths=(1,), group="C4", generator=rng)
    x = torch.randn(4, 1, SIZE, SIZE, generator=rng)
    degrees = torch.tensor([90.0, 180.0, 270.0, 90.0])
    optimiser = torch.optim.Adam(encoder.parameters(), 0.01)
    before = equivariance_penalty(encoder, x, degrees).item()
    for _ in range(30):
        optimiser.zero_grad()
        equivariance_penalty(encoder, x, degrees).backward()
        optimiser.step()
    assert equivariance_penalty(encoder, x, degrees).item() < 0.5 * before


@given(st.integers(1, 3), st.integers(0, 3), seeds())
def test_shifts_are_within_their_bounds_and_shift_whole_pixels(least, more, generator):
    greatest = least + more
    shifts = draw_shifts(50, least=least, greatest=greatest, generator=generator)
    longer = shifts.abs().amax(1)
    assert longer.min() >= least
    assert longer.max() <= greatest
    y = torch.randn(2, 50, 1, 12, 12, generator=generator)
    crops = shifted(y, shifts).view_as(y)
    inside = slice(greatest, 12 - greatest)
    for k in (0, 7):
        row, column = shifts[k].tolist()
        there = y[
            :,
            k,
            :,
            greatest - row : 12 - greatest - row,
            greatest - column : 12 - greatest - column,
        ]
        assert torch.equal(crops[:, k, :, inside, inside], there)


def test_shifting_commutes_with_an_encoder_away_from_the_border(rng):
    """Why a shifted representation is that of a shifted crop."""
    encoder = steerable(widths=(1,), group="C4", generator=rng).eval()
    x = torch.randn(1, 1, 32, 32, generator=rng)
    with torch.no_grad():
        moved, of_moved = encoder(x).roll((2, -3), (2, 3)), encoder(x.roll((2, -3), (2, 3)))
    inside = disk_mask(32, 9)
    torch.testing.assert_close(moved[..., inside], of_moved[..., inside], rtol=1e-4, atol=1e-5)


def test_bad_input_is_refused(rng):
    with pytest.raises(ValueError, match="one angle a representation"):
        turn_back(torch.rand(2, 2, 1, 8, 8), torch.zeros(2))
    with pytest.raises(ValueError, match="expected at least 25 pixels"):
        valid_disk(16, 10)
    with pytest.raises(ValueError, match="expected square images, got 8 x 9"):
        equivariance_penalty(torch.nn.Identity(), torch.rand(1, 1, 8, 9), torch.zeros(1))
    with pytest.raises(ValueError, match="one angle an image"):
        equivariance_penalty(torch.nn.Identity(), torch.rand(1, 1, 8, 8), torch.zeros(2))
    with pytest.raises(ValueError, match="1 <= least <= greatest, got"):
        draw_shifts(3, least=0, greatest=2, generator=rng)
    with pytest.raises(ValueError, match="one \\(rows, columns\\) a scene"):
        shifted(torch.rand(2, 3, 1, 8, 8), torch.zeros(2, 2))


@given(seeds(), st.integers(-3, 0))
def test_a_shift_by_less_than_a_pixel_is_refused(generator, pixels):
    y = torch.randn(2, 3, 1, 8, 8, generator=generator)
    with pytest.raises(ValueError, match=f"pixels: expected at least 1, got {pixels}"):
        shifted_around(y, pixels)
