"""An exported encoder is the encoder: as ordinary layers, as a graph, as ONNX."""

import os
from functools import partial
from itertools import pairwise

import onnxruntime
import pytest
import torch
from hypothesis import given
from strategies import architectures, cases, seeds
from torch import nn

from equicomir.encoders.export import Ordinary, export_program, write_onnx
from equicomir.encoders.plain import plain
from equicomir.encoders.roto_translation import RotoTranslationConvolution, roto_translation
from equicomir.encoders.steerable import FourierActivation, SteerableConvolution, steerable
from equicomir.encoders.tiramisu import tiramisu
from equicomir.encoders.unet import FieldNormalisation

NORMALISATIONS = FieldNormalisation | nn.BatchNorm2d
FAMILIES = [
    *(
        pytest.param(partial(steerable, group=group), id=group)
        for group in ("C1", "C4", "C8", "D4", "SO(2)", "O(2)")
    ),
    pytest.param(roto_translation, id="roto-translation"),
    pytest.param(plain, id="plain"),
]
SAVED = [
    pytest.param(partial(steerable, group="D4", widths=(1, 2)), id="D4"),
    pytest.param(
        partial(steerable, group="SO(2)", parity="odd", pooling="blur", widths=(1, 2)), id="SO(2)"
    ),
    pytest.param(partial(roto_translation, group="C4", widths=(1, 1)), id="roto-translation"),
    pytest.param(
        tiramisu,
        id="Tiramisu",
        marks=pytest.mark.skipif(
            os.environ.get("HYPOTHESIS_PROFILE", "quick") == "quick",
            reason="takes most of a minute; HYPOTHESIS_PROFILE=thorough runs it",
        ),
    ),
]


def used(encoder, generator):
    """In eval mode, after statistics, scales and shifts have moved."""
    size = encoder.least_size * (1 if encoder.least_size > 9 else 8)
    size = encoder.valid_size_around(size, size)[0]
    with torch.no_grad():
        for parameter in encoder.parameters():
            if parameter.ndim == 1:
                parameter += 0.3 * torch.randn(parameter.shape, generator=generator)
        encoder.train()(torch.randn(2, encoder.in_channels, size, size, generator=generator))
    return encoder.eval()


def images(encoder, generator, batch=2, blocks=(2, 3)):
    sizes = [n * encoder.size_multiple + encoder.size_offset for n in blocks]
    return torch.randn(batch, encoder.in_channels, *sizes, generator=generator)


@pytest.mark.parametrize("make", FAMILIES)
@given(architectures(), seeds(), cases())
def test_ordinary_layers_compute_the_same(make, architecture, generator, case):
    encoder = used(make(**architecture, generator=generator), generator)
    ordinary = Ordinary(encoder)
    steerables = SteerableConvolution | RotoTranslationConvolution | FourierActivation
    assert not any(isinstance(module, steerables) for module in ordinary.modules())
    for chain in (module for module in ordinary.modules() if isinstance(module, nn.Sequential)):
        for before, layer in pairwise(chain):  # what can be folded into a convolution is
            assert not (isinstance(before, nn.Conv2d) and isinstance(layer, NORMALISATIONS))
    x = case.scale * images(encoder, generator, case.batch, (case.blocks, 4))
    with torch.no_grad():
        expected = encoder(x)
        assert (ordinary(x) - expected).norm() < 1e-5 * expected.norm()
        # A planted fault: the last layer off by a hundredth.
        for parameter in ordinary.network.head.parameters():
            parameter.mul_(1.01)
        assert (ordinary(x) - expected).norm() > 1e-3 * expected.norm()


@pytest.mark.parametrize("make", SAVED)
def test_programs_and_onnx_run_at_any_valid_size(make, rng, tmp_path):
    encoder = used(make(generator=rng), rng)
    before = {name: value.clone() for name, value in encoder.state_dict().items()}
    program = export_program(encoder).module()
    write_onnx(encoder, tmp_path / "encoder.onnx")
    session = onnxruntime.InferenceSession(tmp_path / "encoder.onnx")
    for batch, blocks in ((1, (1, 1)), (3, (2, 1)), (2, (3, 5))):
        x = images(encoder, rng, batch, blocks)
        (by_onnx,) = session.run(["representation"], {"images": x.numpy()})
        with torch.no_grad():
            expected = encoder(x)
            by_program = program(x)
        for came in (by_program, torch.from_numpy(by_onnx)):
            assert (came - expected).norm() < 1e-5 * expected.norm()
    after = encoder.state_dict()
    assert all(torch.equal(value, after[name]) for name, value in before.items())
