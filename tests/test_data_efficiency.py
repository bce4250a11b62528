"""The benchmark of little data: which data are taken, and that no run is lost or made twice."""

import doctest
import importlib.util
import itertools
import json
import sys
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from skimage import io as image_io

from equicomir.evaluation import records, units
from equicomir.evaluation.displacements import TestPair, draw_pairs, write_pairs
from equicomir.evaluation.validation import register_by
from equicomir.images.pairs import Scene, read_scenes
from equicomir.representations import EncoderSettings
from equicomir.training.run import Run
from equicomir.training.settings import TrainingSettings

SCRIPT = Path(__file__).parent.parent / "benchmarks" / "data_efficiency.py"
SPEC = importlib.util.spec_from_file_location("data_efficiency_tested", SCRIPT)
benchmark = importlib.util.module_from_spec(SPEC)
sys.modules["data_efficiency_tested"] = benchmark  # dataclasses look their module up
SPEC.loader.exec_module(benchmark)

SLICES, REGION = benchmark.STUDIES
TINY = replace(SLICES, set="tiny", modalities=("A", "B"), width=32, amounts=(1, 2))
SIZE = 72  # of its images, px

amounts_drawn = st.lists(st.integers(1, 60), min_size=1, max_size=5, unique=True)


def nested(chosen):
    """Whether every amount lies within the next greater one."""
    ordered = [set(chosen[amount]) for amount in sorted(chosen)]
    return all(small <= large for small, large in itertools.pairwise(ordered))


def even(chosen):
    """Whether the slices of an amount are all equally far apart."""
    return len(set(np.diff(chosen))) <= 1


def over_the_whole(chosen, total):
    """Whether neither end, nor the middle, is left out by much more than slices are apart."""
    step = total // len(chosen)
    middle = abs(np.mean(chosen) - (total - 1) / 2)
    return chosen[0] < step and chosen[-1] >= total - step and middle <= max(0.5, step / 3)


# ---------------------------------------------------------------- which slices, which region


@given(amounts_drawn, st.integers(0, 40))
def test_slices_are_nested_and_as_many_as_asked_for(amounts, more):
    total = max(amounts) + more
    chosen = benchmark.spread(total, amounts)
    assert nested(chosen)
    assert sorted(chosen) == sorted(amounts)
    for amount, slices in chosen.items():
        assert len(set(slices)) == amount
        assert slices == sorted(slices)
        assert 0 <= slices[0] <= slices[-1] < total
    assert chosen == benchmark.spread(total, amounts[::-1])


@given(st.integers(2, 5), st.integers(1, 4))
def test_halves_are_evenly_spaced_over_the_patient(least, doublings):
    amounts = [least * 2**n for n in range(doublings + 1)]
    chosen = benchmark.spread(amounts[-1], amounts)
    for slices in chosen.values():
        assert even(slices)
        assert over_the_whole(slices, amounts[-1])


def test_the_checks_see_what_is_neither_nested_nor_even():
    middles = {n: [(2 * k + 1) * 48 // (2 * n) for k in range(n)] for n in (3, 6, 12)}
    assert all(even(slices) for slices in middles.values())
    assert not nested(middles)  # each amount spread by itself
    assert not even([0, 1, 5])
    assert not over_the_whole([0, 1, 2], 48)  # the first ones
    every_16th = list(range(0, 48, 16))
    assert even(every_16th)
    assert not over_the_whole(every_16th, 48)  # begins at one end


def test_the_example_runs():
    assert doctest.testmod(benchmark) == (0, 1)


def test_the_slices_of_the_study():
    chosen = benchmark.spread(48, SLICES.amounts)
    assert chosen[3] == [10, 26, 42]
    assert chosen[6] == [2, 10, 18, 26, 34, 42]
    assert all(even(slices) for slices in chosen.values())


def scene(number, size=(20, 8), *, masked=False):
    drawn = torch.Generator().manual_seed(number)
    images = {name: torch.rand(1, *size, generator=drawn) for name in REGION.modalities}
    mask = torch.rand(*size, generator=drawn) > 0.5 if masked else None
    return Scene(f"s{number:02d}", images, mask)


@given(st.integers(0, 10**6), st.integers(1, 30), st.integers(1, 120), st.booleans())
def test_regions_are_leading_rows_nested_and_hold_a_patch(number, patch, height, masked):
    whole, before = scene(number, (height, 5), masked=masked), 0
    for share in REGION.amounts:
        (part,) = benchmark.part_of(REGION, [whole], share, patch)
        rows = part.size[0]
        assert before <= rows
        assert rows >= min(patch, height)
        assert rows == height if share == 1 else rows <= max(patch, share * height + 0.5)
        for modality, pixels in part.images.items():
            assert torch.equal(pixels, whole.images[modality][:, :rows])
        assert part.mask is None if not masked else torch.equal(part.mask, whole.mask[:rows])
        before = rows


def test_slices_are_taken_in_the_order_of_their_names():
    scenes = [scene(number) for number in range(48)]
    taken = benchmark.part_of(SLICES, scenes[::-1], 6, 96)
    assert [one.name for one in taken] == ["s02", "s10", "s18", "s26", "s34", "s42"]


def test_too_few_slices_are_one_sentence():
    with pytest.raises(ValueError, match="expected 1 to 4 training slices each"):
        benchmark.part_of(SLICES, [scene(number) for number in range(4)], 3, 96)


# ---------------------------------------------------------------- runs


@pytest.fixture
def tiny(monkeypatch, tmp_path):
    """A set, study and encoders so small that a run takes a second; gives how to run it."""
    rng = np.random.default_rng(0)
    for part, modality, name in itertools.product(
        ("train", "validation", "test"), "AB", ("z0", "z1")
    ):
        path = tmp_path / "data" / "tiny" / part / modality / f"{name}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        pixels = rng.integers(0, 255, (SIZE // 4, SIZE // 4), dtype=np.uint8)
        image_io.imsave(path, np.kron(pixels, np.ones((4, 4), np.uint8)), check_contrast=False)
    test = read_scenes([tmp_path / "data" / "tiny" / "test" / m for m in "AB"])
    pairs = draw_pairs(test, ("A", "B"), 32, 3, levels=["any"], generator=rng)
    write_pairs(tmp_path / "tiny_A_B_32.csv", pairs)
    monkeypatch.setattr(benchmark, "PAIRS", tmp_path)
    monkeypatch.setattr(benchmark, "STUDIES", (TINY,))
    small = tuple(EncoderSettings(family=f, widths=(1,)) for f in ("steerable", "plain"))
    monkeypatch.setattr(benchmark, "ENCODERS", small)
    monkeypatch.setattr(benchmark, "commit", lambda: "made up")
    settings = partial(TrainingSettings, batch=2, patch_size=32, high_pass_cutoff=None)
    monkeypatch.setattr(benchmark, "TrainingSettings", settings)

    def nothing_moved(*_):
        return np.eye(3)

    monkeypatch.setattr(benchmark, "register_by", nothing_moved)

    def run(*options):
        told = ("--data", tmp_path / "data", "--steps", 2, "--pairs", 1, "--seeds", 0, 1)
        told += ("--out", tmp_path / "out", *options)
        monkeypatch.setattr(sys, "argv", ["data_efficiency", *map(str, told)])
        benchmark.main()
        return records.read(tmp_path / "out" / "tiny.jsonl")

    return run


def never(*_, **__):
    raise AssertionError("trained what was trained")


def test_every_run_is_made_once_and_the_table_says_what_came_of_it(
    tiny, monkeypatch, capsys, tmp_path
):
    lines = tiny("--set", "tiny")
    cells = [
        (s["amount"], s["encoder"]["family"], s["training"]["seed"])
        for s in (line["settings"] for line in lines)
    ]
    assert sorted(cells) == sorted(itertools.product((1, 2), ("plain", "steerable"), (0, 1)))
    assert all(len(line["pairs"]) == 2 for line in lines)  # one a direction
    assert {len(line["training_scenes"]) for line in lines} == {1, 2}
    assert all(line["steps"] == 2 for line in lines)
    assert {"python", "torch", "equicomir"} <= lines[0]["versions"].keys()
    shown = capsys.readouterr().out
    for words in ("8/8 tiny, 2 slices, plain, seed 1: 2 steps", "tiny, A and B, 32 px", "2 steps"):
        assert words in shown
    monkeypatch.setattr(Run, "_step", never)
    assert tiny("--set", "tiny") == lines
    again = capsys.readouterr().out
    assert again.count("stands in the records") == 8
    assert again[again.index("tiny, A and B") :] == shown[shown.index("tiny, A and B") :]
    tiny("--table", "--data", tmp_path / "gone")
    assert capsys.readouterr().out.strip() in again.replace("\r", "")
    with pytest.raises(AssertionError, match="trained what was trained"):
        tiny("--set", "tiny", "--seeds", "2")  # what the check is for


def test_a_run_that_was_killed_goes_on_where_it_was(tiny, monkeypatch, tmp_path):
    real = benchmark.evaluate
    monkeypatch.setattr(benchmark, "register_by", register_by)  # in earnest, here alone

    def killed(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(benchmark, "evaluate", killed)
    with pytest.raises(KeyboardInterrupt):
        tiny("--seeds", "0")
    assert records.read(tmp_path / "out" / "tiny.jsonl") == []
    (model,) = (tmp_path / "out" / "models").iterdir()
    steps, real_step = [], Run._step
    monkeypatch.setattr(
        Run, "_step", lambda run, *rest: steps.append(run.folder.name) or real_step(run, *rest)
    )
    monkeypatch.setattr(benchmark, "evaluate", real)
    lines = tiny("--seeds", "0")
    assert lines[0]["key"] == model.name
    assert model.name not in steps
    assert len(steps) == 2 * 3
    assert all(pair["corner_error"] >= 0 for line in lines for pair in line["pairs"])


def test_what_another_process_has_is_left_to_it(tiny, capsys, tmp_path):
    path = tmp_path / "out" / "tiny.jsonl"
    lines = tiny("--seeds", "0")
    path.write_text("".join(json.dumps(line) + "\n" for line in lines[1:]))
    with records.claim(path, lines[0]["key"]):
        assert tiny("--seeds", "0") == lines[1:]
    assert "another process has it" in capsys.readouterr().out


def test_a_dry_run_lists_runs_and_cost_and_writes_nothing(tiny, capsys, tmp_path):
    assert tiny("--dry-run") == []
    shown = capsys.readouterr().out
    assert "1/8 tiny, 1 slices, steerable, seed 0: about 2 s" in shown
    assert "8 runs, about 0 minutes to go" in shown
    assert not (tmp_path / "out").exists()
    one = benchmark.tasks(SLICES, TrainingSettings(minutes=1.5), [0], 50)[0]
    assert one.expected_seconds == 90 + 100 * benchmark._SECONDS_A_PAIR


def test_the_minutes_define_a_run_only_where_there_are_no_steps():
    def key(**training):
        (task, *_) = benchmark.tasks(SLICES, TrainingSettings(**training), [0], 50)
        return records.run_key(task.settings("data"))

    assert key(steps=5, minutes=1) == key(steps=5, minutes=2, workers=3)
    assert key(minutes=1) != key(minutes=2)
    assert key(steps=5) != key(steps=6)


# ---------------------------------------------------------------- the table


def line(amount, family, seed, good):
    """A made-up record: which of its pairs succeed."""
    encoder = EncoderSettings(family=family)
    training = TrainingSettings(seed=seed, steps=9)
    task = benchmark.Task(TINY, amount, encoder, training, len(good) // 2)
    pairs = [
        {
            **asdict(TestPair("any", "A", "B", f"z{n:02d}", 0, 0, 32, 9.0, 0.0, 0.0)),
            "corner_error": 0.64 if one else 0.65,
            "seconds": 0.1,
            "failure": "",
        }
        for n, one in enumerate(good)
    ]
    return {"settings": json.loads(json.dumps(task.settings("data"))), "pairs": pairs}


def shown(lines):
    (cells,) = benchmark.grouped(lines).values()
    made = benchmark.table(cells, replace(TINY, unit=units.scenes))
    return [list(column.cells) for column in made.columns]


def test_the_table_shows_means_over_seeds_and_differences():
    good = {("steerable", 0): "1110", ("steerable", 1): "1100", ("plain", 0): "1000"}
    good |= {("plain", 1): "0100", ("plain", 5): "1111"}  # a seed that the other lacks
    lines = [line(1, *run, [c == "1" for c in word]) for run, word in good.items()]
    amount, steerable, plain, gap, seeds, units_shown = shown(lines)
    assert amount == ["1"]
    assert steerable[0].startswith("62 (")
    assert plain[0].startswith("25 (")
    assert gap[0].startswith("+38 (")
    assert (seeds, units_shown) == (["2"], ["4"])
    assert shown(lines[::-1]) == shown(lines)


def test_a_single_seed_has_an_interval_over_units_and_none_of_the_difference():
    good = {"steerable": [True, False, False, False], "plain": [True] * 4}
    columns = shown([line(2, family, 0, of) for family, of in good.items()])
    steerable, plain, gap = (column[0] for column in columns[1:4])
    assert steerable.startswith("25 (0 to ")
    assert plain == f"100 ({100 * 0.025 ** (1 / 4):.0f} to 100)"  # Clopper and Pearson, four scenes
    assert gap == "-75 (one seed)"


def test_a_seed_of_one_encoder_alone_is_no_line_yet():
    assert shown([line(1, "plain", 0, [True, False])])[0] == []


def test_other_budgets_are_other_tables():
    lines = [line(2, "plain", 0, [True, False]), line(2, "plain", 0, [True] * 4)]
    assert len(benchmark.grouped(lines)) == 2


# ---------------------------------------------------------------- mistakes of users


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--pairs", 4), "--pairs: expected 1 to 3, as many a direction as tiny_A_B_32.csv has"),
        (("--pairs", 0), "--pairs: expected 1 to 3"),
        (("--data", "/nowhere"), "expected a folder of images"),
    ],
)
def test_mistakes_are_one_sentence(tiny, options, message):
    with pytest.raises(ValueError, match=message):
        tiny(*options)


@pytest.mark.parametrize("options", [(), ("--data", "D", "--threads", "0")])
def test_mistakes_of_the_command_line(monkeypatch, capsys, options):
    monkeypatch.setattr(sys, "argv", ["data_efficiency", *options])
    with pytest.raises(SystemExit):
        benchmark.main()
    assert "expected" in capsys.readouterr().err
