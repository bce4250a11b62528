"""Whether a training and an experiment survive SIGKILL at random moments: nothing lost or twice.

    python benchmarks/survival.py [--kills 50] [--seed 0] [--quick] [--out FOLDER]

A small training on the embedded picture is first run without disturbance, then again in a folder
where its process is killed at moments that a seed draws, started again after each, until all kills
have fallen, over as many runs as that takes. The weights at the end of each must be those of the
undisturbed run, bit by bit. Then the same of an experiment: at its end every result must stand in
the records exactly once, and be that of the undisturbed one. Exit status 1 if anything is not so.

Processes are forked, so that kills fall into the work and not into imports. (Linux, macOS.)
"""

import argparse
import json
import multiprocessing
import sys
import tempfile
import time
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from rich.console import Console
from rich.table import Table

from equicomir.evaluation import records
from equicomir.experiment.plan import Budget, Experiment, Registration, Task, Variant, tasks
from equicomir.experiment.sets import EMBEDDED
from equicomir.experiment.work import run
from equicomir.representations import EncoderSettings, load
from equicomir.training.checkpoints import read_checkpoint
from equicomir.training.loop import train
from equicomir.training.settings import TrainingSettings

FORK = multiprocessing.get_context("fork")
LISTS = Path(__file__).parent / "pairs"
ENCODER = EncoderSettings(group="C4", widths=(1, 1), kernel_size=3)
#: A checkpoint after every step: kills fall between its renames, too.
TRAINING = TrainingSettings(
    patch_size=32, batch=4, high_pass_cutoff=0.2, average=0.9, checkpoint_seconds=1e-6
)


@dataclass(frozen=True)
class Survived:
    """What became of one kind of work.

    Attributes:
        kills: that fell while it went on.
        runs: over how many runs from the beginning to the end.
        seconds: of the undisturbed one.
        wrong: what was lost, twice or another, one sentence each.
    """

    kills: int
    runs: int
    seconds: float
    wrong: list[str]


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--kills", type=int, default=50, help="of each of the two")
    parser.add_argument("--seed", type=int, default=0, help="of the moments")
    parser.add_argument("--quick", action="store_true", help="smaller work")
    parser.add_argument("--out", type=Path, help="folder to leave everything in")
    chosen = parser.parse_args()
    if chosen.kills < 1:
        parser.error(f"--kills: expected at least 1, got {chosen.kills}.")
    torch.set_num_threads(1)
    table = Table("work", "kills", "runs", "seconds undisturbed", "lost, twice or another")
    wrong = []
    with tempfile.TemporaryDirectory() as place:
        out = chosen.out or Path(place)
        for name, survive in (("training", of_training), ("experiment", of_experiment)):
            draw = np.random.default_rng(chosen.seed)
            done = survive(out / name, chosen.kills, chosen.quick, draw)
            wrong += done.wrong
            numbers = (done.kills, done.runs, f"{done.seconds:.1f}", len(done.wrong) or "nothing")
            table.add_row(name, *map(str, numbers))
    Console().print(table)
    for sentence in wrong:
        print(sentence, file=sys.stderr)
    sys.exit(bool(wrong))


def killed(
    work: Callable[[Path], object],
    whole: Callable[[Path], Sequence[str]],
    out: Path,
    kills: int,
    seconds: float,
    draw: np.random.Generator,
) -> Survived:
    """Do work in folders, killed at drawn moments, to its end.

    Args:
        work: does what is left to do in a folder.
        whole: what is wrong with a folder after a kill, if anything.
        out: gets a folder a run.
        kills: how many.
        seconds: that the work takes undisturbed.
        draw: the moments.
    """
    fallen, runs, wrong = 0, 0, list[str]()
    while fallen < kills or not runs:
        folder, ended = out / f"run_{runs}", False
        while not ended:
            process = FORK.Process(target=quietly, args=(work, folder))
            process.start()
            # Late enough for something to be done, early enough for several kills a run.
            process.join(draw.uniform(0, 2 * seconds / 5) if fallen < kills else None)
            ended = process.exitcode is not None
            if ended and process.exitcode != 0:
                return Survived(fallen, runs, seconds, [*wrong, f"{folder}: ended with an error."])
            if not ended:
                process.kill()
                process.join()
                fallen += 1
                wrong += whole(folder)
        runs += 1
        wrong += whole(folder)
    return Survived(fallen, runs, seconds, wrong)


def quietly(work: Callable[[Path], object], folder: Path) -> None:
    """What a killed process left half written is told by a warning, as it should."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        work(folder)


# ------------------------------------------------------------------------------ training


def of_training(out: Path, kills: int, quick: bool, draw: np.random.Generator) -> Survived:
    """Killed trainings, whose weights must be those of the undisturbed one."""
    scenes = EMBEDDED.read(None).train
    settings = replace(TRAINING, steps=20 if quick else 200)

    def work(folder: Path) -> object:
        return train(scenes, ENCODER, settings, folder=folder, quiet=True)

    undisturbed = out / "undisturbed"
    work(out / "warm")  # what is imported and cached at first is not the work
    begun = time.perf_counter()
    work(undisturbed)
    seconds = time.perf_counter() - begun

    def whole(folder: Path) -> list[str]:
        return wrong_with_training(folder, undisturbed)

    done = killed(work, whole, out, kills, seconds, draw)
    ended = [out / f"run_{number}" for number in range(done.runs)]
    right = weights(undisturbed)
    other = [folder for folder in ended if not torch.equal(weights(folder), right)]
    return replace(done, wrong=[*done.wrong, *(f"{path}: other weights." for path in other)])


def weights(folder: Path) -> torch.Tensor:
    """All numbers of a model, in one row."""
    state = load(folder).state_dict().values()
    return torch.cat([value.detach().double().flatten() for value in state])


def wrong_with_training(folder: Path, undisturbed: Path) -> list[str]:
    """What is wrong with a folder of a training, killed or ended."""
    try:
        read = read_checkpoint(folder)
    except ValueError as error:
        return [str(error)]
    if read is None:  # killed before there was one
        return []
    _, _, said = read
    if said:
        return [said]
    done, right = losses(folder), losses(undisturbed)
    return [] if done == right[: len(done)] else [f"{folder}: other losses."]


def losses(folder: Path) -> list[float]:
    """Of every step that a checkpoint knows of."""
    read = read_checkpoint(folder)
    found: list[float] = [] if read is None else read[0]["losses"].tolist()
    return found


# ---------------------------------------------------------------------------- experiment


def planned(quick: bool) -> list[Task]:
    """A small experiment: every kind of work that a task has."""
    budget = Budget(seeds=1 if quick else 2, steps=3, pairs=1, gate_examples=1)
    variants = (
        Variant("steerable", ENCODER, TRAINING, Registration(cutoff=0.1)),
        Variant("plain", replace(ENCODER, family="plain"), TRAINING),
    )
    experiment = Experiment(
        name="survival",
        hypothesis="that nothing is lost",
        refuted_if="something is",
        variants=variants[: 1 if quick else 2],
        comparisons=(),
        default=budget,
        full=budget,
    )
    return tasks(experiment, [EMBEDDED], budget)


def of_experiment(out: Path, kills: int, quick: bool, draw: np.random.Generator) -> Survived:
    """A killed experiment, whose results must be those of the undisturbed one, each once."""
    every = planned(quick)

    def work(folder: Path) -> None:
        for task in every:
            run(task, None, LISTS, folder)

    undisturbed = out / "undisturbed"
    begun = time.perf_counter()
    work(undisturbed)
    seconds = time.perf_counter() - begun
    right = results(undisturbed)

    def whole(folder: Path) -> list[str]:
        try:
            found = results(folder)
        except ValueError as error:  # damaged, or a run twice
            return [str(error)]
        other = [key for key, value in found.items() if right.get(key) != value]
        return [f"{folder}: another result of {key}." for key in other]

    done = killed(work, whole, out, kills, seconds, draw)
    lost = [
        f"{out / f'run_{number}'}: no result of {key}."
        for number in range(done.runs)
        for key in right.keys() - results(out / f"run_{number}").keys()
    ]
    return replace(done, wrong=done.wrong + lost)


def results(folder: Path) -> dict[str, Any]:
    """What was found of every pair, by run; raises where one stands twice."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # a line that was half written
        done = records.done(folder / "records.jsonl")
    return {
        key: json.dumps([pair["corner_error"] for pair in record["pairs"]])
        for key, record in done.items()
    }


if __name__ == "__main__":
    main()
