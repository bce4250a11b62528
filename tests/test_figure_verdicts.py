"""Figures 4 and 5 say what experiments' records say, and name what is missing."""

import sys
from dataclasses import replace
from functools import partial

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from made_up_records import drawn_twice, runs_of_experiment, script, write_lines
from matplotlib.backends.backend_agg import FigureCanvasAgg
from skimage import io

from equicomir.experiment.rows import runs_of
from equicomir.experiment.sets import SETS
from equicomir.experiment.trade_off import front, trade_off
from equicomir.experiment.verdict import judged

script("paper_figures", "script")
style = script("paper_figures", "style")
sources = script("paper_figures", "sources")
runs = script("paper_figures", "runs")
fig4 = script("paper_figures", "fig4_verdicts")
fig5 = script("paper_figures", "fig5_detail")

NEURONS, TISSUE = (
    next(one for one in SETS if one.name == name) for name in ("motor_neurons", "tissue_core")
)
CHANCES = {
    "h5": {"no filter": 0.5, "training alone": 0.95, "half": 0.95, "registration alone": 0.1},
    "h6": {"C1": 0.02, "C8": 0.95},
}


def written(folder, number=0):
    for name in ("h5", "h6"):
        lines = []
        for data_set in (NEURONS, TISSUE) if name == "h6" else (NEURONS,):
            options = {"number": number, "chances": CHANCES[name], "count": 24}
            lines += runs_of_experiment(runs.stated(name), data_set, **options)
        np.random.default_rng(number).shuffle(lines)  # processes that share the runs
        write_lines(folder / name / "records.jsonl", lines)
    return folder


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return written(tmp_path_factory.mktemp("records"))


@pytest.fixture(scope="module")
def made(folder):
    return fig4.blocks(folder)


def drawn(script_, found):
    with style.house():
        figure = script_.draw(found)
        FigureCanvasAgg(figure).draw()
    return figure


def runner(script_):
    def run(monkeypatch, records, out):
        monkeypatch.setattr(sys, "argv", ["fig", "--records", str(records), "--out", str(out)])
        script_.main()

    return run


# ---------------------------------------------------------------- verdicts


def test_the_verdicts_are_those_that_the_experiment_prints(folder):
    made = fig4.blocks(folder)
    assert [block.experiment.name for block in made] == ["h5", "h6"]
    experiment = runs.stated("h5")
    of = runs_of(experiment, [NEURONS], experiment.default, folder / "h5" / "records.jsonl")
    assert made[0].found == judged(experiment, [NEURONS], of, seeds={NEURONS.name: 3})
    assert len(made[1].found) == 2 * len(runs.stated("h6").comparisons)
    first = next(one for one in made[1].found if one.comparison.than == "C1")
    assert fig4.verdict(first) == "inconclusive"
    assert fig4.why(first).startswith("reference at ")


def test_lines_marks_and_words_of_the_verdicts(folder):
    made = fig4.blocks(folder)
    figure = drawn(fig4, made)
    (axes,) = figure.axes
    every = [one for block in made for one in block.found]
    assert figure.get_size_inches()[0] == style.WIDTH_INCHES
    labels = [label.get_text() for label in axes.get_yticklabels()]
    assert labels == [f"{one.comparison.better} over {one.comparison.than}" for one in every]
    end = fig4.reach(made)
    assert axes.get_xlim() == (-end, end)
    marks = [of.marker for of in fig4.LOOKS.values()]
    estimates = [line for line in axes.get_lines() if line.get_marker() in marks]
    assert [line.get_xdata()[0] for line in estimates] == [100 * o.found.estimate for o in every]
    assert [line.get_marker() for line in estimates] == [
        fig4.LOOKS[fig4.verdict(one)].marker for one in every
    ]
    spans = [line for line in axes.get_lines() if len(set(line.get_xdata())) == 2]
    assert len(spans) == len(every)
    for line, one in zip(spans, every, strict=True):
        expected = np.clip([100 * one.judgement.low, 100 * one.judgement.high], -100, 100)
        assert max(abs(expected)) <= end
        assert line.get_xdata() == pytest.approx(expected)
    said = [text.get_text() for text in axes.texts]
    for one in every:
        assert set(fig4.said_beside(one)) <= set(said)
    headings = [words for words in said if words.startswith("h")]
    assert [words.split(":")[0] for words in headings] == [
        *("h5, motor_neurons", "h6, motor_neurons", "h6, tissue_core")
    ]
    assert len(marks) == len(set(marks))  # told apart without colour


@given(st.integers(1, 60))
def test_pages_hold_every_set_once_and_whole(made, lines):
    pages = fig4.pages(made, lines)
    parts = [block for page in pages for block in page]
    assert [one for block in parts for one in block.found] == [
        one for block in made for one in block.found
    ]
    sets = [{one.data_set.name for one in block.found} for block in parts]
    assert all(len(of) == 1 for of in sets)
    assert len(parts) == 3
    for page in pages:
        assert len(page) == 1 or sum(len(block.found) + 1 for block in page) <= lines


def test_what_does_not_fit_a_page_goes_on_in_another_file(folder, monkeypatch, tmp_path):
    monkeypatch.setattr(fig4, "pages", partial(fig4.pages, lines=7))
    runner(fig4)(monkeypatch, folder, tmp_path)
    pictures = sorted(path.name for path in tmp_path.glob("*.png"))
    assert pictures == ["fig4_verdicts.png", "fig4_verdicts_2.png", "fig4_verdicts_3.png"]


@pytest.mark.parametrize(
    ("said", "reference", "verdict", "words"),
    [
        ("supported", 0.5, "supported", "supported"),
        ("refuted", 0.5, "refuted", "refuted"),
        ("inconclusive: too small", 0.5, "inconclusive", "too small"),
        ("supported", 0.9, "inconclusive", "reference at 90 %"),
        ("refuted", 0.1, "inconclusive", "reference at 10 %"),
    ],
)
def test_a_verdict_has_its_mark_and_without_room_there_is_none(
    folder, said, reference, verdict, words
):
    block = fig4.blocks(folder)[0]
    first = block.found[0]
    judgement = replace(first.judgement, verdict=said, low=0.15, high=1.4)
    one = replace(first, judgement=judgement, reference=reference)
    assert (fig4.verdict(one), fig4.why(one)) == (verdict, words)
    assert fig4.ends(one) == (15, 100)  # no difference is greater
    figure = drawn(fig4, [replace(block, found=[one])])
    look = fig4.LOOKS[verdict]
    (mark,) = (m for m in figure.axes[0].get_lines() if m.get_marker() == look.marker)
    assert mark.get_color() == look.colour
    assert figure.legends[0].get_texts()[0].get_text() == verdict


def test_an_interval_that_nothing_is_known_of_ends_in_carets(tmp_path):
    lines = runs_of_experiment(runs.stated("h5"), NEURONS, chances=CHANCES["h5"])
    alone = [line for line in lines if line["settings"]["training"]["seed"] == 0]
    write_lines(tmp_path / "h5" / "records.jsonl", alone)
    made = fig4.blocks(tmp_path)
    assert {fig4.numbers(one).split(" (")[1] for one in made[0].found} == {"no interval)"}
    figure = drawn(fig4, made)
    carets = [line.get_marker() for line in figure.axes[0].get_lines() if line.get_marker() in "<>"]
    assert sorted(carets) == ["<"] * 5 + [">"] * 5
    assert not style.overlapping(figure)
    assert "1 training seed" in fig4.caption(made)


def test_every_experiment_that_is_stated_has_a_place_and_a_mark():
    names = {runs.stated(folder).name for folder in runs.SCRIPTS}
    assert names == {f"h{n}" for n in range(8)} == set(fig5.LOOKS)
    for look in fig5.LOOKS.values():
        assert look.colour
    assert len({look.marker for look in fig5.LOOKS.values()}) == 8


# ---------------------------------------------------------------- detail


def test_points_are_means_over_seeds_of_what_learned(folder):
    neurons, tissue = fig5.panels(folder)
    assert (neurons.data_set, tissue.data_set) == (NEURONS, TISSUE)
    experiments = [runs.stated(name) for name in ("h5", "h6")]
    assert len(neurons.points) == sum(len(one.variants) for one in experiments)
    assert len(tissue.points) == len(experiments[1].variants)
    h5 = runs.standing(folder, ["h5"])[0].at(neurons.width)
    for variant, of in h5.items():
        (one,) = (p for p in neurons.points if p.row.variant == f"h5: {variant}")
        assert one.detail == [run["detail"]["coherence_between"] for run in of]
        good = [
            [
                pair["corner_error"] is not None and pair["corner_error"] <= 0.02 * neurons.width
                for pair in run["pairs"]
            ]
            for run in of
        ]
        assert one.success == pytest.approx([100 * np.mean(each) for each in good])
        assert one.at == pytest.approx((np.mean(one.detail), 100 * np.mean(good)))


def test_points_labels_and_the_front_of_the_panels(folder):
    found = fig5.panels(folder)
    figure = drawn(fig5, found)
    assert figure.get_size_inches()[0] == style.WIDTH_INCHES
    assert len(figure.axes) == 2
    for letter, axes, panel in zip("ab", figure.axes, found, strict=True):
        title = f"({letter}) {panel.data_set.name}, {panel.width} px"
        assert axes.get_title(loc="left") == title
        assert axes.get_xlabel() == "fine detail shared: coherence of representations, 0 to 1"
        assert axes.get_ylabel() == "success, %"
        lines = axes.get_lines()
        marks = [line for line in lines if line.get_marker() not in ("None", "")]
        assert [(m.get_xdata()[0], m.get_ydata()[0]) for m in marks] == [
            one.at for one in panel.points
        ]
        best = fig5.best_of(panel.points)
        assert [one.row for one in best] == front([one.row for one in panel.points])
        (joined,) = (line for line in lines if line.get_color() == "0.5")
        (chance,) = (line for line in lines if line.get_color() == "0.6")
        assert list(chance.get_xdata()) == pytest.approx([0.0012] * 2)
        assert list(zip(*joined.get_data(), strict=True)) == [one.at for one in best]
        numbers = [text.get_text() for text in axes.texts]
        assert numbers == [str(n + 1) for n in range(len(best))]
        names = [text.get_text() for text in axes.get_legend().get_texts()]
        experiments = dict.fromkeys(one.experiment for one in panel.points)
        assert names == [*experiments, "by chance", *(one.row.variant for one in best)]


def test_raw_images_have_no_point(tmp_path):
    lines = runs_of_experiment(runs.stated("h0_orderings"), NEURONS, count=4)
    write_lines(tmp_path / "h0_orderings" / "records.jsonl", lines)
    (panel,) = fig5.panels(tmp_path)
    assert len(panel.points) == 12  # of 17 variants, five of raw images
    raw = [line for line in lines if line["settings"]["encoder"] is None]
    write_lines(tmp_path / "h0_orderings" / "records.jsonl", raw)
    with pytest.raises(ValueError, match="found raw images alone"):
        fig5.panels(tmp_path)


# ---------------------------------------------------------------- both


@pytest.mark.parametrize(("script_", "read"), [(fig4, fig4.blocks), (fig5, fig5.panels)])
def test_no_text_lies_on_another_and_no_legend_on_a_point(folder, script_, read):
    figure = drawn(script_, read(folder))
    assert not style.overlapping(figure)
    renderer = figure.canvas.get_renderer()
    legends = [*figure.legends, *(a.get_legend() for a in figure.axes if a.get_legend())]
    assert legends
    for legend in legends:
        box = legend.get_window_extent(renderer)
        assert not any(box.overlaps(axes.get_window_extent()) for axes in figure.axes)
        assert box.x1 <= figure.bbox.x1


@pytest.mark.parametrize("script_", [fig4, fig5])
def test_drawing_twice_gives_the_same_bytes_with_the_sources_in_them(
    folder, script_, monkeypatch, tmp_path
):
    found = drawn_twice(runner(script_), monkeypatch, folder, tmp_path)
    stem = script_.__name__
    names = [f"{stem}.{ending}" for ending in ("pdf", "png", "txt")]
    assert list(found[0]) == names
    assert found[0] == found[1]
    pdf, png = (found[0][name] for name in names[:2])
    assert b"/FontFile2" in pdf  # text is text
    assert b"/Type3" not in pdf
    for source in ("h5/records.jsonl", "h6/records.jsonl"):
        assert f"{source} sha256:".encode() in png
        assert source.encode() in pdf
    assert str(folder).encode() not in pdf + png  # no folder of a machine
    assert io.imread(tmp_path / "0" / names[1]).shape[1] == round(300 * style.WIDTH_INCHES)


def test_every_number_of_the_captions_is_counted_in_the_records(folder):
    said = fig4.caption(fig4.blocks(folder))
    for words in (
        "15 comparisons of 2 experiments",
        "less than 30 or more than 80 %; too small: fewer than 3 training seeds or 5 units",
        "h5: motor_neurons, 3 training seeds, 48 test pairs of 24 scenes in 24 units (blocks of",
        "120 steps a training.",
        "tissue_core, 3 training seeds",
        "Not in the records: h0_orderings, h1, h2, h3, h4, h7.",
    ):
        assert words in said
    panels = fig5.panels(folder)
    said = fig5.caption(panels)
    for words in (
        "above 0.25 cycles per px",
        f"motor_neurons, {panels[0].width} px: 19 variants, 3 training seeds each, 48 test pairs",
        "trained for: h5 120 steps, h6 100 steps.",
        "tissue_core, 128 px: 10 variants",
        *(f"{trade_off([one.row for one in panel.points])}.\n" for panel in panels),
    ):
        assert words in said


@pytest.mark.parametrize("read", [fig4.blocks, fig5.panels])
def test_what_is_missing_is_named_with_the_command_that_makes_it(tmp_path, read):
    with pytest.raises(ValueError, match="expected the records of any of h0_orderings") as said:
        read(tmp_path)
    wanted = f"run python experiments/h7_one_filter.py --data DATA --out {tmp_path / 'h7'}."
    assert str(said.value).endswith(wanted)
    assert "\n" not in str(said.value)
