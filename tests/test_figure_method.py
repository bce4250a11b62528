"""Figure 1 shows what its pair and models give, the same bytes twice, and names what is missing."""

import sys

import numpy as np
import pytest
import torch
from hypothesis import assume, given
from hypothesis import strategies as st
from made_up_records import (
    MODALITIES,
    ROOT,
    SIZES,
    blobs,
    drawn_twice,
    script,
    write_crops,
    write_model,
    written,
)
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from skimage import io

from equicomir.evaluation.equivariance import equivariance_error
from equicomir.images.intensities import Scaling
from equicomir.representations import EncoderSettings, Representations

script("paper_figures", "script")
style = script("paper_figures", "style")
sources = script("paper_figures", "sources")
fig1 = script("paper_figures", "fig1_method")
crops = script("benchmarks", "crops")

SIDES = {"brain_mri": 88, "motor_neurons": 64}


@pytest.fixture(autouse=True)
def _small(monkeypatch):
    monkeypatch.setattr(fig1, "SIDES", SIDES)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return written(tmp_path_factory.mktemp("records"))


def drawn(halves):
    with style.house():
        figure = fig1.draw(halves)
        FigureCanvasAgg(figure).draw()
    return figure


def run(monkeypatch, records, out):
    monkeypatch.setattr(sys, "argv", ["fig1", "--records", str(records), "--out", str(out)])
    fig1.main()


def model_of(family, number):
    generator = torch.Generator().manual_seed(number)
    settings = EncoderSettings(family=family, widths=(2, 2))
    return Representations({"T1": Scaling((0.0,), (255.0,))}, settings, generator=generator)


def image_of(number, side=64):
    pixels = blobs(np.random.default_rng(number), side, side)
    return torch.from_numpy(pixels).float()[None, None]


# ---------------------------------------------------------------- numbers


@given(st.integers(0, 10**6), st.sampled_from(["steerable", "plain"]))
def test_errors_are_those_of_the_protocol(number, family):
    model, image = model_of(family, number), image_of(number)

    def encode(images):
        return model.encode("T1", images)

    assume(encode(image).std() > 1e-3)  # an untrained encoder may answer with a constant
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(fig1, "ANGLES", (0, 75))
        found = fig1.turns({family: model}, "T1", image)
    assert found.errors[family][0] == 0
    error, difference = found.errors[family][1], found.differences[family][1]
    expected = equivariance_error(
        encode, 75, patches=image, generator=torch.Generator().manual_seed(0)
    )
    assert error == pytest.approx(expected, abs=1e-5)
    assert error == pytest.approx(np.sqrt(np.nanmean(difference**2)), abs=1e-6)
    with pytest.MonkeyPatch.context() as patch:  # planted fault: turned the other way
        patch.setattr(fig1, "ANGLES", (0, 75))
        right = fig1.turned
        patch.setattr(fig1, "turned", lambda x, d: right(x, d if x.dtype == image.dtype else -d))
        wrong = fig1.turns({family: model}, "T1", image).differences[family][1]
    assert np.nanmax(np.abs(wrong - difference)) > 0.1  # their means may be alike by chance


@given(st.integers(0, 10**6), st.sampled_from([90, 180, 270]))
def test_a_steerable_encoder_turns_exactly_by_quarter_turns_and_a_plain_one_does_not(number, turn):
    models = {family: model_of(family, number) for family in ("steerable", "plain")}
    image = image_of(number)
    assume(all(model.encode("T1", image).std() > 1e-3 for model in models.values()))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(fig1, "ANGLES", (0, turn))
        errors = fig1.turns(models, "T1", image).errors
    assert errors["steerable"][1] < 1e-3
    assert errors["plain"][1] > 1e-2


@given(st.integers(0, 10**6), st.integers(5, 40), st.integers(5, 40), st.integers(5, 40))
def test_a_square_keeps_the_middle_and_is_zero_around(number, height, width, side):
    image = torch.rand(1, 1, height, width, generator=torch.Generator().manual_seed(number)) + 1
    found = fig1.square(image, side)
    assert found.shape[-2:] == (side, side)
    rows, columns = min(height, side), min(width, side)
    assert (found > 0).sum() == rows * columns
    top, left = ((n - m) // 2 for n, m in ((height, rows), (width, columns)))
    at_top, at_left = (abs((side - m) // 2) for m in (rows, columns))
    if height >= side or width >= side:  # cut: about the centre, to a pixel
        top, left = (-((m - n) // 2) if n > m else 0 for n, m in ((height, side), (width, side)))
        at_top, at_left = ((max(0, side - m)) // 2 for m in (height, width))
    kept = image[..., top : top + rows, left : left + columns]
    assert torch.equal(found[..., at_top : at_top + rows, at_left : at_left + columns], kept)


def test_what_is_outside_the_disk_is_not_shown(folder):
    (first, second) = fig1.of_set(folder, "brain_mri")
    assert (first.modality, second.modality) == MODALITIES["brain_mri"]
    inside = round(2 * fig1.DISK * SIDES["brain_mri"])
    for images in (first.images, *first.encoded.values(), *first.differences.values()):
        assert len(images) == len(fig1.ANGLES)
        for image in images:
            assert abs(image.shape[0] - inside) <= 2
            assert np.isnan(image[0, 0])
            assert np.isnan(image).mean() == pytest.approx(1 - np.pi / 4, abs=0.05)
    assert np.nanmax(np.abs(first.differences["plain"][0])) == 0


# ---------------------------------------------------------------- the drawing


def test_pictures_titles_and_limits(folder):
    halves = fig1.of_set(folder, "motor_neurons")
    figure = drawn(halves)
    assert figure.get_size_inches()[0] == style.WIDTH_INCHES
    for half, of in zip(figure.subfigs, halves, strict=True):
        assert half.get_suptitle() == of.modality.replace("_", " ")
        grid = [axes for axes in half.get_axes() if axes.get_subplotspec() is not None]
        assert len(grid) == 5 * 4
        assert [axes.get_title() for axes in grid[:4]] == ["0°", "30°", "75°", "120°"]
        labels = [axes.get_ylabel() for axes in grid[::4]]
        assert labels == ["image", "steerable", "difference", "plain", "difference"]
        pictured = [[len(axes.images) for axes in grid[4 * n : 4 * n + 4]] for n in range(5)]
        assert pictured == [[1] * 4, [1] * 4, [0, 1, 1, 1], [1] * 4, [0, 1, 1, 1]]
        for row, family in ((2, "steerable"), (4, "plain")):
            for axes, image, error in zip(
                grid[4 * row + 1 : 4 * row + 4],
                of.differences[family][1:],
                of.errors[family][1:],
                strict=True,
            ):
                shown = axes.images[0]
                assert shown.get_clim() == (-1, 1)
                assert np.array_equal(shown.get_array().filled(np.nan), image, equal_nan=True)
                assert axes.get_xlabel() == f"error {error:.2f}"
        keys = [c for axes in grid for c in axes.child_axes]
        assert [key.get_ylabel() for key in keys] == ["std. dev."] * 2
        (bar,) = grid[0].lines
        assert np.ptp(bar.get_xdata()) == fig1.BAR_PIXELS
        assert grid[0].get_xlabel() == f"{fig1.BAR_PIXELS} px"


def test_no_text_lies_on_another(folder):
    figure = drawn(fig1.of_set(folder, "brain_mri"))
    assert not style.overlapping(figure)
    axes = figure.findobj(Axes)[0]
    axes.set_title("so long a title that it runs over the one beside it")
    figure.canvas.draw()
    assert style.overlapping(figure)  # what the check is for
    axes.set_title("0°")
    figure.text(0.995, 0.5, "out")
    figure.canvas.draw()
    assert style.overlapping(figure) == ["out outside"]


def test_all_angles_are_shown_alike_and_differences_are_darker_where_they_are_greater(folder):
    halves = fig1.of_set(folder, "brain_mri")
    figure = drawn(halves)
    grid = [axes for axes in figure.subfigs[0].get_axes() if axes.get_subplotspec() is not None]
    low, high = fig1.black_white(halves[0].encoded["plain"][0])
    for axes, image in zip(grid[12:16], halves[0].encoded["plain"], strict=True):
        expected = np.clip((image - low) / (high - low), 0, 1)
        shown = axes.images[0].get_array().filled(np.nan)
        assert np.allclose(shown, expected, equal_nan=True)
    colours = grid[9].images[0].get_cmap()(np.linspace(0, 1, 11))
    shades = colours[:, :3] @ (0.2126, 0.7152, 0.0722)
    assert (np.diff(shades[:6]) > 0).all()  # in grey: from dark to white and back
    assert (np.diff(shades[5:]) < 0).all()


def test_drawing_twice_gives_the_same_bytes_with_the_sources_in_them(folder, monkeypatch, tmp_path):
    found = drawn_twice(run, monkeypatch, folder, tmp_path)
    assert list(found[0]) == ["fig1_method.pdf", "fig1_method.png", "fig1_method.txt"]
    assert found[0] == found[1]
    pdf, png = found[0]["fig1_method.pdf"], found[0]["fig1_method.png"]
    assert b"/FontFile2" in pdf  # text is text
    assert b"/Type3" not in pdf
    named = sources.named(folder, sources.of_pairs_and_models(folder))
    assert len(named) == 1 + 4 + 8
    assert named[0].startswith("equicomir commit ")
    for line in named:
        assert line.encode() in png
        assert line.split()[0].encode() in pdf
    assert str(folder).encode() not in pdf + png  # no folder of a machine
    picture = io.imread(tmp_path / "0" / "fig1_method.png")
    assert picture.shape[1] == round(300 * style.WIDTH_INCHES)


def test_other_weights_are_another_source(tmp_path):
    written(tmp_path)
    before = sources.named(tmp_path, sources.of_pairs_and_models(tmp_path))
    write_model(tmp_path, "brain_mri", "plain", number=1)
    after = sources.named(tmp_path, sources.of_pairs_and_models(tmp_path))
    changed = sorted(set(after) - set(before))  # the settings tell the weights' digest
    assert [words.split(" sha256:")[0] for words in changed] == [
        f"h0_brain_mri/plain/{name}" for name in ("settings.json", "weights.safetensors")
    ]


# ---------------------------------------------------------------- the caption


def test_every_number_of_the_caption_is_measured_or_read(folder):
    others = {"brain_mri": fig1.of_set(folder, "brain_mri")}
    halves = fig1.of_set(folder, "motor_neurons")
    said = fig1.caption(folder, "motor_neurons", halves, others)
    for words in (
        "(motor_neurons, made_up, of the test part; 1 scene)",
        "phase contrast and nfh turned by 0, 30, 75 and 120 degrees",
        "radius 0.3 times the side (64 px)",
        "(steerable, 40 steps, seed 3; plain, 40 steps, seed 3): 1 training seed each",
    ):
        assert words in said
    assert "Continued by zeros" not in said
    for of in others["brain_mri"]:
        each = " / ".join(f"{error:.2f}" for error in of.errors["plain"][1:])
        assert f"and plain {each}" in said
    said = fig1.caption(folder, "brain_mri", others["brain_mri"], {})
    assert "zeros up to 88 x 88 px" in said


# ---------------------------------------------------------------- what is missing


def test_a_missing_pair_is_named_with_the_command_that_makes_it(tmp_path):
    with pytest.raises(ValueError, match="expected one pair of images") as raised:
        fig1.of_set(tmp_path, "brain_mri")
    command = f"run python benchmarks/crops.py --data DATA --out {tmp_path / 'crops'}."
    assert str(raised.value).endswith(command)
    write_crops(tmp_path)
    for modality in MODALITIES["brain_mri"]:
        first = tmp_path / "crops" / "brain_mri" / modality / "made_up.png"
        first.with_name("other.png").write_bytes(first.read_bytes())
    with pytest.raises(ValueError, match="found: 2 scenes; run python"):
        fig1.of_set(tmp_path, "brain_mri")


def test_a_missing_model_is_named_with_the_command_that_makes_it(tmp_path):
    write_crops(tmp_path)
    write_model(tmp_path, "brain_mri", "steerable")
    with pytest.raises(ValueError, match="expected a model of T1 and T2") as raised:
        fig1.of_set(tmp_path, "brain_mri")
    assert str(raised.value).startswith(f"{tmp_path / 'h0_brain_mri' / 'plain'}: ")
    assert (
        "run python experiments/h0_baselines.py --set DATA/brain_mri --modalities T1 T2 --out "
        f"{tmp_path / 'h0_brain_mri'}, with the options" in str(raised.value)
    )
    assert "\n" not in str(raised.value)
    write_model(tmp_path, "motor_neurons", "plain")
    (tmp_path / "h0_motor_neurons" / "plain").rename(tmp_path / "h0_brain_mri" / "plain")
    with pytest.raises(ValueError, match="found: one of phase_contrast and nfh; run"):
        fig1.of_set(tmp_path, "brain_mri")


# ---------------------------------------------------------------- the crops


@given(st.integers(1, 30), st.integers(1, 30), st.integers(1, 30))
def test_the_middle_is_the_part_about_the_centre(height, width, pixels):
    image = np.arange(height * width).reshape(height, width)
    found = crops.middle(image, pixels)
    assert found.shape == (min(height, pixels), min(width, pixels))
    centre = found.astype(float).mean()  # of rows and columns: linear in both
    assert abs(centre - image.mean()) <= (width + 1) / 2


def test_crops_are_cut_from_the_middle_scene_and_read_by_the_figure(monkeypatch, tmp_path):
    rng = np.random.default_rng(0)
    for name, modalities in MODALITIES.items():
        for modality, scene in ((m, s) for m in modalities for s in "abc"):
            path = tmp_path / "data" / name / "test" / modality / f"{scene}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            pixels = 257 * blobs(rng, 20, 30).astype(np.uint16)
            io.imsave(path, pixels, check_contrast=False)
    small = {name: (modalities, 24) for name, modalities in MODALITIES.items()}
    monkeypatch.setattr(crops, "CROPS", small)
    out = tmp_path / "records" / "crops"
    monkeypatch.setattr(sys, "argv", ["crops", "--data", str(tmp_path / "data"), "--out", str(out)])
    crops.main()
    scene = sources.crop(tmp_path / "records", "brain_mri")
    assert scene.name == "b"
    whole = io.imread(tmp_path / "data" / "brain_mri" / "test" / "T2" / "b.png")
    kept = io.imread(out / "brain_mri" / "T2" / "b.png")
    assert kept.dtype == np.uint16
    assert np.array_equal(kept, whole[:, 3:27])


def test_the_committed_crops_are_small_aligned_and_named_with_their_licence():
    assert {name: of for name, (of, _) in crops.CROPS.items()} == sources.MODALITIES
    assert sources.MODALITIES == MODALITIES
    assert SIZES.keys() == MODALITIES.keys()
    folder = ROOT / "records" / "crops"
    said = (folder / "README.md").read_text()
    for name, (modalities, pixels) in crops.CROPS.items():
        scene = sources.crop(ROOT / "records", name)
        assert max(scene.size) == pixels
        assert f"`{name}/{{{','.join(modalities)}}}/{scene.name}.png`" in said
        (row,) = (line for line in said.splitlines() if line.startswith(f"| `{name}/"))
        assert ("CC BY" in row) != ("Apache-2.0" in row)
        height, width = scene.size
        assert f"{height} x {width} px" in row
    assert sum(path.stat().st_size for path in folder.rglob("*.*") if path.is_file()) < 10**6
