"""Figure 7 shows what filters do to its pairs, the same bytes twice, and names what is missing."""

import itertools
import sys

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from made_up_records import (
    MODALITIES,
    SIZES,
    blobs,
    drawn_twice,
    script,
    write_crops,
    write_model,
    written,
)
from matplotlib.backends.backend_agg import FigureCanvasAgg
from skimage import io

from equicomir.filters import butterworth_high_pass, gaussian_high_pass, high_pass
from equicomir.representations import load

script("paper_figures", "script")
style = script("paper_figures", "style")
sources = script("paper_figures", "sources")
spectra = script("paper_figures", "spectra")
fig7 = script("paper_figures", "fig7_high_pass")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return written(tmp_path_factory.mktemp("records"))


@pytest.fixture(scope="module")
def figure(folder):
    return drawn(folder)


def drawn(folder, name="motor_neurons"):
    of_sets = {each: fig7.spectra(folder, each) for each in MODALITIES}
    with style.house():
        figure = fig7.draw(of_sets, fig7.pictures(folder, name))
        FigureCanvasAgg(figure).draw()
    return figure


def run(monkeypatch, records, out):
    monkeypatch.setattr(sys, "argv", ["fig7", "--records", str(records), "--out", str(out)])
    fig7.main()


# ---------------------------------------------------------------- spectra


def shapes():
    return st.tuples(st.integers(24, 80), st.integers(24, 80))


@given(st.integers(0, 10**6), shapes(), st.floats(0.1, 100), st.floats(-100, 100))
def test_the_density_integrates_to_one_whatever_gain_and_offset(number, shape, gain, offset):
    noise = np.random.default_rng(number).standard_normal(shape)
    frequencies, density = spectra.density(gain * noise + offset)
    assert frequencies.shape == density.shape == shape
    assert density.mean() == pytest.approx(1)  # over all frequencies: an area of one
    assert np.allclose(density, spectra.density(noise)[1])
    # Planted fault: another image's variance as the unit.
    assert spectra.density(noise, 2 * noise)[1].mean() == pytest.approx(1 / 4)


@given(st.integers(0, 10**6), st.floats(0.06, 0.22), st.floats(0, np.pi))
def test_a_wave_stands_at_its_own_frequency_whatever_its_direction(number, frequency, angle):
    rows, columns = np.mgrid[:96, :80]
    along = rows * np.sin(angle) + columns * np.cos(angle)
    wave = np.cos(2 * np.pi * frequency * along + number)
    frequencies, density = spectra.density(wave)
    assert abs((frequencies * density).mean() - frequency) < 0.01
    squared = wave**2  # plain control: what is not this wave
    assert abs((frequencies * spectra.density(squared)[1]).mean() - frequency) > 0.01


@given(st.integers(0, 10**6), shapes())
def test_rings_are_means_as_a_naive_loop_takes_them(number, shape):
    frequencies, density = spectra.density(np.random.default_rng(number).standard_normal(shape))
    at, means = spectra.rings(frequencies, density)
    edges, naive = np.geomspace(*fig7.RANGE, 25), []
    for low, high in itertools.pairwise(edges):
        inside = (frequencies >= low) & (frequencies < high)
        if inside.any():
            naive.append((frequencies[inside].mean(), density[inside].mean()))
    assert np.allclose(naive, np.transpose([at, means]))
    assert (np.diff(at) > 0).all()


@given(st.integers(0, 10**6), st.sampled_from([0.05, 0.1, 0.2]))
def test_a_filter_multiplies_the_spectrum_by_its_response_squared(number, cutoff):
    noise = torch.from_numpy(np.random.default_rng(number).standard_normal((1, 1, 160, 160)))
    plane = fig7.grey(noise)
    at, before = spectra.rings(*spectra.density(plane))
    filtered = fig7.grey(high_pass(noise, cutoff))
    ratio = np.array(spectra.rings(*spectra.density(filtered, plane))[1]) / before
    expected = gaussian_high_pass(cutoff).response(torch.tensor(at)).numpy() ** 2
    high = np.array(at) > cutoff / 2  # below, the window leaks more than the filter leaves
    assert np.allclose(ratio[high], expected[high], rtol=0.15, atol=0.02)
    unfiltered = np.ones_like(ratio)  # plain control
    assert not np.allclose(unfiltered[high], expected[high], rtol=0.15, atol=0.02)


# ---------------------------------------------------------------- what is read


def test_spectra_are_those_of_the_representations_through_the_filter_of_their_training(tmp_path):
    written(tmp_path)
    write_model(tmp_path, "brain_mri", "plain", high_pass_cutoff=None)
    training = {"high_pass_cutoff": 0.1, "high_pass_family": "butterworth"}
    write_model(tmp_path, "brain_mri", "steerable", **training)
    found = fig7.spectra(tmp_path, "brain_mri")
    names = [(f, m) for f in ("steerable", "plain") for m in MODALITIES["brain_mri"]]
    assert [(of.family, of.modality) for of in found] == names
    image = sources.crop(tmp_path, "brain_mri").window("T2")[None]
    model = load(tmp_path / "h0_brain_mri" / "steerable")
    encoded = model.encode("T2", image)
    assert found[1].before == spectra.rings(*spectra.density(fig7.grey(encoded)))[1]
    filtered = fig7.grey(butterworth_high_pass(0.1)(encoded))
    expected = spectra.rings(*spectra.density(filtered, fig7.grey(encoded)))[1]
    assert found[1].after == pytest.approx(expected)
    assert not found[2].after
    shown = fig7.pictures(tmp_path, "brain_mri")
    said = fig7.caption(tmp_path, "brain_mri", {"brain_mri": found}, shown)
    assert "brain_mri, steerable: butterworth_high_pass(0.1, order=2)" in said
    assert "brain_mri, plain: none" in said


def test_pictures_are_filtered_at_each_cut_off(folder):
    first, second = fig7.pictures(folder, "motor_neurons")
    assert (first.modality, second.modality) == MODALITIES["motor_neurons"]
    image = sources.crop(folder, "motor_neurons").window("nfh")[None]
    for n, cutoff in enumerate(fig7.CUT_OFFS, 1):
        expected = high_pass(image, cutoff)[0, 0].numpy()
        assert np.allclose(second.images[n], expected, atol=1e-3)
        assert second.encoded[n].std() < second.encoded[0].std()
    expected = np.corrcoef(first.images[1].ravel(), second.images[1].ravel())[0, 1]
    assert fig7.correlations(first.images, second.images)[1] == pytest.approx(expected)
    assert fig7.correlations(first.images, first.images) == pytest.approx([1] * 4)


def test_large_pictures_are_cut_about_their_middle():
    image = torch.from_numpy(blobs(np.random.default_rng(0), 200, 181)).double()[None, None]
    assert np.array_equal(fig7.middle(image), image[0, 0, 20:180, 10:170].numpy())


# ---------------------------------------------------------------- the drawing


def test_filters_are_one_half_at_their_cut_off(figure):
    axes = figure.subfigs[0].axes[0]
    lines = axes.get_lines()
    names = ["Gaussian, 0.025", "Gaussian, 0.05", "Gaussian, 0.1"]
    names += ["Butterworth, order 2, 0.05", "ideal, 0.05"]
    assert [line.get_label() for line in lines] == names
    assert [text.get_text() for text in axes.get_legend().get_texts()] == names
    for line, (label, filter_, _, _) in zip(lines, fig7.FILTERS, strict=True):
        at, response = line.get_data()
        assert (at[0], at[-1]) == pytest.approx(fig7.RANGE)
        assert (np.diff(response) >= 0).all()
        cutoff = float(label.split(", ")[-1])
        assert float(filter_.response(torch.tensor(cutoff, dtype=torch.float64))) == 0.5
        crossed = np.interp(cutoff, at, response)
        assert abs(crossed - 0.5) < (0.51 if label.startswith("ideal") else 0.01)
    looks = [(line.get_color(), line.get_linestyle()) for line in lines]
    assert len(set(looks)) == len(looks)


def test_curves_labels_and_limits(figure, folder):
    axes = figure.subfigs[0].axes
    assert figure.get_size_inches()[0] == style.WIDTH_INCHES
    titles = ["(a) filters", "(b) brain_mri", "(c) motor_neurons"]
    assert [one.get_title(loc="left") for one in axes] == titles
    assert {one.get_xlabel() for one in axes} == {"frequency, cycles per px"}
    labels = [one.get_ylabel() for one in axes]
    assert labels == ["response", "power density, px²", "power density, px²"]
    for one, name in zip(axes[1:], MODALITIES, strict=True):
        assert one.get_xlim() == fig7.RANGE
        curves = fig7.spectra(folder, name)
        lines = [line for line in one.get_lines() if len(line.get_xdata())]
        assert len(lines) == 2 * len(curves) == 8  # before and after
        for n, of in enumerate(curves):
            before, after = lines[2 * n : 2 * n + 2]
            assert list(before.get_ydata()) == of.before
            assert list(after.get_ydata()) == of.after
            assert before.get_linewidth() > after.get_linewidth()
        said = [text.get_text() for text in one.get_legend().get_texts()]
        modalities = [m.replace("_", " ") for m in MODALITIES[name]]
        expected = [f"{f}, {m}" for f in ("steerable", "plain") for m in modalities]
        assert said == [*expected, "each, filtered"]


def test_pictures_titles_and_correlations(figure, folder):
    halves = figure.subfigs[1].subfigs
    assert [half.get_suptitle() for half in halves] == ["(d) images", "(e) representations"]
    shown = fig7.pictures(folder, "motor_neurons")
    for half, kind in zip(halves, ("images", "encoded"), strict=True):
        grid = np.array(half.axes).reshape(2, 4)
        assert [axes.get_title() for axes in grid[0]] == ["as it is", "0.025", "0.05", "0.1"]
        assert [axes.get_ylabel() for axes in grid[:, 0]] == ["phase contrast", "nfh"]
        rows = [getattr(of, kind) for of in shown]
        for axes, image in zip(grid.ravel(), [*rows[0], *rows[1]], strict=True):
            (picture,) = axes.images
            assert np.allclose(picture.get_array(), style.shown(image))
            assert picture.get_clim() == (0, 1)
        said = [axes.get_xlabel() for axes in grid[1]]
        assert said == [f"r = {value:.2f}" for value in fig7.correlations(*rows)]
        (bar,) = grid[0, 0].get_lines()
        assert np.ptp(bar.get_xdata()) == 50
        assert grid[0, 0].get_xlabel() == "50 px"


def test_no_text_lies_on_another_and_no_legend_on_a_curve(figure):
    assert not style.overlapping(figure)
    renderer = figure.canvas.get_renderer()
    everything = [*figure.subfigs[0].axes, *(a for s in figure.subfigs[1].subfigs for a in s.axes)]
    for axes in figure.subfigs[0].axes:
        legend = axes.get_legend().get_window_extent(renderer)
        assert not any(legend.overlaps(other.get_window_extent()) for other in everything)


def test_drawing_twice_gives_the_same_bytes_with_the_sources_in_them(folder, monkeypatch, tmp_path):
    found = drawn_twice(run, monkeypatch, folder, tmp_path)
    names = [f"fig7_high_pass.{ending}" for ending in ("pdf", "png", "txt")]
    assert list(found[0]) == names
    assert found[0] == found[1]
    pdf, png, text = (found[0][name] for name in names)
    assert b"/FontFile2" in pdf  # text is text
    assert b"/Type3" not in pdf
    for line in sources.named(folder, sources.of_pairs_and_models(folder)):
        assert line.encode() in png
        assert line.split()[0].encode() in pdf
    assert str(folder).encode() not in pdf + png  # no folder of a machine
    picture = io.imread(tmp_path / "0" / names[1])
    assert picture.shape[1] == round(300 * style.WIDTH_INCHES)
    said = text.decode()
    height, width = SIZES["motor_neurons"]
    for words in (
        "representations of 2 scenes (1 of each set",
        "1 training seed each (3)",
        "motor_neurons, steerable: gaussian_high_pass(0.05)",
        f"motor_neurons, made_up, 1 scene, the middle {height} x {width} px",
    ):
        assert words in said


# ---------------------------------------------------------------- what is missing


def test_what_is_missing_is_named_with_the_command_that_makes_it(tmp_path):
    with pytest.raises(ValueError, match=r"found: .*; run python benchmarks/crops.py --data DATA"):
        fig7.pictures(tmp_path, "brain_mri")
    write_crops(tmp_path)
    with pytest.raises(ValueError, match=r"run python experiments/h0_baselines.py --set DATA/br"):
        fig7.spectra(tmp_path, "brain_mri")
