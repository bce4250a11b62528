"""How fast encoders train, where a step's time goes, and how soon they register.

    python benchmarks/training_speed.py [--device cpu] [--steps 20] [--channels 16]
    python benchmarks/training_speed.py --set DATA/brain_mri --modalities T1 T2 --minutes 5
        [--masks NAME] [--out FILE.jsonl]

The first form prints, in one run and in turn (a machine that drifts slows all of them), pairs a
second of every encoder at about the same number of channels, where the time of a step goes, and
the memory it takes. The second trains each of them for so many minutes on the training part (or
``--training-steps``, where other work would eat the minutes), asks every so often how many pairs of
the validation part it registers (that time does not count), and prints the success after each
share of the minutes; the model that validation liked best then registers the first pairs of the
committed test list. ``--out`` keeps every curve as a record; one that stands there is not made
again. Both forms run on a GPU with ``--device cuda``.
"""

import argparse
import resource
import time
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import asdict, replace
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import torch
from lightning_fabric import Fabric
from rich.console import Console
from rich.table import Table

from equicomir.evaluation import records
from equicomir.evaluation.alignment import Outcome, evaluate, summarise
from equicomir.evaluation.displacements import TestPair, draw_pairs, read_pairs
from equicomir.evaluation.validation import register_by, registration_score
from equicomir.images.batches import Batches
from equicomir.images.fingerprint import fingerprint
from equicomir.images.pairs import Scene
from equicomir.images.patches import patch_places
from equicomir.images.sources import Parts, embedded, read_parts
from equicomir.losses.rotated_pairs import turn_back
from equicomir.provenance import command, commit
from equicomir.representations import EncoderSettings, Representations
from equicomir.training.loop import train
from equicomir.training.settings import TrainingSettings
from equicomir.training.start import new_model, objective

LISTS = Path(__file__).parent / "pairs"
LEVEL, PAIRS = "any", 25  # of the curves; pairs a direction
PARTS = ("cut patches", "encode", "turn back, loss", "backward", "optimiser")


def encoders(channels: int) -> dict[str, EncoderSettings]:
    """Every family, with about so many channels at full resolution."""
    made = {
        group: EncoderSettings(group=group, widths=_widths(channels, size))
        for group, size in (("C4", 4), ("C8", 8), ("SO(2)", 7))
    }
    plain = EncoderSettings(family="plain", group="C8", widths=_widths(channels, 8))
    return {**made, "plain": plain, "tiramisu": EncoderSettings(family="tiramisu")}


def _widths(channels: int, field_size: int) -> tuple[int, ...]:
    first = max(1, round(channels / field_size))
    return first, 2 * first, 4 * first


class Steps:
    """Training steps of one encoder, part by part."""

    def __init__(
        self, scenes: list[Scene], encoder: EncoderSettings, settings: TrainingSettings, device: str
    ) -> None:
        self.device, self.settings = torch.device(device), settings
        self.model = new_model(scenes, encoder, settings).to(device)
        places = patch_places(scenes, settings.patch_size)
        self.batches = Batches(scenes, self.model.scalings, places, settings.batch, 0)
        self.loss = objective(settings)
        self.optimiser = torch.optim.Adam(self.model.parameters(), lr=1e-3)
        self.seconds: list[list[float]] = []

    def now(self) -> float:
        """The time, once the device has done what it was given."""
        if self.device.type == "cuda":
            torch.cuda.synchronize()
        return time.perf_counter()

    def step(self, number: int) -> None:
        """One step; notes how long each part took."""
        at = [self.now()]
        draw, patches = self.batches[number]
        patches = [x.to(self.device) for x in patches]
        at.append(self.now())
        seen = self.model(patches)
        at.append(self.now())
        loss = self.loss(turn_back(seen, draw.degrees.to(self.device)))
        at.append(self.now())
        self.optimiser.zero_grad()
        loss.backward()
        at.append(self.now())
        self.optimiser.step()
        at.append(self.now())
        self.seconds.append([b - a for a, b in pairwise(at)])


def speed(console: Console, scenes: list[Scene], chosen: argparse.Namespace) -> None:
    """Print the table of speeds."""
    settings = TrainingSettings(patch_size=chosen.patch_size)
    runs: dict[str, Steps] = {}
    for name, encoder in encoders(chosen.channels).items():
        # CoMIR's network takes multiples of 64 only.
        size = 64 if name == "tiramisu" else chosen.patch_size
        fitting = replace(settings, patch_size=size)
        runs[name] = Steps(scenes, encoder, fitting, chosen.device)
    for number in range(chosen.steps + 2):
        for run in runs.values():
            run.step(number)
    threads = torch.get_num_threads()
    table = Table(
        title=f"Batch {settings.batch}, two modalities, {chosen.device}, {threads} threads"
    )
    for heading in ("encoder", "weights", "px", "pairs/s", "ratio", *PARTS):
        table.add_column(heading, justify="left" if heading == "encoder" else "right")
    medians = {n: np.median(np.array(r.seconds[2:]), axis=0) for n, r in runs.items()}
    plain = settings.batch / medians["plain"].sum()
    for name, run in runs.items():
        parts = medians[name]
        rate = settings.batch / parts.sum()
        weights = sum(p.numel() for p in run.model.parameters())
        shares = [f"{100 * part / parts.sum():.0f} %" for part in parts]
        size = run.settings.patch_size
        table.add_row(name, str(weights), str(size), f"{rate:.1f}", f"{rate / plain:.2f}", *shares)
    console.print(table)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    console.print(f"Peak memory of the process, all encoders together: {peak:.0f} MiB")
    if chosen.device == "cuda":
        console.print(f"of the GPU: {torch.cuda.max_memory_allocated() / 2**20:.0f} MiB")


def curve(
    parts: Parts,
    encoder: EncoderSettings,
    settings: TrainingSettings,
    chosen: argparse.Namespace,
    listed: list[TestPair],
) -> tuple[list[Outcome], dict[str, Any]]:
    """One training: what its best model made of the test pairs, and its curve.

    The curve is (minutes of training, success on the validation part); time for validating is
    left out.
    """
    width, device = chosen.width, chosen.device
    first, second = parts.modalities
    generator = np.random.default_rng(width)
    pairs = draw_pairs(
        parts.validation, (first, second), width, PAIRS, levels=[LEVEL], generator=generator
    )
    begun, asked, points = time.perf_counter(), [0.0], list[tuple[float, float]]()

    def validate(model: Representations) -> float:
        before = time.perf_counter()
        model = model.to("cpu")
        success, score = registration_score(model.encode, pairs, parts.validation)
        model.to(device)
        points.append(((before - begun - asked[0]) / 60, success))
        asked[0] += time.perf_counter() - before
        return score

    fabric = Fabric(accelerator="gpu" if device == "cuda" else "cpu", devices=1)
    done = train(parts.train, encoder, settings, validate=validate, fabric=fabric)
    steps = [step for step, _ in done.validations]
    outcomes = evaluate(partial(register_by, done.model.encode), listed, parts.test)
    facts = {"curve": points, "curve_steps": steps, "commit": commit(), "command": command()}
    return outcomes, facts


def listed_pairs(parts: Parts, width: int, count: int) -> list[TestPair]:
    """The first pairs of each direction of the committed test list; none where it has none."""
    path = LISTS / f"{parts.name}_{'_'.join(parts.modalities)}_{width}.csv"
    every = [pair for pair in read_pairs(path) if pair.level == LEVEL] if path.exists() else []
    return [
        pair
        for fixed in parts.modalities
        for pair in [pair for pair in every if pair.fixed == fixed][:count]
    ]


def curve_settings(
    parts: Parts, name: str, settings: TrainingSettings, data: str, chosen: argparse.Namespace
) -> dict[str, Any]:
    """What defines a curve, for its record; the data by their fingerprint."""
    training = asdict(settings)
    for left_out in ("workers", "checkpoint_seconds", *(["minutes"] if settings.steps else [])):
        del training[left_out]
    return {
        "benchmark": "training_curves",
        "set": parts.name,
        "modalities": parts.modalities,
        "data": data,
        "name": name,
        "encoder": asdict(encoders(chosen.channels)[name]),
        "training": training,
        "device": chosen.device,
        "width": chosen.width,
        "level": LEVEL,
        "pairs_a_direction": PAIRS,
        "test_pairs_a_direction": chosen.test_pairs,
    }


def recorded(
    path: Path | None,
    settings: dict[str, Any],
    make: Callable[[], tuple[list[Outcome], dict[str, Any]]],
) -> dict[str, Any] | None:
    """The facts of a curve: from the records where it stands there, else made, and kept there.

    None where another process is making it.
    """
    key = records.run_key(settings)
    with nullcontext(True) if path is None else records.claim(path, key) as mine:
        if path is not None and not mine:
            return records.done(path).get(key)
        outcomes, facts = make()
        facts["test_success"] = summarise(outcomes).success if outcomes else None
        if path is not None:
            records.append(path, outcomes, settings=settings, **facts)
        return facts


def curves(console: Console, parts: Parts, chosen: argparse.Namespace) -> None:
    """Train each, print success against minutes."""
    settings = TrainingSettings(
        minutes=chosen.minutes or TrainingSettings.minutes,
        steps=chosen.training_steps,
        patch_size=chosen.patch_size,
        validations=chosen.validations,
        seed=chosen.seed,
    )
    title = f"Success at {chosen.width} px, level {LEVEL}, {2 * PAIRS} validation pairs"
    table = Table(title=title)
    table.add_column("encoder")
    for i in range(chosen.validations):
        share = (i + 1) / chosen.validations
        after = f"{settings.minutes * share:.1f} min"
        if settings.steps:
            after = f"{settings.steps * share:.0f} steps"
        table.add_column(after, justify="right")
    table.add_column("test", justify="right")
    listed = listed_pairs(parts, chosen.width, chosen.test_pairs)
    data = fingerprint([*parts.train, *parts.validation])
    for name, encoder in encoders(chosen.channels).items():
        if name not in chosen.encoders:
            continue
        size = 64 if name == "tiramisu" else chosen.patch_size
        turns = 4 if name in ("plain", "tiramisu") else None  # CoMIR's own constraint
        fitting = replace(settings, patch_size=size, turns=turns)
        make = partial(curve, parts, encoder, fitting, chosen, listed)
        of_run = curve_settings(parts, name, fitting, data, chosen)
        facts = recorded(chosen.out, of_run, make)
        cells = ["another process has it"]
        if facts is not None:
            every = [success for _, success in facts["curve"]] + [facts["test_success"]]
            cells = ["no list" if one is None else f"{100 * one:.0f} %" for one in every]
        table.add_row(name, *cells)
    console.print(table)


def main() -> None:
    """Print what was asked for."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--device", default="cpu", choices=("cpu", "cuda"))
    parser.add_argument("--steps", type=int, default=20, help="timed, each encoder")
    parser.add_argument("--channels", type=int, default=16, help="at full resolution, about")
    parser.add_argument("--patch-size", type=int, default=TrainingSettings.patch_size)
    parser.add_argument("--set", type=Path)
    parser.add_argument("--modalities", nargs=2)
    parser.add_argument("--masks", help="name of the folder of masks, where the set has one")
    how_long = parser.add_mutually_exclusive_group()
    how_long.add_argument("--minutes", type=float, help="curves: train for so long, each encoder")
    how_long.add_argument("--training-steps", type=int, help="curves: or for so many steps")
    parser.add_argument("--width", type=int, default=64, help="of the pairs to register, px")
    parser.add_argument("--validations", type=int, default=5)
    parser.add_argument("--test-pairs", type=int, default=50, help="a direction, in the end")
    names = list(encoders(16))
    parser.add_argument("--encoders", nargs="+", default=names, choices=names, metavar="NAME")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, help="file of the curves' records")
    chosen = parser.parse_args()
    parts = embedded()
    if chosen.set:
        parts = read_parts(chosen.set, chosen.modalities, masks=chosen.masks)
    console = Console(width=120)
    if chosen.minutes is None and chosen.training_steps is None:
        speed(console, parts.train, chosen)
    else:
        curves(console, parts, chosen)


if __name__ == "__main__":
    main()
