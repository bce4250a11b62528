"""Figure 6 says what its records say, draws the same bytes twice, and names what is missing."""

import argparse
import itertools
import json
import sys
from dataclasses import asdict, replace
from pathlib import Path

import matplotlib
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from made_up_records import script
from matplotlib.backends.backend_agg import FigureCanvasAgg
from skimage import io as image_io

from equicomir.evaluation import records
from equicomir.evaluation.displacements import TestPair
from equicomir.evaluation.statistics import rate
from equicomir.images.sources import Parts
from equicomir.training.settings import TrainingSettings

ROOT = Path(__file__).parent.parent
MACHINE = {"cores": 2, "processor": "Made Up", "torch_threads": 1, "gpu": None}
TRAINING = TrainingSettings(minutes=1.5)
CHOSEN = argparse.Namespace(device="cpu", width=64, validation_width=64, test_pairs=0)

script("paper_figures", "script")
style = script("paper_figures", "style")
sources = script("paper_figures", "sources")
read = script("paper_figures", "learning_curves")
fig6 = script("paper_figures", "fig6_learning")
benchmark = script("benchmarks", "data_efficiency")
learning = script("benchmarks", "training_curves")


def pairs_of(study, count):
    """Made-up test pairs in several slices or blocks."""
    return [
        TestPair("any", *way, f"z{n:02d}", 300 * n, 0, study.width, 10.0, 0.0, 0.0)
        for way in (study.modalities, study.modalities[::-1])
        for n in range(count)
    ]


def runs_of(study, seeds, number, *, count=12, training=TRAINING):
    """Made-up records, whose settings are the benchmark's own; more data, more successes."""
    rng = np.random.default_rng(number)
    lines = []
    for task in benchmark.tasks(study, training, seeds, count):
        rank = study.amounts.index(task.amount)
        chance = 0.3 + 0.12 * rank + 0.15 * (task.encoder.family == "steerable")
        pairs = pairs_of(study, count)
        good = rng.random(len(pairs)) < chance
        errors = [0.5 if one else None for one in good]
        settings = json.loads(json.dumps(task.settings("made up")))
        outcomes = [
            {**asdict(pair), "corner_error": error, "seconds": 0.1, "failure": ""}
            for pair, error in zip(pairs, errors, strict=True)
        ]
        facts = {"training_pixels": round(1000 * task.amount), "machine": MACHINE}
        lines.append({"key": str(len(lines)), "settings": settings, **facts, "pairs": outcomes})
    return lines


def curves_of(seeds, number, *, name="brain_mri", modalities=("T1", "T2")):
    """Made-up curves, whose settings are the benchmark's own."""
    rng, parts, lines = np.random.default_rng(number), Parts(name, modalities, [], [], []), []
    for seed, (encoder, slope) in itertools.product(
        seeds, {"C8": 0.18, "plain": 0.12, "tiramisu": 0.05, "C4": 0.1}.items()
    ):
        known = encoder if encoder in learning.ENCODERS else "C8"  # C4: somebody else's
        turns = learning.ENCODERS[known][1]
        training = replace(TrainingSettings(validations=5), seed=seed, turns=turns)
        settings = learning.curve_settings(parts, known, training, "made up", CHOSEN)
        settings["name"] = encoder
        curve = [[n + rng.random() / 10, slope * n + rng.random() / 20] for n in range(1, 6)]
        settings = json.loads(json.dumps(settings))
        lines.append({"settings": settings, "curve": curve, "machine": MACHINE, "pairs": []})
    return lines


def write(path, lines):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))


def written(folder, seeds=(0, 1, 2), number=0):
    """A folder with all records that the figure needs."""
    for study in benchmark.STUDIES:
        write(folder / "data_efficiency" / f"{study.set}.jsonl", runs_of(study, seeds, number))
    write(folder / "training_curves" / "brain_mri.jsonl", curves_of(seeds, number))
    return folder


def panels_of(folder):
    of_data = folder / "data_efficiency"
    panels = [fig6.efficiency(of_data / f"{name}.jsonl", name) for name in fig6.SETS]
    return panels + fig6.curves(folder / "training_curves")


def drawn(folder):
    with style.house():
        figure = fig6.draw(panels_of(folder))
        FigureCanvasAgg(figure).draw()
    return figure


def run(monkeypatch, records, out):
    monkeypatch.setattr(sys, "argv", ["fig6", "--records", str(records), "--out", str(out)])
    fig6.main()


# ---------------------------------------------------------------- numbers


def naive(lines, family, amount):
    """Success in %, pair by pair."""
    good = [
        pair["corner_error"] is not None and pair["corner_error"] <= 0.02 * pair["width"]
        for line in lines
        if line["settings"]["encoder"]["family"] == family and line["settings"]["amount"] == amount
        for pair in line["pairs"]
    ]
    return 100 * sum(good) / len(good)


@given(
    st.sampled_from(benchmark.STUDIES),
    st.lists(st.integers(0, 9), min_size=1, max_size=4, unique=True),
    st.integers(0, 10**6),
)
def test_points_are_the_share_of_pairs_that_succeeded(tmp_path_factory, study, seeds, number):
    path = tmp_path_factory.mktemp("records") / f"{study.set}.jsonl"
    lines = runs_of(study, seeds, number, count=6)
    np.random.default_rng(number).shuffle(lines)  # processes that share the runs keep no order
    write(path, lines)
    panel = fig6.efficiency(path, study.set)
    for line, family in zip(panel.lines, read.FAMILIES, strict=True):
        assert line.look == (family, None)
        expected = [naive(lines, family, amount) for amount in study.amounts]
        assert line.success == pytest.approx(expected)
        for success, (low, high) in zip(line.success, line.interval, strict=True):
            assert 0 <= low <= success <= high <= 100
    other = runs_of(study, seeds, number + 1, count=6)  # plain control: other records, other points
    expected = [naive(other, family, a) for family in read.FAMILIES for a in study.amounts]
    points = [value for line in panel.lines for value in line.success]
    assert points != pytest.approx(expected)


def test_the_interval_is_that_of_the_protocol(tmp_path):
    study = benchmark.STUDIES[0]
    lines = runs_of(study, (0, 1, 2), 5)
    write(tmp_path / "brain_mri.jsonl", lines)
    line = fig6.efficiency(tmp_path / "brain_mri.jsonl", "brain_mri").lines[0]
    runs = [r for r in lines if r["settings"]["encoder"]["family"] == "steerable"][::5]
    good = [[pair["corner_error"] is not None for pair in run["pairs"]] for run in runs]
    unit = study.unit(pairs_of(study, 12))
    of_protocol = rate(np.array(good, dtype=float), unit)
    assert line.interval[0] == pytest.approx((100 * of_protocol.low, 100 * of_protocol.high))


def test_curves_are_means_over_seeds_and_no_encoder_is_taken_for_another(tmp_path):
    lines = curves_of((3, 4), 1)
    write(tmp_path / "brain_mri.jsonl", lines)
    (panel,) = fig6.curves(tmp_path)
    looks = [("steerable", None), ("plain", 4), ("tiramisu", 4)]
    assert [line.look for line in panel.lines] == looks
    for line, name in zip(panel.lines, read.CURVES, strict=True):
        of_encoder = np.array([r["curve"] for r in lines if r["settings"]["name"] == name])
        assert line.x == pytest.approx(of_encoder[..., 0].mean(0))
        assert line.success == pytest.approx(100 * of_encoder[..., 1].mean(0))
        assert len(line.seeds) == 2
        assert line.seeds[1][1] == pytest.approx(100 * of_encoder[1, :, 1])


def test_the_figure_asks_for_what_the_benchmark_runs():
    for study in benchmark.STUDIES:
        unit, _, amounts = fig6.SETS[study.set]
        assert (unit, amounts) == (study.unit, study.amounts)
    assert tuple(e.family for e in benchmark.ENCODERS) == read.FAMILIES
    assert set(read.CURVES) <= learning.ENCODERS.keys()


def test_a_curve_is_recorded_once_and_read_by_the_figure(monkeypatch, tmp_path, capsys):
    path = tmp_path / "embedded.jsonl"
    told = "--steps 2 --validations 2 --encoders plain --test-pairs 1 --width 96"
    monkeypatch.setattr(learning, "PAIRS", 1)
    monkeypatch.setattr(learning, "commit", lambda: "made up")
    monkeypatch.setattr(sys, "argv", ["training_curves", *told.split(), "--out", str(path)])
    learning.main()
    (line,) = records.read(path)
    assert line["curve_steps"] == [1, 2]
    assert [pair["fixed"] for pair in line["pairs"]] == ["haematoxylin", "dab"]
    assert line["settings"]["training"]["turns"] == 4
    assert {"torch", "equicomir"} <= line["versions"].keys()
    assert line["machine"]["torch_threads"] >= 1
    found = read.curve_line([line])
    assert found.look == ("plain", 4)
    assert 0 < found.x[0] < found.x[1] < 1
    monkeypatch.setattr(learning, "curve", lambda *_: pytest.fail("trained anew"))
    learning.main()
    assert records.read(path) == [line]
    tables = capsys.readouterr().out.rstrip().split("Success at")
    assert tables[1].split() == tables[2].split()


# ---------------------------------------------------------------- the drawing


def test_lines_labels_and_limits_of_the_panels(tmp_path):
    panels = panels_of(written(tmp_path))
    figure = drawn(tmp_path)
    assert figure.get_size_inches()[0] == style.WIDTH_INCHES
    labels = [(axes.get_xlabel(), axes.get_ylabel()) for axes in figure.axes]
    expected = ("training slices", "share of the training image, %", "minutes of training")
    assert labels == [(x, "success, %") for x in expected]
    for axes, panel in zip(figure.axes, panels, strict=True):
        marked = [line for line in axes.get_lines() if line.get_marker() in ("o", "s", "^")]
        assert len(marked) == len(panel.lines)
        for line, of_method in zip(marked, panel.lines, strict=True):
            assert list(line.get_ydata()) == of_method.success
            assert np.allclose(line.get_xdata(), of_method.x, rtol=0.04)
        low, high = axes.get_xlim()
        assert low <= min(min(line.x) for line in panel.lines)
        assert high >= max(max(line.x) for line in panel.lines)
        assert axes.get_ylim()[0] <= 0
        assert axes.get_ylim()[1] >= 100
    ticks = [t.get_text() for t in figure.axes[0].get_xticklabels()]
    assert ticks == ["3", "6", "12", "24", "48"]
    (legend,) = figure.legends
    assert [text.get_text() for text in legend.get_texts()] == [
        *("steerable, any angle", "plain, any angle"),
        *("plain, quarter turns", "Tiramisu, quarter turns"),
    ]


def overlapping(figure):
    """Pairs of texts of a drawn figure that lie on each other, or stick out of it."""
    renderer = figure.canvas.get_renderer()
    texts = figure.legends[0].get_texts()
    for axes in figure.axes:
        texts += [axes._left_title, axes.xaxis.label, axes.yaxis.label]
        for axis, (low, high) in ((axes.xaxis, axes.get_xlim()), (axes.yaxis, axes.get_ylim())):
            shown = [tick for tick in axis.get_major_ticks() if low <= tick.get_loc() <= high]
            texts += [tick.label1 for tick in shown]
    boxes = [(t.get_text(), t.get_window_extent(renderer)) for t in texts]
    found = [(a, b) for (a, x), (b, y) in itertools.combinations(boxes, 2) if x.overlaps(y)]
    width, height = figure.bbox.size
    inside = [x.x0 >= 0 and x.y0 >= 0 and x.x1 <= width and x.y1 <= height for _, x in boxes]
    return found + [name for (name, _), within in zip(boxes, inside, strict=True) if not within]


@pytest.mark.parametrize("curves", [1, 2])
def test_no_text_lies_on_another_and_no_panel_is_empty(tmp_path, curves):
    written(tmp_path)
    for number in range(1, curves):
        write(
            tmp_path / "training_curves" / f"other{number}.jsonl",
            curves_of((0, 1), number, name="motor_neurons", modalities=("phase_contrast", "nfh")),
        )
    figure = drawn(tmp_path)
    assert not overlapping(figure)
    assert len(figure.axes) == 2 + curves
    assert all(axes.get_lines() for axes in figure.axes)
    figure.axes[0].set_title("so long a title that it runs over the one beside it", loc="left")
    figure.canvas.draw()
    assert overlapping(figure)  # what the check is for


def test_lines_are_told_apart_without_colour():
    shades = {}
    for (family, _), look in style.LOOKS.items():
        shades[family] = np.dot(matplotlib.colors.to_rgb(look.colour), (0.2126, 0.7152, 0.0722))
    for a, b in itertools.combinations(shades.values(), 2):
        assert abs(a - b) > 0.12
    marks = [(look.marker, look.filled, look.dashes) for look in style.LOOKS.values()]
    assert len(set(marks)) == len(marks)


def files(folder):
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}


def test_drawing_twice_gives_the_same_bytes_at_any_time_for_any_user(monkeypatch, tmp_path):
    written(tmp_path / "records")
    found = []
    for number in range(2):
        monkeypatch.setenv("SOURCE_DATE_EPOCH", str(10**9 + number))
        with matplotlib.rc_context({"axes.linewidth": 1 + number, "font.size": 9 + number}):
            run(monkeypatch, tmp_path / "records", tmp_path / f"{number}")
        found.append(files(tmp_path / f"{number}"))
    assert list(found[0]) == ["fig6_learning.pdf", "fig6_learning.png", "fig6_learning.txt"]
    assert found[0] == found[1]
    for source in ("data_efficiency/brain_mri.jsonl", "training_curves/brain_mri.jsonl"):
        for ending in ("pdf", "png"):
            assert f"{source} sha256:".encode() in found[0][f"fig6_learning.{ending}"]
            assert str(tmp_path).encode() not in found[0][f"fig6_learning.{ending}"]
    assert b"/FontFile2" in found[0]["fig6_learning.pdf"]  # text is text
    assert b"/Type3" not in found[0]["fig6_learning.pdf"]
    picture = image_io.imread(tmp_path / "0" / "fig6_learning.png")
    assert picture.shape[1] == round(300 * style.WIDTH_INCHES)


def test_a_file_saved_with_its_date_would_not_be_the_same(monkeypatch, tmp_path):
    figure, found = drawn(written(tmp_path)), []
    for number in range(2):
        monkeypatch.setenv("SOURCE_DATE_EPOCH", str(10**9 + number))
        figure.savefig(tmp_path / "dated.pdf")
        found.append((tmp_path / "dated.pdf").read_bytes())
    assert found[0] != found[1]
    assert b"/Type3" in found[0]  # matplotlib's own way, out of the house


# ---------------------------------------------------------------- the caption


def test_every_number_of_the_caption_is_counted_in_the_records(tmp_path):
    for study in benchmark.STUDIES:
        training = TrainingSettings(steps=700)
        lines = runs_of(study, (4, 9), 1, count=17, training=training)
        write(tmp_path / "data_efficiency" / f"{study.set}.jsonl", lines)
    write(tmp_path / "training_curves" / "brain_mri.jsonl", curves_of((7,), 1))
    first, *said = fig6.caption(panels_of(tmp_path)).splitlines()
    assert "2 % of the width" in first
    assert said[0].startswith("(a) brain_mri, 64 px: T1 and T2, slices evenly spaced")
    for words in (
        "encoders trained for 700 steps each",
        "2 training seeds",
        "34 test pairs each (17 a direction)",
        "4 units (runs of",
    ):
        assert words in said[0]
    assert "17 units (blocks of one field); trained on Made Up, threads: 1." in said[1]
    assert "50 validation pairs" in said[2]
    assert "5 minutes" in said[2]
    assert "over 1 training seed;" in said[2]
    assert "thin lines" not in said[2]


# ---------------------------------------------------------------- what is missing


def test_a_missing_run_is_named_with_the_command_that_makes_it(tmp_path):
    study = benchmark.STUDIES[0]
    path = tmp_path / "brain_mri.jsonl"
    with pytest.raises(ValueError, match="found none; run python benchmarks/data_eff"):
        fig6.efficiency(path, "brain_mri")
    lines = [
        line
        for line in runs_of(study, (0, 2), 0)
        if (line["settings"]["amount"], line["settings"]["training"]["seed"]) != (6, 2)
    ]
    write(path, lines)
    message = (
        f"{path}: expected a run of steerable on 6 slices with seed 2, found none; run python "
        "benchmarks/data_efficiency.py --data DATA --set brain_mri --seeds 2 --minutes 1.5 "
        f"--pairs 12 --records {tmp_path}."
    )
    with pytest.raises(ValueError, match="found none") as raised:
        fig6.efficiency(path, "brain_mri")
    assert str(raised.value) == message


def test_a_missing_curve_is_named_with_the_command_that_makes_it(tmp_path):
    with pytest.raises(ValueError, match="expected records of training curves, found none; run"):
        fig6.curves(tmp_path)
    path = tmp_path / "a.jsonl"
    every = curves_of((0, 1), 0)
    for name, gone in (("C8", (0, 1)), ("C8", (0,)), ("tiramisu", (0,))):
        left = [
            line
            for line in every
            if line["settings"]["name"] != name or line["settings"]["training"]["seed"] not in gone
        ]
        write(path, left)
        with pytest.raises(ValueError, match=f"expected a curve of {name} with seed 0") as raised:
            fig6.curves(tmp_path)
        assert str(raised.value).endswith(
            "run python benchmarks/training_curves.py --set DATA/brain_mri --modalities T1 T2 "
            f"--width 64 --minutes 5 --encoders {name} --seed 0 --out {path}."
        )


def test_a_curve_is_about_the_width_that_validation_had(tmp_path):
    lines = curves_of((0,), 0, name="tissue_core", modalities=("bright_field", "second_harmonic"))
    for line in lines:
        line["settings"]["validation_width"] = 48
    path = tmp_path / "a.jsonl"
    write(path, lines)
    (panel,) = fig6.curves(tmp_path)
    assert panel.title == "tissue_core, 48 px"
    write(path, [line for line in lines if line["settings"]["name"] != "C8"])
    with pytest.raises(ValueError, match="--width 64 --masks valid --validation-width 48 --min"):
        fig6.curves(tmp_path)


def test_of_a_set_where_one_encoder_was_trained_that_one_is_drawn(tmp_path):
    written(tmp_path)
    for name in ("motor_neurons", "tissue_core"):
        lines = curves_of((0,), 1, name=name, modalities=("A", "B"))
        alone = [line for line in lines if line["settings"]["name"] == "C8"]
        write(tmp_path / "training_curves" / f"{name}.jsonl", alone)
    panels = panels_of(tmp_path)
    assert [len(panel.lines) for panel in panels] == [2, 2, 3, 1, 1]
    figure = drawn(tmp_path)
    assert not style.overlapping(figure)
    *shown, spare = figure.axes
    assert all(axes.get_lines() for axes in shown)
    assert len(shown) == 5
    assert not spare.axison
    assert len(spare.get_legend().get_texts()) == 4
    legend = spare.get_legend().get_window_extent(figure.canvas.get_renderer())
    assert not any(legend.overlaps(axes.get_window_extent()) for axes in shown)


def test_runs_of_two_budgets_are_not_drawn_together(tmp_path):
    study = benchmark.STUDIES[0]
    other = runs_of(study, (3,), 0, training=TrainingSettings(minutes=5.0))
    write(tmp_path / "brain_mri.jsonl", runs_of(study, (0, 1), 0) + other)
    with pytest.raises(ValueError, match="expected runs of one budget and list, found 2"):
        fig6.efficiency(tmp_path / "brain_mri.jsonl", "brain_mri")


def test_the_commands_that_are_named_are_understood(monkeypatch, tmp_path):
    """Options that the messages name are those of the scripts."""
    command = "--data D --set brain_mri --seeds 2 --minutes 1.5 --pairs 12 --records R"
    monkeypatch.setattr(sys, "argv", ["script", *command.split()])
    assert benchmark.arguments().records == Path("R")
    monkeypatch.setattr(sys, "argv", ["script", "--set", str(tmp_path / "none"), "--encoders", "x"])
    with pytest.raises(SystemExit):
        learning.main()
