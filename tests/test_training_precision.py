"""Runs in mixed precision: near to those in full, taken up again as if not broken off."""

import csv
from dataclasses import replace

import pytest
import torch
from lightning_fabric import Fabric
from lightning_fabric.plugins import MixedPrecision
from test_training_survival import QUICK, TINY, noise, stopped_after, weights

from equicomir.encoders.normalisation import BatchNorm2d, _shared
from equicomir.images.layers import gradient_field, with_layers
from equicomir.losses.contrastive import info_nce
from equicomir.representations import EncoderSettings, Representations
from equicomir.training.loop import train

PLAIN = EncoderSettings(family="plain", widths=(2, 2))
SO2 = EncoderSettings(group="SO(2)", widths=(1, 1), kernel_size=3)
LAYERS = replace(TINY, layers=("gradient_magnitude",))


def fabric(precision, *scaling, **options):
    """One process of a CPU, which Fabric itself does not give 16 bits."""
    scaler = torch.amp.GradScaler("cpu", *scaling, **options) if scaling else None
    plugin = MixedPrecision(precision, "cpu", scaler)
    made = Fabric(accelerator="cpu", devices=1, plugins=plugin)
    made.launch()
    return made


@pytest.mark.parametrize("precision", ["bf16-mixed", "16-mixed"])
@pytest.mark.parametrize(
    "encoder", [TINY, LAYERS, SO2, PLAIN], ids=["C4", "layers", "SO2", "plain"]
)
def test_a_run_in_mixed_precision_is_near_to_one_in_full(encoder, precision, monkeypatch):
    settings = replace(QUICK, steps=4, clip=1.0, high_pass_cutoff=None, learning_rate=1e-4)
    seen = []
    forward = Representations.forward

    def watched(self, patches, modalities=()):
        made = forward(self, patches, modalities)
        seen.append((made.dtype, *{images.dtype for images in patches}))
        return made

    monkeypatch.setattr(Representations, "forward", watched)
    full = train(noise(), encoder, settings, quiet=True)
    short = {"bf16-mixed": torch.bfloat16, "16-mixed": torch.float16}[precision]
    mixed = train(noise(), encoder, settings, fabric=fabric(precision), quiet=True)
    assert mixed.losses == pytest.approx(full.losses, abs=0.05)
    assert mixed.losses != full.losses
    # Images come as they are, and what is made of them is short: the other way round, layers of
    # derivatives would see 8 bits.
    assert set(seen) == {(torch.float32, torch.float32), (short, torch.float32)}
    assert {weight.dtype for weight in mixed.model.parameters()} == {torch.float32}


def test_layers_are_computed_in_full_inside_autocast():
    generator = torch.Generator().manual_seed(0)
    images = torch.rand(1, 1, 32, 32, generator=generator)
    expected = with_layers(images, [gradient_field()])
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert torch.equal(with_layers(images, [gradient_field()]), expected)


@pytest.mark.parametrize("steps", [1, 9])
def test_a_run_of_16_bits_broken_off_ends_as_if_it_had_not_been(tmp_path, steps):
    """The factor by which gradients are scaled, and when it is to grow, are taken up too."""

    def scaled():
        return fabric("16-mixed", 2.0**24, growth_interval=4)

    options = {"loss": info_nce, "quiet": True}
    ends, factors = [], []
    for name in ("whole", "broken"):
        if name == "broken":
            stopped_after(steps, tmp_path / name, fabric=scaled())
        last = scaled()
        ends.append(train(noise(), TINY, QUICK, folder=tmp_path / name, fabric=last, **options))
        factors.append(last.strategy.precision.state_dict())
    assert torch.equal(weights(ends[0].model), weights(ends[1].model))
    assert ends[0].losses == ends[1].losses
    assert factors[0] == factors[1]
    assert factors[0] != scaled().strategy.precision.state_dict()


def test_gradients_too_great_for_16_bits_leave_a_step_out_also_where_they_are_clipped():
    begun = fabric("16-mixed", 2.0**60)
    settings = replace(QUICK, steps=2, clip=1.0)
    model = train(noise(), TINY, replace(settings, steps=1), quiet=True).model
    done = train(noise(), TINY, settings, fabric=begun, initial=model, quiet=True)
    learned = dict(done.model.named_parameters())
    for name, weight in model.named_parameters():
        assert torch.equal(learned[name], weight)
    assert begun.strategy.precision.state_dict()["scale"] < 2.0**60


def test_seconds_go_on_where_a_broken_run_does(tmp_path):
    stopped_after(9, tmp_path)
    train(noise(), TINY, QUICK, loss=info_nce, folder=tmp_path, quiet=True)
    with (tmp_path / "progress.csv").open() as file:
        seconds = [float(line["seconds"]) for line in csv.DictReader(file)]
    assert len(seconds) == QUICK.steps
    assert seconds == sorted(seconds)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_statistics_of_short_numbers_are_those_of_long_ones(dtype):
    generator = torch.Generator().manual_seed(0)
    x = (torch.randn(3, 2, 9, 9, generator=generator) + 4).to(dtype)
    short, long = BatchNorm2d(2), BatchNorm2d(2)
    assert _shared(short, x).dtype == dtype
    expected = _shared(long, x.float())
    torch.testing.assert_close(_shared(short, x).float(), expected, atol=0.03, rtol=0)
    torch.testing.assert_close(short.running_mean, 0.1 * (1 + 0.9) * x.float().mean((0, 2, 3)))
