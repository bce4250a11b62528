"""How soon encoders register: success against the minutes of training, in one run.

    python benchmarks/training_curves.py --set DATA/brain_mri --modalities T1 T2 --width 64
        [--masks NAME] [--validation-width 48] [--minutes 5] [--encoders C8 plain tiramisu]
        [--out FILE.jsonl]

Trains each encoder for so many minutes on the training part (or ``--steps``, where other work would
eat the minutes), asks every so often how many pairs of the validation part it registers (that time
does not count), and prints the success after each share of the minutes; the model that validation
liked best then registers the first pairs of the committed test list. The steerable encoder learns
from pairs turned by any angle, the other two under CoMIR's own constraint, quarter turns. ``--out``
keeps every curve as a record; one that stands there is not made again. With ``--device cuda`` on a
GPU. How fast a step is: ``training_speed.py``.
"""

import argparse
import time
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from lightning_fabric import Fabric
from rich.console import Console
from rich.table import Table

from equicomir.evaluation import records
from equicomir.evaluation.alignment import Outcome, evaluate, summarise
from equicomir.evaluation.displacements import TestPair, draw_pairs, read_pairs
from equicomir.evaluation.validation import register_by, registration_score
from equicomir.images.fingerprint import fingerprint
from equicomir.images.sources import Parts, embedded, read_parts
from equicomir.provenance import command, commit
from equicomir.representations import EncoderSettings, Representations
from equicomir.training.loop import train
from equicomir.training.settings import TrainingSettings

LISTS = Path(__file__).parent / "pairs"
LEVEL, PAIRS = "any", 25  # pairs a direction, of the curves
#: An encoder, and by which turns its pairs are turned.
ENCODERS = {
    "C8": (EncoderSettings(), None),
    "plain": (EncoderSettings(family="plain"), 4),
    "tiramisu": (EncoderSettings(family="tiramisu"), 4),
}


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
    width, device = chosen.validation_width, chosen.device
    first, second = parts.modalities
    generator = np.random.default_rng(width)
    pairs = draw_pairs(
        parts.validation, (first, second), width, PAIRS, levels=[LEVEL], generator=generator
    )
    begun, asked, points = time.perf_counter(), [0.0], list[tuple[float, float]]()

    def validate(model: Representations) -> float:
        before = time.perf_counter()
        model = model.to("cpu")
        success, score = registration_score(model.comparable, pairs, parts.validation)
        model.to(device)
        points.append(((before - begun - asked[0]) / 60, success))
        asked[0] += time.perf_counter() - before
        return score

    fabric = Fabric(accelerator="gpu" if device == "cuda" else "cpu", devices=1)
    done = train(parts.train, encoder, settings, validate=validate, fabric=fabric)
    steps = [step for step, _ in done.validations]
    outcomes = evaluate(partial(register_by, done.model.comparable), listed, parts.test)
    facts = {"curve": points, "curve_steps": steps, "commit": commit(), "command": command()}
    return outcomes, facts


def at_its_width(chosen: argparse.Namespace) -> bool:
    """Whether validation looks at pairs as wide as the test pairs."""
    return bool(chosen.validation_width == chosen.width)


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
        "encoder": asdict(ENCODERS[name][0]),
        "training": training,
        "device": chosen.device,
        "width": chosen.width,
        **({} if at_its_width(chosen) else {"validation_width": chosen.validation_width}),
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
        minutes=chosen.minutes,
        steps=chosen.steps,
        validations=chosen.validations,
        seed=chosen.seed,
    )
    title = f"Success at {chosen.validation_width} px, level {LEVEL}, {2 * PAIRS} validation pairs"
    title += "" if at_its_width(chosen) else f"; test pairs of {chosen.width} px"
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
    for name in chosen.encoders:
        encoder, turns = ENCODERS[name]
        fitting = replace(settings, turns=turns)
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
    parser.add_argument("--set", type=Path, help="folder with train, validation, test")
    parser.add_argument("--modalities", nargs=2, help="fixed and moving")
    parser.add_argument("--masks", help="name of the folder of masks, where the set has one")
    how_long = parser.add_mutually_exclusive_group()
    how_long.add_argument("--minutes", type=float, default=5.0, help="of training, each encoder")
    how_long.add_argument("--steps", type=int, help="of training, in place of the minutes")
    parser.add_argument("--width", type=int, default=64, help="of the pairs to register, px")
    parser.add_argument(
        "--validation-width", type=int, help="likewise, where validation has no room for those"
    )
    parser.add_argument("--validations", type=int, default=5)
    parser.add_argument("--test-pairs", type=int, default=50, help="a direction, in the end")
    parser.add_argument(
        "--encoders", nargs="+", default=list(ENCODERS), choices=list(ENCODERS), metavar="NAME"
    )
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, help="file of the records")
    chosen = parser.parse_args()
    if (chosen.set is None) != (chosen.modalities is None):
        parser.error("--set, --modalities: expected both or neither.")
    chosen.validation_width = chosen.validation_width or chosen.width
    parts = embedded()
    if chosen.set:
        parts = read_parts(chosen.set, chosen.modalities, masks=chosen.masks)
    curves(Console(width=120), parts, chosen)


if __name__ == "__main__":
    main()
