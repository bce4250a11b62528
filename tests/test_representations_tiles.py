"""Encoding by tiles is encoding the whole: for every encoder with a reach, whatever the sizes."""

from pathlib import Path

import hypothesis.strategies as st
import numpy as np
import pytest
import tifffile
import torch
from hypothesis import assume, given
from strategies import architectures, seeds
from torch.nn.functional import interpolate

from equicomir import tiles, windows
from equicomir.encoders.steerable import FourierActivation
from equicomir.images.files import open_image
from equicomir.images.intensities import Scaling
from equicomir.images.opened import ImageFile
from equicomir.representations import EncoderSettings, Representations
from equicomir.windows import Strip, overlap, reach, smallest_tile, strips

FAMILIES = [
    ("steerable", "C4"),
    ("steerable", "SO(2)"),
    ("roto_translation", "C4"),
    ("plain", "C4"),
]
SMALL = EncoderSettings(group="C4", widths=(1, 2), kernel_size=3)


def settings_of(architecture, family="plain", group="C4", **more):
    options = {k: v for k, v in architecture.items() if k != "in_channels"}
    return EncoderSettings(family=family, group=group, **{**options, **more})


def model_of(settings, channels=1, dtype=torch.float64, seed=0):
    """A model in float64: there rounding is 1e-15, and a seam shows however faint it is."""
    scaling = Scaling((10.0,) * channels, (200.0,) * channels)
    generator = torch.Generator().manual_seed(seed)
    return Representations({"T1": scaling}, settings, generator=generator).to(dtype)


def open_model(settings, channels=1, seed=0):
    """A network without ReLU and ELU, which are closed along some paths, the ELU where it is -1 to
    the last digit, and would hide what they carry.
    """
    model = model_of(settings, channels, seed=seed)
    for module in list(model.modules()):
        for name, child in module.named_children():
            if isinstance(child, torch.nn.ReLU | FourierActivation):
                setattr(module, name, torch.nn.Identity())
    return model


def texture(rng, channels, height, width, dtype=torch.float64):
    """Noise at three scales, of about 0 to 255: edges in some places, none in others."""
    x = torch.zeros(1, channels, height, width, dtype=torch.float64)
    for cell in (1, 6, 25):
        cells = (height // cell + 1, width // cell + 1)
        noise = torch.rand(1, channels, *cells, generator=rng, dtype=torch.float64)
        x += interpolate(noise, (height, width), mode="bilinear", align_corners=False)
    return (85 * x).to(dtype)


def difference(one, other):
    """The greatest difference, in standard deviations of the representation."""
    return float((one - other).abs().max() / other.std())


def seam(model, x, tile):
    return difference(tiles.encode(model, "T1", x, tile=tile), model.encode("T1", x))


# ------------------------------------------------------------------------------------ reach


def touched(model, settings, rng, seen):
    """How far before and after one changed pixel a representation changes, along columns."""
    grid, far = 2 ** (len(settings.widths) - 1), reach(settings)
    height, width = (n * grid + (settings.parity == "odd") for n in (2, 2 * far // grid + 8))
    x = 50 + 100 * torch.rand(1, seen, height, width, generator=rng, dtype=torch.float64)
    before = model.encode("T1", x)
    least, most = 0, 0
    for place in range(width // 2, width // 2 + grid):  # every place on the coarsest pixel
        changed = x.clone()
        changed[..., place] += 100
        moved = (model.encode("T1", changed) != before).any(1).any(1).nonzero()[:, 1] - place
        least, most = min(least, int(moved.min())), max(most, int(moved.max()))
    return -least, most


@given(architectures(), st.sampled_from(FAMILIES), seeds())
def test_reach_is_how_far_a_pixel_matters_to_the_last_pixel(architecture, family, rng):
    settings = settings_of(architecture, *family)
    channels = architecture["in_channels"]
    model = open_model(settings, channels, rng.initial_seed())
    assert touched(model, settings, rng, channels) == (reach(settings), reach(settings))


@given(architectures(), st.sampled_from(["average", "blur"]), seeds())
def test_turned_by_a_quarter_it_looks_as_far(architecture, pooling, rng):
    settings = settings_of(architecture, pooling=pooling)
    model = open_model(settings)
    far, grid = reach(settings), 2 ** (len(settings.widths) - 1)
    height = 2 * (-(-far // grid) + 2) * grid + (settings.parity == "odd")
    x = 50 + 100 * torch.rand(1, 1, height, 3 * grid, generator=rng, dtype=torch.float64)
    before = model.encode("T1", x)
    extents = []
    for place in range(height // 2, height // 2 + grid):
        changed = x.clone()
        changed[..., place, :] += 100
        moved = (model.encode("T1", changed) != before).any(1).any(2).nonzero()[:, 1] - place
        extents.append(int(moved.abs().max()))
    assert max(extents) == far


# ----------------------------------------------------------------------------------- strips


@given(architectures(), st.integers(0, 60), st.integers(0, 90))
def test_strips_answer_for_every_pixel_once_and_hold_what_it_sees(architecture, blocks, more):
    settings = settings_of(architecture)
    grid, offset = 2 ** (len(settings.widths) - 1), int(settings.parity == "odd")
    extent, tile = (blocks + 1) * grid + offset, smallest_tile(settings) + more
    made = strips(extent, tile, settings)
    assert [p for s in made for p in range(s.first, s.past)] == list(range(extent))
    for strip in made:
        length = strip.stop - strip.start
        assert strip.start % grid == 0
        assert length % grid == offset % grid
        assert grid + offset <= length <= tile
        assert strip.first < strip.past
        assert strip.start == 0 or strip.first - strip.start >= reach(settings)
        assert strip.stop == extent or strip.stop - strip.past >= reach(settings)


def test_a_window_of_the_smallest_tile_answers_for_one_coarse_pixel_and_no_less_would_do():
    for parity in ("even", "odd"):
        settings = EncoderSettings(parity=parity)
        made = strips(400 + (parity == "odd"), smallest_tile(settings), settings)
        assert {strip.past - strip.first for strip in made[1:-1]} == {4}
        assert overlap(settings) - 4 < reach(settings) <= overlap(settings)


# ---------------------------------------------------------------------------- tiles and whole


@given(
    architectures(),
    st.sampled_from(FAMILIES),
    st.integers(1, 300),
    st.integers(1, 40),
    st.booleans(),
    st.integers(0, 40),
    seeds(),
)
def test_tiles_are_the_whole(architecture, family, long, short, upright, more, rng):
    settings = settings_of(architecture, *family)
    channels = architecture["in_channels"]
    model = model_of(settings, channels, seed=rng.initial_seed())
    x = texture(rng, channels, *((long, short) if upright else (short, long)))
    x = torch.cat([x, 200 - x.flip(-1)])
    tile = smallest_tile(settings) + more
    whole = model.encode("T1", x)
    tiled = tiles.encode(model, "T1", x, tile=tile)
    assert tiled.shape == whole.shape
    # To rounding in float64; the border too.
    assert (tiled - whole).abs().max() <= 1e-12 * (1 + whole.abs().max())


def seam_without(model, x, steps):
    """The seam where windows overlap so many pixels of the coarsest grid less than they should."""
    settings = model.settings
    enough, fewer = overlap(settings), steps * 2 ** (len(settings.widths) - 1)
    tile = smallest_tile(settings) + 8
    assert seam(model, x, tile) < 1e-13
    with pytest.MonkeyPatch.context() as planted:
        planted.setattr(windows, "overlap", lambda _: max(enough - fewer, 0))
        return seam(model, x, tile - 2 * fewer)


@given(architectures(), seeds())
def test_an_overlap_two_grid_steps_too_small_shows(architecture, rng):
    settings = settings_of(architecture)
    model = open_model(settings)
    x = texture(rng, 1, 9, 2 * smallest_tile(settings) + 60)
    assert seam_without(model, x, steps=2) > 1e-9


@given(architectures(), seeds())
def test_an_overlap_one_grid_step_too_small_shows(architecture, rng):
    """Here always; elsewhere a pixel on the grid may see less than its neighbour, and nothing."""
    settings = settings_of(architecture, pooling="average", parity="even")
    model = open_model(settings)
    x = texture(rng, 1, 9, 2 * smallest_tile(settings) + 60)
    assert seam_without(model, x, steps=1) > 1e-9


@given(architectures(), seeds())
def test_a_window_that_begins_one_pixel_off_the_grid_shows(architecture, rng):
    settings = settings_of(architecture)
    assume(len(settings.widths) > 1)  # one resolution has no grid to be off
    model = open_model(settings)

    def shifted(extent, tile, settings):
        def off(strip):
            inner = strip.start > 0 and strip.stop < extent
            moved = Strip(strip.start - 1, strip.stop - 1, strip.first, strip.past)
            return moved if inner else strip

        return [off(strip) for strip in strips(extent, tile, settings)]

    x = texture(rng, 1, 9, 3 * smallest_tile(settings))
    tile = smallest_tile(settings) + 8
    assert seam(model, x, tile) < 1e-12
    with pytest.MonkeyPatch.context() as planted:
        planted.setattr(tiles, "strips", shifted)
        assert seam(model, x, tile) > 1e-6


@given(architectures(), seeds())
def test_continuing_each_window_by_itself_shows_at_the_border(architecture, rng):
    """Were windows, not the image, continued by an overlap at the border, it would differ."""
    settings = settings_of(architecture)
    model = open_model(settings)
    grid, offset, around = 2 ** (len(settings.widths) - 1), settings.parity == "odd", 2
    x = texture(rng, 1, 8 * grid + offset, 8 * grid + offset)
    margin = around * grid
    continued = torch.nn.functional.pad(x, (margin,) * 4, mode="replicate")
    cut = model.encode("T1", continued)[..., margin:-margin, margin:-margin]
    whole = model.encode("T1", x)
    if len(settings.widths) > 1:  # with one resolution both continuations are the same
        assert difference(cut, whole) > 1e-6
    torch.testing.assert_close(tiles.encode(model, "T1", x), whole, rtol=0, atol=0)


@pytest.mark.parametrize("parity", ["even", "odd"])
@pytest.mark.parametrize("pooling", ["average", "blur"])
@pytest.mark.parametrize("family", ["steerable", "roto_translation", "plain"])
def test_the_default_encoders_in_float32_are_within_a_hundred_thousandth(
    family, pooling, parity, rng
):
    settings = EncoderSettings(family=family, pooling=pooling, parity=parity)
    model = model_of(settings, dtype=torch.float32)
    x = texture(rng, 1, 150, 163, torch.float32)
    whole = model.encode("T1", x)
    tiled = tiles.encode(model, "T1", x, tile=smallest_tile(settings) + 12)
    assert whole.std() > 0.01
    assert (tiled - whole).abs().max() < 1e-5


def test_an_image_that_fits_one_window_is_the_same_to_the_last_bit(rng):
    model = model_of(SMALL, 2, dtype=torch.float32).train()
    x = texture(rng, 2, 37, 51, torch.float32)
    assert torch.equal(tiles.encode(model, "T1", x), model.encode("T1", x))
    assert model.training


def test_trained_statistics_are_not_changed_by_tiles(rng):
    model = model_of(SMALL).train()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    x = texture(rng, 1, 90, 61).requires_grad_()
    tiled = tiles.encode(model, "T1", x, tile=smallest_tile(SMALL))
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert model.training
    assert not tiled.requires_grad


# ------------------------------------------------------------------------------ extra layers

EXACT = ["structure_field", "structure_field(1.0)", "local_entropy", "local_entropy(3, bins=4)"]
FILTERED = ["gradient_field", "gradient_magnitude(2.0)", "laplacian", "high_passed(0.1)"]


@pytest.mark.parametrize("parity", ["even", "odd"])
@pytest.mark.parametrize("layer", [*EXACT, "edge_distance(1.5, 0.3, 5)"])
def test_layers_that_end_leave_no_seam(layer, parity, rng):
    settings = EncoderSettings(group="C4", widths=(2, 2), parity=parity, layers=(layer,))
    model = model_of(settings)
    x = texture(rng, 1, 60, 2 * smallest_tile(settings) + 9)
    if layer in EXACT:
        assert seam(model, x, smallest_tile(settings) + 20) < 1e-10
    else:  # its gradient is filtered; a threshold passes on only what crosses it
        assert seam(model, x, smallest_tile(settings) + 20) < 1e-5


def seams_with(layer, rng):
    """The difference inside, and anywhere, for a small encoder with that layer."""
    settings = EncoderSettings(group="C4", widths=(2, 2), layers=(layer,))
    model, around = model_of(settings), overlap(settings)
    x = texture(rng, 1, 4 * around, smallest_tile(settings) + 3 * around)
    whole = model.encode("T1", x)
    tiled = tiles.encode(model, "T1", x, tile=smallest_tile(settings) + 20)
    inside = (..., slice(around, -around), slice(around, -around))
    return difference(tiled[inside], whole[inside]), difference(tiled, whole)


@pytest.mark.parametrize("layer", FILTERED)
def test_layers_of_a_filter_leave_a_seam_below_1e_5_inside_and_1e_3_at_the_border(layer, rng):
    inside, anywhere = seams_with(layer, rng)
    assert inside < 1e-5
    assert anywhere < 1e-3


@pytest.mark.parametrize(
    ("layer", "most"), [("gradient_field(1.0)", 1e-3), ("laplacian(0.3)", 1e-2)]
)
def test_narrow_blurs_leave_more_as_the_docstring_says(layer, most, rng):
    inside, _ = seams_with(layer, rng)
    assert 1e-6 < inside < most


def test_without_the_share_of_the_layers_a_seam_shows(rng):
    settings = EncoderSettings(group="C4", widths=(2, 2), layers=("structure_field",))
    model = model_of(settings)
    alone = overlap(EncoderSettings(group="C4", widths=(2, 2)))
    x = texture(rng, 1, 40, 200)
    with pytest.MonkeyPatch.context() as planted:
        planted.setattr(windows, "overlap", lambda _: alone)
        assert seam(model, x, 60) > 1e-8


# ------------------------------------------------------------------------------------- files


def test_a_pyramid_is_encoded_from_its_file_into_a_file(tmp_path, rng):
    pixels = texture(rng, 2, 150, 131)[0].round().numpy().astype(np.uint8)
    path = tmp_path / "slide.tif"
    options = {"tile": (32, 32), "photometric": "minisblack", "planarconfig": "separate"}
    with tifffile.TiffWriter(path) as writer:
        writer.write(pixels, subifds=1, **options)
        writer.write(pixels[:, ::2, ::2], subfiletype=1, **options)
    slide, model = open_image(path), model_of(SMALL, 2, dtype=torch.float32)
    for level in (0, 1):
        shape = (1, *slide.level_sizes[level])
        into = np.lib.format.open_memmap(tmp_path / "made.npy", "w+", np.float32, shape)
        tiles.encode_file(model, "T1", slide, into, level=level, tile=40)
        whole = model.encode("T1", slide.read(level)[None])[0].numpy()
        assert np.abs(np.load(tmp_path / "made.npy") - whole).max() < 1e-5


def test_a_slide_is_read_by_no_more_than_a_window_and_every_pixel_comes_once(tmp_path, monkeypatch):
    height, width = 20_000, 90
    np.lib.format.open_memmap(tmp_path / "slide.npy", "w+", np.uint8, (height, width))
    reads, wrote = [], np.zeros((1, height, width), np.float32)
    read = ImageFile.read

    def counted(self, level=0, *, rows, columns):
        reads.append((rows[1] - rows[0], columns[1] - columns[0]))
        return read(self, level, rows=rows, columns=columns)

    monkeypatch.setattr(ImageFile, "read", counted)
    slide = open_image(tmp_path / "slide.npy")
    model = model_of(EncoderSettings(family="plain", group="C1", widths=(1,), kernel_size=3))
    monkeypatch.setattr(Representations, "encode", lambda _, __, x: torch.ones_like(x))
    tiles.encode_file(model, "T1", slide, wrote)
    assert (wrote == 1).all()
    assert max(rows for rows, _ in reads) == 512
    assert sum(rows * columns for rows, columns in reads) < 1.02 * height * width


def test_pieces_come_row_after_row_and_are_disjoint(rng):
    x = texture(rng, 1, 100, 90)
    model, seen = model_of(SMALL), torch.zeros(100, 90)

    def read(rows, columns):
        return x[..., slice(*rows), slice(*columns)]

    places = []
    for rows, columns, piece in tiles.pieces(model, "T1", read, (100, 90), tile=40):
        seen[rows, columns] += 1
        places.append((rows.start, columns.start))
        assert piece.shape[2:] == (rows.stop - rows.start, columns.stop - columns.start)
    assert (seen == 1).all()
    assert places == sorted(places)


# --------------------------------------------------------------------------------- bad input


@given(architectures(), st.sampled_from(FAMILIES))
def test_the_smallest_tile_is_named_and_works(architecture, family):
    settings = settings_of(architecture, *family)
    model = model_of(settings, architecture["in_channels"])
    x = torch.rand(1, architecture["in_channels"], 9, 30, dtype=torch.float64)
    least = smallest_tile(settings)
    with pytest.raises(
        ValueError, match=rf"tile: expected at least {least} pixels.*choose {least}"
    ):
        tiles.encode(model, "T1", x, tile=least - 1)
    assert tiles.encode(model, "T1", x, tile=least).shape[2:] == (9, 30)


@pytest.mark.parametrize("tile", [True, 84.0, "84"])
def test_a_tile_that_is_no_number_of_pixels_is_refused(tile):
    with pytest.raises(TypeError, match="tile: expected a whole number of pixels, got"):
        tiles.encode(model_of(SMALL), "T1", torch.rand(1, 1, 9, 9), tile=tile)


def test_a_tiramisu_is_refused():
    model = model_of(EncoderSettings(family="tiramisu"))
    with pytest.raises(ValueError, match=r"model: expected .* got 'tiramisu', which looks 887"):
        tiles.encode(model, "T1", torch.rand(1, 1, 9, 9))


@pytest.mark.parametrize(
    ("modality", "images", "kind", "message"),
    [
        ("CT", torch.rand(1, 1, 9, 9), ValueError, "modality: expected one of .'T1'., got 'CT'"),
        ("T1", torch.rand(1, 2, 9, 9), ValueError, "expected 1 channels, as in training, got 2"),
        ("T1", torch.rand(1, 9, 9), ValueError, "images: expected 4 axes"),
        ("T1", torch.ones(1, 1, 9, 9, dtype=torch.uint8), TypeError, "images: expected a float"),
        ("T1", torch.rand(1, 1, 9, 9).double(), TypeError, "expected torch.float32, the encoder"),
    ],
)
def test_what_the_whole_is_refused_for_tiles_are_refused_for(modality, images, kind, message):
    model = model_of(SMALL, dtype=torch.float32)
    for refuse in (model.encode, lambda *of: tiles.encode(model, *of)):
        with pytest.raises(kind, match=message):
            refuse(modality, images)


@pytest.mark.parametrize(
    ("into", "kind", "message"),
    [
        (np.zeros((1, 9, 8)), ValueError, r"into: expected the shape \(1, 9, 9\).* \(1, 9, 8\)"),
        (np.zeros((1, 9, 9), int), TypeError, "into: expected a NumPy array of floats, got int64"),
        (torch.zeros(1, 9, 9), TypeError, "into: expected a NumPy array of floats, got Tensor"),
        (np.broadcast_to(np.zeros(()), (1, 9, 9)), ValueError, "into: .* read-only"),
    ],
)
def test_an_array_that_holds_no_representation_is_refused(into, kind, message, tmp_path):
    np.save(tmp_path / "a.npy", np.arange(81.0).reshape(9, 9))
    with pytest.raises(kind, match=message):
        tiles.encode_file(model_of(SMALL), "T1", open_image(tmp_path / "a.npy"), into)


@pytest.mark.parametrize(
    ("pixels", "level", "message"),
    [
        (np.ones((9, 9, 3)), 0, "expected 1 channels, as 'T1' had in training, got 3"),
        (np.ones((9, 9)), 1, "expected a level from 0 to 0, got 1"),
        (np.full((9, 9), np.nan), 0, "expected finite values, got 81 pixels that are NaN"),
    ],
)
def test_a_file_that_cannot_be_encoded_is_named(pixels, level, message, tmp_path: Path):
    np.save(tmp_path / "a.npy", pixels)
    slide, into = open_image(tmp_path / "a.npy"), np.zeros((1, 9, 9))
    with pytest.raises(ValueError, match=rf"a\.npy: {message}"):
        tiles.encode_file(model_of(SMALL), "T1", slide, into, level=level)
