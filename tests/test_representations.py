"""Encoders of all modalities as one model, for every family of encoder."""

import json

import pytest
import torch

from equicomir.images.intensities import Scaling
from equicomir.representations import EncoderSettings, Representations, load, save
from equicomir.sealed import unsealed

SMALL = {"widths": (1, 1), "kernel_size": 3}
SETTINGS = [
    EncoderSettings(**SMALL),
    EncoderSettings(group="SO(2)", parity="odd", pooling="blur", **SMALL),
    EncoderSettings(group="D4", residual=True, representation_channels=3, **SMALL),
    EncoderSettings(family="roto_translation", group="C4", **SMALL),
    EncoderSettings(family="plain", parity="odd", **SMALL),
    EncoderSettings(family="tiramisu", representation_channels=3),
]


def model(settings, seed=0):
    scalings = {"T1": Scaling((0.0,), (1.0,)), "RGB": Scaling((0.0,) * 3, (1.0, 2.0, 4.0))}
    return Representations(scalings, settings, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("settings", SETTINGS, ids=lambda s: f"{s.family} {s.group} {s.parity}")
def test_every_family_encodes_any_size_and_comes_back_from_disk(settings, tmp_path, rng):
    made = model(settings)
    x = torch.rand(2, 3, 37, 50, generator=rng)
    encoded = made.encode("RGB", x)
    assert encoded.shape == (2, settings.representation_channels, 37, 50)
    assert encoded.std() > 0
    save(made, tmp_path)
    again = load(tmp_path)
    assert again.settings == settings
    assert torch.equal(again.encode("RGB", x), encoded)
    assert not torch.equal(model(settings, seed=1).encode("RGB", x), encoded)


@pytest.mark.parametrize("parity", ["even", "odd"])
def test_where_the_padding_is_symmetric_quarter_turns_are_exact(parity, rng):
    made = model(EncoderSettings(parity=parity, **SMALL))
    size = 30 if parity == "even" else 31
    x = torch.rand(1, 1, size, size, generator=rng)
    turned = torch.rot90(made.encode("T1", x), 1, (2, 3))
    torch.testing.assert_close(made.encode("T1", torch.rot90(x, 1, (2, 3))), turned)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"family": "unet"}, "family: expected one of .*'tiramisu'.* got 'unet'"),
        ({"family": "tiramisu", "group": "C4"}, "group: expected 'C8', as the family 'tiramisu'"),
        ({"group": "C0"}, "the nearest is C1"),
    ],
)
def test_settings_of_no_encoder_are_refused(settings, message):
    with pytest.raises(ValueError, match=message):
        model(EncoderSettings(**settings))


def test_a_settings_file_that_names_no_encoder_is_named(tmp_path):
    save(model(EncoderSettings(**SMALL)), tmp_path)
    path = tmp_path / "settings.json"
    settings = unsealed(path.read_bytes())
    settings["encoders"]["group"] = "C-8"
    path.write_text(json.dumps(settings))
    with pytest.raises(ValueError, match=r"settings.json: expected .* got 'C-8'; the nearest"):
        load(tmp_path)
