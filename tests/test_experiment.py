"""Experiments: no run twice, none lost, nothing after a failed gate, and verdicts from records."""

import os
import signal
import threading
import time
from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from equicomir import properties
from equicomir.evaluation import records
from equicomir.evaluation.alignment import Outcome
from equicomir.evaluation.displacements import TestPair
from equicomir.evaluation.records import successes
from equicomir.experiment import claims as asked
from equicomir.experiment import frame, work
from equicomir.experiment.claims import claims
from equicomir.experiment.plan import (
    Budget,
    Comparison,
    Experiment,
    Registration,
    Variant,
    tasks,
)
from equicomir.experiment.rows import row, runs_of, seed_of
from equicomir.experiment.sets import EMBEDDED, SETS, DataSet
from equicomir.experiment.standing import standing
from equicomir.experiment.verdict import judged, sentence
from equicomir.experiment.work import learned_from, run
from equicomir.gate import check
from equicomir.losses.weighted import Penalties
from equicomir.representations import EncoderSettings
from equicomir.training.settings import TrainingSettings
from equicomir.training.start import new_model

LISTS = Path(__file__).parent.parent / "benchmarks" / "pairs"
SMALL = EncoderSettings(widths=(1, 1))
FAST = TrainingSettings(patch_size=32, batch=2, high_pass_cutoff=0.2)
TINY = Budget(seeds=2, steps=2, pairs=1, gate_examples=1)
TRIED = Experiment(
    name="tried",
    hypothesis="that this runs",
    refuted_if="it does not",
    variants=(
        Variant("steerable", SMALL, FAST),
        Variant("filtered", SMALL, FAST, Registration(cutoff=0.1)),
        Variant("plain", replace(SMALL, family="plain"), FAST),
    ),
    comparisons=(Comparison("steerable", than="plain", by=0.1),),
    default=TINY,
    full=TINY,
)


def test_every_variant_is_run_with_its_first_seed_before_any_with_the_second():
    planned = tasks(TRIED, [EMBEDDED], TINY)
    assert [task.training.seed for task in planned] == [0, 0, 1, 1]
    assert [name for name, _ in planned[0].registrations] == [
        "steerable",
        "filtered",
    ]  # one training
    assert {task.training.steps for task in planned} == {2}


def test_a_comparison_of_what_is_no_variant_is_refused():
    with pytest.raises(ValueError, match=r"comparisons: expected one of .*'plane'"):
        replace(TRIED, comparisons=(Comparison("plane", than="plain", by=0.1),))
    with pytest.raises(ValueError, match="variants: expected different names"):
        replace(TRIED, variants=TRIED.variants[:1] * 2)


def test_a_run_is_recorded_once_and_then_stands(tmp_path):
    task = tasks(TRIED, [EMBEDDED], TINY)[0]
    assert run(task, None, LISTS, tmp_path) == "run"
    lines = records.read(tmp_path / "records.jsonl")
    assert [line["variant"] for line in lines] == ["steerable", "filtered"]
    for line in lines:
        assert len(line["pairs"]) == 2
        assert line["gate"]
        assert all(claim["held"] for claim in line["gate"])
        assert [len(of) for of in line["equivariance_error"].values()] == [3, 3]
        assert 0 <= line["detail"]["coherence_between"] <= 1
        assert line["settings"]["training"]["seed"] == 0
    assert run(task, None, LISTS, tmp_path) == "stood"
    another = replace(task, training=replace(task.training, seed=1))
    with records.claim(tmp_path / "records.jsonl", claimed_as(another, lines[0])):
        assert run(another, None, LISTS, tmp_path) == "elsewhere"
    assert len(records.read(tmp_path / "records.jsonl")) == 2


def claimed_as(task, line):
    """The lock of a task, from the data of a record."""
    names = [name for name, _ in task.registrations]
    return records.run_key({**task.learned(line["settings"]["data"]), "of": names})


def test_after_a_failed_gate_nothing_is_trained(tmp_path, monkeypatch):
    def broken(model, settings):
        return [properties.Property("the sky is green", lambda case: 1.0, 1e-9)]

    monkeypatch.setattr(work, "claims", broken)
    monkeypatch.setattr(work, "train", lambda *_, **__: pytest.fail("trained"))
    task = tasks(TRIED, [EMBEDDED], TINY)[0]
    assert run(task, None, LISTS, tmp_path) == "gate"
    (line,) = records.read(tmp_path / "records.jsonl")
    assert line["gate"][0]["name"] == "the sky is green"
    assert not line["gate"][0]["held"]
    assert line["pairs"] == []
    assert "key" not in line


def test_a_third_modality_is_learned_from_lacked_and_registered(tmp_path):
    variants = (
        Variant("two", SMALL, FAST),
        Variant("three", SMALL, FAST, learns=(0, 1, 2)),
        Variant("half", SMALL, FAST, learns=(0, 1, 2), lacking=0.5),
        Variant("third", SMALL, FAST, Registration(between=(0, 2)), learns=(0, 2)),
    )
    tried = replace(TRIED, variants=variants, comparisons=())
    budget = replace(TINY, seeds=1, part="validation")
    planned = tasks(tried, [EMBEDDED], budget)
    assert [task.modalities for task in planned] == [
        ("haematoxylin", "dab"),
        *[("haematoxylin", "dab", "eosin")] * 2,
        ("haematoxylin", "eosin"),
    ]
    of_half = learned_from(planned[2], EMBEDDED.read(None, planned[2].modalities))
    assert [list(scene.images) for scene in of_half] == [
        ["haematoxylin", "dab", "eosin"],
        ["haematoxylin", "dab"],
    ]
    assert [run(task, None, LISTS, tmp_path) for task in planned] == ["run"] * 4
    lines = records.read(tmp_path / "records.jsonl")
    assert len({line["key"] for line in lines}) == 4
    assert {pair["scene"] for line in lines for pair in line["pairs"]} == {"top_right"}
    ways = [[(pair["fixed"], pair["moving"]) for pair in line["pairs"]] for line in lines]
    assert ways[2] == [("haematoxylin", "dab"), ("dab", "haematoxylin")]
    assert ways[3] == [("haematoxylin", "eosin"), ("eosin", "haematoxylin")]


def test_a_set_without_a_third_modality_says_so():
    tissue = next(one for one in SETS if one.name == "tissue_core")
    tried = replace(TRIED, variants=(Variant("three", learns=(0, 1, 2)),), comparisons=())
    with pytest.raises(ValueError, match="tissue_core: expected a set of at least 3 modalities"):
        tasks(tried, [tissue], TINY)


@pytest.mark.parametrize(
    "change",
    [
        {"high_pass_cutoff": None},
        {"unfiltered": 0.3},
        {"unfiltered": 1.0},
        {"similarity": "cosine", "temperature": 0.1},
        {"similarity": "correlation", "unfiltered": 0.5},
        {"shift_pixels": 2},
        {"shift_pixels": 1, "unfiltered": 0.5},
        {"coarse_first": 0.5},
        {"high_pass_family": "butterworth", "patch_size": 64},
        {"high_pass_family": "ideal", "patch_size": 64},
    ],
)
def test_the_gate_knows_every_loss_and_sees_another_one(change, monkeypatch):
    settings = replace(FAST, **change)
    parts = EMBEDDED.read(None)
    model = new_model(parts.train, SMALL, settings)
    verdicts = [check(claim, examples=2) for claim in claims(model, settings)]
    assert all(verdict.held for verdict in verdicts), [v.name for v in verdicts if not v.held]
    # Trained by another temperature than the settings say, it would be another loss.
    warmer = replace(settings, temperature=2 * settings.temperature)
    monkeypatch.setattr(asked, "objective", lambda _: right_objective(warmer))
    broken = [v.name for v in map(check, claims(model, settings)) if not v.held]
    losses = 2 if settings.coarse_first else 1
    assert broken == ["loss: equals its naive double loop"] * losses


right_objective = asked.objective


def write(path, variant, task, width, errors, places):
    """A made-up record of a run."""
    outcomes = [
        Outcome(TestPair("any", "A", "B", f"scene{place}", 0, 0, width, turn, 0, 0), error, 0.1)
        for turn, (place, error) in enumerate(zip(places, errors, strict=True))
    ]
    records.append(
        path,
        outcomes,
        settings=task.evaluated("data", dict(task.registrations)[variant], width),
        variant=variant,
        equivariance_error={"A": [0.1], "B": [0.1]},
        training_seconds=1.0,
    )


OTHERWISE = {"unfiltered": 0.5, "shift_pixels": 2, "penalties": Penalties(self_similarity=1.0)}


@pytest.mark.parametrize("forgotten", ["unfiltered", "shift_pixels", "penalties"])
def test_a_run_of_before_a_setting_was_there_stands_by_its_default(tmp_path, forgotten):
    task = tasks(TRIED, [EMBEDDED], TINY)[0]
    path, (_, how) = tmp_path / "records.jsonl", task.registrations[0]
    old = task.evaluated("data", how, 96)
    old["training"].pop(forgotten)
    records.append(path, [], settings=old)
    (key,) = standing(path)
    assert key == records.run_key(task.evaluated("data", how, 96))
    other = replace(task, training=replace(task.training, **{forgotten: OTHERWISE[forgotten]}))
    assert key != records.run_key(other.evaluated("data", how, 96))
    assert list(standing(path, data="")) == [records.run_key(task.evaluated("", how, 96))]


@pytest.mark.parametrize(
    ("better", "than", "says"),
    [
        (0.9, 0.5, "supported"),
        (0.5, 0.55, "refuted"),
        (0.62, 0.52, "inconclusive"),
        (1.0, 0.95, "outside the 30 to 80 %"),
    ],
)
def test_verdicts_follow_from_records(tmp_path, better, than, says):
    data_set = DataSet("made_up", ("A", "B"), (100,), "scenes")
    budget = Budget(seeds=3, steps=1, pairs=200)
    draw = np.random.default_rng(0)
    places = np.repeat(np.arange(40), 5)
    for task in tasks(TRIED, [data_set], budget):
        for variant, _ in task.registrations:
            rate = than if variant == "plain" else better
            errors = np.where(draw.random(200) < rate, 1.0, 50.0)
            write(tmp_path / "records.jsonl", variant, task, 100, errors, places)
    runs = runs_of(TRIED, [data_set], budget, tmp_path / "records.jsonl")
    assert {place[2]: len(of) for place, of in runs.items()} == dict.fromkeys(
        ("steerable", "filtered", "plain"), 3
    )
    (found,) = judged(TRIED, [data_set], runs)
    assert sentence(found).rpartition(": ")[2].startswith(says) or says in sentence(found)
    assert found.found.units == 40
    assert found.found.seeds == 3
    assert not runs_of(TRIED, [data_set], replace(budget, steps=2), tmp_path / "records.jsonl")


def test_a_comparison_is_made_where_there_are_units_enough(tmp_path):
    """Though the other width leaves more room."""
    data_set = DataSet("made_up", ("A", "B"), (100, 200), "scenes")
    budget, draw = Budget(seeds=3, steps=1, pairs=40), np.random.default_rng(0)
    for task in tasks(TRIED, [data_set], budget):
        for variant, _ in task.registrations:
            for width, rate, scenes in ((100, 0.35, 8), (200, 0.55, 4)):
                errors = np.where(draw.random(40) < rate, 1.0, 90.0)
                places = np.arange(40) % scenes
                write(tmp_path / "records.jsonl", variant, task, width, errors, places)
    runs = runs_of(TRIED, [data_set], budget, tmp_path / "records.jsonl")
    (found,) = judged(TRIED, [data_set], runs)
    assert (found.width, found.found.units) == (100, 8)
    few = {place: of for place, of in runs.items() if place[1] == 200}
    (found,) = judged(TRIED, [data_set], few)
    assert (found.width, found.judgement.verdict) == (200, "inconclusive: too small")


def made(folder, rates, *, seeds=(0, 1, 2), width=100, levels=("any",), data="data", pairs=200):
    """The records of :data:`TRIED` on a made-up set, by a rate of success a variant."""
    draw = np.random.default_rng(0)
    turns = np.random.default_rng(1).random(pairs * len(levels))
    for task in tasks(TRIED, [MADE_UP], replace(PLANNED, levels=levels)):
        if task.training.seed not in seeds:
            continue
        for variant, how in task.registrations:
            outcomes = [
                Outcome(
                    TestPair(level, "AB"[n % 2], "BA"[n % 2], f"{n % 40}", 0, 0, width, turn, 0, 0),
                    1.0 if draw.random() < rates[variant, level] else 50.0,
                    0.1,
                )
                for n, (level, turn) in enumerate(zip(np.repeat(levels, pairs), turns, strict=True))
            ]
            records.append(
                folder / "records.jsonl",
                outcomes,
                settings=task.evaluated(data, how, width),
                variant=variant,
                detail={"coherence_between": 0.5 if variant == "plain" else 0.7 + turns[0] / 100},
            )
    return folder / "records.jsonl"


MADE_UP = DataSet("made_up", ("A", "B"), (100,), "scenes")
PLANNED = Budget(seeds=3, steps=1, pairs=200)
CLEAR = {(n, "any"): 0.5 if n == "plain" else 0.9 for n in ("steerable", "filtered", "plain")}


def test_what_is_judged_is_level_any_whatever_else_was_run(tmp_path):
    """The control: of all levels together the difference would be none."""
    others = {(name, "1"): 0.9 if name == "plain" else 0.1 for name, _ in CLEAR}
    path = made(tmp_path, CLEAR | others, levels=("1", "any"))
    budget = replace(PLANNED, levels=("1", "any"))
    runs = runs_of(TRIED, [MADE_UP], budget, path)
    (found,) = judged(TRIED, [MADE_UP], runs, seeds={"made_up": 3})
    assert found.judgement.verdict == "supported"
    assert found.found.pairs == 200
    of_all = [successes(runs["made_up", 100, name]).mean() for name in ("steerable", "plain")]
    assert of_all[0] < of_all[1]
    line = row(("made_up", 100, "steerable"), runs["made_up", 100, "steerable"], MADE_UP)
    assert line.by_level["1"] < 0.2 < 0.8 < line.success == line.by_level["any"]
    assert line.interval[0] < line.success < line.interval[1]
    assert np.mean(list(line.each_way.values())) == pytest.approx(line.success)


def test_seeds_are_compared_with_themselves_and_nothing_is_decided_before_the_last(tmp_path):
    whole = made(tmp_path / "whole", CLEAR)
    runs = runs_of(TRIED, [MADE_UP], PLANNED, whole)
    runs["made_up", 100, "plain"] = runs["made_up", 100, "plain"][1:]  # the first failed its gate
    (found,) = judged(TRIED, [MADE_UP], runs, seeds={"made_up": 3})
    same = {k: [run for run in v if seed_of(run)] for k, v in runs.items()}
    (alone,) = judged(TRIED, [MADE_UP], same, seeds={"made_up": 2})
    assert (found.found, found.found.seeds) == (alone.found, 2)
    assert np.array_equal(found.found.deviations, alone.found.deviations)
    assert "unfinished, 2 of 3 seeds" in sentence(found)
    (finished,) = judged(
        TRIED, [MADE_UP], runs_of(TRIED, [MADE_UP], PLANNED, whole), seeds={"made_up": 3}
    )
    assert sentence(finished).endswith("supported")


def test_the_family_is_what_was_planned_and_not_what_has_run(tmp_path):
    runs = runs_of(TRIED, [MADE_UP], PLANNED, made(tmp_path, CLEAR))
    (alone,) = judged(TRIED, [MADE_UP], runs)
    wide = replace(TRIED, sets=("motor_neurons", "tissue_core", "brain_mri"))
    (among,) = judged(wide, [MADE_UP], runs)
    assert among.judgement.p_value > alone.judgement.p_value
    assert among.judgement.low <= alone.judgement.low


def test_two_versions_of_the_data_are_not_one(tmp_path):
    made(tmp_path, CLEAR, seeds=(0, 1))
    path = made(tmp_path, CLEAR, seeds=(2,), data="moved by a pixel")
    with pytest.raises(ValueError, match="one version of made_up, got two"):
        runs_of(TRIED, [MADE_UP], PLANNED, path)


def test_a_method_that_was_given_fewer_pairs_is_compared_on_those(tmp_path):
    runs = runs_of(TRIED, [MADE_UP], PLANNED, made(tmp_path, CLEAR))
    runs["made_up", 100, "plain"] = [
        {**run, "pairs": run["pairs"][:60]} for run in runs["made_up", 100, "plain"]
    ]
    (found,) = judged(TRIED, [MADE_UP], runs)
    assert found.found.pairs == 60
    runs["made_up", 100, "plain"] = [
        {**run, "pairs": [{**pair, "row": 7} for pair in run["pairs"]]}
        for run in runs["made_up", 100, "plain"]
    ]
    with pytest.raises(ValueError, match="two runs of one list"):
        judged(TRIED, [MADE_UP], runs)


def test_what_a_comparison_says_of_detail_is_told_with_its_own_interval(tmp_path):
    runs = runs_of(TRIED, [MADE_UP], PLANNED, made(tmp_path, CLEAR))
    (found,) = judged(TRIED, [MADE_UP], runs)
    assert found.detail is not None
    assert found.detail[0] == pytest.approx(0.2, abs=0.02)
    for number, one in enumerate(runs["made_up", 100, "plain"]):
        one["detail"] = {"coherence_between": 0.5 + 0.01 * number}
    (spread,) = judged(TRIED, [MADE_UP], runs)
    assert spread.detail is not None
    assert spread.detail[1] == pytest.approx(4.303 * 0.01 / np.sqrt(3), rel=1e-3)  # Student's t
    assert "over seeds" in sentence(spread)
    (single,) = judged(TRIED, [MADE_UP], {k: v[:1] for k, v in runs.items()})
    assert single.detail is None


def test_fifty_of_fifty_are_no_certainty(tmp_path):
    rates = CLEAR | {("steerable", "any"): 1.0, ("filtered", "any"): 0.0}
    runs = runs_of(TRIED, [MADE_UP], PLANNED, made(tmp_path, rates))
    lines = {name: row((*place, name), of, MADE_UP) for (*place, name), of in runs.items()}
    low, high = lines["steerable"].interval
    assert (low, high) == (pytest.approx(0.025 ** (1 / 40)), 1.0)  # 40 scenes of equal size
    assert lines["filtered"].interval == (0.0, pytest.approx(1 - low))
    assert lines["steerable"].training == lines["filtered"].training != lines["plain"].training


def test_detail_is_of_what_is_registered(tmp_path):
    """The control: other modalities, and other widths, have another coherence."""
    variants = (
        Variant("first two", SMALL, FAST, learns=(0, 1, 2)),
        Variant("third for second", SMALL, FAST, Registration(between=(0, 2)), learns=(0, 1, 2)),
    )
    both = (Comparison("first two", than="third for second", by=0.0),)
    tried = replace(TRIED, variants=variants, comparisons=both)
    wide = replace(EMBEDDED, widths=(96, 64))
    (task,) = tasks(tried, [wide], replace(TINY, seeds=1))
    run(task, None, LISTS, tmp_path)
    found = [line["detail"] for line in records.read(tmp_path / "records.jsonl")]
    assert len({one["coherence_between"] for one in found}) == 4
    assert len({one["coherence_floor"] for one in found}) == 2
    runs = runs_of(tried, [wide], replace(TINY, seeds=1), tmp_path / "records.jsonl")
    with pytest.raises(ValueError, match="two runs of one list"):  # nor is their success
        judged(tried, [wide], runs)


def test_no_width_is_compared_that_the_truth_does_not_allow(tmp_path):
    runs = runs_of(TRIED, [MADE_UP], PLANNED, made(tmp_path, CLEAR))
    edge = replace(MADE_UP, truth_pixels=(0.9, 1.1))
    assert len(judged(TRIED, [edge], runs)) == 1
    assert "the truth is off by 0.9 to 1.1 px" in edge.on_the_truth
    assert not MADE_UP.on_the_truth
    assert not judged(TRIED, [replace(MADE_UP, truth_pixels=(1.1, 1.5))], runs)


def test_a_budget_without_the_level_of_the_claims_says_so():
    with pytest.raises(ValueError, match="levels: expected 'any' among them"):
        Budget(seeds=3, steps=1, pairs=2, levels=("1", "4"))


def test_the_dry_run_tells_what_could_be_told(capsys):
    told = {}
    for name, seeds in (("three", 3), ("ten", 10), ("two", 2)):
        tried = replace(TRIED, default=replace(TINY, seeds=seeds))
        frame.main(tried, LISTS, ["--dry-run"])
        told[name] = " ".join(capsys.readouterr().out.split())
    # Two comparisons: on the set that was planned, and on the one that is there.
    assert "family of 2" in told["three"]
    assert "reaches about 36 points" in told["three"]  # 6.205 * 10 / sqrt(3)
    assert "reaches about 8 points" in told["ten"]
    assert "No verdict can follow: fewer than 3 seeds" in told["two"]


def test_the_dry_run_lists_what_it_would_cost_and_runs_nothing(tmp_path, capsys):
    assert frame.main(TRIED, LISTS, ["--dry-run", "--out", str(tmp_path / "out")]) == 0
    said = capsys.readouterr().out
    assert "4 runs" in said
    assert "seed 1: 2 steps" in said
    assert not (tmp_path / "out").exists()


def test_quick_runs_to_the_end_over_processes_and_again_runs_nothing(tmp_path, capsys):
    told = ["--quick", "--out", str(tmp_path), "--jobs", "2"]
    assert frame.main(TRIED, LISTS, told) == 0
    assert "2 run now" in capsys.readouterr().out
    page = (tmp_path / "verdict.md").read_text()
    assert page.count("| immunohistochemistry |") == 9  # results, their intervals, and detail
    assert "steerable over plain" in page
    assert frame.main(TRIED, LISTS, told) == 0
    assert "2 stood in the records" in capsys.readouterr().out
    assert len(records.done(tmp_path / "records.jsonl")) == 3


def test_a_cluster_that_loses_a_worker_loses_no_result(tmp_path):
    distributed = pytest.importorskip("distributed")
    options = {"n_workers": 2, "threads_per_worker": 1, "processes": True}
    with (
        distributed.LocalCluster(**options, dashboard_address="127.0.0.1:0") as cluster,
        distributed.Client(cluster) as client,
    ):
        pids = client.run(os.getpid)
        out = tmp_path / "out"

        def kill_one():
            """In mid-run: while a worker trains, which the lock of its claim tells."""
            while not list(out.glob(".records.jsonl.*.lock")):
                time.sleep(0.05)
            os.kill(next(iter(pids.values())), signal.SIGKILL)

        killer = threading.Thread(target=kill_one)
        killer.start()
        told = ["--backend", "dask", "--address", cluster.scheduler_address, "--out", str(out)]
        assert frame.main(TRIED, LISTS, told) == 0
        killer.join()
        assert set(client.run(os.getpid).values()) != set(pids.values())  # one is another
    stands = records.read(out / "records.jsonl")
    counted = Counter((line["variant"], line["settings"]["training"]["seed"]) for line in stands)
    names = [variant.name for variant in TRIED.variants]
    assert counted == {(name, seed): 1 for name in names for seed in (0, 1)}


def test_a_set_without_its_folder_is_not_silently_another(tmp_path, capsys):
    with pytest.raises(SystemExit, match="2"):
        frame.main(TRIED, LISTS, ["--set", "tissue_core", "--dry-run", "--out", str(tmp_path)])
    assert "--data: expected the folder" in capsys.readouterr().err
