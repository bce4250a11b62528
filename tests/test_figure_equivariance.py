"""Figure 2 says what its records say, draws the same bytes twice, and names what is missing."""

import json
import sys
from dataclasses import asdict, replace

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from made_up_records import MODALITIES, drawn_twice, script, write_model
from matplotlib.backends.backend_agg import FigureCanvasAgg
from skimage import io

from equicomir.evaluation import records
from equicomir.evaluation.equivariance import equivariance_decibels, equivariance_error
from equicomir.representations import EncoderSettings, load

script("paper_figures", "script")
style = script("paper_figures", "style")
sources = script("paper_figures", "sources")
curves = script("paper_figures", "equivariance_curves")
fig2 = script("paper_figures", "fig2_equivariance")
benchmark = script("benchmarks", "equivariance")

MODELS = [(name, family) for name in MODALITIES for family in ("plain", "steerable")]


def line(rng, settings, seeds=3, angles=benchmark.ANGLES):
    """A made-up record; at quarter turns nothing is left of one seed in three."""
    errors = rng.uniform(0.01, 1, (seeds, len(angles)))
    decibels = rng.uniform(10, 60, errors.shape).tolist()
    for n in (n for n, angle in enumerate(angles) if angle % 90 == 0):
        decibels[0][n] = None
    asked = settings | {"seeds": list(range(seeds)), "angles_degrees": list(angles)}
    facts = {"errors": errors.tolist(), "decibels": decibels, "pairs": []}
    return json.loads(json.dumps({"key": records.run_key(asked), "settings": asked, **facts}))


def untrained_lines(number=0, seeds=3):
    rng = np.random.default_rng(number)
    floor = line(rng, {"encoder": None}, seeds)
    quarter = [angle % 90 == 0 for angle in benchmark.ANGLES]
    floor["errors"] = np.where(quarter, 0, np.full_like(floor["errors"], 7e-7)).tolist()
    floor["decibels"] = [[None if exact else 141.6 for exact in quarter] for _ in range(seeds)]
    return [floor, *(line(rng, {"encoder": asdict(of)}, seeds) for of in benchmark.UNTRAINED)]


def trained_lines(folder, number=0):
    rng, lines = np.random.default_rng(number), []
    for name, family in MODELS:
        model = folder / f"h0_{name}" / family
        settings = {"encoder": asdict(load(model).settings), "model": f"h0_{name}/{family}"}
        settings["weights_sha256"] = sources.digest(model / "weights.safetensors")
        lines += [line(rng, settings | {"modality": m}) for m in MODALITIES[name]]
    return lines


def write(path, lines):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(one) + "\n" for one in lines))


def written(folder, number=0):
    for name, family in MODELS:
        write_model(folder, name, family, number=number)
    write(folder / "equivariance" / "untrained.jsonl", untrained_lines(number))
    write(folder / "equivariance" / "trained.jsonl", trained_lines(folder, number))
    return folder


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return written(tmp_path_factory.mktemp("records"))


def panels_of(folder):
    titles = [title for title, _ in fig2.PANELS]
    of_groups = list(zip(titles, fig2.untrained(folder), strict=True))
    return [*of_groups, ("trained", fig2.trained(folder))]


def drawn(panels):
    with style.house():
        figure = fig2.draw(panels)
        FigureCanvasAgg(figure).draw()
    return figure


def run(monkeypatch, records, out):
    monkeypatch.setattr(sys, "argv", ["fig2", "--records", str(records), "--out", str(out)])
    fig2.main()


# ---------------------------------------------------------------- numbers


@given(st.integers(0, 10**6), st.integers(1, 4), st.integers(1, 2))
def test_points_are_means_over_seeds_and_inputs_of_what_is_there(number, seeds, inputs):
    rng = np.random.default_rng(number)
    lines = [line(rng, {"encoder": None}, seeds, angles=(30.0, 90.0)) for _ in range(inputs)]
    found = curves.curve("some", curves.TRAINED["plain"], lines)
    assert (found.angles, found.seeds) == ([30.0, 90.0], seeds)
    for n in range(2):
        errors = [of_seed[n] for one in lines for of_seed in one["errors"]]
        assert found.errors[n] == pytest.approx(sum(errors) / len(errors))
        decibels = [of_seed[n] for one in lines for of_seed in one["decibels"]]
        there = [value for value in decibels if value is not None]
        expected = sum(there) / len(there) if there else np.nan
        assert found.decibels[n] == pytest.approx(expected, nan_ok=True)
    (other,) = [line(np.random.default_rng(number + 1), {"encoder": None}, 1, angles=(30.0, 90.0))]
    wrong = curves.curve("some", curves.TRAINED["plain"], [*lines, other])  # plain control
    assert wrong.errors != pytest.approx(found.errors)


@given(st.floats(1e-7, 2), st.floats(1e-7, 2), st.floats(0, 170), st.floats(0, 170))
def test_scales_go_there_and_back_and_keep_the_order(error, other_error, decibels, other_decibels):
    for (there, back), a, b in (
        (fig2.error_scale(), error, other_error),
        (fig2.decibel_scale(), decibels, other_decibels),
    ):
        assert back(there(np.array(a))) == pytest.approx(a, rel=1e-9)
        assert (there(np.array(a)) < there(np.array(b))) == (a < b) or a == pytest.approx(b)
    there, _ = fig2.error_scale()
    _, wrong = fig2.decibel_scale()  # planted fault: the way back of the other scale
    assert wrong(there(np.array(error))) != pytest.approx(error, rel=1e-9) or error == 1


def test_scales_are_shrunk_beyond_the_knee_only():
    there, _ = fig2.error_scale()
    assert there(np.array(1.0)) - there(np.array(0.1)) == pytest.approx(1)
    assert there(np.array(1e-4)) - there(np.array(1e-5)) == pytest.approx(fig2.BEYOND)
    there, _ = fig2.decibel_scale()
    assert there(np.array(40.0)) - there(np.array(30.0)) == pytest.approx(10)
    assert there(np.array(120.0)) - there(np.array(110.0)) == pytest.approx(10 * fig2.BEYOND)


def test_the_figure_draws_every_encoder_that_the_benchmark_measures():
    measured = [curves.label_of(asdict(of)) for of in benchmark.UNTRAINED]
    assert len(set(measured)) == len(measured)
    asked = {label for _, looks in fig2.PANELS for label in looks}
    assert asked == {*measured, fig2.FLOOR}
    for _, looks in fig2.PANELS:  # told apart without colour
        marks = [(look.marker, look.filled, look.dashes) for look in looks.values()]
        assert len(set(marks)) == len(marks)


def test_the_benchmark_records_once_what_the_protocol_gives(monkeypatch, tmp_path):
    monkeypatch.setattr(benchmark, "ANGLES", (30.0, 90.0))
    monkeypatch.setattr(benchmark, "PIXELS", 32)
    architecture = replace(EncoderSettings(), widths=(1, 1), kernel_size=3)
    path = tmp_path / "untrained.jsonl"
    for _ in range(2):
        for of in (None, architecture):
            benchmark.record_untrained(path, of, 2)
    floor, found = records.read(path)
    assert floor["errors"][0][0] < 1e-3
    for seed in range(2):
        encoder = architecture.make(1, generator=torch.Generator().manual_seed(seed))
        for n, degrees in enumerate((30.0, 90.0)):
            of = {"size": 32}
            for name, measure in (
                ("errors", equivariance_error),
                ("decibels", equivariance_decibels),
            ):
                expected = measure(
                    encoder, degrees, generator=torch.Generator().manual_seed(seed), **of
                )
                assert found[name][seed][n] == pytest.approx(expected, rel=1e-3)
    assert found["errors"][0][1] < 1e-4 < found["errors"][0][0]


def test_a_map_is_computed_once_an_input():
    seen = []
    encode = benchmark.remembering(lambda x: seen.append(1) or 2 * x)
    x, y = torch.rand(1, 1, 4, 4), torch.rand(1, 1, 4, 4)
    assert torch.equal(encode(x), encode(x))
    assert torch.equal(encode(y), 2 * y)
    assert len(seen) == 2


def test_models_are_measured_again_when_they_are_trained_again(monkeypatch, tmp_path):
    monkeypatch.setattr(benchmark, "ANGLES", (90.0,))
    monkeypatch.setattr(benchmark, "PIXELS", 32)
    path = tmp_path / "equivariance" / "trained.jsonl"
    for number in (0, 1, 1):
        write_model(tmp_path, "brain_mri", "steerable", number=number)
        (model,) = benchmark.models(tmp_path)
        benchmark.record_trained(path, model, "T2", 1)
    first, second = records.read(path)
    assert first["settings"]["weights_sha256"] != second["settings"]["weights_sha256"]
    assert second["settings"]["model"] == "h0_brain_mri/steerable"
    assert second["training_seed"] == 3
    write(tmp_path / "equivariance" / "untrained.jsonl", untrained_lines())
    curve, floor = fig2.trained(tmp_path)
    assert curve.errors == second["errors"][0]
    assert floor.label == fig2.FLOOR


# ---------------------------------------------------------------- the drawing


def test_curves_labels_and_limits_of_the_panels(folder):
    panels = panels_of(folder)
    figure = drawn(panels)
    assert figure.get_size_inches()[0] == style.WIDTH_INCHES
    grid = np.array(figure.axes).reshape(2, 3)
    titles = ["(a) finite groups", "(b) all rotations", "(c) trained"]
    assert [axes.get_title(loc="left") for axes in grid[0]] == titles
    assert [axes.get_ylabel() for axes in grid[:, 0]] == [
        *("equivariance error, relative", "equivariance, dB")
    ]
    assert {axes.get_xlabel() for axes in grid[1]} == {"angle, degrees"}
    for column, (_, curves) in enumerate(panels):
        assert len(curves) == (len(fig2.PANELS[column][1]) if column < 2 else 5)
        for axes, name in zip(grid[:, column], ("errors", "decibels"), strict=True):
            *lines, knee = axes.get_lines()
            assert len(lines) == len(curves)
            assert len(set(knee.get_ydata())) == 1
            low, high = axes.get_ylim()
            for one, of in zip(lines, curves, strict=True):
                values = np.array(getattr(of, name))
                assert list(one.get_xdata()) == of.angles
                there = values > 0
                assert np.allclose(one.get_ydata()[there], values[there])
                assert np.isnan(one.get_ydata()[~there]).all()
                assert low < values[there].min()
                assert values[there].max() < high
        low, high = grid[0, column].get_xlim()
        assert (low, high >= 180) == (0, True)
    legends = [[t.get_text() for t in axes.get_legend().get_texts()] for axes in grid[1]]
    assert legends[0] == list(fig2.PANELS[0][1])
    assert legends[2] == [
        *("plain", "steerable C8", fig2.FLOOR),
        *("filled: brain_mri", "open, dotted: motor_neurons"),
    ]


def test_no_text_lies_on_another_and_no_legend_on_a_curve(folder):
    figure = drawn(panels_of(folder))
    assert not style.overlapping(figure)
    renderer = figure.canvas.get_renderer()
    for axes in figure.axes[3:]:
        legend = axes.get_legend().get_window_extent(renderer)
        assert not any(legend.overlaps(other.get_window_extent()) for other in figure.axes)


def test_drawing_twice_gives_the_same_bytes_with_the_sources_in_them(folder, monkeypatch, tmp_path):
    found = drawn_twice(run, monkeypatch, folder, tmp_path)
    names = [f"fig2_equivariance.{ending}" for ending in ("pdf", "png", "txt")]
    assert list(found[0]) == names
    assert found[0] == found[1]
    pdf, png = (found[0][name] for name in names[:2])
    assert b"/FontFile2" in pdf  # text is text
    assert b"/Type3" not in pdf
    for source in ("equivariance/trained.jsonl", "equivariance/untrained.jsonl", "h0_brain_mri"):
        assert source.encode() in png
        assert source.encode() in pdf
    assert str(folder).encode() not in pdf + png  # no folder of a machine
    picture = io.imread(tmp_path / "0" / names[1])
    assert picture.shape[1] == round(300 * style.WIDTH_INCHES)


# ---------------------------------------------------------------- the caption


def test_every_number_of_the_caption_is_counted_in_the_records(folder):
    said = fig2.caption(folder, fig2.untrained(folder), fig2.trained(folder))
    for words in (
        f"{len(benchmark.UNTRAINED)} untrained encoders (a, b) and 4 trained ones (c) at 24 angles",
        "no scene; means over 3 seeds",
        "1 training seed each (3)",
        "at most 7e-07, and at least 142 dB",
        "below an error of 0.003 and above 50 dB the scales are shrunk to 0.2",
    ):
        assert words in said


def test_seeds_of_the_caption_are_those_of_the_records(tmp_path):
    written(tmp_path)
    write(tmp_path / "equivariance" / "untrained.jsonl", untrained_lines(seeds=1))
    write_model(tmp_path, "brain_mri", "plain", seed=4)
    said = fig2.caption(tmp_path, fig2.untrained(tmp_path), fig2.trained(tmp_path))
    assert "means over 1 seed of" in said
    assert "1 training seed each (3, 4)" in said


# ---------------------------------------------------------------- what is missing


def test_a_missing_encoder_is_named_with_the_command_that_measures_it(tmp_path):
    path = tmp_path / "equivariance" / "untrained.jsonl"
    ends = f"found none; run python benchmarks/equivariance.py --records {tmp_path}."
    with pytest.raises(ValueError, match="expected errors of steerable C4, found none") as raised:
        fig2.untrained(tmp_path)
    assert str(raised.value).endswith(ends)
    write(path, untrained_lines()[:-1])
    with pytest.raises(ValueError, match="expected errors of Tiramisu, found none"):
        fig2.untrained(tmp_path)


def test_a_missing_or_newer_model_is_named_with_the_command(tmp_path):
    with pytest.raises(ValueError, match="expected models, h0_SET"):
        fig2.trained(tmp_path)
    written(tmp_path)
    write_model(tmp_path, "motor_neurons", "plain", number=1)
    with pytest.raises(ValueError, match="found only those of earlier weights; run") as raised:
        fig2.trained(tmp_path)
    assert str(raised.value).endswith(f"python benchmarks/equivariance.py --records {tmp_path}.")
    write(tmp_path / "equivariance" / "trained.jsonl", [])
    with pytest.raises(ValueError, match="h0_brain_mri/plain, found none; run"):
        fig2.trained(tmp_path)


def test_the_command_that_is_named_is_understood(monkeypatch, tmp_path):
    measured = []
    monkeypatch.setattr(benchmark, "record_untrained", lambda path, of, n: measured.append(path))
    command = curves.command(tmp_path).removeprefix("python benchmarks/equivariance.py ")
    monkeypatch.setattr(sys, "argv", ["equivariance", *command.split()])
    benchmark.main()
    assert set(measured) == {tmp_path / "equivariance" / "untrained.jsonl"}
    assert len(measured) == 1 + len(benchmark.UNTRAINED)
