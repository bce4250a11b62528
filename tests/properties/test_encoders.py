import copy
import pickle

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from strategies import architectures, cases, seeds

from equicomir.encoders.plain import plain
from equicomir.encoders.steerable import SteerableConvolution, steerable
from equicomir.properties import quarter_turn_error

EXACT = 1e-5


def error(encoder, case):
    return quarter_turn_error(
        encoder, case, channels=encoder.in_channels, size_multiple=encoder.size_multiple
    )


@given(architectures(), seeds(), cases())
def test_quarter_turns_are_exact_in_train_and_eval_mode(architecture, generator, case):
    assert error(steerable(**architecture, generator=generator), case) < EXACT


@given(architectures(), seeds(), cases())
def test_quarter_turns_stay_exact_when_weights_and_statistics_have_moved(
    architecture, generator, case
):
    encoder = steerable(**architecture, generator=generator)
    with torch.no_grad():
        for parameter in encoder.parameters():
            parameter += 0.1 * torch.randn(parameter.shape, generator=generator)
    size = 8 * encoder.size_multiple
    encoder(torch.randn(4, encoder.in_channels, size, size, generator=generator))
    assert error(encoder, case) < EXACT


@given(architectures(), seeds(), cases())
def test_in_float64_only_the_precision_of_the_basis_is_left(architecture, generator, case):
    assert error(steerable(**architecture, generator=generator).double(), case) < 1e-6


@given(architectures(), seeds(), cases())
def test_the_plain_control_fails(architecture, generator, case):
    assert error(plain(**architecture, generator=generator), case) > 1e-2


@given(seeds(), cases())
def test_a_wrong_parity_fails(generator, case):
    """A planted fault: one row and column cut off inside, as a 3 x 3 stride of two would."""
    encoder = steerable(widths=(1, 1), generator=generator)

    def shifted(x):
        return encoder(x).roll(1, dims=-1)

    assert quarter_turn_error(shifted, case) > 1e-2


@given(architectures(), seeds(), cases())
def test_in_eval_mode_one_image_does_not_change_another(architecture, generator, case):
    encoder = steerable(**architecture, generator=generator).eval()
    size = case.blocks * encoder.size_multiple
    x = case.images(case.batch, encoder.in_channels, size, torch.float32)
    with torch.no_grad():
        together, alone = encoder(x), encoder(x[:1])
    torch.testing.assert_close(together[:1], alone, rtol=1e-4, atol=1e-5)


@given(seeds(), cases())
def test_shifts_by_the_pooling_stride_commute_away_from_the_border(generator, case):
    encoder = steerable(widths=(1, 2), kernel_size=3, generator=generator).eval()
    x = case.images(1, 1, 48, torch.float32)
    with torch.no_grad():
        moved, of_moved = encoder(x).roll(2, dims=-1), encoder(x.roll(2, dims=-1))
        odd = encoder(x.roll(1, dims=-1)) - encoder(x).roll(1, dims=-1)
    inside = (..., slice(16, 32), slice(16, 32))
    torch.testing.assert_close(of_moved[inside], moved[inside], rtol=1e-4, atol=1e-5)
    assert odd[inside].abs().max() > 1e-4  # an odd shift does not: the test can fail


@given(seeds(), st.sampled_from([4, 8]), st.sampled_from([3, 5]))
def test_kernels_are_those_of_escnn(generator, order, size):
    """Our expanded kernels lie in the span of escnn's own, and have as many dimensions."""
    import escnn.gspaces
    import escnn.nn

    space = escnn.gspaces.rot2dOnR2(order)
    field = escnn.nn.FieldType(space, 2 * [space.regular_repr])
    theirs = escnn.nn.R2Conv(field, field, size, bias=False, initialize=False)
    ours = SteerableConvolution(2, 2, order=order, kernel_size=size, generator=generator)
    assert ours.weight.numel() == theirs.weights.numel()
    with torch.no_grad():
        spanned = torch.stack(
            [theirs.basisexpansion(e).flatten() for e in torch.eye(theirs.weights.numel())]
        )
        kernel = ours.kernel().flatten()
        fit = torch.linalg.lstsq(spanned.T.double(), kernel[:, None].double()).solution
        residual = (spanned.T.double() @ fit)[:, 0] - kernel
    assert residual.norm() < 1e-5 * kernel.norm()


@pytest.mark.parametrize("make", [steerable, plain])
def test_models_copy_pickle_and_take_edits_in_eval_mode(make, rng):
    encoder = make(widths=(1, 1), generator=rng).eval()
    x = torch.rand(1, 1, 16, 16, generator=rng)
    with torch.no_grad():
        before = encoder(x)
        assert torch.equal(copy.deepcopy(encoder)(x), before)
        assert torch.equal(pickle.loads(pickle.dumps(encoder))(x), before)
        next(encoder.parameters()).mul_(-1)
        assert not torch.allclose(encoder(x), before)


def test_casting_one_encoder_leaves_another_alone(rng):
    first, second = (steerable(widths=(1,), generator=rng) for _ in range(2))
    first.double()
    assert second(torch.rand(1, 1, 8, 8)).dtype == torch.float32


def test_a_checkpoint_holds_parameters_and_statistics_only(rng):
    encoder = steerable(generator=rng)
    kept = {name.split(".")[-1] for name in encoder.state_dict()}
    assert kept == {"weight", "bias", "running_mean", "running_var", "num_batches_tracked"}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"kernel_size": 4}, "kernel_size: expected an odd number, got 4; the nearest is 5"),
        ({"order": 0}, "order: expected"),
        ({"widths": ()}, "widths: expected"),
        ({"in_channels": 0}, "in_channels"),
    ],
)
@pytest.mark.parametrize("make", [steerable, plain])
def test_impossible_architectures_are_refused(make, arguments, message, rng):
    with pytest.raises(ValueError, match=message):
        make(**arguments, generator=rng)


@pytest.mark.parametrize("make", [steerable, plain])
def test_wrong_images_are_refused_with_what_would_do(make, rng):
    encoder = make(generator=rng)
    with pytest.raises(ValueError, match=r"33 x 30; the nearest valid size is 32 x 32"):
        encoder(torch.rand(1, 1, 33, 30))
    with pytest.raises(ValueError, match="expected 1 channels, got 2"):
        encoder(torch.rand(1, 2, 32, 32))
    with pytest.raises(ValueError, match="expected 4 axes"):
        encoder(torch.rand(32, 32))
    with pytest.raises(TypeError, match=r"expected torch.float32.*got torch.float64"):
        encoder(torch.rand(1, 1, 32, 32, dtype=torch.float64))
    with pytest.raises(TypeError, match="expected a floating type"):
        encoder(torch.ones(1, 1, 32, 32, dtype=torch.uint8))
    with pytest.raises(TypeError, match="expected a torch tensor"):
        encoder([[1.0]])
