"""Tables say what their records say, alike in LaTeX and Markdown, and name what is missing."""

import re
import shutil
import subprocess
import sys
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from made_up_records import baseline_lines, drawn_twice, runs_of_experiment, script, write_lines

from equicomir.evaluation import records
from equicomir.evaluation.statistics import rate
from equicomir.experiment.sets import SETS
from equicomir.representations import EncoderSettings

NEURONS = next(one for one in SETS if one.name == "motor_neurons")
ROOT = Path(__file__).parent.parent
PLAIN = EncoderSettings(family="plain")
SMALL = EncoderSettings(widths=(1, 1))

script("paper_figures", "script")
style = script("paper_figures", "style")
sources = script("paper_figures", "sources")
runs = script("paper_figures", "runs")
curves = script("paper_figures", "equivariance_curves")
methods = script("paper_figures", "methods")
tables = script("paper_figures", "tables")
table1 = script("paper_figures", "table1_methods")
table2 = script("paper_figures", "table2_encoders")
table3 = script("paper_figures", "table3_features")


def errors_line(settings, value):
    """A made-up record of the error at every angle."""
    angles = [7.5 * n for n in range(1, 25)]
    errors = [[value + angle / 1000 for angle in angles] for _ in range(2)]
    asked = {"encoder": settings and asdict(settings), "seeds": [0, 1], "angles_degrees": angles}
    return {"settings": asked, "errors": errors, "decibels": errors}


def written(folder):
    lines = runs_of_experiment(runs.stated("h0_orderings"), NEURONS)
    write_lines(folder / "h0_orderings" / "records.jsonl", lines)
    write_lines(folder / "h0_brain_mri" / "records.jsonl", baseline_lines())
    path = folder / "equivariance" / "untrained.jsonl"
    of = [(None, 0.0), (SMALL, 0.5), (EncoderSettings(), 0.25)]
    write_lines(path, [errors_line(*one) for one in of])
    return folder


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return written(tmp_path_factory.mktemp("records"))


def runner(script_, option="--records"):
    def run(monkeypatch, read, out):
        monkeypatch.setattr(sys, "argv", ["table", option, str(read), "--out", str(out)])
        script_.main()

    return run


def of_markdown(text):
    """The cells of a Markdown table, without its heading."""
    lines = [line for line in text.splitlines() if line.startswith("|")]
    return [[c.strip() for c in re.split(r"(?<!\\)\|", line)[1:-1]] for line in lines[2:]]


def of_latex(text):
    """Likewise of a LaTeX table."""
    body = text.split("\\hline\n")[2]
    return [[c.strip() for c in row.split(" & ")] for row in body.split(" \\\\\n")[:-1]]


# ---------------------------------------------------------------- one table, two languages


WORDS = st.text(st.sampled_from("ab 1.,()%&_#$|{}~^<>\\"), min_size=1).map(lambda s: f"x{s}x")


@given(st.lists(st.tuples(WORDS, WORDS, WORDS), min_size=1, max_size=4))
def test_both_languages_hold_the_same_cells(rows):
    table = tables.Table(("a", "b", "c"), rows, "Said.")
    of_page = [[cell.replace("\\|", "|") for cell in row] for row in of_markdown(table.markdown())]
    assert of_page == [[cell.strip() for cell in row] for row in rows]
    latex = of_latex(table.latex("t"))
    assert latex == [[tables.in_latex(cell).strip() for cell in row] for row in rows]


@given(WORDS)
def test_no_mark_of_latex_is_left_bare(words):
    said = tables.in_latex(words)
    without = re.sub(r"\\text\w+\{\}|\\[&%$#_{}]", "", said)
    assert not set(without) & set("&%$#_{}~^<>\\")
    assert bool(set(words) & set("&%$#_{}~^<>\\")) == (said != words)


def test_a_row_of_another_length_is_refused():
    with pytest.raises(ValueError, match=r"rows: expected 3 cells, got \['a', 'b'\]"):
        tables.Table(("1", "2", "3"), [("a", "b")], "")


# ---------------------------------------------------------------- methods


def test_every_method_has_a_line_with_its_success_and_interval(folder):
    every = methods.methods(folder)
    table = table1.table(every)
    assert table.headings[:4] == ["method", "trained for", "seeds", "pairs"]
    assert table.headings[4:] == ["level any, %", "error, px", "s a pair"]
    rows = [row for row in table.rows if len(row) > 1]
    assert [row[0] for row in rows] == [of.name for of in every]
    headings = [row[0] for row in table.rows if len(row) == 1]
    assert headings == [
        *(f"motor_neurons, {width} px, h0_orderings" for width in NEURONS.widths),
        *(f"brain_mri, {width} px, h0_baselines" for width in (64, 128)),
    ]
    for row, of in zip(rows, every, strict=True):
        errors = [p["corner_error"] for run in of.runs for p in run["pairs"]]
        good = [e for e in errors if e is not None and e <= 0.02 * of.width]
        assert abs(float(row[4].split(" ")[0]) - 100 * len(good) / len(errors)) <= 0.5001
        assert row[5] == (f"{np.median(good):.2f}" if good else "")
        assert row[2] == (f"{len(of.runs)}" if of.learned else "")
        assert row[6] == "0.25"


def test_the_interval_is_that_of_the_protocol_and_never_empty(folder):
    for of in methods.methods(folder):
        units = runs.units_of(of.runs, of.data_set)
        assert table1.success(of, "any") == rate(records.successes(of.runs), units)
        for error in (0.0, None):
            pairs = [[{**p, "corner_error": error} for p in run["pairs"]] for run in of.runs]
            of_one = [{**run, "pairs": p} for run, p in zip(of.runs, pairs, strict=True)]
            found = table1.success(replace(of, runs=of_one), "any")
            assert found.estimate == (1.0 if error == 0 else 0.0)
            assert 0 <= found.low < found.high <= 1


def test_levels_have_columns_of_their_own(tmp_path):
    experiment = runs.stated("h0_orderings")
    experiment = replace(experiment, variants=experiment.variants[:1], comparisons=())
    lines = runs_of_experiment(experiment, NEURONS, budget=experiment.full, count=3)
    write_lines(tmp_path / "h0_orderings" / "records.jsonl", lines)
    table = table1.table(methods.methods(tmp_path))
    assert [h for h in table.headings if h.startswith("level")] == [
        f"level {level}, %" for level in ("1", "2", "3", "4", "any")
    ]
    assert table.rows[1][3] == "30"


def test_every_number_of_the_caption_is_counted(folder):
    said = table1.caption(methods.methods(folder))
    for words in (
        "within 2 % of the width",
        "1 to 3 training seeds of what is learned",
        "motor_neurons: 12 scenes, 12 units (blocks of one field)",
        "brain_mri: 20 scenes, 4 units (runs of",
    ):
        assert words in said


# ---------------------------------------------------------------- encoders


def test_encoders_have_their_own_size_and_the_errors_of_their_records(folder):
    stands = runs.standing(folder, ["h0_orderings"])
    found = table2.lines(folder, stands)
    by_settings = {of.settings: of for of in found}
    assert len(by_settings) == len(found)
    assert list(by_settings)[:2] == [SMALL, EncoderSettings()]
    assert {of.settings.family for of in found} == {
        *("steerable", "plain", "roto_translation", "tiramisu")
    }
    small, c8, plain = (by_settings[of] for of in (SMALL, EncoderSettings(), PLAIN))
    assert small.untrained == pytest.approx([0.515, 0.53, 0.545])
    assert (small.trained, plain.untrained) == (None, [])
    assert c8.parameters < plain.parameters
    # Once exported it is the same network, but for the channels of its fields.
    assert c8.multiply_adds == pytest.approx(plain.multiply_adds, rel=0.05)
    assert c8.trained.seconds == pytest.approx(0.6)
    of = stands[0].at(128)["steerable"]
    each = [list(run["equivariance_error"].values()) for run in of]
    assert c8.trained.errors == pytest.approx(np.mean(each, axis=(0, 1)))
    table = table2.table(found, 2, stands)
    assert len(table.headings) == 5 + 2 * 3
    assert table.rows[0][:3] == ["steerable C8", "1, 1", str(small.parameters)]
    for words in ("2 seeds of weights", "h0 on motor_neurons, 100 steps", "Made Up, threads: 1"):
        assert words in table.caption


def test_multiply_adds_are_those_of_the_convolutions():
    settings = EncoderSettings(family="plain", widths=(1, 1), kernel_size=3)
    parameters, multiply_adds = table2.size(settings)
    encoder = settings.make(1, generator=None)
    counted = []
    for module in encoder.modules():
        if hasattr(module, "kernel_size") and hasattr(module, "weight"):
            module.register_forward_hook(
                lambda m, x, y: counted.append(m.weight[0].numel() * y.numel())
            )
    encoder(table2.torch.zeros(1, 1, 128, 128) + 1)
    assert multiply_adds == sum(counted)
    assert parameters == sum(p.numel() for p in encoder.parameters())


def test_without_experiments_encoders_are_as_they_begin(tmp_path):
    write_lines(tmp_path / "equivariance" / "untrained.jsonl", [errors_line(SMALL, 0.5)])
    (line,) = table2.lines(tmp_path, [])
    said = table2.caption([line], 2, [])
    assert said.endswith("of plane waves; no scene).")
    assert len(table2.table([line], 2, []).headings) == 4 + 3  # no empty column


# ---------------------------------------------------------------- what tools do


def test_the_comparison_is_that_of_the_page():
    table = table3.features(ROOT / "docs" / "comparison.md")
    assert table.headings == [
        *("tool", "learns", "needs aligned pairs", "starts from", "finds", "dimensions")
    ]
    assert [row[0] for row in table.rows][:2] == ["equicomir", "elastix, SimpleElastix, ITKElastix"]
    page = (ROOT / "docs" / "comparison.md").read_text()
    assert all(" | ".join(row) in page for row in table.rows)


# ---------------------------------------------------------------- all


@pytest.mark.parametrize("script_", [table1, table2, table3])
def test_writing_twice_gives_the_same_bytes_with_the_sources_in_them(
    folder, script_, monkeypatch, tmp_path
):
    read, source = folder, "equivariance/untrained.jsonl"
    if script_ is table3:
        read, source = ROOT / "docs", "comparison.md"
    elif script_ is table1:
        source = "h0_orderings/records.jsonl"
    else:
        monkeypatch.setattr(table2, "EXPERIMENTS", ("h6",))  # of which none stands: quick
    run = runner(script_, "--docs" if script_ is table3 else "--records")
    found = drawn_twice(run, monkeypatch, read, tmp_path)
    stem = script_.__name__
    assert list(found[0]) == [f"{stem}.md", f"{stem}.tex"]
    assert found[0] == found[1]
    for content in found[0].values():
        assert f"{source} sha256:".encode() in content
        assert str(folder).encode() not in content  # no folder of a machine
    latex = found[0][f"{stem}.tex"].decode()
    assert f"\\label{{tab:{stem.partition('_')[2]}}}" in latex


def test_what_is_missing_is_named_with_the_command_that_makes_it(tmp_path):
    with pytest.raises(ValueError, match=r"found none; run python experiments/h0_orderings\.py"):
        methods.methods(tmp_path)
    with pytest.raises(ValueError, match="expected errors of encoders, found none; run") as said:
        table2.untrained(tmp_path)
    assert str(said.value).endswith(f"python benchmarks/equivariance.py --records {tmp_path}.")
    with pytest.raises(ValueError, match="expected a page with a table of tools, found none"):
        table3.features(tmp_path / "comparison.md")


def test_make_draws_what_it_can_and_names_the_rest(tmp_path):
    shutil.copy(ROOT / "Makefile", tmp_path)
    for name in ("setup.cfg", "setup.py", "constraints.txt"):
        (tmp_path / name).write_text("")
    (tmp_path / ".venv" / "bin").mkdir(parents=True)
    (tmp_path / ".venv" / "bin" / "python").symlink_to(sys.executable)
    (tmp_path / ".venv" / ".ready").write_text("")
    folder = tmp_path / "paper_figures"
    folder.mkdir()
    works = "from pathlib import Path\nPath(__file__).with_suffix('.drawn').write_text('')\n"
    fails = "import sys\nsys.exit('one sentence')\n"
    scripts = {"fig1_a": works, "fig2_b": fails, "fig3_c": works, "table1_d": works}
    for name, text in scripts.items():
        (folder / f"{name}.py").write_text(text)
    (folder / "tables.py").write_text(fails)  # is no script
    command = ["make", "figures", f"PYTHON={sys.executable}"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode != 0
    assert "one sentence" in done.stderr
    assert "for the reason it gives above: paper_figures/fig2_b.py\n" in done.stderr
    drawn = sorted(path.stem for path in folder.glob("*.drawn"))
    assert drawn == ["fig1_a", "fig3_c", "table1_d"]
    (folder / "fig2_b.py").write_text(works)
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
