"""Encoders as objects: how they are made, copied, cast, saved, and what they refuse."""

import copy
import inspect
import multiprocessing
import pickle
from functools import partial

import numpy as np
import pytest
import torch

from equicomir.encoders.plain import plain
from equicomir.encoders.roto_translation import roto_translation
from equicomir.encoders.steerable import steerable
from equicomir.encoders.tiramisu import tiramisu
from equicomir.representations import EncoderSettings

FAMILIES = [
    pytest.param(partial(steerable, widths=(1, 1)), id="C8"),
    pytest.param(partial(steerable, widths=(1, 1), group="SO(2)"), id="SO(2)"),
    pytest.param(partial(steerable, widths=(1, 1), group="O(2)"), id="O(2)"),
    pytest.param(partial(roto_translation, widths=(1, 1)), id="roto-translation"),
    pytest.param(partial(plain, widths=(1, 1)), id="plain"),
]
U_NETS = [steerable, roto_translation, plain]


@pytest.mark.parametrize("make", [*U_NETS, tiramisu])
def test_an_encoder_is_by_default_what_settings_are_by_default(make):
    settings = EncoderSettings()
    for name, parameter in inspect.signature(make).parameters.items():
        if hasattr(settings, name):
            assert parameter.default == getattr(settings, name)
    made, asked = (
        of(generator=torch.Generator().manual_seed(0))
        for of in (make, partial(EncoderSettings(family=make.__name__).make, 1))
    )
    for one, other in zip(made.parameters(), asked.parameters(), strict=True):
        assert torch.equal(one, other)


@pytest.mark.parametrize("make", FAMILIES)
def test_models_copy_pickle_and_take_edits_in_eval_mode(make, rng):
    encoder = make(generator=rng).eval()
    x = torch.rand(1, 1, 16, 16, generator=rng)
    with torch.no_grad():
        before = encoder(x)
        assert torch.equal(copy.deepcopy(encoder)(x), before)
        assert torch.equal(pickle.loads(pickle.dumps(encoder))(x), before)
        averaged = torch.optim.swa_utils.AveragedModel(encoder).eval()
        assert torch.equal(averaged(x), before)
        next(encoder.parameters()).mul_(-1)
        after = encoder(x)
        assert not torch.allclose(after, before)
        averaged.update_parameters(encoder)
        averaged.update_parameters(encoder)
        assert torch.allclose(averaged(x), after)


def encode(encoder, x):
    with torch.no_grad():
        return encoder(x).numpy()


def test_a_spawned_process_computes_the_same(rng):
    encoder = steerable(widths=(1, 1), group="SO(2)", generator=rng).eval()
    x = torch.rand(1, 1, 16, 16, generator=rng)
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        there = pool.apply(encode, (encoder, x))
    assert np.allclose(there, encode(encoder, x), atol=1e-6)


@pytest.mark.parametrize("make", FAMILIES)
def test_casting_or_loading_one_encoder_leaves_another_alone(make, rng):
    first, second, third = (make(generator=rng).eval() for _ in range(3))
    x = torch.rand(1, 1, 16, 16, generator=rng)
    with torch.no_grad():
        before = second(x)
        first.double()
        first.float().load_state_dict(third.state_dict())
        assert torch.equal(second(x), before)
        torch.testing.assert_close(first(x), third(x))


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("make", FAMILIES)
def test_a_checkpoint_holds_parameters_and_statistics_only(make, training, rng):
    encoder, other = (make(generator=rng).train(training) for _ in range(2))
    state = encoder.state_dict()
    named = dict(encoder.named_parameters())
    statistics = ("running_mean", "running_var", "num_batches_tracked")
    assert all(name in named or name.endswith(statistics) for name in state)
    other.load_state_dict(state)
    x = torch.rand(2, 1, 16, 16, generator=rng)
    torch.testing.assert_close(other(x), encoder(x))


def test_tiramisu_is_the_published_network(rng):
    count = {
        channels: sum(p.numel() for p in tiramisu(1, channels, generator=rng).parameters())
        for channels in (1, 3)
    }
    assert count == {1: 1_053_244, 3: 1_053_596}


def test_tiramisu_encodes_its_sizes_and_refuses_others(rng):
    encoder = tiramisu(2, 3, generator=rng).eval()
    with torch.no_grad():
        assert encoder(torch.rand(1, 2, 64, 128, generator=rng)).shape == (1, 3, 64, 128)
    with pytest.raises(ValueError, match="the nearest valid size is 64 x 128"):
        encoder(torch.rand(1, 2, 32, 100))
    with pytest.raises(ValueError, match="in_channels"):
        tiramisu(0, generator=rng)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"kernel_size": 4}, "kernel_size: expected an odd number, got 4; the nearest is 5"),
        ({"group": "C0"}, "group: expected C1, C2, .* got 'C0'; the nearest is C1"),
        ({"group": "D1"}, "got 'D1'; the nearest is D2"),
        ({"group": "SO2"}, r"got 'SO2'; the nearest is SO\(2\)"),
        ({"widths": ()}, "widths: expected"),
        ({"in_channels": 0}, "in_channels"),
        ({"parity": "both"}, "parity: expected 'even' or 'odd', got 'both'"),
        ({"pooling": "max"}, "pooling: expected 'average' or 'blur', got 'max'"),
    ],
)
@pytest.mark.parametrize("make", U_NETS)
def test_impossible_architectures_are_refused(make, arguments, message, rng):
    with pytest.raises(ValueError, match=message):
        make(**arguments, generator=rng)


def test_input_types_that_do_not_fit_are_refused(rng):
    with pytest.raises(ValueError, match=r"fields of 2 channels together.*take 3"):
        steerable(2, frequencies=(0, 1), generator=rng)
    with pytest.raises(ValueError, match="frequencies: expected 0, 1 or 2 each"):
        steerable(2, frequencies=(3,), generator=rng)


@pytest.mark.parametrize(
    ("group", "nearest"), [("C5", "C4"), ("D8", "C8"), ("C30", "C16"), ("SO(2)", "C16")]
)
def test_orientations_that_there_are_not_are_refused(group, nearest, rng):
    with pytest.raises(ValueError, match=f"expected C1, C4, C8 or C16.*nearest is {nearest}"):
        roto_translation(group=group, generator=rng)


@pytest.mark.parametrize("make", U_NETS)
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
    odd = make(parity="odd", generator=rng)
    with pytest.raises(ValueError, match=r"multiples of 4 plus 1, got 32 x 35.* is 33 x 37"):
        odd(torch.rand(1, 1, 32, 35))
