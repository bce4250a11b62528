"""Every experiment that is stated can be run: its scripts list it, its variants can be made."""

import importlib.util
import sys
from pathlib import Path

import pytest
import torch

from equicomir.experiment import frame
from equicomir.experiment.claims import claims
from equicomir.experiment.plan import QUICK, tasks
from equicomir.experiment.sets import EMBEDDED
from equicomir.experiment.work import learned_from
from equicomir.training.start import new_model, objective, penalty_of

ROOT = Path(__file__).parent.parent
LISTS = ROOT / "benchmarks" / "pairs"


def stated(path):
    """Of a script: what it states, and what it searches before, if it does."""
    spec = importlib.util.spec_from_file_location(path.stem, path)
    module = importlib.util.module_from_spec(spec)
    sys.modules[path.stem] = module
    spec.loader.exec_module(module)
    return getattr(module, "EXPERIMENT", None), getattr(module, "COARSE", None)


STATED = {
    path.name: found
    for path in sorted((ROOT / "experiments").glob("h*.py"))
    if (found := stated(path))[0] is not None
}
EVERY = [one for both in STATED.values() for one in both if one is not None]


def test_all_hypotheses_are_there_and_in_the_table():
    table = (ROOT / "experiments" / "README.md").read_text()
    assert {one.name for one in EVERY} >= {f"h{n}" for n in range(7)}
    assert all(f"`{name}`" in table for name in STATED)


@pytest.mark.parametrize("experiment", EVERY, ids=lambda one: one.name)
def test_every_variant_can_be_made_asked_and_learned(experiment):
    """One forward and backward pass each, of a small batch; the gate has claims to ask."""
    parts = EMBEDDED.read(None, EMBEDDED.modalities)
    for task in tasks(experiment, [EMBEDDED], QUICK):
        if task.encoder is None:
            continue
        scenes = learned_from(task, parts)
        model = new_model(scenes, task.encoder, task.training)
        assert len(claims(model, task.training)) >= 3
        size = task.training.patch_size
        patches = [torch.rand(2, 1, size, size) for _ in task.learns]
        seen = model(patches)
        loss = objective(task.training)(seen)
        penalty = penalty_of(task.training)
        if penalty is not None:
            loss = loss + penalty(seen, patches)
        loss.backward()
        assert all(p.grad is not None for p in model.parameters())


@pytest.mark.parametrize("script", STATED)
def test_a_dry_run_lists_the_runs_and_their_cost(script, capsys):
    experiment, coarse = STATED[script]
    assert frame.main(experiment, LISTS, ["--dry-run"], coarse=coarse) == 0
    said = capsys.readouterr().out
    assert "minutes of one core" in said
    if coarse is not None:
        assert frame.main(experiment, LISTS, ["--dry-run", "--coarse"], coarse=coarse) == 0
        assert coarse.hypothesis in capsys.readouterr().out.replace("\n", " ")


def test_a_coarse_search_is_made_on_validation():
    for _, coarse in STATED.values():
        if coarse is not None:
            assert {coarse.default.part, coarse.full.part} == {"validation"}
            assert coarse.comparisons == ()
