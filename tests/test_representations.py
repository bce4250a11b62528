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


def test_whoever_sorts_the_names_swaps_no_encoders(tmp_path, rng):
    """The planted fault: a settings file without the order of its modalities."""
    scaling = Scaling((0.0,), (1.0,))
    some = torch.Generator().manual_seed(0)
    made = Representations(dict.fromkeys(("T2", "T1"), scaling), SETTINGS[0], generator=some)
    x = torch.rand(1, 1, 32, 32, generator=rng)
    save(made, tmp_path)
    path = tmp_path / "settings.json"
    told = unsealed(path.read_bytes())
    path.write_text(json.dumps(told, sort_keys=True))
    again = load(tmp_path)
    assert list(again.scalings) == ["T2", "T1"]
    assert torch.equal(again.encode("T1", x), made.encode("T1", x))
    del told["modalities"]
    path.write_text(json.dumps(told, sort_keys=True))
    assert torch.equal(load(tmp_path).encode("T1", x), made.encode("T2", x))
    path.write_text(json.dumps({**told, "modalities": ["T1", "CT"]}))
    with pytest.raises(ValueError, match=r"modalities \['T1', 'CT'\], and scalings of"):
        load(tmp_path)


def test_a_model_of_other_modalities_is_no_beginning():
    made, other = model(SETTINGS[0]), model(SETTINGS[0], seed=1)
    turned = Representations(
        dict(reversed(other.scalings.items())),
        SETTINGS[0],
        generator=torch.Generator().manual_seed(2),
    )
    turned.begin_with(other)
    made.begin_with(turned)
    for name in ("T1", "RGB"):
        ours, theirs = (list(one.encoder(name).parameters()) for one in (made, other))
        assert all(torch.equal(a, b) for a, b in zip(ours, theirs, strict=True))
    alone = Representations(
        {"T1": Scaling((0.0,), (1.0,))}, SETTINGS[0], generator=torch.Generator()
    )
    with pytest.raises(ValueError, match=r"initial: expected a model of .*RGB.*, got one of"):
        made.begin_with(alone)


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
