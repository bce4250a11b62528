"""The laws of every encoder; each is shown to fail for the plain control or a planted fault."""

import copy
from functools import partial

import pytest
import safetensors.torch
import torch
from hypothesis import assume, given
from hypothesis import strategies as st
from strategies import architectures, cases, seeds

from equicomir.encoders.fields import act
from equicomir.encoders.groups import parse_group
from equicomir.encoders.plain import plain
from equicomir.encoders.roto_translation import (
    RotoTranslationConvolution,
    kernel_turns,
    roto_translation,
)
from equicomir.encoders.steerable import SteerableConvolution, steerable
from equicomir.encoders.tiramisu import tiramisu
from equicomir.evaluation.equivariance import equivariance_error
from equicomir.properties import (
    mirror_error,
    quarter_turn,
    quarter_turn_error,
    relative_error,
)

EXACT, FAR = 1e-5, 1e-3
GROUPS = ["C4", "C8", "C16", "D4", "D8", "SO(2)", "O(2)"]
WITH_QUARTER_TURNS = [
    *(pytest.param(partial(steerable, group=group), id=group) for group in GROUPS),
    *(
        pytest.param(partial(steerable, group=group, smooth=True), id=f"{group}, smooth")
        for group in ("C4", "D4", "SO(2)")
    ),
    *(
        pytest.param(partial(roto_translation, group=group), id=f"roto-translation {group}")
        for group in ("C4", "C8", "C16")
    ),
]

FAMILIES = [
    pytest.param(steerable, id="C8"),
    pytest.param(partial(steerable, group="SO(2)"), id="SO(2)"),
    pytest.param(roto_translation, id="roto-translation"),
    pytest.param(plain, id="plain"),
]


def measured(error, encoder, case, **more):
    size = {"size_multiple": encoder.size_multiple, "size_offset": encoder.size_offset}
    return error(encoder, case, channels=encoder.in_channels, **size, **more)


def images_of(encoder, case):
    """The images that the measures draw for a case."""
    size = case.blocks * encoder.size_multiple + encoder.size_offset
    return case.images(case.batch, encoder.in_channels, size, torch.float32)


def seen_by(encoder, case, x, kind=torch.float32):
    """What an encoder in a type makes of images."""
    with torch.no_grad():
        return copy.deepcopy(encoder).to(kind).train(case.training)(x.to(kind))


def exact(encoder, case, act=quarter_turn):
    """What float32 allows: what rounding does to the image, and to the image that was moved."""
    x, allowed = images_of(encoder, case), EXACT
    for image in (x, act(x, case.quarter_turns)):
        short, long = (seen_by(encoder, case, image, kind) for kind in (x.dtype, torch.float64))
        allowed += relative_error(short.double(), long)
    return allowed


def is_open(encoder, case):
    """Whether it shows anything: weights may be such that ReLU closes every path."""
    return spread_of(seen_by(encoder, case, images_of(encoder, case))) > 1e-3


def spread_of(representations):
    """Over images and pixels, in the channel where it is most: channels may differ by biases."""
    return representations.std((0, 2, 3)).max()


def moved(encoder, generator):
    """The encoder with other weights and statistics than it began with."""
    with torch.no_grad():
        for parameter in encoder.parameters():
            noise = torch.randn(parameter.shape, generator=generator, dtype=torch.float64)
            parameter += 0.1 * noise.to(parameter)
    size = 8 * encoder.size_multiple + encoder.size_offset
    x = torch.randn(4, encoder.in_channels, size, size, generator=generator)
    encoder(x.to(next(encoder.parameters())))
    return encoder


@pytest.mark.parametrize("make", WITH_QUARTER_TURNS)
@given(architectures(), seeds(), cases())
def test_quarter_turns_are_exact_with_any_weights_and_statistics(
    make, architecture, generator, case
):
    encoder = moved(make(**architecture, generator=generator), generator)
    assert measured(quarter_turn_error, encoder, case) < exact(encoder, case)


@pytest.mark.parametrize("make", WITH_QUARTER_TURNS)
@given(architectures(), seeds(), cases())
def test_in_float64_quarter_turns_are_exact_to_its_own_precision(
    make, architecture, generator, case
):
    encoder = moved(make(**architecture, generator=generator).double(), generator)
    assume(is_open(encoder, case))  # of weights that close every path only rounding is left
    assert measured(quarter_turn_error, encoder, case) < 1e-10


@given(seeds(), cases(), st.integers(4, 9))
def test_images_need_not_be_square(generator, case, blocks):
    encoder = steerable(widths=(1, 1), generator=generator)
    x = case.images(2, 1, 36, torch.float32)[..., : 2 * case.blocks, : 2 * blocks]
    with torch.no_grad():
        turned, of_turned = quarter_turn(encoder(x), 1), encoder(quarter_turn(x, 1))
    torch.testing.assert_close(of_turned, turned, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("group", ["C1", "C2", "C6", "D3"])
@given(architectures(), seeds(), cases())
def test_a_group_without_quarter_turns_fails(group, architecture, generator, case):
    encoder = moved(steerable(**architecture, group=group, generator=generator), generator)
    assume(is_open(encoder, case))
    error = measured(quarter_turn_error, encoder, case)
    if group in ("C2", "C6") and case.quarter_turns == 2:
        assert error < exact(encoder, case)
    else:
        assert error > FAR


@given(architectures(), seeds(), cases())
def test_the_plain_control_fails(architecture, generator, case):
    encoder = plain(**architecture, generator=generator)
    assume(is_open(encoder, case))
    assert measured(quarter_turn_error, encoder, case) > FAR
    assert measured(mirror_error, encoder, case) > FAR


def test_tiramisu_fails(rng):
    encoder = tiramisu(generator=rng).eval()
    x = torch.randn(1, 1, 64, 64, generator=rng)
    with torch.no_grad():
        turned, of_turned = quarter_turn(encoder(x), 1), encoder(quarter_turn(x, 1))
    assert (turned - of_turned).norm() > FAR * turned.norm()


@given(seeds(), cases())
def test_a_wrong_parity_fails(generator, case):
    """A planted fault: one row and column cut off inside, as a 3 x 3 stride of two would."""
    encoder = steerable(widths=(1, 1), generator=generator)
    assume(is_open(encoder, case))

    def shifted(x):
        return encoder(x).roll(1, dims=-1)

    assert quarter_turn_error(shifted, case) > FAR


@pytest.mark.parametrize("group", ["D4", "D8", "O(2)", "D2", "C8"])
@given(architectures(), seeds(), cases())
def test_groups_with_mirrors_mirror_and_others_do_not(group, architecture, generator, case):
    encoder = moved(steerable(**architecture, group=group, generator=generator), generator)
    assume(is_open(encoder, case))
    error = measured(mirror_error, encoder, case)
    assert error > FAR if group == "C8" else error < exact(encoder, case, mirrored)


def mirrored(x, _):
    return x.flip(-1)


def fields_turned(x, times, frequencies, group):
    """An image of typed fields, turned by quarter turns: the pixels, and what they hold."""
    turned, parts = quarter_turn(x, times), []
    sizes = [1 if frequency == 0 else 2 for frequency in frequencies]
    for frequency, part in zip(frequencies, turned.split(sizes, dim=1), strict=True):
        matrix = act(frequency, parse_group(group), times, False).to(x)
        parts.append(torch.einsum("xy,byij->bxij", matrix, part))
    return torch.cat(parts, dim=1)


@pytest.mark.parametrize("group", ["C4", "C8", "D4", "SO(2)", "O(2)"])
@given(st.lists(st.sampled_from([0, 1, 2]), min_size=1, max_size=4), seeds(), cases())
def test_typed_inputs_turn_with_what_they_hold(group, frequencies, generator, case):
    channels = sum(1 if frequency == 0 else 2 for frequency in frequencies)
    encoder = steerable(
        channels,
        frequencies=frequencies,
        group=group,
        widths=(1, 1),
        kernel_size=3,
        generator=generator,
    )
    assume(is_open(encoder, case))
    turn = partial(fields_turned, frequencies=frequencies, group=group)
    assert measured(quarter_turn_error, encoder, case, act=turn) < exact(encoder, case, turn)
    if any(frequencies) and case.quarter_turns != 2:
        # Turned as if the channels were scalars, the law is broken: the types mean something.
        assert measured(quarter_turn_error, encoder, case) > FAR


def gradient(x):
    """Central differences along rows and columns, on all but the border."""
    rows = x[..., 2:, 1:-1] - x[..., :-2, 1:-1]
    return torch.cat([rows, x[..., 1:-1, 2:] - x[..., 1:-1, :-2]], dim=1)


def structure_tensor(x):
    """The trace, and the frequency-2 field (J_rr - J_cc, 2 J_rc)."""
    rows, columns = gradient(x).split(1, dim=1)
    return torch.cat([rows**2 + columns**2, rows**2 - columns**2, 2 * rows * columns], dim=1)


@pytest.mark.parametrize("layer", [(gradient, (1,)), (structure_tensor, (0, 2))])
@pytest.mark.parametrize("group", GROUPS)
@given(seeds(), cases())
def test_a_gradient_is_a_vector_and_a_structure_tensor_a_scalar_and_a_frequency_2_field(
    group, layer, generator, case
):
    extra, frequencies = layer
    channels = 2 if frequencies == (1,) else 3
    encoder = steerable(
        channels, frequencies=frequencies, group=group, widths=(1,), generator=generator
    )
    assert quarter_turn_error(lambda x: encoder(extra(x)), case) < EXACT
    if parse_group(group).mirrors:
        assert mirror_error(lambda x: encoder(extra(x)), case) < EXACT
    scalars = steerable(channels, group=group, widths=(1,), generator=generator)
    if case.quarter_turns != 2:
        assert quarter_turn_error(lambda x: scalars(extra(x)), case) > FAR


@pytest.mark.parametrize("degrees", [15.0, 30.0, 45.0])
def test_so2_is_near_exact_at_every_other_angle_and_the_plain_control_is_not(degrees):
    errors = {}
    so2 = partial(steerable, group="SO(2)")
    for make in (so2, partial(so2, smooth=True, kernel_size=7), plain):
        each = [
            equivariance_error(
                make(pooling="blur", generator=torch.Generator().manual_seed(seed)),
                degrees,
                patterns=1,
                generator=torch.Generator().manual_seed(seed),
            )
            for seed in range(3)
        ]
        errors[make] = sum(each) / len(each)
    sharp, smooth, of_plain = errors.values()
    assert smooth < sharp < 0.05
    assert smooth < 0.03
    assert of_plain > 0.3


@pytest.mark.parametrize("make", FAMILIES)
@given(architectures(), seeds(), cases())
def test_in_eval_mode_one_image_does_not_change_another(make, architecture, generator, case):
    encoder = moved(make(**architecture, generator=generator), generator).eval()
    size = case.blocks * encoder.size_multiple + encoder.size_offset
    x = case.images(case.batch, encoder.in_channels, size, torch.float32)
    with torch.no_grad():
        together, alone = encoder(x), encoder(x[:1])
        in_training = encoder.train()(x)[:1] - encoder.train()(x[:1])
    assume(spread_of(together) > 1e-2)  # where nearly every path is closed, little is seen
    torch.testing.assert_close(together[:1], alone, rtol=1e-4, atol=1e-4)
    assert in_training.abs().max() > 1e-4  # there it does: the test can fail


@pytest.mark.parametrize("make", FAMILIES)
@given(st.sampled_from(["average", "blur"]), st.sampled_from(["even", "odd"]), seeds())
def test_shifts_by_the_pooling_stride_commute_away_from_the_border(
    make, pooling, parity, generator
):
    encoder = make(
        widths=(2, 8), kernel_size=3, pooling=pooling, parity=parity, generator=generator
    ).eval()
    size = 64 + encoder.size_offset
    x = torch.randn(1, 1, size, size, generator=generator)
    with torch.no_grad():
        moved_after, of_moved = encoder(x).roll(2, dims=-1), encoder(x.roll(2, dims=-1))
        odd = encoder(x.roll(1, dims=-1)) - encoder(x).roll(1, dims=-1)
    inside = (..., slice(24, 40), slice(24, 40))
    even = of_moved - moved_after
    spread = moved_after[inside].std()
    assume(spread > 1e-3)  # of weights that close every path nothing is to be seen
    assert even[inside].abs().max() < 1e-4 * spread
    assert odd[inside].abs().max() > 1e-3 * spread  # an odd shift does not: the test can fail


@pytest.mark.parametrize("make", FAMILIES)
@given(architectures(), seeds(), cases())
def test_a_checkpoint_brings_an_encoder_back(make, architecture, generator, case):
    first = moved(make(**architecture, generator=generator), generator)
    saved = safetensors.torch.save({k: v.contiguous() for k, v in first.state_dict().items()})
    second = make(**architecture, generator=generator)
    size = 4 * second.size_multiple + second.size_offset
    x = case.images(case.batch, second.in_channels, size, torch.float32)
    with torch.no_grad():
        assert not torch.allclose(second.eval()(x), first.eval()(x))  # the test can fail
        second.load_state_dict(safetensors.torch.load(saved))
        assert torch.equal(second(x), first(x))
        # Statistics are part of it: in train mode they are made anew, and equal too.
        assert torch.equal(second.train()(x), first.train()(x))


@given(seeds(), st.sampled_from(["C4", "C8", "SO(2)"]), st.sampled_from([3, 5]))
def test_kernels_are_those_of_escnn(generator, group, size):
    """Our expanded kernels lie in the span of escnn's own, and have as many dimensions."""
    import escnn.gspaces
    import escnn.nn

    order = parse_group(group).order
    if order is None:
        space = escnn.gspaces.rot2dOnR2(-1, maximum_frequency=6)
        one = space.fibergroup.bl_regular_representation(3)
    else:
        space = escnn.gspaces.rot2dOnR2(order)
        one = space.regular_repr
    field = escnn.nn.FieldType(space, 2 * [one])
    theirs = escnn.nn.R2Conv(field, field, size, bias=False, initialize=False)
    ours = SteerableConvolution(
        [None, None], None, 2, group=parse_group(group), kernel_size=size, generator=generator
    )
    assert ours.weights[0].numel() == theirs.weights.numel()
    with torch.no_grad():
        spanned = torch.stack(
            [theirs.basisexpansion(e).flatten() for e in torch.eye(theirs.weights.numel())]
        )
        kernel = ours.kernel().flatten()
        fit = torch.linalg.lstsq(spanned.T.double(), kernel[:, None].double()).solution
        residual = (spanned.T.double() @ fit)[:, 0] - kernel
    assert residual.norm() < 1e-5 * kernel.norm()


@given(seeds(), cases())
def test_with_four_orientations_se2_and_escnn_are_the_same_convolution(generator, case):
    """Each other's oracle: one plane of escnn's C4 kernel, turned by hand, gives the rest."""
    c4 = parse_group("C4")
    theirs = SteerableConvolution(
        [None, None], None, 3, group=c4, kernel_size=3, generator=generator
    ).double()
    ours = RotoTranslationConvolution(
        2, 3, orientations=4, kernel_size=3, generator=generator
    ).double()
    with torch.no_grad():
        first = theirs.kernel().unflatten(0, (3, 4)).unflatten(2, (2, 4))[:, 0]
        ours.weight.copy_(first.flatten(-2))
        x = case.images(2, 8, 12, torch.float64)
        torch.testing.assert_close(ours(x), theirs(x))
        # A planted fault: the other sense of rotation gives something else.
        ours.turns = ours.turns[[0, 3, 2, 1]]
        assert (ours(x) - theirs(x)).norm() > 0.1 * theirs(x).norm()


@given(st.sampled_from([4, 8, 16]), st.sampled_from([3, 5, 7]), seeds())
def test_kernels_turn_like_images_and_stay_in_their_disk(orientations, size, generator):
    matrices = kernel_turns(orientations, size)
    kernel = torch.randn(size, size, generator=generator, dtype=torch.float64)
    inside = matrices[0].diagonal().view(size, size)
    for index in range(4):
        turned = (matrices[index * orientations // 4] @ kernel.flatten()).view(size, size)
        torch.testing.assert_close(turned, torch.rot90(kernel * inside, index))
    one_more = matrices[orientations // 4] @ matrices[1]
    torch.testing.assert_close(one_more, matrices[1 + orientations // 4])
    assert (matrices >= 0).all()
    assert (matrices.sum(2) <= 1 + 1e-12).all()


@given(st.sampled_from(["C1", "C3", "C8", "D2", "D4", "SO(2)", "O(2)"]), st.integers(1, 4), seeds())
def test_a_field_has_the_channels_that_its_group_says(group, fields, generator):
    """By which memory is counted before a stranger's encoder is built."""
    encoder = steerable(widths=(fields,), group=group, kernel_size=3, generator=generator)
    with torch.no_grad():
        channels = encoder.stem[0](torch.rand(1, 1, 8, 8, generator=generator)).shape[1]
    assert channels == fields * parse_group(group).field_size
